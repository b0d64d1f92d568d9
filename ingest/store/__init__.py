"""Reading stores: where readings stay. One protocol, one contract suite (`ingest.store.checks`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sensors.reading import Batch


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch, in readings: new, already there with the same value, already there with another."""

    stored: int
    duplicates: int
    conflicts: NDArray[np.intp]
    """Positions in the batch of the readings that were refused because (series, time) holds another value."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest reading of each series, by the device's time, in columns of one length, ordered by series."""

    series: NDArray[np.int32]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]


class ReadingStore(Protocol):
    """Keeps readings, each (series, time) once (entry point group ``chengmai.stores``)."""

    def write(self, batch: Batch) -> Written:
        """Keep the batch durably before returning; writing it again changes nothing."""
        ...

    def read(
        self, series: Sequence[int], start: datetime, end: datetime, every: timedelta | None = None
    ) -> pd.DataFrame:
        """Return readings of [start, end).

        Columns `series` (int32), `time` (datetime64[ms, UTC]), `value` (float64, SI), `quality` (uint8), ordered by
        series and time. With `every`: one row a bucket of that length with columns `min`, `mean`, `max`, `count`
        instead of value and quality.
        """
        ...

    def latest(self) -> Latest:
        """Return the newest reading of every series; late readings never move it back."""
        ...


__all__ = ["Latest", "ReadingStore", "Written"]
