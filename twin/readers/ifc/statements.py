"""What an IFC file states about where it stands, read as plain values for `twin.georeference`."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

import ifcopenshell
import ifcopenshell.util.placement
import ifcopenshell.util.unit
import numpy as np
from ifcopenshell import entity_instance
from numpy.typing import NDArray

from twin import crs as crs_of
from twin.asset import Attribute
from twin.errors import CrsError, InputError
from twin.georeference import LocalOrigin, MapConversion, Statements
from twin.readers.ifc.properties import Definitions

_EPSG = re.compile(r"EPSG\s*:+\s*(\d{4,6})", re.IGNORECASE)
_METRE = re.compile(r"(MILLI|CENTI|DECI|KILO)?\s*MET(?:RE|ER)S?", re.IGNORECASE)
_PREFIX_M = {"MILLI": 0.001, "CENTI": 0.01, "DECI": 0.1, "": 1.0, "KILO": 1000.0}
_AT_ZERO_M = 1.0
_MIN_TURN_DEG = 1e-3


def statements(file: ifcopenshell.file, said: Definitions, anchor: tuple[float, float, float]) -> Statements:
    """Read unit, coordinate operations, site, contexts and address of `file`; `anchor` is the mesh's origin."""
    unit = project_unit_m(file)
    site, latlon = _site(file)
    return Statements(
        project_unit_m=unit,
        conversions=(*_operations(file), *_property_set_conversions(file, said)),
        site_lonlat=latlon,
        site_height_m=None if site is None or site.RefElevation is None else float(site.RefElevation) * unit,
        address=_address(file),
        site=None if site is None else _placed(site, unit),
        world=_world(file, unit),
        true_north=_true_north(file),
        anchor=anchor,
    )


def project_unit_m(file: ifcopenshell.file) -> float:
    """Return metres a model unit; a file that assigns no length unit is in metres."""
    return _project_unit(file, "LENGTHUNIT") or 1.0


def _project_unit(file: ifcopenshell.file, kind: str) -> float | None:
    try:
        return float(ifcopenshell.util.unit.calculate_unit_scale(file, kind))
    except (AttributeError, IndexError, KeyError):  # no unit assignment, or one without this unit
        return None


def _operations(file: ifcopenshell.file) -> list[MapConversion]:
    """Return the coordinate operations out of the model's contexts; a map conversion goes before a rigid operation.

    An operation from one CRS to another says nothing of the model itself. Contexts of the model go before plans.
    """
    if file.schema == "IFC2X3":
        return []
    found = [
        operation
        for operation in file.by_type("IfcCoordinateOperation")
        if operation.SourceCRS is None or operation.SourceCRS.is_a("IfcGeometricRepresentationContext")
    ]
    found.sort(key=lambda entity: (not entity.is_a("IfcMapConversion"), _is_plan(entity.SourceCRS), entity.id()))
    return [read for operation in found if (read := _operation(file, operation)) is not None]


def _is_plan(context: entity_instance | None) -> bool:
    return context is not None and (context.ContextType or "").casefold() == "plan"


def _operation(file: ifcopenshell.file, operation: entity_instance) -> MapConversion | None:
    target = operation.TargetCRS
    name, notes, hints = _crs(file, target)
    unit, doubt = _map_unit_m(target)
    entity = f"{operation.is_a()} #{operation.id()}"
    doubts = (doubt,) if doubt else ()
    into = MapConversion(entity, name, 0.0, 0.0, 0.0, map_unit_m=unit, doubts=doubts, notes=notes, hints=hints)
    if operation.is_a("IfcMapConversion"):
        return _map_conversion(operation, into)
    return _rigid_operation(file, operation, into) if operation.is_a("IfcRigidOperation") else None


def _map_conversion(operation: entity_instance, into: MapConversion) -> MapConversion:
    abscissa, ordinate = _direction(_real(operation, "XAxisAbscissa"), _real(operation, "XAxisOrdinate"))
    return _at(
        _real(operation, "Eastings"),
        _real(operation, "Northings"),
        replace(
            into,
            height=_real(operation, "OrthogonalHeight") or 0.0,
            abscissa=abscissa,
            ordinate=ordinate,
            scale=_real(operation, "Scale"),
            factors=_factors(operation),
        ),
    )


def _at(easting: float | None, northing: float | None, conversion: MapConversion) -> MapConversion:
    """Return `conversion` at an easting and northing; one that is missing or could not be read is not zero."""
    missing = [
        f"{name} is not stated" for name, value in (("Eastings", easting), ("Northings", northing)) if value is None
    ]
    return replace(
        conversion,
        easting=math.nan if easting is None else easting,
        northing=math.nan if northing is None else northing,
        doubts=(*conversion.doubts, *missing),
    )


def _rigid_operation(file: ifcopenshell.file, operation: entity_instance, into: MapConversion) -> MapConversion:
    coordinates = (operation.FirstCoordinate, operation.SecondCoordinate)
    first, second = (0.0 if each is None else float(each.wrappedValue) for each in coordinates)
    height = _real(operation, "Height") or 0.0
    if not any(each is not None and each.is_a("IfcPlaneAngleMeasure") for each in coordinates):
        return replace(into, easting=first, northing=second, height=height)
    degree = math.degrees(_angle_unit(file, operation.TargetCRS))
    return replace(
        into,
        easting=first * degree,
        northing=second * degree,
        height=height * _height_unit_m(file, operation.TargetCRS),
        map_unit_m=1.0,
        angular=True,
    )


def _real(entity: entity_instance, attribute: str) -> float | None:
    """Return a number of `entity`, None where it states none; raises InputError E_FORMAT where it is none."""
    value = getattr(entity, attribute)
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{attribute} is {value!r}",
            where=f"{entity.is_a()} #{entity.id()}",
            expected="a number",
            code="E_FORMAT",
        ) from None


def _factors(operation: entity_instance) -> tuple[float, float, float]:
    if not operation.is_a("IfcMapConversionScaled"):
        return (1.0, 1.0, 1.0)
    x, y, z = (_real(operation, f"Factor{axis}") for axis in "XYZ")
    return (1.0 if x is None else x), (1.0 if y is None else y), (1.0 if z is None else z)


def _direction(abscissa: float | None, ordinate: float | None) -> tuple[float, float]:
    return (abscissa or 0.0, ordinate or 0.0) if abscissa or ordinate else (1.0, 0.0)


def _crs(
    file: ifcopenshell.file, target: entity_instance | None
) -> tuple[str | None, tuple[str, ...], tuple[str, ...]]:
    """Return how `target` names its CRS, what its other attributes say otherwise, and the EPSG codes among them."""
    if target is None:
        return None, (), ()
    name = str(target.Name).strip() if target.Name else None
    if file.schema == "IFC4X3":
        known = [text.WellKnownText for text in file.by_type("IfcWellKnownText") if _of(text, target)]
        name = str(known[0]) if known else name
    given = {each: getattr(target, each, None) for each in ("Description", "GeodeticDatum", "VerticalDatum")}
    codes = {match.group(1): each for each, text in given.items() if (match := _EPSG.search(str(text or "")))}
    hints = tuple(f"EPSG:{code}" for code in codes)
    return name, tuple(_otherwise(target.is_a(), name, given, codes)), hints


def _of(text: entity_instance, target: entity_instance) -> bool:
    return text.CoordinateReferenceSystem == target


def _otherwise(
    entity: str, name: str | None, given: Mapping[str, str | None], codes: Mapping[str, str]
) -> Iterator[str]:
    """Hold the descriptive attributes of a CRS against the CRS itself (buildingSMART GRF007 for the height)."""
    try:
        crs = crs_of.parse(name or "")
    except CrsError:  # the placement says so
        return
    for code, attribute in codes.items():
        try:
            other = crs_of.parse(code)
        except CrsError:
            yield f"{entity} {attribute} names EPSG:{code}, which does not exist"
            continue
        if attribute == "VerticalDatum":
            if not (other.is_vertical or other.is_compound):
                yield f"{entity} VerticalDatum EPSG:{code} is {other.name}, no height system"
        elif not _same(crs, other):
            yield f"{entity} {attribute} names EPSG:{code}, {other.name}; the CRS is {crs.name}"
    datum = given.get("GeodeticDatum")
    if datum and not _EPSG.search(datum) and not _names(crs, datum):
        known = crs.geodetic_crs.name if crs.geodetic_crs else crs.name
        yield f"{entity} GeodeticDatum says {datum}, the CRS is on {known}"


def _same(crs: crs_of.CRS, other: crs_of.CRS) -> bool:
    if other.is_vertical or other.is_geographic:  # a datum of the CRS named by itself
        parts = [*crs.sub_crs_list, crs.geodetic_crs]
        return any(part is not None and part.equals(other) for part in parts)
    return crs_of.horizontal(crs).equals(crs_of.horizontal(other), ignore_axis_order=True)


def _names(crs: crs_of.CRS, datum: str) -> bool:
    known = [crs.name, *(part.name for part in (crs.geodetic_crs, crs.datum) if part is not None)]
    wanted = _letters(datum)
    return any(wanted in _letters(each) or _letters(each) in wanted for each in known)


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _map_unit_m(target: entity_instance | None) -> tuple[float | None, str]:
    """Return metres a map unit, and the doubt where a unit's name and its size differ."""
    unit = getattr(target, "MapUnit", None)
    if unit is None:
        return None, ""
    size = float(ifcopenshell.util.unit.get_unit_scale(unit))
    named = _METRE.fullmatch(str(unit.Name).strip()) if unit.is_a("IfcConversionBasedUnit") and unit.Name else None
    if named is not None:
        meant = _PREFIX_M[(named.group(1) or "").upper()]
        if not math.isclose(size, meant, rel_tol=1e-6):
            return size, f"MapUnit #{unit.id()} is called {unit.Name} and is {size:g} m"
    return size, ""


def _angle_unit(file: ifcopenshell.file, target: entity_instance | None) -> float:
    """Return radians an angle unit of `target`, else of the project."""
    unit = getattr(target, "AngleUnit", None)
    if unit is not None:
        return float(ifcopenshell.util.unit.get_unit_scale(unit))
    return _project_unit(file, "PLANEANGLEUNIT") or 1.0


def _height_unit_m(file: ifcopenshell.file, target: entity_instance | None) -> float:
    unit = getattr(target, "HeightUnit", None)
    return float(ifcopenshell.util.unit.get_unit_scale(unit)) if unit is not None else project_unit_m(file)


def _property_set_conversions(file: ifcopenshell.file, said: Definitions) -> Iterator[MapConversion]:
    """Yield every ePSet_MapConversion, the way of IFC2X3 (buildingSMART user guide on geo-referencing, 2020)."""
    for owner in ("IfcProject", "IfcSite", "IfcBuilding"):
        for entity in file.by_type(owner):
            values = {name.casefold(): value for name, value in said.of(entity).items()}
            if "epset_mapconversion.eastings" in values:
                yield _property_set_conversion(f"ePSet_MapConversion on {entity.is_a()} #{entity.id()}", values)


def _property_set_conversion(entity: str, values: Mapping[str, Attribute]) -> MapConversion:
    name, unit = values.get("epset_projectedcrs.name"), values.get("epset_projectedcrs.mapunit")

    def number(attribute: str) -> float | None:
        return _number(values, f"epset_mapconversion.{attribute}")

    metre = _METRE.fullmatch(str(unit).strip()) if unit else None
    abscissa, ordinate = _direction(number("xaxisabscissa"), number("xaxisordinate"))
    conversion = MapConversion(
        entity,
        str(name).strip() if name else None,
        0.0,
        0.0,
        number("orthogonalheight") or 0.0,
        abscissa,
        ordinate,
        number("scale"),
        None if metre is None else _PREFIX_M[(metre.group(1) or "").upper()],
    )
    return _at(number("eastings"), number("northings"), conversion)


def _number(values: Mapping[str, Attribute], name: str) -> float | None:
    value = values.get(name)
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _site(file: ifcopenshell.file) -> tuple[entity_instance | None, tuple[float, float] | None]:
    """Return the site with latitude and longitude that are not 0, 0, and these in degrees; else the first site."""
    sites = file.by_type("IfcSite")
    for site in sites:
        latitude, longitude = _degrees(site.RefLatitude), _degrees(site.RefLongitude)
        if latitude is not None and longitude is not None and (latitude, longitude) != (0.0, 0.0):
            return site, (longitude, latitude)
    return (sites[0] if sites else None), None


def _degrees(compound: tuple[int, ...] | None) -> float | None:
    """Turn IfcCompoundPlaneAngleMeasure (degrees, minutes, seconds, millionths of a second) into degrees."""
    if not compound:
        return None
    return sum(part / divisor for part, divisor in zip(compound, (1, 60, 3600, 3.6e9), strict=False))


def _placed(site: entity_instance, unit_m: float) -> LocalOrigin | None:
    placement = site.ObjectPlacement
    if placement is None or not placement.is_a("IfcLocalPlacement"):
        return None
    matrix = ifcopenshell.util.placement.get_local_placement(placement)
    return _local_origin(f"IfcSite #{site.id()} placement", 30, matrix, unit_m)


def _world(file: ifcopenshell.file, unit_m: float) -> LocalOrigin | None:
    """Return the first context whose world coordinate system is not the model's own zero."""
    for context in file.by_type("IfcGeometricRepresentationContext", include_subtypes=False):
        axes = context.WorldCoordinateSystem
        if axes is None or not axes.is_a("IfcAxis2Placement3D"):
            continue
        try:
            matrix = ifcopenshell.util.placement.get_axis2placement(axes)
        except (AttributeError, TypeError, ValueError):  # no point, or no three numbers: it moves nothing
            continue
        world = _local_origin(f"{context.is_a()} #{context.id()} world coordinate system", 40, matrix, unit_m)
        if math.hypot(*world.origin) > _AT_ZERO_M or abs(world.rotation_deg) > _MIN_TURN_DEG:
            return world
    return None


def _local_origin(entity: str, level: int, matrix: NDArray[np.float64], unit_m: float) -> LocalOrigin:
    x, y, z = (matrix[:3, 3] * unit_m).tolist()
    return LocalOrigin(entity, level, (x, y, z), math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])))


def _true_north(file: ifcopenshell.file) -> tuple[float, float] | None:
    """Return TrueNorth of the first context of the model that has one."""
    contexts = file.by_type("IfcGeometricRepresentationContext", include_subtypes=False)
    for context in sorted(contexts, key=_is_plan):
        north = context.TrueNorth
        if north is not None and any(north.DirectionRatios[:2]):
            return float(north.DirectionRatios[0]), float(north.DirectionRatios[1])
    return None


def _address(file: ifcopenshell.file) -> str:
    """Return the first address of the file in one line."""
    for address in file.by_type("IfcPostalAddress"):
        parts = [*(address.AddressLines or ()), address.PostalCode, address.Town, address.Region, address.Country]
        text = ", ".join(part.strip() for part in parts if part and part.strip())
        if text:
            return text[:120]
    return ""
