"""Files and folders that are there whole or not at all: written beside their place, then renamed into it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from twin.errors import ChengmaiError, InputError, UnavailableError

_SQLITE = b"SQLite format 3\0"


@contextmanager
def whole_file(path: Path) -> Generator[BinaryIO]:
    """Open a file to write that takes the place of `path` when the block ends, and leaves it alone when it fails.

    Raises UnavailableError E_READONLY where the folder cannot be written, E_DISK where the disk is full, and InputError
    E_EXISTS where `path` is a folder or a database.
    """
    if _is_database(path):
        what = "is a database, a city perhaps; it is left as it is"
        raise InputError(what, where=str(path), expected="another file", code="E_EXISTS")
    with whole_copy(path) as unfinished, unfinished.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def whole_copy(path: Path) -> Generator[Path]:
    """Name a file that takes the place of `path` when the block, which makes it, ends; errors as of `whole_file`."""
    try:
        if path.is_dir():
            raise InputError("is a folder", where=str(path), expected="a file to write", code="E_EXISTS")
        path.parent.stat()
    except OSError as error:
        raise _unwritable(error, path) from None
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            yield unfinished
            unfinished.replace(path)
        except OSError as error:
            raise _unwritable(error, path) from None
    finally:
        with suppress(OSError):  # it was renamed, or never made
            unfinished.unlink()


@contextmanager
def whole_folder(path: Path, mark: str) -> Generator[Path]:
    """Make a folder that takes the place of `path` when the block ends, and leaves it alone when it fails.

    A folder that is there already is replaced only where it is empty or holds a file named `mark`, which an earlier
    export wrote; else InputError E_EXISTS. Other errors as of `whole_file`.
    """
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / mark).is_file())):
        raise InputError(
            "holds something else", where=str(path), expected="a new folder, or one written before", code="E_EXISTS"
        )
    unfinished, replaced = (path.with_name(f".{path.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    try:
        try:
            unfinished.mkdir()
            yield unfinished
            if path.exists():
                path.rename(replaced)
            unfinished.rename(path)
        except OSError as error:
            raise _unwritable(error, path) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _is_database(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:  # not there, or not to be read: writing it says which
        return False


def _unwritable(error: OSError, path: Path) -> ChengmaiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnavailableError("the disk is full; nothing was changed", where=str(path), code="E_DISK")
    if isinstance(error, FileNotFoundError):
        return InputError("its folder does not exist", where=str(path), expected="a folder that exists")
    why = (error.strerror or "cannot be written").lower()
    return UnavailableError(why, where=str(path), expected="a writable folder", code="E_READONLY")
