"""A file checked: against its schema and, where one is given, an IDS, in a process that may be killed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from twin.check_ids import IdsCheck, check_ids, open_ids
from twin.check_schema import SchemaCheck, check_schema
from twin.workers import isolated


@dataclass(frozen=True, slots=True)
class FileCheck:
    """What the checks of one IFC file found; `ids` is None where none was asked for."""

    file: str
    passed: bool
    schema: SchemaCheck
    ids: IdsCheck | None = None


def check(path: Path, *, ids: Path | None = None, rules: bool = False, timeout_s: float = 1800.0) -> FileCheck:
    """Check the IFC file at `path`, each check for `timeout_s` at most.

    `rules` adds the schema's WHERE rules, which take minutes on a large model. Raises InputError where the file or
    the IDS cannot be used (codes of `twin.readers.ifc.file.open_ifc` and `twin.check_ids.open_ids`), where a check
    takes too long (E_TIMEOUT) or its process dies (E_CRASH), and UnavailableError where ifctester is not installed.
    """
    if ids is not None:
        open_ids(ids)
    schema = isolated(partial(check_schema, rules=rules), path, timeout_s)
    specified = None if ids is None else isolated(partial(check_ids, ids_path=ids), path, timeout_s)
    return FileCheck(str(path), schema.valid and (specified is None or specified.passed), schema, specified)
