"""The gross tests of QARTOD on every reading, without any state: what the store's flags come from.

Source: IOOS, Manual for Real-Time Oceanographic Data Quality Control (QARTOD), tests 1 (gap, missing) and 4 (gross
range). A reading that fails stays in the store with its flag and feeds no baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sensors.device import Device
from sensors.device_table import DeviceTable, PointKind
from sensors.quantity import CATALOGUE
from sensors.reading import Batch, Quality

MARGIN = 0.01
"""Share of its span by which a sensor may read beyond it: noise at the ends of a range is no failure."""

LARGEST = 1e15
"""SI: what is further from zero is an error code (drivers send the largest float), whatever the span; nothing that a
city measures comes near it, and sums of its squares would leave what baselines are kept in."""

_SPAN = np.dtype([("low", "f8"), ("high", "f8"), ("above", "u1")])


class GrossRange:
    """The gross range test: a value outside the span of its sensor cannot be true.

    What a detector that saturates reads above its span is suspect only: gas beyond the end of the scale is worse,
    not wrong, and must reach the limits.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        table = DeviceTable.of(devices)
        spans = np.array([span(kind) for kind in table.kinds], _SPAN)
        of = np.full(len(table.rows), len(spans), np.int32)
        known = table.rows >= 0
        of[known] = table.points.kind[table.rows[known]]
        spans = np.append(spans, np.array([(-np.inf, np.inf, Quality.FAIL)], _SPAN))  # of series that nobody has
        self._low, self._high, self._above = spans["low"][of], spans["high"][of], spans["above"][of]

    def check(self, batch: Batch) -> Batch:
        """Return the batch with each flag as bad as the tests find it, never better than it came.

        A value that is no number is MISSING; readings of series that nobody registered stay as they are.
        """
        value = batch.value
        quality = batch.quality.copy()
        quality[~np.isfinite(value)] = Quality.MISSING
        known = np.flatnonzero((batch.series >= 0) & (batch.series < len(self._low)) & np.isfinite(value))
        series = batch.series[known]
        below = (value[known] < self._low[series]) | (np.abs(value[known]) > LARGEST)
        above = value[known] > self._high[series]
        found = np.where(below, np.uint8(Quality.FAIL), np.where(above, self._above[series], np.uint8(Quality.GOOD)))
        quality[known] = np.maximum(quality[known], found)
        return replace(batch, quality=quality)


def span(kind: PointKind) -> tuple[float, float, Quality]:
    """Return the least and the most that a point may read, and what it means where it reads more."""
    low, high = kind.low, kind.high
    margin = MARGIN * (high - low) if low is not None and high is not None else 0.0
    saturates = kind.quantity in CATALOGUE and CATALOGUE[kind.quantity].saturates
    return (
        -np.inf if low is None else low - margin,
        np.inf if high is None else high + margin,
        Quality.SUSPECT if saturates else Quality.FAIL,
    )
