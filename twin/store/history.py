"""History: what each source brought before its newest revision, so that the city can be asked as it was at a time.

The newest revision of a source is in the city's tables. When it is superseded it is taken out of them as it stands
there (with what was edited in QGIS meanwhile) and kept whole: assets as columns in MessagePack, deflated, and the mesh
once for all revisions that have the same.
"""

from __future__ import annotations

import hashlib
import sqlite3
import zlib
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec

from twin.model import Issue, Model, Placement, Repair
from twin.store import geopackage, records, sources
from twin.store.geopackage import Table
from twin.store.sources import COLUMNS, SOURCES, SourceRow, source_row

REVISIONS = Table(
    "revisions",
    (
        *SOURCES.columns[:-1],
        ("superseded", "TEXT NOT NULL"),
        ("mesh", "TEXT"),
        ("model", "BLOB NOT NULL"),
    ),
    indexed=("source",),
)
"""Superseded revisions: the columns of ``sources``, when the next one came, the SHA-256 of the mesh, the model."""
FORMER_MESHES = Table("former_meshes", (("sha256", "TEXT NOT NULL"), ("glb", "BLOB NOT NULL")), unique=("sha256",))
TABLES = (REVISIONS, FORMER_MESHES)

_LEVEL = 1
"""zlib's level: 6 saves a tenth and takes twice as long (measured on the sample district)."""


def revisions(db: sqlite3.Connection, source: str) -> list[SourceRow]:
    """Return the revisions of `source`, oldest first, the newest among them; none where it was never loaded."""
    query = f"SELECT {COLUMNS} FROM revisions WHERE source = ? ORDER BY revision"  # noqa: S608  # our names
    former = [source_row(row) for row in db.execute(query, (source,))]
    newest = sources.find(db, source)
    return [*former, newest] if newest else former


def in_force(rows: list[SourceRow], at: datetime) -> SourceRow | None:
    """Return which of the revisions of a source, oldest first, stood at `at`; None before the first."""
    return next((row for row in reversed(rows) if row.loaded <= at), None)


def model(db: sqlite3.Connection, row: SourceRow) -> Model:
    """Return one revision of a source as it stood in the city."""
    found = db.execute(
        "SELECT model, mesh FROM revisions WHERE source = ? AND revision = ?", (row.source, row.revision)
    ).fetchone()
    if found is None:
        return _newest(db, row)
    blob, digest = found
    return replace(unpack(zlib.decompress(blob)), mesh=_former_mesh(db, row.source, digest) if digest else None)


def supersede(db: sqlite3.Connection, row: SourceRow, at: datetime, mesh: bytes | None) -> None:
    """Keep the newest revision, `row`, before it is replaced by one with `mesh`; inside the caller's transaction."""
    kept = _newest(db, row)
    digest = hashlib.sha256(kept.mesh).hexdigest() if kept.mesh else None
    if kept.mesh and kept.mesh != mesh:
        deflated = zlib.compress(kept.mesh, _LEVEL)
        db.execute("INSERT OR IGNORE INTO former_meshes (sha256, glb) VALUES (?, ?)", (digest, deflated))
    db.execute(
        f"INSERT INTO revisions ({COLUMNS}, superseded, mesh, model) SELECT {COLUMNS}, ?, ?, ? FROM sources"  # noqa: S608  # our names
        " WHERE source = ?",
        (at.isoformat(), digest, zlib.compress(pack(kept), _LEVEL), row.source),
    )
    for table in TABLES:
        geopackage.note_contents(db, table, at)


def past(db: sqlite3.Connection, at: datetime) -> sqlite3.Connection:
    """Return a copy of the city in memory, with every source in the revision that was in force at `at`."""
    copy = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.backup(copy)
    with geopackage.transaction(copy), geopackage.untriggered(copy, records.TABLES):
        for (source,) in copy.execute("SELECT source FROM sources").fetchall():
            rows = revisions(copy, source)
            row = in_force(rows, at)
            if row != rows[-1]:
                _put_back(copy, source, row)
        _forget_since(copy, at)
    return copy


def _put_back(copy: sqlite3.Connection, source: str, row: SourceRow | None) -> None:
    """Let `source` stand in the revision `row`, none of it where there is none; in a copy of the city."""
    former = model(copy, row) if row else None
    (srs,) = copy.execute("SELECT max(srs_id) FROM gpkg_geometry_columns").fetchone()  # all layers are in one
    for record in records.RECORDS:
        geopackage.delete(copy, record.table, "source", source)
        if former and (assets := getattr(former, record.table.name)):
            record.insert(copy, assets, source, former.placement.decision, srs)
    for table in sources.TABLES:
        geopackage.delete(copy, table, "source", source)
    if former and row:
        sources.write(
            copy,
            former,
            row.loaded,
            counts=row.counts,
            revision=row.revision,
            path=row.path,
            sha256=row.sha256,
            given=row.given,
        )
        copy.execute(
            "UPDATE sources SET checks = ? WHERE source = ?", (msgspec.json.encode(row.checks).decode(), source)
        )


def _forget_since(copy: sqlite3.Connection, at: datetime) -> None:
    """Take out of a copy what was not there at `at` besides models: later revisions, operations, joints of others."""
    copy.execute(
        "DELETE FROM revisions WHERE revision >="
        " (SELECT coalesce(max(sources.revision), 0) FROM sources WHERE sources.source = revisions.source)"
    )
    later = [
        (fid,)
        for fid, moment in copy.execute('SELECT fid, "at" FROM valve_operations')
        if datetime.fromisoformat(moment) > at
    ]
    copy.executemany("DELETE FROM valve_operations WHERE fid = ?", later)
    copy.execute(
        "DELETE FROM joints WHERE node NOT IN (SELECT asset FROM nodes) OR element NOT IN (SELECT asset FROM elements)"
    )


def same(stored: Model, new: Model) -> bool:
    """Say whether two models bring the same into the city; doubts of the load and zones of nodes are no matter."""
    return stored.mesh == new.mesh and pack(_bare(stored)) == pack(_bare(new))


def pack(model: Model) -> bytes:
    """Return a model without its mesh as MessagePack."""
    tables = {record.table.name: record.pack(getattr(model, record.table.name)) for record in records.RECORDS}
    said = {
        "source": model.source,
        "kind": model.kind,
        "placement": model.placement,
        "repairs": model.repairs,
        "remainder": model.remainder,
        "issues": model.issues,
        "account": model.account,
    }
    return msgspec.msgpack.encode({"tables": tables, **said})


def unpack(packed: bytes) -> Model:
    """Return the model, without its mesh, of what `pack` returned, also in an earlier version."""
    said: dict[str, Any] = msgspec.msgpack.decode(packed)
    tables = said.pop("tables")
    assets: dict[str, Any] = {
        record.table.name: record.unpack(tables.get(record.table.name, {})) for record in records.RECORDS
    }
    return Model(
        source=said["source"],
        kind=said["kind"],
        placement=msgspec.convert(said["placement"], Placement),
        repairs=msgspec.convert(said["repairs"], tuple[Repair, ...]),
        remainder=said["remainder"],
        issues=msgspec.convert(said["issues"], tuple[Issue, ...]),
        account=said["account"],
        **assets,
    )


def _newest(db: sqlite3.Connection, row: SourceRow) -> Model:
    assets: dict[str, Any] = {record.table.name: record.read(db, "source", row.source) for record in records.RECORDS}
    mesh = sources.mesh(db, row.source)
    (remainder,) = db.execute("SELECT remainder FROM sources WHERE source = ?", (row.source,)).fetchone()
    return Model(
        row.source,
        row.kind,
        row.placement,
        repairs=sources.repairs(db, row.source),
        mesh=mesh.glb if mesh else None,
        remainder=remainder,
        issues=row.issues,
        account=row.account,
        **assets,
    )


def _former_mesh(db: sqlite3.Connection, source: str, digest: str) -> bytes | None:
    found = db.execute("SELECT glb FROM former_meshes WHERE sha256 = ?", (digest,)).fetchone()
    if found:
        return zlib.decompress(found[0])
    newest = sources.mesh(db, source)  # every revision since has had the same
    return newest.glb if newest else None


def _bare(model: Model) -> Model:
    return replace(model, issues=(), nodes=[replace(node, zone=None) for node in model.nodes])
