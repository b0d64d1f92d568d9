"""Compiled walks over the cells and doors of a network; see `twin.network.isolation.Cells` for the arrays."""

# ruff: noqa: PLR0917  # compiled functions take plain arrays by position

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLOSABLE, SHUT, ONE_WAY = 0, 1, 2


@nb.njit(cache=True)
def labelled(
    indptr: NDArray[np.int32],
    neighbour: NDArray[np.int32],
    edge: NDArray[np.int32],
    door_link: NDArray[np.bool_],
    door_node: NDArray[np.bool_],
) -> tuple[
    NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]
]:
    """Return `node_cell`, `link_cell`, `node_ptr`, `nodes`, `link_ptr` and `links` of the cells that have members."""
    n, m = len(door_node), len(door_link)
    node_cell, link_cell = np.full(n, -1, np.int32), np.full(m, -1, np.int32)
    nodes, links = np.empty(n, np.int32), np.empty(m, np.int32)
    node_ptr, link_ptr = np.zeros(n + m + 1, np.int32), np.zeros(n + m + 1, np.int32)
    cell = node_count = link_count = 0
    for first in range(n):
        if door_node[first] or node_cell[first] >= 0:
            continue
        node_cell[first] = cell
        nodes[node_count] = first
        at, node_count = node_count, node_count + 1
        while at < node_count:
            node = nodes[at]
            at += 1
            for i in range(indptr[node], indptr[node + 1]):
                link = edge[i]
                if door_link[link]:
                    continue
                if link_cell[link] < 0:
                    link_cell[link] = cell
                    links[link_count] = link
                    link_count += 1
                other = neighbour[i]
                if node_cell[other] < 0 and not door_node[other]:
                    node_cell[other] = cell
                    nodes[node_count] = other
                    node_count += 1
        cell += 1
        node_ptr[cell], link_ptr[cell] = node_count, link_count
    for link in range(m):  # between two node valves
        if link_cell[link] < 0 and not door_link[link]:
            link_cell[link] = cell
            links[link_count] = link
            link_count += 1
            cell += 1
            node_ptr[cell], link_ptr[cell] = node_count, link_count
    return (
        node_cell,
        link_cell,
        node_ptr[: cell + 1].copy(),
        nodes[:node_count].copy(),
        link_ptr[: cell + 1].copy(),
        links[:link_count].copy(),
    )


@nb.njit(cache=True)
def sides_of(
    indptr: NDArray[np.int32],
    turn: NDArray[np.int32],
    edge: NDArray[np.int32],
    start: NDArray[np.int32],
    end: NDArray[np.int32],
    node_cell: NDArray[np.int32],
    link_cell: NDArray[np.int32],
    count: int,
    door_links: NDArray[np.int32],
    door_nodes: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return `side_ptr`, `side`, `door_ptr` and `doors`; `count` cells have members.

    Where a link door meets a node door there is nothing between: a cell without members, numbered from `count`.
    """
    of_links = len(door_links)
    doors_in_all = of_links + len(door_nodes)
    door_of_link = np.full(len(start), -1, np.int32)
    side_ptr = np.zeros(doors_in_all + 1, np.int32)
    for door in range(of_links):
        door_of_link[door_links[door]] = door
        side_ptr[door + 1] = side_ptr[door] + 2
    for at in range(len(door_nodes)):
        node = door_nodes[at]
        side_ptr[of_links + at + 1] = side_ptr[of_links + at] + indptr[node + 1] - indptr[node]
    side = np.empty(side_ptr[doors_in_all], np.int32)
    for at in range(2 * of_links):
        link = door_links[at // 2]
        cell = node_cell[end[link] if at % 2 else start[link]]
        if cell < 0:
            cell = count
            count += 1
        side[at] = cell
    for at in range(len(door_nodes)):
        node = door_nodes[at]
        for i in range(indptr[node], indptr[node + 1]):
            cell = link_cell[edge[i]]
            if cell < 0:
                cell = side[2 * door_of_link[edge[i]] + (1 if i >= turn[node] else 0)]
            side[side_ptr[of_links + at] + i - indptr[node]] = cell
    return side_ptr, side, *_turned(side_ptr, side, count)


@nb.njit(cache=True)
def _turned(
    side_ptr: NDArray[np.int32], side: NDArray[np.int32], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the doors of each of `count` cells, from the cells of each door."""
    door_ptr = np.zeros(count + 1, np.int32)
    for cell in side:
        door_ptr[cell + 1] += 1
    for cell in range(count):
        door_ptr[cell + 1] += door_ptr[cell]
    free = door_ptr[:-1].copy()
    doors = np.empty(len(side), np.int32)
    for door in range(len(side_ptr) - 1):
        for cell in side[side_ptr[door] : side_ptr[door + 1]]:
            doors[free[cell]] = door
            free[cell] += 1
    return door_ptr, doors


@nb.njit(cache=True)
def _entered(
    wanted: NDArray[np.int32], stamp: int, cell_seen: NDArray[np.int32], cells: NDArray[np.int32], count: int
) -> int:
    """Append those of `wanted` that were not seen to the first `count` of `cells`, and return how many there are."""
    for cell in wanted:
        if cell_seen[cell] != stamp:
            cell_seen[cell] = stamp
            cells[count] = cell
            count += 1
    return count


@nb.njit(cache=True)
def _all_seen(cells: NDArray[np.int32], stamp: int, cell_seen: NDArray[np.int32]) -> bool:
    for cell in cells:  # noqa: SIM110  # compiled
        if cell_seen[cell] != stamp:
            return False
    return True


@nb.njit(cache=True)
def _among(door: Any, doors: NDArray[np.int32]) -> bool:
    for each in doors:  # noqa: SIM110  # compiled
        if each == door:
            return True
    return False


@nb.njit(cache=True)
def enclosed(
    first: NDArray[np.int32],
    open_doors: NDArray[np.int32],
    side_ptr: NDArray[np.int32],
    side: NDArray[np.int32],
    door_ptr: NDArray[np.int32],
    doors: NDArray[np.int32],
    state: NDArray[np.uint8],
    stamp: int,
    room: NDArray[np.int32],
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the cells that hang together with `first` through one-way doors and `open_doors`, and the doors met.

    A door with all its sides inside is given as its complement (~door). `stamp` and `room` are a scratch's.
    """
    c, d = len(door_ptr) - 1, len(state)
    cell_seen, door_seen = room[:c], room[c : c + d]
    cells, met = room[c + d : 2 * c + d], room[2 * c + d :]
    met_count = at = 0
    count = _entered(first, stamp, cell_seen, cells, 0)
    while at < count:
        cell = cells[at]
        at += 1
        for i in range(door_ptr[cell], door_ptr[cell + 1]):
            door = doors[i]
            if door_seen[door] == stamp:
                continue
            door_seen[door] = stamp
            met[met_count] = door
            met_count += 1
            if state[door] == ONE_WAY or _among(door, open_doors):
                count = _entered(side[side_ptr[door] : side_ptr[door + 1]], stamp, cell_seen, cells, count)
    out = met[:met_count].copy()
    for i in range(met_count):
        if _all_seen(side[side_ptr[out[i]] : side_ptr[out[i] + 1]], stamp, cell_seen):
            out[i] = ~out[i]
    return cells[:count].copy(), out


@nb.njit(cache=True)
def _found(wanted: NDArray[np.int32], found: NDArray[np.bool_], queue: NDArray[np.int32], waiting: int) -> int:
    for cell in wanted:
        if not found[cell]:
            found[cell] = True
            queue[waiting] = cell
            waiting += 1
    return waiting


@nb.njit(cache=True)
def reached(
    sources: NDArray[np.int32],
    gone: NDArray[np.int32],
    closed: NDArray[np.int32],
    side_ptr: NDArray[np.int32],
    side: NDArray[np.int32],
    door_ptr: NDArray[np.int32],
    doors: NDArray[np.int32],
    state: NDArray[np.uint8],
    link_doors: int,
) -> NDArray[np.bool_]:
    """Return which cells a source reaches, those in `gone` and the doors `closed` left out.

    The first `link_doors` doors are links: a one-way one lets from its first side to its second only.
    """
    count = len(door_ptr) - 1
    found = np.zeros(count, np.bool_)
    shut = state == SHUT
    for door in closed:
        shut[door] = True
    for cell in gone:
        found[cell] = True
    queue = np.empty(count, np.int32)
    at = 0
    waiting = _found(sources, found, queue, 0)
    while at < waiting:
        cell = queue[at]
        at += 1
        for i in range(door_ptr[cell], door_ptr[cell + 1]):
            door = doors[i]
            if shut[door] or (state[door] == ONE_WAY and door < link_doors and side[side_ptr[door]] != cell):
                continue
            waiting = _found(side[side_ptr[door] : side_ptr[door + 1]], found, queue, waiting)
    for cell in gone:
        found[cell] = False
    return found


@nb.njit(cache=True)
def dry_doors(
    before: NDArray[np.bool_], after: NDArray[np.bool_], side_ptr: NDArray[np.int32], side: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return the doors that had a supplied side `before` and have none `after`."""
    out = np.empty(len(side_ptr) - 1, np.int32)
    count = 0
    for door in range(len(out)):
        had = has = False
        for i in range(side_ptr[door], side_ptr[door + 1]):
            had = had or before[side[i]]
            has = has or after[side[i]]
        if had and not has:
            out[count] = door
            count += 1
    return out[:count].copy()


@nb.njit(cache=True)
def gathered(ptr: NDArray[np.int32], values: NDArray[np.int32], rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the values of `rows` of a CSR, one row after the other."""
    count = 0
    for row in rows:
        count += ptr[row + 1] - ptr[row]
    out = np.empty(count, values.dtype)
    count = 0
    for row in rows:
        for i in range(ptr[row], ptr[row + 1]):
            out[count] = values[i]
            count += 1
    return out
