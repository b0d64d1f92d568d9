"""Seasonal: a value that is strange for its time of day.

Each series has a profile of half hours, over all days and apart for working days, weekends and holidays, learnt from
visits that are past and were normal. The residual against it is smoothed (EWMA: Roberts, 1959) and summed (two-sided
CUSUM: Page, 1954) in units of its own standard deviation from day to day. That deviation starts from a prior, gives way
to what the days show, and then to what each half hour shows, as the mean square of a normal sample does to its
conjugate prior: one day of experience calls only what lies far outside that day strange, and a night becomes a finer
judge than a morning. Single odd visits teach it no more than a cut-off (a robust z). Scored before learnt; learning
rests while the series is abnormal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sensors.city_calendar import Calendar
from sensors.detection import Detection, DetectionKind, Key
from sensors.detection.events import band_evidence, detection, room
from sensors.detection.scope import Scope
from sensors.detection.seasonal_profile import DAY_MS, DAY_TYPES, SLOTS, STRANGE, WARM_SHARE, scan
from sensors.detection.series import SeriesTable, columns, pack, rows_of, take_over
from sensors.limits import LEVELS, SeasonalRow
from sensors.quantity import scale
from sensors.reading import Batch

_RULE = np.dtype([("least", "f8"), ("rests", "?"), ("warm", "i4")])
_STATE = np.dtype(
    [
        ("time", "i8"),
        ("until", "i8"),
        ("sum", "f8"),
        ("base", "f4"),
        ("slope", "f4"),
        ("variance", "f4"),
        ("noise", "f4"),
        ("residual", "f4"),
        ("squares", "f4"),
        ("up", "f4"),
        ("down", "f4"),
        ("rested", "f4"),
        ("count", "i4"),
        ("active", "i1"),
        ("pending", "i1"),
        ("visited", "i1"),
        ("spoiled", "?"),
        ("strange", "i8"),
        ("calm", "i8"),
        ("visit", "i8"),
        ("deviation", "f4"),
        ("days", "f4"),
        ("range", "f4"),
    ]
)
"""A series, small and in the order of use, since memory is what a reading waits for: newest time; end of the quarter of
an hour that it is in; sum of the half hour so far; what is expected at that end, the slope towards it, the variance
from day to day; variance of single readings; smoothed residual; sum of squared residuals of the half hour so far;
CUSUMs; how long it has rested at zero, ms; readings of the half hour so far; the side that stands and the one that the
newest reading asks for (-1, 0, 1); how many half hours it knows; whether this one teaches nothing; since when it has
been strange, and since when it is calm. And what only the end of a half hour asks for: which it is, sum of squared
deviations of half hours in days, how many days those are, and the range of the profile."""


class SeasonalDetector:
    """Says when a series leaves the profile of its days, and when it follows it again.

    >>> from sensors.detection.checks import sample_batch, sample_devices
    >>> from sensors.limits import load
    >>> detector = SeasonalDetector.build(Scope(sample_devices(), load()))
    >>> time = np.arange(0, 3 * 86_400, 300)  # three days of a water main, Pa
    >>> wave = 3e5 + 2e4 * np.sin(2 * np.pi * time / 86_400)
    >>> detector.update(sample_batch([0] * len(time), time, wave))
    []
    >>> [strange] = detector.update(sample_batch([0] * 4, 3 * 86_400 + 300 * np.arange(4), [2e5] * 4))
    >>> strange.rule, strange.active, [round(end, -3) for end in strange.expected]
    ('seasonal', True, [261000.0, 339000.0])
    """

    def __init__(self, series: SeriesTable, rows: Mapping[int, SeasonalRow], calendar: Calendar) -> None:
        self._series = series
        self._rows = rows
        self._rule = series.rules(rows)
        size = len(self._rule)
        self._clock = round(calendar.offset.total_seconds() * 1000), calendar.days()
        self._rules = np.zeros(1 + len(series.kinds), _RULE)
        for kind, row in rows.items():
            reached = min(SLOTS, max(1, DAY_MS // max(1, series.kinds[kind].interval_ms)))
            least = row.least * scale(row.unit, row.quantity)[0]
            self._rules[1 + kind] = (least, row.rests, int(WARM_SHARE * reached))
        self._state = np.zeros(size, _STATE)
        self._state["time"] = np.iinfo(np.int64).min
        self._profile = np.zeros((size, DAY_TYPES, SLOTS), np.float32)
        self._weight = np.zeros((size, DAY_TYPES, SLOTS), np.uint8)
        self._spread = np.zeros((size, SLOTS), np.float32)

    @classmethod
    def build(cls, scope: Scope) -> SeasonalDetector:
        """Watch the points of `scope.devices` whose quantity has a row in `scope.limits.seasonal`."""
        series = SeriesTable(scope.devices)
        return cls(series, rows_of(scope.limits.seasonal, series.kinds), scope.limits.calendar)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which series became strange for their time of day, and which are no longer."""
        events = room(len(batch))
        memory = (self._state, self._profile, self._weight, self._spread)
        count = scan((self._rule, self._rules), memory, self._clock, columns(batch), events)
        return [self._detection(event) for event in events[:count]]

    def save(self) -> bytes:
        """Return the whole state, about 1.3 KB a series before compression."""
        return pack(state=self._state, profile=self._profile, weight=self._weight, spread=self._spread)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        take_over(state, state=self._state, profile=self._profile, weight=self._weight, spread=self._spread)
        self._state["active"] *= self._rule > 0
        standing = np.flatnonzero(self._state["active"]).tolist()
        return {(self._series[number].subject, DetectionKind.SEASONAL.value) for number in standing}

    def _detection(self, event: NDArray[np.float64]) -> Detection:
        number = int(event[0])
        row = self._rows[int(self._rule[number]) - 1]
        series = self._series[number]
        evidence = band_evidence(event, series, "profile", threshold=STRANGE)
        return detection(event, series, DetectionKind.SEASONAL, LEVELS[row.level], evidence)
