"""Tables of numbers from norms that a city may edit: each row names its source, and says whether it was verified."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import TypeVar

import msgspec

from twin.errors import SettingsError


class Sourced(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A row; `verified` says that somebody has held it against the text of `source`."""

    source: str
    verified: bool


_Table = TypeVar("_Table", bound=msgspec.Struct)


def read_sourced(kind: type[_Table], path: Path | None, package: str, name: str) -> tuple[_Table, str]:
    """Return the TOML table at `path`, else `name` of `package`, as a `kind`, and where it is for messages.

    Raises SettingsError where it cannot be read or is no such table.
    """
    own = f"{package.replace('.', '/')}/{name}"
    where = str(path or own)
    try:
        text = (path or resources.files(package).joinpath(name)).read_text("utf-8")
        return msgspec.convert(tomllib.loads(text), kind), where
    except OSError as error:
        raise SettingsError(error.strerror or "cannot be read", where=where, expected="a readable table") from None
    except ValueError as error:  # msgspec's and tomllib's errors are ValueErrors
        raise SettingsError(str(error), where=where, expected=f"a table as {own}") from None
