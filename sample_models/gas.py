"""Gas of the sample district: a medium-pressure main, three regulator stations and a low-pressure net.

The low-pressure main lies 1.2 m beside the sanitary drain in streets laid before 2000 and above it at every
crossing: where gas that leaks finds its way into manholes.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

from shapely import LineString, Point

from sample_models.buildings import Block
from sample_models.pipes import Lane, Net, at, between, lane_of, mains_of
from sample_models.streets import Key, Segment, Street, Streets, gas_line, medium_gas_line
from sample_models.terrain import XY

LANE_BEHIND_M = 2.5
LOW_COVER_M, MEDIUM_COVER_M = 0.9, 1.2
VALVE_M = 11.0
MEDIUM_KPA, LOW_KPA = 300.0, 2.6
"""Gauge pressures at the gate and behind the regulators (GB 50028-2006 table 6.1.6: medium A, low)."""
MEDIUM_ROUTE: tuple[Key, ...] = ((0, 4), (1, 4), (2, 4), (3, 4), (4, 4), (5, 4), (6, 4))
MEDIUM_SOUTH: tuple[Key, ...] = ((3, 4), (3, 3), (3, 2), (3, 1), (3, 0))
MEDIUM_EAST: tuple[Key, ...] = ((3, 2), (4, 2), (5, 2), (6, 2))
REGULATORS: dict[str, Key] = {"RS-1": (1, 4), "RS-2": (3, 1), "RS-3": (5, 2)}
"""Regulator station → crossing where it stands."""


def make_gas(streets: Streets, blocks: Sequence[Block], rng: random.Random) -> Net:
    """Draw the gas network of the district."""
    net = Net()
    mains = mains_of(streets, gas_line)
    for key in streets.crossings:
        place = "/".join(sorted({s.street.name for s in streets.at(key)}))
        xy = streets.corner(key, gas_line)
        net.add_node(f"GJ-{key[0]}{key[1]}", "junction", xy, LOW_COVER_M, place=place, grade="low")
    lanes: dict[str, list[Lane]] = {}
    for block in blocks:
        for row in block.rows:
            if row.buildings[0].kind != "park":
                lane = lane_of(row, LANE_BEHIND_M, mains)
                lanes.setdefault(lane.segment.name, []).append(lane)
    for segment, line in mains:
        _street(net, segment, line, lanes.get(segment.name, ()), rng)
    _medium(net, streets)
    return net


def _laid(street: Street, rng: random.Random) -> tuple[tuple[str, int], int]:
    """Return (material, year) and DN of a low-pressure main; a fifth of the old ones have been renewed in PE."""
    if street.old and rng.random() < 0.2:
        return ("PE", rng.randint(2015, 2022)), 200 if street.trunk else 160
    year = street.year + rng.randint(0, 2)
    material = "灰口铸铁" if year < 1994 else "钢" if year < 2004 else "PE"
    return (material, year), 200 if street.trunk else 150 if material != "PE" else 160


def _street(net: Net, segment: Segment, line: LineString, lanes: Sequence[Lane], rng: random.Random) -> None:
    """Lay the low-pressure main of a segment, with a valve near its start and the lanes along it."""
    street = segment.street
    laid, size = _laid(street, rng)
    middles = [(line.length * share, "") for share in (0.33, 0.67)]
    stops = [(lane.station, f"{n}") for n, lane in enumerate(lanes)]
    stops += [m for m in middles if all(abs(m[0] - s[0]) > 25 for s in stops)]
    if segment.heading == "east" or street.trunk:
        stops.append((VALVE_M, "valve"))
    stops = sorted((min(max(s, VALVE_M), line.length - VALVE_M), what) for s, what in stops)
    last, reached = f"GJ-{segment.a[0]}{segment.a[1]}", 0.0
    for station, what in stops:
        node = last
        if station - reached > 1.0:
            kind = "valve" if what == "valve" else "junction"
            name = net.name("GV" if what == "valve" else "GJ")
            node = net.add_node(name, kind, at(line, station), LOW_COVER_M, place=street.name, grade="low")
            via = between(line, reached, station)
            net.add_pipe(net.name("GP"), "pipe", (last, node), size, laid, via=via, place=street.name, grade="low")
            last, reached = node, station
        if what.isdigit():
            _lane(net, node, lanes[int(what)], rng)
    end = f"GJ-{segment.b[0]}{segment.b[1]}"
    via = between(line, reached, line.length)
    net.add_pipe(net.name("GP"), "pipe", (last, end), size, laid, via=via, place=street.name, grade="low")


def _lane(net: Net, tee: str, lane: Lane, rng: random.Random) -> None:
    """Lay the gas pipe of a lane with a valve at its head, and a service into every building."""
    first = lane.stops[0][0]
    renewed = first.year < 2000 and rng.random() < 0.35
    year = rng.randint(2016, 2023) if renewed else first.year
    material = "PE" if year >= 2002 else "镀锌钢"
    last = tee
    tap = net.nodes[tee].xy
    for n, (building, spot) in enumerate(lane.stops):
        if n == 0:
            head = _towards(tap, spot, min(4.0, Point(tap).distance(Point(spot)) / 2))
            last = net.add_node(net.name("GV"), "valve", head, 0.8, place=building.compound, grade="low")
            net.add_pipe(
                net.name("GP"), "pipe", (tee, last), 110, (material, year), place=building.compound, grade="low"
            )
        node = net.add_node(net.name("GJ"), "junction", spot, 0.8, place=building.compound, grade="low")
        net.add_pipe(net.name("GP"), "pipe", (last, node), 110, (material, year), place=building.compound, grade="low")
        customer = net.add_node(
            f"GC-{building.id}", "customer", building.entry, 0.5, place=building.name, building=building, grade="low"
        )
        net.add_pipe(
            f"GS-{building.id}", "service", (node, customer), 63, (material, year), place=building.name, grade="low"
        )
        last = node


def _towards(p: XY, q: XY, metres: float) -> XY:
    size = Point(p).distance(Point(q))
    return p[0] + (q[0] - p[0]) * metres / size, p[1] + (q[1] - p[1]) * metres / size


def _medium(net: Net, streets: Streets) -> None:
    """Lay the medium-pressure main from the gate station, and the regulator stations on it."""
    between_keys = {(s.a, s.b): s for s in streets.segments}
    gate_at = _towards(streets.corner((0, 4), medium_gas_line), streets.crossings[1, 4], -28.0)
    net.add_node("GATE-1", "source", gate_at, 0.0, place="北塘门站", grade="medium")
    for key in dict.fromkeys((*MEDIUM_ROUTE, *MEDIUM_SOUTH, *MEDIUM_EAST)):
        xy = streets.corner(key, medium_gas_line)
        net.add_node(f"GM-{key[0]}{key[1]}", "junction", xy, MEDIUM_COVER_M, place="中压", grade="medium")
    net.add_pipe("GMP-0", "pipe", ("GATE-1", "GM-04"), 250, ("钢", 2014), place="北塘大道", grade="medium")
    for route in (MEDIUM_ROUTE, MEDIUM_SOUTH, MEDIUM_EAST):
        for a, b in pairwise(route):
            segment = between_keys.get((a, b)) or between_keys[b, a]
            line = streets.line(segment, medium_gas_line)
            line = line if segment.a == a else line.reverse()
            _medium_piece(net, segment.street, line, (f"GM-{a[0]}{a[1]}", f"GM-{b[0]}{b[1]}"))
    for name, key in REGULATORS.items():
        _regulator(net, streets, name, key)


def _medium_piece(net: Net, street: Street, line: LineString, ends: tuple[str, str]) -> None:
    """Lay a piece of the medium-pressure main with a valve in it."""
    size = 200 if street.trunk else 150
    valve = net.add_node(net.name("GMV"), "valve", at(line, 14.0), MEDIUM_COVER_M, place=street.name, grade="medium")
    middle = net.add_node(
        net.name("GMJ"), "junction", at(line, line.length / 2), MEDIUM_COVER_M, place=street.name, grade="medium"
    )
    for p, q in ((ends[0], valve), (valve, middle), (middle, ends[1])):
        net.add_pipe(net.name("GMP"), "pipe", (p, q), size, ("钢", street.year), place=street.name, grade="medium")


def _regulator(net: Net, streets: Streets, name: str, key: Key) -> None:
    """Put a regulator station into the corner south-east of a crossing, and join it to both nets."""
    tee, low = f"GM-{key[0]}{key[1]}", f"GJ-{key[0]}{key[1]}"
    x, y = streets.corner(key, lambda street: -street.width_m / 2 - 2.5)
    place = f"{name}调压站"
    inlet = net.add_node(f"{name}-IN", "junction", (x, y), 0.3, place=place, grade="medium")
    net.add_node(name, "regulator", (x + 1.6, y - 0.4), 0.3, place=place, grade="low")
    net.add_pipe(net.name("GMP"), "pipe", (tee, inlet), 150, ("钢", 2014), place=place, grade="medium")
    net.add_pipe(f"REG{name[2:]}", "regulator", (inlet, name), 100, ("钢", 2014), place=place, grade="low")
    net.add_pipe(net.name("GP"), "pipe", (name, low), 250, ("钢", 2014), place=place, grade="low")
