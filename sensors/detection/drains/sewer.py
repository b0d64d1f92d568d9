"""The drains between measured manholes: which way down from each, and where a pool behind a blockage would stand."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sensors.detection import Candidate
from twin.asset import AssetId, LinkKind
from twin.effects.surroundings import Surroundings
from twin.network.trace import gravity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.city import City
    from twin.network.graph import Network

LONGEST = 60
"""Drains that are followed down from a manhole at most."""
_MOST = 10
"""Candidates that are named at most."""


@dataclass(frozen=True, slots=True)
class Reach:
    """The drains from a measured manhole down to the next one, the uppermost first.

    `links` and `tops` are indices: drains, and the node where each begins. `below` is the index of the measured place
    at its end, -1 where there is none.
    """

    links: tuple[int, ...]
    tops: tuple[int, ...]
    below: int


@dataclass(frozen=True)
class _Heights:
    """Makes, once for a network, the ground at its nodes and the level at which its links begin, m above datum."""

    city: City | None

    def __call__(self, network: Network) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ground, sill = np.full(len(network.nodes), np.nan), network.xyz[network.start, 2]
        if self.city is not None:
            around = Surroundings.of(self.city, network)
            ground = around.nodes["ground_m"].reindex(np.asarray(network.nodes)).to_numpy(float)
            level = around.links["start_level_m"].reindex(np.asarray(network.links)).to_numpy(float)
            sill = np.where(np.isnan(level), sill, level)
        return ground, sill


class Sewer:
    """The drains of `graph` around the measured nodes `measured` (k,); sizes and the ground come from `city`.

    Where a node has several ways down, the lowest is the way and the others are overflows. Heights in m above datum.
    """

    def __init__(self, graph: Network, city: City | None, measured: NDArray[np.int32]) -> None:
        self._graph = graph
        self._drain = gravity(graph) & ~graph.shut_link & ~graph.links_of(LinkKind.PUMP)
        self.invert = graph.xyz[:, 2]
        self._ground, self._sill = graph.once(_Heights(city))
        self._measured = measured
        self._place = {int(node): place for place, node in enumerate(measured.tolist())}
        self._reaches: dict[int, Reach] = {}

    def below(self, place: int) -> Reach:
        """Return the way down from a measured place."""
        found = self._reaches.get(place)
        if found is None:
            found = self._reaches[place] = self._down(int(self._measured[place]))
        return found

    def behind(self, place: int, surface_m: float, crown_m: float, normal: Sequence[int]) -> tuple[Candidate, ...]:
        """Return which drains below `place` may be blocked, best first, where water stands at `surface_m` above.

        A blockage is as likely in each metre of drain, less by e for each `crown_m` of depth that the pool must have at
        it (no standard: deep pools drain or are found sooner). A drain is ruled out where the pool would stand over the
        street before it, or in a manhole of `normal`, which has not risen. The weight of a drain is the chance that it
        or one of its neighbours is blocked, which is what a crew sees that opens its manholes; all sum to 1.
        """
        reach = self.below(place)
        kept = self._kept(reach, surface_m, normal)
        if not kept:
            return ()
        graph, links = self._graph, np.array(reach.links[:kept])
        length = graph.length_m[links]
        drop = np.nan_to_num(self.invert[int(self._measured[place])] - self.invert[list(reach.tops[:kept])])
        weight = np.maximum(length, 1.0) * np.exp(-np.maximum(drop, 0.0) / crown_m)
        weight /= weight.sum()
        seen = np.convolve(weight, np.ones(3))[1:-1]  # "same" would make three of two
        seen /= seen.sum()
        along = np.cumsum(length) - length / 2
        order = np.lexsort((along, -np.round(seen, 9)))[:_MOST]
        return tuple(
            Candidate(AssetId(graph.links[int(links[n])]), float(seen[n]), float(along[n])) for n in order.tolist()
        )

    def above(self, place: int, within_m: float, closed: Sequence[int]) -> list[tuple[int, int, float]]:
        """Return the drains that flow to a measured place: (link, node where it begins, metres), nearest first.

        Not past the measured places `closed`, from which nothing comes, and not farther than `within_m` along.
        """
        graph = self._graph
        shut = {int(self._measured[each]) for each in closed}
        found: list[tuple[int, int, float]] = []
        first = int(self._measured[place])
        met, queue = {first}, [(0.0, first)]
        while queue:
            far, node = heapq.heappop(queue)
            coming = graph.edge[graph.turn[node] : graph.indptr[node + 1]]
            for link in coming[self._drain[coming]].tolist():
                top = int(graph.start[link])
                way = far + float(graph.length_m[link])
                if top in met or top in shut or way > within_m:
                    continue
                met.add(top)
                found.append((link, top, way))
                heapq.heappush(queue, (way, top))
        return sorted(found, key=lambda each: (each[2], each[0]))

    def _kept(self, reach: Reach, surface_m: float, normal: Sequence[int]) -> int:
        """Return how many drains of a reach a pool up to `surface_m` may stand behind, from the uppermost."""
        dry = {top for place in normal for top in self._joins(place, surface_m)}
        for n, top in enumerate(reach.tops):
            if n and (surface_m > self._ground[top] or top in dry):
                return n
        return len(reach.links)

    def _joins(self, place: int, surface_m: float) -> Sequence[int]:
        """Return the nodes below a measured place from which a pool up to `surface_m` would come back to it."""
        if self.invert[int(self._measured[place])] >= surface_m:
            return ()
        reach = self.below(place)
        nodes: list[int] = []
        for link, top in zip(reach.links, reach.tops, strict=True):
            if self._sill[link] >= surface_m:
                break
            nodes.append(top)
        return nodes[1:]

    def _down(self, node: int) -> Reach:
        links: list[int] = []
        tops: list[int] = []
        while len(links) < LONGEST:
            link = self._way(node)
            if link < 0 or node in tops:
                break
            links.append(link)
            tops.append(node)
            node = int(self._graph.end[link])
            if node in self._place:
                return Reach(tuple(links), tuple(tops), self._place[node])
        return Reach(tuple(links), tuple(tops), -1)

    def _way(self, node: int) -> int:
        """Return the lowest drain that leaves a node, -1 where none does."""
        graph = self._graph
        out = graph.edge[graph.indptr[node] : graph.turn[node]]
        out = out[self._drain[out]]
        if not len(out):
            return -1
        return int(out[np.argmin(np.nan_to_num(self._sill[out], nan=np.inf))])


__all__ = ["Reach", "Sewer"]
