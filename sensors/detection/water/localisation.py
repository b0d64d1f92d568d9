"""Localisation: the pipes of a hydraulic model as places of leaks, what a leak in each does, and how far they are.

A leak somewhere along a pipe acts as one that is shared by its two ends. Distances go along the pipes, from middle to
middle, which is how BattLeDIM (Vrachimis et al., J. Water Resour. Plann. Manage. 148 (2022) 04022068) counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import dijkstra

from sensors.detection import Candidate
from sensors.hydraulics.network_model import NetworkModel
from twin.asset import AssetId, asset_id

REACH_M = 1000.0
"""Pipes further apart are simply far."""
FASTEST_MPS = 15.0
"""No leak lets out more than its pipe torn off at 30 m of pressure: Cd √(2 g h) with Cd = 0.6, over the whole bore."""
_REMEMBERED = 256
_SHORTEST_M = 1e-3  # a link without length joins its ends all the same: zero is no entry of a sparse matrix


class PipePlaces:
    """The p pipes of `model`, whose asset ids begin with `source`.

    `ends` (2, p) are the rows of their nodes, `length_m` (p,) how long they are.

    >>> import tempfile, pathlib
    >>> from sensors.hydraulics.network_model import Measured
    >>> inp = pathlib.Path(tempfile.mkdtemp()) / "street.inp"
    >>> _ = inp.write_text('''
    ... [JUNCTIONS]
    ...  A 0 1
    ...  B 0 1
    ... [RESERVOIRS]
    ...  R 50
    ... [PIPES]
    ...  P1 R A 100 200 100
    ...  P2 A B 300 200 100
    ... [OPTIONS]
    ...  UNITS LPS
    ...  HEADLOSS H-W
    ... [END]
    ... ''')
    >>> with NetworkModel(inp, Measured(pressures=["A", "B"])) as model:
    ...     pipes = PipePlaces("street.inp", model)
    >>> pipes.assets[1], pipes.distance(0).tolist()
    ('street.inp:link:P2', [0.0, 200.0])
    """

    def __init__(self, source: str, model: NetworkModel) -> None:
        rows = np.flatnonzero(model.pipe)
        self.assets: Sequence[AssetId] = [asset_id(source, "link", model.links[row]) for row in rows]
        self._start, self._end = model.start[rows], model.end[rows]
        self.ends = np.stack((self._start, self._end))
        self.length_m = model.length_m[rows]
        self.most_m3s = math.pi / 4 * model.diameter_m[rows] ** 2 * FASTEST_MPS
        size = len(model.nodes)
        length = np.maximum(model.length_m, _SHORTEST_M)
        both = (np.r_[model.start, model.end], np.r_[model.end, model.start])
        order = np.argsort(-np.r_[length, length], kind="stable")  # of parallel pipes the shorter one is kept
        joined = {(int(both[0][k]), int(both[1][k])): float(length[k % len(length)]) for k in order}
        at = np.array(list(joined), np.int64).reshape(-1, 2)
        self._graph: csr_array = coo_array((list(joined.values()), (at[:, 0], at[:, 1])), shape=(size, size)).tocsr()
        self.distance = lru_cache(_REMEMBERED)(self._distances)

    def signatures(self, model: NetworkModel, share: float) -> NDArray[np.float64]:
        """Return what one m³/s that is lost in each pipe does: (p, sensors + parts).

        Taken with a loss of `share` of all demand. Pressures at the sensors in Pa, then the draw of each part whose
        demand is known (`NetworkModel.parts`), m³/s.
        """
        pressures = model.sensitivity(share)[self.ends].mean(axis=0)
        draws = (model.part[self.ends][:, :, None] == model.parts).mean(axis=0)
        return np.hstack((pressures, draws))

    def candidates(self, place: int, weights: Sequence[tuple[int, float]], most: int) -> tuple[Candidate, ...]:
        """Return the likeliest pipes of a leak told to be at `place`, which comes first, with how far they are."""
        far = self.distance(place)
        chance = dict(weights)
        rows = [place, *(row for row, _ in weights if row != place)][:most]
        return tuple(
            Candidate(self.assets[row], chance.get(row, 0.0), float(far[row]) if np.isfinite(far[row]) else None)
            for row in rows
        )

    def _distances(self, place: int) -> NDArray[np.float64]:
        """Return how far all pipes are from one, m, (p,): infinite beyond REACH_M."""
        ends = [int(self._start[place]), int(self._end[place])]
        to_nodes = dijkstra(self._graph, indices=ends, limit=REACH_M).min(axis=0)
        far = np.minimum(to_nodes[self._start], to_nodes[self._end]) + (self.length_m + self.length_m[place]) / 2
        far[place] = 0.0
        return far
