"""Traces over the network as it stands: connected, upstream, downstream, the shortest way, loops.

A trace goes through what is open: shut links stop it, a shut node valve is reached and not passed, but what is asked is
always gone out from. A link stands for both its ends.

**Which way it flows.** In drainage and rain a link flows from its start to its end, as its file says. Pressure networks
(gas, water, heat) state no direction: there the flow is inferred, from the end of a link that lies nearer to a source
along what is open to the one farther away, and one-way links (`twin.network.graph`) keep their own. Ends equally far,
or reached by no source, have none, and an upstream or downstream trace does not take such a link. It is the way by
length, no hydraulic computation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.asset import Basis, NodeKind
from twin.network import walk
from twin.network.graph import BASES, GRAVITY, SYSTEMS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from twin.network.graph import Network

_SINKS = (NodeKind.OUTFALL,)


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """What a trace met, as indices into the network's nodes and links, int32."""

    nodes: NDArray[np.int32]
    links: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """The shortest way: its nodes and its links in order, one link between two nodes; `length_m` infinite: no way."""

    nodes: NDArray[np.int32]
    links: NDArray[np.int32]
    length_m: float


@dataclass(frozen=True, slots=True, eq=False)
class Loops:
    """The loops that an asset is part of.

    `nodes`, `links`: what hangs together with it by loops, so that no one link is its only way. `independent`: how many
    loops they make (links less nodes plus one). `shortest`: the shortest loop through the asset; its first and last
    node are one. All are empty where the asset lies on no loop.
    """

    nodes: NDArray[np.int32]
    links: NDArray[np.int32]
    independent: int
    shortest: Path


@dataclass(frozen=True, slots=True)
class RestsOn:
    """How many links an answer rests on, by basis, and the share by length that is inferred or repaired, 0 to 1."""

    stated: int
    inferred: int
    repaired: int
    share: float


def rests_on(network: Network, links: NDArray[np.int32] | Sequence[int]) -> RestsOn:
    """Return what an answer made of `links` (indices) rests on; where none has a length the share is by count."""
    links = np.asarray(links, np.int32)
    basis = network.basis[links]
    counts = np.bincount(basis, minlength=len(BASES)).tolist()
    weight = network.length_m[links]
    whole = float(weight.sum())
    doubtful = basis != BASES.index(Basis.STATED)
    share = float(weight[doubtful].sum()) / whole if whole > 0 else float(doubtful.mean()) if len(links) else 0.0
    return RestsOn(*counts, share=round(share, 6))


def flow(network: Network) -> NDArray[np.int8]:
    """Return which way each link flows: 1 start to end, -1 back, 0 nobody can say, int8 (m,); see the module.

    Take it from ``network.once(flow)``.
    """
    stated = gravity(network)
    ways = np.ones(len(network.links), np.int8)
    if stated.all():
        return ways
    far = walk.potential(
        np.flatnonzero(network.source).astype(np.int32),
        *(network.indptr, network.turn, network.neighbour, network.edge, network.length_m),
        *(network.shut_node, network.shut_link, network.one_way),
    )
    known = np.isfinite(far[network.start]) & np.isfinite(far[network.end])
    with np.errstate(invalid="ignore"):  # no source: infinity less infinity
        ways = np.where(known, np.sign(far[network.end] - far[network.start]), 0).astype(np.int8)
    ways[stated | network.one_way] = 1
    return ways


def gravity(network: Network) -> NDArray[np.bool_]:
    """Return which links say themselves which way they flow, bool (m,)."""
    return np.isin(network.system, [SYSTEMS.index(system) for system in GRAVITY])


def connected(network: Network, asset: str) -> Traced:
    """Return all that hangs together with the node or link `asset`, whichever way it flows; raises UnknownError."""
    return _walk(network, asset, walk.BOTH)


def upstream(network: Network, asset: str) -> Traced:
    """Return all that flows to `asset`: what drains to it, or the ways from the sources to it; raises UnknownError."""
    return _walk(network, asset, walk.AGAINST)


def downstream(network: Network, asset: str) -> Traced:
    """Return all that flows on from `asset`: the way to the outfall, or what it feeds; raises UnknownError."""
    return _walk(network, asset, walk.ALONG)


def path(network: Network, asset: str, to: str) -> Path:
    """Return the shortest way by length from `asset` to `to` through what is open, whichever way it flows.

    Of a link the end that lies nearer is taken. Raises UnknownError.
    """
    return _shortest(network, _ends(network, asset), _ends(network, to), walk.BOTH)


def path_to_end(network: Network, asset: str) -> Path:
    """Return the shortest way with the flow to an outfall (drainage), or against it to a source (pressure networks).

    Drainage that reaches no outfall ends where nothing flows on. Raises UnknownError.
    """
    first = _ends(network, asset)
    if not _is_gravity(network, asset):
        return _shortest(network, first, _NOWHERE, walk.AGAINST, goal=network.source)
    outfall = network.nodes_of(*_SINKS)
    to_outfall = _shortest(network, first, _NOWHERE, walk.ALONG, goal=outfall)
    if np.isfinite(to_outfall.length_m):
        return to_outfall
    return _shortest(network, first, _NOWHERE, walk.ALONG, goal=network.once(_last))


def loops(network: Network, asset: str) -> Loops:
    """Return the loops that the node or link `asset` lies on; raises UnknownError."""
    node, link = network.find(asset)
    nothing = Loops(_NOWHERE, _NOWHERE, 0, Path(_NOWHERE, _NOWHERE, np.inf))
    if network.shut_link[link] if node < 0 else network.shut_node[node]:
        return nothing
    together = connected(network, asset).links
    root = int(network.start[link]) if node < 0 else node
    scratch = network.scratches.take()
    looped = walk.on_loops(
        *(root, together, network.indptr, network.neighbour, network.edge),
        *(network.shut_node, network.shut_link, scratch.stamp, scratch.room),
    )
    network.scratches.give(scratch)
    bridges = together[~looped]
    if node < 0 and link in bridges:
        return nothing
    ways = network.once(_open).copy()
    ways[bridges] = 0
    nodes, links = _walked(network, root, -1, walk.BOTH, ways)
    if not len(links):
        return nothing
    return Loops(nodes, links, len(links) - len(nodes) + 1, _shortest_loop(network, node, link, links))


_NOWHERE = np.zeros(0, np.int32)


def _ends(network: Network, asset: str) -> NDArray[np.int32]:
    node, link = network.find(asset)
    return np.array([node] if node >= 0 else [network.start[link], network.end[link]], np.int32)


def _is_gravity(network: Network, asset: str) -> bool:
    node, link = network.find(asset)
    if node >= 0:
        if network.indptr[node] == network.indptr[node + 1]:
            return False
        link = int(network.edge[network.indptr[node]])
    return SYSTEMS[network.system[link]] in GRAVITY


def _last(network: Network) -> NDArray[np.bool_]:
    """Return the nodes that nothing flows on from, bool (n,)."""
    ways = network.once(flow)
    last = np.ones(len(network.nodes), np.bool_)
    last[network.start[(ways == 1) & ~network.shut_link]] = False
    last[network.end[(ways == -1) & ~network.shut_link]] = False
    return last


def _open(network: Network) -> NDArray[np.int8]:
    """Return which links are taken going both ways: 1 open, 0 shut."""
    return (~network.shut_link).view(np.int8)


def _open_flow(network: Network) -> NDArray[np.int8]:
    """Return `flow`, 0 for what is shut."""
    return np.where(network.shut_link, np.int8(0), network.once(flow))


def _walk(network: Network, asset: str, mode: int) -> Traced:
    node, link = network.find(asset)
    ways = network.once(_open if mode == walk.BOTH else _open_flow)
    if node >= 0:
        return Traced(*_walked(network, node, -1, mode, ways))
    first, second = _ends_of(network, link, mode)
    if first < 0:
        return Traced(_NOWHERE, np.array([link], np.int32))
    nodes, links = _walked(network, first, second, mode, ways)
    if link not in links:
        links = np.append(np.int32(link), links)
    return Traced(nodes, links)


def _ends_of(network: Network, link: int, mode: int) -> tuple[int, int]:
    """Return the ends that a walk from `link` begins at: both, or that which its flow leaves by, or comes by.

    -1 is none: nothing flows on from a link without direction, and both its ends feed it.
    """
    start, end = int(network.start[link]), int(network.end[link])
    if mode == walk.BOTH:
        return start, end
    way = network.once(flow)[link]
    if way == 0:
        return (-1, -1) if mode == walk.ALONG else (start, end)
    begin = end if (way == 1) == (mode == walk.ALONG) else start
    return begin, begin


def _walked(
    network: Network, first: int, second: int, mode: int, ways: NDArray[np.int8]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    scratch = network.scratches.take()
    met = walk.walked(
        *(first, second, mode, network.indptr, network.turn, network.neighbour, network.edge, ways),
        *(network.shut_node, scratch.stamp, scratch.room),
    )
    network.scratches.give(scratch)
    return met


def _shortest(
    network: Network,
    first: NDArray[np.int32],
    last: NDArray[np.int32],
    mode: int,
    *,
    goal: NDArray[np.bool_] | None = None,
    without: int = -1,
) -> Path:
    ways = network.once(_open if mode == walk.BOTH else _open_flow)
    scratch = network.scratches.take()
    nodes, links, length_m = walk.shortest(
        *(first, last, network.shut_node if goal is None else goal, mode, without),
        *(network.indptr, network.turn, network.neighbour, network.edge, network.length_m, ways),
        *(network.shut_node, scratch.stamp, scratch.room),
    )
    network.scratches.give(scratch)
    return Path(nodes, links, float(length_m))


def _shortest_loop(network: Network, node: int, link: int, links: NDArray[np.int32]) -> Path:
    """Return the shortest loop through the link, or through the node by one of its `links`, closed."""
    if node >= 0:
        around = network.edge[network.indptr[node] : network.indptr[node + 1]]
        tried = np.intersect1d(around, links)
    else:
        tried = np.array([link], np.int32)
    best = Path(_NOWHERE, _NOWHERE, np.inf)
    for each in tried.tolist():
        first, last = network.end[each : each + 1], network.start[each : each + 1]
        rest = _shortest(network, first, last, walk.BOTH, without=each)
        length_m = rest.length_m + float(network.length_m[each])
        if length_m < best.length_m:
            best = Path(np.append(last, rest.nodes), np.append(np.int32(each), rest.links), length_m)
    return best
