"""Methane in the air of the drains, by a stated simple model.

One well-mixed box a manhole, with half the headspace of its conduits:
V dC/dt = S + Σ q C_above + Σ m (C_next - C) - (max(q_in, q_out) + v) C, with C the volume fraction, S methane in m³/s.
The sewage drags air downstream, q, at 0.1 m/s over 0.6 of the section (Pescod & Price 1982 measured about a third of
the sewage's velocity); air is mixed along the drain, m, with 0.5 m²/s; and the cover breathes v = 15 m³/h besides what
the drains bring or take. The 0.6, 0.5 and 15 are assumptions. Backward Euler, so that any step is stable; linear, so
that one factorisation serves all steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu

LOWER_EXPLOSIVE_LIMIT = 0.05
"""Of methane in air, volume fraction."""
STEP = timedelta(seconds=5)

_AIR_SHARE, _AIR_SPEED_MS, _MIXING_M2S = 0.6, 0.1, 0.5
_COVER_M3S = 15.0 / 3600
_SHAFT_M2 = 0.5
_CLEAN = 1e-9


@dataclass(frozen=True, slots=True)
class Drain:
    """A conduit as the air sees it."""

    upper: str
    lower: str
    diameter_m: float
    length_m: float


class DrainAir:
    """The air of manholes (name → depth, m) joined by `drains`, from `start` on."""

    def __init__(self, manholes: Mapping[str, float], drains: Sequence[Drain], start: datetime) -> None:
        self.time = start
        self._index = {name: n for n, name in enumerate(manholes)}
        count = len(manholes)
        self._fraction = np.zeros(count)
        self._source = np.zeros(count)
        volume = np.array([_SHAFT_M2 * max(depth, 0.5) for depth in manholes.values()])
        entering, leaving = np.zeros(count), np.zeros(count)
        rows, columns, values = list[int](), list[int](), list[float]()
        for drain in drains:
            a, b = self._index[drain.upper], self._index[drain.lower]
            headspace = _AIR_SHARE * math.pi / 4 * drain.diameter_m**2
            volume[[a, b]] += headspace * drain.length_m / 2
            dragged = headspace * _AIR_SPEED_MS
            mixed = headspace * _MIXING_M2S / max(drain.length_m, 1.0)
            leaving[a] += dragged
            entering[b] += dragged
            rows += [b, a, a, b, b]
            columns += [a, a, b, b, a]
            values += [dragged, -mixed, mixed, -mixed, mixed]
        exchange = csc_array((values, (rows, columns)), shape=(count, count))
        lost = np.maximum(entering, leaving) + _COVER_M3S
        self._stored = volume / STEP.total_seconds()
        self._step = splu(csc_array(diags_array(self._stored + lost) - exchange))

    def __contains__(self, manhole: str) -> bool:
        return manhole in self._index

    def leak(self, manhole: str, methane_m3s: float) -> None:
        """Let methane flow into a manhole, m³/s; 0 ends it."""
        self._source[self._index[manhole]] = methane_m3s

    def advance(self, to: datetime) -> None:
        """Move on by whole steps to the last one at or before `to`; never back."""
        steps = max((to - self.time) // STEP, 0)
        self.time += steps * STEP
        for _ in range(steps):
            if not self._source.any() and self._fraction.max() < _CLEAN:
                return  # clean air stays clean
            self._fraction = np.clip(self._step.solve(self._stored * self._fraction + self._source), 0.0, 1.0)

    def methane(self, manhole: str) -> float:
        """Return the volume fraction of methane in the air of a manhole."""
        return float(self._fraction[self._index[manhole]])
