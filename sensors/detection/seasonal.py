"""Seasonal: a value that is strange for its time of day.

Each series has a profile of half hours, over all days and apart for working days and weekends, learnt from visits that
are past and were normal. The residual against it is smoothed (EWMA: Roberts, 1959) and summed (two-sided CUSUM: Page,
1954) in units of its own standard deviation from day to day. That deviation starts from a prior and gives way to what
the days show, as the mean square of a normal sample does to its conjugate prior; one day of experience therefore calls
only what lies far outside that day strange. Scored before learnt; learning rests while the series is abnormal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sensors.city_calendar import Calendar
from sensors.detection import Detection, DetectionKind, Key
from sensors.detection.events import detection, room
from sensors.detection.scope import Scope
from sensors.detection.seasonal_profile import DAY_TYPES, SLOTS, scan
from sensors.detection.series import SeriesTable, columns, pack, rows_of, take_over
from sensors.limits import LEVELS, SeasonalRow
from sensors.quantity import scale
from sensors.reading import Batch

_STATE = np.dtype(
    [
        ("time", "i8"),
        ("visit", "i8"),
        ("sum", "f8"),
        ("squares", "f8"),
        ("count", "i8"),
        ("spoiled", "?"),
        ("residual", "f8"),
        ("up", "f8"),
        ("down", "f8"),
        ("noise", "f8"),
        ("deviation", "f8"),
        ("days", "f8"),
        ("range", "f8"),
        ("rested", "f8"),
        ("active", "i4"),
        ("calm", "i8"),
        ("strange", "i8"),
    ]
)
"""A series: newest time; the half hour it is in (sum, squares of residuals, count, spoiled); smoothed residual and
CUSUMs; variance of single readings; sum of squared deviations of half hours, in days, and how many days those are;
range of the profile; how long it has rested at zero, ms; the side that stands (-1, 0, 1), since when it is calm, and
since when it has been strange."""


class SeasonalDetector:
    """Says when a series leaves the profile of its days, and when it follows it again."""

    def __init__(self, series: SeriesTable, rows: Mapping[int, SeasonalRow], calendar: Calendar) -> None:
        self._series = series
        self._rows = rows
        self._rule = series.rules(rows)
        size = len(self._rule)
        self._offset_ms = round(calendar.offset.total_seconds() * 1000)
        least, rests = np.zeros(1 + len(series.kinds)), np.zeros(1 + len(series.kinds), np.bool_)
        for kind, row in rows.items():
            least[1 + kind] = row.least * scale(row.unit, row.quantity)[0]
            rests[1 + kind] = row.rests
        self._least, self._rests = least[self._rule], rests[self._rule]
        self._state = np.zeros(size, _STATE)
        self._state["time"] = np.iinfo(np.int64).min
        self._profile = np.zeros((size, DAY_TYPES, SLOTS), np.float32)
        self._weight = np.zeros((size, DAY_TYPES, SLOTS), np.float32)

    @classmethod
    def build(cls, scope: Scope) -> SeasonalDetector:
        """Watch the points of `scope.devices` whose quantity has a row in `scope.limits.seasonal`."""
        series = SeriesTable(scope.devices)
        return cls(series, rows_of(scope.limits.seasonal, series.kinds), scope.limits.calendar)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which series became strange for their time of day, and which are no longer."""
        events = room(len(batch))
        memory = (self._state, self._profile, self._weight, self._rests)
        count = scan(self._least, memory, self._offset_ms, columns(batch), events)
        return [self._detection(event) for event in events[:count]]

    def save(self) -> bytes:
        """Return the whole state, about 1.3 KB a series before compression."""
        return pack(state=self._state, profile=self._profile, weight=self._weight)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        take_over(state, state=self._state, profile=self._profile, weight=self._weight)
        self._state["active"] *= self._least > 0
        standing = np.flatnonzero(self._state["active"]).tolist()
        return {(self._series[number].subject, DetectionKind.SEASONAL.value) for number in standing}

    def _detection(self, event: NDArray[np.float64]) -> Detection:
        number = int(event[0])
        row = self._rows[int(self._rule[number]) - 1]
        return detection(event, self._series[number], DetectionKind.SEASONAL, LEVELS[row.level])
