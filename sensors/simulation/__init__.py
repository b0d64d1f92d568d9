"""Simulated field devices: what devices would measure, out of hydraulic models, with faults."""
