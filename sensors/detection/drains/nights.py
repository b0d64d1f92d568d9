"""What drains carry at night: the least hourly flow of each dry night, and how it stands to the nights before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection.drains.record import Record

HOUR_MS = 3_600_000
NIGHT = (1, 5)
"""Local hours between which the least flow is looked for."""
KEPT, LAST, WARM = 13, 3, 7
"""Nights that are kept, the last of them that are judged, and the least that they are judged against."""


class Nights:
    """The least hourly mean of each dry night, of k flows; `offset_ms` is the local time ahead of UTC."""

    def __init__(self, size: int, offset_ms: int) -> None:
        self._offset_ms = offset_ms
        self.record = Record(size, kept=KEPT, last=LAST, warm=WARM)
        self._night = np.full(size, np.nan)
        self._open = np.zeros((size, 2))  # of the hour that is open: sum, count
        self._at = np.full(2, -1, np.int64)  # numbers of the open hour, and of the first hour since which it is dry

    def take(self, time: int, flow: NDArray[np.float64], held: NDArray[np.bool_], *, dry: bool) -> bool:
        """Take in a step at `time` (ms UTC), `flow` (k,) NaN of what was not read; whether a night is over by it.

        `held` (k,) as of `Record.add`.
        """
        hour = (time + self._offset_ms) // HOUR_MS
        over = False
        if hour != self._at[0]:
            over = self._turn(int(hour), held)
        if not dry:
            self._at[1] = hour + 1
        read = np.isfinite(flow)
        self._open += np.stack([np.where(read, flow, 0.0), read], axis=1)
        return over

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` wants; rows by place but for `nights_at`."""
        last = np.column_stack([self._night, self._open])
        return {"nights_least": self.record.state(), "nights_open": last, "nights_at": self._at}

    def restore(self, state: Mapping[str, NDArray[Any]], mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> None:
        """Take over the rows `theirs` of what `state` returned as the rows `mine`."""
        self.record.restore(state["nights_least"], mine, theirs)
        self._night[mine], self._open[mine] = state["nights_open"][theirs, 0], state["nights_open"][theirs, 1:]
        self._at[:] = state["nights_at"]

    def _turn(self, hour: int, held: NDArray[np.bool_]) -> bool:
        """Close the open hour; whether that ended a night."""
        closed, self._at[0] = int(self._at[0]), hour
        if closed < 0:
            self._at[1] = hour
            return False
        with np.errstate(invalid="ignore"):
            mean = self._open[:, 0] / self._open[:, 1]
        self._open[:] = 0.0
        first, last = NIGHT
        if first <= closed % 24 < last:
            self._night = np.fmin(self._night, mean)
        ends = closed - closed % 24 + last  # the hour at which this night is over
        if closed % 24 >= last or hour < ends or not np.isfinite(self._night).any():
            return False
        dry = self._at[1] <= closed - closed % 24 + first
        if dry:
            self.record.add(self._night, held)
        self._night[:] = np.nan
        return bool(dry)


__all__ = ["Nights"]
