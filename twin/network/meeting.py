"""Where ends of pipes and nodes meet in plan, by distance; systems never meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray


def places(points: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return x, y, z of points (n, 3): all NaN where one is missing or empty, z NaN where it has none."""
    drawn = points.copy()
    drawn[shapely.is_empty(points)] = None
    return np.column_stack([shapely.get_x(drawn), shapely.get_y(drawn), shapely.get_z(drawn)]).reshape(-1, 3)


def apart(xy: NDArray[np.float64], system: NDArray[np.int64], within_m: float) -> NDArray[np.float64]:
    """Return points (n, 3) for a search within `within_m`: `xy` (n, 2), and systems too far apart to be found."""
    return np.column_stack([xy, system * (4.0 * within_m + 1.0)]).astype(np.float64)


def nearest(
    points: NDArray[np.float64], sites: NDArray[np.float64], within_m: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return for each of `points` (n, 3) the nearest of `sites` (m, 3), both of `apart`, and how far it is.

    The index is -1 and the distance infinite where none lies within `within_m`, that distance included.
    """
    if not len(sites) or not len(points):
        return np.full(len(points), -1), np.full(len(points), np.inf)
    reach = np.nextafter(within_m, np.inf)  # the tree takes what is nearer than this
    distance, index = KDTree(sites).query(points, distance_upper_bound=reach)
    return np.where(np.isfinite(distance), index, -1).astype(np.int64), distance


def leaders(points: NDArray[np.float64], within_m: float) -> NDArray[np.int64]:
    """Return for each of `points` (n, 3) of `apart` the index of the point that it gathers at.

    No point lies farther than `within_m` from the one it gathers at, and no two of those lie that near to each other
    (single-linkage clusters would chain). Where most points coincide leads first, then the earlier one, so that as
    few as can be are moved, and a second run finds the same.
    """
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    places, first, place_of, count = np.unique(
        points, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    pairs = KDTree(places).query_pairs(within_m, output_type="ndarray")
    leading = np.ones(len(places), dtype=bool)
    if len(pairs):
        leading[np.unique(pairs)] = False
        beside: dict[int, list[int]] = {}
        for one, other in pairs.tolist():
            beside.setdefault(one, []).append(other)
            beside.setdefault(other, []).append(one)
        taken: set[int] = set()
        for place in sorted(beside, key=lambda index: (-count[index], first[index])):
            if place not in taken:
                leading[place] = True
                taken.update(beside[place])
    chosen = np.flatnonzero(leading)
    _, at = KDTree(places[chosen]).query(places)
    return first[chosen[at]][place_of.ravel()]
