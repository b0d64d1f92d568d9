"""Compiled walks over a network in CSR arrays, and the scratch memory that keeps a small walk small."""

# ruff: noqa: PLR0917  # compiled functions take plain arrays by position

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOTH, ALONG, AGAINST = 0, 1, 2
"""How a walk goes: whichever way, with the flow, against it."""
_LAST_STAMP = np.iinfo(np.int32).max


@dataclass(slots=True, eq=False)
class Scratch:
    """What one walk notes over n nodes and m links, in `room`, int32 (2 (n + m),).

    A stamp a node, then a stamp a link, then the nodes and the links that it met, in order. Nothing is cleared between
    walks: what bears the stamp of this walk was seen in it.
    """

    stamp: int
    room: NDArray[np.int32]


class Scratches:
    """The scratches of one network: a walk takes a free one or makes another (list operations are atomic)."""

    def __init__(self, nodes: int, links: int) -> None:
        self._room = 2 * (nodes + links)
        self._free: list[Scratch] = []

    def take(self) -> Scratch:
        """Return a scratch with a fresh stamp, for one walk; `give` it back after."""
        try:
            scratch = self._free.pop()
        except IndexError:
            scratch = Scratch(0, np.zeros(self._room, np.int32))
        scratch.stamp += 1
        if scratch.stamp == _LAST_STAMP:
            scratch.stamp = 1
            scratch.room[:] = 0
        return scratch

    def give(self, scratch: Scratch) -> None:
        """Take a scratch back; one that is not given back is only lost."""
        self._free.append(scratch)


@nb.njit(cache=True)
def compressed(
    count: int, start: NDArray[np.int32], end: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return `indptr`, `turn`, `neighbour` and `edge` of the links from `start` to `end` between `count` nodes."""
    m = len(start)
    indptr = np.zeros(count + 1, np.int32)
    turn = np.zeros(count, np.int32)
    for i in range(m):
        indptr[start[i] + 1] += 1
        indptr[end[i] + 1] += 1
        turn[start[i]] += 1
    for i in range(count):
        indptr[i + 1] += indptr[i]
        turn[i] += indptr[i]
    neighbour = np.empty(2 * m, np.int32)
    edge = np.empty(2 * m, np.int32)
    first = indptr[:-1].copy()
    second = turn.copy()
    for i in range(m):
        out, into = first[start[i]], second[end[i]]
        neighbour[out], edge[out] = end[i], i
        neighbour[into], edge[into] = start[i], i
        first[start[i]] = out + 1
        second[end[i]] = into + 1
    return indptr, turn, neighbour, edge


@nb.njit(cache=True)
def _passes(mode: int, way: Any, leaves: Any) -> bool:
    """Say whether a walk in `mode` takes a link from an end that it `leaves`; see `walked` for its `way`."""
    if mode == BOTH or way == 0:
        return way != 0
    along = (way == 1) == leaves
    return along if mode == ALONG else not along


@nb.njit(cache=True)
def walked(
    first: int,
    second: int,
    mode: int,
    indptr: NDArray[np.int32],
    turn: NDArray[np.int32],
    neighbour: NDArray[np.int32],
    edge: NDArray[np.int32],
    ways: NDArray[np.int8],
    shut_node: NDArray[np.bool_],
    stamp: int,
    room: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the nodes and links that a walk from the nodes `first` and `second` meets, in the order of breadth.

    `second` may be -1: then `first` is asked itself, and gone out from even where it is shut. Any other shut node is
    reached and not passed. `ways` (m,): 1 a link flows from its start to its end, -1 back, 0 it is not taken. `stamp`
    and `room` are a scratch's.
    """
    n, m = len(shut_node), len(ways)
    node_seen, link_seen = room[:n], room[n : n + m]
    nodes, links = room[n + m : 2 * n + m], room[2 * n + m :]
    nodes[0], node_seen[first] = first, stamp
    count, link_count, at = 1, 0, 0
    if second >= 0 and second != first:
        nodes[1], node_seen[second] = second, stamp
        count = 2
    while at < count:
        node = nodes[at]
        at += 1
        if shut_node[node] and (at > 1 or second >= 0):
            continue
        for i in range(indptr[node], indptr[node + 1]):
            link = edge[i]
            if link_seen[link] == stamp or not _passes(mode, ways[link], i < turn[node]):
                continue
            link_seen[link] = stamp
            links[link_count] = link
            link_count += 1
            other = neighbour[i]
            if node_seen[other] != stamp:
                node_seen[other] = stamp
                nodes[count] = other
                count += 1
    return nodes[:count].copy(), links[:link_count].copy()


@nb.njit(cache=True)
def potential(
    sources: NDArray[np.int32],
    indptr: NDArray[np.int32],
    turn: NDArray[np.int32],
    neighbour: NDArray[np.int32],
    edge: NDArray[np.int32],
    length: NDArray[np.float64],
    shut_node: NDArray[np.bool_],
    shut_link: NDArray[np.bool_],
    one_way: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return how far each node lies from the nearest of `sources` along what is open, metres; infinite: none reaches.

    Dijkstra, Numerische Mathematik 1 (1959) 269-271, from all sources at once.
    """
    far = np.full(len(indptr) - 1, np.inf)
    heap: list[Any] = [(0.0, np.int32(node)) for node in sources]
    for node in sources:
        far[node] = 0.0
    while heap:
        here, node = heapq.heappop(heap)
        if here > far[node] or shut_node[node]:
            continue
        for i in range(indptr[node], indptr[node + 1]):
            link, other = edge[i], neighbour[i]
            if shut_link[link] or (one_way[link] and i >= turn[node]):
                continue
            there = here + length[link]
            if there < far[other]:
                far[other] = there
                heapq.heappush(heap, (there, other))
    return far


@nb.njit(cache=True)
def _way(last: int, came: NDArray[np.int32], via: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the nodes and links from where a search began to `last`."""
    count, node = 0, last
    while came[node] >= 0:
        node = came[node]
        count += 1
    nodes, links = np.empty(count + 1, np.int32), np.empty(count, np.int32)
    node = last
    for at in range(count, 0, -1):
        nodes[at], links[at - 1] = node, via[node]
        node = came[node]
    nodes[0] = node
    return nodes, links


@nb.njit(cache=True)
def shortest(
    first: NDArray[np.int32],
    last: NDArray[np.int32],
    goal: NDArray[np.bool_],
    mode: int,
    without: int,
    indptr: NDArray[np.int32],
    turn: NDArray[np.int32],
    neighbour: NDArray[np.int32],
    edge: NDArray[np.int32],
    length: NDArray[np.float64],
    ways: NDArray[np.int8],
    shut_node: NDArray[np.bool_],
    stamp: int,
    node_seen: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32], float]:
    """Return the nodes and links, in order, of the shortest way from a node of `first` to one of `last`, its length.

    One `first` is asked itself and gone out from though it be shut; of several, the ends of a link, only open ones are.
    Where `last` is empty any node of `goal` (n,) will do. The link `without` is not used (-1: all are); `ways` as of
    `walked`. No way: empty arrays and infinity. `stamp` and `node_seen` (at least n) are a scratch's; memory that is
    not written costs nothing.
    """
    n = len(indptr) - 1
    far, came, via = np.empty(n), np.empty(n, np.int32), np.empty(n, np.int32)
    heap: list[Any] = [(0.0, np.int32(node)) for node in first]
    for node in first:
        node_seen[node] = stamp
        far[node], came[node], via[node] = 0.0, -1, -1
    while heap:
        here, node = heapq.heappop(heap)
        if here > far[node]:
            continue
        arrived = len(last) == 0 and goal[node]
        for each in last:
            arrived = arrived or each == node
        if arrived:
            return *_way(node, came, via), here
        if shut_node[node] and (via[node] >= 0 or len(first) > 1):
            continue
        for i in range(indptr[node], indptr[node + 1]):
            link, other = edge[i], neighbour[i]
            if link == without or not _passes(mode, ways[link], i < turn[node]):
                continue
            there = here + length[link]
            if node_seen[other] != stamp or there < far[other]:
                node_seen[other] = stamp
                far[other], came[other], via[other] = there, node, link
                heapq.heappush(heap, (there, other))
    return np.empty(0, np.int32), np.empty(0, np.int32), np.inf


@nb.njit(cache=True)
def on_loops(
    root: int,
    links: NDArray[np.int32],
    indptr: NDArray[np.int32],
    neighbour: NDArray[np.int32],
    edge: NDArray[np.int32],
    shut_node: NDArray[np.bool_],
    shut_link: NDArray[np.bool_],
    stamp: int,
    node_seen: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """Return which of `links`, all that hang together with the node `root`, lie on a loop: those that are no bridge.

    Bridges by depth-first numbering (Tarjan, Information Processing Letters 2 (1974) 160-161). A link to a shut node
    is on none. `stamp` and `node_seen` (at least n) are a scratch's.
    """
    n, m = len(indptr) - 1, len(shut_link)
    order, low, at = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    came, via = np.empty(n, np.int32), np.empty(n, np.int32)
    looped = np.empty(m, np.bool_)
    for link in links:
        looped[link] = True
    stack, depth, found = np.empty(n, np.int32), 1, 0
    stack[0] = root
    node_seen[root] = stamp
    order[root], low[root], came[root], via[root], at[root] = 0, 0, -1, -1, indptr[root]
    while depth:
        node = stack[depth - 1]
        if at[node] == indptr[node + 1]:
            depth -= 1
            above = came[node]
            if above >= 0:
                low[above] = min(low[above], low[node])
                looped[via[node]] = low[node] <= order[above]
            continue
        i = at[node]
        at[node] += 1
        link, other = edge[i], neighbour[i]
        if shut_link[link] or link == via[node]:
            continue
        if shut_node[other]:
            looped[link] = False
        elif node_seen[other] == stamp:
            low[node] = min(low[node], order[other])
        else:
            found += 1
            node_seen[other] = stamp
            order[other], low[other], came[other], via[other], at[other] = found, found, node, link, indptr[other]
            stack[depth] = other
            depth += 1
    return looped[links]
