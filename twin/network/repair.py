"""Repair of a network with an account: loose ends joined, snapped onto nodes, pipes cut where others meet them.

Links whose ends the file names are stated and stay as they are; so do nodes that no loose end comes near. Everything
is measured in plan: surveys and maps draw what meets at one place at one place, whatever its height. Nothing moves
farther than the tolerance, and every step is a row of the log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from scipy.spatial import KDTree
from shapely import LineString, Point

from twin.asset import AssetId, Basis, Link, Node, NodeKind, System, asset_id
from twin.model import Model, Repair, RepairAction
from twin.network.meeting import apart, leaders, nearest, places
from twin.network.splitting import cuts_of, parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE_M = 0.05
"""About as exact as surveyed points of pipelines are in plan: ends nearer than this cannot be told apart. Surveyors
quote ±5 cm from CJJ 61 for it; not checked against the standard's text."""
_COINCIDENT_M = 0.001
"""Nearer than this nothing is moved: files print coordinates to a millimetre at best."""
_NOWHERE = 1e12
"""Where nodes that are not drawn stand in a search: far from everything."""


def repaired(model: Model, *, tolerance_m: float = TOLERANCE_M, others: Sequence[Node] = ()) -> Model:
    """Return `model` with every drawn link joined at both ends, and the log of what was done for it.

    `others` are nodes of the city that loose ends may be joined to (other sources, same coordinates); they are never
    moved. Ends that name no node are joined to the nearest node of their system within `tolerance_m` (JOIN where it
    lies within a millimetre, else SNAP); where there is none a node is made where ends gather (one row NODE; a row
    SNAP an end that is moved there). A link that had a loose end is cut (SPLIT) at nodes of its system that lie on it
    between its ends, within the tolerance; the parts are called ``{id}/1``, ``{id}/2`` and keep the original as
    ``part_of``, with lengths by their share and levels between. Nodes of one kind that loose ends reach and that lie
    within the tolerance become one (MERGE) if all those ends stay within it; the first keeps what the other one knew.

    Links become `inferred` where nothing was moved and `repaired` where something was. Made nodes are called after
    the place where they are, ``at-{easting}-{northing}``: the same after a reload. Repairing again changes nothing.
    """
    loose = _Loose.of(model.links)
    if not len(loose.link):
        return model
    merges, nodes = _merged(model, loose, tolerance_m)
    touched = sorted(set(loose.link.tolist()))
    known = [*nodes, *_around([model.links[row] for row in touched], others, tolerance_m)]
    joins, made, made_rows = _joined(model, known, loose, tolerance_m)
    links, end_rows = _with_ends(model.links, loose, joins, tolerance_m)
    links, cut_rows = _split(links, touched, [*known, *made], tolerance_m)
    log = [*merges, *made_rows, *end_rows, *cut_rows]
    return replace(model, nodes=[*nodes, *made], links=links, repairs=[*model.repairs, *log])


@dataclass(frozen=True, slots=True)
class _Loose:
    """Ends that name no node: the row of their link, 0 at its start and -1 at its end, x y z, their system's number."""

    link: NDArray[np.int64]
    vertex: NDArray[np.int64]
    xy: NDArray[np.float64]
    z: NDArray[np.float64]
    system: NDArray[np.int64]

    @staticmethod
    def of(links: Sequence[Link]) -> _Loose:
        ends = [
            (row, vertex)
            for row, link in enumerate(links)
            if _is_drawn(link.line)
            for vertex, node in ((0, link.start), (-1, link.end))
            if node is None
        ]
        link, vertex = np.array(ends, dtype=np.int64).reshape(-1, 2).T
        points = shapely.get_point(np.array([links[row].line for row in link.tolist()], dtype=object), vertex)
        xyz = shapely.get_coordinates(points, include_z=True).reshape(-1, 3)
        return _Loose(link, vertex, xyz[:, :2], xyz[:, 2], _systems(links[row].system for row in link.tolist()))


@dataclass(frozen=True, slots=True)
class _Join:
    """The node that a loose end is joined to, how far away it lies, and whether it was made for it."""

    node: AssetId
    at: Point
    moved_m: float
    made: bool


def _joined(
    model: Model, known: Sequence[Node], loose: _Loose, tolerance_m: float
) -> tuple[list[_Join], list[Node], list[Repair]]:
    """Return where each loose end is joined, the nodes made for those that no known node lies near, a row for each."""
    ends = apart(loose.xy, loose.system, tolerance_m)
    at, distance = nearest(ends, _places(known, tolerance_m), tolerance_m)
    joins = {
        end: _Join(known[site].id, known[site].point, metres, made=False)
        for end, (site, metres) in enumerate(zip(at.tolist(), distance.tolist(), strict=True))
        if site >= 0
    }
    free = np.flatnonzero(at < 0)
    lead = free[leaders(ends[free], tolerance_m)]
    away = np.hypot(*(loose.xy[free] - loose.xy[lead]).T)
    gathered: dict[int, list[int]] = defaultdict(list)
    for end, leader in zip(free.tolist(), lead.tolist(), strict=True):
        gathered[leader].append(end)
    made = _made(model, loose, gathered, {node.id for node in known})
    for end, leader, metres in zip(free.tolist(), lead.tolist(), away.tolist(), strict=True):
        joins[end] = _Join(made[leader].id, made[leader].point, metres, made=True)
    rows = [
        Repair(
            RepairAction.NODE,
            node.id,
            model.links[int(loose.link[leader])].id,
            moved_m=0.0,
            tolerance_m=tolerance_m,
            easting=node.point.x,
            northing=node.point.y,
        )
        for leader, node in made.items()
    ]
    return [joins[end] for end in range(len(ends))], list(made.values()), rows


def _made(model: Model, loose: _Loose, gathered: Mapping[int, Sequence[int]], taken: set[AssetId]) -> dict[int, Node]:
    """Return the nodes made where ends gather, by the end that each stands at."""
    made: dict[int, Node] = {}
    for leader, group in gathered.items():
        x, y = loose.xy[leader].tolist()
        z = loose.z[leader].item()
        here = [(model.links[row], vertex) for row, vertex in zip(loose.link[group], loose.vertex[group], strict=True)]
        levels = [link.start_level_m if vertex == 0 else link.end_level_m for link, vertex in here]
        services = {link.service for link, _ in here}
        name = place = f"at-{x:.3f}-{y:.3f}"
        again = 2
        while asset_id(model.source, "node", name) in taken:  # another system ends at the same place
            name, again = f"{place}#{again}", again + 1
        made[leader] = Node(
            asset_id(model.source, "node", name),
            name,
            here[0][0].system,
            NodeKind.JUNCTION,
            Point(x, y) if np.isnan(z) else Point(x, y, z),
            invert_m=min((level for level in levels if level is not None), default=None),
            service=services.pop() if len(services) == 1 else None,
            basis=Basis.INFERRED,
        )
        taken.add(made[leader].id)
    return made


def _with_ends(
    links: Sequence[Link], loose: _Loose, joins: Sequence[_Join], tolerance_m: float
) -> tuple[list[Link], list[Repair]]:
    """Return the links joined, ends moved onto their nodes, and a row an end but those that a made node stands at."""
    out, rows = list(links), list[Repair]()
    ends: dict[int, dict[int, _Join]] = defaultdict(dict)
    for row, vertex, join in zip(loose.link.tolist(), loose.vertex.tolist(), joins, strict=True):
        ends[row][vertex] = join
    for row, joined in ends.items():
        link = links[row]
        moved = {vertex: join for vertex, join in joined.items() if join.moved_m > _COINCIDENT_M}
        line = _moved(link.line, moved) if moved else link.line
        if not line.length:  # it lies within one node's reach: there is nothing to move it to
            line, moved = link.line, {}
        for vertex, join in joined.items():
            if vertex in moved or not join.made:
                action = RepairAction.SNAP if vertex in moved else RepairAction.JOIN
                metres = join.moved_m if vertex in moved else 0.0
                rows.append(Repair(action, link.id, join.node, metres, tolerance_m, join.at.x, join.at.y))
        start, end = joined.get(0), joined.get(-1)
        out[row] = replace(
            link,
            line=line,
            start=start.node if start else link.start,
            end=end.node if end else link.end,
            basis=Basis.REPAIRED if moved else Basis.INFERRED,
        )
    return out, rows


def _moved(line: LineString, to: Mapping[int, _Join]) -> LineString:
    coordinates = shapely.get_coordinates(line, include_z=line.has_z)
    for vertex, join in to.items():
        coordinates[vertex, :2] = join.at.x, join.at.y
    return LineString(coordinates)


def _split(
    links: Sequence[Link], touched: Sequence[int], nodes: Sequence[Node], tolerance_m: float
) -> tuple[list[Link], list[Repair]]:
    """Return the links, those of `touched` cut at the `nodes` that lie on them, and a row a cut."""
    found = cuts_of([links[row] for row in touched], nodes, tolerance_m)
    cuts = {row: found[index] for index, row in enumerate(touched) if index in found}
    out, log = list[Link](), list[Repair]()
    for row, link in enumerate(links):
        out += parts(link, cuts[row]) if row in cuts else [link]
        log += [
            Repair(RepairAction.SPLIT, link.id, cut.node, cut.moved_m, tolerance_m, cut.x, cut.y)
            for cut in cuts.get(row, ())
        ]
    return out, log


def _merged(model: Model, loose: _Loose, tolerance_m: float) -> tuple[list[Repair], list[Node]]:
    """Return the rows and the nodes after merging: those that loose ends reach, of one kind, unnamed by any link."""
    nodes = list(model.nodes)
    stands = _places(nodes, tolerance_m)
    at, _ = nearest(apart(loose.xy, loose.system, tolerance_m), stands, tolerance_m)
    reached: dict[int, list[int]] = {}
    for end, site in enumerate(at.tolist()):
        if site >= 0:
            reached.setdefault(site, []).append(end)
    named = {node for link in model.links for node in (link.start, link.end) if node}
    rows, gone = list[Repair](), set[int]()
    for keep, drop in _pairs(stands, tolerance_m) if reached else ():
        one, other = nodes[keep], nodes[drop]
        near = loose.xy[[*reached.get(keep, ()), *reached.get(drop, ())]]
        if keep in gone or drop in gone or other.id in named or not len(near) or not _alike(one, other):
            continue
        if (np.hypot(*(near - stands[keep, :2]).T) > tolerance_m).any():
            continue
        moved = float(np.hypot(*(stands[drop, :2] - stands[keep, :2])))
        rows.append(Repair(RepairAction.MERGE, other.id, one.id, moved, tolerance_m, one.point.x, one.point.y))
        nodes[keep] = _absorbed(one, other)
        reached[keep] = [*reached.get(keep, ()), *reached.pop(drop, ())]
        gone.add(drop)
    return rows, [node for row, node in enumerate(nodes) if row not in gone]


def _pairs(stands: NDArray[np.float64], tolerance_m: float) -> list[tuple[int, int]]:
    """Return the pairs of nodes within the tolerance of each other, the earlier one first, in their order."""
    if len(stands) < 2:
        return []
    found = KDTree(stands).query_pairs(tolerance_m, output_type="ndarray")
    return sorted(map(tuple, np.sort(found, axis=1).tolist()))


def _alike(one: Node, other: Node) -> bool:
    """Say whether two nodes may be one: the same kind, or the later one a bare junction."""
    return one.kind is other.kind or other.kind is NodeKind.JUNCTION


def _absorbed(one: Node, other: Node) -> Node:
    """Return `one` with what only `other` knows; what both know and `other` says differently is kept beside it."""
    properties = dict(one.properties)
    gained: dict[str, Any] = {}
    for field in ("ground_m", "invert_m", "depth_m", "service", "feature", "zone", "year", "status", "owner"):
        mine, theirs = getattr(one, field), getattr(other, field)
        if mine is None:
            gained[field] = theirs
        elif theirs is not None and theirs != mine:
            properties[f"{other.name}.{field}"] = theirs
    properties |= {
        name if name not in properties else f"{other.name}.{name}": value
        for name, value in other.properties.items()
        if properties.get(name, ...) != value
    }
    merged = one.properties.get("merged")
    properties["merged"] = f"{merged}, {other.id}" if merged else other.id
    return replace(one, basis=Basis.REPAIRED, properties=properties, **gained)


def _is_drawn(line: LineString | None) -> bool:
    return line is not None and line.length > 0


def _systems(systems: Iterable[System]) -> NDArray[np.int64]:
    order = list(System)
    return np.array([order.index(system) for system in systems], dtype=np.int64)


def _places(nodes: Sequence[Node], tolerance_m: float) -> NDArray[np.float64]:
    """Return where nodes stand (n, 3) for searches by `apart`; undrawn ones far from everything."""
    xy = places(np.array([node.point for node in nodes], dtype=object))[:, :2]
    return apart(np.nan_to_num(xy, nan=_NOWHERE), _systems(node.system for node in nodes), tolerance_m)


def _around(links: Sequence[Link], nodes: Sequence[Node], margin_m: float) -> list[Node]:
    """Return the drawn `nodes` in the rectangle that the links reach over."""
    if not nodes:
        return []
    west, south, east, north = shapely.total_bounds([link.line for link in links])
    x, y, _ = places(np.array([node.point for node in nodes], dtype=object)).T
    inside = (x >= west - margin_m) & (x <= east + margin_m) & (y >= south - margin_m) & (y <= north + margin_m)
    return [nodes[row] for row in np.flatnonzero(inside).tolist()]
