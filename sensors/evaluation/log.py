"""The log of scoring runs: one JSON line each, only ever appended to, so that nobody scores until it fits unseen."""

from __future__ import annotations

import platform
import subprocess
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import msgspec

from sensors.evaluation.run import Result
from sensors.evaluation.thresholds import State
from sensors.evaluation.truth import encode
from twin.errors import InputError

_GIT_S = 5.0


class Entry(msgspec.Struct, frozen=True):
    """A scoring run: when, with which code and thresholds, on which readings, and the result.

    `data` is the name of the folder, `files` those that were named in place of its own: whose machine it was on is
    nobody's business.
    """

    time: datetime
    commit: str
    versions: dict[str, str]
    thresholds: State
    data: str
    files: list[str]
    seed: int
    result: Result


def versions() -> dict[str, str]:
    """Return the versions of what a score depends on."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("chengmai", "numpy", "scipy")}}


def commit() -> str:
    """Return the commit of the checkout that runs, "+" behind it where files were changed; "" for no checkout."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12"],
            cwd=here,
            capture_output=True,
            text=True,
            check=False,
            timeout=_GIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def ready(path: Path) -> None:
    """Make sure that a run can be logged in `path`, before it takes its time; InputError E_WRITE otherwise."""
    _append(path, b"")


def append(path: Path, entry: Entry) -> None:
    """Append a line; InputError E_WRITE where the file cannot be written."""
    _append(path, encode(entry))


def _append(path: Path, line: bytes) -> None:
    try:
        with path.open("ab") as file:
            file.write(line)
    except OSError as error:
        raise InputError(error.strerror or "cannot be written", where=str(path), code="E_WRITE") from None


__all__ = ["Entry", "append", "commit", "ready", "versions"]
