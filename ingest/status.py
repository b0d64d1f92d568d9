"""The heart-beat of ingest: what the dashboard shows of it, written every second into the spool."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from ingest.ledger import Ledger

BEAT = timedelta(seconds=1)
LOST_AFTER = timedelta(seconds=5)
"""Without a beat for this long, ingest counts as gone."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How ingest is doing.

    `beat` is machine time, `city_time` the city's; both aware UTC. `last_message` is machine time of the newest
    message, `spooled` the readings not yet in the store, `undetected` those that detection has not checkpointed,
    `detectors_off` the detectors that failed, `layers_off` these and those that lack what they work with, each with
    the reason. `received`, `stored`, `duplicates`, `quarantined` and `spooled` are of
    one picture of the ledger, in readings; `purged` are those of `quarantined` that somebody has deleted since,
    and `dropped` were neither received nor receipted, of senders whose share of the quarantine was full.

    `backlog_s` is how long the oldest reading has waited for the store, `spool_ok` whether the last group could be
    committed, `disk_free` and `disk_size` the bytes of the spool's file system, `spool_size` those of the spool.
    `refused` are readings by code since the worker started; `ahead` and `throttled` the readings refused as E_FUTURE
    and E_RATE by device since the beat before. `late_s` is the median of how old the live readings since the beat
    before were when they came (negative: ahead), None where none came. `clock_off_s` is the machine's clock less the
    city's, where the city has not followed a step of it. `receipts` were sent since the worker started, `store_s` is
    how long the newest write to the store took, `store_missing` the readings that it took and its audit does not find.
    `unaccounted` is the balance of the ledger when it was last counted anew, at `audited` (machine time).
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
    received: int = 0
    stored: int = 0
    duplicates: int = 0
    purged: int = 0
    dropped: int = 0
    backlog_s: float = 0.0
    spool_ok: bool = True
    disk_free: int | None = None
    disk_size: int | None = None
    spool_size: int = 0
    refused: dict[str, int] = {}
    ahead: dict[str, int] = {}
    throttled: dict[str, int] = {}
    late_s: float | None = None
    clock_off_s: float = 0.0
    receipts: int = 0
    store_s: float | None = None
    store_missing: int = 0
    unaccounted: int = 0
    audited: datetime | None = None
    worker: str = ""
    layers_off: dict[str, str] = {}

    @property
    def ledger(self) -> Ledger:
        """Where every reading that came in had gone at the beat."""
        return Ledger(
            self.received,
            self.stored,
            self.duplicates,
            self.quarantined,
            self.spooled,
            self.purged,
            self.dropped,
        )

    @property
    def alive(self) -> bool:
        """Whether the beat is fresh, by the machine's clock (the beat is the machine's too)."""
        return datetime.now(UTC) - self.beat < LOST_AFTER


__all__ = ["BEAT", "LOST_AFTER", "Status"]
