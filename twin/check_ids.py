"""An IFC file against an Information Delivery Specification (buildingSMART IDS 1.0): what each specification found."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

from xmlschema.exceptions import XMLSchemaException

from twin.errors import InputError, UnavailableError
from twin.readers.ifc.file import open_ifc

if TYPE_CHECKING:
    from ifctester.ids import Ids

SHOWN = 10
"""Failing objects that a specification names."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An object that fails a requirement, and why."""

    guid: str
    ifc_class: str
    name: str
    requirement: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpecificationCheck:
    """What one specification found: how many objects it applies to, how many pass, how many fail, the first of these.

    `passed` is its verdict: one that wants at least one object fails without any; one written for another version of
    IFC (`applies` is false) was not asked, and does not fail. One object may fail several requirements.
    """

    name: str
    passed: bool
    applicable: int
    fulfilled: int
    failed: int
    applies: bool
    failures: Sequence[Failure]


@dataclass(frozen=True, slots=True)
class IdsCheck:
    """What every specification of one IDS found in one file."""

    file: str
    ids: str
    title: str
    passed: bool
    specifications: Sequence[SpecificationCheck]


def check_ids(path: Path, *, ids_path: Path) -> IdsCheck:
    """Hold the file at `path` against the IDS at `ids_path` with ifctester.

    Raises what `open_ids` and `twin.readers.ifc.file.open_ifc` raise.
    """
    specifications = open_ids(ids_path)
    opened = open_ifc(path)  # the report reads on in it
    specifications.validate(opened.file, should_filter_version=True)
    report: Any = _ifctester("reporter").Json(specifications).report()
    found = [_specification(each) for each in report["specifications"]]
    title = str(report["title"])
    return IdsCheck(str(path), str(ids_path), title, all(each.passed for each in found), found)


def open_ids(path: Path) -> Ids:
    """Read an IDS and hold it against the standard's own schema.

    Raises InputError E_MISSING, E_READ, E_IDS, and UnavailableError where ifctester is not installed.
    """
    ids = _ifctester("ids")
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), expected="an .ids file", code="E_MISSING") from None
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=str(path), code="E_READ") from None
    try:
        return ids.open(str(path), validate=True)
    except (ids.IdsXmlValidationError, XMLSchemaException, ParseError, ValueError, TypeError, KeyError) as error:
        what = f"is no usable IDS: {_reason(error)}"
        raise InputError(what, where=str(path), expected="buildingSMART IDS 1.0", code="E_IDS") from None


def _ifctester(module: str) -> Any:
    """Return a module of ifctester, which is an extra (docs/adr/0011): everything else works without it."""
    try:
        return importlib.import_module(f"ifctester.{module}")
    except ModuleNotFoundError as missing:
        raise UnavailableError(
            f"an IDS is checked by ifctester: {missing}", where="--ids", expected="pip install 'chengmai[ids]'"
        ) from None


def _reason(error: Exception) -> str:
    """Return the reason of an XML error in one line; the schema's own words stand in its `reason`."""
    cause = getattr(error, "xml_error", error)
    reason = getattr(cause, "reason", None) or str(cause)
    where = getattr(cause, "path", None)
    return " ".join(f"{reason}{f' at {where}' if where else ''}".split())[:250]


def _specification(report: Any) -> SpecificationCheck:
    failures = [
        Failure(
            str(entity["global_id"] or f"#{entity['id']}"),
            str(entity["class"]),
            str(entity["name"] or ""),
            str(requirement["description"]),
            str(entity["reason"]),
        )
        for requirement in report["requirements"]
        for entity in requirement["failed_entities"]
    ]
    return SpecificationCheck(
        str(report["name"]),
        bool(report["status"]) or not report["is_ifc_version"],
        int(report["total_applicable"]),
        int(report["total_applicable_pass"]),
        int(report["total_applicable_fail"]),
        bool(report["is_ifc_version"]),
        failures[:SHOWN],
    )
