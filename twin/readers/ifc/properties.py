"""Property sets, quantities and types of an IFC file, each relation walked once; values keep the file's own units.

A set that many objects share is flattened once and shared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import ifcopenshell
from ifcopenshell import entity_instance

from twin.asset import Attribute
from twin.readers.ifc.associations import classifications, materials, systems
from twin.readers.ifc.units import Units, units

_T = TypeVar("_T")

StepId = int
"""The number of an instance in its file (``#12`` is 12)."""

# Attributes by position, the same in every schema: half the time of access by name, on tens of thousands of properties.
SET_NAME, PROPERTIES, QUANTITIES = 2, 4, 5
NAME, NOMINAL_VALUE, QUANTITY_UNIT, VALUE_UNIT, QUANTITY_VALUE, BOUNDED_UNIT, WRAPPED = 0, 2, 2, 3, 3, 4, 0

Value = tuple[str, Attribute, str | None]
"""``Set.Property``, its value, and the unit of it."""


def guid(entity: entity_instance) -> str:
    """Return the GlobalId of `entity`, or its step number (``#12``) where a faulty file gives it none."""
    return entity.GlobalId or f"#{entity.id()}"


@dataclass(frozen=True, slots=True)
class Definitions:
    """What the relations of a file say about its objects, by the object's step id."""

    properties: Mapping[StepId, Mapping[str, Attribute]]
    units: Mapping[StepId, Mapping[str, str]]
    types: Mapping[StepId, entity_instance]
    materials: Mapping[StepId, tuple[str, ...]]
    classifications: Mapping[StepId, tuple[str, ...]]
    systems: Mapping[StepId, str]

    def of(self, entity: entity_instance) -> Mapping[str, Attribute]:
        """Return the flattened ``Set.Property`` values of `entity`; its own win over its type's."""
        return _with_type(self.properties, entity, self.types)

    def units_of(self, entity: entity_instance) -> Mapping[str, str]:
        """Return the units of those values of `of` that have one."""
        return _with_type(self.units, entity, self.types)

    def materials_of(self, entity: entity_instance) -> tuple[str, ...]:
        """Return the names of the materials of `entity`, its type's where it has none of its own."""
        kind = self.types.get(entity.id())
        return self.materials.get(entity.id()) or self.materials.get(kind.id() if kind else 0, ())

    def classifications_of(self, entity: entity_instance) -> tuple[str, ...]:
        """Return the classifications of `entity`, and after them those of its type."""
        kind = self.types.get(entity.id())
        inherited = self.classifications.get(kind.id(), ()) if kind else ()
        own = self.classifications.get(entity.id(), ())
        return tuple(dict.fromkeys((*own, *inherited))) if inherited else own


def _with_type(
    found: Mapping[StepId, Mapping[str, _T]], entity: entity_instance, types: Mapping[StepId, entity_instance]
) -> Mapping[str, _T]:
    own = found.get(entity.id(), {})
    kind = types.get(entity.id())
    inherited = found.get(kind.id(), {}) if kind else {}
    return {**inherited, **own} if inherited else own


def definitions(file: ifcopenshell.file) -> Definitions:
    """Read every property set, quantity set, type, material, classification and system of `file`."""
    flattened: dict[StepId, tuple[dict[str, Attribute], dict[str, str]]] = {}
    properties: defaultdict[StepId, dict[str, Attribute]] = defaultdict(dict)
    measured: defaultdict[StepId, dict[str, str]] = defaultdict(dict)
    known = units(file)

    def add(owner: StepId, definition: entity_instance) -> None:
        key = definition.id()
        if key not in flattened:
            values = list(_flatten(definition, known))
            flattened[key] = (
                {name: value for name, value, _ in values},
                {name: unit for name, _, unit in values if unit},
            )
        own, own_units = flattened[key]
        properties[owner].update(own)
        if own_units:
            measured[owner].update(own_units)

    for relation in file.by_type("IfcRelDefinesByProperties"):
        stated = relation.RelatingPropertyDefinition
        if stated is None:
            continue
        # IFC4 also allows a set of sets (IfcPropertySetDefinitionSet), which carries no id of its own.
        sets = stated.wrappedValue if stated.is_a("IfcPropertySetDefinitionSet") else (stated,)
        for owner in relation.RelatedObjects:
            for definition in sets:
                add(owner.id(), definition)
    for kind in file.by_type("IfcTypeObject"):
        for definition in kind.HasPropertySets or ():
            add(kind.id(), definition)
    return Definitions(properties, measured, _types(file), materials(file), classifications(file), systems(file))


def _types(file: ifcopenshell.file) -> dict[StepId, entity_instance]:
    return {
        related.id(): relation.RelatingType
        for relation in file.by_type("IfcRelDefinesByType")
        for related in relation.RelatedObjects
    }


def _flatten(definition: entity_instance, known: Units) -> Iterator[Value]:
    kind = definition.is_a()
    name = definition[SET_NAME] or kind
    if kind == "IfcPropertySet":
        members = definition[PROPERTIES]
    elif kind == "IfcElementQuantity":
        members = definition[QUANTITIES]
    else:  # the predefined sets of doors, windows, …: each attribute past those of IfcPropertySetDefinition is a value
        for key, value in list(definition.get_info(recursive=False).items())[6:]:
            if isinstance(value, str | int | float | bool):
                yield f"{name}.{key}", value, None
        return
    for member in members or ():
        yield from _values(member, name, known)


def _values(member: entity_instance, prefix: str, known: Units) -> Iterator[Value]:
    kind = member.is_a()
    name = f"{prefix}.{member[NAME]}"
    if kind == "IfcPropertySingleValue":
        nominal = member[NOMINAL_VALUE]
        value = None if nominal is None else _plain(nominal[WRAPPED])
        yield name, value, None if isinstance(value, str) else _unit(member[VALUE_UNIT], nominal, known)
    elif kind.startswith("IfcQuantity"):
        unit = member[QUANTITY_UNIT]
        yield name, member[QUANTITY_VALUE], known.of_unit(unit) if unit else known.of_quantity(kind)
    elif kind == "IfcPropertyEnumeratedValue":
        yield name, _joined(member.EnumerationValues), None
    elif kind == "IfcPropertyListValue":
        yield name, _joined(member.ListValues), _unit(member[VALUE_UNIT], _first(member.ListValues), known)
    elif kind == "IfcPropertyBoundedValue":
        bounds = member.LowerBoundValue, member.UpperBoundValue
        unit = _unit(member[BOUNDED_UNIT], _first(bounds), known)
        yield name, f"{_joined(bounds[:1])}..{_joined(bounds[1:])}", unit
    elif kind == "IfcPropertyTableValue":
        pairs = zip(member.DefiningValues or (), member.DefinedValues or (), strict=False)
        text = "; ".join(f"{_joined((key,))}={_joined((value,))}" for key, value in pairs)
        yield name, text, _unit(member.DefinedUnit, _first(member.DefinedValues), known)
    elif kind in {"IfcComplexProperty", "IfcPhysicalComplexQuantity"}:
        for child in member.HasProperties if kind == "IfcComplexProperty" else member.HasQuantities:
            yield from _values(child, name, known)


def _unit(own: entity_instance | None, value: entity_instance | None, known: Units) -> str | None:
    if own is not None:
        return known.of_unit(own)
    return None if value is None else known.of_measure(value.is_a())


def _first(values: tuple[entity_instance | None, ...] | None) -> entity_instance | None:
    return next((value for value in values or () if value is not None), None)


def _joined(values: tuple[entity_instance | None, ...] | None) -> str:
    return ", ".join(str(value.wrappedValue) for value in values or () if value is not None)


def _plain(value: object) -> Attribute:
    return value if isinstance(value, str | int | float | bool) else str(value)
