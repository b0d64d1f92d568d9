"""Which part each asset of an answer plays on the map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain

import shapely
from shapely.geometry.base import BaseGeometry

from dashboards.overlay import Mark, Role
from twin.asset import AssetId
from twin.effects.adjacency import Candidate, GasReach
from twin.effects.cascade import Cascade
from twin.effects.impact import Impact
from twin.effects.surroundings import Affected
from twin.network.closure import Closure, Valve
from twin.trace import Answer, Loss

PRIME = "′"  # the ring behind: 1′ is closed where 1 sticks

_FEW = 6
"""Valves of the next ring up to which the picture that an answer opens with takes them in."""

_LEAN = {1: "up", 2: "left", 3: "right"}
"""Which way the signs of the first three lean: they often stand a metre apart. Those after them have no sign."""


def marks_of(answer: Answer, shape_of: Callable[[str], BaseGeometry | None]) -> list[Mark]:
    """Return what is drawn of an answer, what lies below first; `shape_of` tells where an asset is (city's CRS)."""
    match answer.detail:
        case Impact():
            return [*_of_impact(answer.detail), Mark(answer.detail.network_asset, Role.ORIGIN)]
        case GasReach():
            return [*_of_gas(answer.detail), Mark(answer.detail.network_asset, Role.ORIGIN)]
        case Cascade():
            return [*_of_hole(answer.detail, shape_of), Mark(answer.detail.network_asset, Role.ORIGIN)]
        case Closure() as closure:
            closed = (_valve(valve, Role.VALVE, rank, str(rank)) for rank, valve in enumerate(closure.close, 1))
            return [*_all(answer.links, Role.SEGMENT), *closed, Mark(answer.asset, Role.ORIGIN)]
        case Loss():
            lost = _all(answer.detail.hydrants, Role.HYDRANT)
            return [*_all(answer.links, Role.UNSUPPLIED), *lost, Mark(answer.asset, Role.ORIGIN)]
        case _:
            return [*_all(answer.links, Role.DRAIN), Mark(answer.asset, Role.ORIGIN)]


def _of_impact(impact: Impact) -> Iterable[Mark]:
    cut = set(impact.links)
    ring = next_ring_of(impact)
    return chain(
        _buildings(impact.buildings),
        _all(impact.upstream_links, Role.UNSUPPLIED),
        _all((link for link in impact.unsupplied_links if link not in cut), Role.UNSUPPLIED),
        _all(impact.downstream_links, Role.DRAIN),
        _all(impact.links, Role.SEGMENT),
        _all(impact.hydrants, Role.HYDRANT),
        _all(impact.outfalls, Role.MANHOLE),
        (_valve(valve, Role.NEXT_VALVE, rank, f"{rank}{PRIME}", framed=len(ring) <= _FEW) for rank, valve in ring),
        (_valve(valve, Role.VALVE, rank, str(rank)) for rank, valve in enumerate(impact.valves, 1)),
    )


def _of_gas(reach: GasReach) -> Iterable[Mark]:
    """Draw where gas may go, and above it where it may come from; of a gas pipe, where it may enter the drains."""
    asked = [] if not reach.from_gas else [Mark(reach.network_asset, Role.SEGMENT)]
    candidates = [(candidate_asset(reach, each), each) for each in reach.candidates]
    return chain(
        _buildings(reach.buildings),
        _all(reach.reach_links, Role.DRAIN),
        (Mark(asset, Role.MANHOLE, {"along_m": reach.along_m[asset]}) for asset in reach.reach_manholes),
        asked,
        _all(dict.fromkeys(asset for asset, _ in candidates), Role.CANDIDATE),
        (
            _ranked(asset, Role.CANDIDATE, rank, each.gap_m, (each.easting, each.northing))
            for rank, (asset, each) in zip(_LEAN, candidates, strict=False)
        ),
    )


def candidate_asset(reach: GasReach, candidate: Candidate) -> AssetId:
    """Return what a candidate is: the gas pipe it may come from, or the drain that gas from one may enter."""
    return candidate.beside if reach.from_gas else candidate.link


def _ranked(asset: str, role: Role, rank: int, distance_m: float, place: tuple[float, float]) -> Mark:
    said = {"rank": rank, "sign": str(rank), "lean": _LEAN[rank], "distance_m": distance_m}
    return Mark(asset, role, said, shapely.Point(place))


def _of_hole(cascade: Cascade, shape_of: Callable[[str], BaseGeometry | None]) -> Iterable[Mark]:
    shape = shape_of(cascade.network_asset)
    hole = [] if shape is None else [Mark(cascade.network_asset, Role.RADIUS, shape=shape.buffer(cascade.radius_m))]
    return chain(
        hole,
        (Mark(each.building, Role.BUILDING) for each in cascade.buildings),
        (Mark(each.link, Role.WASHED) for each in cascade.links),
        [Mark(cascade.network_asset, Role.SEGMENT)],
        (
            _ranked(each.link, Role.WASHED, rank, each.plan_m, (each.easting, each.northing))
            for rank, each in zip(_LEAN, cascade.links, strict=False)
        ),
    )


def next_ring_of(impact: Impact) -> list[tuple[int, Valve]]:
    """Return the valves to close where one sticks, each once, with the number of the first that it stands in for."""
    number = {valve.asset: rank for rank, valve in enumerate(impact.valves, 1)}
    found: dict[str, tuple[int, Valve]] = {}
    for ring in impact.next_ring:
        for valve in ring.close:
            found.setdefault(valve.asset, (number[ring.sticks], valve))
    return list(found.values())


def _valve(valve: Valve, role: Role, rank: int, sign: str, *, framed: bool = True) -> Mark:
    east, north = valve.easting, valve.northing
    place = None if east is None or north is None else shapely.Point(east, north)
    return Mark(valve.asset, role, {"rank": rank, "sign": sign}, place, framed)


def _buildings(buildings: Sequence[Affected]) -> Iterable[Mark]:
    for each in buildings:
        yield Mark(each.building, Role.BUILDING, {} if each.people is None else {"people": each.people})


def _all(assets: Iterable[str], role: Role) -> Iterable[Mark]:
    return (Mark(asset, role) for asset in assets)
