"""An IFC file against its own schema: attributes, types, references, and on request the schema's rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ifcopenshell.validate

from twin.readers.ifc.file import open_ifc

SHOWN = 100
"""Errors that a summary names one by one."""


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One violation: its kind (schema, or the kind of rule), the entity and attribute, and what is wrong in one line.

    `code` is ``header``, ``schema`` (a type, an attribute, a reference), ``entity_rule``, ``global_rule``,
    ``simpletype_rule`` or ``parse``; `step` is the instance's number in the file, 0 for none.
    """

    code: str
    entity: str
    attribute: str
    message: str
    step: int = 0
    guid: str = ""


@dataclass(frozen=True, slots=True)
class SchemaCheck:
    """How a file keeps to its schema: the count of errors in all, by attribute, and the first `SHOWN` of them.

    A file of a release candidate is held against the schema `alias` that it is read as. `rules` says whether the WHERE
    rules were checked too.
    """

    file: str
    schema: str
    alias: str | None
    valid: bool
    rules: bool
    errors: int
    by_attribute: Mapping[str, int]
    shown: Sequence[SchemaError]


def check_schema(path: Path, *, rules: bool = False) -> SchemaCheck:
    """Hold the file at `path` against its schema with ifcopenshell's validator; `rules` adds the slow WHERE rules.

    Raises InputError as `twin.readers.ifc.file.open_ifc` does.
    """
    opened = open_ifc(path)
    logger = ifcopenshell.validate.json_logger()
    ifcopenshell.validate.validate(opened.file, logger, express_rules=rules)
    statements: list[Any] = list(logger.statements)
    found = [SchemaError("parse", "", "", remark) for remark in opened.remarks]
    found += [_error(statement) for statement in statements if statement["level"] == "error"]
    places = Counter(error.attribute or error.entity or error.code for error in found)
    return SchemaCheck(
        str(path), opened.schema, opened.alias, not found, rules, len(found), dict(places.most_common()), found[:SHOWN]
    )


def _error(statement: Mapping[str, Any]) -> SchemaError:
    instance = statement.get("instance")
    is_entity = isinstance(instance, ifcopenshell.entity_instance)
    return SchemaError(
        str(statement.get("type") or "schema"),
        instance.is_a() if is_entity else "",
        str(statement.get("attribute") or ""),
        " ".join(str(statement["message"]).split())[:400],
        instance.id() if is_entity else 0,
        (getattr(instance, "GlobalId", None) or "") if is_entity else "",
    )
