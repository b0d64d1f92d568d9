"""How links hang together: nodes, and which of them each link's ends are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from twin.audit.join import Join
from twin.network.meeting import apart, places

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes and how links join them; the stated nodes come first, in the order of their table.

    `xy` (n, 2) of each node: the middle of its cell (grid) or of its ends (cluster) where ends are joined by place, a
    stated one's own place where they are named, or in a cluster.
    `stated` counts the stated nodes. `start` and `end` are the node of each link's ends, -1 where it has neither a
    name nor a place; `named` (links, 2) says which ends a name joined, `missing` which name a node that is not there.
    `system` is the number of each node's system, `link_system` of each link's. `degree` counts link ends, loops twice.
    """

    xy: NDArray[np.float64]
    stated: int
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    named: NDArray[np.bool_]
    missing: NDArray[np.bool_]
    system: NDArray[np.int64]
    link_system: NDArray[np.int64]
    degree: NDArray[np.int64]

    @staticmethod
    def of(nodes: pd.DataFrame, links: pd.DataFrame, *, tolerance: float, join: Join) -> Topology:
        """Join the `links` (columns start, end, system, geometry) and `nodes` (index = asset id; system, geometry).

        `tolerance` is the cell of the grid or the step of a cluster, in the unit of the coordinates; 0 joins only what
        is equal.
        """
        codes = pd.factorize(np.concatenate([_array(nodes, "system"), _array(links, "system")]))[0].astype(np.int64)
        node_system, link_system = codes[: len(nodes)], codes[len(nodes) :]
        ends = np.column_stack([_array(links, "start"), _array(links, "end")]).reshape(-1, 2)
        names = pd.Index(_array(nodes, "asset"))
        at = np.column_stack([names.get_indexer(pd.Index(ends[:, side])) for side in (0, 1)]).astype(np.int64)
        given = ~pd.isna(ends)
        lines = _array(links, "geometry")
        ends_xy = np.stack([places(shapely.get_point(lines, vertex))[:, :2] for vertex in (0, -1)], axis=1)
        own = places(_array(nodes, "geometry"))[:, :2]
        loose = (at < 0) & np.isfinite(ends_xy).all(axis=2)
        at[loose], made, made_system = _gathered(
            own, node_system, ends_xy[loose], np.column_stack([link_system] * 2)[loose], tolerance=tolerance, join=join
        )
        start, end = at.T
        if join is Join.GRID and tolerance:  # a point that ends meet at by place is measured from as they are
            met = np.setdiff1d(at[loose & (at < len(own))], at[given & ~loose])
            own[met] = np.round(own[met] / tolerance) * tolerance
        xy = np.concatenate([own, made])
        degree = np.bincount(at[at >= 0], minlength=len(xy))
        system = np.concatenate([node_system, made_system])
        named = given & ~loose & (at >= 0)
        return Topology(xy, len(own), start, end, named, given & ~named, system, link_system, degree)

    @property
    def joined(self) -> NDArray[np.bool_]:
        """Which links have both ends."""
        return (self.start >= 0) & (self.end >= 0)

    def components(self) -> tuple[int, NDArray[np.int64]]:
        """Return how many groups the nodes with links fall into, and each node's group, -1 of nodes without links."""
        both = self.joined
        start, end = self.start[both], self.end[both]
        size = len(self.xy)
        graph = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(size, size))
        _, label = connected_components(graph, directed=False)
        linked = self.degree > 0
        group = np.full(size, -1)
        kept, group[linked] = np.unique(label[linked], return_inverse=True)
        return len(kept), group

    def pairs(self) -> NDArray[np.int64]:
        """Return the two nodes of each link, the lower number first (links, 2)."""
        return np.sort(np.column_stack([self.start, self.end]), axis=1)


def _gathered(
    own: NDArray[np.float64],
    own_system: NDArray[np.int64],
    ends: NDArray[np.float64],
    end_system: NDArray[np.int64],
    *,
    tolerance: float,
    join: Join,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return the node of each loose end, and the places and systems of the nodes made, numbered after the stated."""
    drawn = np.flatnonzero(np.isfinite(own).all(axis=1))
    xy = np.concatenate([own[drawn], ends])
    system = np.concatenate([own_system[drawn], end_system])
    place = _cells(xy, system, tolerance) if join is Join.GRID else _clusters(xy, system, tolerance)
    size = int(place.max()) + 1 if len(place) else 0
    node = np.full(size, -1, dtype=np.int64)
    node[place[: len(drawn)][::-1]] = drawn[::-1]  # the first stated node of a place takes its ends
    of_end = place[len(drawn) :]
    new = np.unique(of_end[node[of_end] < 0])
    node[new] = len(own) + np.arange(len(new))
    fresh = node[of_end] >= len(own)
    index = node[of_end[fresh]] - len(own)
    count = np.bincount(index, minlength=len(new))[:, None]
    middle = np.column_stack([np.bincount(index, ends[fresh, axis], len(new)) for axis in (0, 1)]) / count
    if join is Join.GRID and tolerance:
        middle = np.round(middle / tolerance) * tolerance
    made_system = np.zeros(len(new), dtype=np.int64)
    made_system[index] = end_system[fresh]
    return node[of_end], middle, made_system


def _cells(xy: NDArray[np.float64], system: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    cell = np.round(xy / tolerance) if tolerance else xy
    return _numbered(np.column_stack([system.astype(np.float64), cell]))


def _clusters(xy: NDArray[np.float64], system: NDArray[np.int64], tolerance: float) -> NDArray[np.int64]:
    if not len(xy):
        return np.zeros(0, dtype=np.int64)
    pairs = KDTree(apart(xy, system, tolerance)).query_pairs(tolerance, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), tuple(pairs.T)), shape=(len(xy), len(xy)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _numbered(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return a number a row, the same for equal rows."""
    order = np.lexsort(rows.T)
    new = np.concatenate([[True], (np.diff(rows[order], axis=0) != 0).any(axis=1)])[: len(rows)]
    number = np.empty(len(rows), dtype=np.int64)
    number[order] = np.cumsum(new) - 1
    return number


def _array(frame: pd.DataFrame, column: str) -> NDArray[np.object_]:
    return frame[column].to_numpy(dtype=object)
