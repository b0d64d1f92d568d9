"""Payload formats: each turns bytes into the same readings, once, at the edge."""
