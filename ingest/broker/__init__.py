"""Brokers: the embedded one of the demo, Mosquitto's configuration, certificates and log."""
