"""Detectors of gas: in the air of the drains, and in the pressure of the mains."""
