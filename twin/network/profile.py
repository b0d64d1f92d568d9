"""The long profile along a way: chainage, ground, inverts and crowns, diameters, and what they do not agree on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twin.asset import AssetId, Link, Node


@dataclass(frozen=True, slots=True)
class Station:
    """A node on the way: `chainage_m` from its beginning; levels in the city's height datum, metres, None unknown."""

    node: AssetId
    chainage_m: float
    ground_m: float | None
    invert_m: float | None


@dataclass(frozen=True, slots=True)
class Reach:
    """A link on the way, its ends in the order of the way, metres.

    `from_level_m` and `to_level_m` are inverts (drainage) or axis levels (pressure networks) as the file has them,
    `from_top_m` and `to_top_m` the crown above an invert; `diameter_m` is the inside height. `slope` is its
    fall along the way (metres a metre, negative: it rises). `with_the_link`: the way goes from the link's start to its
    end.
    """

    link: AssetId
    chainage_m: float
    length_m: float
    from_level_m: float | None
    to_level_m: float | None
    from_top_m: float | None
    to_top_m: float | None
    diameter_m: float | None
    slope: float | None
    with_the_link: bool


@dataclass(frozen=True, slots=True)
class Profile:
    """A long profile: one station more than reaches, the last one at `length_m`."""

    stations: Sequence[Station]
    reaches: Sequence[Reach]
    length_m: float


def profile(nodes: Sequence[Node], links: Sequence[Link], lengths_m: Sequence[float], *, gravity: bool) -> Profile:
    """Return the profile along `links`, which join `nodes` in this order and have these lengths.

    `gravity` says that levels are inverts: only then the crown is a diameter above them.
    """
    stations: list[Station] = []
    reaches: list[Reach] = []
    chainage = 0.0
    for node, link, length in zip(nodes, links, lengths_m, strict=False):
        stations.append(_station(node, chainage))
        reaches.append(_reach(node, link, chainage, length, gravity=gravity))
        chainage += length
    if nodes:
        stations.append(_station(nodes[-1], chainage))
    return Profile(stations, reaches, round(chainage, 3))


def _station(node: Node, chainage: float) -> Station:
    return Station(node.id, round(chainage, 3), node.ground_m, node.invert_m)


def _reach(node: Node, link: Link, chainage: float, length: float, *, gravity: bool) -> Reach:
    forward = link.start == node.id
    levels = (link.start_level_m, link.end_level_m) if forward else (link.end_level_m, link.start_level_m)
    height = link.diameter_m
    tops = [round(level + height, 3) if gravity and level is not None and height else None for level in levels]
    slope = None
    if levels[0] is not None and levels[1] is not None and length > 0 and math.isfinite(length):
        slope = round((levels[0] - levels[1]) / length, 6)
    return Reach(
        link=link.id,
        chainage_m=round(chainage, 3),
        length_m=round(length, 3),
        from_level_m=levels[0],
        to_level_m=levels[1],
        from_top_m=tops[0],
        to_top_m=tops[1],
        diameter_m=height,
        slope=slope,
        with_the_link=forward,
    )
