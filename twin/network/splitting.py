"""Cutting a pipe at nodes that lie on it: what each part keeps, and the levels where it was cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
from shapely import LineString

from twin.asset import AssetId, Basis, Link, Node

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a link is cut: the node, its place, metres along the drawn line, and how far the node lies off it."""

    node: AssetId
    x: float
    y: float
    along_m: float
    moved_m: float


def cuts_of(links: Sequence[Link], nodes: Sequence[Node], tolerance_m: float) -> Mapping[int, Sequence[Cut]]:
    """Return by row of `links` where nodes of its system cut it, in order along the line.

    A node cuts a drawn line that it lies within `tolerance_m` of, unless it is one of its ends or stands nearer than
    the tolerance, along the line, to an end or to the cut before.
    """
    lines = np.array([link.line for link in links], dtype=object)
    points = np.array([node.point for node in nodes], dtype=object)
    if not len(lines) or not len(points):
        return {}
    at, row = shapely.STRtree(lines).query(points, predicate="dwithin", distance=tolerance_m)
    along = shapely.line_locate_point(lines[row], points[at])
    inner = (along > tolerance_m) & (along < shapely.length(lines[row]) - tolerance_m)
    found: dict[int, list[Cut]] = defaultdict(list)
    order = np.lexsort((at, along, row))
    off = shapely.distance(points[at], lines[row])
    for pair in order[inner[order]].tolist():
        link, node = links[row[pair]], nodes[at[pair]]
        before = found[int(row[pair])]
        near = bool(before) and along[pair] - before[-1].along_m <= tolerance_m
        if link.system is node.system and node.id not in (link.start, link.end) and not near:
            before.append(Cut(node.id, node.point.x, node.point.y, float(along[pair]), float(off[pair])))
    return {index: cuts for index, cuts in found.items() if cuts}


def parts(link: Link, cuts: Sequence[Cut]) -> list[Link]:
    """Return the parts of `link` between its cuts, ``{id}/1`` first.

    A part keeps every attribute; its length is its share of the stated one, its levels lie on the straight line
    between the link's, and ``part_of`` in its properties is the id of the link.
    """
    whole = link.line.length
    lines = _cut(link.line, cuts)
    nodes = [link.start, *(cut.node for cut in cuts), link.end]
    shares = [0.0, *(cut.along_m / whole for cut in cuts), 1.0]
    levels = [_level(link, share) for share in shares]
    return [
        replace(
            link,
            id=AssetId(f"{link.id}/{n + 1}"),
            name=f"{link.name}/{n + 1}",
            line=line,
            start=nodes[n],
            end=nodes[n + 1],
            length_m=None if link.length_m is None else link.length_m * (shares[n + 1] - shares[n]),
            start_level_m=levels[n],
            end_level_m=levels[n + 1],
            basis=Basis.REPAIRED,
            properties={**link.properties, "part_of": link.id},
        )
        for n, line in enumerate(lines)
    ]


def _level(link: Link, share: float) -> float | None:
    if share in (0.0, 1.0):
        return link.start_level_m if share == 0.0 else link.end_level_m
    if link.start_level_m is None or link.end_level_m is None:
        return None
    return link.start_level_m + (link.end_level_m - link.start_level_m) * share


def _cut(line: LineString, cuts: Sequence[Cut]) -> list[LineString]:
    """Return the pieces of `line`, bent onto the cutting nodes, heights between the vertices' where it has them."""
    vertices = shapely.get_coordinates(line, include_z=line.has_z)
    measure = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(vertices[:, :2], axis=0).T))])
    pieces: list[NDArray[np.float64]] = []
    first = vertices[:1]
    last_m = 0.0
    for cut in cuts:
        corner = np.array([[cut.x, cut.y, *(np.interp(cut.along_m, measure, z) for z in vertices.T[2:])]])
        between = vertices[(measure > last_m) & (measure < cut.along_m)]
        pieces.append(np.concatenate([first, between, corner]))
        first, last_m = corner, cut.along_m
    pieces.append(np.concatenate([first, vertices[measure > last_m]]))
    return [LineString(piece) for piece in pieces]
