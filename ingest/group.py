"""Groups: what the spool takes in by one transaction, and so what is acknowledged together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.quarantine import Quarantined
from ingest.sequence import Ranges
from sensors.reading import Batch

_READING_BYTES = 22  # series, time, value, quality, history


@dataclass(slots=True)
class Group:
    """What one transaction takes in; counts are in readings. `seen` and `forgotten` are by device and boot.

    `dropped` were not taken in, nor receipted: their sender has filled its share of the quarantine. `blamed` counts
    the readings refused of devices in the registry, by code and device; it is for the monitor, and not kept.
    `states` is what decoders have to remember, by name; `released` are quarantine rows that are taken in again here.
    """

    received: int = 0
    duplicates: int = 0
    dropped: int = 0
    blamed: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    batches: list[Batch] = field(default_factory=list[Batch])
    quarantine: list[Quarantined] = field(default_factory=list[Quarantined])
    seen: Mapping[tuple[str, int], Ranges] = field(default_factory=dict[tuple[str, int], Ranges])
    forgotten: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    states: dict[str, bytes] = field(default_factory=dict[str, bytes])
    released: list[int] = field(default_factory=list[int])

    @property
    def bytes(self) -> int:
        """About how long it is on disk: readings, refused messages, and what decoders remember."""
        readings = sum(len(batch) for batch in self.batches)
        refused = sum(len(one.payload) + len(one.topic) + len(one.reason) for one in self.quarantine)
        return _READING_BYTES * readings + refused + sum(len(state) for state in self.states.values())


__all__ = ["Group"]
