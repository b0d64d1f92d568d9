"""Flat line: a value that has stood still for longer than a working sensor's ever does.

QARTOD test 8 (flat line), tolerance times duration; a series that often stands still (a coarse sensor, a night without
demand) is allowed twice the run it has shown three times before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Key
from sensors.detection.events import detection, note, room
from sensors.detection.scope import Scope
from sensors.detection.series import FAIL, SeriesTable, columns, gap_ms, pack, rows_of, take_over
from sensors.detection.usual import remember
from sensors.limits import LEVELS, FlatLineRow
from sensors.quantity import scale
from sensors.reading import Batch

_RULE = np.dtype(
    [("watched", "?"), ("tolerance", "f8"), ("readings", "i8"), ("ms", "i8"), ("zero", "?"), ("gap_ms", "i8")]
)
_STATE = np.dtype(
    [("time", "i8"), ("start", "i8"), ("value", "f8"), ("count", "i8"), ("usual", "f8", (3,)), ("active", "?")]
)
"""The newest reading's time; the run's first time, value and length; the longest runs, ms; whether it was said."""


class FlatLineDetector:
    """Says when a series stands still for too long, and when it moves again."""

    def __init__(self, series: SeriesTable, rows: Mapping[int, FlatLineRow]) -> None:
        self._series = series
        self._rows = rows
        self._rule = series.rules(rows)
        self._rules = np.zeros(1 + len(series.kinds), _RULE)
        self._state = np.zeros(len(self._rule), _STATE)
        self._state["time"] = np.iinfo(np.int64).min
        for kind, row in rows.items():
            tolerance = row.tolerance * scale(row.unit, row.quantity)[0]
            duration, gap = round(row.duration_s * 1000), gap_ms(series.kinds[kind])
            self._rules[1 + kind] = (True, tolerance, row.readings, duration, row.zero_is_normal, gap)

    @classmethod
    def build(cls, scope: Scope) -> FlatLineDetector:
        """Watch the points of `scope.devices` whose quantity has a row in `scope.limits.flat_line`."""
        series = SeriesTable(scope.devices)
        return cls(series, rows_of(scope.limits.flat_line, series.kinds))

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which series stand still, and which move again."""
        events = room(len(batch))
        count = _scan(self._rule, self._rules, self._state, columns(batch), events)
        return [self._detection(event) for event in events[:count]]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(state=self._state)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        take_over(state, state=self._state)
        self._state["active"] &= self._rule > 0
        standing = np.flatnonzero(self._state["active"]).tolist()
        return {(self._series[number].subject, DetectionKind.FLAT_LINE.value) for number in standing}

    def _detection(self, event: NDArray[np.float64]) -> Detection:
        number = int(event[0])
        row = self._rows[int(self._rule[number]) - 1]
        return detection(event, self._series[number], DetectionKind.FLAT_LINE, LEVELS[row.level])


@numba.njit(cache=True)
def _scan(which: Any, rules: Any, state: Any, columns: Any, events: Any) -> int:  # pragma: no cover  # compiled
    """Follow the run of every reading's series; note each change."""
    series, time, value, quality, history = columns
    count = 0
    for i in range(len(series)):
        s = series[i]
        if s < 0 or s >= len(which) or quality[i] >= FAIL or not np.isfinite(value[i]):
            continue
        rule, now = rules[which[s]], state[s]
        if not rule.watched or time[i] <= now.time:
            continue
        paused = now.count > 0 and time[i] - now.time > rule.gap_ms
        ran = now.time - now.start
        same = now.count > 0 and abs(value[i] - now.value) <= rule.tolerance
        now.time = time[i]
        if same and not paused:
            now.count += 1
            allowed = max(float(rule.ms), 2.0 * now.usual[2])
            ran = time[i] - now.start
            resting = rule.zero and abs(value[i]) <= rule.tolerance
            stuck = now.count >= rule.readings and ran >= allowed and not resting
            if stuck and not now.active and not history[i]:
                now.active = True
                count = note(events, count, (s, 1, time[i], value[i], np.nan, np.nan, ran / allowed))
            continue
        if now.active and not same:
            now.active = False
            count = note(events, count, (s, 0, time[i], value[i], np.nan, np.nan, 0.0))
        if now.count > 1 and not paused:
            remember(now.usual, float(ran), float(time[i] - now.start))
        now.start = time[i]
        now.value = value[i]
        now.count = 1
    return count
