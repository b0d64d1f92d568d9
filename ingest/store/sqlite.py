"""The embedded reading store: one SQLite file in WAL mode, one row a reading, keyed by series and time.

Beside the readings stand their minutes and hours, written in the same transaction, so that a long range is read from
them; they may stay when the readings go. One process writes at a time, any number read. Writing a batch again changes
nothing: the key is the reading's identity.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ingest.store import Latest, Retention, Written, columns, within
from ingest.store.sifting import sift
from sensors.clock import to_ms
from sensors.reading import Batch
from twin.errors import InputError, UnavailableError

BUSY_TIMEOUT_S = 5.0

CACHE_KIB = 16_384
CHECKPOINT_PAGES = 4_000
"""A batch changes a page of many series each: SQLite's usual 2 MB of cache and 1,000 pages of log would be too few."""

SWEEP_S = 10.0
"""This often, while readings come, some series are rid of what is past its retention."""

SWEEPS = 360
"""So many sweeps go over all series: an hour."""

SWEPT_ROWS = 5000
"""A sweep deletes at most so many rows of a series, so that no transaction grows long; the rest waits a round."""

_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000
_LARGEST = float(np.finfo(np.float64).max)
_ROLLUPS = {"minutes": _MINUTE_MS, "hours": _HOUR_MS}

_SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    series INTEGER NOT NULL, time INTEGER NOT NULL, value REAL NOT NULL, quality INTEGER NOT NULL,
    PRIMARY KEY (series, time)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS latest (
    series INTEGER PRIMARY KEY, time INTEGER NOT NULL, value REAL NOT NULL, quality INTEGER NOT NULL
);
"""
_ROLLUP = """
CREATE TABLE {name} (
    series INTEGER NOT NULL, time INTEGER NOT NULL, low REAL NOT NULL, total REAL NOT NULL, high REAL NOT NULL,
    count INTEGER NOT NULL, PRIMARY KEY (series, time)
) WITHOUT ROWID;
"""
_FILL = (
    "INSERT INTO {name} SELECT series, time / {step} * {step} AS bucket, min(value), sum(value), max(value), count(*) "
    "FROM readings GROUP BY series, bucket"
)
_VERSION = 2
"""Of the file: 1 had no minutes and hours."""


class SqliteStore:
    """Keeps readings in the file of a ``sqlite:FILE`` url. Safe to share between threads."""

    precision: ClassVar[float] = 0.0

    def __init__(self, url: str, token: str = "", retention: Retention | None = None) -> None:
        del token  # a file has none
        self.path = Path(url.removeprefix("sqlite:"))
        self._retention = retention or Retention()
        self._unswept: list[int] = []
        self._share = 1
        self._swept_s = time.monotonic()
        self._writer = _connect(self.path)
        self._writing = threading.Lock()
        self._reader = _connect(self.path)
        self._reading = threading.Lock()
        with self._told():
            self._writer.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._writer.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._writer.execute("PRAGMA secure_delete = OFF")  # Debian's SQLite overwrites what it deletes with zeros
            self._writer.executescript(_SCHEMA)
            self._upgrade()

    def write(self, batch: Batch) -> Written:
        """Keep the batch durably before returning; UnavailableError when the file cannot be written just now."""
        inside, rejected = within(self._retention, batch)
        written = self._write(batch.take(inside))
        return Written(written.stored, written.duplicates, inside[written.conflicts], rejected)

    def read(
        self, series: Sequence[int], start: datetime, end: datetime, every: timedelta | None = None
    ) -> pd.DataFrame:
        """Return readings of [start, end), or buckets of the length `every`; columns as of the protocol.

        Buckets of whole minutes or hours come from the minutes and hours that are kept, all but the ends of the range.
        """
        first, last = to_ms(start), to_ms(end)
        if every is None:
            statement = (
                "SELECT series, time, value, quality FROM readings WHERE series = ? AND time >= ? AND time < ? "
                "ORDER BY time"
            )
            names, more = ["value", "quality"], (first, last)
        else:
            step = round(every / timedelta(milliseconds=1))
            statement = _buckets(list(_spans(first, last, step)), step)
            names, more = ["min", "mean", "max", "count"], ()
        rows: list[tuple[Any, ...]] = []
        with self._reading, self._told():
            for one in sorted(set(series)):
                rows += self._reader.execute(statement, (int(one), *more)).fetchall()
        return columns(rows, names)

    def latest(self) -> Latest:
        """Return the newest reading of every series."""
        with self._reading, self._told():
            rows = self._reader.execute("SELECT series, time, value, quality FROM latest ORDER BY series").fetchall()
        series, time, value, quality = zip(*rows, strict=True) if rows else ((), (), (), ())
        return Latest(
            np.array(series, np.int32), np.array(time, np.int64), np.array(value), np.array(quality, np.uint8)
        )

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
        self._writer.close()

    def _write(self, batch: Batch) -> Written:
        if not len(batch):
            return Written(0, 0, np.empty(0, np.intp))
        with self._writing, self._told(), self._transaction() as connection:
            connection.execute("SAVEPOINT batch")
            fresh, duplicates, conflicts = batch, 0, np.empty(0, np.intp)
            if self._insert(batch) < len(batch):
                # Some are there already: see which, and begin again with the others.
                connection.execute("ROLLBACK TO batch")
                every = np.full(len(batch), np.iinfo(np.int64).max)
                positions, duplicates, conflicts = sift(batch, every, self._held)
                fresh = batch.take(positions)
                self._insert(fresh)
            connection.execute("RELEASE batch")
            self._roll_up(fresh)
            connection.executemany(
                "INSERT INTO latest VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET time = excluded.time, "
                "value = excluded.value, quality = excluded.quality WHERE excluded.time > latest.time",
                _newest(fresh),
            )
            self._sweep(batch.now)
        return Written(len(fresh), duplicates, conflicts)

    def _upgrade(self) -> None:
        """Give a file its minutes and hours, from the readings that it has."""
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version == _VERSION:
            return
        with self._transaction() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise InputError(
                    f"is of version {version}", where=str(self.path), expected=f"{_VERSION} or older", code="E_SCHEMA"
                )
            if version < _VERSION:  # nobody else has done it meanwhile
                for name, step in _ROLLUPS.items():
                    connection.execute(_ROLLUP.format(name=name))
                    connection.execute(_FILL.format(name=name, step=step))
                connection.execute(f"PRAGMA user_version = {_VERSION}")

    def _insert(self, batch: Batch) -> int:
        """Insert what is not there yet, and return how many that were."""
        before = self._writer.total_changes
        # In the order of the key, so that each page is changed once; of equal keys the first in the batch comes first.
        ordered = batch.take(np.lexsort((batch.time, batch.series)))
        rows = zip(*_lists(ordered.series, ordered.time, ordered.value, ordered.quality), strict=True)
        self._writer.executemany("INSERT INTO readings VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
        return self._writer.total_changes - before

    def _held(self, batch: Batch) -> NDArray[np.float64]:
        at = "SELECT value FROM readings WHERE series = ? AND time = ?"
        keys = zip(*_lists(batch.series, batch.time), strict=True)
        found = (self._writer.execute(at, key).fetchone() for key in keys)
        return np.fromiter((np.nan if row is None else row[0] for row in found), np.float64, len(batch))

    def _roll_up(self, fresh: Batch) -> None:
        if not len(fresh):
            return
        for name, step in _ROLLUPS.items():
            self._writer.executemany(
                f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET low = min(low, excluded.low), "  # noqa: S608  # one of two names of ours
                "total = total + excluded.total, high = max(high, excluded.high), count = count + excluded.count",
                _bucket_rows(fresh, step),
            )

    def _sweep(self, now: int) -> None:
        """Delete what is past its retention at `now` (ms), of the series whose turn it is."""
        readings, rollups = self._retention.readings, self._retention.rollups
        # Minutes stand for their readings in long ranges, and never go before them.
        rollups = None if readings is None or rollups is None else max(readings, rollups)
        kept = {"readings": readings, "minutes": rollups, "hours": rollups}
        ends = {name: now - round(age / timedelta(milliseconds=1)) for name, age in kept.items() if age is not None}
        if not ends or time.monotonic() - self._swept_s < SWEEP_S:
            return
        self._swept_s = time.monotonic()
        if not self._unswept:
            self._unswept = [row[0] for row in self._writer.execute("SELECT series FROM latest")]
            self._share = -(-len(self._unswept) // SWEEPS)
        turn, self._unswept = self._unswept[: self._share], self._unswept[self._share :]
        for name, end in ends.items():
            self._writer.executemany(
                f"DELETE FROM {name} WHERE series = ?1 AND time <= (SELECT max(time) FROM (SELECT time FROM {name} "  # noqa: S608  # one of three names of ours
                "WHERE series = ?1 AND time < ?2 ORDER BY time LIMIT ?3))",
                [(series, end, SWEPT_ROWS) for series in turn],
            )

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield self._writer
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:  # a full disk has ended it already
                self._writer.execute("ROLLBACK")
            raise

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:  # a damaged file too: ingest goes on into the spool, and says so
            raise UnavailableError(str(error), where=str(self.path)) from error


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    except sqlite3.OperationalError as error:
        raise UnavailableError(str(error), where=str(path), expected="a file in a folder that exists") from None
    except sqlite3.DatabaseError as error:
        raise InputError(str(error), where=str(path), expected="a reading store (SQLite)", code="E_FORMAT") from None
    return connection


def _lists(*arrays: NDArray[Any]) -> list[list[Any]]:
    return [array.tolist() for array in arrays]


def _newest(batch: Batch) -> Iterable[tuple[Any, ...]]:
    """Return the newest row of each series of a batch that holds each (series, time) once."""
    order = np.lexsort((batch.time, batch.series))
    last = order[np.flatnonzero(np.append(np.diff(batch.series[order]) != 0, True))] if len(batch) else order
    return zip(*_lists(batch.series[last], batch.time[last], batch.value[last], batch.quality[last]), strict=True)


def _bucket_rows(batch: Batch, step: int) -> Iterable[tuple[Any, ...]]:
    """Return (series, time, low, total, high, count) of the buckets of `step` ms that a batch, not empty, falls in."""
    bucket = batch.time // step * step
    order = np.lexsort((bucket, batch.series))
    series, bucket, value = batch.series[order], bucket[order], batch.value[order]
    first = np.flatnonzero(np.append(True, (np.diff(series) != 0) | (np.diff(bucket) != 0)))
    with np.errstate(over="ignore"):
        low, total, high = (function.reduceat(value, first) for function in (np.minimum, np.add, np.maximum))
    total = np.clip(total, -_LARGEST, _LARGEST)  # two infinities would add up to a NaN, which SQLite refuses as NULL
    count = np.diff(np.append(first, len(batch)))
    return zip(*_lists(series[first], bucket[first], low, total, high, count), strict=True)


def _spans(first: int, last: int, step: int) -> Iterator[tuple[str, int, int]]:
    """Yield what buckets of `step` ms over [first, last) are added up from: table, from, to; coarse where it can be."""
    for name, grain, finer in (("hours", _HOUR_MS, _MINUTE_MS), ("minutes", _MINUTE_MS, 1)):
        begin, end = -(-first // grain) * grain, last // grain * grain
        if step % grain == 0 and begin < end:
            yield from _spans(first, begin, finer)
            yield name, begin, end
            yield from _spans(end, last, finer)
            return
    if first < last:
        yield "readings", first, last


def _buckets(spans: Sequence[tuple[str, int, int]], step: int) -> str:
    """Return the statement that adds up the spans of one series (its only parameter)."""
    parts = [
        f"SELECT time, {'value, value, value, 1' if name == 'readings' else 'low, total, high, count'} FROM {name} "  # noqa: S608  # names of ours, and integers
        f"WHERE series = ?1 AND time >= {first} AND time < {last}"
        for name, first, last in spans or [("readings", 0, 0)]
    ]
    return (
        f"WITH part(time, low, total, high, count) AS ({' UNION ALL '.join(parts)}) "  # noqa: S608  # as above
        f"SELECT ?1, time / {step} * {step} AS bucket, min(low), sum(total) / sum(count), max(high), sum(count) "
        "FROM part GROUP BY bucket ORDER BY bucket"
    )


__all__ = ["SqliteStore"]
