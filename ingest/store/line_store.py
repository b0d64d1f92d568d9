"""What the stores that take line protocol have in common: what is new is sent, the newest readings stay in memory.

Such a server names a point by series and time, so that writing again changes nothing; but another value at the same
time would overwrite. Hence readings that are not newer than all before of their series are looked up first; the usual
ones are not. One process writes a series at a time (the district's owner), and opens the store anew when it takes over.
"""

from __future__ import annotations

import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ingest.store import Latest, Rejected, Retention, Written, columns, within
from ingest.store.lines import deliver, lines
from ingest.store.newest import Newest, Rows
from ingest.store.sifting import NEVER, sift
from sensors.clock import to_ms
from sensors.reading import Batch

LOOKS: tuple[tuple[int | None, float], ...] = (
    (5_000, 0.0),
    (60_000, 5.0),
    (3_600_000, 60.0),
    (86_400_000, 600.0),
    (None, 3600.0),
)
"""How far back (ms, None: everything) another process's readings are looked for, and how often (s).

A server has no index by arrival. What a device sends in time is seen at each look; what comes more than five seconds
late within five seconds, more than a minute late within a minute, and so on. Who writes sees its own readings at once.
"""

_HOUR_MS = 3_600_000


class LineStore(ABC):
    """A reading store on a server of line protocol; safe to share between threads."""

    precision: ClassVar[float] = 0.0
    at_once: ClassVar[int] = 5000
    """Lines a request: the size recommended in InfluxDB v2.7 documentation, "Optimize writes to InfluxDB"."""

    series_at_once: ClassVar[int] = 500
    """Series named in one query: servers parse a longer condition slowly, and limit its length."""

    def __init__(self, retention: Retention | None) -> None:
        self._retention = retention
        self._newest = Newest()
        self._looked = [-math.inf] * len(LOOKS)
        self._lock = threading.RLock()

    def write(self, batch: Batch) -> Written:
        """Keep the batch before returning; UnavailableError when the server does not take it (nothing is assumed)."""
        if not len(batch):
            return Written(0, 0, np.empty(0, np.intp))
        with self._lock:
            if self._retention is not None:
                self._set_up(self._retention)
            self._ask_for(batch)
        inside, rejected = within(self._retention or Retention(), batch)
        taken, refused = self._admitted(batch.take(inside))
        rejected += [Rejected(int(inside[at]), reason) for at, reason in refused]
        inside = inside[taken]
        written = self._write(batch.take(inside))
        rejected += [Rejected(int(inside[at]), reason) for at, reason in written.rejected]
        return Written(written.stored, written.duplicates, inside[written.conflicts], rejected)

    def read(
        self, series: Sequence[int], start: datetime, end: datetime, every: timedelta | None = None
    ) -> pd.DataFrame:
        """Return readings of [start, end), or buckets of the length `every`; columns as of the protocol."""
        wanted, span = sorted(set(series)), (to_ms(start), to_ms(end))
        rows: list[tuple[Any, ...]] = []
        for first in range(0, len(wanted), self.series_at_once) if span[0] < span[1] else ():
            some = wanted[first : first + self.series_at_once]
            if every is None:
                found = self._rows(some, *span)
                rows += zip(*(column.tolist() for column in found), strict=True)
            else:
                rows += sorted(self._buckets(some, *span, round(every / timedelta(milliseconds=1))))
        return columns(rows, ["value", "quality"] if every is None else ["min", "mean", "max", "count"])

    def latest(self) -> Latest:
        """Return the newest reading of every series; see `LOOKS` for when another process's readings are seen."""
        with self._lock:
            now_s = time.monotonic()
            due = [at for at, (_, every_s) in enumerate(LOOKS) if now_s - self._looked[at] >= every_s]
            self._look(due[-1])
            return self._newest.latest()

    @abstractmethod
    def close(self) -> None:
        """Close the connections."""

    @abstractmethod
    def _set_up(self, retention: Retention) -> None:
        """Make what the server needs for writing, once; UnavailableError as long as that cannot be said."""

    @abstractmethod
    def _send(self, body: bytes) -> None:
        """Write lines; RefusedError where some are refused, UnavailableError where none were taken."""

    @abstractmethod
    def _rows(self, series: Sequence[int], first: int, last: int) -> Rows:
        """Return the readings of [first, last) ms of the series, ordered by series and time."""

    @abstractmethod
    def _buckets(self, series: Sequence[int], first: int, last: int, step: int) -> list[tuple[Any, ...]]:
        """Return (series, bucket's beginning in ms, min, mean, max, count) of the buckets that hold readings."""

    @abstractmethod
    def _last(self, since: int | None, series: Sequence[int] | None) -> Rows:
        """Return the newest reading of each of `series`, or of all, that has one since `since` (ms), or ever."""

    def _admitted(self, batch: Batch) -> tuple[NDArray[np.intp], list[tuple[int, str]]]:
        """Return the positions of what the server would take, and those of what it would not, with why."""
        return np.arange(len(batch)), []

    def _tolerance(self, batch: Batch) -> NDArray[np.float64] | float:
        """Return how far a value of the batch may be from what comes back, and still be the same."""
        del batch
        return 0.0

    def _lines(self, batch: Batch) -> list[str]:
        return lines(batch)

    def _write(self, batch: Batch) -> Written:
        with self._lock:
            newest = self._newest.times(batch.series)
        fresh, duplicates, conflicts = sift(batch, newest, self._values, self._tolerance(batch))
        refused = deliver(self._lines(batch.take(fresh)), self._send, self.at_once)
        kept = np.delete(fresh, [at for at, _ in refused])
        self._note(batch.take(kept))
        return Written(len(kept), duplicates, conflicts, [Rejected(int(fresh[at]), why) for at, why in refused])

    def _note(self, kept: Batch) -> None:
        with self._lock:
            self._newest.note(Rows(kept.series, kept.time, kept.value, kept.quality))

    def _ask_for(self, batch: Batch) -> None:
        """Ask for the newest readings of series that were never written here before."""
        unasked = self._newest.unasked(batch.series)
        for first in range(0, len(unasked), self.series_at_once):
            some = unasked[first : first + self.series_at_once]
            self._newest.note(self._last(None, some.tolist()))
            self._newest.asked(some)

    def _look(self, look: int) -> None:
        """Look for what others wrote, as far back as that one of `LOOKS` says."""
        reach, _ = LOOKS[look]
        now, newest = to_ms(datetime.now(UTC)), self._newest.newest
        # A recording's newest reading lies long ago, and a device's clock may run ahead.
        latest = now if newest == NEVER else min(newest, now)
        self._newest.note(self._last(None if reach is None else latest - reach, None))
        self._looked[: look + 1] = [time.monotonic()] * (look + 1)

    def _values(self, batch: Batch) -> NDArray[np.float64]:
        """Return the values that the server has at the (series, time) of a batch; NaN where it has none."""
        values = np.full(len(batch), np.nan)
        for at in _groups(batch, self.series_at_once):
            wanted = batch.take(at)
            first, last = int(wanted.time.min()), int(wanted.time.max()) + 1
            names = np.unique(wanted.series)
            rows = self._rows(names.tolist(), first, last)
            if len(rows.series):
                keys = _keys(rows.series, rows.time, names, first, last)
                sought = _keys(wanted.series, wanted.time, names, first, last)
                place = np.minimum(np.searchsorted(keys, sought), len(keys) - 1)
                values[at] = np.where(keys[place] == sought, rows.value[place], np.nan)
        return values


def _keys(
    series: NDArray[np.int32], moment: NDArray[np.int64], names: NDArray[np.int32], first: int, last: int
) -> NDArray[np.int64]:
    """Return one number for each (series, time), in their order; `names` are few, so that it cannot overflow."""
    return np.searchsorted(names, series) * np.int64(last - first) + (moment - first)


def _groups(batch: Batch, most: int) -> Iterator[NDArray[np.intp]]:
    """Yield positions by the hours that their series' readings span, at most `most` series at a time.

    One device that sends what it kept for a week then costs a query of its own, and not a week of every series.
    """
    names, place = np.unique(batch.series, return_inverse=True)
    first = np.full(len(names), np.iinfo(np.int64).max)
    last = np.full(len(names), np.iinfo(np.int64).min)
    np.minimum.at(first, place, batch.time // _HOUR_MS)
    np.maximum.at(last, place, batch.time // _HOUR_MS)
    order = np.lexsort((last, first))
    changes = np.flatnonzero((np.diff(first[order]) != 0) | (np.diff(last[order]) != 0)) + 1
    for alike in np.split(order, changes):
        for begin in range(0, len(alike), most):
            chosen = np.zeros(len(names), np.bool_)
            chosen[alike[begin : begin + most]] = True
            yield np.flatnonzero(chosen[place])


__all__ = ["LOOKS", "LineStore"]
