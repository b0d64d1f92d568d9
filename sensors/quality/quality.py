"""The quality layer: every reading tested before any detector sees it, and the devices told of that fail too often."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sensors.clock import to_ms
from sensors.detection import Detection, DetectionKind, Evidence, Key, Subject
from sensors.detection.events import COLUMNS
from sensors.detection.scope import Scope
from sensors.detection.series import SeriesTable, columns, pack, take_over
from sensors.device_table import DeviceTable
from sensors.limits import LEVELS, Limits, row_of
from sensors.quality.alarms import COUNTED, LASTING, RULES
from sensors.quality.flags import Test
from sensors.quality.neighbours import Neighbours, twins
from sensors.quality.rules import rules
from sensors.quality.scan import SETTINGS, fresh, scan
from sensors.reading import Batch
from twin.errors import SettingsError

_LAYER = "quality"
_ALL = sum(Test)
_MOST = 16
"""Readings whose tests a series remembers."""


class Quality:
    """Tests readings (`Test`), and raises an alarm about the device whose readings fail several times.

    One reading that fails never does: `number.quality.least` of the last `number.quality.of` must. The exception are
    tests that last by themselves (flat line, attenuation, drift, calibration). What failed stays in the batch, flagged,
    and feeds no baseline; what is suspect only still reaches every detector. History is flagged and raises nothing.

    >>> from sensors.detection.checks import sample_batch, sample_devices
    >>> from sensors.limits import load
    >>> quality = Quality.build(Scope(sample_devices(), load()))
    >>> checked, said = quality.check(sample_batch([0, 0], [0, 5], [3e5, 2e6]))
    >>> checked.quality.tolist(), Test(int(checked.flags[1])).rule, said
    ([1, 4], 'gross_range', [])
    """

    NAMES: ClassVar = frozenset({_LAYER, *(test.rule for test in Test)})
    """What `build` may be told to leave out."""

    def __init__(self, table: DeviceTable, limits: Limits, off: Test) -> None:
        self._series = series = SeriesTable(table)
        points = series.points
        rows = series.watched(range(len(series.kinds)))
        number, device = points.series[rows], points.device[rows]
        size = series.width(rows)
        self._kind = np.full(size, -1, np.int32)
        self._kind[number] = points.kind[rows]
        first = np.full(len(table), size, np.int32)  # the first series of each device stands for it
        np.minimum.at(first, device, number)
        self._first = np.zeros(size, np.int32)
        self._first[number] = first[device]
        self._on = int(~off & _ALL)
        self._settings = _settings(limits)
        self._level = round(limits.number(_LAYER, "level"))
        self._flat_line = {
            index: row
            for index, kind in enumerate(series.kinds)
            if (row := row_of(limits.flat_line, kind.quantity, kind.system)) is not None
        }
        self._rules = rules(series.kinds, limits, off)
        self._neighbours = Neighbours(series, table, limits, off)
        due = _due(table, rows, size)
        twin, tolerance = twins(series, table, limits, off)
        self._tables = (self._kind, self._rules, self._first, self._neighbours.tables, due, twin, tolerance)
        self._states = fresh(size)

    @classmethod
    def build(cls, scope: Scope, disabled: Collection[str] = ()) -> Quality:
        """Test the points of `scope.devices`, but not by the tests `disabled` (of `NAMES`).

        ``quality`` stands for all tests but those that need no memory.
        """
        off = Test(_ALL) & ~(Test.MISSING | Test.GROSS_RANGE) if _LAYER in disabled else Test(0)
        for test in Test:
            off |= test if test.rule in disabled else Test(0)
        return cls(DeviceTable.of(scope.devices), scope.limits, off)

    def check(self, batch: Batch) -> tuple[Batch, list[Detection]]:
        """Return the batch with quality and flags as bad as the tests find them, and what changed about devices."""
        size = len(batch)
        flags = np.zeros(size, np.uint32) if batch.flags is None else np.array(batch.flags, np.uint32)
        quality = np.array(batch.quality, np.uint8)
        events = np.empty((size * (RULES + 1), COLUMNS))
        read = columns(batch), np.require(batch.time, np.int64, ("C", "W")), batch.now
        count = scan((self._tables, self._settings), self._states, read, (quality, flags, self._on), events)
        return replace(batch, quality=quality, flags=flags), [self._detection(event) for event in events[:count]]

    def save(self) -> bytes:
        """Return the whole state, about 300 B a series before compression."""
        state, device = self._states
        return pack(state=state, device=device, **self._neighbours.state)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        series, device = self._states
        take_over(state, state=series, device=device, **self._neighbours.state)
        gone = self._kind < 0
        series["alarm"][gone] = 0
        tested = np.append(self._rules["flat"], np.False_)  # the last one is the rule of those that are gone
        series["stuck"] &= tested[self._kind]
        device["standing"] = 0
        stands: set[Key] = set()
        for k, test in enumerate((*COUNTED, *LASTING)):
            raised = np.flatnonzero(series["alarm"] & np.uint32(1 << k))
            np.add.at(device["standing"][:, k], self._first[raised], 1)
            stands |= {(self._subject(number), test.rule) for number in raised.tolist()}
        stuck = np.flatnonzero(series["stuck"]).tolist()
        return stands | {(self._series[number].subject, DetectionKind.FLAT_LINE.value) for number in stuck}

    def _subject(self, number: int) -> Subject:
        return Subject(f"device:{self._series[number].device}")

    def _detection(self, event: NDArray[np.float64]) -> Detection:
        number, side = int(event[0]), int(event[1])
        series = self._series[number]
        rule = self._rules[self._kind[number]]
        flat = abs(side) > RULES
        test = Test.FLAT_LINE if flat else (*COUNTED, *LASTING)[abs(side) - 1]
        score = float(event[6])
        confidence = 1.0 - 0.5 ** max(score, 1.0) if flat else score
        return Detection(
            series.subject if flat else self._subject(number),
            test.rule,
            DetectionKind.FLAT_LINE if flat else DetectionKind.QUALITY,
            active=side > 0,
            level=LEVELS[self._flat_line[int(self._kind[number])].level] if flat else self._level,
            time=int(event[2]),
            value=None if math.isnan(event[3]) else float(event[3]),
            expected=_expected(test, rule),
            score=score,
            quantity=series.quantity,
            evidence=Evidence(_BASES.get(test, "recent"), confidence, points=(series.subject,)),
        )


_BASES = {
    Test.GROSS_RANGE: "limit",
    Test.OPERATOR_RANGE: "limit",
    Test.BATTERY: "limit",
    Test.RADIO: "limit",
    Test.DRIFT: "neighbours",
    Test.INCONSISTENT: "neighbours",
    Test.CALIBRATION: "calibration",
}
"""What the expectation of a test comes from, where that is not what the series did lately."""


def _expected(test: Test, rule: Any) -> tuple[float, float] | None:
    """Return the range that a reading is held to, where the test has one and both of its ends."""
    if test is Test.GROSS_RANGE:
        low, high = float(rule["low"]), float(rule["high"])
    elif test in Test.OPERATOR_RANGE | Test.BATTERY | Test.RADIO:
        low, high = float(rule["least"]), float(rule["most"])
    else:
        return None
    return (low, high) if math.isfinite(low) and math.isfinite(high) else None


def _settings(limits: Limits) -> np.void:
    """Return the numbers of the layer as the compiled pass wants them; SettingsError where one makes no sense."""

    def milliseconds(name: str) -> int:
        return round(limits.number(_LAYER, name) * 1000)

    of, least = round(limits.number(_LAYER, "of")), round(limits.number(_LAYER, "least"))
    if not 1 < least <= of <= _MOST:
        raise SettingsError(
            f"an alarm needs {least} of {of} readings",
            where="limits: number.quality.least, of",
            expected=f"1 < least <= of <= {_MOST}",
        )
    found = np.zeros(1, SETTINGS)
    found[0] = (
        milliseconds("future"),
        milliseconds("stale"),
        limits.number(_LAYER, "scatters"),
        milliseconds("attenuated_window"),
        limits.number(_LAYER, "attenuated_share"),
        milliseconds("handling"),
        limits.number(_LAYER, "freezing"),
        of,
        least,
    )
    return found[0]


def _due(table: DeviceTable, rows: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    """Return by series when its calibration is due, ms UTC; empty where none ever is."""
    days = table.calibration_due
    due = [(row, day) for row in rows.tolist() if (day := days[row]) is not None]
    if not due:
        return np.empty(0, np.int64)
    found = np.full(size, np.iinfo(np.int64).max)
    for row, day in due:
        found[table.points.series[row]] = to_ms(datetime(day.year, day.month, day.day, tzinfo=UTC))
    return found


__all__ = ["Quality"]
