"""Drainage of the sample district: sanitary to a lift station and on to the plant, storm to three river outfalls.

Both systems are trees along the streets: every manhole has one way down. Sizes follow what drains through them,
levels follow the ground with at least the slope of their size.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from shapely import LineString, Point, Polygon

from sample_models.buildings import Block, largest
from sample_models.pipes import Lane, Net, Node, Pipe, at, between, lane_of, mains_of
from sample_models.streets import Key, Offset, Segment, Streets, sanitary_line, storm_line
from sample_models.terrain import bank, ground, to_frame, to_map

LANE_BEHIND_M = 3.9
LIFT: Key = (6, 0)
"""Crossing beside the lift station."""
STORM_OUTLETS: tuple[Key, ...] = ((1, 0), (3, 0), (5, 0))
WELL_BELOW_M = 2.6
"""Bottom of the wet well below the drain that enters it."""
SIZES = {  # DN → least slope (GB 50014-2021 table 5.2.10 asks 3 ‰ at DN300, 0.8 ‰ from DN600)
    200: 0.005,
    300: 0.003,
    400: 0.002,
    500: 0.0018,
    600: 0.0015,
    800: 0.0012,
    1000: 0.0012,
    1200: 0.001,
    1500: 0.001,
}
MANNING = {"HDPE": 0.011, "混凝土": 0.014, "陶土": 0.015}


@dataclass(frozen=True, slots=True)
class Catchment:
    """A subcatchment: its area on the map, the storm manhole it drains to, and its paved share."""

    name: str
    area: Polygon
    outlet: str
    paved: float
    slope: float


@dataclass(frozen=True, slots=True)
class Drainage:
    """Nodes by name and pipes, both systems; `net` levels are inverts. Offsets: pipe → its start above the invert."""

    net: Net
    drops: Mapping[str, float]
    """Pipe → metres that it ends above the invert of its lower manhole."""
    catchments: Sequence[Catchment]


def make_drainage(streets: Streets, blocks: Sequence[Block]) -> Drainage:
    """Draw both systems, size them and set their levels."""
    net = Net()
    lanes: dict[str, list[Lane]] = {}
    sewers = mains_of(streets, sanitary_line)
    for block in blocks:
        for row in block.rows:
            lane = lane_of(row, LANE_BEHIND_M, sewers)
            lanes.setdefault(lane.segment.name, []).append(lane)
    _draw(net, streets, "sanitary", sanitary_line, (LIFT,), lanes=lanes)
    _draw(net, streets, "storm", storm_line, STORM_OUTLETS, lanes={})
    _ends(net, streets)
    catchments = _catchments(net, blocks)
    load = {c.outlet: 0.0 for c in catchments}
    for c in catchments:
        load[c.outlet] += c.area.area * c.paved * 1.25 * STORM_M_S
    for node in net.nodes.values():
        if node.building is not None:
            load[node.name] = node.building.people * SEWAGE_M3_S
    sized = _sizes(net, load)
    return _levels(sized, catchments)


STORM_M_S = 36e-3 / 3600.0
"""Rain that the storm drains carry full, metres a second on paved ground: 36 mm/h."""
SEWAGE_M3_S = 4.0 * 0.15 / 86_400.0
"""Per person and second: 150 litres a day, at four times the mean."""


def _name(service: str, key: Key) -> str:
    return f"{'WS' if service == 'sanitary' else 'YS'}-{key[0]}{key[1]}"


def _downhill(streets: Streets, sinks: Sequence[Key]) -> tuple[dict[Key, float], dict[Key, Segment]]:
    """Return each crossing's cost to the nearest sink and the segment it drains into (Dijkstra, dear uphill)."""
    cost: dict[Key, float] = dict.fromkeys(sinks, 0.0)
    way: dict[Key, Segment] = {}
    queue: list[tuple[float, Key]] = [(0.0, s) for s in sinks]
    while queue:
        so_far, key = heapq.heappop(queue)
        if so_far > cost[key]:
            continue
        for segment in streets.at(key):
            upper = segment.a if key == segment.b else segment.b
            rise = ground(*streets.crossings[key]) - ground(*streets.crossings[upper])
            through = so_far + segment.length + 300.0 * max(rise, 0.0)
            if through < cost.get(upper, math.inf):
                cost[upper], way[upper] = through, segment
                heapq.heappush(queue, (through, upper))
    return cost, way


def _draw(
    net: Net,
    streets: Streets,
    service: str,
    offset: Offset,
    sinks: Sequence[Key],
    *,
    lanes: Mapping[str, Sequence[Lane]],
) -> None:
    """Draw the drains of one system: a manhole at each crossing, along each segment, and in the lanes."""
    cost, way = _downhill(streets, sinks)
    for key in streets.crossings:
        place = "/".join(sorted({s.street.name for s in streets.at(key)}))
        net.add_node(_name(service, key), "manhole", streets.corner(key, offset), 0.0, place=place, grade=service)
    for segment, line in mains_of(streets, offset):
        down = segment.a if cost[segment.a] < cost[segment.b] else segment.b
        up = segment.b if down == segment.a else segment.a
        through = way.get(up) is segment
        _segment(net, service, segment, line, (up, down), through=through, lanes=lanes.get(segment.name, ()))


def _segment(
    net: Net,
    service: str,
    segment: Segment,
    line: LineString,
    ends: tuple[Key, Key],
    *,
    through: bool,
    lanes: Sequence[Lane],
) -> None:
    """Draw the drain of a segment from its upper to its lower crossing; it starts short of it if not `through`."""
    prefix, spacing = ("WS", 48.0) if service == "sanitary" else ("YS", 56.0)
    up, down = ends
    if up != segment.a:
        line = line.reverse()
    length = line.length
    taps = {lane.tap: length - lane.station if up != segment.a else lane.station for lane in lanes}
    fixed = _apart({min(max(s, 12.0), length - 12.0) for s in taps.values()})
    head = 0.0 if through else min([14.0, *fixed])
    marks = [head]
    for mark in [*fixed, length]:
        gap = mark - marks[-1]
        parts = max(1, math.ceil(gap / spacing))
        start = marks[-1]
        marks += [start + gap * n / parts for n in range(1, parts + 1) if gap > 1.0]
    place, year = segment.street.name, segment.street.year
    material = "混凝土" if year < 2005 or service == "storm" else "HDPE"
    names: list[str] = []
    for mark in marks:
        if mark == 0.0:
            names.append(_name(service, up))
        elif mark >= length - 1e-6:
            names.append(_name(service, down))
        else:
            names.append(net.add_node(net.name(prefix), "manhole", at(line, mark), 0.0, place=place, grade=service))
    for (p, q), (a, b) in zip(pairwise(marks), pairwise(names), strict=True):
        via = between(line, p, q)
        net.add_pipe(
            net.name(f"{prefix}L"), "conduit", (a, b), 0, (material, year), via=via, place=place, grade=service
        )
    for lane in lanes:
        station = min(max(taps[lane.tap], 12.0), length - 12.0)
        _lane(net, names[min(range(len(marks)), key=lambda n: abs(marks[n] - station))], lane)


def _apart(stations: Iterable[float]) -> list[float]:
    """Return the stations in order, leaving out those within 8 m of the one before."""
    kept: list[float] = []
    for station in sorted(stations):
        if not kept or station - kept[-1] > 8.0:
            kept.append(station)
    return kept


def _lane(net: Net, street: str, lane: Lane) -> None:
    """Draw the house drain of a lane: one manhole behind each building, down to the street."""
    below = street
    for building, spot in lane.stops:
        name = net.add_node(
            f"WH-{building.id}", "manhole", spot, 0.0, place=building.name, building=building, grade="sanitary"
        )
        material = "HDPE" if building.year > 2000 else "陶土"
        net.add_pipe(
            f"WHL-{building.id}",
            "conduit",
            (name, below),
            0,
            (material, building.year),
            place=building.compound,
            grade="sanitary",
        )
        below = name


def _ends(net: Net, streets: Streets) -> None:
    """Add the lift station, the way to the plant and the river outfalls."""
    u, v = to_frame(*streets.crossings[LIFT])
    well = net.add_node("LS-1", "storage", to_map(u + 10.0, v - 20.0), 0.0, place="东堤提升泵站", grade="sanitary")
    net.add_pipe(
        "WSL-LS", "conduit", (_name("sanitary", LIFT), well), 0, ("混凝土", 2016), place="东堤路", grade="sanitary"
    )
    over = net.add_node("LS-OUT", "manhole", to_map(u + 24.0, v - 20.0), 1.8, place="东堤提升泵站", grade="sanitary")
    for name in ("LP-1", "LP-2"):
        net.add_pipe(name, "pump", (well, over), 0, ("", 2016), place="东堤提升泵站", grade="sanitary")
    plant = net.add_node("OF-WWTP", "outfall", to_map(u + 84.0, v - 14.0), 2.2, place="至清源污水厂", grade="sanitary")
    net.add_pipe("WSL-OUT", "conduit", (over, plant), 0, ("混凝土", 2016), place="至清源污水厂", grade="sanitary")
    for n, key in enumerate(STORM_OUTLETS, start=1):
        cu, _ = to_frame(*streets.crossings[key])
        name = net.add_node(
            f"OF-{n}", "outfall", to_map(cu, bank(cu) + 3.0), 0.0, place="河湾路雨水排口", grade="storm"
        )
        ends = (_name("storm", key), name)
        net.add_pipe(f"YSL-OF{n}", "conduit", ends, 0, ("混凝土", 2010), place="河湾路雨水排口", grade="storm")


PAVED = {
    "park": 0.22,
    "school": 0.55,
    "clinic": 0.6,
    "office": 0.72,
    "market": 0.85,
    "tower": 0.58,
    "mid": 0.6,
    "slab": 0.7,
}


def _catchments(net: Net, blocks: Sequence[Block]) -> list[Catchment]:
    """Halve every block along its rows; each half drains to the nearest storm manhole between crossings."""
    inlets = [n for n in net.nodes.values() if n.grade == "storm" and n.kind == "manhole" and "-" not in n.name]
    catchments: list[Catchment] = []
    for block in blocks:
        turn = block.rows[0].turn
        c, s = math.cos(turn) * 500.0, math.sin(turn) * 500.0
        x, y = block.parcel.centroid.x, block.parcel.centroid.y
        south = Polygon([(x - c, y - s), (x + c, y + s), (x + c + s, y + s - c), (x - c + s, y - s - c)])
        for half in (block.parcel.intersection(south), block.parcel.difference(south)):
            area = largest(half)
            outlet = min(inlets, key=lambda n: Point(n.xy).distance(area.centroid))
            paved = PAVED[block.compound.kind]
            catchments.append(Catchment(f"SC{len(catchments) + 1:02d}", area, outlet.name, paved, 0.7))
    return catchments


def _downwards(net: Net) -> list[Pipe]:
    """Return the pipes in the order of flow: what drains into a pipe comes before it."""
    waiting = dict.fromkeys(net.nodes, 0)
    leaving: dict[str, list[Pipe]] = {}
    for pipe in net.pipes:
        waiting[pipe.end] += 1
        leaving.setdefault(pipe.start, []).append(pipe)
    ready = [name for name, count in waiting.items() if count == 0]
    ordered: list[Pipe] = []
    while ready:
        for pipe in leaving.get(ready.pop(), ()):
            ordered.append(pipe)
            waiting[pipe.end] -= 1
            if waiting[pipe.end] == 0:
                ready.append(pipe.end)
    return ordered


def _sizes(net: Net, load: Mapping[str, float]) -> Net:
    """Give each conduit the least size that carries its flow at its least slope, never less than above it."""
    flow = {name: load.get(name, 0.0) for name in net.nodes}
    largest: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for pipe in _downwards(net):
        start = net.nodes[pipe.start]
        least = 200 if start.building is not None else 300 if pipe.grade == "sanitary" else 400
        least = max(least, largest.get(pipe.start, 0))
        share = 0.65 if pipe.grade == "sanitary" else 1.0
        sizes[pipe.name] = next(d for d in SIZES if d >= least and _full(d) * share >= flow[pipe.start])
        largest[pipe.end] = max(largest.get(pipe.end, 0), sizes[pipe.name])
        if pipe.name != "LP-2":
            flow[pipe.end] += flow[pipe.start]
    pipes = [replace(p, diameter_mm=sizes[p.name]) if p.kind == "conduit" else p for p in net.pipes]
    return Net(net.nodes, pipes, net.counts)


def _full(diameter_mm: int) -> float:
    """Flow of a full concrete drain at its least slope (1.5 ‰ at least), m3/s (Manning, n = 0.014)."""
    d = diameter_mm / 1000.0
    return math.pi * d**2 / 4 * (d / 4) ** (2 / 3) * max(SIZES[diameter_mm], 0.0015) ** 0.5 / 0.014


def _levels(net: Net, catchments: Sequence[Catchment]) -> Drainage:
    """Set inverts from the top down; where the ground falls faster than 2 %, the drain drops into its manhole."""
    inverts = {name: _highest(net, node) for name, node in net.nodes.items()}
    drops: dict[str, float] = {}
    for pipe in _downwards(net):
        if pipe.kind == "pump":
            continue
        arrives = inverts[pipe.start] - pipe.length * SIZES[pipe.diameter_mm]
        below = WELL_BELOW_M if pipe.end == "LS-1" else 0.0
        inverts[pipe.end] = min(inverts[pipe.end], arrives - below)
    for pipe in net.pipes:
        if pipe.kind == "conduit":
            steepest = inverts[pipe.start] - pipe.length * 0.02
            drops[pipe.name] = round(max(0.0, steepest - inverts[pipe.end]), 3)
            if pipe.end == "LS-1":
                drops[pipe.name] = WELL_BELOW_M
    nodes = {name: replace(node, level_m=round(inverts[name], 3)) for name, node in net.nodes.items()}
    return Drainage(Net(nodes, net.pipes, net.counts), drops, catchments)


def _highest(net: Net, node: Node) -> float:
    """Return the highest invert that leaves the least cover: 1.1 m in lanes, 2 m (sanitary), 1.6 m (storm)."""
    if node.name in {"LS-OUT", "OF-WWTP"}:
        return node.level_m
    if node.building is not None:
        return node.ground_m - 1.1
    largest = max((p.diameter_mm for p in net.pipes if node.name in (p.start, p.end)), default=300) / 1000.0
    return node.ground_m - max(2.0 if node.grade == "sanitary" else 1.6, largest + 0.9)
