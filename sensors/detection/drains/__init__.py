"""Detectors of drains: blockages, water that does not belong there, and what else is in it."""
