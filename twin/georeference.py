"""Where a model stands: what its file states about that, whether the statements agree, and the placement decided.

Levels are LoGeoRef (Clemen & Görne 2019): 10 address, 20 IfcSite latitude and longitude, 30 IfcSite placement, 40 world
coordinate system and true north, 50 map conversion with a projected CRS. Only level 50, or the CRS that the caller
names, places a model: a site's latitude and longitude is a template's default more often than not, so it is listed as
a rival. Heights are taken over as stated; they are never turned into ellipsoidal ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Geod

from twin import crs as crs_of
from twin.errors import CrsError
from twin.model import Decision, Placement

SCALE_TOLERANCE = 2e-3
"""How far Scale may lie from the ratio of units and still be a surveyor's combined factor: UTM's 0.9996 on the
central meridian and 4,000 m of altitude together make 1e-3."""

CALLER = "the CRS given by the caller"


@dataclass(frozen=True, slots=True)
class MapConversion:
    """An IfcMapConversion, IfcRigidOperation or ePSet_MapConversion as written.

    `easting`, `northing`, `height` are in map units, `map_unit_m` metres each (None where the file does not say);
    (`abscissa`, `ordinate`) is the direction of the model's x axis in the map.
    """

    entity: str
    crs: str | None
    easting: float
    northing: float
    height: float
    abscissa: float = 1.0
    ordinate: float = 0.0
    scale: float | None = None
    map_unit_m: float | None = None


@dataclass(frozen=True, slots=True)
class Statements:
    """All that a file says about where it stands. `project_unit_m` is metres a model unit."""

    project_unit_m: float
    conversion: MapConversion | None = None
    site_lonlat: tuple[float, float] | None = None
    has_address: bool = False
    anchor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """A point near the geometry, in the model's frame, metres: the origin of the mesh."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The rigid move from a model's own coordinates (metres) to the city's, about the anchor of the mesh."""

    anchor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation_deg: float = 0.0

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `points` (n, 3) in the city's coordinates: easting, northing, height."""
        angle = math.radians(self.rotation_deg)
        cosine, sine = math.cos(angle), math.sin(angle)
        turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        return (points - np.array(self.anchor)) @ turn.T + np.array(self.origin)


def place(statements: Statements, *, city_crs: str | None, file_crs: str | None) -> tuple[Placement, Frame]:
    """Decide where a model stands.

    `city_crs` is the CRS to place it in (else one adopted from the file's); `file_crs` is what the caller says the
    file is in, used where the file names no CRS. A model that is not placed keeps its own coordinates.
    """
    conversion = statements.conversion
    if conversion is None and file_crs:
        # The caller's word: the model's own coordinates are the map's.
        unit = statements.project_unit_m
        conversion = MapConversion(CALLER, file_crs, 0.0, 0.0, 0.0, scale=None, map_unit_m=unit)
    elif conversion is not None and not conversion.crs and file_crs:
        conversion = replace(conversion, crs=file_crs)
    if conversion is None or not conversion.crs:
        return _unplaced(statements, conversion)
    try:
        stated = crs_of.horizontal(crs_of.parse(conversion.crs))
    except CrsError as error:
        return _kept(statements, Decision.QUARANTINED, conversion.entity, [str(error)], level=50)
    if not stated.is_projected:
        why = f"{stated.name} is not projected: metres cannot be added to degrees"
        return _kept(statements, Decision.QUARANTINED, conversion.entity, [why], level=50)
    return _decide(statements, conversion, stated, city_crs)


def _decide(
    statements: Statements, conversion: MapConversion, stated: CRS, city_crs: str | None
) -> tuple[Placement, Frame]:
    point, contradictions = _map_point(statements, conversion, stated)
    scale_trap = _scale_trap(statements, conversion, stated)
    if scale_trap:
        contradictions.append(scale_trap)
    by_caller = conversion.entity == CALLER
    level = 30 if by_caller else 50
    if contradictions:  # a caller's CRS that does not fit is no contradiction of the file's own
        decision = Decision.UNPLACED if by_caller else Decision.QUARANTINED
        return _kept(statements, decision, conversion.entity, contradictions, level=level)
    target = crs_of.parse(city_crs) if city_crs else crs_of.adopt(stated, *point)
    move = crs_of.transformation(stated, target, crs_of.area_deg(stated, (*point, *point)))
    rotation = math.degrees(math.atan2(conversion.ordinate, conversion.abscissa))
    (easting, northing), turned = _carried(move, point, rotation)
    if not crs_of.in_area_of_use(target, easting, northing):
        why = (
            f"({point[0]:.0f}, {point[1]:.0f}) in {stated.name} is outside the area of use of the city's {target.name}"
        )
        return _kept(statements, Decision.QUARANTINED, conversion.entity, [why], level=level)
    height = conversion.height * (conversion.map_unit_m or _unit_m(stated)) + statements.anchor[2]
    origin = (easting, northing, height)
    placement = Placement(
        Decision.PLACED,
        f"{conversion.entity} in {crs_of.label(stated)}"[:200],
        crs_of.label(target),
        level,
        origin,
        turned,
        statements.project_unit_m,
        move.accuracy_m,
        (),
        _rivals(statements, stated, point),
    )
    return placement, Frame(statements.anchor, origin, turned)


def _map_point(statements: Statements, conversion: MapConversion, stated: CRS) -> tuple[tuple[float, float], list[str]]:
    """Return the mesh's origin in axis units of `stated`, and why it cannot be there."""
    axis_m = _unit_m(stated)
    units = [conversion.map_unit_m] if conversion.map_unit_m else [axis_m, statements.project_unit_m]
    points = [_at(statements, conversion, unit, axis_m) for unit in dict.fromkeys(units)]
    for point in points:
        if crs_of.in_area_of_use(stated, *point):
            return point, []
    why = f"({points[0][0]:.0f}, {points[0][1]:.0f}) is outside the area of use of {stated.name}"
    for unit, name in ((0.001, "millimetres"), (0.01, "centimetres"), (0.3048, "feet")):
        repaired = _at(statements, conversion, unit, axis_m)
        if crs_of.in_area_of_use(stated, *repaired):
            why += f"; read in {name} it is inside, at ({repaired[0]:.1f}, {repaired[1]:.1f})"
            break
    return points[0], [why]


def _at(statements: Statements, conversion: MapConversion, unit_m: float, axis_m: float) -> tuple[float, float]:
    x, y, _ = statements.anchor
    length = math.hypot(conversion.abscissa, conversion.ordinate) or 1.0
    cosine, sine = conversion.abscissa / length, conversion.ordinate / length
    return (
        (conversion.easting * unit_m + cosine * x - sine * y) / axis_m,
        (conversion.northing * unit_m + sine * x + cosine * y) / axis_m,
    )


def _scale_trap(statements: Statements, conversion: MapConversion, stated: CRS) -> str:
    """Hold Scale against project unit ÷ map unit (buildingSMART GRF005); 1 and absent both mean "not stated"."""
    if conversion.scale is None or math.isclose(conversion.scale, 1.0, rel_tol=SCALE_TOLERANCE):
        return ""
    ratio = statements.project_unit_m / (conversion.map_unit_m or _unit_m(stated))
    if math.isclose(conversion.scale, ratio, rel_tol=SCALE_TOLERANCE):
        return ""
    inverse = ", its inverse" if math.isclose(conversion.scale * ratio, 1.0, rel_tol=SCALE_TOLERANCE) else ""
    metre = conversion.scale / ratio
    return f"Scale is {conversion.scale:g}{inverse}, expected {ratio:g}: a metre of the model would be {metre:g} m"


def _carried(
    move: crs_of.Transformation, point: tuple[float, float], rotation_deg: float
) -> tuple[tuple[float, float], float]:
    """Carry a point and a direction there into the target CRS: the direction turns with the grids' convergences."""
    step = 100.0 / _unit_m(move.source)
    angle = math.radians(rotation_deg)
    ends = np.array([point, (point[0] + step * math.cos(angle), point[1] + step * math.sin(angle))])
    east, north = move.points(ends[:, 0], ends[:, 1])
    turned = math.degrees(math.atan2(north[1] - north[0], east[1] - east[0]))
    return (float(east[0]), float(north[0])), turned


def _unit_m(crs: CRS) -> float:
    return float(crs.axis_info[0].unit_conversion_factor)


def _rivals(statements: Statements, stated: CRS, point: tuple[float, float]) -> tuple[str, ...]:
    if statements.site_lonlat is None:
        return ()
    longitude, latitude = statements.site_lonlat
    here = [float(value) for value in crs_of.to_lonlat(stated, *point)]
    distance = Geod(ellps="WGS84").inv(here[0], here[1], longitude, latitude)[2]
    return (f"{_site(longitude, latitude)} is {distance:.0f} m away",)


def _site(longitude: float, latitude: float) -> str:
    return f"IfcSite latitude {latitude:.6f}, longitude {longitude:.6f}"


def _unplaced(statements: Statements, conversion: MapConversion | None) -> tuple[Placement, Frame]:
    if conversion is not None:
        return _kept(statements, Decision.UNPLACED, f"{conversion.entity} without a CRS", [], level=50)
    if statements.site_lonlat is not None:
        return _kept(statements, Decision.UNPLACED, "IfcSite latitude and longitude only", [], level=20)
    if statements.has_address:
        return _kept(statements, Decision.UNPLACED, "an address only", [], level=10)
    return _kept(statements, Decision.UNPLACED, "the file says nothing", [], level=None)


def _kept(
    statements: Statements, decision: Decision, source: str, contradictions: Sequence[str], *, level: int | None
) -> tuple[Placement, Frame]:
    """Leave the model in its own coordinates."""
    rivals = (_site(*statements.site_lonlat),) if statements.site_lonlat else ()
    placement = Placement(
        decision,
        source,
        level=level,
        origin=statements.anchor,
        unit_scale=statements.project_unit_m,
        contradictions=tuple(contradictions),
        rivals=rivals,
    )
    return placement, Frame(statements.anchor, statements.anchor)
