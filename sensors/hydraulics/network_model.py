"""What a water network should read now: EPANET solved for the present moment, its demands matched to the meters.

The input file's base demands and patterns say who draws how much at which hour of the week; the flow meters say how
much all of them draw together. So each part of the network that is bounded by meters (a district metered area) has its
demands scaled to what flows into it, less what its tanks take up (demand calibration from inflows: Steffelbauer et al.,
J. Water Resour. Plann. Manage. 148 (2022) 04022002, "Pressure-leak duality for leak detection and localization in water
distribution systems"). Tanks stand at their measured levels and pumps run as reported.

Patterns of whole weeks begin on Monday, at midnight of the city. Everything that leaves this module is SI.
"""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sensors.hydraulics.epanet import (
    FOOT_M,
    PA_PER_M,
    Count,
    Epanet,
    EpanetError,
    LinkProperty,
    LinkType,
    NodeProperty,
    NodeType,
    Option,
    Time,
)
from twin.errors import InputError, UnknownError

MEMORY_S = 3600.0
"""How long the balance of a part with tanks is averaged: a level read to a centimetre says little within minutes."""
MOST_SCALE = 50.0
"""No part draws more than this many times what the input file says: beyond it, a meter is wrong. A burst at night may
well draw twenty times what a district of five hundred households does."""
_SMOOTH_S = 900
"""Patterns of longer steps are lines between the middles of those: a city does not turn all its taps on the hour."""
PROBE_LOAD = 1.2
"""Demand that they are taken at, times the mean of the input file: busy hours weigh more. Of 1.0 and 1.2, the better
one on the training part of the set ltown, by a leak."""
_ACCURACY = 1e-4
"""What the solver leaves of the flows: small enough that where it started from makes no difference."""
_RUNS_M3S, _LEAST_PROBE_M3S = 1e-6, 1e-5


@dataclass(frozen=True, slots=True)
class Measured:
    """What is measured at the bounds of the model, by the names in the input file.

    `flows` are links with a meter, `levels` tanks, `states` pumps, and `pressures` nodes (or links: their end).
    """

    flows: Sequence[str] = ()
    levels: Sequence[str] = ()
    states: Sequence[str] = ()
    pressures: Sequence[str] = ()


class NetworkModel:
    """An EPANET network that is solved for one moment after the other.

    InputError where EPANET refuses the file, UnknownError where it has not what is measured.
    """

    def __init__(self, inp: Path, measured: Measured) -> None:
        self._inp = inp
        self._folder = tempfile.TemporaryDirectory(prefix="hydraulics-")
        self._epanet = Epanet()
        self._close = weakref.finalize(self, _give_back, self._epanet, self._folder)
        try:
            self._epanet.open(inp, Path(self._folder.name) / "model.rpt", Path(self._folder.name) / "model.bin")
            self._prepare(measured)
        except EpanetError as error:
            self.close()
            raise InputError(f"EPANET refuses it: {error}", where=str(inp), expected="an EPANET input file") from None
        except UnknownError:
            self.close()
            raise

    def _prepare(self, measured: Measured) -> None:
        epanet = self._epanet
        self.nodes = [epanet.node_name(n) for n in range(1, epanet.count(Count.NODES) + 1)]
        self.links = [epanet.link_name(n) for n in range(1, epanet.count(Count.LINKS) + 1)]
        link, node = {n: i for i, n in enumerate(self.links)}, {n: i for i, n in enumerate(self.nodes)}
        ends = np.array([epanet.ends(n + 1) for n in range(len(self.links))], np.int64).reshape(-1, 2) - 1
        self.start, self.end = ends[:, 0], ends[:, 1]
        kinds = np.array([epanet.link_type(n + 1) for n in range(len(self.links))])
        self.pipe = kinds <= LinkType.PIPE
        self._is_pump = kinds == LinkType.PUMP
        self.length_m = np.array([epanet.link(n + 1, LinkProperty.LENGTH) for n in range(len(kinds))]) * epanet.metre
        bore = 1e-3 if epanet.metric else FOOT_M / 12
        self.diameter_m = np.array([epanet.link(n + 1, LinkProperty.DIAMETER) for n in range(len(kinds))]) * bore
        node_kind = np.array([epanet.node_type(n + 1) for n in range(len(self.nodes))])
        self.junctions = np.flatnonzero(node_kind == NodeType.JUNCTION)
        self._meters = [self._found(link, name, "link") for name in measured.flows]
        self._tanks = [self._found(node, name, "node") for name in measured.levels]
        self._pumps = [self._found(link, name, "link") for name in measured.states]
        self.sensors = [
            node[name] if name in node else int(self.end[self._found(link, name, "node or link")])
            for name in measured.pressures
        ]
        self._metered_pumps = [(n, i) for n, i in enumerate(self._meters) if kinds[i] == LinkType.PUMP]
        self._level_bounds = [
            (epanet.node(t + 1, NodeProperty.MIN_LEVEL), epanet.node(t + 1, NodeProperty.MAX_LEVEL))
            for t in self._tanks
        ]
        self._area_m2 = np.array(
            [math.pi / 4 * (epanet.node(t + 1, NodeProperty.TANK_DIAMETER) * epanet.metre) ** 2 for t in self._tanks]
        )
        self._elevation_m = (
            np.array([epanet.node(n + 1, NodeProperty.ELEVATION) for n in range(len(self.nodes))]) * epanet.metre
        )
        self._find_parts(node_kind)
        self._share_patterns()
        epanet.set_time(Time.DURATION, 0)
        epanet.set_option(Option.ACCURACY, min(_ACCURACY, epanet.option(Option.ACCURACY)))
        epanet.begin()

    def _find_parts(self, node_kind: NDArray[np.int64]) -> None:
        """Cut the network at its meters; `part` of each node, and which parts are `balanced`."""
        joined = np.ones(len(self.links), np.bool_)
        joined[self._meters] = False
        shut = [self._epanet.link(n + 1, LinkProperty.INITIAL_STATUS) == 0 for n in range(len(joined))]
        joined &= ~np.array(shut, np.bool_) | self._is_pump  # a pump that is off today joins what it pumps between
        size = len(self.nodes)
        matrix = coo_array((np.ones(int(joined.sum())), (self.start[joined], self.end[joined])), shape=(size, size))
        parts, self.part = connected_components(matrix, directed=False)
        unmeasured = node_kind != NodeType.JUNCTION
        unmeasured[[tank for tank, area in zip(self._tanks, self._area_m2, strict=True) if area]] = False
        self._balanced = ~np.isin(np.arange(parts), self.part[unmeasured])
        self._slow = np.isin(np.arange(parts), self.part[self._tanks])  # those with tanks: averaged
        self._scale = np.ones(parts)
        self._in, self._drawn = np.zeros(parts), np.zeros(parts)
        self._level_m = np.full(len(self._tanks), np.nan)

    def _share_patterns(self) -> None:
        """Give every part patterns of its own, of one value each, which are set for each moment."""
        epanet = self._epanet
        self._pattern_step_s = epanet.time(Time.PATTERN_STEP)
        self._pattern_start_s = epanet.time(Time.PATTERN_START)
        self._patterns = [np.ones(1)]
        self._patterns += [np.array(epanet.pattern(n)) for n in range(1, epanet.count(Count.PATTERNS) + 1)]
        multiplier = epanet.option(Option.DEMAND_MULTIPLIER)
        epanet.set_option(Option.DEMAND_MULTIPLIER, 1.0)
        one = epanet.add_pattern("chengmai", [1.0])
        made: dict[tuple[int, int], int] = {}
        self._base = np.zeros((len(self.nodes), len(self._patterns)))  # m³/s
        self._probe: list[tuple[int, int]] = []
        for n in self.junctions.tolist():
            for number, (base, pattern) in enumerate(epanet.demands(n + 1), start=1):
                key = (int(self.part[n]), pattern)
                if key not in made:
                    made[key] = epanet.add_pattern(f"chengmai-{len(made)}", [1.0])
                epanet.set_demand(n + 1, number, base * multiplier, made[key])
                self._base[n, pattern] += base * multiplier * epanet.flow_m3s
            self._probe.append((n + 1, epanet.add_demand(n + 1, one)))
        self._probe_of = {node - 1: number for node, number in self._probe}
        self._made = made
        self._one = one
        self._part_base = np.zeros((len(self._scale), len(self._patterns)))
        np.add.at(self._part_base, self.part, self._base)
        self._nominal = self._part_base.sum(axis=1)
        self._now = np.ones(len(self._patterns))

    def solve(
        self,
        local_s: float,
        step_s: float,
        flows: NDArray[np.float64],
        levels: NDArray[np.float64],
        states: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the pressures (Pa, at the sensors) that are expected now.

        `local_s` is the city's time since a Monday's midnight; `step_s` how long ago the last call's moment was;
        `flows` (m³/s), `levels` (m) and `states` of what is measured, NaN where nothing is known: then as before.
        """
        self._now = self._values(local_s)
        self._nominal = self._part_base @ self._now
        self._balance(self._nominal, step_s, flows, levels)
        self._set_demands(self._scale)
        for tank, level, (low, high) in zip(self._tanks, levels.tolist(), self._level_bounds, strict=True):
            if math.isfinite(level) and high > low:  # the level of a reservoir is its head, which the file says
                given = min(max(level / self._epanet.metre, low), high)
                self._epanet.set_node(tank + 1, NodeProperty.TANK_LEVEL, given)
        for number, pump in self._metered_pumps:
            self._switch(pump, abs(float(flows[number])) > _RUNS_M3S if math.isfinite(flows[number]) else None)
        for pump, state in zip(self._pumps, states.tolist(), strict=True):
            self._switch(pump, state >= 0.5 if math.isfinite(state) else None)
        self._epanet.solve()
        return self.pressures()

    def pressures(self) -> NDArray[np.float64]:
        """Return the pressures at the sensors as solved last, Pa."""
        heads = np.array([self._epanet.node(n + 1, NodeProperty.HEAD) for n in self.sensors])
        return (heads * self._epanet.metre - self._elevation_m[self.sensors]) * PA_PER_M

    def what_if(self, draws: NDArray[np.float64], losses: Sequence[tuple[int, float]] = ()) -> NDArray[np.float64]:
        """Return the pressures (Pa, at the sensors) of the moment solved last, had the customers drawn otherwise.

        `draws` is what each part's would have drawn, m³/s; `losses` are (row of `nodes`, a junction; m³/s) beside that.
        """
        scale = np.divide(draws, self._nominal, out=self._scale.copy(), where=self._nominal > 0)
        self._set_demands(np.maximum(scale, 0.0))
        for node, size in losses:
            self._epanet.set_demand(node + 1, self._probe_of[node], size / self._epanet.flow_m3s, self._one)
        self._epanet.solve()
        found = self.pressures()
        for node, _ in losses:
            self._epanet.set_demand(node + 1, self._probe_of[node], 0.0, self._one)
        self._set_demands(self._scale)
        return found

    @property
    def parts(self) -> NDArray[np.intp]:
        """The parts that are bounded by meters and draw something, by number: those whose demand is known."""
        return np.flatnonzero(self._balanced & (self._part_base.sum(axis=1) > 0))

    def demand(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what each part draws now, and what it would by the input file, m³/s."""
        return self._scale * self._nominal, self._nominal

    def mean_demand(self) -> NDArray[np.float64]:
        """Return what each part draws by the input file in the mean of all hours, m³/s."""
        return self._part_base @ np.array([pattern.mean() for pattern in self._patterns])

    def sensitivity(self, share: float = 0.05, load: float = PROBE_LOAD) -> NDArray[np.float64]:
        """Return what one m³/s that leaves at each node does to the sensors, Pa: (nodes, sensors), 0 at supplies.

        Taken with an outflow of `share` of all demand, since the loss of head grows faster than the flow, and at `load`
        times the mean demand of the input file. As the meters see the leak too and the model spreads it over
        the demands of its part, the mean of the part, weighted by demand, is taken off.
        """
        epanet = self._epanet
        mean = np.array([pattern.mean() for pattern in self._patterns])
        for (_, pattern), index in self._made.items():
            epanet.set_pattern(index, [float(mean[pattern] * load)])
        demand = self._base @ mean * load
        size = max(share * float(demand.sum()), _LEAST_PROBE_M3S)
        epanet.solve()
        before = self.pressures()
        found = np.zeros((len(self.nodes), len(self.sensors)))
        for node, number in self._probe:
            epanet.set_demand(node, number, size / epanet.flow_m3s, self._one)
            epanet.solve()
            found[node - 1] = (self.pressures() - before) / size
            epanet.set_demand(node, number, 0.0, self._one)
        for part in self.parts.tolist():
            here = self.part == part
            found[here] -= demand[here] @ found[here] / demand[here].sum()
        return found

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Return what of the meters is carried from one moment to the next."""
        return {"inflow": self._in, "drawn": self._drawn, "scale": self._scale, "level": self._level_m}

    def restore(self, state: Mapping[str, NDArray[np.float64]]) -> None:
        """Take over what `state` returned for the same parts and tanks; where they are others, begin anew."""
        if all(state[name].shape == mine.shape for name, mine in self.state().items()):
            self._in, self._drawn = state["inflow"], state["drawn"]
            self._scale, self._level_m = state["scale"], state["level"]

    def close(self) -> None:
        """Give EPANET's project and files back; done by itself when nobody holds the model any more."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _values(self, local_s: float) -> NDArray[np.float64]:
        at = (local_s + self._pattern_start_s) / self._pattern_step_s
        if self._pattern_step_s <= _SMOOTH_S:
            return np.array([pattern[int(at) % len(pattern)] for pattern in self._patterns])
        before = math.floor(at - 0.5)
        share = at - 0.5 - before
        around = [(pattern[before % len(pattern)], pattern[(before + 1) % len(pattern)]) for pattern in self._patterns]
        return np.array([(1 - share) * first + share * second for first, second in around])

    def _balance(
        self, nominal: NDArray[np.float64], step_s: float, flows: NDArray[np.float64], levels: NDArray[np.float64]
    ) -> None:
        """Find how many times its nominal demand each part draws."""
        inflow = np.zeros(len(self._scale))
        np.add.at(inflow, self.part[self.end[self._meters]], flows)
        np.subtract.at(inflow, self.part[self.start[self._meters]], flows)
        rise = self._area_m2 * (levels - self._level_m) / step_s
        np.subtract.at(inflow, self.part[self._tanks], rise)
        self._level_m = np.where(np.isfinite(levels), levels, self._level_m)
        known = self._balanced & np.isfinite(inflow)
        kept = np.where(self._slow, math.exp(-step_s / MEMORY_S), 0.0)
        self._in = np.where(known, kept * self._in + (1 - kept) * inflow, self._in)
        self._drawn = np.where(known, kept * self._drawn + (1 - kept) * nominal, self._drawn)
        usable = known & (self._drawn > 0)
        scale = np.divide(self._in, self._drawn, out=np.ones_like(inflow), where=usable)
        self._scale = np.where(usable, np.clip(scale, 0.0, MOST_SCALE), self._scale)

    def _set_demands(self, scale: NDArray[np.float64]) -> None:
        for (part, pattern), index in self._made.items():
            self._epanet.set_pattern(index, [float(self._now[pattern] * scale[part])])

    def _switch(self, pump: int, on: bool | None) -> None:
        if on is not None:
            self._epanet.set_link(pump + 1, LinkProperty.STATUS, float(on))

    def _found(self, index: dict[str, int], name: str, what: str) -> int:
        try:
            return index[name]
        except KeyError:
            raise UnknownError(f"no {what} is called {name!r}", where=str(self._inp)) from None


def _give_back(epanet: Epanet, folder: tempfile.TemporaryDirectory[str]) -> None:
    epanet.close()
    folder.cleanup()


__all__ = ["Measured", "NetworkModel"]
