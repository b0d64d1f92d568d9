"""Which node of a network supplies or drains which building, and how that is known.

A file may say it (a property that names a building, a joint of a building model, a name such as ``C-B105``); else a
node inside a footprint is taken for the building's, else the nearest connection within reach. A building that says
what serves it is given nothing by guess, and where most buildings of the city say it, the silent ones are not served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd
import shapely

from twin.asset import AssetId, Attribute, Basis, NodeKind, System
from twin.model import Decision

if TYPE_CHECKING:
    import geopandas as gpd

REACH_M = 60.0
"""How far a building may lie from what serves it. No standard: the depth of a block behind its street."""
TOUCH_M = 0.5
MOST = 0.5
SERVING = (System.WATER, System.GAS, System.DRAINAGE, System.HEAT)
COLUMNS = ("node", "building", "system", "via", "basis", "confidence", "distance_m")

_CONNECTIONS = (NodeKind.CUSTOMER, NodeKind.METER)
_OTHERS = (NodeKind.JUNCTION, NodeKind.MANHOLE, NodeKind.INLET)
_BUILDING_KEYS = frozenset(("id", "building", "buildingid", "building_id", "建筑编号", "楼栋编号", "楼栋号"))
_NODE_KEYS = _BUILDING_KEYS - {"id"} | {"bldg_id", "建筑", "楼栋"}
_SPEAKS_OF = "|".join(f'"{key}"' for key in sorted(_NODE_KEYS))
_AFTER_PREFIX = re.compile(r"^[^\W\d_]+[-_ ](?P<rest>.*\d.*)$")


class Via(StrEnum):
    """How it is known that a node serves a building, the surest first."""

    PROPERTY = "property"
    """The node, or the link to it, names the building."""
    JOINT = "joint"
    """A pipe of the building's model is joined to the node."""
    NAME = "name"
    """The node's name has the building's in it, and it lies within reach."""
    INSIDE = "inside"
    """The node lies in the footprint, or touches it."""
    NEAR = "near"
    """It is the nearest one within reach."""


_SAYS = (Via.PROPERTY, Via.JOINT, Via.NAME)
_NAMED, _INSIDE, _INSIDE_OTHER, _NEAR, _NEAR_OTHER = 0.9, 0.9, 0.7, 0.8, 0.6
"""Confidences. No standard: an order, from what is said down to what only lies near."""


def services(
    nodes: gpd.GeoDataFrame,
    links: gpd.GeoDataFrame,
    buildings: gpd.GeoDataFrame,
    joints: pd.DataFrame,
    *,
    standing: Mapping[AssetId, AssetId],
    reach_m: float = REACH_M,
) -> pd.DataFrame:
    """Return a row for each node that serves a building; columns COLUMNS, ordered by building, system, confidence.

    `nodes`, `links` and `buildings` are the city's layers; `joints` has columns node, building, distance_m, confidence
    and why; `standing` is `twin.buildings.stands_for`: a footprint's services become those of the model that stands
    for it. `distance_m` is from the node to the footprint in plan, nan where either has no place.
    """
    nodes = nodes[nodes["system"].isin([system.value for system in SERVING])]
    nodes = nodes[nodes["service"].ne("storm").fillna(value=True)]  # storm drains take no house's water
    named = _named(buildings, standing)
    found = [_stated(nodes, links, named), _joined(joints, nodes), _by_name(nodes, named)]
    said = _measured(pd.concat(found, ignore_index=True), nodes, buildings)
    said = said[(said["via"] != Via.NAME) | (said["distance_m"] <= reach_m)]
    placed = buildings[(buildings["placement"] == Decision.PLACED) & ~buildings["asset"].isin(list(standing))]
    placed = placed[~(placed.geometry.isna() | placed.geometry.is_empty)]
    around = nodes[nodes["placement"] == Decision.PLACED]
    guessed = [_guessed(around, placed, said, system, reach_m) for system in SERVING]
    rows = pd.concat([said, *guessed], ignore_index=True)
    order = {via: n for n, via in enumerate(Via)}
    rows = rows.assign(order=rows["via"].map(order)).sort_values(["building", "system", "order", "node"], kind="stable")
    rows = rows.drop_duplicates(["node", "building"]).drop(columns="order")
    return rows[list(COLUMNS)].reset_index(drop=True)


def _named(buildings: gpd.GeoDataFrame, standing: Mapping[AssetId, AssetId]) -> dict[str, AssetId]:
    """Return each building by all that its files call it; what two are called is left out."""
    named: dict[str, AssetId | None] = {}
    for asset, name, text in zip(buildings["asset"], buildings["name"], buildings["properties"], strict=True):
        stands = standing.get(asset, AssetId(asset))
        properties: Mapping[str, Attribute] = msgspec.json.decode(text)
        said = {str(v) for k, v in properties.items() if k.rsplit(".", 1)[-1].casefold() in _BUILDING_KEYS and v}
        for key in {str(asset), str(asset).split(":", 2)[-1], str(name), *said}:
            named[key] = None if named.get(key, stands) != stands else stands
    return {key: asset for key, asset in named.items() if asset is not None}


def _stated(nodes: gpd.GeoDataFrame, links: gpd.GeoDataFrame, named: Mapping[str, AssetId]) -> pd.DataFrame:
    """Find the nodes whose own properties, or those of a link that ends at them, name a building."""
    own = _naming(nodes, named)
    own["node"] = nodes["asset"].reindex(own.index)
    ends = _naming(links[links["end"].isin(nodes["asset"])], named)
    ends["node"] = links["end"].reindex(ends.index)
    rows = pd.concat([own, ends], ignore_index=True)
    return _rows(rows, nodes, Via.PROPERTY, Basis.STATED, 1.0)


def _naming(frame: pd.DataFrame, named: Mapping[str, AssetId]) -> pd.DataFrame:
    speaking = frame.loc[frame["properties"].str.contains(_SPEAKS_OF, case=False, regex=True), "properties"]
    found: dict[str, AssetId] = {}
    for asset, text in speaking.items():
        for key, value in msgspec.json.decode(text).items():
            if key.casefold() in _NODE_KEYS and str(value) in named:
                found[str(asset)] = named[str(value)]
    return pd.DataFrame({"building": pd.Series(found, dtype=object)})


def _joined(joints: pd.DataFrame, nodes: gpd.GeoDataFrame) -> pd.DataFrame:
    best = joints.sort_values("confidence", ascending=False, kind="stable").drop_duplicates(["node", "building"])
    rows = _rows(best[["node", "building"]], nodes, Via.JOINT, Basis.INFERRED, 0.0)
    by = best.set_index(["node", "building"])
    keys = pd.MultiIndex.from_frame(rows[["node", "building"]])
    stated = by["why"].reindex(keys).str.startswith("stated").to_numpy(dtype=bool)
    return rows.assign(
        confidence=by["confidence"].reindex(keys).to_numpy(float),
        basis=np.where(stated, Basis.STATED.value, Basis.INFERRED.value),
    )


def _by_name(nodes: gpd.GeoDataFrame, named: Mapping[str, AssetId]) -> pd.DataFrame:
    """Find nodes called ``prefix-building``, such as C-B105; a building known by digits only is not meant."""
    telling = {key: asset for key, asset in named.items() if not key.isdigit()}
    kinds = nodes["kind"].isin([kind.value for kind in (*_CONNECTIONS, *_OTHERS)])
    names = nodes.loc[kinds, ["asset", "name", "kind"]]
    rest = names["asset"].str.split(":", n=2).str[-1].str.extract(_AFTER_PREFIX)["rest"].map(telling)
    whole = names["name"].where(names["kind"].isin(_CONNECTIONS)).map(telling)  # a junction is named after its street
    rows = pd.DataFrame({"node": names["asset"], "building": rest.where(rest.notna(), whole)}).dropna()
    return _rows(rows, nodes, Via.NAME, Basis.INFERRED, _NAMED)


def _rows(pairs: pd.DataFrame, nodes: gpd.GeoDataFrame, via: Via, basis: Basis, confidence: float) -> pd.DataFrame:
    system = nodes["system"].reindex(pairs["node"]).to_numpy()
    known = pd.notna(system)
    rows = pairs.loc[known, ["node", "building"]].reset_index(drop=True)
    return rows.assign(system=system[known], via=via.value, basis=basis.value, confidence=confidence, distance_m=np.nan)


def _measured(rows: pd.DataFrame, nodes: gpd.GeoDataFrame, buildings: gpd.GeoDataFrame) -> pd.DataFrame:
    points = nodes.geometry.reindex(rows["node"]).to_numpy()
    shapes = buildings.geometry.reindex(rows["building"]).to_numpy()
    return rows.assign(distance_m=shapely.distance(points, shapes))


def _guessed(
    nodes: gpd.GeoDataFrame, buildings: gpd.GeoDataFrame, said: pd.DataFrame, system: System, reach_m: float
) -> pd.DataFrame:
    """Give the buildings that do not say what serves them the nodes inside them, else the nearest connection."""
    telling = buildings["asset"].isin(said.loc[said["system"] == system, "building"])
    silent = buildings[~telling]
    ours = nodes[nodes["system"] == system]
    connections = ours[ours["kind"].isin(_CONNECTIONS)]
    others = ours[ours["kind"].isin(_OTHERS)]
    parts: list[pd.DataFrame] = []
    for chosen, inside in ((connections, _INSIDE), (others, _INSIDE_OTHER)):
        within = shapely.STRtree(silent.geometry.to_numpy()).query(
            chosen.geometry.to_numpy(), predicate="dwithin", distance=TOUCH_M
        )
        parts.append(_pairs(chosen, silent, within[0], within[1], Via.INSIDE).assign(confidence=inside))
    for chosen, top in ((connections, _NEAR), (others, _NEAR_OTHER)):
        if chosen is others and telling.mean() > MOST:
            break  # most buildings say it: those that are silent have none
        found = {building for part in parts for building in part["building"]}
        lacking = silent[~silent["asset"].isin(found)]
        nearest = shapely.STRtree(chosen.geometry.to_numpy()).query_nearest(
            lacking.geometry.to_numpy(), max_distance=reach_m, all_matches=False
        )
        rows = _pairs(chosen, lacking, nearest[1], nearest[0], Via.NEAR)
        parts.append(rows.assign(confidence=top * (1.0 - rows["distance_m"] / reach_m)))
    rows = pd.concat(parts, ignore_index=True)
    return rows.assign(system=system.value, basis=Basis.INFERRED.value)


def _pairs(
    nodes: gpd.GeoDataFrame, buildings: gpd.GeoDataFrame, node: np.ndarray, building: np.ndarray, via: Via
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "node": nodes["asset"].to_numpy()[node],
            "building": buildings["asset"].to_numpy()[building],
            "via": via.value,
            "distance_m": shapely.distance(nodes.geometry.to_numpy()[node], buildings.geometry.to_numpy()[building]),
        }
    )
