"""The fault campaign: real brokers, stores, workers and devices, broken on purpose; `python -m tests.faults`."""
