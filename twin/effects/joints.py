"""Where the pipes of a building model meet the city's network: one joint a building connection, with its confidence.

A model may state the node (a property such as ``Chengmai_Connection.Node``). Else each run of pipes that hangs together
through its ports is joined at the free port that lies nearest to an end of the network of the same system: water and
gas come in at a sink, waste leaves at a source. One run has one joint.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from twin.asset import FREE_PORTS, AssetId, Attribute, NodeKind, System
from twin.model import Joint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.city import City

REACH_M = 25.0
"""How far a riser may lie from the building connection. No standard: half the length of a block of flats."""
STATED = "stated"

_SPEAKS_OF = rf'(?i)node"|"{re.escape(FREE_PORTS)}"'
_NODE_PROPERTIES = frozenset(("node", "networknode", "connectionnode"))
_SURE, _NO_PORT, _NO_SYSTEM, _NO_DIAMETER, _TOO_WIDE = 0.9, 0.8, 0.6, 0.85, 0.6
_WIDER = 0.25
_WORDS: Mapping[System, tuple[str, ...]] = {  # in this order: wastewater and storm water are no water supply
    System.RAIN: ("雨水", "storm", "rainwater"),
    System.DRAINAGE: ("排水", "污水", "废水", "下水", "waste", "sewage", "sewer", "drain", "soil"),
    System.HEAT: ("采暖", "供热", "供暖", "热力", "heating", "地暖"),
    System.GAS: ("燃气", "煤气", "天然气", "gas"),
    System.WATER: ("给水", "供水", "自来水", "water"),
}
_BORES = ("NominalDiameter", "InnerDiameter", "Diameter", "OuterDiameter")


@dataclass(frozen=True, slots=True)
class _Port:
    """A place where a run of pipes may be joined. `flow` is the port's direction, "" where the file states none."""

    element: AssetId
    run: int
    system: System | None
    flow: str
    place: tuple[float, float, float]
    bore_m: float | None
    has_port: bool


def joints(city: City, *, reach_m: float = REACH_M) -> list[Joint]:
    """Return the joints of all placed building models with the networks of `city`, ordered by element.

    `reach_m` is how far a free port may lie from a network's end. Confidence of a joint that is not stated: 0.9, less
    with the distance, with an unknown system or diameter, a riser wider
    than its connection, and where the model has no ports.
    """
    counts = city.counts()
    if not counts["elements"] or not counts["nodes"]:
        return []
    elements = city.table("elements", placed_only=True)
    if not (elements["connects"] != "[]").any() and not elements["properties"].str.contains(_SPEAKS_OF).any():
        return []
    nodes = city.table("nodes", placed_only=True)
    runs = _runs(elements)
    stated = _stated(elements, nodes)
    settled = {runs[joint.element] for joint in stated if joint.element in runs}
    ports = [port for port in _ports(elements, runs) if port.run not in settled]
    bores = _bores(city.table("links", placed_only=True))
    found: dict[tuple[int, System], Joint] = {}
    for system, ends in _ends(nodes, bores).items():
        for joint, run in _nearest(ports, ends, system, bores, reach_m):
            known = found.get((run, system))
            if known is None or joint.confidence > known.confidence:
                found[run, system] = joint
    best: dict[int, Joint] = {}
    for (run, _), joint in found.items():  # a run whose system is unknown may lie near two: the surer one
        if run not in best or joint.confidence > best[run].confidence:
            best[run] = joint
    return sorted([*stated, *best.values()], key=lambda joint: (joint.element, joint.node))


def system_of(*said: str | None) -> System | None:
    """Return the system that the first telling of these words names, None where none does.

    >>> system_of(None, "燃气系统")
    <System.GAS: 'gas'>
    """
    for text in said:
        folded = (text or "").casefold()
        for system, words in _WORDS.items():
            if any(word in folded for word in words):
                return system
    return None


def _runs(elements: pd.DataFrame) -> dict[AssetId, int]:
    """Number the elements that hang together through their ports: the same number, the same run."""
    joined = elements.loc[elements["connects"] != "[]", "connects"].map(msgspec.json.decode).explode()
    position = pd.Series(np.arange(len(elements)), index=elements["asset"])
    a, b = position.reindex(joined.index).to_numpy(), position.reindex(joined.to_numpy()).to_numpy()
    both = ~np.isnan(b)
    a, b = a[both].astype(np.intp), b[both].astype(np.intp)
    _, labels = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(len(elements),) * 2), directed=False)
    return {AssetId(asset): int(label) for asset, label in zip(elements["asset"], labels, strict=True)}


def _stated(elements: pd.DataFrame, nodes: pd.DataFrame) -> list[Joint]:
    speaking = elements[elements["properties"].str.contains(_SPEAKS_OF)]
    found: list[Joint] = []
    for asset, text, at in zip(speaking["asset"], speaking["properties"], speaking.geometry, strict=True):
        for key, value in _properties(text).items():
            if key.rsplit(".", 1)[-1].casefold() in _NODE_PROPERTIES and value in nodes.index:
                node = AssetId(str(value))
                distance = 0.0 if at is None else _distance(_xyz(at), _xyz(nodes.geometry.loc[node]))
                why = f"{STATED}: {key}{'' if at is not None else ', the element has no place'}"
                found.append(Joint(node, AssetId(asset), distance, 1.0, why))
    return found


def _ports(elements: pd.DataFrame, runs: Mapping[AssetId, int]) -> Iterable[_Port]:
    """Yield the free ports; of models that have no ports, the elements at the ends of their runs."""
    free = elements["properties"].str.contains(f'"{FREE_PORTS}"', regex=False)
    with_ports = set(elements.loc[free, "source"])
    at_end = (elements["connects"].str.count('","') == 0) & (elements["connects"] != "[]")
    chosen = elements[free | (at_end & ~elements["source"].isin(with_ports) & elements.geometry.notna())]
    bores = _run_bores(elements, runs)
    said = ("asset", "system", "predefined_type", "type_name", "name", "properties")
    for values, at in zip(chosen[list(said)].itertuples(index=False), chosen.geometry, strict=True):
        asset, *words, text = ("" if isinstance(value, float) else value for value in values)
        properties = _properties(text)
        system, bore = system_of(*words), _bore(properties) or bores.get(runs[AssetId(asset)])
        ports = str(properties.get(FREE_PORTS) or "")
        places = [port.split() for port in ports.split(";") if port.strip()] or [["", *map(str, _xyz(at))]]
        for flow, easting, northing, height in places:
            place = float(easting), float(northing), float(height)
            yield _Port(AssetId(asset), runs[AssetId(asset)], system, flow, place, bore, bool(ports))


def _run_bores(elements: pd.DataFrame, runs: Mapping[AssetId, int]) -> dict[int, float]:
    """Return the largest diameter in each run, metres: a valve or a meter has that of its pipes."""
    found: dict[int, float] = {}
    speaking = elements[elements["properties"].str.contains("Diameter", regex=False)]
    for asset, text in zip(speaking["asset"], speaking["properties"], strict=True):
        run, bore = runs[AssetId(asset)], _bore(_properties(text))
        if bore is not None:
            found[run] = max(found.get(run, 0.0), bore)
    return found


def _ends(nodes: pd.DataFrame, bores: Mapping[AssetId, tuple[float, int]]) -> dict[System, pd.DataFrame]:
    """Return the nodes of each system where a building may be joined: customers, meters, ends of pipes, manholes."""
    degree = nodes["asset"].map({node: degree for node, (_, degree) in bores.items()})
    kinds = nodes["kind"]
    ends = kinds.isin((NodeKind.CUSTOMER, NodeKind.METER)) | ((kinds == NodeKind.JUNCTION) & (degree == 1))
    ends |= kinds == NodeKind.MANHOLE  # the drain of one house runs through the manhole of the next
    ours = nodes[ends & nodes["service"].ne("storm").fillna(value=True)]
    return {System(str(system)): group for system, group in ours.groupby("system")}


def _bores(links: pd.DataFrame) -> dict[AssetId, tuple[float, int]]:
    """Return for each node the largest diameter of its links, metres (nan: unknown), and how many they are."""
    ends = pd.concat([links[[end, "diameter_m"]].rename(columns={end: "node"}) for end in ("start", "end")])
    grouped = ends.dropna(subset=["node"]).groupby("node")["diameter_m"]
    largest, count = grouped.max(), grouped.size()
    return {AssetId(str(node)): (float(largest[node]), int(count[node])) for node in count.index}


def _nearest(
    ports: Iterable[_Port],
    ends: pd.DataFrame,
    system: System,
    bores: Mapping[AssetId, tuple[float, int]],
    reach_m: float,
) -> Iterable[tuple[Joint, int]]:
    """Yield for each port of `system` (or of none) the joint with the nearest of `ends`, and the port's run."""
    shut = "SOURCE" if system in {System.WATER, System.GAS} else "SINK" if system is System.DRAINAGE else None
    fitting = [port for port in ports if port.system in {system, None} and port.flow != shut]
    if not fitting:
        return
    assets = ends["asset"].to_numpy()
    places = shapely.get_coordinates(ends.geometry.to_numpy(), include_z=True)
    found = KDTree(places[:, :2]).query(np.array([port.place[:2] for port in fitting]))
    near, which = (np.asarray(part).tolist() for part in found)
    for port, plan_m, index in zip(fitting, near, which, strict=True):
        if plan_m > reach_m:
            continue
        node = AssetId(str(assets[index]))
        distance = _distance(port.place, places[index])
        confidence, why = _SURE * max(1.0 - distance / (2.0 * reach_m), 0.1), ["nearest end"]
        bore = bores.get(node, (math.nan, 0))[0]
        for factor, doubt in (
            (_NO_PORT, None if port.has_port else "no ports"),
            (_NO_SYSTEM, None if port.system else "system unknown"),
            (_NO_DIAMETER, "diameter unknown" if port.bore_m is None or math.isnan(bore) else None),
            (_TOO_WIDE, None if _fits(port.bore_m, bore) else "wider than its connection"),
        ):
            if doubt:
                confidence *= factor
                why.append(doubt)
        yield Joint(node, port.element, distance, round(float(confidence), 3), ", ".join(why)), port.run


def _fits(bore_m: float | None, connection_m: float) -> bool:
    """Say whether a run may be fed through a pipe this wide, or one diameter is unknown: a riser is no wider."""
    return bore_m is None or math.isnan(connection_m) or bore_m <= (1.0 + _WIDER) * connection_m


def _bore(properties: Mapping[str, Attribute]) -> float | None:
    """Return the diameter among an element's properties, metres; IFC files state millimetres or metres."""
    by_name = {key.rsplit(".", 1)[-1]: value for key, value in properties.items()}
    for name in _BORES:
        said = by_name.get(name)
        if isinstance(said, (int, float)) and said > 0:
            return said / 1000.0 if said > 10.0 else float(said)  # no pipe of a house is wider than 10 m
    return None


def _properties(text: str) -> Mapping[str, Attribute]:
    return msgspec.json.decode(text)


def _xyz(point: shapely.Point) -> NDArray[np.float64]:
    return shapely.get_coordinates(point, include_z=True)[0]


def _distance(a: Iterable[float], b: Iterable[float]) -> float:
    """Return the distance of two places, metres; in plan where one has no height."""
    apart = np.subtract(tuple(a), tuple(b))
    return float(np.hypot(*apart[:2]) if np.isnan(apart[2]) else np.linalg.norm(apart))
