"""Triangles of buildings and pipes: footprints raised to their height, lines made into tubes, all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

SIDES = 8
"""Sides of a tube: at eight a pipe looks round from where one sees its neighbours too."""


@dataclass(frozen=True, slots=True)
class Triangles:
    """Triangles of many things: `positions` and unit `normals` (n, 3), easting, northing, height; `corners` (m, 3).

    Corners run counter-clockwise seen from outside; `owners` (n,) says which thing each position is of.
    """

    positions: NDArray[np.float64]
    normals: NDArray[np.float64]
    corners: NDArray[np.int32]
    owners: NDArray[np.intp]


def extruded(footprints: NDArray[np.object_], bottom: NDArray[np.float64], top: NDArray[np.float64]) -> Triangles:
    """Return the walls, roofs and floors of footprints (polygons, n) raised from `bottom` to `top` (n,), metres."""
    parts, owners = shapely.get_parts(footprints, return_index=True)
    parts = shapely.orient_polygons(shapely.force_2d(parts))
    return _joined([_walls(parts, owners, bottom, top), *_caps(parts, owners, bottom, top)])


def _walls(
    parts: NDArray[np.object_], owners: NDArray[np.intp], bottom: NDArray[np.float64], top: NDArray[np.float64]
) -> Triangles:
    rings, of = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    along = np.flatnonzero(ring[1:] == ring[:-1])
    along = along[(points[along] != points[along + 1]).any(axis=1)]
    first, second = points[along], points[along + 1]
    owner = owners[of[ring[along]]]
    # Outer rings run counter-clockwise and holes clockwise, so outside is always on the right.
    step = second - first
    outward = np.column_stack([step[:, 1], -step[:, 0], np.zeros(len(step))])
    outward /= np.linalg.norm(outward, axis=1)[:, None]
    low, high = bottom[owner], top[owner]
    quads = np.stack(
        [np.column_stack([xy, z]) for xy, z in ((first, low), (second, low), (second, high), (first, high))], axis=1
    )
    corners = np.array([[0, 1, 2], [0, 2, 3]]) + 4 * np.arange(len(quads))[:, None, None]
    return Triangles(
        quads.reshape(-1, 3),
        np.repeat(outward, 4, axis=0),
        corners.reshape(-1, 3).astype(np.int32),
        np.repeat(owner, 4),
    )


def _caps(
    parts: NDArray[np.object_], owners: NDArray[np.intp], bottom: NDArray[np.float64], top: NDArray[np.float64]
) -> tuple[Triangles, Triangles]:
    pieces, of = shapely.get_parts(shapely.constrained_delaunay_triangles(parts), return_index=True)
    xy = shapely.get_coordinates(shapely.orient_polygons(pieces)).reshape(-1, 4, 2)[:, :3]
    owner = np.repeat(owners[of], 3)
    flat = xy.reshape(-1, 2)
    corners = np.arange(len(flat), dtype=np.int32).reshape(-1, 3)
    up = np.tile([0.0, 0.0, 1.0], (len(flat), 1))
    roof = Triangles(np.column_stack([flat, top[owner]]), up, corners, owner)
    floor = Triangles(np.column_stack([flat, bottom[owner]]), -up, corners[:, ::-1], owner)
    return roof, floor


def tubes(lines: NDArray[np.object_], radii: NDArray[np.float64]) -> Triangles:
    """Return tubes around 3-D lines (n,) with `radii` (n,), metres; they are open at their ends."""
    points, owners = shapely.get_coordinates(shapely.remove_repeated_points(lines), include_z=True, return_index=True)
    points = np.nan_to_num(points)
    inside = owners[1:] == owners[:-1]
    steps = np.diff(points, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    steps = np.where((inside & (lengths > 0))[:, None], steps / np.where(lengths > 0, lengths, 1)[:, None], 0.0)
    nothing = np.zeros((1, 3))
    ahead = _unit(np.concatenate([steps, nothing]) + np.concatenate([nothing, steps]), np.array([1.0, 0.0, 0.0]))
    # Across the line and level, and square to both: a ring of points at each of its corners.
    across = _unit(np.cross(ahead, [0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
    over = np.cross(across, ahead)
    angles = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    normals = np.cos(angles)[None, :, None] * across[:, None] + np.sin(angles)[None, :, None] * over[:, None]
    rings = points[:, None] + normals * radii[owners][:, None, None]
    start = np.flatnonzero(inside)[:, None] * SIDES
    side, following = np.arange(SIDES), (np.arange(SIDES) + 1) % SIDES
    a, b, c, d = start + side, start + following, start + SIDES + following, start + SIDES + side
    corners = np.stack([np.stack([a, c, b], axis=-1), np.stack([a, d, c], axis=-1)], axis=2)
    return Triangles(
        rings.reshape(-1, 3), normals.reshape(-1, 3), corners.reshape(-1, 3).astype(np.int32), np.repeat(owners, SIDES)
    )


def _unit(vectors: NDArray[np.float64], otherwise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return vectors (n, 3) of length one, `otherwise` where one has none."""
    lengths = np.linalg.norm(vectors, axis=1)
    short = lengths < 1e-9
    return np.where(short[:, None], otherwise, vectors / np.where(short, 1, lengths)[:, None])


def _joined(parts: list[Triangles]) -> Triangles:
    starts = np.cumsum([0] + [len(part.positions) for part in parts])
    return Triangles(
        np.concatenate([part.positions for part in parts]),
        np.concatenate([part.normals for part in parts]),
        np.concatenate([part.corners + start for part, start in zip(parts, starts, strict=False)]).astype(np.int32),
        np.concatenate([part.owners for part in parts]),
    )
