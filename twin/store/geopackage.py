"""GeoPackage files written with plain SQLite: the specification's tables, geometries, and the R-tree kept by hand.

Source: OGC 12-128r19 (GeoPackage 1.4) clauses 1.1 (base), 2.1 (features, binary header of clause 2.1.3) and Annex F.3
(R-tree). The R-tree's triggers call ST_ functions once a row; a load of 10^5 rows is several times faster without
them, so a writer takes them off inside its transaction (`untriggered`), keeps the index itself, and puts them back.
"""

# ruff: noqa: S608  # the only names formatted into statements are those of Table, never input

from __future__ import annotations

import os
import sqlite3
import struct
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from twin.errors import BusyError, ChengmaiError, CrsError, InputError, UnavailableError

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

APPLICATION_ID = 0x47504B47  # "GPKG"
USER_VERSION = 10400
GEOMETRY = "geom"
UNDEFINED_CARTESIAN = -1
_FIRST_OWN_SRS = 100_000
_RTREE_URL = "http://www.geopackage.org/spec120/#extension_rtree"
_ENVELOPE_BYTES = (0, 32, 48, 48, 64)

_BASE_TABLES = """
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY NOT NULL,
  organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL, description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT NOT NULL PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
  description TEXT DEFAULT '', last_change DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  min_x DOUBLE, min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER,
  CONSTRAINT fk_gc_r_srs_id FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys(srs_id));
CREATE TABLE gpkg_geometry_columns (table_name TEXT NOT NULL, column_name TEXT NOT NULL,
  geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL,
  CONSTRAINT pk_geom_cols PRIMARY KEY (table_name, column_name), CONSTRAINT uk_gc_table_name UNIQUE (table_name),
  CONSTRAINT fk_gc_tn FOREIGN KEY (table_name) REFERENCES gpkg_contents(table_name),
  CONSTRAINT fk_gc_srs FOREIGN KEY (srs_id) REFERENCES gpkg_spatial_ref_sys (srs_id));
CREATE TABLE gpkg_extensions (table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL,
  definition TEXT NOT NULL, scope TEXT NOT NULL,
  CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
INSERT INTO gpkg_spatial_ref_sys VALUES
  ('Undefined Cartesian SRS', -1, 'NONE', -1, 'undefined', 'undefined Cartesian coordinate reference system'),
  ('Undefined geographic SRS', 0, 'NONE', 0, 'undefined', 'undefined geographic coordinate reference system');
"""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a GeoPackage: its columns (name, SQL type) and, of a layer, the geometry type; None makes it plain.

    Every table has ``fid INTEGER PRIMARY KEY`` besides. `unique` names columns of an index that refuses a second
    equal value, `indexed` columns of other indexes.
    """

    name: str
    columns: Sequence[tuple[str, str]]
    geometry: str | None = None
    unique: Sequence[str] = ()
    indexed: Sequence[str] = ()

    @property
    def rtree(self) -> str:
        """The name of the layer's R-tree."""
        return f"rtree_{self.name}_{GEOMETRY}"


@contextmanager
def one_line_errors(path: Path) -> Generator[None]:
    """Turn what SQLite raises inside into one of our errors: held, full, read-only, no database, out of order."""
    try:
        yield
    except sqlite3.Error as error:
        raise translated(error, path) from error


def translated(error: sqlite3.Error, path: Path) -> ChengmaiError:
    """Return the error of ours that says what SQLite's `error` on the file `path` means."""
    name = getattr(error, "sqlite_errorname", "")
    where = str(path)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return BusyError("the database is being written by somebody else", where=where, expected="a free database")
    if name.startswith("SQLITE_FULL"):
        return UnavailableError("the disk is full; nothing was changed", where=where, code="E_DISK")
    if name.startswith("SQLITE_IOERR"):
        return UnavailableError("the disk is full, or failing; nothing was changed", where=where, code="E_DISK")
    if is_read_only(error):
        return UnavailableError("cannot be written", where=where, expected="a writable folder", code="E_READONLY")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return InputError("is not a readable SQLite database", where=where, expected="a GeoPackage", code="E_FORMAT")
    return UnavailableError(f"{error}; nothing was changed", where=where, code="E_DATABASE")


def connect(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open `path` for reading and writing with explicit transactions; a locked file is waited for `busy_timeout_s`."""
    db = sqlite3.connect(path, isolation_level=None, timeout=busy_timeout_s, check_same_thread=False)
    try:
        db.execute("PRAGMA synchronous = FULL")  # reads the file
    except sqlite3.Error:
        db.close()
        raise
    return db


def connect_to_read(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open `path` as `connect` does; where its folder cannot be written, as a file that nobody changes.

    SQLite needs a folder that it can write even to read a database with a write-ahead log, unless somebody has it open.
    """
    try:
        return connect(path, busy_timeout_s=busy_timeout_s)
    except sqlite3.OperationalError as error:
        log = path.with_name(f"{path.name}-wal")
        may_change = os.access(path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids)
        if not is_read_only(error) or may_change or (log.exists() and log.stat().st_size):
            raise
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def is_read_only(error: sqlite3.Error) -> bool:
    """Say whether SQLite raised `error` because a file or its folder cannot be written."""
    name = str(getattr(error, "sqlite_errorname", ""))
    return name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM"))


@contextmanager
def transaction(db: sqlite3.Connection) -> Generator[None]:
    """Write inside one BEGIN IMMEDIATE transaction: all of it or none."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk makes SQLite roll back by itself
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def is_geopackage(db: sqlite3.Connection) -> bool:
    """Say whether the open database declares itself a GeoPackage."""
    return db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def create(db: sqlite3.Connection, tables: Sequence[Table], srs: int, at: datetime) -> None:
    """Write the specification's tables and the empty `tables` into a new database; call it inside a transaction.

    `srs` names a row of gpkg_spatial_ref_sys; see `put_srs`, or UNDEFINED_CARTESIAN.
    """
    for statement in _BASE_TABLES.split(";\n"):
        db.execute(statement)
    for table in tables:
        _create_table(db, table, srs, at)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {USER_VERSION}")


def lacks(db: sqlite3.Connection, tables: Sequence[Table]) -> bool:
    """Say whether `upgrade` would add anything."""
    return any({name for name, _ in table.columns} - _columns_of(db, table) for table in tables)


def upgrade(db: sqlite3.Connection, tables: Sequence[Table], srs: int, at: datetime) -> None:
    """Add whatever of `tables` an older database lacks: tables, and columns, which have to allow NULL or a default."""
    for table in tables:
        there = _columns_of(db, table)
        if not there:
            _create_table(db, table, srs, at)
            continue
        for name, kind in table.columns:
            if name not in there:
                db.execute(f'ALTER TABLE "{table.name}" ADD COLUMN "{name}" {kind}')


def _columns_of(db: sqlite3.Connection, table: Table) -> set[str]:
    return {row[1] for row in db.execute(f'PRAGMA table_info("{table.name}")')}


def _create_table(db: sqlite3.Connection, table: Table, srs: int, at: datetime) -> None:
    columns = ["fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL"]
    if table.geometry:
        columns.append(f"{GEOMETRY} {table.geometry}")
    columns += [f'"{name}" {kind}' for name, kind in table.columns]
    db.execute(f'CREATE TABLE "{table.name}" ({", ".join(columns)})')
    for column in table.unique:
        db.execute(f'CREATE UNIQUE INDEX "{table.name}_{column}" ON "{table.name}" ("{column}")')
    for column in table.indexed:
        db.execute(f'CREATE INDEX "{table.name}_{column}" ON "{table.name}" ("{column}")')
    kind, own_srs = ("features", srs) if table.geometry else ("attributes", None)
    db.execute(
        "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change, srs_id) VALUES (?, ?, ?, ?, ?)",
        (table.name, kind, table.name, _stamp(at), own_srs),
    )
    if not table.geometry:
        return
    z_optional = 2
    db.execute(
        "INSERT INTO gpkg_geometry_columns VALUES (?, ?, ?, ?, ?, 0)",
        (table.name, GEOMETRY, table.geometry, srs, z_optional),
    )
    db.execute(
        "INSERT INTO gpkg_extensions VALUES (?, ?, 'gpkg_rtree_index', ?, 'write-only')",
        (table.name, GEOMETRY, _RTREE_URL),
    )
    db.execute(f'CREATE VIRTUAL TABLE "{table.rtree}" USING rtree(id, minx, maxx, miny, maxy)')
    for statement in _triggers(table):
        db.execute(statement)


def put_srs(db: sqlite3.Connection, crs: CRS) -> int:
    """Return the srs_id of `crs`, writing its row where there is none; outside EPSG ids start at 100000.

    Raises CrsError where `crs` is neither EPSG's nor can be written as WKT 1, which the specification asks for.
    """
    epsg = crs.to_epsg()
    try:
        definition = crs.to_wkt("WKT1_GDAL")
    except CRSError:  # a map projection newer than WKT 1
        if epsg is None:
            raise CrsError(
                "cannot be written as WKT 1", where=f"crs {crs.name}", expected="such as EPSG:4549"
            ) from None
        definition = "undefined"
    found = db.execute(
        "SELECT srs_id FROM gpkg_spatial_ref_sys WHERE organization = 'EPSG' AND srs_id = ?1"
        " OR ?1 IS NULL AND definition = ?2",
        (epsg, definition),
    ).fetchone()
    if found:
        return int(found[0])
    highest = db.execute("SELECT max(srs_id) FROM gpkg_spatial_ref_sys").fetchone()[0]
    srs = epsg or max(_FIRST_OWN_SRS, int(highest) + 1)
    db.execute(
        "INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, ?, ?, ?, NULL)",
        (crs.name, srs, "EPSG" if epsg else "NONE", srs, definition),
    )
    return srs


def move_to_srs(db: sqlite3.Connection, tables: Sequence[Table], srs: int) -> None:
    """Declare the layers among `tables`, and every geometry in them, to be in `srs`; coordinates stay as they are.

    Call it within `untriggered`.
    """
    for table in tables:
        if not table.geometry:
            continue
        db.execute("UPDATE gpkg_contents SET srs_id = ? WHERE table_name = ?", (srs, table.name))
        db.execute("UPDATE gpkg_geometry_columns SET srs_id = ? WHERE table_name = ?", (srs, table.name))
        rows = db.execute(f'SELECT fid, {GEOMETRY} FROM "{table.name}" WHERE {GEOMETRY} NOT NULL').fetchall()
        moved = [(blob[:4] + struct.pack("<i", srs) + blob[8:], fid) for fid, blob in rows]
        db.executemany(f'UPDATE "{table.name}" SET {GEOMETRY} = ? WHERE fid = ?', moved)


@contextmanager
def untriggered(db: sqlite3.Connection, tables: Sequence[Table]) -> Generator[None]:
    """Take the R-tree triggers of the layers among `tables` off, and put them back: inside the caller's transaction."""
    layers = [table for table in tables if table.geometry]
    for table in layers:
        for (name,) in db.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? AND name LIKE 'rtree%'",
            (table.name,),
        ).fetchall():
            db.execute(f'DROP TRIGGER "{name}"')
    yield
    for table in layers:
        for statement in _triggers(table):
            db.execute(statement)


def insert(
    db: sqlite3.Connection,
    table: Table,
    rows: Sequence[Sequence[Any]],
    geometries: NDArray[np.object_] | None = None,
    srs: int = UNDEFINED_CARTESIAN,
) -> None:
    """Add `rows` (values in the order of the table's columns) and, of a layer, their geometries (None allowed).

    Call it within `untriggered`: the R-tree is filled here.
    """
    first = int(db.execute(f'SELECT coalesce(max(fid), 0) + 1 FROM "{table.name}"').fetchone()[0])
    names = ["fid", *([GEOMETRY] if geometries is not None else []), *(f'"{name}"' for name, _ in table.columns)]
    statement = f'INSERT INTO "{table.name}" ({", ".join(names)}) VALUES ({", ".join("?" * len(names))})'
    fids = range(first, first + len(rows))
    if geometries is None:
        db.executemany(statement, ((fid, *row) for fid, row in zip(fids, rows, strict=True)))
        return
    blobs = encode(geometries, srs)
    db.executemany(statement, ((fid, blob, *row) for fid, blob, row in zip(fids, blobs, rows, strict=True)))
    bounds = shapely.bounds(geometries)
    there = ~np.isnan(bounds).any(axis=1)
    db.executemany(
        f'INSERT INTO "{table.rtree}" (id, minx, miny, maxx, maxy) VALUES (?, ?, ?, ?, ?)',
        (
            (fid, *box)
            for fid, box in zip((np.flatnonzero(there) + first).tolist(), bounds[there].tolist(), strict=True)
        ),
    )


def delete(db: sqlite3.Connection, table: Table, column: str, value: str) -> None:
    """Remove the rows where `column` equals `value`; call it within `untriggered`."""
    if table.geometry:
        rows = f'SELECT fid FROM "{table.name}" WHERE "{column}" = ?'
        db.execute(f'DELETE FROM "{table.rtree}" WHERE id IN ({rows})', (value,))
    db.execute(f'DELETE FROM "{table.name}" WHERE "{column}" = ?', (value,))


def note_contents(db: sqlite3.Connection, table: Table, at: datetime) -> None:
    """Write the time of the last change and, of a layer, its extent (rounded outwards to the R-tree's precision)."""
    extent: Sequence[float | None] = (None, None, None, None)
    if table.geometry:
        extent = db.execute(f'SELECT min(minx), min(miny), max(maxx), max(maxy) FROM "{table.rtree}"').fetchone()
    db.execute(
        "UPDATE gpkg_contents SET last_change = ?, min_x = ?, min_y = ?, max_x = ?, max_y = ? WHERE table_name = ?",
        (_stamp(at), *extent, table.name),
    )


def encode(geometries: NDArray[np.object_], srs: int) -> list[bytes | None]:
    """Return GeoPackage binary geometries (header with an x-y envelope, then ISO WKB); None stays None."""
    wkb: list[bytes | None] = shapely.to_wkb(geometries, flavor="iso", byte_order=1).tolist()
    empty = shapely.is_empty(geometries).tolist()
    point = (shapely.get_type_id(geometries) == shapely.GeometryType.POINT).tolist()
    bounds = shapely.bounds(geometries)[:, [0, 2, 1, 3]].tolist()
    plain, boxed = struct.Struct("<2sBBi"), struct.Struct("<2sBBi4d")
    blobs: list[bytes | None] = []
    for body, is_empty, is_point, box in zip(wkb, empty, point, bounds, strict=True):
        if body is None:
            blobs.append(None)
        elif is_empty:
            blobs.append(plain.pack(b"GP", 0, 0b0001_0001, srs) + body)
        elif is_point:
            blobs.append(plain.pack(b"GP", 0, 0b0000_0001, srs) + body)
        else:
            blobs.append(boxed.pack(b"GP", 0, 0b0000_0011, srs, *box) + body)
    return blobs


def decode(blob: bytes | None) -> BaseGeometry | None:
    """Return the geometry of a GeoPackage binary, None of None.

    >>> from shapely import Point
    >>> [decode(blob) for blob in encode(np.array([Point(1, 2), None]), 4549)]
    [<POINT (1 2)>, None]
    """
    return shapely.from_wkb(_wkb(blob))


def _wkb(blob: bytes | None) -> bytes | None:
    return None if blob is None else blob[8 + _ENVELOPE_BYTES[(blob[3] >> 1) & 0b111] :]


def frame(
    db: sqlite3.Connection, table: Table, crs: CRS | None, where: str = "1", values: Sequence[str] = ()
) -> gpd.GeoDataFrame | pd.DataFrame:
    """Return the rows of `table` where the SQL condition `where` holds; a layer's with their geometry, in `crs`.

    Text columns are strings, numbers floats with NaN or whole numbers where none is missing. GDAL must not be used for
    this: a second SQLite library on the same file in one process cancels the first one's POSIX locks when it closes it
    (sqlite.org/howtocorrupt.html, section 2.2.1).
    """
    import geopandas as gpd  # noqa: PLC0415  # takes half a second to load, and only tables need it
    import pandas as pd  # noqa: PLC0415  # as above

    names = [name for name, _ in table.columns]
    listed = ", ".join(f'"{name}"' for name in names) + (f", {GEOMETRY}" if table.geometry else "")
    rows = db.execute(f'SELECT {listed} FROM "{table.name}" WHERE {where} ORDER BY fid', values).fetchall()
    columns: list[Any] = list(zip(*rows, strict=True)) if rows else [()] * (len(names) + bool(table.geometry))
    series = {
        name: pd.Series(list(column), dtype=_dtype(kind, column))
        for (name, kind), column in zip(table.columns, columns, strict=False)
    }
    plain = pd.DataFrame(series)
    if not table.geometry:
        return plain
    bodies = np.array([_wkb(blob) for blob in columns[-1]], dtype=object)
    return gpd.GeoDataFrame(plain, geometry=shapely.from_wkb(bodies), crs=crs)


def _dtype(kind: str, values: Sequence[Any]) -> str:
    if kind.startswith("TEXT"):
        return "str"
    if kind.startswith("INTEGER"):
        return "float64" if None in values else "int64"
    return "float64" if kind.startswith("DOUBLE") else "object"


def _triggers(table: Table) -> list[str]:
    """Return the R-tree triggers of GeoPackage 1.4 (Annex F.3), which other programs' edits need."""
    t, r, g = f'"{table.name}"', f'"{table.rtree}"', GEOMETRY
    new, old = f"(NEW.{g} NOTNULL AND NOT ST_IsEmpty(NEW.{g}))", f"(OLD.{g} NOTNULL AND NOT ST_IsEmpty(OLD.{g}))"
    gone, was_gone = f"(NEW.{g} ISNULL OR ST_IsEmpty(NEW.{g}))", f"(OLD.{g} ISNULL OR ST_IsEmpty(OLD.{g}))"
    box = f"ST_MinX(NEW.{g}), ST_MaxX(NEW.{g}), ST_MinY(NEW.{g}), ST_MaxY(NEW.{g})"
    add = f"INSERT OR REPLACE INTO {r} VALUES (NEW.fid, {box});"
    change = (
        f"UPDATE {r} SET minx = ST_MinX(NEW.{g}), maxx = ST_MaxX(NEW.{g}), "
        f"miny = ST_MinY(NEW.{g}), maxy = ST_MaxY(NEW.{g}) WHERE id = NEW.fid;"
    )
    drop = f"DELETE FROM {r} WHERE id = OLD.fid;"
    return [
        f'CREATE TRIGGER "{table.rtree}_{name}" AFTER {event} ON {t} WHEN {when} BEGIN {action} END'
        for name, event, when, action in (
            ("insert", "INSERT", new, add),
            ("update6", f"UPDATE OF {g}", f"OLD.fid = NEW.fid AND {new} AND {old}", change),
            ("update7", f"UPDATE OF {g}", f"OLD.fid = NEW.fid AND {new} AND {was_gone}", add),
            ("update2", f"UPDATE OF {g}", f"OLD.fid = NEW.fid AND {gone}", drop),
            ("update5", "UPDATE", f"OLD.fid != NEW.fid AND {new}", drop + " " + add),
            ("update4", "UPDATE", f"OLD.fid != NEW.fid AND {gone}", f"DELETE FROM {r} WHERE id IN (OLD.fid, NEW.fid);"),
            ("delete", "DELETE", f"OLD.{g} NOT NULL", drop),
        )
    ]


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
