"""The heart-beat of ingest: what the dashboard shows of it, written every second into the spool."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

BEAT = timedelta(seconds=1)
LOST_AFTER = timedelta(seconds=5)
"""Without a beat for this long, ingest counts as gone."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How ingest is doing.

    `beat` is machine time, `city_time` the city's; both aware UTC. `last_message` is machine time of the newest
    message, `spooled` the readings not yet in the store, `undetected` those that detection has not checkpointed,
    `detectors_off` the detectors that failed.
    """

    beat: datetime
    city_time: datetime
    recording: bool
    connected: bool
    broker: str
    district: str
    devices: int
    unknown_devices: int
    readings_per_s: float
    last_message: datetime | None
    spooled: int
    undetected: int
    quarantined: int
    store_ok: bool
    alarms_ok: bool
    detectors_off: list[str]

    @property
    def alive(self) -> bool:
        """Whether the beat is fresh, by the machine's clock (the beat is the machine's too)."""
        return datetime.now(UTC) - self.beat < LOST_AFTER


__all__ = ["BEAT", "LOST_AFTER", "Status"]
