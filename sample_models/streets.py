"""The streets of the sample district, and where in a street each utility lies.

Streets are a bent and skewed net of five named rows (west to east) and seven columns (south to north) with a
diagonal; two pieces are left out, so that not every block has the same size.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from shapely import LineString

from sample_models.terrain import LENGTH, XY, bank, to_map

Key: TypeAlias = tuple[int, int]
"""A crossing: column (0 in the west), row (0 at the river)."""


@dataclass(frozen=True, slots=True)
class Street:
    """A street: name, width between the building lines (m), and the year its pipes were laid."""

    name: str
    width_m: float
    year: int
    trunk: bool = False

    @property
    def old(self) -> bool:
        """Say whether the pipes are from before the first renewal, with gas close to the drains."""
        return self.year < 2000


ROWS = (
    Street("河湾路", 20.0, 1996),
    Street("柳岸街", 16.0, 1992),
    Street("棠梨路", 22.0, 2011, trunk=True),
    Street("书院街", 16.0, 1989),
    Street("北塘大道", 30.0, 2014, trunk=True),
)
COLUMNS = (
    Street("望江路", 18.0, 2006),
    Street("石桥巷", 14.0, 1987),
    Street("桂影路", 18.0, 2003),
    Street("中塘路", 24.0, 2012, trunk=True),
    Street("云杉路", 16.0, 1994),
    Street("渡口街", 18.0, 1998),
    Street("东堤路", 18.0, 2016),
)
DIAGONAL = Street("斜桥街", 14.0, 1991)

_U = (20.0, 205.0, 400.0, 610.0, 800.0, 990.0, 1180.0)
_V = (0.0, 255.0, 430.0, 620.0, 815.0)
_ABSENT: frozenset[tuple[Key, Key]] = frozenset({((1, 2), (1, 3)), ((4, 1), (5, 1))})
"""Left out: 石桥巷 at the school, and 柳岸街 at the market."""
_DIAGONAL: tuple[Key, ...] = ((4, 3), (5, 2), (6, 1))


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a street between two crossings; `axis` goes from `a` to `b` (east, or north)."""

    name: str
    street: Street
    a: Key
    b: Key
    axis: tuple[XY, ...]
    heading: str

    @property
    def length(self) -> float:
        """Length of the axis, metres."""
        return LineString(self.axis).length


Offset: TypeAlias = Callable[[Street], float]
"""Metres from a street's axis to a utility, positive to the left of the heading (north, or west)."""


@dataclass(frozen=True, slots=True)
class Streets:
    """The street net: crossings (map coordinates) and segments."""

    crossings: Mapping[Key, XY]
    segments: Sequence[Segment]

    def at(self, key: Key) -> list[Segment]:
        """Return the segments that meet at a crossing."""
        return [s for s in self.segments if key in (s.a, s.b)]

    def corner(self, key: Key, offset: Offset) -> XY:
        """Return where the lines at `offset` of a row and a column meet at a crossing."""
        normals: list[XY] = []
        wanted: list[float] = []
        for heading in ("east", "north"):
            met = [s for s in self.at(key) if s.heading == heading]
            if not met:
                continue
            directions = [_direction(s, key) for s in met]
            dx, dy = sum(d[0] for d in directions), sum(d[1] for d in directions)
            size = math.hypot(dx, dy)
            normals.append((-dy / size, dx / size))
            wanted.append(offset(met[0].street))
        x, y = self.crossings[key]
        if len(normals) == 1:
            (nx, ny), d = normals[0], wanted[0]
            return x + nx * d, y + ny * d
        (a, b), (c, d) = normals
        det = a * d - b * c
        p, q = wanted
        return x + (p * d - b * q) / det, y + (a * q - p * c) / det

    def line(self, segment: Segment, offset: Offset) -> LineString:
        """Return the line of a utility in a segment, from corner to corner."""
        d = offset(segment.street)
        inner = [_beside(segment.axis, i, d) for i in range(1, len(segment.axis) - 1)]
        return LineString([self.corner(segment.a, offset), *inner, self.corner(segment.b, offset)])


def _direction(segment: Segment, key: Key) -> XY:
    p, q = segment.axis[:2] if key == segment.a else segment.axis[-2:]
    size = math.dist(p, q)
    return (q[0] - p[0]) / size, (q[1] - p[1]) / size


def _beside(axis: Sequence[XY], i: int, d: float) -> XY:
    p, q = axis[i - 1], axis[i + 1]
    size = math.dist(p, q)
    return axis[i][0] - (q[1] - p[1]) / size * d, axis[i][1] + (q[0] - p[0]) / size * d


def make_streets(rng: random.Random) -> Streets:
    """Lay out the streets of the district."""
    crossings = {(i, j): to_map(*_crossing(i, j, rng)) for j in range(len(_V)) for i in range(len(_U))}
    segments: list[Segment] = []
    for j, row in enumerate(ROWS):
        for i in range(len(_U) - 1):
            a, b = (i, j), (i + 1, j)
            axis = _riverside(crossings[a], i, crossings[b]) if j == 0 else (crossings[a], crossings[b])
            segments.append(Segment(f"R{j}{i}", row, a, b, axis, "east"))
    for i, column in enumerate(COLUMNS):
        for j in range(len(_V) - 1):
            a, b = (i, j), (i, j + 1)
            segments.append(Segment(f"C{i}{j}", column, a, b, (crossings[a], crossings[b]), "north"))
    for n, (a, b) in enumerate(pairwise(_DIAGONAL)):
        p, q = crossings[a], crossings[b]
        ends = [(p[0] + (q[0] - p[0]) * t, p[1] + (q[1] - p[1]) * t) for t in (0.09, 0.91)]
        segments.append(Segment(f"D{n}", DIAGONAL, a, b, (p, *ends, q), "across"))
    return Streets(crossings, tuple(s for s in segments if (s.a, s.b) not in _ABSENT))


def _crossing(i: int, j: int, rng: random.Random) -> XY:
    u = _U[i] + rng.uniform(-7, 7)
    if j == 0:
        return u, bank(u) + 48.0
    share = {1: 0.35, 2: 0.15}.get(j, 0.0)
    v = _V[j] + share * (bank(u) - 20.0) + rng.uniform(-6, 6)
    lean = {0: -0.06, 1: -0.02, 5: 0.05, 6: 0.09}.get(i, 0.0)
    return u + lean * (v - 400.0), v


def _riverside(p: XY, i: int, q: XY) -> tuple[XY, ...]:
    """Bend the riverside road along the bank between two crossings."""
    bends: list[XY] = []
    for t in (0.2, 0.4, 0.6, 0.8):
        u = _U[i] + (_U[i + 1] - _U[i]) * t
        bends.append(to_map(min(max(u, 0.0), LENGTH), bank(u) + 48.0))
    return (p, *bends, q)


# Metres beside the axis. Gas lies next to the sanitary drain: 1.2 m in the old streets (GB 50028-2006 table 6.3.3-1
# asks 1.0 m at low pressure), 3 m in those laid since 2000.
def water_line(street: Street) -> float:
    """Distribution main: towards the north and west kerb."""
    return street.width_m / 2 - 3.2


def sanitary_line(street: Street) -> float:
    """Sanitary drain: south and east of the axis."""
    return -2.4 if street.old else -2.0


def storm_line(street: Street) -> float:  # noqa: ARG001 - an Offset takes the street
    """Storm drain: just beside the axis."""
    return 0.8


def gas_line(street: Street) -> float:
    """Low-pressure gas main: beyond the sanitary drain."""
    return -3.6 if street.old else -5.0


def medium_gas_line(street: Street) -> float:
    """Medium-pressure gas main, only in wide streets: along the south and east kerb."""
    return -street.width_m / 2 + 2.2
