"""The drawing of a network in an EPANET or SWMM file: coordinates, vertices, tags; and pipes drawn at their levels."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely import LineString, Point

from twin import crs as reference
from twin.model import Issue, ReadRequest
from twin.readers.inp import Inp
from twin.readers.position import Position, bounds_of, position

if TYPE_CHECKING:
    from numpy.typing import NDArray

Name = Callable[[str], str]
"""How an engine compares names: EPANET as they are written, SWMM without regard to case."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is drawn: a point a node, the inner vertices of a link, both in the file's own coordinates; and tags."""

    points: Mapping[str, tuple[float, float]]
    vertices: Mapping[str, Sequence[tuple[float, float]]]
    node_tags: Mapping[str, str]
    link_tags: Mapping[str, str]
    zone_tags: Mapping[str, str]
    key: Name

    def tag(self, kind: str, name: str) -> str:
        """Return the tag of a node or link as written, empty without one."""
        return (self.node_tags if kind == "node" else self.link_tags).get(self.key(name), "")

    def node_geometry(self, names: Iterable[str]) -> NDArray[np.object_]:
        """Return a point a name, an empty one where the file has no coordinates."""
        return array([Point(xy) if (xy := self.points.get(self.key(name))) else Point() for name in names])

    def link_geometry(self, links: Iterable[tuple[str, str, str]]) -> NDArray[np.object_]:
        """Return a line a (name, start, end), an empty one where fewer than two of its points are known."""
        lines: list[LineString] = []
        for name, start, end in links:
            ends = self.points.get(self.key(start)), self.points.get(self.key(end))
            inner = self.vertices.get(self.key(name), ())
            corners = [xy for xy in (ends[0], *inner, ends[1]) if xy is not None]
            lines.append(LineString(corners) if len(corners) > 1 else LineString())
        return array(lines)


def read_layout(inp: Inp, key: Name) -> Layout:
    """Return what an input file draws."""
    points = {
        key(line.text(0, "node")): (line.number_at(1, "x"), line.number_at(2, "y")) for line in inp.lines("COORDINATES")
    }
    vertices: dict[str, list[tuple[float, float]]] = {}
    for line in inp.lines("VERTICES"):
        vertices.setdefault(key(line.text(0, "link")), []).append((line.number_at(1, "x"), line.number_at(2, "y")))
    tags: dict[str, dict[str, str]] = {"NODE": {}, "LINK": {}, "SUBCATCH": {}}
    for line in inp.lines("TAGS"):
        if (of := tags.get(line.text(0, "object").upper())) is not None:
            of[key(line.text(1, "name"))] = " ".join(line.words[2:])
    return Layout(points, vertices, tags["NODE"], tags["LINK"], tags["SUBCATCH"], key)


def stand(geometries: NDArray[np.object_], path: Path, request: ReadRequest) -> Position:
    """Return where an INP file stands: it names no CRS, so in the caller's, or nowhere."""
    crs = reference.parse(request.crs) if request.crs else None
    stated = f"given for {path.name}" if crs else ""
    return position(crs, stated, bounds_of(geometries), request)


def undrawn(geometries: NDArray[np.object_], names: Sequence[str], kind: str) -> list[Issue]:
    """Return one issue for the nodes or links that the file does not draw."""
    missing = [name for name, empty in zip(names, shapely.is_empty(geometries), strict=True) if empty]
    if not missing:
        return []
    shown = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    return [Issue("E_COORDINATES", f"{len(missing)} {kind} without coordinates: {shown}")]


def points_at(points: NDArray[np.object_], levels: Sequence[float | None]) -> NDArray[np.object_]:
    """Return the points with their level as Z; those without a level stay flat."""
    known = np.array([level is not None for level in levels], bool) & ~shapely.is_empty(points)
    out = points.copy()
    z = np.array([level if level is not None else 0.0 for level in levels], float)
    out[known] = shapely.force_3d(points[known], z[known])
    return out


def lines_at(
    lines: NDArray[np.object_], starts: Sequence[float | None], ends: Sequence[float | None]
) -> NDArray[np.object_]:
    """Return the lines with Z falling evenly along their length from one end's level to the other's.

    Where one level is not known the line lies at the other; where neither is, it stays flat.
    """
    out = lines.copy()
    for index, (line, start, end) in enumerate(zip(lines, starts, ends, strict=True)):
        first, last = (start if start is not None else end), (end if end is not None else start)
        if first is None or last is None or line.is_empty:
            continue
        xy = shapely.get_coordinates(line)
        along = np.concatenate([[0.0], np.hypot(*np.diff(xy, axis=0).T).cumsum()])
        share = along / along[-1] if along[-1] > 0 else along
        out[index] = LineString(np.column_stack([xy, first + (last - first) * share]))
    return out


def tag_words(tag: str) -> set[str]:
    """Return the words of a tag in lower case.

    >>> sorted(tag_words("Hydrant DN100"))
    ['dn100', 'hydrant']
    """
    return {word for word in re.split(r"[^\w]+|_", tag.lower()) if word}


def array(geometries: Sequence[Point | LineString]) -> NDArray[np.object_]:
    """Return geometries as the array that shapely works on."""
    out = np.empty(len(geometries), dtype=object)
    out[:] = geometries
    return out
