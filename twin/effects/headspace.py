"""How far gas goes in the drains: along the air above the water, up and down alike, until something stops it.

A simple statement, no computation of flow: gas fills whatever air hangs together. It does not pass a pump, a link that
is shut or a pressure main, nor a drain that stands full: one whose crown at an end lies at or below the water that
cannot run off there (an inverted siphon, an outlet under the sill of the next drain). That level is the least, over
all ways to where water leaves, of the highest invert on the way; it is only known as far as levels are.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.asset import LinkKind, NodeKind
from twin.network.trace import gravity

if TYPE_CHECKING:
    import geopandas as gpd

    from twin.network.graph import Network

_PRESSED = ('"shape":"force_main"', "倒虹", "虹吸", "siphon", "syphon", "压力管", "rising main", "force main")


@dataclass(frozen=True, slots=True)
class Spread:
    """Where gas comes to: node and link (indices) → metres along the drains from where it began.

    `stopped` says for each link where it comes to an end why: pump, shut, pressed or full.
    """

    nodes: Mapping[int, float]
    links: Mapping[int, float]
    stopped: Mapping[int, str]


class Headspace:
    """The air of the drains of a network. `links` is the city's layer of links, for levels and sizes."""

    def __init__(self, network: Network, links: gpd.GeoDataFrame) -> None:
        self._network = network
        rows = links.reindex(np.asarray(network.links))
        self._levels = rows[["start_level_m", "end_level_m"]].to_numpy(float)
        self._height = rows["diameter_m"].to_numpy(float)
        self._drains = gravity(network)
        said = rows["properties"].fillna("") + " " + rows["laying"].fillna("") + " " + rows["name"].fillna("")
        self._pressed = said.str.contains("|".join(_PRESSED), case=False, regex=True).to_numpy(bool)
        self._pump = network.links_of(LinkKind.PUMP)
        self._leaves = network.nodes_of(NodeKind.OUTFALL, NodeKind.STORAGE)

    def spread(self, first: Mapping[int, float], along_m: float) -> Spread:
        """Return where gas comes to within `along_m` of the nodes `first` (index → metres behind it already)."""
        dry = self._walk(first, along_m, frozenset())
        full = self._full(dry)
        return self._walk(first, along_m, full) if full else dry

    def _walk(self, first: Mapping[int, float], along_m: float, full: frozenset[int]) -> Spread:
        """Walk outwards, the nearest first (Dijkstra), not through `full`."""
        nodes: dict[int, float] = {}
        links: dict[int, float] = {}
        stopped: dict[int, str] = {}
        heap = [(far, node) for node, far in first.items()]
        heapq.heapify(heap)
        while heap:
            far, node = heapq.heappop(heap)
            if node in nodes or far > along_m:
                continue
            nodes[node] = far
            for link, other in self._around(node):
                why = self._stops(link) or ("full" if link in full else None)
                if why:
                    stopped[link] = why
                    continue
                links.setdefault(link, far)
                heapq.heappush(heap, (far + float(self._network.length_m[link]), other))
        return Spread(nodes, links, stopped)

    def _around(self, node: int) -> list[tuple[int, int]]:
        """Return the drains at a node, and the nodes at their other ends."""
        network = self._network
        here = slice(network.indptr[node], network.indptr[node + 1])
        pairs = zip(network.edge[here].tolist(), network.neighbour[here].tolist(), strict=True)
        return [(link, other) for link, other in pairs if self._drains[link]]

    def _stops(self, link: int) -> str | None:
        if self._pump[link]:
            return "pump"
        if self._network.shut_link[link]:
            return "shut"
        return "pressed" if self._pressed[link] else None

    def _full(self, dry: Spread) -> frozenset[int]:
        """Return the links of `dry` whose crown at an end lies under the water that stands there."""
        water = self._standing(dry)
        network = self._network
        found: set[int] = set()
        for link in dry.links:
            for end, node in enumerate((int(network.start[link]), int(network.end[link]))):
                crown = self._levels[link, end] + self._height[link]
                if node in water and crown <= water[node]:
                    found.add(link)
        return frozenset(found)

    def _standing(self, dry: Spread) -> dict[int, float]:
        """Return the level at which water stands in each node of `dry` that has a way out, metres."""
        heap: list[tuple[float, int]] = []
        for node in dry.nodes:
            around = self._around(node)
            inverts = [self._level(link, node) for link, _ in around]
            lowest = np.nanmin(inverts) if not np.isnan(inverts).all() else np.nan
            leaves = any(
                dry.stopped.get(link) != "shut" and not self._inside(link, other, dry) for link, other in around
            )
            way_out = self._leaves[node] or leaves
            if way_out and not np.isnan(lowest):
                heap.append((float(lowest), node))
        heapq.heapify(heap)
        water: dict[int, float] = {}
        while heap:
            level, node = heapq.heappop(heap)
            if node in water:
                continue
            water[node] = level
            for link, other in self._around(node):
                if other not in water and self._inside(link, other, dry):
                    sill = self._levels[link].max()
                    heapq.heappush(heap, (level if np.isnan(sill) else max(level, float(sill)), other))
        return water

    def _inside(self, link: int, other: int, dry: Spread) -> bool:
        return link in dry.links and other in dry.nodes

    def _level(self, link: int, node: int) -> float:
        """Return the invert of a drain at one of its nodes, metres; nan where unknown."""
        return float(self._levels[link, 0 if self._network.start[link] == node else 1])
