"""How near lines come to each other in three dimensions: many against many, through an R-tree and a compiled kernel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import shapely
from numba import njit
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

Geometries: TypeAlias = Sequence[BaseGeometry] | NDArray[np.object_]
Flattened: TypeAlias = tuple[NDArray[np.float64], NDArray[np.int64]]

_PARALLEL = 1e-12
"""Squared sine of the angle below which two segments count as parallel: their ends then decide the distance."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Lines that come within a clearance of each other: n pairs, ordered by `a`, then `b`.

    `a` and `b` (n,) index the two inputs. `distance_m` (n,) is the least distance of the two axes in space, or in plan
    where `flat` (n,) says that a height is missing; `plan_m` (n,) is the least distance in plan. `rise_m` (n,) is the
    height of `a` over `b` where they are nearest in plan, nan where `flat`. `at_a` and `at_b` (n, 2) are easting and
    northing of the points on either that are nearest to each other.
    """

    a: NDArray[np.intp]
    b: NDArray[np.intp]
    distance_m: NDArray[np.float64]
    plan_m: NDArray[np.float64]
    rise_m: NDArray[np.float64]
    flat: NDArray[np.bool_]
    at_a: NDArray[np.float64]
    at_b: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.a)

    def where(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return the pairs of the mask `chosen` (n,)."""
        parts = (getattr(self, name)[chosen] for name in Pairs.__slots__)
        return Pairs(*parts)


class Lines:
    """Lines (or points) that are looked through again and again: an R-tree of their plan, and their coordinates.

    `geometries` stand in one projected CRS, metres; missing (None) and empty ones are near nothing.
    """

    def __init__(self, geometries: Geometries) -> None:
        self.geometries = np.asarray(geometries, dtype=object)
        self.begins = np.zeros(len(self.geometries) + 1, np.int64)
        np.cumsum(shapely.get_num_coordinates(self.geometries), out=self.begins[1:])
        self.xyz = np.ascontiguousarray(shapely.get_coordinates(self.geometries, include_z=True))

    def __len__(self) -> int:
        return len(self.geometries)

    @cached_property
    def plan(self) -> NDArray[np.object_]:
        """What they look like from above: an upright line is a point (GEOS finds no line of length zero)."""
        upright = (shapely.length(self.geometries) == 0) & ~shapely.is_empty(self.geometries)
        upright &= ~shapely.is_missing(self.geometries)
        if not upright.any():
            return self.geometries
        seen = self.geometries.copy()
        seen[upright] = shapely.points(self.xyz[self.begins[:-1][upright], :2])
        return seen

    @cached_property
    def tree(self) -> shapely.STRtree:
        """The R-tree of `plan`."""
        return shapely.STRtree(self.plan)


def near(lines_a: Geometries | Lines, lines_b: Geometries | Lines, clearance_m: float | NDArray[np.float64]) -> Pairs:
    """Return which lines of `lines_a` and `lines_b` come within `clearance_m` of each other, and how near.

    `clearance_m` is one number, or one for each of `lines_a` (n,). Segment against segment: the least of the four
    distances from an end, and of the one between their common perpendicular's feet where both lie inside (Ericson,
    Real-Time Collision Detection, 2005, 5.1.9).
    """
    first = lines_a if isinstance(lines_a, Lines) else Lines(lines_a)
    second = lines_b if isinstance(lines_b, Lines) else Lines(lines_b)
    if not len(first) or not len(second):
        return _no_pairs()
    a, b = second.tree.query(first.plan, predicate="dwithin", distance=clearance_m)
    measured = _measure((first.xyz, first.begins), (second.xyz, second.begins), a, b)
    close = measured[:, 0] <= np.broadcast_to(np.asarray(clearance_m, np.float64), (len(first),))[a]
    order = np.lexsort((b[close], a[close]))
    a, b, measured = a[close][order], b[close][order], measured[close][order]
    return Pairs(
        a,
        b,
        distance_m=measured[:, 0],
        plan_m=measured[:, 1],
        rise_m=measured[:, 2],
        flat=np.isnan(measured[:, 2]),
        at_a=measured[:, 3:5],
        at_b=measured[:, 5:7],
    )


def _no_pairs() -> Pairs:
    none, index, points = np.empty(0), np.empty(0, np.intp), np.empty((0, 2))
    return Pairs(index, index, none, none, none, np.empty(0, bool), points, points)


@njit(cache=True)
def _measure(  # pragma: no cover  # compiled
    lines_a: Flattened, lines_b: Flattened, a: NDArray[np.intp], b: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Return a row a pair: distance, distance in plan, rise, x and y on a, x and y on b."""
    (xyz_a, begins_a), (xyz_b, begins_b) = lines_a, lines_b
    out = np.empty((len(a), 7))
    for n in range(len(a)):
        first_a, last_a = begins_a[a[n]], begins_a[a[n] + 1] - 1
        first_b, last_b = begins_b[b[n]], begins_b[b[n] + 1] - 1
        flat = False
        for i in range(first_a, last_a + 1):
            flat = flat or math.isnan(xyz_a[i, 2])
        for j in range(first_b, last_b + 1):
            flat = flat or math.isnan(xyz_b[j, 2])
        space = plan = math.inf
        for i in range(first_a, max(last_a, first_a + 1)):
            p, q = xyz_a[i], xyz_a[min(i + 1, last_a)]
            for j in range(first_b, max(last_b, first_b + 1)):
                r, s = xyz_b[j], xyz_b[min(j + 1, last_b)]
                square, t, u = _nearest(p, q, r, s, 2)
                if square < plan:
                    plan = square
                    out[n, 2] = math.nan if flat else p[2] + t * (q[2] - p[2]) - r[2] - u * (s[2] - r[2])
                if not flat:
                    square, t, u = _nearest(p, q, r, s, 3)
                if square < space:
                    space = square
                    for k in range(2):
                        out[n, 3 + k] = p[k] + t * (q[k] - p[k])
                        out[n, 5 + k] = r[k] + u * (s[k] - r[k])
        out[n, 0], out[n, 1] = math.sqrt(space), math.sqrt(plan)
    return out


@njit(cache=True)
def _nearest(  # pragma: no cover  # compiled
    p: NDArray[np.float64], q: NDArray[np.float64], r: NDArray[np.float64], s: NDArray[np.float64], axes: int
) -> tuple[float, float, float]:
    """Return the squared distance of segments pq and rs in the first `axes` axes, and where along each (0 to 1)."""
    along_a = along_b = across = from_r = from_r_b = 0.0
    for k in range(axes):
        u, v, w = q[k] - p[k], s[k] - r[k], p[k] - r[k]
        along_a += u * u
        along_b += v * v
        across += u * v
        from_r += u * w
        from_r_b += v * w
    best, best_t, best_u = math.inf, 0.0, 0.0
    for end in range(5):
        if end < 2:  # an end of pq against rs
            t = float(end)
            u = _within((from_r_b + t * across) / along_b) if along_b > 0.0 else 0.0
        elif end < 4:  # an end of rs against pq
            u = float(end - 2)
            t = _within((u * across - from_r) / along_a) if along_a > 0.0 else 0.0
        else:
            size = along_a * along_b - across * across
            if size <= _PARALLEL * along_a * along_b:
                break
            t = (across * from_r_b - from_r * along_b) / size
            u = (along_a * from_r_b - across * from_r) / size
            if not (0.0 <= t <= 1.0 and 0.0 <= u <= 1.0):
                break
        square = 0.0
        for k in range(axes):
            gap = p[k] + t * (q[k] - p[k]) - r[k] - u * (s[k] - r[k])
            square += gap * gap
        if square < best:
            best, best_t, best_u = square, t, u
    return best, best_t, best_u


@njit(cache=True)
def _within(share: float) -> float:  # pragma: no cover  # compiled
    return min(max(share, 0.0), 1.0)
