"""Files into the city, with a receipt for each: what came in, what did not, and where it stands."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from twin import crs as reference
from twin.asset import System
from twin.city import City, Stored
from twin.effects.joints import joints
from twin.entry import entering
from twin.errors import BusyError, InputError
from twin.model import ColumnMapping, Joint, Model, ReadRequest
from twin.network.repair import TOLERANCE_M
from twin.readers import reader_for
from twin.receipt import Receipt, receipt, refusal
from twin.store.sources import Given, SourceRow
from twin.workers import Outcome, Workers, read

ISOLATED = frozenset(("ifc",))
"""Kinds that are read in a process of their own: their library may hang, or die with the process."""
_SUFFIXES = frozenset((".ifc", ".ifczip", ".inp", ".geojson", ".gpkg", ".shp"))
_MAYBE_SUFFIXES = frozenset((".json", ".txt", ".ifcxml", ".net", ".xml", ".zip", ".xlsx", ".csv"))
_PATIENCE_S = 1.0
"""How long another load is waited for without a word."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a load stands: the file, whether it begins or has its receipt, how many of how many are through."""

    file: Path
    receipt: Receipt | None
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class _Job:
    """A file to read: with what is said of it now, else was when its source came `earlier` from a file of its kind."""

    file: Path
    kind: str
    request: ReadRequest
    earlier: SourceRow | None

    @staticmethod
    def of(file: Path, kind: str, request: ReadRequest, earlier: SourceRow | None) -> _Job:
        if earlier and earlier.kind == kind:
            request = earlier.given.also(request)
        return _Job(file, kind, request, earlier)

    @property
    def source(self) -> str:
        return self.request.source

    def notes(self, now: ReadRequest) -> Iterator[str]:
        """Yield what a person may not expect who said no more than `now`."""
        if self.earlier and self.earlier.path not in {"", str(self.file.resolve())}:
            yield f"took the place of what came from {self.earlier.path} ({self.earlier.kind})"
        used = [
            *([f"CRS {self.request.crs}"] if self.request.crs != now.crs else []),
            *([f"system {self.request.system}"] if self.request.system != now.system else []),
            *(["the column mapping"] if self.request.columns != now.columns else []),
        ]
        if used:
            yield f"where the file is silent, as given before: {', '.join(used)}"


def load(
    paths: Sequence[Path],
    city_path: Path,
    *,
    at: datetime,
    crs: str | None = None,
    system: System | None = None,
    source: str | None = None,
    columns: ColumnMapping | None = None,
    bounds: tuple[float, float, float, float] | None = None,
    tolerance_m: float | None = TOLERANCE_M,
    workers: int = 2,
    timeout_s: float = 1800.0,
    progress: Callable[[Progress], None] | None = None,
    waiting: Callable[[], None] | None = None,
) -> list[Receipt]:
    """Read files, and folders of files, into the city at `city_path`, made if it is not there.

    `crs` is the CRS of files that name none, and of a new city if it is projected and in metres. `system` is the
    system of networks that do not say. `source` is the name to keep a single file under, else its file name. `columns`
    says what columns of a table mean, `bounds` (w, s, e, n in the city's CRS) how far the city reaches. Networks are
    repaired within `tolerance_m` (None: not at all). What was given with a source before (CRS, system, columns) holds
    for its next files where nothing else is given. A file that is refused stops no other; the receipts come in the
    order of the files. `at` is the time that is noted; `waiting` is called where somebody else writes the city.

    Raises InputError where a folder has nothing to load, CrsError where `crs` does not exist, and what `City` raises
    where the city cannot be opened or written; files that were stored before that stay.
    """
    if crs:
        reference.parse(crs)
    files = expand(paths, city_path)
    if source and len(files) != 1:
        raise InputError(f"one name for {len(files)} files", where=f"--as {source}", expected="a single file")
    request = ReadRequest("", None, crs, system, columns or ColumnMapping(), bounds)
    target = _Target(city_path, crs, at, tolerance_m=tolerance_m, waiting=waiting)
    with target, Workers(workers, timeout_s) as pool:
        loading = _Loading(target, pool, request, progress=progress or _silently, total=len(files))
        receipts = loading.run([(file, source or file.name) for file in files], workers)
        target.join_models()
        return receipts


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

    def __init__(
        self,
        path: Path,
        crs: str | None,
        at: datetime,
        *,
        tolerance_m: float | None,
        waiting: Callable[[], None] | None,
    ) -> None:
        self._path, self._at, self._tolerance_m, self._waiting = path, at, tolerance_m, waiting
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

    def newest(self, source: str) -> SourceRow | None:
        """Return the newest revision of `source`, None where it was never loaded."""
        rows = self._city.sources() if self._city else ()
        return next((row for row in rows if row.source == source), None)

    def put(self, model: Model, file: Path, given: Given) -> tuple[Model, Stored]:
        """Store a model where a person has placed it, its loose ends joined; returns it as stored."""
        self._city = self._city or City.open_or_create(self._path, self._new_crs)
        digest = _digest(file)
        ready = entering(self._city, model, digest, self._tolerance_m)
        return ready, self._store(self._city, ready, str(file.resolve()), digest, given)

    def join_models(self) -> None:
        """Join the building models of the city to its networks anew, where that changes anything."""
        if self._city is None:
            return
        found = joints(self._city)
        known = self._city.table("joints")[[field.name for field in dataclasses.fields(Joint)]]
        if list(known.itertuples(index=False, name=None)) != [dataclasses.astuple(joint) for joint in found]:
            self._city.put_joints(found)

    def _store(self, city: City, model: Model, path: str, digest: str, given: Given) -> Stored:
        store = partial(city.replace, model, self._at, path=path, sha256=digest, given=given)
        try:
            return store(patience_s=_PATIENCE_S)
        except BusyError:
            if self._waiting:
                self._waiting()
        return store()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._city:
            self._city.close()


def _largest_isolated_first(known: tuple[int, Path, str, str]) -> int:
    _, file, _, kind = known
    return -file.stat().st_size if kind in ISOLATED else 0


class _Loading:
    """One run of `load`: what is asked of the readers, what waits, what is through."""

    def __init__(
        self,
        target: _Target,
        pool: Workers,
        request: ReadRequest,
        *,
        progress: Callable[[Progress], None],
        total: int,
    ) -> None:
        self._target, self._pool, self._progress, self._total = target, pool, progress, total
        self._request = request
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
        """Yield as given until the city has a CRS, then the largest isolated file first: no worker idles at the end."""
        known = list(self._known(named))
        while known and self._target.crs is None:
            yield self._job(*known.pop(0))
        for each in sorted(known, key=_largest_isolated_first):
            yield self._job(*each)

    def _known(self, named: Sequence[tuple[Path, str]]) -> Iterator[tuple[int, Path, str, str]]:
        """Yield number, file, source and kind of what some reader knows; the others get their receipt here."""
        seen: dict[str, Path] = {}
        for index, (file, source) in enumerate(named):
            try:
                kind, _ = reader_for(file)
                self._refuse_twin(file, source, seen)
            except InputError as error:
                self._done(index, file, refusal(file, source, "", error))
            else:
                seen[source] = file
                yield index, file, source, kind

    def _job(self, index: int, file: Path, source: str, kind: str) -> tuple[int, _Job]:
        """Return the job as the city stands now: what was read before may have given it a CRS."""
        request = dataclasses.replace(self._request, source=source, city_crs=self._target.crs)
        return index, _Job.of(file, kind, request, self._target.newest(source))

    def _refuse_twin(self, file: Path, source: str, seen: Mapping[str, Path]) -> None:
        if source in seen:
            raise InputError(f"has the name of {seen[source]}", where=str(file), expected="--as NAME", code="E_SOURCE")
        if self._target.is_at(file):  # GDAL must not open it here: see twin.store.geopackage.frame
            raise InputError("is the city itself", where=str(file), expected="a file to load", code="E_FORMAT")

    @staticmethod
    def _timed(reader: Callable[[Path, ReadRequest], Outcome], job: _Job) -> tuple[Outcome, float]:
        begun = time.perf_counter()
        return reader(job.file, job.request), time.perf_counter() - begun

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
            done = refusal(job.file, job.source, job.kind, outcome.error, seconds=seconds, peak_mb=outcome.peak_mb)
        else:
            try:
                model, stored = self._target.put(outcome.model, job.file, Given.with_(job.request))
                done = receipt(
                    job.file,
                    model,
                    revision=stored.revision,
                    unchanged=not stored.is_new,
                    notes=list(job.notes(self._request)),
                    seconds=seconds + time.perf_counter() - begun,
                    peak_mb=outcome.peak_mb,
                )
            except InputError as error:
                done = refusal(job.file, job.source, job.kind, error, seconds=seconds, peak_mb=outcome.peak_mb)
        self._done(index, job.file, done)

    def _done(self, index: int, file: Path, receipt: Receipt) -> None:
        self._receipts[index] = receipt
        self._progress(Progress(file, receipt, len(self._receipts), self._total))


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        why = error.strerror or "cannot be read"
        raise InputError(f"went while it was loaded: {why}", where=str(file), code="E_READ") from None
