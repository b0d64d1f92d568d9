"""Which valves to close so that nothing reaches an asset, the next ring where one sticks, and what then is unsupplied.

The network is cut once into **cells**: what hangs together without a door between. **Doors** are the valves that can be
closed now, whatever is shut, and the links that let nothing back; a door lies between its sides, each in a cell. An
isolation is then a walk over cells, and a supply one over the cells that a source reaches; neither looks at the pipes
inside. (Valve segments: Walski, "Water distribution valve topology for reliability analysis", Reliability Engineering
and System Safety 42 (1993) 21-27.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from twin.network.cells import CLOSABLE, ONE_WAY, SHUT, dry_doors, enclosed, gathered, labelled, reached, sides_of
from twin.network.walk import Scratches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.network.graph import Network


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """A network cut at its doors: c cells, and d doors, those of links before those of nodes, each in their order.

    `node_cell` and `link_cell`: the cell of what is no door, else -1. ``nodes[node_ptr[c]:node_ptr[c + 1]]`` are the
    nodes of cell c, `links` and `link_ptr` likewise, ``doors[door_ptr[c]:door_ptr[c + 1]]`` the doors around it.
    ``side[side_ptr[d]:side_ptr[d + 1]]`` are the cells at door d, of a link its start's before its end's. `state` is
    CLOSABLE, SHUT or ONE_WAY. `supplied` says which cells a source reaches now.
    """

    node_cell: NDArray[np.int32]
    link_cell: NDArray[np.int32]
    node_ptr: NDArray[np.int32]
    nodes: NDArray[np.int32]
    link_ptr: NDArray[np.int32]
    links: NDArray[np.int32]
    door_links: NDArray[np.int32]
    door_nodes: NDArray[np.int32]
    state: NDArray[np.uint8]
    side_ptr: NDArray[np.int32]
    side: NDArray[np.int32]
    door_ptr: NDArray[np.int32]
    doors: NDArray[np.int32]
    sources: NDArray[np.int32]
    supplied: NDArray[np.bool_]
    scratches: Scratches

    @staticmethod
    def of(network: Network) -> Cells:
        """Cut `network`; take it from ``network.once(Cells.of)``, which does it once."""
        closable_link = network.valve_link & network.usable_link
        closable_node = network.valve_node & network.usable_node
        door_link = closable_link | network.shut_link | network.one_way
        door_node = closable_node | network.shut_node
        labels = labelled(network.indptr, network.neighbour, network.edge, door_link, door_node)
        node_cell, link_cell, node_ptr, nodes, link_ptr, links = labels
        door_links, door_nodes = (np.flatnonzero(door).astype(np.int32) for door in (door_link, door_node))
        side_ptr, side, door_ptr, doors = sides_of(
            *(network.indptr, network.turn, network.edge, network.start, network.end),
            *(node_cell, link_cell, len(node_ptr) - 1, door_links, door_nodes),
        )
        count = len(door_ptr) - 1
        state = np.full(len(door_links) + len(door_nodes), CLOSABLE, np.uint8)
        state[: len(door_links)][~closable_link[door_links]] = ONE_WAY
        state[np.concatenate((network.shut_link[door_links], network.shut_node[door_nodes]))] = SHUT
        sources = np.unique(node_cell[network.source]).astype(np.int32)
        return Cells(
            node_cell=node_cell,
            link_cell=link_cell,
            node_ptr=_stretched(node_ptr, count),
            nodes=nodes,
            link_ptr=_stretched(link_ptr, count),
            links=links,
            door_links=door_links,
            door_nodes=door_nodes,
            state=state,
            side_ptr=side_ptr,
            side=side,
            door_ptr=door_ptr,
            doors=doors,
            sources=sources,
            supplied=reached(sources, _NONE, _NONE, side_ptr, side, door_ptr, doors, state, len(door_links)),
            scratches=Scratches(count, len(state)),
        )

    def door(self, node: int, link: int) -> int:
        """Return the door that `node` (else `link`) is, -1 where it is none."""
        among, wanted, before = (
            (self.door_links, link, 0) if node < 0 else (self.door_nodes, node, len(self.door_links))
        )
        at = int(np.searchsorted(among, wanted))
        return at + before if at < len(among) and among[at] == wanted else -1

    def around(self, node: int, link: int) -> NDArray[np.int32]:
        """Return the cells at `node` (else `link`): its own, or those on its sides where it is a door."""
        if (door := self.door(node, link)) >= 0:
            return self.side[self.side_ptr[door] : self.side_ptr[door + 1]]
        cell = self.node_cell[node] if node >= 0 else self.link_cell[link]
        return np.array([cell], np.int32)

    def split(self, doors: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the nodes and the links that `doors` are."""
        of_links = doors < len(self.door_links)
        return self.door_nodes[doors[~of_links] - len(self.door_links)], self.door_links[doors[of_links]]

    def members(self, cells: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the nodes and the links in `cells`, doors not among them."""
        return _rows(self.node_ptr, self.nodes, cells), _rows(self.link_ptr, self.links, cells)


@dataclass(frozen=True, slots=True, eq=False)
class Isolation:
    """What has to be closed so that nothing reaches an asset, as indices into the network's nodes and links, int32.

    `nodes`, `links`: what is cut off with the asset, the valves inside among it. `valve_nodes`, `valve_links`: to close
    now. `shut_nodes`, `shut_links`: at its edge and shut already; they must stay so. `passed_nodes`, `passed_links`:
    valves inside that do not move, known or asked. `sources`: nodes inside that feed it and have no valve before them:
    as long as they run, closing the valves is not enough. `cells` and `doors` (to close) are what `unsupplied` needs.
    """

    nodes: NDArray[np.int32]
    links: NDArray[np.int32]
    valve_nodes: NDArray[np.int32]
    valve_links: NDArray[np.int32]
    shut_nodes: NDArray[np.int32]
    shut_links: NDArray[np.int32]
    passed_nodes: NDArray[np.int32]
    passed_links: NDArray[np.int32]
    sources: NDArray[np.int32]
    cells: NDArray[np.int32]
    doors: NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Unsupplied:
    """What a source reaches now and none reaches after a closure: indices of nodes and links, int32.

    `was_supplied` is False where no source reached the closed part before: then nothing can be said.
    """

    nodes: NDArray[np.int32]
    links: NDArray[np.int32]
    was_supplied: bool


def isolate(network: Network, asset: str, *, stuck: Sequence[str] = ()) -> Isolation:
    """Return what to close so that nothing reaches the node or link `asset`, passing over the valves `stuck`.

    A valve that is itself `asset` is isolated on all its sides. Raises UnknownError.
    """
    cells = network.once(Cells.of)
    node, link = network.find(asset)
    moveless = [network.find(each) for each in stuck]
    doors = [door for door in (cells.door(*each) for each in moveless) if door >= 0 and cells.state[door] != SHUT]
    doors.append(cells.door(node, link))
    scratch = cells.scratches.take()
    inside, met = enclosed(
        cells.around(node, link),
        np.array(doors, np.int32),
        *(cells.side_ptr, cells.side, cells.door_ptr, cells.doors, cells.state, scratch.stamp, scratch.room),
    )
    cells.scratches.give(scratch)
    edge = met[met >= 0]
    closing = edge[cells.state[edge] == CLOSABLE]
    nodes, links = (
        np.concatenate(parts) for parts in zip(cells.members(inside), cells.split(~met[met < 0]), strict=True)
    )
    if node >= 0 and not len(nodes):  # a valve that joins nothing
        nodes = np.array([node], np.int32)
    valve_nodes, valve_links = cells.split(closing)
    shut_nodes, shut_links = cells.split(edge[cells.state[edge] == SHUT])
    node_moves = network.usable_node[nodes] & ~np.isin(nodes, [node for node, _ in moveless])
    link_moves = network.usable_link[links] & ~np.isin(links, [link for _, link in moveless])
    return Isolation(
        nodes=nodes,
        links=links,
        valve_nodes=valve_nodes,
        valve_links=valve_links,
        shut_nodes=shut_nodes,
        shut_links=shut_links,
        passed_nodes=nodes[network.valve_node[nodes] & ~node_moves & ~network.shut_node[nodes]],
        passed_links=links[network.valve_link[links] & ~link_moves & ~network.shut_link[links]],
        sources=nodes[network.source[nodes]],
        cells=inside,
        doors=closing,
    )


def next_ring(network: Network, asset: str, valve: str, *, stuck: Sequence[str] = ()) -> Isolation:
    """Return what to close besides if `valve` sticks too: the isolation past it, without what is to close already."""
    now, then = isolate(network, asset, stuck=stuck), isolate(network, asset, stuck=(*stuck, valve))
    return replace(
        then,
        valve_nodes=np.setdiff1d(then.valve_nodes, now.valve_nodes),
        valve_links=np.setdiff1d(then.valve_links, now.valve_links),
    )


def unsupplied(network: Network, isolation: Isolation) -> Unsupplied:
    """Return what no source reaches any more once `isolation` is closed; the isolated part is among it."""
    cells = network.once(Cells.of)
    was_supplied = bool(cells.supplied[isolation.cells].any())
    return _lost(cells, isolation.cells, isolation.doors, was_supplied=was_supplied)


def unsupplied_behind(network: Network, valves: Sequence[str]) -> Unsupplied:
    """Return what no source reaches any more once just `valves` are closed; raises UnknownError.

    Anything that is no valve that can be closed is isolated by its own valves first.
    """
    cells = network.once(Cells.of)
    around, inside, doors = [_NONE], [_NONE], [_NONE]
    for valve in valves:
        node, link = network.find(valve)
        around.append(cells.around(node, link))
        door = cells.door(node, link)
        if door >= 0 and cells.state[door] != ONE_WAY:
            doors.append(np.array([door], np.int32))
        else:
            cut = isolate(network, valve)
            inside.append(cut.cells)
            doors.append(cut.doors)
    was_supplied = bool(cells.supplied[np.concatenate(around)].any())
    return _lost(cells, np.concatenate(inside), np.concatenate(doors), was_supplied=was_supplied)


_NONE = np.zeros(0, np.int32)


def _lost(cells: Cells, gone: NDArray[np.int32], closed: NDArray[np.int32], *, was_supplied: bool) -> Unsupplied:
    still = reached(
        *(cells.sources, gone, closed),
        *(cells.side_ptr, cells.side, cells.door_ptr, cells.doors, cells.state, len(cells.door_links)),
    )
    nodes, links = cells.members(np.flatnonzero(cells.supplied & ~still).astype(np.int32))
    node_doors, link_doors = cells.split(dry_doors(cells.supplied, still, cells.side_ptr, cells.side))
    return Unsupplied(np.concatenate((nodes, node_doors)), np.concatenate((links, link_doors)), was_supplied)


def _rows(ptr: NDArray[np.int32], values: NDArray[np.int32], rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the values of `rows` of a CSR, one row after the other."""
    if len(rows) == 1:
        return values[ptr[rows[0]] : ptr[rows[0] + 1]]
    return gathered(ptr, values, rows)


def _stretched(ptr: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Return `ptr` for `count` rows, those that it lacks empty."""
    return np.concatenate((ptr, np.full(count + 1 - len(ptr), ptr[-1], np.int32)))
