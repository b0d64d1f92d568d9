"""Where an IFC file that could not be read breaks its schema: values of another type than the attribute has."""

from __future__ import annotations

from typing import Any

import ifcopenshell
from ifcopenshell import entity_instance

_SIMPLE: dict[str, type | tuple[type, ...]] = {
    "integer": int,
    "number": (int, float),
    "real": (int, float),
    "string": str,
}


def first_violation(file: ifcopenshell.file) -> str | None:
    """Return the first attribute of `file` whose value is not of its type, in one line; None where all are.

    A look at types only, and no replacement of ifcopenshell's validator, which may die of the files that need this.
    """
    schema: Any = ifcopenshell.schema_by_name(file.schema_identifier)
    for instance in file:
        declared = schema.declaration_by_name(instance.is_a()).as_entity()
        for place, (attribute, derived) in enumerate(zip(declared.all_attributes(), declared.derived(), strict=True)):
            value = instance[place]
            may_be_none = derived or attribute.optional()
            if not (may_be_none if value is None else _fits(value, attribute.type_of_attribute())):
                shown = value.is_a() if isinstance(value, entity_instance) else repr(value)[:40]
                return f"{attribute.name()} of {instance.is_a()} #{instance.id()} is {shown}"
    return None


def _fits(value: Any, declared: Any) -> bool:
    """Say whether `value` is of the type `declared` of an attribute, or of what that is made of."""
    if declared.as_aggregation_type():
        element = declared.as_aggregation_type().type_of_element()
        return isinstance(value, tuple) and all(_fits(each, element) for each in value)
    if declared.as_simple_type():
        wanted = _SIMPLE.get(declared.as_simple_type().declared_type())
        return wanted is None or isinstance(value, wanted)
    declaration = declared.as_named_type().declared_type()
    if declaration.as_entity():
        return isinstance(value, entity_instance) and bool(value.is_a(declaration.name()))
    if declaration.as_select_type():
        return isinstance(value, entity_instance)
    if declaration.as_type_declaration():
        return _fits(value, declaration.as_type_declaration().declared_type())
    return isinstance(value, str)
