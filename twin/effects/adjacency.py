"""Gas and drains side by side: which gas pipes cross a drain, lie in it or too near to it, and where gas then goes.

A drain is its axis with half its height around it, a manhole an upright line from its bottom to the ground. Distances
are in space where both have heights; where one has none they are in plan, and the answer says so by its confidence.
Clearances and reaches come from `twin.effects.clearances`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from twin.asset import AssetId, NodeKind, System
from twin.effects.gas_pipes import leakiness, pressures, reasons
from twin.effects.headspace import Headspace, Spread
from twin.effects.proximity import Lines, Pairs, near
from twin.effects.surroundings import Affected, Surroundings, people_of, sensitive_of
from twin.errors import UnknownError
from twin.network.graph import GRAVITY, SYSTEMS
from twin.network.trace import RestsOn, rests_on

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.city import City
    from twin.effects.clearances import Clearances
    from twin.network.graph import Network

__all__ = ["Candidate", "GasReach", "Lines", "Pairs", "gas_reach", "near"]

_CROSSES_M = 0.05
"""Axes nearer than this in plan cross: survey points are good to 5 cm (CJJ 61-2017)."""
_IN_SPACE, _IN_PLAN = 0.9, 0.5
_SHAFTS = (NodeKind.MANHOLE, NodeKind.INLET, NodeKind.STORAGE, NodeKind.JUNCTION)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A gas pipe beside a drain or manhole: how it lies there, and how well it explains gas in the drains.

    `beside` is the drain or manhole. `gap_m` is from wall to wall, `distance_m` from axis to axis, both in space (in
    plan where `has_heights` is False); `along_m` is the way through the drains between `beside` and what was asked.
    `relation` is inside, crosses, within (nearer than the norm allows) or parallel; `breach` says that a clearance of
    the norm is not kept. `score` only orders; `why` has what went into it, as codes. Easting and northing, metres, are
    of the point on the gas pipe. `confidence` is that of the distance.
    """

    link: AssetId
    name: str
    beside: AssetId
    relation: str
    breach: bool
    gap_m: float
    distance_m: float
    along_m: float
    has_heights: bool
    confidence: float
    score: float
    why: Sequence[str]
    easting: float
    northing: float


@dataclass(frozen=True, slots=True)
class GasReach:
    """Gas in the drains: where it may have come from, and where it may go.

    Asked of a manhole or drain, `candidates` are the gas pipes beside its reach, the likeliest first; asked of a gas
    pipe (`from_gas`), they are the drains and manholes that it may leak into, the nearest first. `reach_manholes` and
    `reach_links` are where gas comes to within `limit_m` along the drains, `along_m` how far each of them lies;
    `stopped` says where it comes to an end and why. `buildings` drain there. `verified` is False as long as a
    clearance, reach or score that it rests on was not held against the text of its source.
    """

    asset: AssetId
    network_asset: AssetId
    from_gas: bool
    limit_m: float
    search_m: float
    reach_manholes: Sequence[AssetId]
    reach_links: Sequence[AssetId]
    along_m: Mapping[AssetId, float]
    stopped: Mapping[AssetId, str]
    buildings: Sequence[Affected]
    people: int | None
    sensitive: Sequence[Affected]
    candidates: Sequence[Candidate]
    rests_on: RestsOn
    verified: bool


def gas_reach(
    city: City,
    network: Network,
    asset: str,
    *,
    limit_m: float | None = None,
    search_m: float | None = None,
    most: int = 20,
    clearances: Clearances | None = None,
) -> GasReach:
    """Return where gas found at `asset` comes from and goes to; `asset` may also be a gas pipe that leaks.

    `limit_m` is how far along the drains, `search_m` how far through the ground (None: the table's); at most `most`
    candidates. Anything of a building stands for the drain of the building. Raises UnknownError where the city has no
    such asset, or it is neither gas nor drain.
    """
    around = Surroundings.of(city, network)
    table = clearances or around.clearances
    ground = network.once(_Making(around, table, id(table)))
    network_asset = _asset(around, asset)
    node, link = network.find(network_asset)
    links = network.edge[network.indptr[node] : network.indptr[node + 1]] if node >= 0 else np.array([link])
    of = System(str((around.nodes if node >= 0 else around.links).loc[network_asset, "system"]))
    limit = table.gas_reach.along_m if limit_m is None else limit_m
    search = table.gas_reach.search_m if search_m is None else search_m
    if of in GRAVITY:
        ends = [node] if node >= 0 else [int(network.start[link]), int(network.end[link])]
        spread = ground.headspace.spread(dict.fromkeys(ends, 0.0), limit)
        pairs = ground.beside_drains(spread, search)
    elif of is System.GAS:
        pairs = ground.beside_gas(links, search)
        spread = ground.headspace.spread(ground.entries(pairs), limit)
    else:
        raise UnknownError(f"{network_asset!r} is neither gas nor drain", expected="a manhole, a drain or a gas pipe")
    candidates = ground.candidates(pairs, spread, search, from_gas=of is System.GAS)
    return _told(ground, spread, candidates[:most], (AssetId(asset), network_asset, limit, search))


def _asset(around: Surroundings, asset: str) -> AssetId:
    try:
        return around.network_asset(asset)
    except UnknownError:
        return around.network_asset(asset, System.DRAINAGE)


def _told(
    ground: _Ground,
    spread: Spread,
    candidates: Sequence[Candidate],
    asked: tuple[AssetId, AssetId, float, float],
) -> GasReach:
    asset, network_asset, limit, search = asked
    network, around = ground.network, ground.around
    nodes = {AssetId(network.nodes[node]): round(far, 2) for node, far in spread.nodes.items()}
    links = {AssetId(network.links[link]): round(far, 2) for link, far in spread.links.items()}
    served = around.served(nodes, tuple(GRAVITY))
    buildings = sorted(
        (replace(each, along_m=nodes[each.node]) for each in served), key=lambda each: (each.along_m, each.building)
    )
    return GasReach(
        asset=asset,
        network_asset=network_asset,
        from_gas=network_asset not in nodes and network_asset not in links,
        limit_m=limit,
        search_m=search,
        reach_manholes=list(nodes),
        reach_links=list(links),
        along_m=nodes | links,
        stopped={AssetId(network.links[link]): why for link, why in spread.stopped.items()},
        buildings=buildings,
        people=people_of(buildings),
        sensitive=sensitive_of(buildings),
        candidates=candidates,
        rests_on=rests_on(network, list(spread.links)),
        verified=ground.table.gas_verified,
    )


@dataclass(frozen=True, slots=True)
class _Side:
    """Gas pipes or drains, ready to be compared: n lines, where each is in the network, how thick each is.

    `index` (n,) are links, of shafts nodes. `half_m` (n,) is half the height and `half_width_m` (n,) half the width.
    """

    lines: Lines
    index: NDArray[np.intp]
    half_m: NDArray[np.float64]
    half_width_m: NDArray[np.float64]
    is_shaft: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Ground:
    """The gas pipes and drains of a city, placed ones only, and all that a comparison of them needs."""

    network: Network
    around: Surroundings
    table: Clearances
    headspace: Headspace
    gas: _Side
    hollows: _Side
    """Drains first, then the shafts of manholes."""
    gas_rows: gpd.GeoDataFrame
    pressure: NDArray[np.float64]
    likelihood: NDArray[np.float64]
    year: int

    def beside_drains(self, spread: Spread, search_m: float) -> Pairs:
        """Return the pairs (hollow, gas) of the drains and manholes in `spread` with gas pipes."""
        hollows = self.hollows
        inside = np.where(
            hollows.is_shaft,
            np.isin(hollows.index, list(spread.nodes)),
            np.isin(hollows.index, list(spread.links)),
        )
        chosen = np.flatnonzero(inside)
        thick = np.maximum(hollows.half_m, hollows.half_width_m)[chosen] + self.gas.half_m.max(initial=0.0)
        pairs = near(hollows.lines.geometries[chosen], self.gas.lines, search_m + thick)
        return replace(pairs, a=chosen[pairs.a])

    def beside_gas(self, links: NDArray[np.int32], search_m: float) -> Pairs:
        """Return the pairs (hollow, gas) of the gas pipes `links` with drains and manholes."""
        chosen = np.flatnonzero(np.isin(self.gas.index, links))
        thickest = float(np.maximum(self.hollows.half_m, self.hollows.half_width_m).max(initial=0.0))
        clearance = search_m + self.gas.half_m[chosen] + thickest
        found = near(self.gas.lines.geometries[chosen], self.hollows.lines, clearance)
        return replace(found, a=found.b, b=chosen[found.a], rise_m=-found.rise_m, at_a=found.at_b, at_b=found.at_a)

    def entries(self, pairs: Pairs) -> dict[int, float]:
        """Return the nodes at which gas from these pairs enters the drains, with the way to them, metres."""
        found: dict[int, float] = {}
        network = self.network
        share = self._shares(pairs)
        for hollow, along in zip(pairs.a.tolist(), share.tolist(), strict=True):
            index = int(self.hollows.index[hollow])
            if self.hollows.is_shaft[hollow]:
                ways = {index: 0.0}
            else:
                length = float(network.length_m[index])
                ways = {int(network.start[index]): along * length, int(network.end[index]): (1 - along) * length}
            for node, far in ways.items():
                found[node] = min(found.get(node, np.inf), far)
        return found

    def candidates(self, pairs: Pairs, spread: Spread, search_m: float, *, from_gas: bool) -> list[Candidate]:
        """Return a candidate for each gas pipe (for each drain or manhole, `from_gas`), the best score first."""
        compared = self._compared(pairs, spread)
        compared = compared[compared["gap_m"] <= search_m].sort_values("score", ascending=False, kind="stable")
        best = compared.drop_duplicates("hollow" if from_gas else "gas")
        return [self._candidate(best.iloc[n]) for n in range(len(best))]

    def _compared(self, pairs: Pairs, spread: Spread) -> pd.DataFrame:
        """Work out gap, relation, breach, way along the drains and score of each pair."""
        hollows, gas, score = self.hollows, self.gas, self.table.gas_score
        a, b = pairs.a, pairs.b
        shaft, rise = hollows.is_shaft[a], np.abs(pairs.rise_m)
        thick = np.where(pairs.flat, hollows.half_width_m[a], hollows.half_m[a])
        gap = np.maximum(pairs.distance_m - thick - gas.half_m[b], 0.0)
        plan_gap = pairs.plan_m - hollows.half_width_m[a] - gas.half_m[b]
        crosses = ~shaft & (pairs.plan_m < _CROSSES_M)
        inside = ~pairs.flat & (pairs.distance_m < np.where(shaft, hollows.half_width_m[a], hollows.half_m[a]))
        grades = [self.table.grade(value) for value in self.pressure[b]]
        too_near = plan_gap < np.array([grade.plan_m for grade in grades])
        tight = rise - hollows.half_m[a] - gas.half_m[b] < self.table.gas_drain_crossing.rise_m
        relation = np.select([inside, crosses, too_near], ["inside", "crosses", "within"], default="parallel")
        along = self._along(pairs, spread)
        weight = np.array([score.relations.get(each, 1.0) for each in relation])
        return pd.DataFrame(
            {
                "hollow": a,
                "gas": b,
                "relation": relation,
                "breach": inside | np.where(crosses, tight, too_near),
                "grade": [grade.grade for grade in grades],
                "gap_m": gap,
                "distance_m": pairs.distance_m,
                "along_m": along,
                "flat": pairs.flat,
                "easting": pairs.at_b[:, 0],
                "northing": pairs.at_b[:, 1],
                "score": np.exp(-gap / score.gap_m - along / score.along_m) * weight * self.likelihood[b],
            }
        )

    def _candidate(self, value: pd.Series[Any]) -> Candidate:
        hollow, gas = int(value["hollow"]), int(value["gas"])
        link = self.gas_rows.iloc[gas]
        at = self.hollows.index[hollow]
        ids = self.network.nodes if self.hollows.is_shaft[hollow] else self.network.links
        own = reasons(link, str(value["grade"]), self.year, self.table.gas_score)
        return Candidate(
            link=AssetId(str(link["asset"])),
            name=str(link["name"]),
            beside=AssetId(str(ids[at])),
            relation=str(value["relation"]),
            breach=bool(value["breach"]),
            gap_m=round(float(value["gap_m"]), 2),
            distance_m=round(float(value["distance_m"]), 2),
            along_m=round(float(value["along_m"]), 2),
            has_heights=not value["flat"],
            confidence=_IN_PLAN if value["flat"] else _IN_SPACE,
            score=round(float(value["score"]), 4),
            why=[f"relation:{value['relation']}", *own, *(["no heights"] if value["flat"] else [])],
            easting=round(float(value["easting"]), 3),
            northing=round(float(value["northing"]), 3),
        )

    def _along(self, pairs: Pairs, spread: Spread) -> NDArray[np.float64]:
        """Return the way through the drains from where `spread` began to each pair, metres."""
        network, index = self.network, self.hollows.index[pairs.a]
        far = np.full(len(network.nodes), np.inf)
        far[list(spread.nodes)] = list(spread.nodes.values())
        shaft, link = self.hollows.is_shaft[pairs.a], np.where(self.hollows.is_shaft[pairs.a], 0, index)
        on = self._shares(pairs) * network.length_m[link]
        by_drain = np.minimum(far[network.start[link]] + on, far[network.end[link]] + network.length_m[link] - on)
        return np.where(shaft, far[np.where(shaft, index, 0)], by_drain)

    def _shares(self, pairs: Pairs) -> NDArray[np.float64]:
        """Return how far along its drain each pair lies, 0 to 1; 0 for shafts."""
        lines = self.hollows.lines.geometries[pairs.a]
        shares = shapely.line_locate_point(lines, shapely.points(pairs.at_a), normalized=True)
        return np.where(self.hollows.is_shaft[pairs.a] | np.isnan(shares), 0.0, shares)


@dataclass(frozen=True)
class _Making:
    """Makes the ground of a network, once for each table of clearances."""

    around: Surroundings
    table: Clearances = field(compare=False)  # it holds mappings, which have no hash
    which: int
    """The table's identity: it lives as long as the network keeps what was made with it."""

    def __call__(self, network: Network) -> _Ground:
        around, table = self.around, self.table
        placed = (around.links["placement"] == "placed") & around.links.geometry.notna()
        systems = SYSTEMS.index(System.GAS)
        rows = around.links.reindex(np.asarray(network.links))
        there = placed.reindex(np.asarray(network.links)).to_numpy(bool)
        gas = np.flatnonzero(there & (network.system == systems))
        gas_rows = rows.iloc[gas]
        pressure = np.nan_to_num(pressures(gas_rows), nan=table.gas_reach.unknown_pa)
        bore = np.nan_to_num(gas_rows["diameter_m"].to_numpy(float)) / 2
        year = max((row.loaded.year for row in around.sources), default=0)
        return _Ground(
            network=network,
            around=around,
            table=table,
            headspace=Headspace(network, around.links),
            gas=_Side(Lines(gas_rows.geometry.to_numpy()), gas, bore, bore, np.zeros(len(gas), bool)),
            hollows=_hollows(network, around, rows, there, table.gas_reach.shaft_m),
            gas_rows=gas_rows,
            pressure=pressure,
            likelihood=leakiness(gas_rows, pressure, year, table),
            year=year,
        )


def _hollows(
    network: Network, around: Surroundings, rows: gpd.GeoDataFrame, there: NDArray[np.bool_], shaft_m: float
) -> _Side:
    """Return the drains, their axes half their height above the inverts, and the shafts of their manholes."""
    gravity = np.isin(network.system, [SYSTEMS.index(system) for system in GRAVITY])
    drains = np.flatnonzero(there & gravity)
    half = np.nan_to_num(rows["diameter_m"].to_numpy(float)[drains]) / 2
    width = rows["width_m"].to_numpy(float)[drains] / 2
    lines = rows.geometry.to_numpy()[drains]
    xyz = shapely.get_coordinates(lines, include_z=True)
    xyz[:, 2] += np.repeat(half, shapely.get_num_coordinates(lines))
    raised: NDArray[np.object_] = shapely.set_coordinates(shapely.force_3d(lines), xyz)
    every = around.nodes.reindex(np.asarray(network.nodes))
    ours = every["system"].isin([system.value for system in GRAVITY]) & (every["placement"] == "placed")
    shafts = np.flatnonzero(ours.to_numpy(bool) & network.nodes_of(*_SHAFTS))
    nodes = every.iloc[shafts]
    bottom = network.xyz[shafts, 2]
    top = nodes["ground_m"].fillna(nodes["depth_m"] + bottom).to_numpy(float)
    foot, head = (np.column_stack([network.xyz[shafts, :2], height]) for height in (bottom, top))
    upright = np.asarray(shapely.linestrings(np.stack([foot, head], axis=1)), object)
    return _Side(
        lines=Lines(np.concatenate([raised, upright])),
        index=np.concatenate([drains, shafts]),
        half_m=np.concatenate([half, np.zeros(len(shafts))]),
        half_width_m=np.concatenate([np.where(np.isnan(width), half, width), np.full(len(shafts), shaft_m)]),
        is_shaft=np.repeat([False, True], [len(drains), len(shafts)]),
    )
