"""Nodes and links of an EPANET or SWMM file on their way to assets: named once, joined, then drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twin.asset import Attribute, Link, Node, System, asset_id
from twin.readers.description import described_material, described_year
from twin.readers.inp import Line
from twin.readers.layout import Layout, Name


@dataclass(slots=True)
class Draft:
    """A node or link before it is drawn; levels, lengths and the diameter (or height of a section) in metres.

    `offsets` are SWMM's link offsets as metres above the ends' inverts, or as levels.
    """

    name: str
    kind: Any
    line: Line
    ends: tuple[str, str] = ("", "")
    invert: float | None = None
    ground: float | None = None
    offsets: tuple[float | None, float | None] = (None, None)
    depth: float | None = None
    length: float | None = None
    diameter: float | None = None
    width: float | None = None
    service: str | None = None
    status: str | None = None
    properties: dict[str, Attribute] = field(default_factory=dict[str, Attribute])

    def tagged(self, drawing: Layout, what: str) -> str:
        """Note the tag that the file gives this ``node`` or ``link``, and return it; empty without one."""
        if tag := drawing.tag(what, self.name):
            self.properties["tag"] = tag
        return tag

    def node(self, point: Any, system: System, source: str) -> Node:
        """Return the node at `point`."""
        return Node(
            asset_id(source, "node", self.name),
            self.name,
            system,
            self.kind,
            point,
            ground_m=self.ground,
            invert_m=self.invert,
            depth_m=self.depth,
            year=described_year(self.properties),
            service=self.service,
            properties=self.properties,
        )

    def link(self, line: Any, levels: Sequence[float | None], system: System, source: str) -> Link:
        """Return the link along `line`, its ends at two levels in metres."""
        start, end = (asset_id(source, "node", name) for name in self.ends)
        return Link(
            asset_id(source, "link", self.name),
            self.name,
            system,
            self.kind,
            line,
            start=start,
            end=end,
            diameter_m=self.diameter,
            width_m=self.width,
            length_m=self.length,
            material=described_material(self.properties),
            year=described_year(self.properties),
            start_level_m=levels[0],
            end_level_m=levels[1],
            service=self.service,
            status=self.status,
            properties=self.properties,
        )


def add(drafts: dict[str, Draft], draft: Draft, key: Name = str) -> None:
    """Add a node or link and its description under ``key(name)``; InputError E_ID where that is there already."""
    name = key(draft.name)
    if name in drafts:
        other = drafts[name].line.number
        raise draft.line.error(f"{draft.name!r} is there already (line {other})", "names used once", "E_ID")
    if draft.line.description:
        draft.properties["description"] = draft.line.description
    drafts[name] = draft


def join_ends(nodes: Mapping[str, Draft], links: Mapping[str, Draft], key: Name = str) -> None:
    """Give each link the names of its ends as the nodes spell them; InputError E_NODE where there is no such node."""
    for link in links.values():
        for end in link.ends:
            if key(end) not in nodes:
                raise link.line.error(f"{link.name!r} names node {end!r}", "a node of the file", "E_NODE")
        start, end = (nodes[key(end)].name for end in link.ends)
        link.ends = start, end
