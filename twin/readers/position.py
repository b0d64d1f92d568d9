"""Where a network or layer stands: from a CRS of the file or of the caller into the city's, or unplaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from twin import crs as reference
from twin.errors import CrsError
from twin.model import Decision, Placement, ReadRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Position:
    """The placement receipt and the operation that brings coordinates into the city; None leaves them as they are."""

    placement: Placement
    operation: reference.Transformation | None = None

    def moved(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return the geometries in the city's CRS (unplaced: as they are)."""
        return self.operation.geometries(geometries) if self.operation else geometries


def position(
    crs: reference.CRS | None, stated: str, bounds: tuple[float, float, float, float], request: ReadRequest
) -> Position:
    """Return where data in `crs` stands; None is unplaced.

    `stated` says who named the CRS, `bounds` is min x, min y, max x, max y of the data in it (NaN without any). A city
    without a CRS gets the one that `twin.crs.adopt` finds. Raises CrsError where the bounds lie outside the CRS.
    """
    if crs is None or not np.isfinite(bounds).all():
        why = stated if crs is not None else "no CRS in the file and none given"
        return Position(Placement(Decision.UNPLACED, why))
    flat = reference.horizontal(crs)
    east, north = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    target = reference.parse(request.city_crs) if request.city_crs else reference.adopt(flat, east, north)
    name = reference.label(target)
    if flat.equals(target):
        return Position(Placement(Decision.PLACED, stated, crs=name, accuracy_m=0.0))
    operation = reference.transformation(flat, target, _area(flat, bounds))
    accuracy = operation.accuracy_m
    return Position(
        Placement(Decision.PLACED, f"{stated}; {operation.description}", name, accuracy_m=accuracy), operation
    )


def _area(crs: reference.CRS, bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float] | None:
    """Return west, south, east, north of the data in degrees; CrsError where that is not on the globe."""
    x, y = np.meshgrid(np.linspace(bounds[0], bounds[2], 3), np.linspace(bounds[1], bounds[3], 3))
    longitude, latitude = reference.to_lonlat(crs, x.ravel(), y.ravel())
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()) or abs(latitude).max() > 90:
        shown = ", ".join(f"{value:.10g}" for value in bounds)
        raise CrsError(f"coordinates {shown} do not fit {crs.name}", expected="the CRS that the data is in")
    return float(longitude.min()), float(latitude.min()), float(longitude.max()), float(latitude.max())


def bounds_of(geometries: NDArray[np.object_]) -> tuple[float, float, float, float]:
    """Return min x, min y, max x, max y over all geometries, NaN without any."""
    box = shapely.total_bounds(geometries)
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])
