"""Envelope: between what bounds each point has read while a pump or valve was on, and while it was off.

A pump that runs at a level at which a year of readings never saw it run is told to by somebody else, or the level is
not true (invariants of control logic; Adepu and Mathur, ASIA CCS 2016).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEEN = 48
"""Steps that a switch must have been in a state before the bounds of that state count."""
_STILL = 0.02
"""How far the mean of a step may be off a state: noise of the line, not a sample of another state."""


class Envelope:
    """Bounds of n points by the state of each of the switches among them.

    `accuracy` (n,) SI, `switch` (n,) as of `relation.Relation`; `margin` is the share of a point's span that it may
    pass its bounds by, at least its accuracy.
    """

    def __init__(self, accuracy: NDArray[np.float64], switch: NDArray[np.bool_], margin: float) -> None:
        size, switches = len(accuracy), int(switch.sum())
        self._accuracy, self._switches, self._margin = accuracy, np.flatnonzero(switch), margin
        self._judged = ~switch
        self._bounds = np.empty((switches, 2, size, 2))  # by switch, state and point: lowest and highest
        self._bounds[..., 0], self._bounds[..., 1] = np.inf, -np.inf
        self._seen = np.zeros((switches, 2), np.int64)
        self._widened = np.zeros((switches, 2, size), np.int64)  # at which step of the state, by more than the margin

    def beyond(self, now: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how far each point is out of bounds, (n,) in margins, and the bound that it passed, (n,) SI or NaN.

        Bounds count that had no need to be widened for the later half of their life.
        """
        which, state = self._states(now)
        bounds, seen = self._bounds[which, state], self._seen[which, state][:, None]
        settled = (seen >= _SEEN) & (2 * self._widened[which, state] <= seen) & self._judged & np.isfinite(now)
        above, below = now - bounds[..., 1], bounds[..., 0] - now
        far = np.where(settled, np.maximum(above, below), -np.inf) / self._allowed()
        if not len(which):
            return np.zeros(len(now)), np.full(len(now), np.nan)
        worst, points = far.argmax(axis=0), np.arange(len(now))
        passed = np.where(above > below, bounds[..., 1], bounds[..., 0])[worst, points]
        out = np.maximum(0.0, far[worst, points])
        return out, np.where(out > 0, passed, np.nan)

    def learn(self, now: NDArray[np.float64]) -> None:
        """Widen the bounds to a step; points without a reading keep theirs."""
        which, state = self._states(now)
        allowed = self._allowed()
        self._seen[which, state] += 1
        bounds = self._bounds[which, state]
        far = np.maximum(now - bounds[..., 1], bounds[..., 0] - now)
        wide = np.isfinite(now) & (far > allowed)
        self._widened[which, state] = np.where(wide, self._seen[which, state][:, None], self._widened[which, state])
        self._bounds[which, state] = np.stack([np.fmin(bounds[..., 0], now), np.fmax(bounds[..., 1], now)], axis=-1)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, by name; what is in it may be written into."""
        return {"bounds": self._bounds, "seen": self._seen, "widened": self._widened}

    def _states(self, now: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return the switches that stood still all step long, and the state of each: 0 off, 1 on.

        The mean of a step in which a pump started is that of no state: its flow is neither that of on nor of off.
        """
        state = now[self._switches]
        still = np.flatnonzero(np.abs(state - np.round(state)) <= _STILL)
        return still, (state[still] > 0.5).astype(np.intp)

    def _allowed(self) -> NDArray[np.float64]:
        """Return how far each point may be out of bounds, (n,) SI."""
        if not self._bounds.size:
            return self._accuracy
        span = self._bounds[..., 1].max(axis=(0, 1)) - self._bounds[..., 0].min(axis=(0, 1))
        return np.maximum(self._accuracy, self._margin * np.where(np.isfinite(span), span, 0.0))


__all__ = ["Envelope"]
