"""Ingest watching itself: heart-beats, own alarms, ledger audit, metrics, the dead man's signal."""
