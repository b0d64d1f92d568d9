"""How a model that could not be placed may have been meant: the first reading of its statements that fits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from pyproj import CRS, Geod

from twin import crs as crs_of
from twin.errors import CrsError
from twin.georeference.reading import Point, scale_trap, to_grid, unit_m
from twin.georeference.statements import LARGE_M, MapConversion, Statements
from twin.georeference.verdict import City, Verdict, judge
from twin.model import Proposal

_UNITS = (
    (0.001, "millimetres"),
    (1.0, "metres"),
    (0.3048, "feet"),
    (1200 / 3937, "US survey feet"),
    (0.01, "centimetres"),
)
_ZONE_M = 1e6
"""Gauss-Krüger zone numbers stand before six digits of easting."""
_WGS84 = "EPSG:4326"

Reading = tuple[MapConversion, str]


def repaired(statements: Statements, conversion: MapConversion, city: City) -> Proposal | None:
    """Return the reading of `conversion`, or of a rival, that can stand; None where none can.

    Of several the one nearest to IfcSite's latitude and longitude is taken, without these the first.
    """
    fitting: list[tuple[Verdict, str]] = []
    for reading, why in _readings(statements, conversion, city):
        verdict = judge(statements, reading, city)
        if not verdict.contradictions:
            fitting.append((verdict, why))
    if not fitting:
        return None
    verdict, why = min(fitting, key=lambda pair: _from_site_m(statements, pair[0]))
    return _proposal(verdict, why)


def proposed(statements: Statements, conversion: MapConversion, city: City) -> Proposal | None:
    """Return where a model may stand that cannot stand in `city` as `conversion` says; None where nowhere.

    What is sound by itself and merely far from a city without declared bounds is left where it says; else a reading
    that fits the city is sought, and last one that fits the model's own CRS.
    """
    far = City()
    sound = city.crs is not None and not judge(statements, conversion, far).contradictions
    if sound and city.bounds is None:
        return replace(_proposal(judge(statements, conversion, far), "as the file states it"), in_city=False)
    found = repaired(statements, conversion, city)
    if found is None and city.crs is not None and not sound:
        own = repaired(statements, conversion, far)
        return None if own is None else replace(own, in_city=False)
    return found


def suggested(statements: Statements, conversion: MapConversion | None, city: City) -> Proposal | None:
    """Return where a model whose statements name no CRS may stand: in the city's CRS, or at the site's latitude."""
    found = None if conversion is None else repaired(statements, conversion, city)
    if found is not None:
        return found
    if conversion is None and city.crs is not None and math.hypot(statements.anchor[0], statements.anchor[1]):
        name = crs_of.label(city.crs)
        own = MapConversion("its own coordinates", name, 0.0, 0.0, 0.0, map_unit_m=1.0)
        verdict = judge(statements, own, city)
        if not verdict.contradictions:
            return _proposal(verdict, f"its own coordinates read in {name}")
    if statements.site_lonlat is None:
        return None
    return _at_site(statements, statements.site_lonlat, city)


def _at_site(statements: Statements, lonlat: Point, city: City) -> Proposal | None:
    """Put the site's placement at IfcSite's latitude and longitude, turned by TrueNorth."""
    stated = crs_of.parse(_WGS84)
    target = city.crs or crs_of.adopt(stated, *lonlat)
    turn = math.radians(statements.true_rotation_deg or 0.0)
    entity = "IfcSite latitude and longitude"
    degrees = MapConversion(entity, _WGS84, *lonlat, 0.0, math.cos(turn), math.sin(turn), angular=True)
    there = to_grid(degrees, stated, target, lonlat)
    if not math.isfinite(there.easting):
        return None
    x, y, z = statements.site.origin if statements.site else (0.0, 0.0, 0.0)
    there = replace(
        there,
        easting=there.easting - there.abscissa * x + there.ordinate * y,
        northing=there.northing - there.ordinate * x - there.abscissa * y,
        height=(statements.site_height_m or 0.0) - z,
    )
    verdict = judge(replace(statements, site=None), there, city)
    return None if verdict.contradictions else _proposal(verdict, f"{entity} taken, which may be a template's default")


def _readings(statements: Statements, conversion: MapConversion, city: City) -> Iterator[Reading]:
    plain = replace(conversion, scale=None, factors=(1.0, 1.0, 1.0), doubts=())
    stated = _crs(conversion.crs)
    scaled = ""
    if stated is not None and stated.is_projected and scale_trap(statements, conversion, stated):
        ratio = statements.project_unit_m / (conversion.map_unit_m or unit_m(stated))
        scaled = f"Scale read as {ratio:g}"
    for reading, why in _otherwise(statements, plain, stated, city):
        yield reading, "; ".join(word for word in (scaled, why) if word) or "the statement itself taken as it is"
    for other in statements.conversions:
        if other.entity != conversion.entity and other.crs:
            yield other, f"{other.entity} taken instead"


def _otherwise(statements: Statements, plain: MapConversion, stated: CRS | None, city: City) -> Iterator[Reading]:
    zero = replace(plain, easting=0.0, northing=0.0, height=0.0, abscissa=1.0, ordinate=0.0, map_unit_m=1.0)
    drawn = math.hypot(*statements.anchor[:2]) >= LARGE_M
    if drawn:  # else a conversion read small enough would fit too
        yield zero, f"the model's own placements taken, without {plain.entity}"
    if stated is not None:
        yield plain, ""
        if statements.site is not None and statements.site.rotation_deg:
            yield replace(plain, abscissa=1.0, ordinate=0.0), f"the turn of {statements.site.entity} taken, once"
        yield from _units(plain)
        swapped = replace(plain, easting=plain.northing, northing=plain.easting)
        yield swapped, "Eastings and Northings exchanged"
        for reading, why in _units(swapped):
            yield reading, f"Eastings and Northings exchanged; {why}"
        yield from _zoned(plain, stated)
        if stated.is_geographic and not plain.angular:
            yield replace(plain, angular=True), "its coordinates read in degrees"
    names = [*plain.hints, *([crs_of.label(city.crs)] if city.crs is not None else [])]
    for name in dict.fromkeys(names):
        # Another unit too only where no CRS is stated: with both free, a model of another country fits into any city.
        for reading, why in ((plain, ""), *(_units(plain) if stated is None else ())):
            yield replace(reading, crs=name), f"read in {name}" + (f"; {why}" if why else "")


def _units(plain: MapConversion) -> Iterator[Reading]:
    for unit, name in _UNITS:
        if plain.map_unit_m is None or not math.isclose(unit, plain.map_unit_m):
            yield replace(plain, map_unit_m=unit), f"Eastings, Northings and OrthogonalHeight read in {name}"


def _zoned(plain: MapConversion, stated: CRS) -> Iterator[Reading]:
    """Yield the easting with the zone number that the CRS wants before it, or without the one that it does not."""
    false = crs_of.parameter(stated, "False easting")
    wanted = false // _ZONE_M if math.isfinite(false) else 0.0
    given = plain.easting // _ZONE_M
    if wanted != given:
        words = f"zone number {wanted:g} put before Eastings" if wanted else "zone number left out of Eastings"
        yield replace(plain, easting=plain.easting % _ZONE_M + wanted * _ZONE_M), words


def _crs(name: str | None) -> CRS | None:
    try:
        return crs_of.horizontal(crs_of.parse(name)) if name else None
    except CrsError:  # the judge has said so
        return None


def _from_site_m(statements: Statements, verdict: Verdict) -> float:
    if statements.site_lonlat is None or verdict.stated is None or verdict.point is None:
        return 0.0
    longitude, latitude = (float(value) for value in crs_of.to_lonlat(verdict.stated, *verdict.point))
    return float(Geod(ellps="WGS84").inv(longitude, latitude, *statements.site_lonlat)[2])


def _proposal(verdict: Verdict, why: str) -> Proposal:
    assert verdict.target is not None
    return Proposal(verdict.origin, verdict.rotation_deg, crs_of.label(verdict.target), why)
