"""Files that only their owner reads: keys, secrets, password files."""

from __future__ import annotations

import os
from pathlib import Path

from twin.errors import InputError


def write_private(path: Path, content: bytes, *, new: bool = False) -> None:
    """Write a file of mode 0600 in one step: whoever reads it has the old one or the new one, whole.

    It belongs to the owner of its folder, also where root writes it. With `new`, InputError E_FILE if it is there.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if new and path.exists():
            raise InputError("is there already", where=str(path), expected="a new file", code="E_FILE")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _give(fresh, path.parent)
        fresh.replace(path)
    except OSError as error:
        raise InputError(
            error.strerror or "cannot be written", where=str(path), expected="room and permission", code="E_FILE"
        ) from None


def make_folder(path: Path) -> None:
    """Make a folder of mode 0700, unless it is there; it belongs to the owner of the one that it is in.

    InputError E_FILE where none can be made.
    """
    if path.is_dir():
        return
    try:
        path.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise InputError(
            error.strerror or "cannot be made", where=str(path), expected="a folder to write in", code="E_FILE"
        ) from None
    _give(path, path.parent)


def _give(path: Path, folder: Path) -> None:
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


__all__ = ["make_folder", "write_private"]
