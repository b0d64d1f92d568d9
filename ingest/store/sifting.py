"""Sifting: which readings of a batch are new to a store, which it has, and which contradict what it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sensors.reading import Batch

NEVER = np.iinfo(np.int64).min
"""The newest time of a series without readings."""


class Sifted(NamedTuple):
    """Positions in a batch of what is new and of what contradicts; how many are there already, with their value."""

    fresh: NDArray[np.intp]
    duplicates: int
    conflicts: NDArray[np.intp]


def sift(
    batch: Batch,
    newest: NDArray[np.int64],
    held: Callable[[Batch], NDArray[np.float64]],
    tolerance: NDArray[np.float64] | float = 0.0,
) -> Sifted:
    """Sort out what a store has to be given of a batch, so that each (series, time) is kept once.

    `newest` (n, int64) is the newest time the store has of each reading's series, ms since 1970 UTC, or NEVER; only
    readings that are not newer are asked of `held`, which returns the values at their (series, time), NaN for none.
    Within the batch the first reading of a (series, time) counts. Values are the same within `tolerance`, in SI, for
    all or for each reading.
    """
    order = np.lexsort((batch.time, batch.series))
    series, time = batch.series[order], batch.time[order]
    leads = np.append(True, (np.diff(series) != 0) | (np.diff(time) != 0)) if len(batch) else np.empty(0, np.bool_)
    leaders = order[leads]
    there = np.full(len(leaders), np.nan)
    late = np.flatnonzero(batch.time[leaders] <= newest[leaders])
    if len(late):
        there[late] = held(batch.take(leaders[late]))
    reference = np.empty(len(batch))
    reference[order] = np.where(np.isnan(there), batch.value[leaders], there)[np.cumsum(leads) - 1]
    fresh = np.sort(leaders[np.isnan(there)])
    differs = ~same(batch.value, reference, tolerance)
    differs[fresh] = False
    conflicts = np.flatnonzero(differs)
    return Sifted(fresh, len(batch) - len(fresh) - len(conflicts), conflicts)


def same(
    one: NDArray[np.float64], other: NDArray[np.float64], tolerance: NDArray[np.float64] | float
) -> NDArray[np.bool_]:
    """Return where two columns of values agree within `tolerance`; NaN agrees with nothing."""
    with np.errstate(over="ignore", invalid="ignore"):  # the largest floats may differ by more than a float holds
        return (one == other) | (np.abs(one - other) <= tolerance)


__all__ = ["NEVER", "Sifted", "same", "sift"]
