"""The file of a city: its tables, made whole or not at all, brought up to date when opened, and its few key values."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from twin import crs as reference
from twin.errors import CrsError, InputError
from twin.model import Decision, Model
from twin.store import geopackage, history, records, sources
from twin.store.geopackage import Table
from twin.store.placings import PLACINGS
from twin.store.valves import VALVE_OPERATIONS

FORMAT = "2"
"""Format 1 had no revisions, repair log, valve operations, joints, placings, nor the columns that came with them."""
_KNOWN_FORMATS = ("1", FORMAT)
JOINTS = Table(
    "joints",
    (
        ("node", "TEXT NOT NULL"),
        ("element", "TEXT NOT NULL"),
        ("distance_m", "DOUBLE NOT NULL"),
        ("confidence", "DOUBLE NOT NULL"),
        ("why", "TEXT NOT NULL"),
    ),
)
_CITY = Table("city", (("key", "TEXT NOT NULL"), ("value", "TEXT NOT NULL")), unique=("key",))
TABLES = (*records.TABLES, *sources.TABLES, *history.TABLES, PLACINGS, VALVE_OPERATIONS, JOINTS, _CITY)


def connect(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open the city at `path`, brought to the newest format: in the file, or where that is read-only, in memory.

    Raises InputError E_MISSING where there is none and E_FORMAT where the file is something else.
    """
    if not path.is_file():
        raise InputError("no such city", where=str(path), expected="a GeoPackage made by load", code="E_MISSING")
    with geopackage.one_line_errors(path):
        db = geopackage.connect_to_read(path, busy_timeout_s=busy_timeout_s)
        try:
            if not _is_of_today(db, path):
                db = _brought_up_to_date(db)
        except BaseException:
            db.close()
            raise
    return db


def make(path: Path, crs: reference.CRS | None) -> None:
    """Make an empty city at `path`; one that is killed half-way leaves no file of the city's name.

    Raises InputError E_EXISTS where the file is there already, UnavailableError where the folder cannot be written.
    """
    if path.exists():
        raise InputError("exists already", where=str(path), expected="a new file", code="E_EXISTS")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        with geopackage.one_line_errors(path):
            _write_empty(unfinished, crs)
        _publish(unfinished, path)
    finally:
        with suppress(OSError):  # it was never made
            unfinished.unlink()


def city_crs(text: str) -> reference.CRS:
    """Return the CRS that `text` names if a city may stand in it; CrsError: it has to be projected, in metres."""
    flat = reference.horizontal(reference.parse(text))
    if not reference.fits_city(flat):
        raise CrsError(
            "a city stands in a projected CRS in metres", where=f"crs {text[:80]!r}", expected="such as EPSG:4549"
        )
    return flat


def srs_for(db: sqlite3.Connection, model: Model) -> int:
    """Return the srs_id that the geometries of `model` are written with; a city without a CRS adopts a placed one's.

    Raises CrsError where a placed model is not in the city's CRS.
    """
    placement = model.placement
    ours = value(db, "crs")
    if placement.decision is Decision.PLACED and placement.crs:
        theirs = reference.label(reference.parse(placement.crs))
        if ours is None:
            _settle(db, city_crs(theirs))
        elif theirs != ours:
            raise CrsError(f"stands in {theirs[:80]}", where=model.source, expected=ours[:80])
    settled = value(db, "crs")
    return geopackage.put_srs(db, reference.parse(settled)) if settled else geopackage.UNDEFINED_CARTESIAN


def value(db: sqlite3.Connection, key: str) -> str | None:
    """Return what the city keeps under `key`, None where it has nothing."""
    row = db.execute("SELECT value FROM city WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def put(db: sqlite3.Connection, key: str, text: str) -> None:
    """Keep `text` under `key`."""
    db.execute("INSERT INTO city (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?2", (key, text))


def advance(db: sqlite3.Connection) -> None:
    """Count one more change of the city."""
    put(db, "revision", str(int(value(db, "revision") or 0) + 1))


def _is_of_today(db: sqlite3.Connection, path: Path) -> bool:
    """Say whether a city has all that the newest format has; InputError E_FORMAT where it is none."""
    found = _format(db) if geopackage.is_geopackage(db) else None
    if found not in _KNOWN_FORMATS:
        raise InputError("is no city database", where=str(path), expected="a city made by load", code="E_FORMAT")
    return found == FORMAT and not geopackage.lacks(db, TABLES)


def _brought_up_to_date(db: sqlite3.Connection) -> sqlite3.Connection:
    """Add what a city of an earlier format lacks, nothing else; to a copy in memory where the file is read-only."""
    try:
        _upgrade(db)
    except sqlite3.OperationalError as error:
        if not geopackage.is_read_only(error):
            raise
        copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        db.backup(copy)
        db.close()
        _upgrade(copy)
        return copy
    return db


def _upgrade(db: sqlite3.Connection) -> None:
    with geopackage.transaction(db):
        settled = value(db, "crs")
        srs = geopackage.put_srs(db, reference.parse(settled)) if settled else geopackage.UNDEFINED_CARTESIAN
        geopackage.upgrade(db, TABLES, srs, datetime.now(UTC))
        put(db, "format", FORMAT)


def _settle(db: sqlite3.Connection, crs: reference.CRS) -> None:
    """Give the city its CRS; what is there already keeps its coordinates (it is unplaced)."""
    srs = geopackage.put_srs(db, crs)
    with geopackage.untriggered(db, records.TABLES):
        geopackage.move_to_srs(db, records.TABLES, srs)
    put(db, "crs", reference.label(crs))


def _write_empty(path: Path, crs: reference.CRS | None) -> None:
    with closing(geopackage.connect(path, busy_timeout_s=0)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        with geopackage.transaction(db):
            geopackage.create(db, TABLES, geopackage.UNDEFINED_CARTESIAN, datetime.now(UTC))
            put(db, "format", FORMAT)
            put(db, "revision", "0")
            if crs:
                _settle(db, crs)


def _publish(unfinished: Path, path: Path) -> None:
    """Give the finished file its name, unless somebody has taken it meanwhile."""
    try:
        os.link(unfinished, path)
    except FileExistsError:
        raise InputError("exists already", where=str(path), expected="a new file", code="E_EXISTS") from None
    except OSError:  # a file system without links
        unfinished.rename(path)


def _format(db: sqlite3.Connection) -> str | None:
    there = db.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'city'").fetchone()
    return value(db, "format") if there else None
