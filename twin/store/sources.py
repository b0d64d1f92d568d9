"""Sources: the files that a city was loaded from, each with its newest revision, its repair log and its mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from twin.asset import System
from twin.model import ColumnMapping, Issue, Model, Placement, ReadRequest, Repair
from twin.store import geopackage
from twin.store.geopackage import Table

if TYPE_CHECKING:
    import sqlite3

SOURCES = Table(
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
        ("revision", "INTEGER NOT NULL DEFAULT 1"),
        ("checks", "TEXT NOT NULL DEFAULT '{}'"),
        ("given", "TEXT NOT NULL DEFAULT '{}'"),
        ("remainder", "BLOB"),
    ),
    unique=("source",),
)
MESHES = Table(
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
REPAIRS = Table(
    "repairs",
    (
        ("action", "TEXT NOT NULL"),
        ("asset", "TEXT NOT NULL"),
        ("other", "TEXT"),
        ("moved_m", "DOUBLE NOT NULL"),
        ("tolerance_m", "DOUBLE NOT NULL"),
        ("easting", "DOUBLE NOT NULL"),
        ("northing", "DOUBLE NOT NULL"),
        ("source", "TEXT NOT NULL"),
    ),
    indexed=("source", "asset"),
)
TABLES = (SOURCES, MESHES, REPAIRS)
COLUMNS = ", ".join(name for name, _ in SOURCES.columns if name != "remainder")


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
class Given:
    """What a person said of a file with the load, where the file is silent; see `twin.model.ReadRequest`."""

    crs: str | None = None
    system: System | None = None
    columns: ColumnMapping = field(default_factory=ColumnMapping)

    @staticmethod
    def with_(request: ReadRequest) -> Given:
        """Return what is given with a request."""
        return Given(request.crs, request.system, request.columns)

    def also(self, request: ReadRequest) -> ReadRequest:
        """Return `request` with what was given before where it gives nothing."""
        columns = self.columns if request.columns == ColumnMapping() else request.columns
        return replace(request, crs=request.crs or self.crs, system=request.system or self.system, columns=columns)


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One revision of one source: which file it was, when it came in, where it stands, what came of it.

    `checks` holds the summaries of the checks made of it, by kind (schema, ids); `given` is what was said with it.
    """

    source: str
    kind: str
    path: str
    sha256: str
    loaded: datetime
    counts: Mapping[str, int]
    placement: Placement
    account: Mapping[str, Any]
    issues: tuple[Issue, ...]
    revision: int = 1
    checks: Mapping[str, Any] = field(default_factory=dict[str, Any])
    given: Given = field(default_factory=Given)


def source_row(values: Sequence[Any]) -> SourceRow:
    """Return the row that a query for COLUMNS gave."""
    row = dict(zip(COLUMNS.split(", "), values, strict=True))
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
        revision=row["revision"],
        checks=msgspec.json.decode(row["checks"]),
        given=msgspec.json.decode(row["given"], type=Given),
    )


def find(db: sqlite3.Connection, source: str) -> SourceRow | None:
    """Return the newest revision of `source`, None where it was never loaded."""
    row = db.execute(f"SELECT {COLUMNS} FROM sources WHERE source = ?", (source,)).fetchone()  # noqa: S608  # our names
    return None if row is None else source_row(row)


def repairs(db: sqlite3.Connection, source: str) -> tuple[Repair, ...]:
    """Return the repair log of `source`."""
    names = [name for name, _ in REPAIRS.columns[:-1]]
    query = f"SELECT {', '.join(names)} FROM repairs WHERE source = ? ORDER BY fid"  # noqa: S608  # our names
    rows = db.execute(query, (source,)).fetchall()
    return msgspec.convert([dict(zip(names, row, strict=True)) for row in rows], tuple[Repair, ...])


def note_file(db: sqlite3.Connection, source: str, path: str, given: Given) -> None:
    """Write where the file of `source` was and what was given with it, where that is all that is new."""
    db.execute("UPDATE sources SET path = ?, given = ? WHERE source = ?", (path, _json(given), source))


def mesh(db: sqlite3.Connection, source: str) -> Mesh | None:
    """Return the mesh of the newest revision of `source`, None where it has none."""
    query = "SELECT glb, easting, northing, height, rotation_deg FROM meshes WHERE source = ?"
    row = db.execute(query, (source,)).fetchone()
    return None if row is None else Mesh(*row)


def write(
    db: sqlite3.Connection,
    model: Model,
    at: datetime,
    *,
    counts: Mapping[str, int],
    revision: int,
    path: str,
    sha256: str,
    given: Given,
) -> None:
    """Write what there is of `model` besides its assets, in the place of the revision before."""
    for table in TABLES:
        geopackage.delete(db, table, "source", model.source)
    row = (
        *(model.source, model.kind, path, sha256, at.isoformat(), model.placement.decision.value, model.placement.crs),
        *(_json(part) for part in (counts, model.placement, model.account, model.issues)),
        *(revision, "{}", _json(given), model.remainder),
    )
    geopackage.insert(db, SOURCES, [row])
    if model.mesh is not None:
        origin = model.placement.origin or (0.0, 0.0, 0.0)
        geopackage.insert(db, MESHES, [(model.source, *origin, model.placement.rotation_deg, model.mesh)])
    geopackage.insert(db, REPAIRS, [_logged(each, model.source) for each in model.repairs])
    for table in TABLES:
        geopackage.note_contents(db, table, at)


def _logged(repair: Repair, source: str) -> tuple[Any, ...]:
    where = repair.easting, repair.northing
    return repair.action.value, repair.asset, repair.other, repair.moved_m, repair.tolerance_m, *where, source


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
