"""Load: residuals of pressures as they would be if a network always drew as much.

The head that is lost on the way to a place goes with the flow Q as Q^1.852 (Hazen, Williams), so what a leak q adds to
it goes with q Q^0.852: the same leak shows by half as much again in a summer, or in a year in which other leaks run, as
in a winter. Unless that is taken out, each leak that stands seems to grow and to shrink with all that is drawn beside
it, and hides the next one. Signatures are taken at one load; residuals, less what they are when nothing is known to
leak, are brought to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.hydraulics.network_model import PROBE_LOAD

EXPONENT = 0.852
"""Of what is drawn, in the head that is lost for one m³/s more: Hazen-Williams less one."""
USUAL_BLOCKS = 10
"""Blocks whose mean is what a residual is without a leak: the model's own error, and the height of the meter."""
_MOST = 3.0
"""More or less than so many times the load is no load: most is shut off, or torn open."""

Vector = NDArray[np.float64]


class Load:
    """Brings n residuals to the load `PROBE_LOAD`; `part` (n,) is the column of the draw that each hangs on.

    Those that hang on nothing that is known (-1) stay as they are.

    >>> load = Load(np.array([0, -1]))
    >>> usual = [load.take(np.array([2.0, 2.0]), np.array([1.2])) for _ in range(USUAL_BLOCKS)]
    >>> usual[-1].tolist()
    [0.0, 2.0]
    >>> leak = 1.5**0.852  # of what it takes where the load is half as large again
    >>> load.take(np.array([2.0, 2.0]) - leak, np.array([1.8])).round(3).tolist()
    [-1.0, 0.587]
    """

    def __init__(self, part: NDArray[np.int64]) -> None:
        self._part = part
        self._sum, self._blocks = np.zeros(len(part)), np.zeros(len(part))

    def take(self, residual: Vector, load: Vector) -> Vector:
        """Return what a block's residuals (n,), NaN for none, would be beside the usual, at a `load` (parts,).

        A load is what is drawn, as so many times the mean by the file.
        """
        new = np.isfinite(residual) & (self._blocks < USUAL_BLOCKS)
        self._sum += np.where(new, residual, 0.0)
        self._blocks += new
        times = np.clip(np.nan_to_num(load, nan=PROBE_LOAD) / PROBE_LOAD, 1 / _MOST, _MOST)
        evened = (residual - self._sum / np.maximum(self._blocks, 1)) / np.append(times, 1.0)[self._part] ** EXPONENT
        return np.where(self._part >= 0, evened, residual)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state."""
        return {"sum": self._sum, "blocks": self._blocks}

    def restore(self, state: Mapping[str, NDArray[Any]], columns: NDArray[np.int64]) -> None:
        """Take over what `state` returned of residuals that were in `columns` (-1: new)."""
        old = columns >= 0
        self._sum, self._blocks = np.zeros(len(old)), np.zeros(len(old))
        self._sum[old], self._blocks[old] = state["sum"][columns[old]], state["blocks"][columns[old]]


__all__ = ["EXPONENT", "Load"]
