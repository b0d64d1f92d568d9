"""The field devices of the sample district: what is measured where, bound to assets by the ids they get on loading."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shapely import LineString, Point, STRtree

from sample_models.buildings import Building
from sample_models.drainage import Drainage
from sample_models.ifc_models import HouseModel
from sample_models.pipes import Net, Node, Pipe
from sample_models.terrain import XY

DISTRICT = "hewan"
DETECTORS = {"block-07.ifc": 4, "school.ifc": 4, "clinic.ifc": 3}
"""Building models of which each n-th gas detector sends readings."""
NEAR_GAS_M = 1.6
"""A manhole this near a gas main gets a methane detector."""

Entry: TypeAlias = dict[str, object]

SPANS: Mapping[str, tuple[str, float, float]] = {  # quantity → unit of the payload, span in SI
    "pressure": ("MPa", 0.0, 1.0e6),
    "flow": ("m3/h", -0.28, 0.56),
    "level": ("m", 0.0, 10.0),
    "combustible_gas": ("%LEL", 0.0, 1.0),
    "hydrogen_sulfide": ("mg/m3", 0.0, 1.5e-4),
    "cover_open": ("1", 0.0, 1.0),
    "pump_state": ("1", 0.0, 1.0),
    "free_chlorine": ("mg/L", 0.0, 5.0e-3),
    "turbidity": ("NTU", 0.0, 20.0),
    "rain_intensity": ("mm/h", 0.0, 5.6e-5),
}
GAS_SPANS: Mapping[str, tuple[str, float, float]] = {
    "low": ("kPa", 0.0, 1.0e4),
    "medium": ("kPa", 0.0, 6.0e5),
}
SYSTEMS = {
    "DF": "drainage",
    "DL": "drainage",
    "GM": "gas",
    "HS": "drainage",
    "GB": "gas",
    "GP": "gas",
    "GF": "gas",
    "RG": "rain",
}
"""Systems of kinds of devices; the others belong to the network that they are bound to."""
MODELS = {
    "WP": "XH-P20",
    "WF": "XH-F300",
    "WL": "XH-L10",
    "WQ": "XH-Q5",
    "DP": "XH-RTU4",
    "DL": "XH-U8",
    "DF": "XH-V6",
    "GM": "QX-M3",
    "GP": "QX-P12",
    "GF": "QX-F50",
    "GB": "QX-H1",
    "HS": "QX-S2",
    "RG": "YL-T02",
}
"""Models of makers that do not exist."""
INTERVAL_S = {"DP": 30, "GB": 60, "GM": 60, "RG": 60, "WF": 60, "WP": 60}
"""Seconds between two messages; 300 for the others."""


@dataclass(slots=True)
class _Register:
    entries: list[Entry]
    counts: dict[str, int]

    def add(self, prefix: str, asset: str, xy: XY, name: str, points: Sequence[Entry], *, device: str = "") -> None:
        self.counts[prefix] = self.counts.get(prefix, 0) + 1
        self.entries.append(
            {
                "device": device or f"{prefix}-{self.counts[prefix]:04d}",
                "district": DISTRICT,
                "system": SYSTEMS.get(prefix) or asset.partition(".")[0],
                "asset": asset,
                "easting": round(xy[0], 3),
                "northing": round(xy[1], 3),
                "interval_s": INTERVAL_S.get(prefix, 300),
                "name": name,
                "model": MODELS[prefix],
                "points": list(points),
            }
        )


def point(quantity: str, span: tuple[str, float, float] | None = None, **more: float) -> Entry:
    """Return a point that measures a quantity; its span (low, high) is in SI."""
    unit, low, high = span or SPANS[quantity]
    return {"name": quantity, "quantity": quantity, "unit": unit, "low": low, "high": high, **more}


def make_devices(
    water: Net, drainage: Drainage, gas: Net, buildings: Sequence[Building], models: Sequence[HouseModel]
) -> list[Entry]:
    """Return the entries of devices.json; the building `models` carry gas detectors."""
    register = _Register([], {})
    _water(register, water)
    _drainage(register, drainage)
    _gas(register, gas)
    _manhole_gas(register, drainage.net, gas)
    _indoor(register, buildings, models)
    return register.entries


def spread(nodes: Sequence[Node], count: int) -> list[Node]:
    """Return `count` nodes far from each other: each next one is the farthest from those already taken."""
    taken = [nodes[0]]
    away = [Point(n.xy).distance(Point(taken[0].xy)) for n in nodes]
    while len(taken) < min(count, len(nodes)):
        best = max(range(len(nodes)), key=away.__getitem__)
        taken.append(nodes[best])
        spot = Point(nodes[best].xy)
        away = [min(d, spot.distance(Point(n.xy))) for d, n in zip(away, nodes, strict=True)]
    return sorted(taken, key=lambda n: n.name)


def _nodes(net: Net, keep: Callable[[Node], bool]) -> list[Node]:
    return [n for n in net.nodes.values() if keep(n)]


def _ends_of(net: Net) -> set[str]:
    """Return the names of nodes where only one pipe ends."""
    degree: dict[str, int] = {}
    for pipe in net.pipes:
        for end in (pipe.start, pipe.end):
            degree[end] = degree.get(end, 0) + 1
    return {name for name, count in degree.items() if count == 1}


def _pipes(net: Net) -> dict[str, Pipe]:
    return {p.name: p for p in net.pipes}


def _middle(pipe: Pipe) -> XY:
    spot = LineString(pipe.line).interpolate(0.5, normalized=True)
    return spot.x, spot.y


def _water(register: _Register, net: Net) -> None:
    """Pressure at crossings, network ends and hydrants; meters, tank, pumps and water quality."""
    pressure = [point("pressure")]
    corners = _nodes(net, lambda n: n.kind == "junction" and len(n.name) == 3 and n.name.startswith("J"))
    ends = spread(_nodes(net, lambda n: n.kind == "customer" and n.name in _ends_of(net)), 22)
    hydrants = spread(_nodes(net, lambda n: n.kind == "hydrant"), 14)
    for node in [*corners, net.nodes["PS-OUT"], *ends, *hydrants]:
        what = "消火栓压力" if node.kind == "hydrant" else "末梢压力" if node.kind == "customer" else "管网压力"
        register.add("WP", f"water.inp:node:{node.name}", node.xy, f"{node.place}{what}", pressure)
    pipes = _pipes(net)
    for number in (1, 2, 3):
        pipe = pipes[f"FM-{number}"]
        points = [point("flow"), point("pressure")]
        register.add("WF", f"water.inp:link:{pipe.name}", _middle(pipe), pipe.place, points, device=f"WF-DMA{number}")
    pipe = pipes["SM-0"]
    register.add("WF", "water.inp:link:SM-0", _middle(pipe), "清源泵站出厂流量", [point("flow")], device="WF-PS1")
    tank = net.nodes["T-1"]
    level = [point("level", ("m", 0.0, 6.5))]
    register.add("WL", "water.inp:node:T-1", tank.xy, f"{tank.place}液位", level, device="WL-TANK1")
    for name in ("PU-1", "PU-2"):
        pump = pipes[name]
        xy = net.nodes[pump.start].xy
        register.add("DP", f"water.inp:link:{name}", xy, f"清源泵站{name}", [point("pump_state")], device=f"DP-{name}")
    quality = [point("free_chlorine"), point("turbidity")]
    for name in ("PS-OUT", "J00", "J30", "J60"):
        node = net.nodes[name]
        register.add("WQ", f"water.inp:node:{name}", node.xy, f"{node.place}水质", quality)


def _crown(net: Net) -> dict[str, float]:
    """Return each manhole's crown: the diameter of the pipe that leaves it, metres above its invert."""
    return {p.start: p.diameter_mm / 1000.0 for p in net.pipes if p.kind == "conduit"}


def _drainage(register: _Register, drainage: Drainage) -> None:
    """Levels in manholes and the wet well, flows in trunk drains and outfalls, pumps, hydrogen sulfide, rain."""
    net = drainage.net
    crown = _crown(net)
    for service, count in (("sanitary", 46), ("storm", 24)):
        street = _nodes(net, lambda n, s=service: n.kind == "manhole" and n.grade == s and n.building is None)
        for node in spread([n for n in street if n.name != "LS-OUT"], count):
            depth = round(node.ground_m - node.level_m, 3)
            points = [point("level", ("m", 0.0, max(6.0, depth)), crown_m=crown[node.name], depth_m=depth)]
            name = f"{node.place}{'污水' if service == 'sanitary' else '雨水'}井液位"
            register.add("DL", f"drainage.inp:node:{node.name}", node.xy, name, points)
    well = net.nodes["LS-1"]
    depth = round(well.ground_m - well.level_m, 3)
    points = [point("level", crown_m=3.4, depth_m=depth)]
    register.add("DL", "drainage.inp:node:LS-1", well.xy, "东堤提升泵站集水井液位", points, device="DL-LS1")
    pipes = _pipes(net)
    trunk = sorted((p for p in net.pipes if p.grade == "sanitary" and p.diameter_mm >= 400), key=lambda p: p.name)[::9]
    for pipe in [pipes["WSL-LS"], pipes["WSL-OUT"], *(pipes[f"YSL-OF{n}"] for n in (1, 2, 3)), *trunk[:4]]:
        asset = f"drainage.inp:link:{pipe.name}"
        register.add("DF", asset, _middle(pipe), f"{pipe.place}流量", [point("flow", ("m3/h", 0.0, 1.5))])
    for name in ("LP-1", "LP-2"):
        asset = f"drainage.inp:link:{name}"
        register.add("DP", asset, well.xy, f"东堤提升泵站{name}", [point("pump_state")], device=f"DP-{name}")
    for name in ("WS-60", "WS-50", "WS-40", "WS-30", "WS-20", "WS-61"):
        node = net.nodes[name]
        asset = f"drainage.inp:node:{name}"
        register.add("HS", asset, node.xy, f"{node.place}硫化氢", [point("hydrogen_sulfide")])


def _gas(register: _Register, net: Net) -> None:
    """Pressure at the gate, at both sides of the regulators, along and at the ends of the mains; flows."""
    for name in sorted(n.name for n in net.nodes.values() if n.name.startswith(("RS-", "GATE"))):
        node = net.nodes[name]
        asset = f"gas_nodes.geojson:node:{name}"
        points = [point("pressure", GAS_SPANS[node.grade])]
        register.add("GP", asset, node.xy, f"{node.place}压力", points, device=f"GP-{name}")
    medium = spread(_nodes(net, lambda n: n.grade == "medium" and n.name.startswith("GM-")), 4)
    ends = spread(_nodes(net, lambda n: n.kind == "customer"), 14)
    for node in [*medium, *ends]:
        what = "中压压力" if node.grade == "medium" else "末端压力"
        points = [point("pressure", GAS_SPANS[node.grade])]
        register.add("GP", f"gas_nodes.geojson:node:{node.name}", node.xy, f"{node.place}{what}", points)
    pipes = _pipes(net)
    for name in ("GMP-0", "REG-1", "REG-2", "REG-3"):
        pipe = pipes[name]
        flow = [point("flow", ("m3/h", 0.0, 1.0))]
        register.add("GF", f"gas_pipes.geojson:link:{name}", _middle(pipe), f"{pipe.place}流量", flow)


def near_gas(drains: Net, gas: Net) -> Iterator[tuple[Node, Pipe, float]]:
    """Yield the street manholes near a gas pipe, the nearest pipe and its distance on the map, metres."""
    lines = [LineString(p.line) for p in gas.pipes]
    tree = STRtree(lines)
    for node in drains.nodes.values():
        if node.kind == "manhole" and node.building is None:
            nearest = int(tree.nearest(Point(node.xy)))
            distance = lines[nearest].distance(Point(node.xy))
            if distance <= NEAR_GAS_M:
                yield node, gas.pipes[nearest], distance


def _manhole_gas(register: _Register, drains: Net, gas: Net) -> None:
    """Methane detectors in manholes beside gas mains, a third of them with a switch on the cover."""
    nodes = spread([n for n, _, _ in near_gas(drains, gas)], 46)
    for count, node in enumerate(nodes):
        points = [point("combustible_gas")] + ([point("cover_open")] if count % 3 == 0 else [])
        register.add("GM", f"drainage.inp:node:{node.name}", node.xy, f"{node.place}窨井可燃气体", points)


def _indoor(register: _Register, buildings: Sequence[Building], models: Sequence[HouseModel]) -> None:
    """Gas detectors in houses (some on elements of the building models) and rain gauges on roofs."""
    detector = [point("combustible_gas", ("%LEL", 0.0, 1.0))]
    for model in models:
        if model.path not in DETECTORS:
            continue
        for found in model.detectors[:: DETECTORS[model.path]]:
            asset = f"{model.path}:element:{found.guid}"
            register.add("GB", asset, found.xy, found.name, detector)
    users = [b for b in buildings if b.kind != "park"]
    for b in users[2::4][:36]:
        xy = b.footprint.centroid.x, b.footprint.centroid.y
        register.add("GB", f"buildings.geojson:building:{b.id}", xy, f"{b.name}室内可燃气体", detector)
    roofs = [next(b for b in buildings if b.kind == kind) for kind in ("school", "office", "clinic")]
    for n, b in enumerate(roofs, start=1):
        xy = b.footprint.centroid.x, b.footprint.centroid.y
        asset = f"buildings.geojson:building:{b.id}"
        register.add("RG", asset, xy, f"{b.name}雨量", [point("rain_intensity")], device=f"RG-{n:02d}")
