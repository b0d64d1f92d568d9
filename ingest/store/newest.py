"""The newest reading of every series, in arrays indexed by series number: what a store of lines keeps in memory."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.store import Latest
from ingest.store.sifting import NEVER


class Rows(NamedTuple):
    """Readings as a store gives them, in columns of one length: series, time (ms since 1970 UTC), value, quality."""

    series: NDArray[np.int32]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]

    def take(self, index: NDArray[np.intp]) -> Rows:
        """Return the rows at these positions."""
        return Rows(self.series[index], self.time[index], self.value[index], self.quality[index])

    @staticmethod
    def joined(parts: list[Rows]) -> Rows:
        """Return the readings of several parts as one, ordered by series and time."""
        if not parts:
            return Rows(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0, np.uint8))
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        order = np.lexsort((columns[1], columns[0]))
        series, time, value, quality = (column[order] for column in columns)
        return Rows(series, time, value, quality)


class Newest:
    """Follows the newest reading of each series; an older one never moves it back, an equal one keeps the first."""

    def __init__(self) -> None:
        self._time = np.empty(0, np.int64)
        self._value = np.empty(0)
        self._quality = np.empty(0, np.uint8)
        self._asked = np.empty(0, np.bool_)

    def note(self, rows: Rows) -> None:
        """Take in readings, in any order."""
        if not len(rows.series):
            return
        self._grow(rows.series)
        order = np.lexsort((-np.arange(len(rows.series)), rows.time, rows.series))
        last = order[np.append(np.diff(rows.series[order]) != 0, True)]
        last = last[rows.time[last] > self._time[rows.series[last]]]
        at = rows.series[last]
        self._time[at], self._value[at], self._quality[at] = rows.time[last], rows.value[last], rows.quality[last]

    def times(self, series: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the newest time of each of `series`, NEVER for one without readings."""
        times = np.full(len(series), NEVER)
        known = series < len(self._time)
        times[known] = self._time[series[known]]
        return times

    def unasked(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return those of `series`, each once, of which nobody has said `asked` yet."""
        self._grow(series)
        names = np.unique(series)
        return names[~self._asked[names]]

    def asked(self, series: NDArray[np.int32]) -> None:
        """Note that whatever the store had of these series has been taken in."""
        self._asked[series] = True

    @property
    def newest(self) -> int:
        """The newest time of all, or NEVER."""
        return int(self._time.max()) if len(self._time) else NEVER

    def _grow(self, series: NDArray[np.int32]) -> None:
        missing = int(series.max(initial=-1)) + 1 - len(self._time)
        if missing > 0:
            missing = max(missing, len(self._time) // 4)  # grows by shares, so that many new series cost few copies
            self._time = np.append(self._time, np.full(missing, NEVER))
            self._value = np.append(self._value, np.zeros(missing))
            self._quality = np.append(self._quality, np.zeros(missing, np.uint8))
            self._asked = np.append(self._asked, np.zeros(missing, np.bool_))

    def latest(self) -> Latest:
        """Return the newest reading of every series that has one."""
        series = np.flatnonzero(self._time != NEVER)
        return Latest(series.astype(np.int32), self._time[series], self._value[series], self._quality[series])


__all__ = ["Newest", "Rows"]
