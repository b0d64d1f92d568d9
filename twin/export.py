"""A city, or some of its sources, written in another format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.errors import InputError, UnknownError
from twin.model import Decision, Model
from twin.store import records
from twin.writers import HEIGHTS, cityjson, epanet, geojson, survey, swmm, tiles3d
from twin.writers.format import Format
from twin.writers.glb import placed
from twin.writers.inp import Written
from twin.writers.output import whole_copy, whole_file, whole_folder

if TYPE_CHECKING:
    from twin.city import City
    from twin.store.sources import SourceRow

MODELS = "models.json"
"""The list of the models in a folder of GLB files."""
_UNFIT = re.compile(r"[^\w.-]+")


@dataclass(frozen=True, slots=True)
class Exported:
    """Receipt of an export: what was written where, how many of each table, a line for all that was not or assumed."""

    format: Format
    path: str
    counts: Mapping[str, int]
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for: `sources` (none: all), and of GeoJSON `tables` and whether it has the city's coordinates."""

    sources: Sequence[str] = ()
    tables: Sequence[str] = ()
    city_coordinates: bool = False
    meshes: bool = False
    """Whether CityJSON has the surfaces of building models."""


def export(city: City, form: Format, out: Path, wanted: Wanted) -> Exported:
    """Write `city` (as it is, or as it was: see `City.as_of`) to `out`: a whole file or folder, or none.

    GeoJSON, CityJSON and 3D Tiles hold what is placed; GLB and the tables of networks hold what is not, too. Raises
    UnknownError for a source or table that the city does not have, InputError E_EMPTY where nothing of it fits the
    format, E_OPTION where an option does not, E_EXISTS where `out` is a database, and UnavailableError where it cannot
    be written.
    """
    job = _Job(city, form, out, wanted)
    writers: Mapping[Format, Callable[[_Job], Mapping[str, int]]] = {
        Format.GEOJSON: _geojson,
        Format.CITYJSON: _cityjson,
        Format.GLB: _glb,
        Format.TILES_3D: _tiles,
        Format.EPANET: _epanet,
        Format.SWMM: _swmm,
        Format.SURVEY: _survey,
        Format.GEOPACKAGE: _geopackage,
    }
    if (wanted.tables or wanted.city_coordinates) and form is not Format.GEOJSON:
        raise InputError("tables and coordinates are chosen for geojson only", where=form.value, code="E_OPTION")
    if _is_same(out, city.path):
        raise InputError("is the city itself", where=str(out), expected="another file", code="E_EXISTS")
    if wanted.meshes and form is not Format.CITYJSON:
        raise InputError("meshes are asked for with cityjson only", where=form.value, code="E_OPTION")
    counts = writers[form](job)
    return Exported(form, str(out), {name: count for name, count in counts.items() if count}, job.notes)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:  # one is not there, or not to be reached: writing it says which
        return False


@dataclass(frozen=True, slots=True)
class _Job:
    """An export under way, and what is to be said of it."""

    city: City
    form: Format
    out: Path
    wanted: Wanted
    notes: list[str] = field(default_factory=list[str])

    def crs(self) -> str:
        """Return the city's CRS; InputError E_EMPTY where nothing has given it one."""
        if self.city.crs is None:
            raise InputError("has no CRS: nothing in it is placed", where=str(self.city.path), code="E_EMPTY")
        return self.city.crs

    def rows(self) -> list[SourceRow]:
        """Return the sources asked for, else all; raises UnknownError."""
        rows = {row.source: row for row in self.city.sources()}
        if unknown := [name for name in self.wanted.sources if name not in rows]:
            raise UnknownError(
                f"no source {unknown[0]!r}",
                where=str(self.city.path),
                expected=", ".join(rows) or "a city with sources",
            )
        return [rows[name] for name in self.wanted.sources or rows]

    def placed(self) -> Iterator[Model]:
        """Return what stands in the city, one model at a time; what does not is noted."""
        for row in self.rows():
            if row.placement.decision is Decision.PLACED:
                yield self.city.model(row.source)
            else:
                self.notes.append(f"{row.source} left out: {row.placement.decision.value}")

    def networks(self) -> list[Model]:
        """Return the models asked for, else all, that have nodes or links; of several, those that are placed."""
        models = [self.city.model(row.source) for row in self._networks()]
        for model in models:
            if len(models) > 1 and model.placement.decision is not Decision.PLACED:
                self.notes.append(f"{model.source} left out: {model.placement.decision.value}")
        fit = [model for model in models if len(models) == 1 or model.placement.decision is Decision.PLACED]
        return fit or self.nothing("a source with nodes or links")

    def _networks(self) -> list[SourceRow]:
        return [row for row in self.rows() if row.counts.get("nodes") or row.counts.get("links")]

    def network(self) -> Model:
        """Return the one network for an engine's file: the sources asked for, or the only one that there can be."""
        rows = self._networks()
        own = [row for row in rows if row.kind == self.form.value]
        chosen = rows if self.wanted.sources else own or rows
        if not chosen:
            return self.nothing("a source with nodes or links")
        if len(chosen) > 1 and not self.wanted.sources:
            names = ", ".join(row.source for row in chosen)
            raise InputError("there are several networks", where=self.form.value, expected=f"--source, of {names}")
        models = [self.city.model(row.source) for row in chosen]
        if len(models) == 1:
            return models[0]
        if loose := [model.source for model in models if model.placement.decision is not Decision.PLACED]:
            raise InputError("is not placed, and cannot be joined to others", where=loose[0], code="E_EMPTY")
        return Model(
            "+".join(model.source for model in models),
            "",
            models[0].placement,
            nodes=[node for model in models for node in model.nodes],
            links=[link for model in models for link in model.links],
            zones=[zone for model in models for zone in model.zones],
        )

    def nothing(self, expected: str) -> Any:
        """Raise InputError E_EMPTY: what was asked for has nothing that the format can hold."""
        raise InputError("nothing to write", where=f"{self.form.value} {self.out}", expected=expected, code="E_EMPTY")

    def filled(self, counts: Mapping[str, int], expected: str) -> Mapping[str, int]:
        """Return `counts` if there is anything in them, before the file takes its place."""
        return counts if any(counts.values()) else self.nothing(expected)


def _geojson(job: _Job) -> Mapping[str, int]:
    tables = job.wanted.tables or geojson.LAYERS
    if unknown := [name for name in tables if name not in records.NAMES]:
        raise UnknownError(f"no table {unknown[0]!r}", where="geojson", expected=", ".join(records.NAMES))
    with whole_file(job.out) as stream:
        lonlat = not job.wanted.city_coordinates
        counts = geojson.write(job.placed(), stream, job.crs(), tables=tables, lonlat=lonlat)
        return job.filled(counts, "a placed source with such assets")


def _cityjson(job: _Job) -> Mapping[str, int]:
    with whole_file(job.out) as stream:
        written = cityjson.write(job.placed(), stream, job.crs(), meshes=job.wanted.meshes)
        job.notes.extend(written.notes)
        return job.filled(written.counts, "a placed source")


def _tiles(job: _Job) -> Mapping[str, int]:
    with whole_folder(job.out, tiles3d.TILESET) as folder:
        written = tiles3d.write(job.placed(), folder, job.crs())
        job.notes.extend(written.notes)
        return job.filled(written.counts, "a placed source with a mesh, buildings or links")


def _glb(job: _Job) -> Mapping[str, int]:
    models = [model for row in job.rows() if (model := job.city.model(row.source)).mesh is not None]
    if not models:
        return job.nothing("a source with a mesh, such as an IFC model")
    if len(models) == 1 and job.out.suffix.lower() == ".glb":
        with whole_file(job.out) as stream:
            stream.write(_standing(models[0]))
        return {"models": 1}
    with whole_folder(job.out, MODELS) as folder:
        listed: list[dict[str, Any]] = []
        for number, model in enumerate(models):
            name = f"{number}-{_UNFIT.sub('_', model.source)}.glb"
            (folder / name).write_bytes(_standing(model))
            listed.append({"file": name, "source": model.source, "placement": asdict(model.placement)})
        (folder / MODELS).write_text(json.dumps(listed, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return {"models": len(models)}


def _standing(model: Model) -> bytes:
    assert model.mesh is not None
    place = model.placement
    where = {"crs": place.crs, "origin": place.origin, "rotation_deg": place.rotation_deg, "heights": HEIGHTS}
    return placed(model.mesh, {"source": model.source, "decision": place.decision.value, **where})


def _epanet(job: _Job) -> Mapping[str, int]:
    return _engine_file(job, epanet.write)


def _swmm(job: _Job) -> Mapping[str, int]:
    return _engine_file(job, swmm.write)


def _engine_file(job: _Job, write: Callable[[Model], Written]) -> Mapping[str, int]:
    model = job.network()
    written = write(model)
    job.notes.extend(written.notes)
    with whole_file(job.out) as stream:
        stream.write(written.data)
    return written.counts


def _survey(job: _Job) -> Mapping[str, int]:
    tables = survey.tables(job.networks())
    job.notes.extend(tables.notes)
    if job.out.suffix.lower() == ".xlsx":
        with whole_file(job.out) as stream:
            survey.write_workbook(tables, stream)
    else:
        with whole_folder(job.out, survey.MARK) as folder:
            survey.write_folder(tables, folder)
    return tables.counts


def _geopackage(job: _Job) -> Mapping[str, int]:
    if job.wanted.sources:
        raise InputError("a copy of the city has all its sources", where="geopackage", code="E_OPTION")
    with whole_copy(job.out) as path:
        job.city.copy_to(path)
    return job.city.counts()
