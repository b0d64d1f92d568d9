"""Flat line: a value that has stood still for longer than a working sensor's ever does.

QARTOD test 8 (flat line), tolerance times duration; a series that often stands still (a coarse sensor, a night without
demand) is allowed twice the run it has shown three times before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Key
from sensors.detection.events import detection, note, room
from sensors.detection.series import FAIL, Series, columns, pack, series_of, take_over, width
from sensors.detection.usual import remember
from sensors.device import Device
from sensors.limits import LEVELS, FlatLineRow, Limits, row_of
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

    def __init__(self, watched: Sequence[tuple[Series, FlatLineRow]]) -> None:
        self._watched = {series.number: (series, row) for series, row in watched}
        size = width([series for series, _ in watched])
        self._rules = np.zeros(size, _RULE)
        self._state = np.zeros(size, _STATE)
        self._state["time"] = np.iinfo(np.int64).min
        for number, (series, row) in self._watched.items():
            tolerance = row.tolerance * scale(row.unit, row.quantity)[0]
            duration = round(row.duration_s * 1000)
            self._rules[number] = (True, tolerance, row.readings, duration, row.zero_is_normal, series.gap_ms)

    @classmethod
    def build(cls, devices: Sequence[Device], limits: Limits) -> FlatLineDetector:
        """Watch the points of `devices` whose quantity has a row in `limits.flat_line`."""
        rows = (
            (series, row_of(limits.flat_line, series.point.quantity, series.system)) for series in series_of(devices)
        )
        return cls([(series, row) for series, row in rows if row is not None])

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which series stand still, and which move again."""
        events = room(len(batch))
        count = _scan(self._rules, self._state, columns(batch), events)
        return [self._detection(event) for event in events[:count]]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(state=self._state)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        take_over(state, state=self._state)
        self._state["active"] &= self._rules["watched"]
        standing = np.flatnonzero(self._state["active"]).tolist()
        return {(self._watched[number][0].subject, DetectionKind.FLAT_LINE.value) for number in standing}

    def _detection(self, event: NDArray[np.float64]) -> Detection:
        series, row = self._watched[int(event[0])]
        return detection(event, series, DetectionKind.FLAT_LINE, LEVELS[row.level])


@numba.njit(cache=True)
def _scan(rules: Any, state: Any, columns: Any, events: Any) -> int:  # pragma: no cover  # compiled
    """Follow the run of every reading's series; note each change."""
    series, time, value, quality, history = columns
    count = 0
    for i in range(len(series)):
        s = series[i]
        if s < 0 or s >= len(rules) or quality[i] >= FAIL or not np.isfinite(value[i]):
            continue
        rule, now = rules[s], state[s]
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
