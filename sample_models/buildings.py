"""The buildings of the sample district: blocks between streets, compounds, rows of houses and who lives in them.

Every building stands inside its block with a setback of 6 m from the building line; rows run along the block's east
axis, so that houses face south, and each row has a lane behind it (north) for its service pipes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shapely import LineString, Polygon, affinity, get_parts, unary_union
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry
from shapely.ops import polygonize

from sample_models.streets import Streets
from sample_models.terrain import XY, ground, to_frame

SETBACK_M = 6.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of building: depth, length, gap to the next in the row and to the next row (m), storeys, flats."""

    usage: str
    depth: float
    length: float
    beside: float
    behind: float
    storeys: tuple[int, int]
    storey_m: float
    people: float
    """Residents a storey (or people at work in offices and public buildings, whose `residents` stay 0)."""


KINDS = {
    "slab": Kind("residential", 12.0, 45.0, 11.0, 25.0, (6, 6), 2.8, 16.0),
    "mid": Kind("residential", 14.0, 42.0, 13.0, 32.0, (9, 11), 2.9, 16.0),
    "tower": Kind("residential", 24.0, 26.0, 26.0, 34.0, (18, 26), 2.95, 11.0),
    "office": Kind("office", 20.0, 44.0, 18.0, 30.0, (5, 12), 3.8, 35.0),
    "school": Kind("school", 30.0, 58.0, 20.0, 28.0, (4, 4), 3.6, 220.0),
    "clinic": Kind("clinic", 18.0, 48.0, 22.0, 32.0, (5, 5), 3.6, 60.0),
    "market": Kind("market", 40.0, 70.0, 18.0, 24.0, (2, 3), 4.8, 120.0),
    "park": Kind("public", 9.0, 16.0, 40.0, 60.0, (1, 1), 4.2, 4.0),
}


@dataclass(frozen=True, slots=True)
class Compound:
    """What stands in a block: its name, the kind of its buildings, the year, and how many there may be."""

    name: str
    kind: str
    year: int
    most: int = 99


COMPOUNDS = (  # in the order of `_parcels`: five bands from the river, each from west to east
    Compound("望江里", "slab", 1996),
    Compound("河湾新村", "slab", 1988),
    Compound("柳岸公园", "park", 2010, 2),
    Compound("河湾一区", "mid", 2004),
    Compound("渡口新村", "slab", 1998),
    Compound("柳岸新村", "slab", 1992),
    Compound("桂影苑", "mid", 2003),
    Compound("中塘商务中心", "office", 2012, 6),
    Compound("云杉花园", "tower", 2013, 8),
    Compound("渡口菜市场", "market", 2001, 2),
    Compound("望江新村", "slab", 1994),
    Compound("桂影里", "slab", 1990),
    Compound("中塘家园", "mid", 2006),
    Compound("斜桥里", "slab", 1989),
    Compound("东堤里", "slab", 1999),
    Compound("河湾实验学校", "school", 1998, 3),
    Compound("书院新村", "slab", 1989),
    Compound("书院里", "slab", 1986),
    Compound("北塘一区", "tower", 2014, 9),
    Compound("斜桥新村", "slab", 1991),
    Compound("河湾社区卫生服务中心", "clinic", 2007, 2),
    Compound("望江公馆", "tower", 2015, 7),
    Compound("北塘花园", "mid", 2009),
    Compound("北塘商务楼", "office", 2015, 6),
)


@dataclass(frozen=True, slots=True)
class Building:
    """A building: footprint in map coordinates, and where pipes enter it (in the middle of its back wall)."""

    id: str
    name: str
    compound: str
    kind: str
    usage: str
    year: int
    storeys: int
    height_m: float
    residents: int
    people: int
    """Who draws water here: residents, or those at work."""
    footprint: Polygon
    entry: XY
    ground_m: float
    corner: XY
    """South-west corner: the origin of the building's own frame, x along the front."""
    turn: float
    """Radians that the front is turned from grid east, counter-clockwise."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of buildings from west to east; `turn` is its direction, radians from grid east."""

    buildings: tuple[Building, ...]
    turn: float

    def lane(self, behind: float, reach: float) -> LineString:
        """Return the line `behind` metres behind the back walls, going `reach` metres past both end buildings."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        first, last = self.buildings[0].entry, self.buildings[-1].entry
        shift = (-s * behind, c * behind)
        return LineString(
            [
                (first[0] + shift[0] - c * reach, first[1] + shift[1] - s * reach),
                (last[0] + shift[0] + c * reach, last[1] + shift[1] + s * reach),
            ]
        )


@dataclass(frozen=True, slots=True)
class Block:
    """The land between streets: its parcel (up to the building lines) and the rows of buildings on it."""

    compound: Compound
    parcel: Polygon
    rows: tuple[Row, ...]


def make_blocks(streets: Streets, rng: random.Random) -> list[Block]:
    """Return the blocks with their buildings; numbers run through the district."""
    parcels = _parcels(streets)
    if len(parcels) != len(COMPOUNDS):
        raise ValueError(f"{len(parcels)} blocks between the streets, {len(COMPOUNDS)} compounds named")
    numbers = iter(range(1, 1000))
    made: list[Block] = []
    for parcel, compound in zip(parcels, COMPOUNDS, strict=True):
        made.append(Block(compound, parcel, tuple(_rows(parcel, compound, streets, rng, numbers))))
    return made


def buildings_of(blocks: Sequence[Block]) -> list[Building]:
    """Return all buildings of the blocks, by number."""
    return [b for block in blocks for row in block.rows for b in row.buildings]


def _parcels(streets: Streets) -> list[Polygon]:
    lines = unary_union([LineString(s.axis) for s in streets.segments])
    paved = unary_union([LineString(s.axis).buffer(s.street.width_m / 2) for s in streets.segments])
    parcels = [largest(face.difference(paved)) for face in polygonize(lines)]

    def order(parcel: Polygon) -> tuple[int, float]:
        u, v = to_frame(parcel.centroid.x, parcel.centroid.y)
        return sum(v > limit for limit in (215, 340, 525, 715)), u

    return sorted(parcels, key=order)


def largest(shape: BaseGeometry) -> Polygon:
    """Return the largest polygon of a shape."""
    return max((part for part in get_parts(shape) if isinstance(part, Polygon)), key=lambda part: part.area)


def _heading(parcel: Polygon, streets: Streets) -> float:
    """Return the mean direction of the streets that run east along a parcel, radians."""
    near = [
        LineString(s.axis)
        for s in streets.segments
        if s.heading == "east" and LineString(s.axis).interpolate(0.5, normalized=True).distance(parcel) < 18
    ]
    angles = [math.atan2(n.coords[-1][1] - n.coords[0][1], n.coords[-1][0] - n.coords[0][0]) for n in near]
    return sum(angles) / len(angles)


def _rows(
    parcel: Polygon, compound: Compound, streets: Streets, rng: random.Random, numbers: Iterator[int]
) -> Iterator[Row]:
    kind = KINDS[compound.kind]
    turn = _heading(parcel, streets)
    pivot = (round(parcel.centroid.x, 3), round(parcel.centroid.y, 3))
    land = affinity.rotate(parcel, -turn, origin=pivot, use_radians=True).buffer(-SETBACK_M, join_style="mitre")
    _, south, _, north = land.bounds
    placed = 0
    y = south + rng.uniform(0.5, 3.0)
    while y + kind.depth < north and placed < compound.most:
        boxes = [b for b in _along(land, y, kind, rng) if land.contains(b)][: compound.most - placed]
        if boxes:
            row = [
                _building(b, compound, placed + n, pivot, turn=turn, rng=rng, number=next(numbers))
                for n, b in enumerate(boxes)
            ]
            placed += len(boxes)
            yield Row(tuple(row), turn)
            y += kind.depth + kind.behind + rng.uniform(0, 4)
        else:
            y += 4.0


def _along(land: Polygon, y: float, kind: Kind, rng: random.Random) -> Iterator[Polygon]:
    """Yield the plots of a row, west to east, spread over the width that is free over the whole depth."""
    west, east = -math.inf, math.inf
    for level in (y, y + kind.depth):
        cut = land.intersection(LineString([(land.bounds[0] - 1, level), (land.bounds[2] + 1, level)]))
        if cut.is_empty:
            return
        west, east = max(west, cut.bounds[0]), min(east, cut.bounds[2])
    count = int((east - west + kind.beside) // (kind.length + kind.beside))
    spare = east - west - count * kind.length
    gap = spare / max(count, 1)
    x = west + gap / 2
    for _ in range(count):
        shift = rng.uniform(-0.1, 0.1) * gap
        yield box(x + shift, y, x + shift + kind.length, y + kind.depth)
        x += kind.length + gap


def _building(
    plot: Polygon, compound: Compound, index: int, pivot: XY, *, turn: float, rng: random.Random, number: int
) -> Building:
    kind = KINDS[compound.kind]
    shape = _shape(plot, compound.kind, index)

    def on_map(x: float, y: float) -> XY:
        point = affinity.rotate(LineString([(x, y), (x + 1, y)]), turn, origin=pivot, use_radians=True).coords[0]
        return round(point[0], 3), round(point[1], 3)

    west, south, east, north = plot.bounds
    storeys = rng.randint(*kind.storeys)
    people = round(storeys * kind.people * (kind.length / 45.0 if compound.kind == "slab" else 1.0))
    corner = on_map(west, south)
    middle = on_map((west + east) / 2, (south + north) / 2)
    return Building(
        id=f"B{number:03d}",
        name=_name(compound, index),
        compound=compound.name,
        kind=compound.kind,
        usage=kind.usage,
        year=compound.year + rng.randint(0, 1),
        storeys=storeys,
        height_m=round(storeys * kind.storey_m + 1.2, 1),
        residents=people if kind.usage == "residential" else 0,
        people=people,
        footprint=Polygon([on_map(x, y) for x, y in shape.exterior.coords[:-1]]),
        entry=on_map((west + east) / 2, north),
        ground_m=round(ground(*middle), 2),
        corner=corner,
        turn=turn,
    )


_SCHOOL = ("教学楼", "综合楼", "体育馆")


def _name(compound: Compound, index: int) -> str:
    if compound.kind == "school":
        return compound.name + _SCHOOL[index]
    if compound.kind in {"market", "clinic", "park"}:
        return compound.name + ("", "附楼")[min(index, 1)]
    if compound.kind == "office":
        return f"{compound.name}{'ABCDEFGH'[index]}座"
    return f"{compound.name}{index + 1}幢"


def _shape(plot: Polygon, kind: str, index: int) -> Polygon:
    """Cut the plot to the outline of its kind; the middle of the back (north) wall always stays."""
    x0, y0, x1, y1 = plot.bounds
    if kind == "tower":  # a cross: the corners are cut
        a, b = 6.0, 6.5
        cut = [box(x0, y0, x0 + a, y0 + b), box(x1 - a, y0, x1, y0 + b)]
        cut += [box(x0, y1 - b, x0 + a, y1), box(x1 - a, y1 - b, x1, y1)]
        return largest(plot.difference(unary_union(cut)).normalize())
    if kind == "mid":  # recesses between the three stairs, to the south
        third = (x1 - x0) / 3
        cut = [box(x0 + third * n - 1.6, y0, x0 + third * n + 1.6, y0 + 1.8) for n in (1, 2)]
        return largest(plot.difference(unary_union(cut)).normalize())
    if kind == "school" and index == 0:  # an L around the yard
        return largest(plot.difference(box(x0 + 14.0, y0, x1, y1 - 14.0)).normalize())
    if kind == "office" and index % 2:
        return largest(plot.difference(box(x0, y0, x0 + 14.0, y0 + 7.0)).normalize())
    return plot
