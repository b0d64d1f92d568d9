"""Pressures and flows of the gas network, by a stated simple model.

Isothermal steady flow: p₁² - p₂² = K Q|Q| with K = 16 λ ρ p_n L / (π² d⁵), absolute pressures, Q at normal conditions
(Darcy and Weisbach with the gas law; GB 50028-2006, 6.2.5, has the same form in its own units). λ = 0.03, ρ = 0.72
kg/m³ (natural gas), p_n = 101.325 kPa. A regulator holds the pressure behind it and droops by 3 % of it for each mean
load (vendors state classes of 5 to 10 % over the whole range). Demand follows the hours in which people cook, all of
it alike, so that the network is a function of one number, the load: solved for a few and interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, diags_array
from scipy.sparse.linalg import splu

NIGHT = (0.15, 0.12, 0.1, 0.1, 0.15, 0.5)
COOKING = (*NIGHT, 1.3, 1.6, 1.1, 0.7, 0.9, 2.1, 1.7, 0.8, 0.6, 0.6, 0.9, 2.1, 2.7, 2.0, 1.4, 1.1, 0.7, 0.35)
"""Gas demand of households, share of the mean in each hour of the day (assumed; peaks at the three meals)."""

_FRICTION, _DENSITY, _NORMAL_PA = 0.03, 0.72, 101_325.0
_DROOP = 0.03
_LOADS, _ITERATIONS, _CLOSE = 6, 60, 1e-5
_LEAST_FLOW = 1e-6


@dataclass(frozen=True, slots=True)
class GasPipe:
    """A pipe of the gas network; a `regulator` separates the pressures at its ends."""

    name: str
    start: str
    end: str
    diameter_m: float
    length_m: float
    regulator: bool = False


@dataclass(frozen=True, slots=True)
class GasNode:
    """A node of the gas network: mean demand in m³/s at normal conditions, and the gauge pressure it holds, if any."""

    name: str
    demand_m3s: float = 0.0
    held_pa: float | None = None


class GasNetwork:
    """A day of the network: gauge pressures and flows by local time of day."""

    def __init__(self, nodes: Sequence[GasNode], pipes: Sequence[GasPipe], day: Sequence[float] = COOKING) -> None:
        self._nodes = {node.name: n for n, node in enumerate(nodes)}
        self._pipes = {pipe.name: n for n, pipe in enumerate(pipes)}
        self._day = np.array(day)
        self._loads = np.linspace(min(day), max(day), _LOADS)
        states = [_solve(nodes, pipes, self._nodes, float(load)) for load in self._loads]
        self._pressure = np.array([pressure for pressure, _ in states])
        self._flow = np.array([flow for _, flow in states])

    def pressure(self, node: str, local: datetime) -> float:
        """Return the gauge pressure at a node, Pa."""
        return float(np.interp(self._load(local), self._loads, self._pressure[:, self._nodes[node]]))

    def flow(self, pipe: str, local: datetime) -> float:
        """Return the flow of a pipe from its start to its end, m³/s at normal conditions."""
        return float(np.interp(self._load(local), self._loads, self._flow[:, self._pipes[pipe]]))

    def _load(self, local: datetime) -> float:
        """Return the share of the mean load, linear between the middles of the hours."""
        hour = local.hour + local.minute / 60 + local.second / 3600
        return float(np.interp(hour, np.arange(len(self._day)) + 0.5, self._day, period=len(self._day)))


def _solve(
    nodes: Sequence[GasNode], pipes: Sequence[GasPipe], index: Mapping[str, int], load: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return gauge pressures (nodes, Pa) and flows (pipes, m³/s), grade by grade: behind the regulators first."""
    demand = np.array([node.demand_m3s * load for node in nodes])
    square = np.full(len(nodes), _NORMAL_PA**2)
    flow = np.zeros(len(pipes))
    regulators = [n for n, pipe in enumerate(pipes) if pipe.regulator]
    outlets = {index[pipes[n].end] for n in regulators}
    behind, before = dict[int, float](), dict[int, float]()
    for node in nodes:
        if node.held_pa is not None:
            n = index[node.name]
            droop = 1 + _DROOP * (1 - load) if n in outlets else 1.0
            (behind if n in outlets else before)[n] = (node.held_pa * droop + _NORMAL_PA) ** 2
    mains = _Mains(pipes, index)
    mains.balance(behind, demand, square, flow)
    for n in regulators:
        outlet = index[pipes[n].end]
        flow[n] = demand[outlet] - mains.arriving(outlet, flow)
        demand[index[pipes[n].start]] += flow[n]
    mains.balance(before, demand, square, flow)
    return np.sqrt(square) - _NORMAL_PA, flow


class _Mains:
    """The pipes without the regulators."""

    def __init__(self, pipes: Sequence[GasPipe], index: Mapping[str, int]) -> None:
        self._ends = np.array([(index[p.start], index[p.end]) for p in pipes])
        self._open = np.array([not p.regulator for p in pipes])
        self._resistance = np.array([_resistance(p) for p in pipes])

    def arriving(self, node: int, flow: NDArray[np.float64]) -> float:
        """Return what the pipes bring to a node, m³/s."""
        brought = flow[self._open & (self._ends[:, 1] == node)].sum()
        return float(brought - flow[self._open & (self._ends[:, 0] == node)].sum())

    def balance(
        self,
        held: Mapping[int, float],
        demand: NDArray[np.float64],
        square: NDArray[np.float64],
        flow: NDArray[np.float64],
    ) -> None:
        """Fill in p² and flow of all that hangs on the nodes `held` (p², Pa²), linearising about the last flow."""
        reached = self._reached(held, len(demand))
        chosen = np.flatnonzero(self._open & reached[self._ends[:, 0]])
        fixed = np.array(sorted(held), np.intp)
        free = np.setdiff1d(np.flatnonzero(reached), fixed)
        if not len(free):
            return
        square[fixed] = [held[int(n)] for n in fixed]
        pipes = np.arange(len(chosen))
        ends = self._ends[chosen]
        signs = np.concatenate([np.ones(len(chosen)), -np.ones(len(chosen))])
        incidence = csc_array(
            (signs, (np.concatenate([pipes, pipes]), ends.T.ravel())), shape=(len(chosen), len(demand))
        )
        inner, known = incidence[:, free], incidence[:, fixed] @ square[fixed]
        current = np.full(len(chosen), 0.01)
        for _ in range(_ITERATIONS):
            conductance = 1 / (self._resistance[chosen] * np.maximum(np.abs(current), _LEAST_FLOW))
            laplacian = csc_array(inner.T @ diags_array(conductance) @ inner)
            square[free] = splu(laplacian).solve(-demand[free] - inner.T @ (conductance * known))
            new = conductance * (incidence @ square)
            change = np.abs(new - current).max()
            current = (current + new) / 2  # half way: the full step of Q|Q| swings for ever
            if change < _CLOSE:
                break
        flow[chosen] = current

    def _reached(self, held: Mapping[int, float], count: int) -> NDArray[np.bool_]:
        """Return which nodes (count) are joined to the nodes `held` by pipes."""
        reached = np.zeros(count, bool)
        reached[list(held)] = True
        ends = self._ends[self._open]
        while True:
            before = int(reached.sum())
            reached[ends[reached[ends].any(axis=1)].ravel()] = True
            if int(reached.sum()) == before:
                return reached


def _resistance(pipe: GasPipe) -> float:
    """Return K, Pa² per (m³/s)²."""
    return 16 * _FRICTION * _DENSITY * _NORMAL_PA * max(pipe.length_m, 0.1) / (math.pi**2 * pipe.diameter_m**5)
