"""A map conversion applied: where it puts a model's points in its CRS, and what speaks against that."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from twin import crs as crs_of
from twin.georeference.statements import SCALE_TOLERANCE, MapConversion, Statements

Point = tuple[float, float]
_STEP_DEG = 1e-4


def unit_m(crs: CRS) -> float:
    """Return metres an axis unit of `crs`."""
    return float(crs.axis_info[0].unit_conversion_factor)


def in_map(statements: Statements, conversion: MapConversion, stated: CRS, local: tuple[float, ...]) -> Point:
    """Return where `local` (x, y of the model, metres) stands in `stated`, in its axis units.

    A combined factor that the conversion states is applied (IFC 4.3, IfcMapConversionScaled: axes are scaled, then
    turned, then moved); the ratio of units is not, `local` being in metres.
    """
    axis_m = unit_m(stated)
    map_m = conversion.map_unit_m or axis_m
    x, y = local[0], local[1]
    grid_x, grid_y, _ = grid_factors(statements, conversion, stated)
    x, y = x * grid_x, y * grid_y
    length = math.hypot(conversion.abscissa, conversion.ordinate) or 1.0
    cosine, sine = conversion.abscissa / length, conversion.ordinate / length
    return (
        (conversion.easting * map_m + cosine * x - sine * y) / axis_m,
        (conversion.northing * map_m + sine * x + cosine * y) / axis_m,
    )


def height_m(conversion: MapConversion, stated: CRS, local_m: float) -> float:
    """Return the height of a point `local_m` above the model's zero, in the vertical datum that the file means."""
    return conversion.height * (conversion.map_unit_m or unit_m(stated)) + local_m


def grid_factors(statements: Statements, conversion: MapConversion, stated: CRS) -> tuple[float, float, float]:
    """Return the combined factor of each axis, what is left of Scale × Factor beyond the ratio of units.

    Factors that are no surveyor's (see `scale_trap`) count as 1.
    """
    ratio = statements.project_unit_m / (conversion.map_unit_m or unit_m(stated))
    scale = 1.0 if conversion.scale is None else conversion.scale
    east, north, up = (_beyond_units(scale * factor, ratio) for factor in conversion.factors)
    return east, north, up


def _beyond_units(stated: float, ratio: float) -> float:
    for expected in (ratio, 1.0):
        if math.isclose(stated, expected, rel_tol=SCALE_TOLERANCE):
            return stated / expected
    return 1.0


def scale_trap(statements: Statements, conversion: MapConversion, stated: CRS) -> str:
    """Hold Scale × Factor against project unit ÷ map unit (buildingSMART GRF005); 1 and absent mean "not stated"."""
    ratio = statements.project_unit_m / (conversion.map_unit_m or unit_m(stated))
    scale = 1.0 if conversion.scale is None else conversion.scale
    for axis, factor in zip("XYZ", conversion.factors, strict=True):
        total = scale * factor
        if any(math.isclose(total, expected, rel_tol=SCALE_TOLERANCE) for expected in (1.0, ratio)):
            continue
        inverse = ", its inverse" if math.isclose(total * ratio, 1.0, rel_tol=SCALE_TOLERANCE) else ""
        name = "Scale" if factor == 1.0 else f"Scale × Factor{axis}"
        metre = f"a metre of the model would be {total / ratio:g} m"
        return f"{name} is {total:g}{inverse}, expected {ratio:g}: {metre}"
    return ""


@lru_cache(maxsize=64)
def roughly(source: CRS, target: CRS) -> Transformer:
    """Return an operation good to some metres: enough for directions, and to tell whether a point is in a city."""
    return Transformer.from_crs(source, target, always_xy=True)


def convergence_deg(crs: CRS, point: Point) -> float:
    """Return how far true north lies from the grid north of `crs` at `point`, degrees counter-clockwise."""
    longitude, latitude = (float(value) for value in crs_of.to_lonlat(crs, *point))
    step = -_STEP_DEG if latitude > 0 else _STEP_DEG  # towards the equator: the pole is not passed
    there = roughly(crs_of.parse("EPSG:4326"), crs)
    east, north = np.subtract(there.transform(longitude, latitude + step), there.transform(longitude, latitude))
    return math.degrees(math.atan2(-east / step, north / step))


def to_grid(conversion: MapConversion, stated: CRS, target: CRS, lonlat: Point) -> MapConversion:
    """Return a conversion in degrees of `stated` as one in `target`: its axes turn by the convergence there."""
    move = crs_of.transformation(stated, target, (*lonlat, *lonlat))
    east, north = (float(value) for value in move.points(*lonlat))
    rotation = math.radians(conversion.rotation_deg + convergence_deg(target, (east, north)))
    return replace(
        conversion,
        crs=crs_of.label(target),
        easting=east,
        northing=north,
        abscissa=math.cos(rotation),
        ordinate=math.sin(rotation),
        map_unit_m=1.0,
        angular=False,
        notes=(
            *conversion.notes,
            f"Height of {conversion.entity} is above the ellipsoid: kept as it is",
        ),
    )


def carried(move: crs_of.Transformation, point: Point, rotation_deg: float) -> tuple[Point, float]:
    """Carry a point and a direction there into the target CRS: the direction turns with the grids' convergences."""
    step = 100.0 / unit_m(move.source)
    angle = math.radians(rotation_deg)
    ends: NDArray[np.float64] = np.array(
        [point, (point[0] + step * math.cos(angle), point[1] + step * math.sin(angle))]
    )
    east, north = move.points(ends[:, 0], ends[:, 1])
    turned = math.degrees(math.atan2(north[1] - north[0], east[1] - east[0]))
    return (float(east[0]), float(north[0])), turned


def between_deg(one: float, other: float) -> float:
    """Return the angle from `other` to `one`, in -180 to 180 degrees.

    >>> between_deg(179.0, -179.0)
    -2.0
    """
    return (one - other + 180.0) % 360.0 - 180.0
