"""Readings, in columns: what detection and storage work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Quality(IntEnum):
    """Data-quality flags of QARTOD (IOOS, Manual for Real-Time Quality Control, table of flags)."""

    GOOD = 1
    UNKNOWN = 2
    SUSPECT = 3
    FAIL = 4
    MISSING = 9


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings of many series at once; the five columns have one length n, which may be 0.

    `series` (n, int32) are the registry's series numbers; `time` (n, int64) milliseconds since 1970 UTC by the
    device's clock; `value` (n, float64) in SI; `quality` (n, uint8) QARTOD flags; `history` (n, bool) marks buffered
    or backfilled readings, which raise no live alarm. `flags` (n, uint32) are the quality tests that a reading did not
    pass (`sensors.quality.Test`), None before any test. `now` is the city's time in milliseconds when the batch was
    handed over: an empty batch is how time passes for a detector of silence.
    """

    series: NDArray[np.int32]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]
    history: NDArray[np.bool_]
    now: int
    flags: NDArray[np.uint32] | None = None

    def __len__(self) -> int:
        return len(self.series)

    def take(self, index: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Batch:
        """Return the readings at `index` (a mask or positions; a slice is not copied), at the same `now`."""
        return Batch(
            self.series[index],
            self.time[index],
            self.value[index],
            self.quality[index],
            self.history[index],
            self.now,
            None if self.flags is None else self.flags[index],
        )

    @staticmethod
    def empty(now: int) -> Batch:
        """Return a batch without readings: only time has passed."""
        return Batch(
            np.empty(0, np.int32),
            np.empty(0, np.int64),
            np.empty(0, np.float64),
            np.empty(0, np.uint8),
            np.empty(0, np.bool_),
            now,
        )

    @staticmethod
    def joined(batches: Sequence[Batch], now: int) -> Batch:
        """Return the readings of several batches as one, in time order, handed over at `now`."""
        if not batches:
            return Batch.empty(now)
        joined = Batch(
            np.concatenate([batch.series for batch in batches]),
            np.concatenate([batch.time for batch in batches]),
            np.concatenate([batch.value for batch in batches]),
            np.concatenate([batch.quality for batch in batches]),
            np.concatenate([batch.history for batch in batches]),
            now,
        )
        return joined.take(np.argsort(joined.time, kind="stable"))
