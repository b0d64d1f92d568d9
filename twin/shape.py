"""Shapes of elements in a mesh, as numbers that do not depend on where they stand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from twin.writers.glb import triangles_by_element

SHAPE_M = 0.002
"""Extents nearer than this are the same: meshes keep single precision, 0.5 mm at 4 km, at either end."""
_AREA_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Shape:
    """How far an element's mesh extends along the model's x, y and z, and its surface, metres and square metres."""

    x_m: float
    y_m: float
    z_m: float
    area_m2: float

    def is_like(self, other: Shape) -> bool:
        """Say whether two shapes are the same as far as meshes tell."""
        pairs = ((self.x_m, other.x_m), (self.y_m, other.y_m), (self.z_m, other.z_m))
        return all(abs(a - b) <= SHAPE_M for a, b in pairs) and math.isclose(
            self.area_m2, other.area_m2, rel_tol=_AREA_TOLERANCE, abs_tol=SHAPE_M**2
        )


def shapes(glb: bytes | None) -> dict[str, Shape]:
    """Return the shape of every element of a mesh of `twin.writers.glb` by GlobalId; none without a mesh."""
    found: dict[str, Shape] = {}
    for guid, triangles in (triangles_by_element(glb) if glb else {}).items():
        x, y, z = np.ptp(triangles.reshape(-1, 3), axis=0).tolist()
        edges = triangles[:, 1:] - triangles[:, :1]
        area = float(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1).sum() / 2)
        found[guid] = Shape(round(x, 3), round(y, 3), round(z, 3), round(area, 4))
    return found
