"""The protobuf message of Sparkplug B, as far as it is read here.

Field numbers and types are those of the specification (Eclipse Sparkplug 3.0.0, chapter 6: Payload, Metric,
PropertySet, PropertyValue), built with protobuf's own descriptors; what is not named here (metadata, data sets,
templates) is skipped by the parser as any unknown field is. Names are declared as bytes, which is the same on the wire,
so that one that is not UTF-8 is refused by us and by its code.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "chengmai.sparkplug"


class DataType(IntEnum):
    """Types of values that are numbers (Sparkplug 3.0.0, chapter 6, Data Types)."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11


_SCHEMA: dict[str, tuple[tuple[str, int, int | str, str], ...]] = {
    "Payload": (
        ("timestamp", 1, _FIELD.TYPE_UINT64, ""),
        ("metrics", 2, "Metric", "repeated"),
        ("seq", 3, _FIELD.TYPE_UINT64, ""),
    ),
    "Metric": (
        ("name", 1, _FIELD.TYPE_BYTES, ""),
        ("alias", 2, _FIELD.TYPE_UINT64, ""),
        ("timestamp", 3, _FIELD.TYPE_UINT64, ""),
        ("datatype", 4, _FIELD.TYPE_UINT32, ""),
        ("is_historical", 5, _FIELD.TYPE_BOOL, ""),
        ("is_null", 7, _FIELD.TYPE_BOOL, ""),
        ("properties", 9, "PropertySet", ""),
        ("int_value", 10, _FIELD.TYPE_UINT32, "value"),
        ("long_value", 11, _FIELD.TYPE_UINT64, "value"),
        ("float_value", 12, _FIELD.TYPE_FLOAT, "value"),
        ("double_value", 13, _FIELD.TYPE_DOUBLE, "value"),
        ("boolean_value", 14, _FIELD.TYPE_BOOL, "value"),
    ),
    "PropertySet": (
        ("keys", 1, _FIELD.TYPE_BYTES, "repeated"),
        ("values", 2, "PropertyValue", "repeated"),
    ),
    "PropertyValue": (
        ("int_value", 3, _FIELD.TYPE_UINT32, "value"),
        ("string_value", 8, _FIELD.TYPE_BYTES, "value"),
    ),
}
"""Name, number, type, and (last) whether it is repeated or of a oneof."""


@cache
def payload_class() -> Any:
    """Return the class of payload messages; made once, when first asked for."""
    file = descriptor_pb2.FileDescriptorProto(name="chengmai/sparkplug_b.proto", package=_PACKAGE, syntax="proto2")
    for name, fields in _SCHEMA.items():
        message = file.message_type.add(name=name)
        for key, number, kind, group in fields:
            declared = message.field.add(name=key, number=number)
            declared.label = _FIELD.LABEL_REPEATED if group == "repeated" else _FIELD.LABEL_OPTIONAL
            if isinstance(kind, str):
                declared.type, declared.type_name = _FIELD.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            else:
                declared.type = kind  # type: ignore[assignment]  # the enum's values are plain numbers at run time
            if group == "value":
                if not message.oneof_decl:
                    message.oneof_decl.add(name=group)
                declared.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Payload"))


__all__ = ["DataType", "payload_class"]
