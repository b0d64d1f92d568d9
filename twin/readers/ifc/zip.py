"""IFC models in a zip archive (``.ifczip``): one STEP file, taken out within limits."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from twin.errors import InputError

ZIP_MAGIC = b"PK\x03\x04"
MAX_BYTES = 4 << 30
"""The largest model that is taken out of an archive; the library needs some ten times its size in memory."""
MAX_RATIO = 200
"""STEP text shrinks to a tenth or a thirtieth; an archive past this is made to fill a disk."""
_MIN_BYTES = 1 << 20
"""Small archives may shrink as they like."""


def unzipped(path: Path) -> bytes:
    """Return the one IFC file in the archive at `path`.

    Raises InputError: E_FORMAT where it is no archive, holds no or several models, or ifcXML; E_TOO_LARGE past the
    limits.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _member(path, archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        what = f"cannot be unpacked: {error}"
        raise InputError(what, where=str(path), expected="a zip archive with one .ifc", code="E_FORMAT") from None


def _member(path: Path, archive: zipfile.ZipFile) -> bytes:
    files = [info for info in archive.infolist() if not info.is_dir()]
    models = [info for info in files if info.filename.lower().endswith(".ifc")]
    if not models and any(info.filename.lower().endswith((".ifcxml", ".xml")) for info in files):
        raise InputError("holds ifcXML, which is not read", where=str(path), expected="one .ifc in it", code="E_FORMAT")
    if len(models) != 1:
        names = ", ".join(info.filename for info in models[:3]) or "none"
        what = f"holds {len(models)} models ({names})"
        raise InputError(what, where=str(path), expected="one .ifc in it", code="E_FORMAT")
    (info,) = models
    limit = min(MAX_BYTES, max(_MIN_BYTES, info.compress_size * MAX_RATIO))
    if info.file_size > limit:
        what = f"{info.filename} is {info.file_size:,} bytes out of {info.compress_size:,}"
        raise InputError(what, where=str(path), expected=f"at most {limit:,}", code="E_TOO_LARGE")
    return archive.read(info)  # never more than file_size: zipfile holds the archive to its word
