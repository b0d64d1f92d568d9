"""A record of one figure of many places, night by night or storm by storm: the last few against those before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Of k places, (k,) each, NaN where too little is known.

    The least and the median of the last figures, the median of those before, and their scatter: 1.4826 times the median
    difference of one to the next, by the root of 2 (of a normal distribution the standard deviation; a season that goes
    up or down is none of it).
    """

    least: NDArray[np.float64]
    last: NDArray[np.float64]
    usual: NDArray[np.float64]
    scatter: NDArray[np.float64]


class Record:
    """The newest `kept` figures of `size` places; the last `last` of them are judged against `warm` others or more.

    >>> record = Record(1, kept=8, last=2, warm=3)
    >>> for figure in (1.0, 1.2, 1.1, 1.0, 3.0, 3.2):
    ...     record.add(np.array([figure]), held=np.array([False]))
    >>> record.judged().last.round(3), record.judged().usual.round(3)
    (array([3.1]), array([1.05]))
    """

    def __init__(self, size: int, *, kept: int, last: int, warm: int) -> None:
        self._figures = np.full((size, kept), np.nan)  # the newest last
        self._last, self._warm = last, warm

    def add(self, figure: NDArray[np.float64], held: NDArray[np.bool_]) -> None:
        """Add a figure of each place, (k,) NaN where there is none; of places `held` what was before stays as it is."""
        known = np.isfinite(figure)
        for rows, first in ((known & ~held, 0), (known & held, self._figures.shape[1] - self._last)):
            self._figures[rows, first:] = np.column_stack([self._figures[rows, first + 1 :], figure[rows]])

    def judged(self) -> Judged:
        """Return how the last figures stand to those before."""
        last, before = self._figures[:, -self._last :], self._figures[:, : -self._last]
        enough = np.isfinite(last).all(axis=1) & (np.isfinite(before).sum(axis=1) >= self._warm)
        usual, scatter = np.full(len(last), np.nan), np.full(len(last), np.nan)
        if enough.any():
            usual[enough] = np.nanmedian(before[enough], axis=1)
            steps = np.abs(np.diff(before[enough], axis=1))
            scatter[enough] = 1.4826 / np.sqrt(2.0) * np.nanmedian(steps, axis=1)
        least, middle = (np.where(enough, of(last, axis=1), np.nan) for of in (np.min, np.median))
        return Judged(least, middle, usual, scatter)

    def state(self) -> NDArray[Any]:
        """Return what `restore` wants, rows by place."""
        return self._figures

    def restore(self, state: NDArray[Any], mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> None:
        """Take over the rows `theirs` of what `state` returned as the rows `mine`."""
        self._figures[mine] = state[theirs]


__all__ = ["Judged", "Record"]
