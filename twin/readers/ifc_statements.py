"""What an IFC file states about where it stands, read as plain values for `twin.georeference`."""

from __future__ import annotations

from collections.abc import Mapping

import ifcopenshell
import ifcopenshell.util.unit
from ifcopenshell import entity_instance

from twin.asset import Attribute
from twin.georeference import MapConversion, Statements
from twin.readers.ifc_properties import Definitions


def statements(file: ifcopenshell.file, said: Definitions, anchor: tuple[float, float, float]) -> Statements:
    """Read unit, map conversion, site and address of `file`."""
    return Statements(
        project_unit_m=project_unit_m(file),
        conversion=_conversion(file) or _property_set_conversion(file, said),
        site_lonlat=_site_lonlat(file),
        has_address=bool(file.by_type("IfcPostalAddress")),
        anchor=anchor,
    )


def project_unit_m(file: ifcopenshell.file) -> float:
    """Return metres a model unit; a file that assigns no length unit is in metres."""
    try:
        return float(ifcopenshell.util.unit.calculate_unit_scale(file))
    except (AttributeError, IndexError, KeyError):  # no unit assignment, or one without a length
        return 1.0


def _conversion(file: ifcopenshell.file) -> MapConversion | None:
    """Return the coordinate operation of IFC4 and later; a map conversion goes before a rigid operation."""
    if file.schema == "IFC2X3":
        return None
    operations = sorted(file.by_type("IfcCoordinateOperation"), key=lambda entity: not entity.is_a("IfcMapConversion"))
    for operation in operations:
        target = operation.TargetCRS
        crs, unit = _crs_name(file, target), _map_unit_m(target)
        entity = f"{operation.is_a()} #{operation.id()}"
        if operation.is_a("IfcMapConversion"):
            east, north = operation.Eastings, operation.Northings
            x_axis = (operation.XAxisAbscissa, operation.XAxisOrdinate)
            scale = operation.Scale
        elif operation.is_a("IfcRigidOperation"):
            east, north = operation.FirstCoordinate.wrappedValue, operation.SecondCoordinate.wrappedValue
            x_axis, scale = (None, None), None
        else:
            continue
        height = getattr(operation, "OrthogonalHeight", None) or getattr(operation, "Height", None) or 0.0
        abscissa, ordinate = _direction(*x_axis)
        return MapConversion(
            entity, crs, float(east or 0.0), float(north or 0.0), float(height), abscissa, ordinate, scale, unit
        )
    return None


def _direction(abscissa: float | None, ordinate: float | None) -> tuple[float, float]:
    return (abscissa or 0.0, ordinate or 0.0) if abscissa or ordinate else (1.0, 0.0)


def _crs_name(file: ifcopenshell.file, target: entity_instance | None) -> str | None:
    if target is None:
        return None
    if file.schema == "IFC4X3":
        for text in file.by_type("IfcWellKnownText"):
            if text.CoordinateReferenceSystem == target:
                return str(text.WellKnownText)
    return str(target.Name).strip() if target.Name else None


def _map_unit_m(target: entity_instance | None) -> float | None:
    unit = getattr(target, "MapUnit", None)
    if unit is None:
        return None
    return float(ifcopenshell.util.unit.get_unit_scale(unit))


def _property_set_conversion(file: ifcopenshell.file, said: Definitions) -> MapConversion | None:
    """Return ePSet_MapConversion, the way of IFC2X3 (buildingSMART user guide on geo-referencing, 2020)."""
    for owner in ("IfcProject", "IfcSite", "IfcBuilding"):
        for entity in file.by_type(owner):
            values = {name.casefold(): value for name, value in said.of(entity).items()}
            if "epset_mapconversion.eastings" in values:
                name = values.get("epset_projectedcrs.name")
                conversion = "epset_mapconversion."
                abscissa, ordinate = _direction(
                    _number(values, conversion + "xaxisabscissa"), _number(values, conversion + "xaxisordinate")
                )
                return MapConversion(
                    f"ePSet_MapConversion on {entity.is_a()} #{entity.id()}",
                    str(name).strip() if name else None,
                    _number(values, conversion + "eastings") or 0.0,
                    _number(values, conversion + "northings") or 0.0,
                    _number(values, conversion + "orthogonalheight") or 0.0,
                    abscissa,
                    ordinate,
                    _number(values, conversion + "scale"),
                )
    return None


def _number(values: Mapping[str, Attribute], name: str) -> float | None:
    value = values.get(name)
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _site_lonlat(file: ifcopenshell.file) -> tuple[float, float] | None:
    """Return longitude and latitude in degrees of the first site that has both and is not at 0, 0."""
    for site in file.by_type("IfcSite"):
        latitude, longitude = _degrees(site.RefLatitude), _degrees(site.RefLongitude)
        if latitude is not None and longitude is not None and (latitude, longitude) != (0.0, 0.0):
            return longitude, latitude
    return None


def _degrees(compound: tuple[int, ...] | None) -> float | None:
    """Turn IfcCompoundPlaneAngleMeasure (degrees, minutes, seconds, millionths of a second) into degrees."""
    if not compound:
        return None
    return sum(part / divisor for part, divisor in zip(compound, (1, 60, 3600, 3.6e9), strict=False))
