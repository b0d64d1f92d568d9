"""Property sets, quantities, types and systems of an IFC file, each relation walked once.

Values keep the file's own units. A set that many objects share is flattened once and shared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import ifcopenshell
from ifcopenshell import entity_instance

from twin.asset import Attribute

StepId = int
"""The number of an instance in its file (``#12`` is 12)."""

# Attributes by position, the same in every schema: half the time of access by name, on tens of thousands of properties.
NAME, NOMINAL_VALUE, QUANTITY_VALUE, WRAPPED = 0, 2, 3, 0


@dataclass(frozen=True, slots=True)
class Definitions:
    """What the relations of a file say about its objects, by the object's step id."""

    properties: Mapping[StepId, Mapping[str, Attribute]]
    types: Mapping[StepId, entity_instance]
    systems: Mapping[StepId, str]

    def of(self, entity: entity_instance) -> Mapping[str, Attribute]:
        """Return the flattened ``Set.Property`` values of `entity`; its own win over its type's."""
        own = self.properties.get(entity.id(), {})
        kind = self.types.get(entity.id())
        inherited = self.properties.get(kind.id(), {}) if kind else {}
        return {**inherited, **own} if inherited else own


def definitions(file: ifcopenshell.file) -> Definitions:
    """Read every property set, quantity set, type and system of `file`."""
    flattened: dict[StepId, dict[str, Attribute]] = {}
    properties: defaultdict[StepId, dict[str, Attribute]] = defaultdict(dict)

    def add(owner: StepId, definition: entity_instance) -> None:
        key = definition.id()
        if key not in flattened:
            flattened[key] = dict(_flatten(definition))
        properties[owner].update(flattened[key])

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
    return Definitions(properties, _types(file), _systems(file))


def _types(file: ifcopenshell.file) -> dict[StepId, entity_instance]:
    return {
        related.id(): relation.RelatingType
        for relation in file.by_type("IfcRelDefinesByType")
        for related in relation.RelatedObjects
    }


def _systems(file: ifcopenshell.file) -> dict[StepId, str]:
    """Return the name of each object's system; of several, the first by step id."""
    systems: dict[StepId, str] = {}
    for relation in sorted(file.by_type("IfcRelAssignsToGroup"), key=lambda relation: relation.id()):
        group = relation.RelatingGroup
        if group is not None and group.is_a("IfcSystem"):
            for member in relation.RelatedObjects:
                systems.setdefault(member.id(), group.Name or group.ObjectType or group.GlobalId)
    return systems


def _flatten(definition: entity_instance) -> Iterator[tuple[str, Attribute]]:
    name = definition.Name or definition.is_a()
    if definition.is_a("IfcPropertySet"):
        members = definition.HasProperties
    elif definition.is_a("IfcElementQuantity"):
        members = definition.Quantities
    else:  # the predefined sets of doors, windows, …: each attribute past those of IfcPropertySetDefinition is a value
        for key, value in list(definition.get_info(recursive=False).items())[6:]:
            if isinstance(value, str | int | float | bool):
                yield f"{name}.{key}", value
        return
    for member in members or ():
        yield from _values(member, name)


def _values(member: entity_instance, prefix: str) -> Iterator[tuple[str, Attribute]]:
    kind = member.is_a()
    name = f"{prefix}.{member[NAME]}"
    if kind == "IfcPropertySingleValue":
        nominal = member[NOMINAL_VALUE]
        yield name, None if nominal is None else _plain(nominal[WRAPPED])
    elif kind.startswith("IfcQuantity"):
        yield name, member[QUANTITY_VALUE]
    elif kind == "IfcPropertyEnumeratedValue":
        yield name, _joined(member.EnumerationValues)
    elif kind == "IfcPropertyListValue":
        yield name, _joined(member.ListValues)
    elif kind == "IfcPropertyBoundedValue":
        yield name, f"{_joined((member.LowerBoundValue,))}..{_joined((member.UpperBoundValue,))}"
    elif kind == "IfcPropertyTableValue":
        pairs = zip(member.DefiningValues or (), member.DefinedValues or (), strict=False)
        yield name, "; ".join(f"{_joined((key,))}={_joined((value,))}" for key, value in pairs)
    elif kind in {"IfcComplexProperty", "IfcPhysicalComplexQuantity"}:
        for child in member.HasProperties if kind == "IfcComplexProperty" else member.HasQuantities:
            yield from _values(child, name)


def _joined(values: tuple[entity_instance | None, ...] | None) -> str:
    return ", ".join(str(value.wrappedValue) for value in values or () if value is not None)


def _plain(value: object) -> Attribute:
    return value if isinstance(value, str | int | float | bool) else str(value)
