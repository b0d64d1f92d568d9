"""Relation: what each point of a group should read by what all others read, learnt as the readings go by.

Every point is regressed on all others. Features are the readings of now, their squares, their products with every
switch (a pump that is off makes another system of pipes), and the readings of one step before, all points': levels
of tanks follow from flows. All regressions come out of one covariance: with the precision matrix P and B the features
made of point k, the residual of k given everything else is the first row of inv(P_BB) (P z)_B (conditional normal
distribution; Mardia, Kent, Bibby, Multivariate Analysis, 1979, theorem 3.2.4). No point is believed to be more accurate
than its instrument: the variance of that is on the diagonal (errors in variables; Tikhonov's ridge), so that nothing
is learnt from digits that only a simulation has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST = 100
"""Steps that set the scale of every point, before anything is learnt."""
_EACH = 3
"""Steps for every feature before the first fit."""
_OFTEN = 20
"""A fit is made anew after this share (one of …) of the steps that went by before."""
_LEAST_VARIANCE = 1e-3
"""Of squares and products, against those that never vary."""


class Relation:
    """The regressions of n points: `accuracy` (n,) SI of their instruments, `switch` (n,) those that are on or off.

    `memory` is how many steps are remembered (exponentially), `warmup` how many must have been learnt.
    """

    def __init__(
        self, accuracy: NDArray[np.float64], switch: NDArray[np.bool_], *, warmup: float, memory: float
    ) -> None:
        size = len(accuracy)
        self._accuracy, self._switch = accuracy, switch
        self._analog = np.flatnonzero(~switch)
        self._switches = np.flatnonzero(switch)
        now, none = np.eye(size, dtype=np.bool_), np.zeros((size, size), np.bool_)
        products = [now[self._analog] | now[s] for s in self._switches]
        self._made_of = np.concatenate([now, now[self._analog], *products, none])
        width = len(self._made_of)
        self._memory = memory
        self._need = max(warmup, _FIRST + _EACH * width)
        self.steps = np.zeros(2, np.int64)  # learnt; at which the next fit is due
        self.steps[1] = round(self._need)
        self._first = np.zeros((2, size))  # sum and sum of squares of the first steps
        self._weight = np.zeros(1)
        self._mean, self._scatter = np.zeros(width), np.zeros((width, width))
        self._centre, self._weights = np.zeros(width), np.zeros((size, width))
        self.sigma = np.full(size, np.nan)

    @property
    def ready(self) -> bool:
        """Whether there has been a fit."""
        return bool(np.isfinite(self.sigma[0]))

    def residual(self, now: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each point reads beyond what the others say, (n,) SI, NaN where it reads nothing.

        What is not there takes the value that the others give it, so that it says nothing about them.
        """
        missing = ~np.isfinite(now)
        filled = np.where(missing, self._middle, now)
        past = np.where(np.isfinite(before), before, filled)
        beyond = self._beyond(filled, past)
        for _ in range(3 if missing.any() else 0):
            filled[missing] -= beyond[missing]
            past = np.where(np.isfinite(before), before, filled)
            beyond = self._beyond(filled, past)
        beyond[missing] = np.nan
        return beyond

    def learn(self, now: NDArray[np.float64], before: NDArray[np.float64]) -> None:
        """Take in a step whose points all read, and fit anew where that is due."""
        if not (np.isfinite(now).all() and np.isfinite(before).all()):
            return
        self.steps[0] += 1
        if self.steps[0] <= _FIRST:
            self._first += now, now**2
            return
        keep = 1.0 - 1.0 / self._memory
        feature = self._features(now, before)
        self._weight[0] = keep * self._weight[0] + 1.0
        away = feature - self._mean
        self._mean += away / self._weight[0]
        self._scatter *= keep
        self._scatter += np.outer(away, feature - self._mean)
        if self.steps[0] >= self.steps[1]:
            self._fit()
            pause = min(int(self.steps[0]) // _OFTEN, int(self._memory) // _OFTEN)
            self.steps[1] = self.steps[0] + max(1, pause)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, by name; what is in it may be written into."""
        return {
            "steps": self.steps,
            "first": self._first,
            "weight": self._weight,
            "mean": self._mean,
            "scatter": self._scatter,
            "centre": self._centre,
            "weights": self._weights,
            "sigma": self.sigma,
        }

    @property
    def _middle(self) -> NDArray[np.float64]:
        return np.where(self._switch, 0.0, self._first[0] / _FIRST)

    @property
    def _scale(self) -> NDArray[np.float64]:
        variance = np.maximum(0.0, self._first[1] / _FIRST - (self._first[0] / _FIRST) ** 2)
        return np.where(self._switch, 1.0, np.sqrt(variance + self._accuracy**2))

    def _features(self, now: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the features of a step, in scaled readings."""
        middle, scale = self._middle, self._scale
        z, lagged = (now - middle) / scale, (before - middle) / scale
        analog = z[self._analog]
        return np.concatenate([z, analog**2, np.outer(z[self._switches], analog).ravel(), lagged])

    def _beyond(self, now: NDArray[np.float64], before: NDArray[np.float64]) -> NDArray[np.float64]:
        return (self._weights @ (self._features(now, before) - self._centre)) * self._scale

    def _fit(self) -> None:
        """Solve all regressions from what has been learnt, and say how far they are off."""
        scale, weight = self._scale, float(self._weight[0])
        plain = self._scatter / weight
        square = np.diagonal(plain) + self._mean**2  # of every feature
        noise = (self._accuracy / scale) ** 2
        size, analog = len(scale), self._analog
        products = noise[self._switches, None] * square[analog] + square[self._switches, None] * noise[analog]
        squares = 4.0 * noise[analog] * square[analog]
        doubt = np.concatenate([noise, squares + _LEAST_VARIANCE, products.ravel() + _LEAST_VARIANCE, noise])
        precision = np.linalg.inv(plain + np.diag(doubt))
        for k in range(size):
            own = np.flatnonzero(self._made_of[:, k])
            self._weights[k] = np.linalg.solve(precision[np.ix_(own, own)], precision[own])[0]
        self._centre[:] = self._mean
        variance = np.einsum("kf,fg,kg->k", self._weights, plain, self._weights, optimize=True)
        free = max(0.5, 1.0 - len(plain) / weight)
        self.sigma[:] = np.maximum(np.sqrt(np.maximum(0.0, variance) / free) * scale, self._accuracy)


__all__ = ["Relation"]
