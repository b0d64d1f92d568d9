"""One map conversion judged: where it puts the model, or why it cannot stand there."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from pyproj import CRS

from twin import crs as crs_of
from twin.errors import CrsError
from twin.georeference.reading import (
    Point,
    between_deg,
    carried,
    height_m,
    in_map,
    roughly,
    scale_trap,
    to_grid,
    unit_m,
)
from twin.georeference.statements import LARGE_M, MapConversion, Statements, metres

AGREE_M = 1.0
"""Statements less far apart agree: IfcSite's seconds of arc are often rounded to centimetres, CRSs differ by less."""
AGREE_DEG = 0.01
"""Directions less far apart agree: 2 cm in 100 m, what a 1:500 map shows."""
_TURNED_DEG = 0.1


@dataclass(frozen=True, slots=True)
class City:
    """Where models go: its CRS (None: the model's decides), its extent as least and greatest easting and northing."""

    crs: CRS | None = None
    bounds: tuple[float, float, float, float] | None = None

    def refuses(self, crs: CRS, easting: float, northing: float) -> str:
        """Return why a point in `crs`, the city's or the one it would take, cannot be in the city; empty if it can."""
        if not crs_of.in_area_of_use(crs, easting, northing):
            return f"outside the area of use of the city's {crs.name}"
        return self.beyond(easting, northing)

    def beyond(self, easting: float, northing: float) -> str:
        """Return why a point in the city's CRS lies outside the declared bounds; empty within them and without any."""
        if self.crs is not None and self.bounds is not None:
            west, south, east, north = self.bounds
            if not (west <= easting <= east and south <= northing <= north):
                return f"outside the city's bounds ({metres(west)}, {metres(south)}, {metres(east)}, {metres(north)})"
        return ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where `conversion` puts the mesh's origin: `point` in `stated`, `origin` and `rotation_deg` in `target`.

    `contradictions` is empty where it can stand there; without them everything else but `accuracy_m` is known.
    """

    conversion: MapConversion
    contradictions: tuple[str, ...] = ()
    stated: CRS | None = None
    point: Point | None = None
    target: CRS | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation_deg: float = 0.0
    accuracy_m: float | None = None
    operation: str = ""


def judge(statements: Statements, conversion: MapConversion, city: City) -> Verdict:
    """Judge `conversion`, which names a CRS, by itself; what other statements say is not held against it."""
    try:
        stated = crs_of.horizontal(crs_of.parse(conversion.crs or ""))
    except CrsError as error:
        return Verdict(conversion, (str(error),))
    if stated.is_geographic:
        found = _from_degrees(conversion, stated, city)
        if isinstance(found, str):
            return Verdict(conversion, (*conversion.doubts, found), stated)
        conversion, stated = found, crs_of.parse(found.crs or "")
    elif not stated.is_projected or conversion.angular:
        what = "degrees are no coordinates in it" if conversion.angular else "it is not projected"
        return Verdict(conversion, (*conversion.doubts, f"{stated.name}: {what}"), stated)
    conversion, ambiguity = _with_unit(statements, conversion, stated)
    point = in_map(statements, conversion, stated, statements.anchor)
    contradictions = [*conversion.doubts, scale_trap(statements, conversion, stated), ambiguity]
    if not crs_of.in_area_of_use(stated, *point):
        contradictions.append(f"({metres(point[0])}, {metres(point[1])}) is outside the area of use of {stated.name}")
    contradictions += [_placed_twice(statements, conversion, stated), _turned_twice(statements, conversion)]
    contradictions = [line for line in contradictions if line]
    if contradictions:
        return Verdict(conversion, tuple(contradictions), stated, point)
    try:
        return _in_city(statements, conversion, stated, point, city)
    except CrsError as error:  # a CRS without an area of use, and a point off the globe
        return Verdict(conversion, (str(error),), stated, point)


def _in_city(statements: Statements, conversion: MapConversion, stated: CRS, point: Point, city: City) -> Verdict:
    target = city.crs or crs_of.adopt(stated, *point)
    refused = city.refuses(target, *roughly(stated, target).transform(*point))
    if refused:  # no need of the best operation, which takes a while to find
        why = f"({metres(point[0])}, {metres(point[1])}) in {stated.name} is {refused}"
        return Verdict(conversion, (why,), stated, point, target)
    move = crs_of.transformation(stated, target, crs_of.area_deg(stated, (*point, *point)))
    (easting, northing), turned = carried(move, point, conversion.rotation_deg)
    return Verdict(
        conversion,
        (),
        stated,
        point,
        target,
        (easting, northing, height_m(conversion, stated, statements.anchor[2])),
        turned,
        move.accuracy_m,
        "" if stated.equals(target) else move.description,
    )


def _from_degrees(conversion: MapConversion, stated: CRS, city: City) -> MapConversion | str:
    """Return a conversion of a geographic CRS in a projected one, or why there is none.

    IFC's example of a translation by angles puts longitude first, EPSG's axes latitude: the order that lands in the
    CRS's area of use, and in the city, counts.
    """
    if not conversion.angular:
        return f"{stated.name} is not projected: metres cannot be added to degrees"
    first, second = conversion.easting, conversion.northing
    fitting: list[tuple[float, float, CRS]] = []
    for longitude, latitude in dict.fromkeys(((first, second), (second, first))):
        if abs(latitude) > 90 or not crs_of.in_area_of_use(stated, longitude, latitude):
            continue
        target = city.crs or crs_of.adopt(stated, longitude, latitude)
        east, north = (float(value) for value in crs_of.transformation(stated, target).points(longitude, latitude))
        if math.isfinite(east) and not city.refuses(target, east, north):
            fitting.append((longitude, latitude, target))
    if not fitting:
        return f"({first:g}, {second:g}) degrees, either way round, lies outside {stated.name} or the city"
    if len(fitting) > 1:
        return f"({first:g}, {second:g}) degrees may be longitude first or latitude first in {stated.name}"
    ((longitude, latitude, target),) = fitting
    return to_grid(conversion, stated, target, (longitude, latitude))


def _with_unit(statements: Statements, conversion: MapConversion, stated: CRS) -> tuple[MapConversion, str]:
    """Settle the map unit: the one stated, else the CRS's or the project's, whichever lands inside the CRS.

    A Scale that is the ratio of the project's unit to one of them says which.
    """
    if conversion.map_unit_m:
        return conversion, ""
    axis_m = unit_m(stated)
    readings = [replace(conversion, map_unit_m=unit) for unit in dict.fromkeys((axis_m, statements.project_unit_m))]
    scaled = conversion.scale is not None and not math.isclose(conversion.scale, 1.0, rel_tol=1e-9)
    if scaled:
        readings = [reading for reading in readings if not scale_trap(statements, reading, stated)] or readings
    points = [in_map(statements, reading, stated, statements.anchor) for reading in readings]
    inside = [
        (reading, point)
        for reading, point in zip(readings, points, strict=True)
        if crs_of.in_area_of_use(stated, *point)
    ]
    if not inside:
        return readings[0], ""
    if len(inside) > 1 and math.dist(inside[0][1], inside[1][1]) * axis_m > AGREE_M:
        shown = " and ".join(f"({metres(point[0])}, {metres(point[1])})" for _, point in inside)
        return inside[0][0], f"MapUnit is not stated: read in the unit of the CRS and of the project it gives {shown}"
    return inside[0][0], ""


def _placed_twice(statements: Statements, conversion: MapConversion, stated: CRS) -> str:
    """Find map coordinates that are both in the model's placements and in the conversion."""
    map_m = conversion.map_unit_m or unit_m(stated)
    moved = conversion.easting * map_m, conversion.northing * map_m
    drawn = statements.anchor[:2]
    if not (math.hypot(*moved) >= LARGE_M <= math.hypot(*drawn) and math.dist(moved, drawn) <= LARGE_M):
        return ""
    where = statements.site.entity if statements.site and statements.site.large else "the geometry"
    return f"{where} already stands at ({metres(drawn[0])}, {metres(drawn[1])}): georeferenced twice"


def _turned_twice(statements: Statements, conversion: MapConversion) -> str:
    """Find one turn to north that is both in the placement of the site and in the conversion."""
    site = statements.site
    if site is None or abs(site.rotation_deg) < _TURNED_DEG:
        return ""
    if abs(between_deg(site.rotation_deg, conversion.rotation_deg)) > AGREE_DEG:
        return ""
    return f"{site.entity} turns the model by the same {site.rotation_deg:.3f}°: north is applied twice"
