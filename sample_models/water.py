"""Water supply of the sample district: works, pump station, tank, supply main, three DMAs, hydrants and services.

The supply main runs in the verge of 北塘大道 and feeds each DMA (独立计量区) through one meter; valves between the DMAs
are closed. Street mains carry isolation valves at the crossings, hydrants on leads, and the lanes of the compounds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from shapely import LineString, Point, Polygon, get_coordinates, unary_union

from sample_models.buildings import Block, largest
from sample_models.pipes import Lane, Net, at, between, lane_of, mains_of
from sample_models.streets import ROWS, Key, Segment, Street, Streets, water_line
from sample_models.terrain import XY, to_frame, to_map

COVER_M = 1.2
"""Depth of the axis of water mains."""
LANE_BEHIND_M = 5.4
VALVE_M = 6.0
"""From a crossing to its valves."""
INLETS = {1: 1, 2: 3, 3: 5}
"""DMA → column at which the supply main feeds it."""
WORKS: XY = (40.0, 880.0)
TANK: XY = (1205.0, 888.0)
VERGE_M = 19.0
"""Supply main, metres north of the axis of 北塘大道."""


@dataclass(frozen=True, slots=True)
class Water:
    """The drawn network and its DMAs: name → area on the map."""

    net: Net
    dmas: dict[str, Polygon]


def dma_of(key: Key) -> int:
    """Return the number of the DMA that a crossing belongs to."""
    return 1 if key[0] < 2 else 2 if key[0] < 4 else 3


def make_water(streets: Streets, blocks: Sequence[Block], rng: random.Random) -> Water:
    """Draw the water network of the district."""
    net = Net()
    mains = mains_of(streets, water_line)
    for key in streets.crossings:
        place = "/".join(sorted({s.street.name for s in streets.at(key)}))
        net.add_node(_corner(key), "junction", streets.corner(key, water_line), COVER_M, place=place)
    lanes: dict[str, list[Lane]] = {}
    cuts = _cuts(streets)
    for block in blocks:
        number = _side(block.parcel.centroid, cuts)
        own = [(segment, line) for segment, line in mains if dma_of(segment.a) == number]
        for row in block.rows:
            lane = lane_of(row, LANE_BEHIND_M, own)
            lanes.setdefault(lane.segment.name, []).append(lane)
    for segment, line in mains:
        _street(net, segment, line, lanes.get(segment.name, []), rng)
    _supply(net, streets)
    return Water(net, _areas(streets, blocks))


def _corner(key: Key) -> str:
    return f"J{key[0]}{key[1]}"


def _laid(street: Street, rng: random.Random) -> tuple[str, int]:
    """Return material and year of a main: some old ones have been renewed."""
    if street.old and rng.random() < 0.25:
        return "球墨铸铁", rng.randint(2016, 2022)
    year = street.year + rng.randint(0, 2)
    return ("灰口铸铁" if year < 2000 else "球墨铸铁"), year


def _street(net: Net, segment: Segment, line: LineString, lanes: Sequence[Lane], rng: random.Random) -> None:
    """Lay the main of a segment: valves, hydrants and lanes along it, and the pipes between them."""
    street = segment.street
    material, year = _laid(street, rng)
    size = 300 if street.trunk else 200
    boundary = dma_of(segment.a) != dma_of(segment.b)
    valve_at_end = boundary or street.trunk or rng.random() < 0.4
    hydrants = max(1, round(line.length / 120))
    stops: list[tuple[float, str]] = [(line.length * (n + 0.42) / hydrants, "hydrant") for n in range(hydrants)]
    stops += [(lane.station, f"lane{n}") for n, lane in enumerate(lanes)]
    stops = sorted((min(max(s, VALVE_M + 4), line.length - VALVE_M - 4), what) for s, what in stops)
    place = street.name
    last, reached = _corner(segment.a), 0.0
    if not boundary:
        reached = VALVE_M
        after = net.add_node(net.name("JV"), "junction", at(line, reached), COVER_M, place=place)
        net.add_pipe(net.name("V"), "valve", (last, after), size, ("", year), place=place)
        last = after
    for n, (station, what) in enumerate(stops):
        if n and station - reached < 1.5:  # a tee for two
            node = last
        else:
            node = net.add_node(net.name("J"), "junction", at(line, station), COVER_M, place=place)
            via = between(line, reached, station)
            net.add_pipe(net.name("P"), "pipe", (last, node), size, (material, year), via=via, place=place)
            last, reached = node, station
        if what == "hydrant":
            _hydrant(net, node, segment, line, station, year=year)
        else:
            _lane(net, node, lanes[int(what[4:])], rng)
    end = _corner(segment.b)
    if valve_at_end:
        before = net.add_node(net.name("JV"), "junction", at(line, line.length - VALVE_M), COVER_M, place=place)
        via = between(line, reached, line.length - VALVE_M)
        net.add_pipe(net.name("P"), "pipe", (last, before), size, (material, year), via=via, place=place)
        net.add_pipe(net.name("V"), "valve", (before, end), size, ("", year), place=place, closed=boundary)
    else:
        via = between(line, reached, line.length)
        net.add_pipe(net.name("P"), "pipe", (last, end), size, (material, year), via=via, place=place)


def _hydrant(net: Net, tee: str, segment: Segment, line: LineString, station: float, *, year: int) -> None:
    """Put a hydrant at the kerb, 2.4 m to the left of the main, on a lead."""
    p, q = at(line, max(station - 1, 0)), at(line, min(station + 1, line.length))
    size = Point(p).distance(Point(q))
    x, y = at(line, station)
    spot = (x - (q[1] - p[1]) / size * 2.4, y + (q[0] - p[0]) / size * 2.4)
    node = net.add_node(net.name("H"), "hydrant", spot, -0.5, place=segment.street.name)
    net.add_pipe(net.name("HL"), "pipe", (tee, node), 100, ("球墨铸铁", max(year, 1998)), place=segment.street.name)


def _lane(net: Net, tee: str, lane: Lane, rng: random.Random) -> None:
    """Lay the pipe of a lane behind a row, and from it a service into every building."""
    first = lane.stops[0][0]
    renewed = first.year < 2000 and rng.random() < 0.45
    year = rng.randint(2018, 2023) if renewed else first.year
    material = "PE" if year > 2005 else "镀锌钢" if year < 1997 else "球墨铸铁"
    size = 150 if first.kind in {"tower", "office", "school", "clinic", "market"} else 100
    last = tee
    for building, spot in lane.stops:
        node = net.add_node(net.name("J"), "junction", spot, 0.9, place=building.compound)
        net.add_pipe(net.name("P"), "pipe", (last, node), size, (material, year), place=building.compound)
        customer = net.add_node(
            f"C-{building.id}", "customer", building.entry, 0.6, place=building.name, building=building
        )
        service = 80 if building.kind in {"slab", "park"} else 100
        net.add_pipe(f"S-{building.id}", "service", (node, customer), service, (material, year), place=building.name)
        last = node


def _supply(net: Net, streets: Streets) -> None:
    """Lay works, pump station, supply main, tank and the metered inlets of the DMAs."""
    axis = [p for s in streets.segments if s.street is ROWS[4] for p in s.axis]
    verge = LineString(get_coordinates(LineString(list(dict.fromkeys(axis))).offset_curve(VERGE_M)))
    works = to_map(*WORKS)
    net.add_node("WW-1", "reservoir", works, 0.0, place="清源水厂清水池")
    net.add_node("PS-IN", "junction", to_map(WORKS[0] + 22, WORKS[1]), 1.5, place="清源泵站")
    net.add_node("PS-OUT", "junction", to_map(WORKS[0] + 34, WORKS[1] - 4), 1.5, place="清源泵站")
    net.add_pipe("SM-IN", "pipe", ("WW-1", "PS-IN"), 600, ("钢", 2009), place="清源泵站")
    for name in ("PU-1", "PU-2"):
        net.add_pipe(name, "pump", ("PS-IN", "PS-OUT"), 0, ("", 2009), place="清源泵站")
    start = verge.project(Point(net.nodes["PS-OUT"].xy))
    last, reached = net.add_node("SM0", "junction", at(verge, start), 1.6, place="北塘大道"), start
    net.add_pipe("SM-0", "pipe", ("PS-OUT", last), 500, ("钢", 2009), place="清源泵站")
    for dma, column in INLETS.items():
        corner = _corner((column, 4))
        station = verge.project(Point(net.nodes[corner].xy))
        tee = net.add_node(f"SM{dma}", "junction", at(verge, station), 1.6, place="北塘大道")
        via = between(verge, reached, station)
        net.add_pipe(f"SM-{dma}", "pipe", (last, tee), 500, ("球墨铸铁", 2014), via=via, place="北塘大道")
        p, q = net.nodes[tee].xy, net.nodes[corner].xy
        well = net.add_node(
            f"M{dma}", "meter", (p[0] + (q[0] - p[0]) * 0.55, p[1] + (q[1] - p[1]) * 0.55), 1.5, place=f"DMA{dma}"
        )
        net.add_pipe(f"FM-{dma}", "meter", (tee, well), 300, ("球墨铸铁", 2019), place=f"DMA{dma}进口流量计")
        net.add_pipe(f"V-DMA{dma}", "valve", (well, corner), 300, ("", 2019), place=f"DMA{dma}进口阀")
        last, reached = tee, station
    net.add_node("T-1", "tank", to_map(*TANK), 0.0, place="北塘水塔")
    via = between(verge, reached, verge.length)
    net.add_pipe(
        "SM-4", "pipe", (last, "T-1"), 500, ("球墨铸铁", 2014), via=[*via, at(verge, verge.length)], place="北塘大道"
    )


def _areas(streets: Streets, blocks: Sequence[Block]) -> dict[str, Polygon]:
    """Return the area of each DMA: its blocks, with the streets whose mains it feeds."""
    cuts = _cuts(streets)
    areas: dict[str, Polygon] = {}
    for number in (3, 2, 1):  # the street on a boundary belongs to its east
        own = [b.parcel for b in blocks if _side(b.parcel.centroid, cuts) == number]
        others = [b.parcel for b in blocks if _side(b.parcel.centroid, cuts) != number]
        area = unary_union(own).buffer(17.0, join_style="mitre").difference(unary_union([*others, *areas.values()]))
        areas[f"DMA{number}"] = Polygon(largest(area).exterior)
    return dict(sorted(areas.items()))


def _cuts(streets: Streets) -> list[LineString]:
    """Return the columns that bound the DMAs in the east."""
    return [LineString([streets.crossings[column, j] for j in range(5)]) for column in (2, 4)]


def _side(point: Point, cuts: Sequence[LineString]) -> int:
    u, v = to_frame(point.x, point.y)
    passed = 0
    for cut in cuts:
        frame = LineString([to_frame(x, y) for x, y in cut.coords])
        level = frame.intersection(LineString([(-500, v), (2000, v)]))
        passed += int(u > (level.x if isinstance(level, Point) else frame.centroid.x))
    return passed + 1
