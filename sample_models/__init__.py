"""The fictional sample district, made from nothing but code."""
