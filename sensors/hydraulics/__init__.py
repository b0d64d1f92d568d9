"""Hydraulics: the EPANET solver, and what a water network should read now by its model."""
