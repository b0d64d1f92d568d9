"""A building's outline on the ground, from the surfaces of its own walls and slabs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon

from twin.writers.glb import Surface

CLOSING_M = 0.3
"""Gaps up to twice this are closed: the joints between a curtain wall and its slab, doors in a wall's outline."""
TOLERANCE_M = 0.05
MIN_TRIANGLE_M2 = 1e-4
MIN_PART_M2 = 2.0
"""Smaller pieces are posts and frames that stand by themselves, no footprint."""
MAX_TRIANGLES = 20_000
"""Past this the convex hull is taken: a union of more triangles takes seconds."""


def outline(surfaces: Iterable[Surface]) -> Polygon | MultiPolygon | None:
    """Return what `surfaces` cover seen from above, holes filled, in their own frame (metres); None for nothing.

    Courtyards are filled too: the footprint of a building is its outer outline.
    """
    triangles = np.concatenate([_from_above(surface) for surface in surfaces] or [np.empty((0, 3, 2))])
    if not len(triangles):
        return None
    if len(triangles) > MAX_TRIANGLES:
        hull = shapely.convex_hull(shapely.multipoints(triangles.reshape(-1, 2)))
        return hull if isinstance(hull, Polygon) else None
    rings = np.concatenate([triangles, triangles[:, :1]], axis=1)
    covered = shapely.union_all(shapely.polygons(rings), grid_size=0.001)
    closed = covered.buffer(CLOSING_M, join_style="mitre").buffer(-CLOSING_M, join_style="mitre")
    filled = shapely.union_all(
        [Polygon(part.exterior) for part in shapely.get_parts(closed) if isinstance(part, Polygon)]
    )
    large = [part for part in shapely.get_parts(filled) if part.area >= MIN_PART_M2]
    whole = shapely.union_all(large).simplify(TOLERANCE_M)
    return whole if isinstance(whole, Polygon | MultiPolygon) and not whole.is_empty else None


def _from_above(surface: Surface) -> NDArray[np.float64]:
    """Return the triangles (n, 3, 2) of `surface` that have an area seen from above."""
    corners = surface.positions[surface.triangles][:, :, :2]
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    doubled = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return corners[np.abs(doubled) > 2 * MIN_TRIANGLE_M2]
