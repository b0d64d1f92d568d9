"""Pipe networks while they are being drawn: nodes, pipes, and a main cut where something is connected to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from shapely import LineString, Point
from shapely.ops import substring

from sample_models.buildings import Building, Row
from sample_models.streets import Offset, Segment, Streets
from sample_models.terrain import XY, ground


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a network; `level_m` is the pipe's axis (pressure pipes) or invert (drains), 1985 datum."""

    name: str
    kind: str
    xy: XY
    ground_m: float
    level_m: float
    place: str = ""
    building: Building | None = None
    grade: str = ""
    """Pressure grade (gas: medium, low) or kind of water (drains: sanitary, storm)."""


@dataclass(frozen=True, slots=True)
class Pipe:
    """A link of a network, from node `start` to node `end`; `line` are its vertices on the map."""

    name: str
    kind: str
    start: str
    end: str
    line: tuple[XY, ...]
    diameter_mm: int
    material: str
    year: int
    place: str = ""
    grade: str = ""
    closed: bool = False

    @property
    def length(self) -> float:
        """Length on the map, metres."""
        return LineString(self.line).length


@dataclass(slots=True)
class Net:
    """A network that grows: nodes by name, pipes in order; names are a prefix and a running number."""

    nodes: dict[str, Node] = field(default_factory=dict[str, Node])
    pipes: list[Pipe] = field(default_factory=list[Pipe])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def name(self, prefix: str) -> str:
        """Return the next free name with a prefix."""
        self.counts[prefix] = self.counts.get(prefix, 0) + 1
        return f"{prefix}{self.counts[prefix]:03d}"

    def add_node(
        self,
        name: str,
        kind: str,
        xy: XY,
        depth: float,
        *,
        place: str = "",
        building: Building | None = None,
        grade: str = "",
    ) -> str:
        """Add a node `depth` metres below the ground and return its name."""
        xy = (round(xy[0], 3), round(xy[1], 3))
        level = ground(*xy)
        self.nodes[name] = Node(name, kind, xy, level, round(level - depth, 3), place, building, grade)
        return name

    def add_pipe(
        self,
        name: str,
        kind: str,
        ends: tuple[str, str],
        diameter_mm: int,
        laid: tuple[str, int],
        *,
        via: Sequence[XY] = (),
        place: str = "",
        grade: str = "",
        closed: bool = False,
    ) -> str:
        """Add a pipe between two nodes, of a material and year, with vertices `via`, and return its name."""
        inner = [(round(x, 3), round(y, 3)) for x, y in via]
        line = (self.nodes[ends[0]].xy, *inner, self.nodes[ends[1]].xy)
        self.pipes.append(Pipe(name, kind, *ends, line, diameter_mm, *laid, place, grade, closed))
        return name


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane of pipes behind a row: where it leaves the main of which segment, and its stops from there on."""

    segment: Segment
    station: float
    tap: XY
    stops: tuple[tuple[Building, XY], ...]


def lane_of(row: Row, behind: float, mains: Sequence[tuple[Segment, LineString]]) -> Lane:
    """Return the lane `behind` metres behind a row, joined to the nearer of the mains west and east of it."""
    lane = row.lane(behind, 400.0)
    stops = tuple((b, at(lane, lane.project(Point(b.entry)))) for b in row.buildings)
    first, last = lane.project(Point(stops[0][1])), lane.project(Point(stops[-1][1]))
    best: tuple[float, Segment, LineString, Point] | None = None
    for segment, main in mains:
        crossing = main.intersection(lane)
        if crossing.is_empty or not isinstance(crossing, Point):
            continue
        along = lane.project(crossing)
        away = first - along if along < first else along - last
        if best is None or away < best[0]:
            best = (away, segment, main, crossing)
    if best is None:
        raise ValueError(f"no main beside the row of {row.buildings[0].id}")
    _, segment, main, tap = best
    eastwards = lane.project(tap) < first
    station = main.project(tap)
    return Lane(segment, station, (tap.x, tap.y), stops if eastwards else stops[::-1])


def mains_of(streets: Streets, offset: Offset) -> list[tuple[Segment, LineString]]:
    """Return the line of a utility in every segment."""
    return [(s, streets.line(s, offset)) for s in streets.segments]


def between(line: LineString, start: float, end: float) -> list[XY]:
    """Return the vertices of a line strictly between two stations (metres from its start)."""
    piece = substring(line, start, end)
    return [(x, y) for x, y in piece.coords[1:-1]]


def at(line: LineString, station: float) -> XY:
    """Return the point at a station of a line, metres from its start."""
    point = line.interpolate(station)
    return point.x, point.y
