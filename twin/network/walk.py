"""Compiled walks over a network in CSR arrays, and the scratch memory that keeps a small walk small."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOTH, ALONG, AGAINST = 0, 1, 2
"""How a walk goes: whichever way, with the flow, against it."""


@dataclass(slots=True, eq=False)
class Scratch:
    """What one walk notes: a stamp a node and a link, and the nodes and links that it met, in order.

    Nothing is cleared between walks: what bears the stamp of this walk was seen in it.
    """

    stamp: int
    node_seen: NDArray[np.int32]
    link_seen: NDArray[np.int32]
    nodes: NDArray[np.int32]
    links: NDArray[np.int32]


class Scratches:
    """The scratches of one network: a walk takes a free one or makes another (list operations are atomic)."""

    def __init__(self, nodes: int, links: int) -> None:
        self._counts = nodes, links
        self._free: list[Scratch] = []

    @contextmanager
    def taken(self) -> Iterator[Scratch]:
        """Give a scratch with a fresh stamp, and take it back."""
        try:
            scratch = self._free.pop()
        except IndexError:
            n, m = self._counts
            scratch = Scratch(0, *(np.zeros(count, np.int32) for count in (n, m, n, m)))
        scratch.stamp += 1
        try:
            yield scratch
        finally:
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
