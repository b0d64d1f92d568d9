"""Excess: how far each of many places reads beyond what was expected of it, for how long, and what was told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PAUSE_MS = 3_600_000
"""After a longer pause a place is looked at afresh."""
LATELY_MS = 3_600_000
"""How long a place's peak is remembered."""
FALLEN = 0.8
"""Share of its peak below which an excess is passing."""

_NEVER = -(2**62)
_TIMES = ("time", "since", "calm", "peak_at")
_STATE = np.dtype(
    [("excess", "f8"), ("peak", "f8"), ("count", "i8"), ("told", "u1"), *((name, "i8") for name in _TIMES)]
)
"""The smoothed excess and the time of its newest reading; since when it is high, and since when no longer risen (ms);
for how many readings it has been high; the level that was told (0: none); the most lately, and when it was risen."""


class Excess:
    """Follows the excess of k places; `smooth_ms` is the time constant of its smoothing.

    A place is *high* while its excess is at least what is needed, and *risen* while it is at least half of that.

    >>> excess = Excess(1, smooth_ms=1)
    >>> for minute in range(3):
    ...     excess.take(minute * 60_000, np.array([0.2]), np.array([0.1]))
    >>> excess.waited(120_000, np.array([120_000]), readings=3)
    array([ True])
    """

    def __init__(self, size: int, smooth_ms: float) -> None:
        self._smooth_ms = smooth_ms
        self._state = np.zeros(size, _STATE)
        self._state["excess"] = np.nan
        for name in _TIMES:
            self._state[name] = _NEVER
        self.high = np.zeros(size, np.bool_)
        self.risen = np.zeros(size, np.bool_)

    @property
    def value(self) -> NDArray[np.float64]:
        """The smoothed excess, (k,); NaN where nothing was read yet."""
        return self._state["excess"]

    @property
    def since(self) -> NDArray[np.int64]:
        """Since when each place is high, (k,) ms; meaningless where it is not."""
        return self._state["since"]

    @property
    def peak(self) -> NDArray[np.float64]:
        """The most that each place has shown since it rose, for LATELY_MS after it was risen last; 0 else, (k,)."""
        return self._state["peak"]

    @property
    def falls(self) -> NDArray[np.bool_]:
        """Which places are well below their peak: what they showed is passing, (k,)."""
        return np.nan_to_num(self._state["excess"]) < FALLEN * self._state["peak"]

    @property
    def told(self) -> NDArray[np.uint8]:
        """The level that was told of each place, (k,); 0 where none stands."""
        return self._state["told"]

    def take(self, time: int, excess: NDArray[np.float64], need: NDArray[np.float64]) -> None:
        """Take in the excess of a step at `time`, (k,), NaN of places that were not read or not expected anything."""
        state, fresh = self._state, np.isfinite(excess)
        passed = np.minimum(time - state["time"], PAUSE_MS + 1)
        anew = fresh & (passed > PAUSE_MS)
        rate = np.where(anew, 1.0, 1.0 - np.exp(-passed / self._smooth_ms))
        last = np.where(anew, 0.0, np.nan_to_num(state["excess"]))
        state["excess"] = np.where(fresh, last + rate * (excess - last), state["excess"])
        state["time"][fresh] = time
        untold = anew & (state["told"] == 0)
        state["since"][untold], state["count"][untold] = _NEVER, 0
        with np.errstate(invalid="ignore"):
            high, risen = state["excess"] >= need, state["excess"] >= need / 2
        self.high, self.risen = high, risen
        state["since"][fresh & high & (state["since"] == _NEVER)] = time
        state["count"] += fresh & high
        over = fresh & ~high & (state["told"] == 0)
        state["since"][over], state["count"][over] = _NEVER, 0
        state["peak_at"][fresh & risen] = time
        state["peak"][time - state["peak_at"] > LATELY_MS] = 0.0
        state["peak"] = np.where(fresh & risen, np.fmax(state["peak"], state["excess"]), state["peak"])
        state["calm"][fresh & risen] = _NEVER
        state["calm"][fresh & ~risen & (state["calm"] == _NEVER)] = time

    def waited(self, time: int, delay_ms: NDArray[Any], readings: int) -> NDArray[np.bool_]:
        """Return which places have been high for `delay_ms` (k,) and for so many readings."""
        state = self._state
        since = np.where(state["since"] == _NEVER, time, state["since"])
        return self.high & (state["count"] >= readings) & (time - since >= delay_ms)

    def calmed(self, time: int, delay_ms: float) -> NDArray[np.intp]:
        """Return the places that were told of and have not been risen for `delay_ms`."""
        state = self._state
        calm = (state["calm"] != _NEVER) & (time - state["calm"] >= delay_ms)
        return np.flatnonzero((state["told"] > 0) & calm)

    def tell(self, place: int, level: int) -> None:
        """Note that a place is told of, at `level`."""
        self._state["told"][place] = level

    def end(self, place: int) -> None:
        """Note that what was told of a place is over."""
        self._state["told"][place], self._state["since"][place], self._state["count"][place] = 0, _NEVER, 0

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, rows by place."""
        return {"excess": self._state, "excess_is": np.stack([self.high, self.risen], axis=1)}

    def restore(self, state: Mapping[str, NDArray[Any]], mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> None:
        """Take over the rows `theirs` of what `state` returned as the rows `mine`."""
        self._state[mine] = state["excess"][theirs]
        self.high[mine], self.risen[mine] = state["excess_is"][theirs].T


__all__ = ["Excess"]
