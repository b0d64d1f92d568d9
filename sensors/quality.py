"""Data quality, first of all: the gross tests of QARTOD on every reading.

Source: IOOS, Manual for Real-Time Oceanographic Data Quality Control (QARTOD), tests 1 (gap, missing) and 4 (gross
range). A reading that fails stays in the store with its flag and feeds no baseline.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sensors.device import Device
from sensors.quantity import CATALOGUE
from sensors.reading import Batch, Quality

MARGIN = 0.01
"""Share of its span by which a sensor may read beyond it: noise at the ends of a range is no failure."""


class GrossRange:
    """The gross range test: a value outside the span of its sensor cannot be true.

    What a detector that saturates reads above its span is suspect only: gas beyond the end of the scale is worse,
    not wrong, and must reach the limits.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        points = [point for device in devices for point in device.points if point.series >= 0]
        size = 1 + max((point.series for point in points), default=-1)
        self._low = np.full(size, -np.inf)
        self._high = np.full(size, np.inf)
        self._above = np.full(size, Quality.FAIL, np.uint8)
        for point in points:
            margin = MARGIN * (point.high - point.low) if point.low is not None and point.high is not None else 0.0
            if point.low is not None:
                self._low[point.series] = point.low - margin
            if point.high is not None:
                self._high[point.series] = point.high + margin
            if point.quantity in CATALOGUE and CATALOGUE[point.quantity].saturates:
                self._above[point.series] = Quality.SUSPECT

    def check(self, batch: Batch) -> Batch:
        """Return the batch with each flag as bad as the tests find it, never better than it came.

        A value that is no number is MISSING; readings of series that nobody registered stay as they are.
        """
        value = batch.value
        quality = batch.quality.copy()
        quality[~np.isfinite(value)] = Quality.MISSING
        known = np.flatnonzero((batch.series >= 0) & (batch.series < len(self._low)) & np.isfinite(value))
        series = batch.series[known]
        below = value[known] < self._low[series]
        above = value[known] > self._high[series]
        found = np.where(below, np.uint8(Quality.FAIL), np.where(above, self._above[series], np.uint8(Quality.GOOD)))
        quality[known] = np.maximum(quality[known], found)
        return replace(batch, quality=quality)
