"""Pipes as ways: how far assets of one input file are from one another along them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from sensors.simulation.places import name_of
from twin.readers.inp import read_inp


class Web:
    """Pipes of the input file `inp` as (name, start, end, length in m); a length of 0 is not known."""

    def __init__(self, inp: Path, links: Sequence[tuple[str, str, str, float]]) -> None:
        self.source = inp.name
        self._ends = {name: (start, end) for name, start, end, _ in links}
        self._xy = {
            line.text(0, "node"): (line.number_at(1, "x"), line.number_at(2, "y"))
            for line in read_inp(inp, ("COORDINATES",)).lines("COORDINATES")
        }
        self._length = {name: length or self._straight_m(start, end) for name, start, end, length in links}
        self._number = {name: n for n, name in enumerate(sorted({end for ends in self._ends.values() for end in ends}))}
        rows, columns = ([self._number[ends[side]] for ends in self._ends.values()] for side in (0, 1))
        shape = (len(self._number), len(self._number))
        lengths = np.maximum([self._length[name] for name in self._ends], 0.01)
        self._metres = csr_array((lengths, (rows, columns)), shape=shape)
        self._steps = csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)

    def end_of(self, asset: str) -> str:
        """Return the asset of the node at the end of a pipe; a node is its own."""
        name = name_of(asset)
        return f"{self.source}:node:{self._ends[name][1]}" if ":link:" in asset and name in self._ends else asset

    def between_m(self, asset: str, other: str) -> float | None:
        """Return the way along the pipes from the middle of `asset` to the nearest end of `other`, None for no way."""
        if asset == other:
            return 0.0
        way = self._way(self._metres, asset, other)
        half = self._length.get(name_of(asset), 0.0) / 2 if ":link:" in asset else 0.0
        return None if way is None else way + half

    def hops(self, asset: str, other: str) -> int | None:
        """Return how many pipes lie between two assets."""
        way = self._way(self._steps, asset, other)
        return None if way is None else round(way)

    def longest_m(self, asset: str) -> float:
        """Return the length of the longest pipe at a node (or of the pipe itself and those beside it)."""
        nodes = set(self._nodes(asset))
        return max((self._length[name] for name, ends in self._ends.items() if nodes & set(ends)), default=0.0)

    def points(self, asset: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the ends (n, 2) of an asset and, of a pipe, its middle; easting and northing."""
        ends = [self._xy[node] for node in self._nodes(asset) if node in self._xy]
        found = np.array(ends, np.float64).reshape(-1, 2)
        return np.vstack([found, found.mean(axis=0)]) if len(found) else found

    def _straight_m(self, start: str, end: str) -> float:
        """Return how far two nodes are apart: the length of a valve or pump, which its file does not give."""
        return math.dist(self._xy[start], self._xy[end]) if start in self._xy and end in self._xy else 0.0

    def _nodes(self, asset: str) -> Sequence[str]:
        name = name_of(asset)
        return self._ends.get(name, ()) if ":link:" in asset else (name,)

    def _way(self, weights: Any, asset: str, other: str) -> float | None:
        here, there = ([self._number[n] for n in self._nodes(each) if n in self._number] for each in (asset, other))
        if not here or not there:
            return None
        found = dijkstra(weights, directed=False, indices=here, min_only=True)[there].min()
        return float(found) if math.isfinite(found) else None


__all__ = ["Web"]
