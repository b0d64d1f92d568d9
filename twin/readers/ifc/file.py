r"""Open an IFC file: header, schema, encoding and completeness are checked before the library sees a byte.

ifcopenshell 0.9 reads IFC2X3, IFC4 and IFC4X3_ADD2. Files of the release candidates in between and of IFC4X4's drafts
are opened as IFC4X3_ADD2 (179 of 179 real files opened so), and the alias is recorded, since a candidate's attributes
may differ. Instances of a class that the schema does not have are dropped by the library, which says so in its log:
the log comes with the file.
It also fails on a UTF-8 byte order mark, and drops every byte above 127, which ISO 10303-21 does not allow in a string
but many Chinese exporters write; such text is rewritten as the standard's ``\X2\`` escapes first.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ifcopenshell

from twin.errors import InputError
from twin.readers.ifc.zip import ZIP_MAGIC, unzipped

MAGIC = b"ISO-10303-21"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
HEADER_BYTES = 1 << 16
SUFFIXES = frozenset({".ifc", ".ifczip", ".ifcxml"})
XML_ROOT = re.compile(rb"<(\w+:)?(ifcXML|iso_10303_28)\b", re.IGNORECASE)

READ_AS_IS = frozenset({"IFC2X3", "IFC4", "IFC4X3_ADD2"})
ALIASES = (
    (re.compile(r"IFC2X3_TC1|IFC2X2_FINAL"), "IFC2X3"),
    (re.compile(r"IFC4_ADD\d(_TC\d)?"), "IFC4"),
    (re.compile(r"IFC4X[1-4](_.*)?"), "IFC4X3_ADD2"),
)
"""Names of schemas between the standards: candidates (RC), corrigenda (TC), drafts (DEV), and what they are read as."""

_SCHEMA = re.compile(rb"FILE_SCHEMA\s*\(\s*\(\s*'([^']*)'", re.IGNORECASE)
_REMARK = re.compile(r"^\[\w+\] (?:\[\w+\] )?\[[^\]]*\] (.+)$", re.MULTILINE)
_UNKNOWN = re.compile(r"Entity with name '(\w+)' not found in schema")
_NUMBER = re.compile(r"(?<![A-Za-z_])#?\d+")
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")


@dataclass(frozen=True, slots=True)
class IfcSource:
    """An opened file, the schema its header names, and what was put right to open it."""

    file: ifcopenshell.file
    schema: str
    alias: str | None
    encoding: str
    """``ascii`` as the standard wants it, else the encoding of the raw bytes found in strings."""
    remarks: tuple[str, ...]
    """What the library found wrong while it parsed, one line a kind."""


def is_ifc(path: Path) -> bool:
    """Say whether `path` is an IFC file by name, or by its first bytes."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as stream:
            head = stream.read(len(BYTE_ORDER_MARK) + len(MAGIC))
    except OSError:
        return False
    return head.removeprefix(BYTE_ORDER_MARK).startswith(MAGIC)


def open_ifc(path: Path) -> IfcSource:
    """Open `path`, plain or zipped.

    Raises InputError with E_MISSING, E_READ, E_EMPTY, E_FORMAT, E_TRUNCATED, E_ENCODING, E_SCHEMA or E_TOO_LARGE.
    """
    content = _bytes_of(path)
    body = unzipped(path) if content.startswith(ZIP_MAGIC) else content
    body = body.removeprefix(BYTE_ORDER_MARK)
    declared = _declared_schema(path, body)
    alias = None if declared in READ_AS_IS else _alias(path, declared)
    body, encoding = _escaped(path, body)
    if alias:
        body = _SCHEMA.sub(lambda match: match.group(0).replace(match.group(1), alias.encode()), body, count=1)
    ifcopenshell.get_log()  # what earlier files left there
    file = _parsed(path, None if body is content else body)
    return IfcSource(file, declared, alias, encoding, _remarks(str(ifcopenshell.get_log()), body))


def _alias(path: Path, declared: str) -> str:
    for pattern, alias in ALIASES:
        if pattern.fullmatch(declared):
            return alias
    raise InputError(
        f"schema {declared} is not supported",
        where=str(path),
        expected="IFC2X3, IFC4 or IFC4X3, or one of its release candidates",
        code="E_SCHEMA",
    )


def _remarks(log: str, body: bytes) -> tuple[str, ...]:
    """Sum up the library's log: remarks that differ in their numbers only are one, with the first and the count.

    Of the instances of a class that the schema lacks the log names the first only, so they are counted in the file.
    """
    kinds: dict[str, list[str]] = {}
    for remark in _REMARK.findall(log):
        unknown = _UNKNOWN.match(remark)
        if unknown:
            name = unknown.group(1)
            count = len(re.findall(rb"=\s*" + name.encode() + rb"\s*\(", body, re.IGNORECASE))
            kinds[remark] = [f"{count} {name} left out: the schema has no such class"]
        else:
            kinds.setdefault(_NUMBER.sub("#", remark), []).append(remark)
    return tuple(
        same[0] if len(same) == 1 else f"{same[0]} (and {len(same) - 1} more like it)" for same in kinds.values()
    )


def _bytes_of(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), code="E_MISSING") from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=str(path), code="E_READ") from error
    if not content.strip():
        raise InputError("the file is empty", where=str(path), expected="an IFC file", code="E_EMPTY")
    return content


def _declared_schema(path: Path, body: bytes) -> str:
    if XML_ROOT.search(body[:HEADER_BYTES]):
        raise InputError("ifcXML is not read", where=str(path), expected="the model as IFC (STEP)", code="E_FORMAT")
    if not body.lstrip().startswith(MAGIC):
        raise InputError(
            f"begins with {body[:20]!r}, so it has no IFC header",
            where=str(path),
            expected="ISO-10303-21; as its first line",
            code="E_FORMAT",
        )
    if b"END-ISO-10303-21" not in body[-HEADER_BYTES:]:
        raise InputError(
            "ends in the middle", where=str(path), expected="END-ISO-10303-21; at its end", code="E_TRUNCATED"
        )
    match = _SCHEMA.search(body[:HEADER_BYTES])
    if match is None:
        raise InputError("the header names no schema", where=str(path), expected="FILE_SCHEMA", code="E_FORMAT")
    return match.group(1).decode("ascii", "replace").strip().upper()


def _escaped(path: Path, body: bytes) -> tuple[bytes, str]:
    r"""Return the file in ASCII, raw UTF-8 or GB 18030 text escaped by ``\X2\`` or ``\X4\`` (ISO 10303-21, 6.4.3)."""
    if body.isascii():
        return body, "ascii"
    for encoding in ("utf-8", "gb18030"):
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        return _NON_ASCII.sub(lambda match: _escape(match.group(0)), text).encode("ascii"), encoding
    raise InputError("text in no known encoding", where=str(path), expected="UTF-8 or GB 18030", code="E_ENCODING")


def _escape(text: str) -> str:
    if all(ord(character) <= 0xFFFF for character in text):
        return f"\\X2\\{text.encode('utf-16-be').hex().upper()}\\X0\\"
    return f"\\X4\\{text.encode('utf-32-be').hex().upper()}\\X0\\"


def _parsed(path: Path, rewritten: bytes | None) -> ifcopenshell.file:
    with tempfile.TemporaryDirectory(prefix="chengmai-ifc-") as folder:
        readable = path
        if rewritten is not None:
            readable = Path(folder) / "model.ifc"
            readable.write_bytes(rewritten)
        try:
            with quiet_stdout():
                file = ifcopenshell.open(readable, format=".ifc")
        except (ifcopenshell.Error, OSError, RuntimeError) as error:
            reason = str(error).removesuffix(", check logs")  # there are none
            raise InputError(reason, where=str(path), expected="an IFC file", code="E_FORMAT") from error
    assert isinstance(file, ifcopenshell.file)
    if not file.by_type("IfcProject"):
        raise InputError("holds no IfcProject", where=str(path), expected="one IfcProject", code="E_FORMAT")
    return file


@contextmanager
def quiet_stdout() -> Generator[None]:
    """Keep what the library's kernel prints out of this process's standard output.

    It writes from C++, past `sys.stdout`, so file descriptor 1 itself is turned away while the block runs: for a worker
    process, or a process of which no other thread prints.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
