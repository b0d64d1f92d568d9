"""Checks of what a survey states: lengths, slopes, levels, sizes, point numbers, and features against what meets there.

Limits are those with which surveys under CJJ 61 (城市地下管线探测技术规程) are checked in practice, not checked against
the standard's text: a segment of 0.05 m to 75 m (15 cm on the map 1:500), no steeper than 10°. A tee (三通) has three
pipes, a cross (四通) four.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from twin.audit.findings import Check, Finding, Severity, findings
from twin.audit.subject import DRAINS, PIPES, Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORT_M, LONG_M, STEEP_DEG = 0.05, 75.0, 10.0
LEVEL_M = 0.05
"""Levels nearer than this agree: survey tables are in centimetres, and ground, depth and level are rounded each."""
_RISE_M = 0.005
"""A rise below half a centimetre is rounding."""
_SAME_POINT_M = 0.001
FEATURES = {"三通": 3, "四通": 4, "五通": 5, "弯头": 2, "转折点": 2, "变径": 2, "变材": 2, "盖堵": 1, "停止塞": 1}
"""How many pipes meet at a feature of CJJ 61-2017 annex F."""
_DEPTH_M = 0.005
"""Depths that differ by less are one: tables are in centimetres."""


def segments(subject: Subject) -> list[Finding]:
    """Return pipes without length, shorter or longer than segments are, steeper, and drains that rise."""
    length = subject.length_m
    fall = subject.level_m[:, 0] - subject.level_m[:, 1]
    slope = np.degrees(np.arctan2(np.abs(fall), length))
    pipe = np.isin(subject.links["kind"].astype(str), PIPES)
    drain = pipe & np.isin(subject.links["system"].astype(str), DRAINS)
    zero = pipe & ((subject.drawn_m == 0) | (subject.links["length_m"] <= 0))
    short, long = pipe & (length > 0) & (length < SHORT_M), pipe & (length > LONG_M)
    steep = pipe & (length > 0) & (slope > STEEP_DEG)
    rises = drain & (fall < -_RISE_M)
    return [
        *_links(subject, Check.ZERO_LENGTH, zero, "has no length", severity=Severity.ERROR),
        *_links(subject, Check.SHORT_SEGMENT, short, "{:.3f} m long", values=length, limit=SHORT_M),
        *_links(
            subject, Check.LONG_SEGMENT, long, "{:.1f} m long", severity=Severity.INFO, values=length, limit=LONG_M
        ),
        *_links(subject, Check.STEEP_SEGMENT, steep, "{:.1f}° steep", values=slope, limit=STEEP_DEG),
        *_links(subject, Check.REVERSED_SLOPE, rises, "rises {:.3f} m from start to end", values=-fall, limit=0.0),
    ]


def attributes(subject: Subject) -> list[Finding]:
    """Return pipes without a diameter or material."""
    pipe = np.isin(subject.links["kind"].astype(str), PIPES)
    size, material = subject.links["diameter_m"], subject.links["material"]
    none = np.array([not text for text in material.tolist()], dtype=bool)
    return [
        *_links(subject, Check.MISSING_DIAMETER, pipe & ~(size > 0), "has no diameter"),
        *_links(subject, Check.MISSING_MATERIAL, pipe & none, "has no material"),
    ]


def levels(subject: Subject) -> list[Finding]:
    """Return nodes and link ends whose levels contradict each other.

    Pipes under pressure may come out of the ground, to hydrants and regulators, and the depth of a point on one may be
    that of its crown: good to know only.
    """
    node, topology = subject.nodes, subject.topology
    ground, invert = node["ground_m"], node["invert_m"]
    sunk = np.flatnonzero(ground < invert)
    drain = np.isin(node["system"].astype(str), DRAINS)
    limit = LEVEL_M + np.where(drain, 0.0, _widest(subject) / 2)
    shallow = np.flatnonzero(node["depth_m"] < ground - invert - limit)
    rows = findings(
        Check.GROUND_BELOW_INVERT,
        [Severity.ERROR if wrong else Severity.INFO for wrong in drain[sunk].tolist()],
        node["asset"][sunk].tolist(),
        topology.xy[sunk],
        [f"ground {g:.3f} m lies below invert {i:.3f} m" for g, i in zip(ground[sunk], invert[sunk], strict=True)],
        values=ground[sunk] - invert[sunk],
        limit=0.0,
    )
    rows += findings(
        Check.COVER_DISAGREES,
        [Severity.WARNING if wrong else Severity.INFO for wrong in drain[shallow].tolist()],
        node["asset"][shallow].tolist(),
        topology.xy[shallow],
        [
            f"{depth:.2f} m deep, but its invert lies {reach:.2f} m under the ground"
            for depth, reach in zip(node["depth_m"][shallow], (ground - invert)[shallow], strict=True)
        ],
        values=(node["depth_m"] - (ground - invert))[shallow],
        limit=LEVEL_M,
    )
    return [*rows, *_end_levels(subject, ground, invert), *_covers(subject, ground), *_depths(subject)]


def _widest(subject: Subject) -> NDArray[np.float64]:
    """Return the diameter of the widest pipe that ends at each stated node, in metres; 0 where none is known."""
    widest = np.zeros(len(subject.topology.xy))
    for end in (subject.topology.start, subject.topology.end):
        there = end >= 0
        np.maximum.at(widest, end[there], np.nan_to_num(subject.links["diameter_m"])[there])
    return widest[: subject.topology.stated]


def _end_levels(subject: Subject, ground: NDArray[np.float64], invert: NDArray[np.float64]) -> list[Finding]:
    """Return link ends above the ground of their node; of drains, those below its invert."""
    topology = subject.topology
    at = np.column_stack([topology.start, topology.end])
    stated = (at >= 0) & (at < topology.stated)
    link, side = np.nonzero(stated)
    node, level = at[link, side], subject.level_m[link, side]
    drain = np.isin(subject.links["system"].astype(str), DRAINS)[link]
    above, below = level - ground[node], invert[node] - level
    out: list[Finding] = []
    for check, bad, gap, word in (
        (Check.LEVEL_ABOVE_GROUND, above > LEVEL_M, above, "above the ground"),
        (Check.END_BELOW_NODE_INVERT, drain & (below > _RISE_M), below, "below the invert"),
    ):
        chosen = np.flatnonzero(bad)
        assets = subject.nodes["asset"][node[chosen]].tolist()
        out += findings(
            check,
            [Severity.WARNING if wrong else Severity.INFO for wrong in drain[chosen].tolist()],
            subject.links["asset"][link[chosen]].tolist(),
            topology.xy[node[chosen]],
            [
                f"its {('start', 'end')[which]} lies {metres:.3f} m {word} of {asset}"
                for which, metres, asset in zip(side[chosen], gap[chosen], assets, strict=True)
            ],
            others=assets,
            values=gap[chosen],
            limit=0.0,
        )
    return out


def _covers(subject: Subject, ground: NDArray[np.float64]) -> list[Finding]:
    """Return links whose depth is not what lies between their levels and the ground of their nodes.

    The depth at each end, where a survey measured it there, else the mean of both. Depth is to the crown of pipes
    under pressure and to the invert of drains; levels may be of the axis, so that half the diameter is allowed for
    besides `LEVEL_M`.
    """
    topology = subject.topology
    at = np.column_stack([topology.start, topology.end])
    stated = (at >= 0) & (at < topology.stated)
    above = np.full(at.shape, np.nan)
    above[stated] = ground[at[stated]]
    off = subject.depths_m() - (above - subject.level_m)
    mean = subject.links["depth_m"] - (above - subject.level_m).mean(axis=1)
    off = np.where(np.isnan(off).all(axis=1, keepdims=True), mean[:, None], off)
    worst = np.take_along_axis(off, np.nan_to_num(np.abs(off)).argmax(axis=1)[:, None], axis=1)[:, 0]
    limit = LEVEL_M + np.nan_to_num(subject.links["diameter_m"]) / 2
    sentence = "its depth is {:+.2f} m off what lies between it and the ground"
    return _links(subject, Check.COVER_DISAGREES, np.abs(worst) > limit, sentence, values=worst, limit=LEVEL_M)


def _depths(subject: Subject) -> list[Finding]:
    """Return nodes where a survey measured several depths, or where pipes under pressure meet in several levels.

    Pipes of several sizes may meet with their crowns or with their axes in one depth. Drains may drop in a manhole:
    good to know only.
    """
    drain = np.isin(subject.links["system"].astype(str), DRAINS)
    pressed = ~drain & np.isin(subject.links["kind"].astype(str), PIPES)
    crown = subject.depths_m()
    axis = crown + np.nan_to_num(subject.links["diameter_m"])[:, None] / 2
    level = np.where(pressed[:, None] & np.isnan(crown), subject.level_m, np.nan)
    out: list[Finding] = []
    for seen, other, limit, word in ((crown, axis, _DEPTH_M, "depths"), (level, level, LEVEL_M, "levels")):
        node, spread = _spread(subject, seen)
        spread = np.minimum(spread, _spread(subject, other)[1])
        differ = np.flatnonzero(spread > limit)
        drains = drain[subject.first_link(node[differ])]
        out += findings(
            Check.DEPTHS_DIFFER,
            [Severity.INFO if may else Severity.WARNING for may in drains.tolist()],
            subject.node_names(node[differ]),
            subject.topology.xy[node[differ]],
            [f"the {word} of pipes that meet here are up to {metres:.2f} m apart" for metres in spread[differ]],
            values=spread[differ],
            limit=limit,
        )
    return out


def _spread(subject: Subject, seen: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nodes at which `seen` (links, 2) has values, and how far those of each are apart."""
    at = np.column_stack([subject.topology.start, subject.topology.end])
    link, side = np.nonzero((at >= 0) & np.isfinite(seen))
    node, number = np.unique(at[link, side], return_inverse=True)
    low, high = np.full(len(node), np.inf), np.full(len(node), -np.inf)
    np.minimum.at(low, number, seen[link, side])
    np.maximum.at(high, number, seen[link, side])
    return node, high - low


def points(subject: Subject) -> list[Finding]:
    """Return points with a number or place of another one, with feature and appurtenance, and names of no point."""
    node, topology = subject.nodes, subject.topology
    system, name = node["system"].astype(str), node["name"].astype(str)
    ids = [asset.partition(":node:") for asset in node["asset"].tolist()]
    service = node["service"].astype(str)  # each class of a survey numbers its own points
    numbers = pd.DataFrame({"source": [source for source, _, _ in ids], "system": system, "of": service, "name": name})
    numbered = name == np.array([own for _, _, own in ids], dtype=object)  # other names are labels, a street's say
    heights = np.where(np.isnan(node["ground_m"]), node["invert_m"], node["ground_m"])
    places = np.round(np.column_stack([topology.xy[: topology.stated] * subject.unit_m, heights]) / _SAME_POINT_M)
    where = pd.DataFrame(places).assign(system=system)
    return [
        *_again(subject, Check.DUPLICATE_POINT_NUMBER, numbers, "has the number of {}", numbered),
        *_again(subject, Check.DUPLICATE_XYZ, where, "stands where {} stands", np.isfinite(places[:, 0])),
        *_appurtenances(subject),
        *_missing(subject),
        *_degrees(subject),
    ]


def _again(
    subject: Subject, check: Check, keys: pd.DataFrame, sentence: str, usable: NDArray[np.bool_]
) -> list[Finding]:
    """Return the nodes whose row of `keys` an earlier `usable` node has."""
    number = keys.groupby(list(keys.columns), sort=False, dropna=False).ngroup().to_numpy()
    first = np.unique(number, return_index=True)[1]
    again = np.flatnonzero((first[number] != np.arange(len(number))) & usable[first[number]])
    others = subject.nodes["asset"][first[number[again]]].tolist()
    return findings(
        check,
        Severity.WARNING,
        subject.nodes["asset"][again].tolist(),
        subject.topology.xy[again],
        [sentence.format(other) for other in others],
        others=others,
    )


def _appurtenances(subject: Subject) -> list[Finding]:
    featured = [row for row, feature in enumerate(subject.nodes["feature"].tolist()) if feature]
    both = [(row, text) for row in featured if (text := subject.property("nodes", row, "appurtenance"))]
    rows = np.array([row for row, _ in both], dtype=np.int64)
    return findings(
        Check.FEATURE_AND_APPURTENANCE,
        Severity.ERROR,
        subject.nodes["asset"][rows].tolist(),
        subject.topology.xy[rows],
        [f"is the feature {subject.nodes['feature'][row]} and the appurtenance {text}" for row, text in both],
    )


def _missing(subject: Subject) -> list[Finding]:
    """Return link ends that name a point which is not there: by id, or by the names of a table (from, to)."""
    topology, links = subject.topology, subject.links
    bad: list[tuple[int, int, Any]] = []
    for side, (field, word) in enumerate((("start", "from"), ("end", "to"))):
        bad += [(row, side, links[field][row]) for row in np.flatnonzero(topology.missing[:, side]).tolist()]
        unnamed = np.flatnonzero([name is None for name in links[field].tolist()])
        bad += [(row, side, name) for row in unnamed.tolist() if (name := subject.property("links", row, word))]
    bad.sort(key=lambda item: item[:2])
    rows = np.array([row for row, _, _ in bad], dtype=np.int64)
    sides = np.array([side for _, side, _ in bad], dtype=np.int64)
    return findings(
        Check.MISSING_POINT,
        Severity.ERROR,
        links["asset"][rows].tolist(),
        subject.end_xy[rows, sides],
        [f"its {('start', 'end')[side]} is at {name}, and there is no such point" for _, side, name in bad],
    )


def _degrees(subject: Subject) -> list[Finding]:
    degree = subject.topology.degree
    wrong = [
        (row, feature, wanted)
        for row, feature in enumerate(subject.nodes["feature"].tolist())
        for word, wanted in FEATURES.items()
        if feature and word in feature and degree[row] != wanted
    ]
    rows = np.array([row for row, _, _ in wrong], dtype=np.int64)
    return findings(
        Check.DEGREE_AGAINST_FEATURE,
        Severity.WARNING,
        subject.nodes["asset"][rows].tolist(),
        subject.topology.xy[rows],
        [f"is a {feature} of {wanted}, and {degree[row]} links meet here" for row, feature, wanted in wrong],
        values=degree[rows],
    )


def _links(
    subject: Subject,
    check: Check,
    bad: NDArray[np.bool_],
    sentence: str,
    *,
    severity: Severity = Severity.WARNING,
    values: NDArray[np.float64] | None = None,
    limit: float | None = None,
) -> list[Finding]:
    """Return a finding for each link that is `bad`, with its value in the sentence."""
    rows = np.flatnonzero(bad)
    seen: Sequence[Any] = [None] * len(rows) if values is None else values[rows].tolist()
    return findings(
        check,
        severity,
        subject.links["asset"][rows].tolist(),
        subject.middle(rows),
        [sentence.format(value) for value in seen],
        values=None if values is None else values[rows],
        limit=limit,
    )
