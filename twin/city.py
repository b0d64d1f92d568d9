"""The city database: one GeoPackage that holds every asset, where it came from, and the meshes; QGIS opens it as it is.

Layers buildings, elements, nodes, links, zones; plain tables storeys, spaces, sources, meshes, city. Columns are the
fields of `twin.asset`, `id` kept as ``asset``. Geometries keep a Z where the file had one. Assets that are not
``placed`` stand in their file's own coordinates.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec

from twin import crs as reference
from twin import geopackage, records
from twin.asset import Asset, AssetId, System
from twin.errors import CrsError, InputError, UnknownError
from twin.geopackage import Table
from twin.model import Decision, Issue, Model, Placement

if TYPE_CHECKING:
    import sqlite3

    import geopandas as gpd
    import pandas as pd

_SOURCES = Table(
    "sources",
    (
        ("source", "TEXT NOT NULL"),
        ("kind", "TEXT NOT NULL"),
        ("path", "TEXT"),
        ("sha256", "TEXT"),
        ("loaded", "TEXT NOT NULL"),
        ("decision", "TEXT NOT NULL"),
        ("crs", "TEXT"),
        ("counts", "TEXT NOT NULL"),
        ("placement", "TEXT NOT NULL"),
        ("account", "TEXT NOT NULL"),
        ("issues", "TEXT NOT NULL"),
    ),
    unique=("source",),
)
_MESHES = Table(
    "meshes",
    (
        ("source", "TEXT NOT NULL"),
        ("easting", "DOUBLE NOT NULL"),
        ("northing", "DOUBLE NOT NULL"),
        ("height", "DOUBLE NOT NULL"),
        ("rotation_deg", "DOUBLE NOT NULL"),
        ("glb", "BLOB NOT NULL"),
    ),
    unique=("source",),
)
_CITY = Table("city", (("key", "TEXT NOT NULL"), ("value", "TEXT NOT NULL")), unique=("key",))
_TABLES = (*records.TABLES, _SOURCES, _MESHES, _CITY)
FORMAT = "1"


@dataclass(frozen=True, slots=True)
class Mesh:
    """The geometry of one source: GLB bytes in a local frame, and where that frame's origin stands in the city.

    `easting`, `northing`, `height` in metres; `rotation_deg` turns the local x axis counter-clockwise from grid east.
    """

    glb: bytes
    easting: float
    northing: float
    height: float
    rotation_deg: float


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One loaded file: what it was, when it came in, where it stands, what came of it."""

    source: str
    kind: str
    path: str
    sha256: str
    loaded: datetime
    counts: Mapping[str, int]
    placement: Placement
    account: Mapping[str, Any]
    issues: tuple[Issue, ...]


class City:
    """An open city database. Any thread may read through it; `replace` writes through a connection of its own.

    Readers see the city before or after a replace, never between, and are not held up by it (write-ahead log). While
    a process has a city open it must not open the same file through GDAL (pyogrio, geopandas); see
    `twin.geopackage.frame`. Other processes, QGIS among them, may.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, *, busy_timeout_s: float) -> None:
        self.path = path
        self._db = db
        self._busy_timeout_s = busy_timeout_s

    @staticmethod
    def open(path: Path, *, busy_timeout_s: float = 30.0) -> City:
        """Open the city at `path`.

        Raises InputError E_MISSING where there is none and E_FORMAT where the file is something else.
        """
        if not path.is_file():
            raise InputError("no such city", where=str(path), expected="a GeoPackage made by load", code="E_MISSING")
        with geopackage.one_line_errors(path):
            db = geopackage.connect(path, busy_timeout_s=busy_timeout_s)
            try:
                ours = geopackage.is_geopackage(db) and _format(db) == FORMAT
            except BaseException:
                db.close()
                raise
        if not ours:
            db.close()
            raise InputError("is no city database", where=str(path), expected="a city made by load", code="E_FORMAT")
        return City(path, db, busy_timeout_s=busy_timeout_s)

    @staticmethod
    def create(path: Path, crs: str | None, *, busy_timeout_s: float = 30.0) -> City:
        """Make a new city at `path` in `crs`; None: adopted from the first source that has one.

        Raises CrsError where `crs` does not exist or is no projected CRS in metres, InputError E_EXISTS where the
        file is there already, UnavailableError where the folder cannot be written.
        """
        if path.exists():
            raise InputError("exists already", where=str(path), expected="a new file", code="E_EXISTS")
        chosen = city_crs(crs) if crs else None
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            with geopackage.one_line_errors(path):
                _make(unfinished, chosen)
            _publish(unfinished, path)
        finally:
            with suppress(OSError):  # it was never made
                unfinished.unlink()
        return City.open(path, busy_timeout_s=busy_timeout_s)

    @staticmethod
    def open_or_create(path: Path, crs: str | None, *, busy_timeout_s: float = 30.0) -> City:
        """Open the city at `path`, or make it; an existing one has to be in `crs` where that is given (CrsError)."""
        if not path.exists():
            return City.create(path, crs, busy_timeout_s=busy_timeout_s)
        city = City.open(path, busy_timeout_s=busy_timeout_s)
        if crs and city.crs and reference.label(city_crs(crs)) != city.crs:
            city.close()
            raise CrsError(f"the city is in {city.crs[:80]}, not in {crs[:80]}", where=str(path))
        return city

    @property
    def crs(self) -> str | None:
        """The city's CRS, "EPSG:4549" or WKT; None until one is adopted."""
        return self._get("crs")

    def revision(self) -> int:
        """Return a number that grows with every replace."""
        return int(self._get("revision") or 0)

    def replace(self, model: Model, at: datetime, *, path: str = "", sha256: str = "") -> None:
        """Put `model` in the place of what came from its source before, and nothing else, in one transaction.

        `at` is the time noted (aware UTC), `path` and `sha256` say which file it was. A city without a CRS adopts the
        placement's. Raises BusyError where somebody else writes for longer than the timeout, CrsError where a placed
        model is not in the city's CRS, InputError E_ID where two assets have one id, UnavailableError on a full disk.
        """
        with geopackage.one_line_errors(self.path):
            db = geopackage.connect(self.path, busy_timeout_s=self._busy_timeout_s)
            try:
                with geopackage.transaction(db):
                    srs = self._srs_for(db, model)
                    _write(db, model, srs, at, (path, sha256))
            finally:
                db.close()

    def _srs_for(self, db: sqlite3.Connection, model: Model) -> int:
        placement = model.placement
        theirs = reference.parse(placement.crs) if placement.crs else None
        ours = _value(db, "crs")
        if placement.decision is Decision.PLACED and theirs is not None:
            if ours is None:
                _settle(db, city_crs(reference.label(theirs)))
            elif reference.label(theirs) != ours:
                raise CrsError(f"stands in {reference.label(theirs)[:80]}", where=model.source, expected=ours[:80])
        settled = _value(db, "crs")
        return geopackage.put_srs(db, reference.parse(settled)) if settled else geopackage.UNDEFINED_CARTESIAN

    def table(self, name: str, *, placed_only: bool = False) -> gpd.GeoDataFrame | pd.DataFrame:
        """Return a layer as GeoDataFrame (city CRS, metres) or a plain table as DataFrame, rows indexed by ``asset``.

        `properties` and `connects` are JSON text. Raises UnknownError where there is no such table.
        """
        known = {table.name: table for table in _TABLES}
        if name not in known:
            raise UnknownError(f"there is no table {name!r}", where=str(self.path), expected=", ".join(known))
        ours = name in records.NAMES
        chosen = ("placement = ?", (Decision.PLACED.value,)) if placed_only and ours else ("1", ())
        crs = reference.parse(self.crs) if self.crs else None
        with geopackage.one_line_errors(self.path):
            frame = geopackage.frame(self._db, known[name], crs, *chosen)
        return frame.set_index("asset", drop=False) if ours else frame

    def asset(self, asset: str) -> Asset:
        """Return the asset with this id, whichever kind it is; raises UnknownError."""
        with geopackage.one_line_errors(self.path):
            for record in records.RECORDS:
                found = record.find(self._db, asset)
                if found is not None:
                    return found
        raise UnknownError(f"no asset {asset!r}", where=str(self.path), expected="an id such as water.inp:link:P-101")

    def nodes_named(self, system: System) -> dict[str, AssetId]:
        """Return the ids of the nodes of `system` by name; a name that several have is left out."""
        named: dict[str, AssetId | None] = {}
        query = "SELECT name, substr(asset, length(source) + 7), asset FROM nodes WHERE system = ?"
        for name, own, asset in self._rows(query, system.value):  # "{source}:node:{own}"
            for known in {name, own}:
                named[known] = None if named.get(known, asset) != asset else AssetId(asset)
        return {name: asset for name, asset in named.items() if asset is not None}

    def counts(self) -> dict[str, int]:
        """Return how many rows each table of assets has."""
        return {name: self._rows(f'SELECT count(*) FROM "{name}"')[0][0] for name in records.NAMES}  # noqa: S608  # our names

    def sources(self) -> list[SourceRow]:
        """Return what was loaded, in the order of the names."""
        names = [name for name, _ in _SOURCES.columns]
        rows = self._rows(f"SELECT {', '.join(names)} FROM sources ORDER BY source")  # noqa: S608  # our names
        return [_source_row(dict(zip(names, row, strict=True))) for row in rows]

    def mesh(self, source: str) -> Mesh:
        """Return the mesh of a source; raises UnknownError where it has none."""
        rows = self._rows("SELECT glb, easting, northing, height, rotation_deg FROM meshes WHERE source = ?", source)
        if not rows:
            raise UnknownError(f"no mesh of {source!r}", where=str(self.path), expected="a source with geometry")
        return Mesh(*rows[0])

    def close(self) -> None:
        """Close the file; the last one to close it folds the write-ahead log into it."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _get(self, key: str) -> str | None:
        with geopackage.one_line_errors(self.path):
            return _value(self._db, key)

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with geopackage.one_line_errors(self.path):
            return self._db.execute(query, values).fetchall()


def city_crs(text: str) -> reference.CRS:
    """Return the CRS that `text` names if a city may stand in it; CrsError: it has to be projected, in metres."""
    flat = reference.horizontal(reference.parse(text))
    if not reference.fits_city(flat):
        raise CrsError(
            "a city stands in a projected CRS in metres", where=f"crs {text[:80]!r}", expected="such as EPSG:4549"
        )
    return flat


def _write(db: sqlite3.Connection, model: Model, srs: int, at: datetime, file: tuple[str, str]) -> None:
    counts: dict[str, int] = {}
    with geopackage.untriggered(db, records.TABLES):
        for record in records.RECORDS:
            geopackage.delete(db, record.table, "source", model.source)
            assets = getattr(model, record.table.name)
            counts[record.table.name] = len(assets)
            if assets:
                record.insert(db, assets, model.source, model.placement.decision, srs)
            geopackage.note_contents(db, record.table, at)
    _write_mesh(db, model, at)
    path, sha256 = file
    geopackage.delete(db, _SOURCES, "source", model.source)
    row = (
        *(model.source, model.kind, path, sha256, at.isoformat(), model.placement.decision.value, model.placement.crs),
        *(_json(part) for part in (counts, model.placement, model.account, model.issues)),
    )
    geopackage.insert(db, _SOURCES, [row])
    geopackage.note_contents(db, _SOURCES, at)
    _put(db, "revision", str(int(_value(db, "revision") or 0) + 1))


def _write_mesh(db: sqlite3.Connection, model: Model, at: datetime) -> None:
    geopackage.delete(db, _MESHES, "source", model.source)
    if model.mesh is not None:
        origin = model.placement.origin or (0.0, 0.0, 0.0)
        geopackage.insert(db, _MESHES, [(model.source, *origin, model.placement.rotation_deg, model.mesh)])
    geopackage.note_contents(db, _MESHES, at)


def _settle(db: sqlite3.Connection, crs: reference.CRS) -> None:
    """Give the city its CRS; what is there already keeps its coordinates (it is unplaced)."""
    srs = geopackage.put_srs(db, crs)
    with geopackage.untriggered(db, records.TABLES):
        geopackage.move_to_srs(db, records.TABLES, srs)
    _put(db, "crs", reference.label(crs))


def _make(path: Path, crs: reference.CRS | None) -> None:
    """Write an empty city; one that is killed half-way leaves no file of the city's name."""
    with closing(geopackage.connect(path, busy_timeout_s=0)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        with geopackage.transaction(db):
            geopackage.create(db, _TABLES, geopackage.UNDEFINED_CARTESIAN, datetime.now(UTC))
            _put(db, "format", FORMAT)
            _put(db, "revision", "0")
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
    return _value(db, "format") if there else None


def _value(db: sqlite3.Connection, key: str) -> str | None:
    row = db.execute("SELECT value FROM city WHERE key = ?", (key,)).fetchone()
    return None if row is None else str(row[0])


def _put(db: sqlite3.Connection, key: str, value: str) -> None:
    db.execute("INSERT INTO city (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = ?2", (key, value))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _source_row(row: Mapping[str, str]) -> SourceRow:
    return SourceRow(
        source=row["source"],
        kind=row["kind"],
        path=row["path"] or "",
        sha256=row["sha256"] or "",
        loaded=datetime.fromisoformat(row["loaded"]),
        counts=msgspec.json.decode(row["counts"], type=dict[str, int]),
        placement=msgspec.json.decode(row["placement"], type=Placement),
        account=msgspec.json.decode(row["account"]),
        issues=msgspec.json.decode(row["issues"], type=tuple[Issue, ...]),
    )
