"""Files into the city, with a receipt for each: what came in, what did not, and where it stands."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from twin import crs as reference
from twin import records
from twin.asset import AssetId, System
from twin.city import City
from twin.errors import InputError
from twin.model import Issue, Model, Placement, ReadRequest
from twin.readers import reader_for
from twin.readers.gis import with_ends
from twin.workers import Outcome, Workers, read

ISOLATED = frozenset(("ifc",))
"""Kinds that are read in a process of their own: their library may hang, or die with the process."""
_SUFFIXES = frozenset((".ifc", ".ifczip", ".inp", ".geojson", ".gpkg", ".shp"))
_MAYBE_SUFFIXES = frozenset((".json", ".txt", ".ifcxml", ".net", ".xml", ".zip", ".xlsx", ".csv"))


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one file; `line` is its JSON.

    `products` … `excluded` account for an IFC file's products, None for other kinds; `counts` are the assets in the
    city, by table; `account` is whatever else the reader says; `errors` has doubts too when `refused` is false.
    """

    file: str
    source: str
    kind: str
    refused: bool
    schema: str | None = None
    schema_alias: str | None = None
    products: int | None = None
    meshed: int | None = None
    empty: int | None = None
    failed: int | None = None
    excluded: Mapping[str, int] | int | None = None
    placement: Placement | None = None
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    account: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seconds: float = 0.0
    peak_mb: float = 0.0
    errors: Sequence[Issue] = ()

    def line(self) -> str:
        """Return the receipt as one line of JSON."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a load stands: the file, whether it begins or has its receipt, how many of how many are through."""

    file: Path
    receipt: Receipt | None
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Job:
    file: Path
    source: str
    kind: str


def load(
    paths: Sequence[Path],
    city_path: Path,
    *,
    at: datetime,
    crs: str | None = None,
    system: System | None = None,
    source: str | None = None,
    workers: int = 2,
    timeout_s: float = 1800.0,
    progress: Callable[[Progress], None] | None = None,
) -> list[Receipt]:
    """Read files, and folders of files, into the city at `city_path`, made if it is not there.

    `crs` is the CRS of files that name none, and of a new city if it is projected and in metres. `system` is the
    system of networks that do not say. `source` is the name to keep a single file under, else its file name. A file
    that is refused stops no other; the receipts come in the order of the files. `at` is the time that is noted.

    Raises InputError where a folder has nothing to load, CrsError where `crs` does not exist, and what `City` raises
    where the city cannot be opened or written; files that were stored before that stay.
    """
    if crs:
        reference.parse(crs)
    files = expand(paths, city_path)
    if source and len(files) != 1:
        raise InputError(f"one name for {len(files)} files", where=f"--as {source}", expected="a single file")
    with _Target(city_path, crs, at) as target, Workers(workers, timeout_s) as pool:
        loading = _Loading(target, pool, crs=crs, system=system, progress=progress or _silently, total=len(files))
        return loading.run([(file, source or file.name) for file in files], workers)


def expand(paths: Sequence[Path], city_path: Path | None = None) -> list[Path]:
    """Return the files that `paths` name; folders give the files in them that a reader may know, in order.

    Raises InputError E_MISSING where a folder has none.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = [file for file in sorted(path.rglob("*")) if _is_candidate(file, city_path)]
        if not found:
            raise InputError(
                "nothing to load in this folder", where=str(path), expected="model files", code="E_MISSING"
            )
        files += found
    return files


def _is_candidate(file: Path, city_path: Path | None) -> bool:
    suffix = file.suffix.lower()
    if not file.is_file() or (city_path is not None and file.resolve() == city_path.resolve()):
        return False
    if suffix in _MAYBE_SUFFIXES:
        try:
            reader_for(file)
        except InputError:
            return False
        return True
    return suffix in _SUFFIXES


def _silently(progress: Progress) -> None:
    del progress


class _Target:
    """The city that is loaded into; a new one is made when the first file has been read."""

    def __init__(self, path: Path, crs: str | None, at: datetime) -> None:
        self._path, self._at = path, at
        fits = crs is not None and reference.fits_city(reference.horizontal(reference.parse(crs)))
        self._new_crs = crs if fits else None
        self._city = City.open(path) if path.exists() else None

    @property
    def crs(self) -> str | None:
        """The CRS to read into; None: the first file with one decides."""
        return self._city.crs if self._city else self._new_crs and reference.label(reference.parse(self._new_crs))

    def is_at(self, file: Path) -> bool:
        """Say whether `file` is the city."""
        return self._path.exists() and self._path.samefile(file)

    def put(self, model: Model, file: Path) -> Model:
        """Store a model, its loose ends joined to the city's nodes; returns it as stored."""
        self._city = self._city or City.open_or_create(self._path, self._new_crs)
        doubts: list[Issue] = []
        earlier = next((row for row in self._city.sources() if row.source == model.source), None)
        path = str(file.resolve())
        if earlier and earlier.path != path:
            doubts.append(Issue("E_SOURCE", f"took the place of what came from {earlier.path}"))
        joined = _joined(self._city, model, doubts)
        joined = dataclasses.replace(joined, issues=[*model.issues, *doubts])
        self._city.replace(joined, self._at, path=path, sha256=_digest(file))
        return joined

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._city:
            self._city.close()


class _Loading:
    """One run of `load`: what is asked of the readers, what waits, what is through."""

    def __init__(
        self,
        target: _Target,
        pool: Workers,
        *,
        crs: str | None,
        system: System | None,
        progress: Callable[[Progress], None],
        total: int,
    ) -> None:
        self._target, self._pool, self._progress, self._total = target, pool, progress, total
        self._crs, self._system = crs, system
        self._receipts: dict[int, Receipt] = {}

    def run(self, named: Sequence[tuple[Path, str]], workers: int) -> list[Receipt]:
        """Load every file; isolated kinds side by side once the city has a CRS, the others here, one by one."""
        waiting: dict[Future[tuple[Outcome, float]], tuple[int, _Job]] = {}
        with ThreadPoolExecutor(workers) as threads:
            try:
                for index, job in self._jobs(named):
                    self._begin(job)
                    if job.kind in ISOLATED:
                        waiting[threads.submit(self._timed, self._pool.read, job)] = index, job
                        if self._target.crs is None:  # its CRS becomes the city's: the next ones are read into that
                            self._settle(waiting, all_of_them=True)
                    else:
                        self._finish(index, job, *self._timed(read, job))
                    while len(waiting) > workers:  # models in memory are bounded
                        self._settle(waiting, all_of_them=False)
                self._settle(waiting, all_of_them=True)
            except BaseException:  # Ctrl-C, a full disk: nobody waits for what is still being read
                threads.shutdown(wait=False, cancel_futures=True)
                self._pool.kill()
                raise
        return [self._receipts[index] for index in sorted(self._receipts)]

    def _jobs(self, named: Sequence[tuple[Path, str]]) -> Iterator[tuple[int, _Job]]:
        """Yield the files that some reader knows; the others get their receipt here."""
        seen: dict[str, Path] = {}
        for index, (file, source) in enumerate(named):
            try:
                kind, _ = reader_for(file)
                self._refuse_twin(file, source, seen)
            except InputError as error:
                self._done(index, file, _refusal(file, source, "", error))
            else:
                seen[source] = file
                yield index, _Job(file, source, kind)

    def _refuse_twin(self, file: Path, source: str, seen: Mapping[str, Path]) -> None:
        if source in seen:
            raise InputError(f"has the name of {seen[source]}", where=str(file), expected="--as NAME", code="E_SOURCE")
        if self._target.is_at(file):  # GDAL must not open it here: see twin.geopackage.frame
            raise InputError("is the city itself", where=str(file), expected="a file to load", code="E_FORMAT")

    def _timed(self, reader: Callable[[Path, ReadRequest], Outcome], job: _Job) -> tuple[Outcome, float]:
        begun = time.perf_counter()
        request = ReadRequest(job.source, self._target.crs, self._crs, self._system)
        return reader(job.file, request), time.perf_counter() - begun

    def _settle(self, waiting: dict[Future[tuple[Outcome, float]], tuple[int, _Job]], *, all_of_them: bool) -> None:
        while waiting:
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                index, job = waiting.pop(future)
                self._finish(index, job, *future.result())
            if not all_of_them:
                return

    def _begin(self, job: _Job) -> None:
        self._progress(Progress(job.file, None, len(self._receipts), self._total))

    def _finish(self, index: int, job: _Job, outcome: Outcome, seconds: float) -> None:
        begun = time.perf_counter()
        if outcome.model is None:
            assert outcome.error is not None
            receipt = _refusal(job.file, job.source, job.kind, outcome.error, seconds=seconds, peak_mb=outcome.peak_mb)
        else:
            try:
                stored = self._target.put(outcome.model, job.file)
                receipt = _receipt(job.file, stored, seconds + time.perf_counter() - begun, outcome.peak_mb)
            except InputError as error:
                receipt = _refusal(job.file, job.source, job.kind, error, seconds=seconds, peak_mb=outcome.peak_mb)
        self._done(index, job.file, receipt)

    def _done(self, index: int, file: Path, receipt: Receipt) -> None:
        self._receipts[index] = receipt
        self._progress(Progress(file, receipt, len(self._receipts), self._total))


def _joined(city: City, model: Model, doubts: list[Issue]) -> Model:
    """Join links whose ends name nodes of other files to the city's nodes of their system, where one has that name."""
    loose = [
        link
        for link in model.links
        if (link.properties.get("from") and not link.start) or (link.properties.get("to") and not link.end)
    ]
    if not loose:
        return model
    known: dict[System, Mapping[str, AssetId]] = {
        system: city.nodes_named(system) for system in {link.system for link in loose}
    }
    links = [with_ends(link, known[link.system].get) if link.system in known else link for link in model.links]
    open_ends = sum(
        (link.start is None and bool(link.properties.get("from")))
        + (link.end is None and bool(link.properties.get("to")))
        for link in links
    )
    if open_ends:
        doubts.append(
            Issue(
                "E_NODE", f"{open_ends} ends name nodes that the city does not have (load the nodes, then this again)"
            )
        )
    return dataclasses.replace(model, links=links)


def _receipt(file: Path, model: Model, seconds: float, peak_mb: float) -> Receipt:
    account = dict(model.account)
    known = {name: account.pop(name, None) for name in ("schema", "schema_alias", "products", "meshed", "failed")}
    known |= {name: account.pop(name, None) for name in ("empty", "excluded")}
    return Receipt(
        str(file),
        model.source,
        model.kind,
        refused=False,
        **known,
        placement=model.placement,
        counts={name: len(getattr(model, name)) for name in records.NAMES},
        account=account,
        seconds=round(seconds, 3),
        peak_mb=round(peak_mb, 1),
        errors=model.issues,
    )


def _refusal(
    file: Path, source: str, kind: str, error: Exception, *, seconds: float = 0.0, peak_mb: float = 0.0
) -> Receipt:
    code = getattr(error, "code", "E_READER")
    issue = Issue(code, str(error).removeprefix(f"{code} "))
    return Receipt(
        str(file), source, kind, refused=True, seconds=round(seconds, 3), peak_mb=round(peak_mb, 1), errors=(issue,)
    )


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        why = error.strerror or "cannot be read"
        raise InputError(f"went while it was loaded: {why}", where=str(file), code="E_READ") from None
