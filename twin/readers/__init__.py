"""Readers of files: plug-ins found by the entry point group ``chengmai.readers``, each one kind of file."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from twin.errors import InputError
from twin.model import ModelReader

__all__ = ["GROUP", "reader_for", "readers"]

GROUP = "chengmai.readers"


@cache
def readers() -> dict[str, EntryPoint]:
    """Return the entry point of every installed reader by its name."""
    return {point.name: point for point in entry_points(group=GROUP)}


@cache
def _reader(name: str) -> ModelReader:
    """Return the one instance of a reader: readers are imported when they are first asked."""
    reader: ModelReader = readers()[name].load()()
    return reader


def reader_for(path: Path) -> tuple[str, ModelReader]:
    """Return the name and the reader that recognises the file at `path`; one named as its suffix is asked first.

    Raises InputError: E_MISSING no such file, E_EMPTY no byte in it, E_READ it cannot be read, E_FORMAT no reader
    knows it.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            what = "is a folder" if path.is_dir() else "is no plain file"
            raise InputError(what, where=str(path), expected="a file", code="E_FORMAT")
        with path.open("rb") as file:
            first = file.read(1)
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), expected="a file", code="E_MISSING") from None
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=str(path), code="E_READ") from None
    if not first:
        raise InputError("is empty", where=str(path), expected="a file with content", code="E_EMPTY")
    suffix = path.suffix.lower().removeprefix(".")
    for name in sorted(readers(), key=lambda name: name != suffix):
        reader = _reader(name)
        if reader.recognises(path):
            return name, reader
    raise InputError(
        "no reader knows this file",
        where=str(path),
        expected="IFC, EPANET or SWMM INP, GeoJSON, GeoPackage, Shapefile, pandapipes, GasLib, CJJ 61 tables",
        code="E_FORMAT",
    )
