"""Coordinate reference systems: parsed with clear errors, transformed with axis order east, north and stated accuracy.

EPSG:4549 and its kin are defined with northing first; everything here is easting, northing (``always_xy``). Gauss-
Krüger zones are CGCS2000's 3-degree ones by central meridian, EPSG 4534 (75° E) … 4554 (135° E).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.aoi import AreaOfInterest
from pyproj.exceptions import CRSError, ProjError
from pyproj.transformer import TransformerGroup

from twin.errors import CrsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CRS", "Transformation", "adopt", "gauss_krueger", "label", "parse", "to_lonlat", "transformation"]

_CHINA = (73.0, 3.0, 136.0, 54.0)
AREA_MARGIN_DEG = 0.5
"""Zones are used past their formal area of use: a city on a zone's edge keeps one zone."""
_GK_FIRST_EPSG, _GK_FIRST_MERIDIAN, _GK_LAST_MERIDIAN = 4534, 75, 135


@lru_cache(maxsize=256)
def parse(text: str) -> CRS:
    """Return the CRS that `text` names: an EPSG code ("4549", "EPSG:4549", an OGC URN), WKT or a PROJ string.

    Raises CrsError where there is no such CRS.

    >>> parse("4549").name
    'CGCS2000 / 3-degree Gauss-Kruger CM 120E'
    """
    wanted = text.strip().removeprefix("+init=")  # PROJ 4's way, which pyproj warns of
    try:
        crs = CRS.from_user_input(int(wanted) if wanted.isdigit() else wanted)
    except (CRSError, ProjError, ValueError, OverflowError):
        shown = wanted if len(wanted) <= 80 else wanted[:77] + "…"
        raise CrsError(
            "there is no such coordinate reference system", where=f"crs {shown!r}", expected="EPSG:4549, WKT or PROJ"
        ) from None
    if crs.is_bound and crs.source_crs is not None:
        crs = crs.source_crs
    return crs


def label(crs: CRS) -> str:
    """Return the short name under which a city keeps `crs`: ``EPSG:code`` where it has one, else its WKT.

    >>> label(parse("EPSG:4549"))
    'EPSG:4549'
    """
    epsg = crs.to_epsg()
    return f"EPSG:{epsg}" if epsg else crs.to_wkt()


def horizontal(crs: CRS) -> CRS:
    """Return the two-dimensional part of `crs`: of a compound CRS the part without the height datum."""
    if not crs.is_compound:
        return crs.to_2d()
    flat = crs.sub_crs_list[0]
    return flat.source_crs if flat.is_bound and flat.source_crs is not None else flat


def fits_city(crs: CRS) -> bool:
    """Say whether a city may stand in `crs`: projected, two axes, in metres."""
    return crs.is_projected and all(math.isclose(axis.unit_conversion_factor, 1.0) for axis in crs.axis_info)


def adopt(crs: CRS, easting: float, northing: float) -> CRS:
    """Return the city CRS for data in `crs` around a point of it (easting or longitude first).

    A projected CRS in metres is taken as it is. Else the zone of the longitude: CGCS2000 3-degree Gauss-Krüger inside
    China (73–136° E, 3–54° N), WGS 84 UTM elsewhere.
    """
    flat = horizontal(crs)
    if fits_city(flat):
        return flat
    longitude, latitude = (float(v) for v in to_lonlat(flat, easting, northing))
    if not (math.isfinite(longitude) and math.isfinite(latitude)):
        raise CrsError(
            f"({easting:g}, {northing:g}) is not on the globe", where=f"crs {label(flat)[:80]}", expected="another CRS"
        )
    west, south, east, north = _CHINA
    if west <= longitude <= east and south <= latitude <= north:
        return gauss_krueger(longitude)
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def gauss_krueger(longitude: float) -> CRS:
    """Return the CGCS2000 3-degree Gauss-Krüger CRS, by central meridian, that `longitude` (degrees east) lies in.

    >>> gauss_krueger(120.4).to_epsg(), gauss_krueger(113.9).to_epsg()
    (4549, 4547)
    """
    meridian = round(longitude / 3) * 3
    meridian = min(max(meridian, _GK_FIRST_MERIDIAN), _GK_LAST_MERIDIAN)
    return CRS.from_epsg(_GK_FIRST_EPSG + (meridian - _GK_FIRST_MERIDIAN) // 3)


def parameter(crs: CRS, name: str) -> float:
    """Return a parameter of the projection of `crs` by its EPSG name, in the projection's own unit; NaN without it."""
    operation = horizontal(crs).coordinate_operation
    return (
        next((float(each.value) for each in operation.params if each.name == name), math.nan) if operation else math.nan
    )


def in_area_of_use(crs: CRS, easting: float, northing: float) -> bool:
    """Say whether a point lies in the area that `crs` is made for, within half a degree."""
    longitude, latitude = (float(value) for value in to_lonlat(crs, easting, northing))
    if not (math.isfinite(longitude) and math.isfinite(latitude)):
        return False
    area = crs.area_of_use
    if area is None:  # WKT without an area of use: only the false origin itself is surely nobody's building
        return (easting, northing) != (0.0, 0.0)
    margin = AREA_MARGIN_DEG
    if not area.south - margin <= latitude <= area.north + margin:
        return False
    span = ((area.east - area.west) % 360 or 360) + 2 * margin  # across the date line east is less than west
    return (longitude - area.west + margin) % 360 <= span


def area_deg(crs: CRS, bounds: tuple[float, float, float, float], where: str = "") -> tuple[float, float, float, float]:
    """Return west, south, east, north in degrees of min x, min y, max x, max y in `crs`.

    Raises CrsError, naming `where` the coordinates come from, where they are off the globe.
    """
    x, y = np.meshgrid(np.linspace(bounds[0], bounds[2], 3), np.linspace(bounds[1], bounds[3], 3))
    longitude, latitude = to_lonlat(crs, x.ravel(), y.ravel())
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()) or abs(latitude).max() > 90:
        shown = ", ".join(f"{value:.10g}" for value in bounds)
        raise CrsError(
            f"coordinates {shown} do not fit {crs.name}", where=where, expected="the CRS that the data is in"
        )
    return float(longitude.min()), float(latitude.min()), float(longitude.max()), float(latitude.max())


@dataclass(frozen=True, slots=True)
class Transformation:
    """A coordinate operation with the axis order east, north on both sides; heights pass unchanged.

    `accuracy_m` is what PROJ states for the operation that is used, None where it states none (a ballpark operation
    among them). `description` names it, and the grids that a better one would need where they are not installed.
    """

    source: CRS
    target: CRS
    transformer: Transformer
    accuracy_m: float | None
    description: str

    def points(self, easting: Any, northing: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # noqa: D102
        e, n = self.transformer.transform(np.asarray(easting, float), np.asarray(northing, float))
        return np.asarray(e), np.asarray(n)

    def geometries(self, geometries: NDArray[np.object_]) -> NDArray[np.object_]:
        """Return an array of geometries in the target CRS; Z stays as it is, None stays None.

        Raises CrsError where a coordinate lies outside what the operation can do.
        """

        def move(xy: NDArray[np.float64]) -> NDArray[np.float64]:
            moved = np.column_stack(self.points(xy[:, 0], xy[:, 1]))
            if not np.isfinite(moved).all():
                first = xy[~np.isfinite(moved).all(axis=1)][0]
                raise CrsError(
                    f"({first[0]:.10g}, {first[1]:.10g}) cannot be brought to {self.target.name}",
                    where=f"crs {self.source.name}",
                    expected="coordinates that fit the CRS",
                )
            return np.column_stack([moved, xy[:, 2]]) if xy.shape[1] > 2 else moved

        return _transform_each(geometries, move)


def _transform_each(geometries: NDArray[np.object_], move: Any) -> NDArray[np.object_]:
    """Transform 2-D and 3-D geometries apart, so that none gains or loses its Z."""
    out = geometries.copy()
    has_z = shapely.has_z(geometries)
    there = ~shapely.is_missing(geometries) & ~shapely.is_empty(geometries)
    for z in (False, True):
        chosen = there & (has_z == z)
        if chosen.any():
            out[chosen] = shapely.transform(geometries[chosen], move, include_z=z)
    return out


def transformation(source: CRS, target: CRS, area: tuple[float, float, float, float] | None = None) -> Transformation:
    """Return the best coordinate operation that can be done here between the horizontal parts of two CRSs.

    `area` is west, south, east, north in degrees; where given, operations made for another place are not chosen.
    """
    flat_source, flat_target = horizontal(source), horizontal(target)
    interest: Any = AreaOfInterest(*area) if area else None
    try:
        with warnings.catch_warnings():  # that a grid is missing is said in the description
            warnings.simplefilter("ignore", UserWarning)
            group = TransformerGroup(flat_source, flat_target, always_xy=True, area_of_interest=interest)
        best = group.transformers[0]
    except (ProjError, IndexError):
        raise CrsError(
            f"there is no way from {flat_source.name} to {flat_target.name}", expected="related CRSs"
        ) from None
    ballpark = "Ballpark" in best.description
    accuracy = best.accuracy if best.accuracy >= 0 and not ballpark else None
    description = best.description
    if not group.best_available:
        grids = ", ".join(grid.short_name for grid in group.unavailable_operations[0].grids)
        description += f" (a better operation needs {grids or 'a grid'}, which is not installed)"
    return Transformation(flat_source, flat_target, best, accuracy, description)


@lru_cache(maxsize=64)
def _display(crs: CRS) -> Transformer:
    return Transformer.from_crs(horizontal(crs), "EPSG:4326", always_xy=True)


def to_lonlat(crs: CRS | str, easting: Any, northing: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return longitude and latitude in degrees (WGS 84) for a map's display, never to be stored.

    CGCS2000 and WGS 84 are taken as equal here, as PROJ does (a ballpark operation; they differ by decimetres).
    """
    e, n = _display(parse(crs) if isinstance(crs, str) else crs).transform(
        np.asarray(easting, float), np.asarray(northing, float)
    )
    return np.asarray(e), np.asarray(n)
