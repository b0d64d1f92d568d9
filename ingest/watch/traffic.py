"""Traffic: what came in and was refused lately, gathered by group for whoever watches ingest."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ingest.group import Group

MAX_DEVICES = 1000
MAX_SAMPLES = 50_000


@dataclass(frozen=True, slots=True)
class Lately:
    """What came since the look before: readings refused by device as ahead of time (E_FUTURE) and as too many (E_RATE).

    `late_s` is the median of how old live readings were when they came, seconds; None where none came.
    """

    ahead: dict[str, int]
    throttled: dict[str, int]
    late_s: float | None


@dataclass(slots=True)
class Traffic:
    """Counts what intake commits; `refused` are readings by code since the start. Safe to share between two threads."""

    refused: Counter[str] = field(default_factory=Counter[str])
    _by_device: dict[str, Counter[str]] = field(default_factory=lambda: {"E_FUTURE": Counter(), "E_RATE": Counter()})
    _late: list[NDArray[np.int64]] = field(default_factory=list[NDArray[np.int64]])
    _samples: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, group: Group) -> None:
        """Take in a group that has been committed."""
        with self._lock:
            for one in group.quarantine:
                self.refused[one.code] += one.readings
            for (code, device), readings in group.blamed.items():
                devices = self._by_device.get(code)
                if devices is not None and (device in devices or len(devices) < MAX_DEVICES):
                    devices[device] += readings
            for batch in group.batches:
                late = batch.now - batch.time[~batch.history]
                if len(late) and self._samples < MAX_SAMPLES:
                    self._late.append(late)
                    self._samples += len(late)

    def look(self) -> Lately:
        """Return what came since the last look, and begin anew."""
        with self._lock:
            late, self._late, self._samples = self._late, [], 0
            ahead, throttled = (dict(self._by_device[code]) for code in ("E_FUTURE", "E_RATE"))
            for devices in self._by_device.values():
                devices.clear()
        return Lately(ahead, throttled, float(np.median(np.concatenate(late))) / 1000 if late else None)


__all__ = ["Lately", "Traffic"]
