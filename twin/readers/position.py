"""Where a network or layer stands: from a CRS of the file or of the caller into the city's, or unplaced."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from twin import crs as reference
from twin.georeference.verdict import City
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
    without a CRS gets the one that `twin.crs.adopt` finds; data whose middle lies outside the city's declared
    bounds is quarantined, and data of another CRS also where it lies outside the area of use of the city's. Raises
    CrsError where the bounds of data of another CRS lie outside it.
    """
    if crs is None or not np.isfinite(bounds).all():
        why = stated if crs is not None else "no CRS in the file and none given"
        return Position(Placement(Decision.UNPLACED, why))
    flat = reference.horizontal(crs)
    east, north = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    city = City(reference.parse(request.city_crs) if request.city_crs else None, request.bounds)
    target = city.crs or reference.adopt(flat, east, north)
    name = reference.label(target)
    if flat.equals(target):
        if why := city.beyond(east, north):
            why = f"({east:.10g}, {north:.10g}) is {why}"
            return Position(Placement(Decision.QUARANTINED, stated, contradictions=(why,)))
        return Position(Placement(Decision.PLACED, stated, crs=name, accuracy_m=0.0))
    operation = reference.transformation(flat, target, reference.area_deg(flat, bounds, request.source))
    there = operation.points(east, north)
    if why := city.refuses(target, float(there[0]), float(there[1])):
        why = f"({east:.10g}, {north:.10g}) in {flat.name} is {why}"
        return Position(Placement(Decision.QUARANTINED, stated, contradictions=(why,)))
    accuracy = operation.accuracy_m
    return Position(
        Placement(Decision.PLACED, f"{stated}; {operation.description}", name, accuracy_m=accuracy), operation
    )


def bounds_of(geometries: NDArray[np.object_]) -> tuple[float, float, float, float]:
    """Return min x, min y, max x, max y over all geometries with finite coordinates, NaN without any."""
    boxes = shapely.bounds(geometries)
    boxes = boxes[np.isfinite(boxes).all(axis=1)]
    if not len(boxes):
        return math.nan, math.nan, math.nan, math.nan
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])
