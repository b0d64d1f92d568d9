"""Back up and restore a city's files while the system runs.

Each SQLite file (city, spool, readings, operations) is copied with SQLite's online backup, a consistent snapshot of
one moment. The spool goes first and the readings after it: a reading that moves from one to the other in between is
then in both, where it counts once, and never in neither. A store or database on a server is backed up with its own
tools, which the manifest names.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from dashboards.settings import Settings
from twin.errors import BusyError, InputError

MANIFEST = "manifest.json"
_BUSY_S = 30.0
_JOURNALS = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database: one that is left from another would be played into the restored file."""


@dataclass(frozen=True, slots=True)
class Saved:
    """One file of a backup: what it holds, its name there, size in bytes, SHA-256."""

    part: str
    name: str
    size: int
    sha256: str


def local_files(settings: Settings) -> list[tuple[str, Path]]:
    """Return (part, file) of everything a city keeps in files, in the order in which it has to be copied."""
    files = [
        *((_spool_part(settings, district), settings.spool_of(district)) for district in settings.districts),
        ("operations", _sqlite_file(settings.operations_url(), "sqlite:///")),
        ("readings", _sqlite_file(settings.store_url(), "sqlite:")),
        ("city", settings.resolve(settings.city.file)),
    ]
    return [(part, path) for part, path in files if path is not None]


def _spool_part(settings: Settings, district: str) -> str:
    return "spool" if district == settings.city.district else f"spool-{district}"


def elsewhere(settings: Settings) -> list[str]:
    """Return a line for each part that lives on a server, with the tool that backs it up."""
    lines: list[str] = []
    if _sqlite_file(settings.operations_url(), "sqlite:///") is None:
        lines.append("operations: on a database server; back it up with pg_dump")
    if _sqlite_file(settings.store_url(), "sqlite:") is None:
        lines.append("readings: on a time-series server; back it up with `influx backup` or vmbackup")
    return lines


def back_up(settings: Settings, folder: Path, at: datetime) -> list[Saved]:
    """Copy the city's files into the new or empty `folder`, with a manifest; the system may be running.

    A new folder is its owner's alone: hashes of secrets are in it, and frames of HJ 212 with their passwords.
    Raises InputError if the folder holds something already or there is nothing to back up.
    """
    if folder.exists() and any(folder.iterdir()):
        raise InputError("is not empty", where=str(folder), expected="a new or empty folder")
    sources = [(part, path) for part, path in local_files(settings) if path.is_file()]
    if not sources:
        raise InputError("nothing to back up", where=str(settings.home), expected="a city that has been loaded or run")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    saved: list[Saved] = []
    for part, path in sources:
        target = folder / f"{part}{path.suffix}"  # by what it holds: two parts may have one file name in two folders
        _copy_database(path, target)
        saved.append(Saved(part, target.name, target.stat().st_size, _sha256(target)))
    manifest = {
        "format": 1,
        "made": at.isoformat(),
        "chengmai": version("chengmai"),
        "files": [asdict(one) for one in saved],
        "elsewhere": elsewhere(settings),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1), encoding="utf-8")
    return saved


def restore(settings: Settings, folder: Path) -> list[Saved]:
    """Put the files of the backup in `folder` where `settings` looks for them.

    Every file is checked against the manifest before the first is copied. Raises InputError if one is missing or
    altered, and BusyError if the city already has one of them: nothing is overwritten.
    """
    saved = list(_read_manifest(folder))
    targets = dict(local_files(settings))
    for one in saved:
        target = targets.get(one.part)
        if target is None:
            raise InputError(
                f"the settings have no file for {one.part}",
                where=str(folder / one.name),
                expected="a file URL, or the district of a spool in ingest.districts",
            )
        for old in (target, *(target.with_name(target.name + journal) for journal in _JOURNALS)):
            if old.exists():
                raise BusyError("exists already", where=str(old), expected="no such file: move it away first")
    for one in saved:
        target = targets[one.part]
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(target.name + ".restoring")
        shutil.copyfile(folder / one.name, unfinished)
        unfinished.replace(target)
    return saved


def _read_manifest(folder: Path) -> Iterator[Saved]:
    manifest = folder / MANIFEST
    try:
        files = json.loads(manifest.read_text("utf-8"))["files"]
        saved = [Saved(**one) for one in files]
    except FileNotFoundError:
        raise InputError("no such file", where=str(manifest), expected="a backup folder", code="E_MISSING") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(manifest), expected="a backup's manifest") from None
    for one in saved:
        path = folder / one.name
        if not path.is_file():
            raise InputError("no such file", where=str(path), expected="what the manifest names", code="E_MISSING")
        if _sha256(path) != one.sha256:
            raise InputError("differs from the manifest", where=str(path), expected=f"SHA-256 {one.sha256[:12]}…")
        yield one


def _copy_database(source: Path, target: Path) -> None:
    """Copy one SQLite database as of one moment, readers and writers going on meanwhile."""
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)) as origin,
            closing(sqlite3.connect(target)) as copy,
        ):
            origin.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, no -wal beside it
    except sqlite3.DatabaseError as error:
        raise InputError(f"cannot be copied: {error}", where=str(source), expected="a SQLite database") from None


def _sqlite_file(url: str, prefix: str) -> Path | None:
    return Path(url.removeprefix(prefix)) if url.startswith(prefix) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
