"""Detectors of water networks: pressure against the hydraulic model, and the balance of metered zones."""
