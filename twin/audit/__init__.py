"""Audit of networks as they are found: what does not hang together, contradicts itself or is missing."""
