"""Rate of change: a value that leaves the last minute's mean faster than it ever does.

QARTOD test 7 (rate of change), with a threshold that each series sets itself: eight times its recent mean absolute
deviation (about 6.4 standard deviations of Gaussian noise), at least the step that the settings call noteworthy, and a
quarter more than the third largest step it has made lately. Two readings in a row must agree, so that a spike is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Key
from sensors.detection.events import band_evidence, detection, note, room
from sensors.detection.scope import Scope
from sensors.detection.series import FAIL, SeriesTable, columns, gap_ms, pack, rows_of, take_over
from sensors.detection.usual import remember
from sensors.limits import LEVELS, RateRow
from sensors.quantity import scale
from sensors.reading import Batch

TAU_MS = 60_000.0
"""Time constant of the mean that a reading is compared with."""
SETTLED = 10
"""Readings after which a series knows its own scatter."""
SCATTERS = 8.0
USUAL = 1.25
MEMORY = 50
"""Readings over which the scatter is averaged."""
HOLD_MS = 3_600_000
"""A change that lasts longer than this is the new state of things: the condition ends, its profile may still object."""

RESTED_MS = 1_200_000.0
"""A flow that has rested at zero for this long altogether is one that is switched."""

_RULE = np.dtype(
    [
        ("watched", "?"),
        ("least", "f8"),
        ("share", "f8"),
        ("rise", "?"),
        ("fall", "?"),
        ("rest", "f8"),
        ("gap_ms", "i8"),
    ]
)
_STATE = np.dtype(
    [
        ("time", "i8"),
        ("mean", "f8"),
        ("scatter", "f4"),
        ("usual", "f4", (3,)),
        ("rested", "f4"),
        ("count", "i1"),
        ("pending", "i1"),
        ("active", "i1"),
        ("since", "i8"),
    ]
)
"""A series: newest time; mean and mean absolute deviation of the last minute's readings; its largest steps; how long it
has rested at zero, ms; readings so far, up to `MEMORY`; the side that waits for a second reading and the one that
stands (-1, 0, 1), and since when."""


class RateOfChangeDetector:
    """Says when a series moves too fast, and when it is back or has settled where it went.

    >>> from sensors.detection.checks import sample_batch, sample_devices
    >>> from sensors.limits import load
    >>> detector = RateOfChangeDetector.build(Scope(sample_devices(), load()))
    >>> calm = sample_batch([0] * 20, range(0, 100, 5), [3.0e5, 3.01e5] * 10)  # a water main, Pa
    >>> detector.update(calm)
    []
    >>> [burst] = detector.update(sample_batch([0, 0], [100, 105], [2.4e5, 2.3e5]))
    >>> burst.rule, burst.active, burst.value, burst.evidence.basis
    ('rate_of_change', True, 230000.0, 'recent')
    """

    def __init__(self, series: SeriesTable, rows: Mapping[int, RateRow]) -> None:
        self._series = series
        self._rows = rows
        self._rule = series.rules(rows)
        self._rules = np.zeros(1 + len(series.kinds), _RULE)
        self._state = np.zeros(len(self._rule), _STATE)
        self._state["time"] = np.iinfo(np.int64).min
        for kind, row in rows.items():
            least = row.least * scale(row.unit, row.quantity)[0]
            rise, fall = row.side != "fall", row.side != "rise"
            rest = 0.5 * least if row.rests else -1.0
            self._rules[1 + kind] = (True, least, row.share, rise, fall, rest, gap_ms(series.kinds[kind]))

    @classmethod
    def build(cls, scope: Scope) -> RateOfChangeDetector:
        """Watch the points of `scope.devices` whose quantity has a row in `scope.limits.rate_of_change`."""
        series = SeriesTable(scope.devices)
        return cls(series, rows_of(scope.limits.rate_of_change, series.kinds))

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which series moved too fast, and which are settled again."""
        events = room(len(batch))
        count = _scan(self._rule, self._rules, self._state, columns(batch), events)
        return [self._detection(event) for event in events[:count]]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(state=self._state)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        take_over(state, state=self._state)
        self._state["active"] *= self._rule > 0
        standing = np.flatnonzero(self._state["active"]).tolist()
        return {(self._series[number].subject, DetectionKind.RATE_OF_CHANGE.value) for number in standing}

    def _detection(self, event: NDArray[np.float64]) -> Detection:
        number = int(event[0])
        row = self._rows[int(self._rule[number]) - 1]
        series = self._series[number]
        evidence = band_evidence(event, series, "recent", threshold=1.0)
        return detection(event, series, DetectionKind.RATE_OF_CHANGE, LEVELS[row.level], evidence)


@numba.njit(cache=True)
def _scan(which: Any, rules: Any, state: Any, columns: Any, events: Any) -> int:  # pragma: no cover  # compiled
    """Hold every reading against its series' last minute; note each change."""
    series, time, value, quality, history = columns
    count = 0
    for i in range(len(series)):
        s = series[i]
        if s < 0 or s >= len(which) or quality[i] >= FAIL or not np.isfinite(value[i]):
            continue
        rule, now = rules[which[s]], state[s]
        if not rule.watched or time[i] <= now.time:
            continue
        passed = time[i] - now.time
        began = now.count == 0 or passed > rule.gap_ms
        now.time = time[i]
        if began and now.active == 0:
            _begin(now, value[i])
            continue
        threshold = max(rule.least, rule.share * abs(now.mean), SCATTERS * now.scatter, USUAL * now.usual[2])
        before = now.active
        mean = now.mean
        _judge(rule, now, value[i], threshold, (passed, not history[i]))
        if now.active != before:
            low, high, score = mean - threshold, mean + threshold, abs(value[i] - mean) / threshold
            count = note(events, count, (s, now.active, time[i], value[i], low, high, score))
    return count


@numba.njit(cache=True)
def _begin(now: Any, value: float) -> None:  # pragma: no cover  # compiled
    now.mean = value
    now.count = 1
    now.pending = 0


@numba.njit(cache=True)
def _judge(rule: Any, now: Any, value: float, threshold: float, step: Any) -> None:  # pragma: no cover  # compiled
    """Move the condition of one series by a reading; what is not suspicious is learnt."""
    passed, live = step
    away = value - now.mean
    if now.active != 0:
        if abs(away) < 0.5 * threshold or now.time - now.since > HOLD_MS:
            now.active = 0
            _begin(now, value)
        return
    if min(abs(value), abs(now.mean)) <= rule.rest and now.rested > RESTED_MS:
        now.mean = value
        now.pending = 0
        return
    rose, fell = away > threshold and rule.rise, away < -threshold and rule.fall
    if (rose or fell) and now.count >= SETTLED and live:
        side = 1 if rose else -1
        if now.pending == side:
            now.active = side
            now.since = now.time
            now.pending = 0
        else:
            now.pending = side
        return
    now.pending = 0
    _learn(rule, now, value, passed)


@numba.njit(cache=True)
def _learn(rule: Any, now: Any, value: float, passed: int) -> None:  # pragma: no cover  # compiled
    """Take a reading into mean, scatter and what is usual.

    Winsorised at three scatters once there is one, so that a step does not buy itself a wide threshold.
    """
    away = value - now.mean
    if abs(value) <= rule.rest:
        now.rested += passed
    remember(now.usual, abs(away), float(passed))
    seen = abs(away) if now.count < SETTLED else min(abs(away), 3.0 * now.scatter + 0.1 * rule.least)
    now.scatter += (seen - now.scatter) / now.count
    now.mean += (1.0 - np.exp(-passed / TAU_MS)) * away
    now.count = min(now.count + 1, MEMORY)
