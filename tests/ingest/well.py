"""The heart-beat of an ingest that is well; tests change what they are about."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ingest.status import Status


def well(at: datetime, **changes: Any) -> Status:
    """Return the beat of `at`, which is the city's time too."""
    usual: dict[str, Any] = {
        "recording": False,
        "connected": True,
        "broker": "mqtt://127.0.0.1:1883",
        "district": "hewan",
        "devices": 3,
        "unknown_devices": 0,
        "readings_per_s": 10.5,
        "last_message": at,
        "spooled": 0,
        "undetected": 0,
        "quarantined": 0,
        "store_ok": True,
        "alarms_ok": True,
        "detectors_off": [],
    }
    return Status(beat=at, city_time=at, **{**usual, **changes})
