"""Checks of how lines lie and hang together: groups, dangling ends, crossings, near and double ones, bare lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from scipy.spatial import KDTree

from twin.asset import NodeKind
from twin.audit.findings import Check, Finding, Severity, findings
from twin.audit.subject import DRAINS, Subject
from twin.network.meeting import apart

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NATURAL_ENDS = frozenset(
    (
        *(NodeKind.HYDRANT, NodeKind.METER, NodeKind.CUSTOMER, NodeKind.RESERVOIR, NodeKind.TANK, NodeKind.SOURCE),
        *(NodeKind.OUTFALL, NodeKind.INLET, NodeKind.STORAGE),
    )
)
"""Where a single link ends because the network does."""
_SOURCES = frozenset((NodeKind.RESERVOIR, NodeKind.TANK, NodeKind.SOURCE))
_OUTFALLS = frozenset((NodeKind.OUTFALL,))


@dataclass(frozen=True, slots=True)
class _Groups:
    """Links that hang together, the group with most links first.

    The group of each node (-1 without links); by group how many links, how long together, and which link comes first.
    """

    of_node: NDArray[np.int64]
    links: NDArray[np.int64]
    length_m: NDArray[np.float64]
    first: NDArray[np.int64]

    @staticmethod
    def of(subject: Subject) -> _Groups:
        topology = subject.topology
        count, group = topology.components()
        end = np.maximum(topology.start, topology.end)
        rows = np.flatnonzero(end >= 0)
        links = np.bincount(group[end[rows]], minlength=count)
        rank = np.empty(count, dtype=np.int64)
        rank[np.argsort(-links, kind="stable")] = np.arange(count)
        of_node = np.where(group >= 0, rank[group] if count else -1, -1)
        of_link = of_node[end[rows]]
        metres = np.bincount(of_link, np.nan_to_num(subject.length_m[rows]), minlength=count)
        first = rows[np.unique(of_link, return_index=True)[1]]
        return _Groups(of_node, np.sort(links)[::-1], metres.astype(np.float64), first)


def groups(subject: Subject) -> list[Finding]:
    """Return the groups of links that hang together, largest first, and those that no source or outfall is in."""
    found = _Groups.of(subject)
    count = len(found.links)
    rows = findings(
        Check.COMPONENTS,
        [Severity.INFO if number == 0 else Severity.WARNING for number in range(count)],
        subject.links["asset"][found.first].tolist(),
        subject.middle(found.first),
        [
            f"group {number} of {count}: {links} links, {metres:.0f} m"
            for number, (links, metres) in enumerate(zip(found.links, found.length_m, strict=True), start=1)
        ],
        values=found.links,
    )
    return rows + _isolated(subject, found)


def _isolated(subject: Subject, found: _Groups) -> list[Finding]:
    """Return groups without a source or outfall, and the systems of which none is known at all."""
    kinds, systems = subject.nodes["kind"].tolist(), subject.nodes["system"].tolist()
    feeds = [
        row
        for row, (kind, system) in enumerate(zip(kinds, systems, strict=True))
        if kind in (_OUTFALLS if system in DRAINS else _SOURCES)
    ]
    fed = np.isin(np.arange(len(found.first)), found.of_node[feeds])
    known = {systems[row] for row in feeds}
    of_group = subject.links["system"][found.first].tolist()
    asked = np.array([system in known for system in of_group], dtype=bool)
    alone = np.flatnonzero(asked & ~fed)
    unknown = np.array([of_group.index(system) for system in dict.fromkeys(of_group) if system not in known], np.int64)
    assets = subject.links["asset"][found.first]
    return findings(
        Check.ISOLATED,
        Severity.WARNING,
        assets[alone].tolist(),
        subject.middle(found.first[alone]),
        [f"{found.links[group]} links are joined to no {_feed(of_group[group])}" for group in alone.tolist()],
        values=found.links[alone],
    ) + findings(
        Check.ISOLATED,
        Severity.INFO,
        assets[unknown].tolist(),
        subject.middle(found.first[unknown]),
        [
            f"no {_feed(of_group[group])} of {of_group[group]} is known: no group can be told to have one"
            for group in unknown.tolist()
        ],
    )


def _feed(system: str) -> str:
    return "outfall" if system in DRAINS else "source"


def ends(subject: Subject) -> list[Finding]:
    """Return dangling nodes, and those of them within `near` of a link of their system that does not end there."""
    topology = subject.topology
    dangling = np.flatnonzero(topology.degree == 1)
    names, xy = subject.node_names(dangling), topology.xy[dangling]
    kinds = [subject.nodes["kind"][node] if node < topology.stated else None for node in dangling.tolist()]
    first = subject.first_link(dangling)
    rows = findings(
        Check.DANGLING,
        [Severity.INFO if kind in _NATURAL_ENDS else Severity.WARNING for kind in kinds],
        names,
        xy,
        [f"only {subject.links['asset'][row]} ends here" for row in first.tolist()],
        others=[str(subject.links["asset"][row]) for row in first.tolist()],
    )
    points = np.array(shapely.points(xy), dtype=object)
    at, line = subject.tree.query(points, predicate="dwithin", distance=subject.near)
    node = dangling[at]
    ends_there = (topology.start[line] == node) | (topology.end[line] == node)
    other = ~ends_there & (topology.system[node] == topology.link_system[line])
    at, line = at[other], line[other]
    away = shapely.distance(points[at], subject.lines[line])
    nearest = np.lexsort((line, away, at))
    _, index = np.unique(at[nearest], return_index=True)
    chosen = nearest[index]
    at, line, away = at[chosen], line[chosen], away[chosen] * subject.unit_m
    assets = subject.links["asset"][line].tolist()
    return rows + findings(
        Check.NEAR_NO_NODE,
        Severity.WARNING,
        [names[row] for row in at.tolist()],
        xy[at],
        [f"ends {metres:.3f} m from {asset} without a node there" for metres, asset in zip(away, assets, strict=True)],
        others=assets,
        values=away,
        limit=subject.near * subject.unit_m,
    )


def crossings(subject: Subject) -> list[Finding]:
    """Return pairs of links of one system whose insides meet in points, with the gap between their levels if known.

    Pipes that lie farther apart in height than the thicker one's diameter, and drains of different services, pass each
    other: good to know only.
    """
    one, other = subject.tree.query(subject.lines)
    system = subject.topology.link_system
    pair = (one < other) & (system[one] == system[other])  # each pair once: the predicate is what takes time
    one, other = one[pair], other[pair]
    cross = shapely.crosses(subject.lines[one], subject.lines[other])
    one, other = one[cross], other[cross]
    order = np.lexsort((other, one))
    one, other = one[order], other[order]
    xy = _inner_meeting(subject, one, other)
    gap = np.abs(_level_at(subject, one, xy) - _level_at(subject, other, xy))
    size = subject.links["diameter_m"]
    service = subject.links["service"]
    clear = (gap > np.fmax(size[one], size[other])) | (service[one] != service[other])
    names = subject.links["asset"][other].tolist()
    return findings(
        Check.CROSSINGS_NO_NODE,
        [Severity.INFO if passes else Severity.WARNING for passes in clear.tolist()],
        subject.links["asset"][one].tolist(),
        xy,
        [
            f"crosses {name} without a node{'' if unknown else f', {metres:.2f} m above or below it'}"
            for name, metres, unknown in zip(names, gap.tolist(), np.isnan(gap).tolist(), strict=True)
        ],
        others=names,
        values=gap,
    )


def _inner_meeting(subject: Subject, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return of the points where two lines meet the one farthest from their ends: they may share an end as well."""
    met = shapely.intersection(subject.lines[one], subject.lines[other])
    coordinates, pair = shapely.get_coordinates(met, return_index=True)
    four = np.concatenate([subject.end_xy[one[pair]], subject.end_xy[other[pair]]], axis=1)
    away = np.hypot(*(four - coordinates[:, None, :]).T).min(axis=0)
    order = np.lexsort((-away, pair))
    numbers, first = np.unique(pair[order], return_index=True)
    xy = np.full((len(one), 2), np.nan)
    xy[numbers] = coordinates[order[first]]
    return xy


def _level_at(subject: Subject, link: NDArray[np.int64], xy: NDArray[np.float64]) -> NDArray[np.float64]:
    share = shapely.line_locate_point(subject.lines[link], shapely.points(xy), normalized=True)
    start, end = subject.level_m[link].T
    return start + (end - start) * share


def near_nodes(subject: Subject) -> list[Finding]:
    """Return pairs of nodes with links of one system, within `near` of each other, that no link joins."""
    topology = subject.topology
    linked = np.flatnonzero((topology.degree > 0) & np.isfinite(topology.xy).all(axis=1))
    if len(linked) < 2:
        return []
    tree = KDTree(apart(topology.xy[linked], topology.system[linked], subject.near))
    pairs = np.sort(linked[tree.query_pairs(subject.near, output_type="ndarray")], axis=1)
    size = len(topology.xy)
    joined = topology.pairs()
    pairs = pairs[~np.isin(pairs @ [size, 1], joined @ [size, 1])]
    pairs = pairs[np.lexsort(pairs.T[::-1])]
    one, other = pairs.T
    away = np.hypot(*(topology.xy[one] - topology.xy[other]).T) * subject.unit_m
    names = subject.node_names(other)
    return findings(
        Check.NEAR_DUPLICATE_NODES,
        Severity.WARNING,
        subject.node_names(one),
        topology.xy[one],
        [f"{metres:.3f} m from {name}, and no link joins them" for metres, name in zip(away, names, strict=True)],
        others=names,
        values=away,
        limit=subject.near * subject.unit_m,
    )


def doubles(subject: Subject) -> list[Finding]:
    """Return links between two nodes that an earlier one joins already, and links that end where they start."""
    topology, assets = subject.topology, subject.links["asset"]
    both = np.flatnonzero(topology.joined)
    _, first, number = np.unique(topology.pairs()[both], axis=0, return_index=True, return_inverse=True)
    earlier = both[first[number.ravel()]]
    again = earlier != both
    link, earlier = both[again], earlier[again]
    reverse = topology.start[link] != topology.start[earlier]
    apart_m = shapely.hausdorff_distance(subject.lines[link], subject.lines[earlier]) * subject.unit_m
    others = assets[earlier].tolist()
    loops = both[topology.start[both] == topology.end[both]]
    return findings(
        Check.DUPLICATE_EDGES,
        [Severity.INFO if metres > subject.near * subject.unit_m else Severity.WARNING for metres in apart_m.tolist()],
        assets[link].tolist(),
        subject.middle(link),
        [
            f"joins the same two nodes as {other}{', the other way round' if turned else ''}"
            for other, turned in zip(others, reverse.tolist(), strict=True)
        ],
        others=others,
        values=apart_m,
    ) + findings(
        Check.START_IS_END,
        Severity.ERROR,
        assets[loops].tolist(),
        subject.middle(loops),
        ["ends where it starts"] * len(loops),
        others=subject.node_names(topology.start[loops]),
    )


def unlinked(subject: Subject) -> list[Finding]:
    """Return stated nodes where no link ends, with the distance to the nearest link of any system."""
    topology = subject.topology
    alone = np.flatnonzero(topology.degree[: topology.stated] == 0)
    xy = topology.xy[alone]
    away = np.full(len(alone), np.nan)
    if len(alone) and len(subject.tree.geometries):
        index, metres = subject.tree.query_nearest(shapely.points(xy), return_distance=True, all_matches=False)
        away[index[0]] = metres * subject.unit_m
    return findings(
        Check.UNLINKED_NODES,
        Severity.WARNING,
        subject.nodes["asset"][alone].tolist(),
        xy,
        [
            "no link ends here" + ("" if unknown else f"; the nearest lies {metres:.2f} m away")
            for metres, unknown in zip(away.tolist(), np.isnan(away).tolist(), strict=True)
        ],
        values=away,
    )
