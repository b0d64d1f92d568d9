"""The city on the globe: earth-centred, earth-fixed coordinates (EPSG:4978) of its points, and rigid frames there.

Heights go in as they are. The city's are over its height datum, not over the ellipsoid, so what comes out is as far
from the truth as the geoid is from the ellipsoid (tens of metres), all of it up or down.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from twin import crs as crs_of

_STEP_M = 10.0


@lru_cache(maxsize=1)
def _geocentric() -> Transformer:
    return Transformer.from_crs(4979, 4978, always_xy=True)


def ecef(points: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """Return earth-centred x, y, z in metres of `points` (n, 3): easting, northing in `crs`, height."""
    longitude, latitude = crs_of.to_lonlat(crs, points[:, 0], points[:, 1])
    return np.column_stack(_geocentric().transform(longitude, latitude, points[:, 2]))


def frame(point: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    """Return the 4 x 4 matrix from a frame at `point` (grid east, grid north, up; metres) to earth-centred coordinates.

    It is rigid: lengths in it are true ones, not the grid's, which differ by the scale of the projection.
    """
    east, up = np.array([_STEP_M, 0.0, 0.0]), np.array([0.0, 0.0, _STEP_M])
    ends = ecef(np.stack([point, point - east, point + east, point + up]), crs)
    upward = _unit(ends[3] - ends[0])
    eastward = ends[2] - ends[1]
    eastward = _unit(eastward - upward * (eastward @ upward))
    matrix = np.eye(4)
    matrix[:3] = np.column_stack([eastward, np.cross(upward, eastward), upward, ends[0]])
    return matrix


def turn(angle_deg: float) -> NDArray[np.float64]:
    """Return the 4 x 4 matrix that turns x towards y by an angle."""
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    matrix = np.eye(4)
    matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    return matrix


def inverse(rigid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a rigid 4 x 4 matrix."""
    turned = np.eye(4)
    turned[:3, :3] = rigid[:3, :3].T
    turned[:3, 3] = -rigid[:3, :3].T @ rigid[:3, 3]
    return turned


def apply(matrix: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `points` (n, 3) moved by a 4 x 4 matrix."""
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / np.linalg.norm(vector)
