"""What a burst may take with it: pipes of other systems and buildings inside the hole that it washes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from twin.asset import AssetId, Basis, System
from twin.buildings import Sensitive
from twin.effects.gas_pipes import pressure_pa
from twin.effects.proximity import near
from twin.effects.surroundings import Surroundings
from twin.errors import InputError
from twin.network.graph import GRAVITY
from twin.network.trace import RestsOn, rests_on

if TYPE_CHECKING:
    from twin.city import City
    from twin.effects.clearances import WashoutRow
    from twin.network.graph import Network

_CROSSES_M = 0.05
_DEEP_M = 30.0
"""No pipe of a city lies further over or under another; the hole is open to the surface, so plan decides."""
_WATER_N_M3 = 9806.65
_CROSSING, _PRESSED = 2.0, 1.5
"""How much worse a pipe is that bridges the hole, and one under pressure. No standard (proposal of Chengmai)."""


@dataclass(frozen=True, slots=True)
class Undermined:
    """A pipe inside the hole: `plan_m` from the burst pipe, `rise_m` its height over it (None: a height is missing).

    `crosses` says that it bridges the burst pipe. `score` orders what to look at first. Easting, northing: where.
    """

    link: AssetId
    name: str
    system: System
    plan_m: float
    rise_m: float | None
    crosses: bool
    pressure_pa: float | None
    diameter_m: float | None
    basis: Basis
    score: float
    easting: float
    northing: float


@dataclass(frozen=True, slots=True)
class Threatened:
    """A building inside the hole; `plan_m` from the burst pipe to its footprint."""

    building: AssetId
    name: str
    people: int | None
    sensitive: Sensitive | None
    plan_m: float


@dataclass(frozen=True, slots=True)
class Cascade:
    """What lies within `radius_m` of a burst at `network_asset`, in plan, on its whole length where nobody says where.

    `assumed` names what the radius was worked out from that the city does not state (diameter, head, cover); where the
    caller gave it, nothing. `verified` is False as long as the relation rests on no text that was read.
    """

    asset: AssetId
    network_asset: AssetId
    radius_m: float
    assumed: Sequence[str]
    verified: bool
    links: Sequence[Undermined]
    buildings: Sequence[Threatened]
    rests_on: RestsOn


def cascade(
    city: City,
    network: Network,
    asset: str,
    *,
    radius_m: float | None = None,
    head_m: float | None = None,
    at: tuple[float, float] | None = None,
) -> Cascade:
    """Return what a burst at `asset` may undermine.

    `radius_m` is that of the hole (None: from bore, head and cover by `clearances.toml`); `head_m` is the pressure in
    the pipe, metres of water, where it is measured; `at` is easting and northing of the burst where it is known.
    Raises UnknownError where the city has no such asset or it is part of no network, InputError for a gas pipe without
    `radius_m`.
    """
    around = Surroundings.of(city, network)
    network_asset = around.network_asset(asset)
    node, link = network.find(network_asset)
    own = network.edge[network.indptr[node] : network.indptr[node + 1]] if node >= 0 else np.array([link], np.int32)
    rows = around.links.loc[network.links[own].tolist()]
    table = around.clearances.washout
    if radius_m is None and System.GAS in set(rows["system"]):
        raise InputError("gas washes no ground out", where=str(network_asset), expected="a water pipe, or a radius")
    hole, assumed = (radius_m, list[str]()) if radius_m is not None else _hole(table, rows, head_m)
    shape = shapely.Point(at) if at else around.nodes.geometry[network_asset] if node >= 0 else rows.geometry.iloc[0]
    links = _undermined(around, shape, hole, set(rows["system"]))
    met = np.array([network.link_index(each.link) for each in links if each.link not in network.left_out], np.int32)
    return Cascade(
        asset=AssetId(asset),
        network_asset=network_asset,
        radius_m=round(hole, 2),
        assumed=assumed,
        verified=table.verified,
        links=links,
        buildings=_threatened(around, shape, hole),
        rests_on=rests_on(network, met),
    )


def _hole(table: WashoutRow, rows: pd.DataFrame, head_m: float | None) -> tuple[float, list[str]]:
    """Return the radius of the hole, metres, and what of it the city does not state."""
    bore = float(rows["diameter_m"].max())
    stated = [pressure_pa(msgspec.json.decode(text)) for text in rows["properties"]]
    pressed = [value for value in stated if value is not None]
    if set(rows["system"]) & {system.value for system in GRAVITY}:
        pressed = pressed or [0.0]  # a drain has no head to speak of
    head = head_m if head_m is not None else max(pressed) / _WATER_N_M3 if pressed else None
    cover = float(rows["depth_m"].max())
    known = {"diameter": bore, "head": head, "cover": cover}
    given = {name: None if value is None or np.isnan(value) else value for name, value in known.items()}
    assumed = [name for name, value in given.items() if value is None]
    return table.radius_m(given["diameter"], given["head"], given["cover"]), assumed


def _undermined(around: Surroundings, shape: BaseGeometry, hole: float, own: set[str]) -> list[Undermined]:
    """Return the pipes of other systems in the hole, the worst first."""
    placed = around.links[(around.links["placement"] == "placed") & ~around.links["system"].isin(list(own))]
    beside = placed.iloc[placed.sindex.query(shape, predicate="dwithin", distance=hole)]
    pairs = near([shape], beside.geometry.to_numpy(), np.hypot(hole, _DEEP_M))
    pairs = pairs.where(pairs.plan_m <= hole)
    found = [
        _met(beside.iloc[at], hole, plan, rise, place)
        for at, plan, rise, place in zip(
            *(pairs.b.tolist(), pairs.plan_m.tolist(), pairs.rise_m.tolist(), pairs.at_b.tolist()), strict=True
        )
    ]
    return sorted(found, key=lambda each: (-each.score, each.link))


def _met(row: pd.Series[Any], hole: float, plan_m: float, rise_m: float, at: Sequence[float]) -> Undermined:
    """Return a pipe in the hole; `rise_m` is the burst pipe's height over it."""
    pressure = pressure_pa(msgspec.json.decode(row["properties"]))
    crosses = plan_m < _CROSSES_M
    pressed = row["system"] == System.GAS or (pressure or 0.0) > 0.0
    score = (1.0 - plan_m / max(hole, _CROSSES_M)) * (_CROSSING if crosses else 1.0) * (_PRESSED if pressed else 1.0)
    return Undermined(
        link=AssetId(str(row["asset"])),
        name=str(row["name"]),
        system=System(str(row["system"])),
        plan_m=round(plan_m, 2),
        rise_m=None if np.isnan(rise_m) else round(-rise_m, 2),
        crosses=crosses,
        pressure_pa=pressure,
        diameter_m=None if pd.isna(row["diameter_m"]) else float(row["diameter_m"]),
        basis=Basis(str(row["basis"])),
        score=round(score, 3),
        easting=round(at[0], 3),
        northing=round(at[1], 3),
    )


def _threatened(around: Surroundings, shape: BaseGeometry, hole: float) -> list[Threatened]:
    """Return the buildings whose footprint the hole reaches, the nearest first; each once."""
    buildings = around.buildings[around.buildings["placement"] == "placed"]
    there = buildings.iloc[buildings.sindex.query(shape, predicate="dwithin", distance=hole)]
    found: dict[AssetId, Threatened] = {}
    for asset, footprint in zip(there["asset"], there.geometry, strict=True):
        known = around.building(AssetId(asset))
        plan = round(float(shapely.distance(shape, footprint)), 2)
        if known.building not in found or plan < found[known.building].plan_m:
            found[known.building] = Threatened(known.building, known.name, known.people, known.sensitive, plan)
    return sorted(found.values(), key=lambda each: (each.plan_m, each.building))
