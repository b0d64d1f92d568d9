"""Recordings and simulated devices, played through the broker as devices would."""
