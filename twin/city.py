"""The city database: one GeoPackage that holds every asset, where it came from, and the meshes; QGIS opens it as it is.

Layers buildings, elements, nodes, links, zones; plain tables storeys, spaces, sources, meshes, repairs, joints,
valve_operations, placings, revisions, former_meshes, city. Columns are the fields of `twin.asset`, `id` kept as
``asset``. Geometries keep a Z where the file had one. Assets that are not ``placed`` stand in their file's own
coordinates.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from twin import crs as reference
from twin.asset import Asset, AssetId, Node, System
from twin.errors import CrsError, InputError, UnknownError
from twin.model import Decision, Model
from twin.network import ValveState
from twin.store import file as city_file
from twin.store import geopackage, history, placings, records, sources, valves
from twin.store.file import city_crs
from twin.store.placings import Placing
from twin.store.sources import Given, Mesh, SourceRow
from twin.store.zoning import zone_nodes

if TYPE_CHECKING:
    import sqlite3

    import geopandas as gpd
    import pandas as pd

    from twin.model import Joint

__all__ = ["City", "Mesh", "SourceRow", "Stored", "city_crs"]


@dataclass(frozen=True, slots=True)
class Stored:
    """What `City.replace` made of a model: which revision of its source it is, and whether that is a new one."""

    revision: int
    is_new: bool


class City:
    """An open city database. Any thread may read through it; what writes does so through a connection of its own.

    Readers see the city before or after a replace, never between, and are not held up by it (write-ahead log). While
    a process has a city open it must not open the same file through GDAL (pyogrio, geopandas); see
    `twin.store.geopackage.frame`. Other processes, QGIS among them, may.
    """

    def __init__(
        self, path: Path, db: sqlite3.Connection, *, busy_timeout_s: float, as_of: datetime | None = None
    ) -> None:
        self.path = path
        self._db = db
        self._busy_timeout_s = busy_timeout_s
        self._as_of = as_of

    @staticmethod
    def open(path: Path, *, busy_timeout_s: float = 30.0) -> City:
        """Open the city at `path`; one of an earlier format is brought up to date first.

        Raises InputError E_MISSING where there is none and E_FORMAT where the file is something else.
        """
        return City(path, city_file.connect(path, busy_timeout_s=busy_timeout_s), busy_timeout_s=busy_timeout_s)

    @staticmethod
    def create(path: Path, crs: str | None, *, busy_timeout_s: float = 30.0) -> City:
        """Make a new city at `path` in `crs`; None: adopted from the first source that has one.

        Raises CrsError where `crs` does not exist or is no projected CRS in metres, InputError E_EXISTS where the
        file is there already, UnavailableError where the folder cannot be written.
        """
        city_file.make(path, city_crs(crs) if crs else None)
        return City.open(path, busy_timeout_s=busy_timeout_s)

    @staticmethod
    def open_or_create(path: Path, crs: str | None, *, busy_timeout_s: float = 30.0) -> City:
        """Open the city at `path`, or make it; an existing one has to be in `crs` where that is given (CrsError)."""
        if not path.exists():
            try:
                return City.create(path, crs, busy_timeout_s=busy_timeout_s)
            except InputError as error:
                if error.code != "E_EXISTS":  # another load has made it meanwhile
                    raise
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
        """Return a number that grows with every change but checks: models, joints, valve operations."""
        return int(self._get("revision") or 0)

    def replace(
        self,
        model: Model,
        at: datetime,
        *,
        path: str = "",
        sha256: str = "",
        given: Given | None = None,
        placing: Placing | None = None,
        patience_s: float | None = None,
    ) -> Stored:
        """Put `model` in the place of what came from its source before, and nothing else, in one transaction.

        What was there becomes a former revision, unless the file (`sha256`) and all that it brings are the same: then
        nothing is written. `at` is the time noted (aware UTC), `path` says where the file was, `given` what was said
        with it. A city without a CRS adopts the placement's. `placing` is the decision of a person that put it there,
        kept with it. Raises BusyError where somebody else writes for longer than `patience_s` (else the city's
        timeout), CrsError where a placed model is not in the city's CRS, InputError E_ID where two assets have one id,
        UnavailableError on a full disk.
        """
        said = given or Given()
        with self._writing(patience_s) as db:
            newest = sources.find(db, model.source)
            if placing:
                placings.write(db, placing)
            if newest and sha256 and newest.sha256 == sha256 and history.same(history.model(db, newest), model):
                if (newest.path, newest.given) != (path, said):
                    sources.note_file(db, model.source, path, said)
                return Stored(newest.revision, is_new=False)
            srs = city_file.srs_for(db, model)
            if newest:
                history.supersede(db, newest, at, model.mesh)
            revision = newest.revision + 1 if newest else 1
            counts = _write_assets(db, model, srs, at)
            sources.write(db, model, at, counts=counts, revision=revision, path=path, sha256=sha256, given=said)
            city_file.advance(db)
        return Stored(revision, is_new=True)

    def placing(self, source: str) -> Placing | None:
        """Return the last decision of a person where `source` stands, None where there never was one."""
        with geopackage.one_line_errors(self.path):
            return placings.find(self._db, source)

    def put_check(self, source: str, kind: Literal["schema", "ids"], summary: Mapping[str, Any], at: datetime) -> None:
        """Keep the summary of a check with the newest revision of `source`; raises UnknownError."""
        with self._writing() as db:
            row = sources.find(db, source) or self._unknown_source(source)
            checks = {**row.checks, kind: {**summary, "at": at}}
            text = msgspec.json.encode(checks).decode()
            db.execute("UPDATE sources SET checks = ? WHERE source = ?", (text, source))

    def put_joints(self, joints: Sequence[Joint]) -> None:
        """Put `joints` in the place of all that were there."""
        with self._writing() as db:
            db.execute("DELETE FROM joints")
            rows = [(each.node, each.element, each.distance_m, each.confidence, each.why) for each in joints]
            geopackage.insert(db, city_file.JOINTS, rows)
            city_file.advance(db)

    def operate(self, asset: str, state: ValveState, *, at: datetime, by: str, note: str = "") -> None:
        """Note that a valve stands in `state` since `at` (aware UTC), as `by` reported; raises UnknownError."""
        self.asset(asset)
        with self._writing() as db:
            valves.operate(db, asset, state, at, by=by, note=note)
            city_file.advance(db)

    def valve_states(self, at: datetime | None = None) -> dict[AssetId, ValveState]:
        """Return how each valve that was ever operated stood at `at`, now without one."""
        with geopackage.one_line_errors(self.path):
            return valves.states(self._db, at)

    def table(self, name: str, *, placed_only: bool = False) -> gpd.GeoDataFrame | pd.DataFrame:
        """Return a layer as GeoDataFrame (city CRS, metres) or a plain table as DataFrame, rows indexed by ``asset``.

        Fields of several values (`properties`, `connects`, …) are JSON text. Raises UnknownError where there is no
        such table.
        """
        known = {table.name: table for table in city_file.TABLES}
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
                for found in record.read(self._db, "asset", asset):
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

    def nodes_beside(self, source: str, systems: Collection[System]) -> list[Node]:
        """Return the placed nodes of some systems that other sources than `source` brought."""
        beside = [row.source for row in self.sources() if row.placement.decision is Decision.PLACED]
        found: list[Node] = []
        with geopackage.one_line_errors(self.path):
            for other in beside:
                nodes = records.NODES.read(self._db, "source", other) if other != source else ()
                found += [node for node in nodes if isinstance(node, Node) and node.system in systems]
        return found

    def ids(self, source: str) -> set[AssetId]:
        """Return the ids of every asset that `source` brought."""
        queries = (f'SELECT asset FROM "{name}" WHERE source = ?' for name in records.NAMES)  # noqa: S608  # our names
        return {AssetId(asset) for query in queries for (asset,) in self._rows(query, source)}

    def counts(self) -> dict[str, int]:
        """Return how many rows each table of assets has."""
        return {name: self._rows(f'SELECT count(*) FROM "{name}"')[0][0] for name in records.NAMES}  # noqa: S608  # our names

    def sources(self) -> list[SourceRow]:
        """Return what was loaded, the newest revision of each source, in the order of the names."""
        rows = self._rows(f"SELECT {sources.COLUMNS} FROM sources ORDER BY source")  # noqa: S608  # our names
        return [sources.source_row(row) for row in rows]

    def revisions(self, source: str) -> list[SourceRow]:
        """Return every revision of a source, oldest first; raises UnknownError."""
        with geopackage.one_line_errors(self.path):
            return history.revisions(self._db, source) or self._unknown_source(source)

    def model(self, source: str, *, revision: int | None = None, at: datetime | None = None) -> Model:
        """Return a source as it stands in the city: its newest revision, the one numbered, or the one in force `at`.

        Raises UnknownError where there is no such source or revision, or none yet at that time.
        """
        rows = self.revisions(source)
        if at is not None:
            row = history.in_force(rows, at)
        else:
            row = next((row for row in rows if row.revision == revision), None) if revision else rows[-1]
        if row is None:
            asked = f"at {at.isoformat()}" if at is not None else f"{revision}"
            known = ", ".join(f"{row.revision} ({row.loaded:%Y-%m-%d %H:%M}Z)" for row in rows)
            raise UnknownError(f"no revision {asked} of {source!r}", where=str(self.path), expected=known)
        with geopackage.one_line_errors(self.path):
            return history.model(self._db, row)

    def remainder(self, source: str) -> bytes | None:
        """Return what the newest revision of `source` says and no asset holds; see `twin.model.Model`."""
        rows = self._rows("SELECT remainder FROM sources WHERE source = ?", source) or self._unknown_source(source)
        return rows[0][0]

    def mesh(self, source: str) -> Mesh:
        """Return the mesh of a source; raises UnknownError where it has none."""
        with geopackage.one_line_errors(self.path):
            found = sources.mesh(self._db, source)
        if found is None:
            raise UnknownError(f"no mesh of {source!r}", where=str(self.path), expected="a source with geometry")
        return found

    def as_of(self, at: datetime) -> City:
        """Return the city as it was at `at`: a copy in memory that answers everything and cannot be written.

        Sources stand in the revision that was in force, valves as they had been operated. Close it after use.
        """
        with geopackage.one_line_errors(self.path):
            return City(self.path, history.past(self._db, at), busy_timeout_s=self._busy_timeout_s, as_of=at)

    def copy_to(self, path: Path) -> None:
        """Write the city, as it is at this moment, to the new file `path`; others may write to it meanwhile."""
        with geopackage.one_line_errors(path):
            self._db.execute("VACUUM INTO ?", (str(path),))

    def close(self) -> None:
        """Close the file; the last one to close it folds the write-ahead log into it."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _writing(self, patience_s: float | None = None) -> Generator[sqlite3.Connection]:
        """Write in one transaction through a connection of its own."""
        if self._as_of is not None:
            raise InputError(
                f"is the city as it was at {self._as_of.isoformat()}", where=str(self.path), expected="the city of now"
            )
        with geopackage.one_line_errors(self.path):
            timeout_s = self._busy_timeout_s if patience_s is None else patience_s
            db = geopackage.connect(self.path, busy_timeout_s=timeout_s)
            try:
                with geopackage.transaction(db):
                    yield db
            finally:
                db.close()

    def _unknown_source(self, source: str) -> Any:
        known = ", ".join(row.source for row in self.sources()) or "a loaded file"
        raise UnknownError(f"no source {source!r}", where=str(self.path), expected=known)

    def _get(self, key: str) -> str | None:
        with geopackage.one_line_errors(self.path):
            return city_file.value(self._db, key)

    def _rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with geopackage.one_line_errors(self.path):
            return self._db.execute(query, values).fetchall()


def _write_assets(db: sqlite3.Connection, model: Model, srs: int, at: datetime) -> dict[str, int]:
    counts: dict[str, int] = {}
    with geopackage.untriggered(db, records.TABLES):
        for record in records.RECORDS:
            geopackage.delete(db, record.table, "source", model.source)
            assets = getattr(model, record.table.name)
            counts[record.table.name] = len(assets)
            if assets:
                record.insert(db, assets, model.source, model.placement.decision, srs)
            geopackage.note_contents(db, record.table, at)
        zone_nodes(db, model)
    return counts
