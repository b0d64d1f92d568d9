"""The embedded reading store: one SQLite file in WAL mode, one row a reading, keyed by series and time.

One process writes, any number read. Writing a batch again changes nothing: the key is the reading's identity.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ingest.store import Latest, Written, columns
from sensors.clock import to_ms
from sensors.reading import Batch
from twin.errors import InputError, UnavailableError

BUSY_TIMEOUT_S = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS readings (
    series INTEGER NOT NULL, time INTEGER NOT NULL, value REAL NOT NULL, quality INTEGER NOT NULL,
    PRIMARY KEY (series, time)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS latest (
    series INTEGER PRIMARY KEY, time INTEGER NOT NULL, value REAL NOT NULL, quality INTEGER NOT NULL
);
"""


class SqliteStore:
    """Keeps readings in the file of a ``sqlite:FILE`` url. Safe to share between threads."""

    def __init__(self, url: str, token: str = "") -> None:
        del token  # a file has none
        self.path = Path(url.removeprefix("sqlite:"))
        self._writer = _connect(self.path)
        self._writing = threading.Lock()
        self._reader = _connect(self.path)
        self._reading = threading.Lock()
        with self._told():
            self._writer.executescript(_SCHEMA)

    def write(self, batch: Batch) -> Written:
        """Keep the batch durably before returning; UnavailableError when the file cannot be written just now."""
        if not len(batch):
            return Written(0, 0, np.empty(0, np.intp))
        rows = zip(*_lists(batch.series, batch.time, batch.value, batch.quality), strict=True)
        with self._writing, self._told(), self._transaction() as connection:
            before = connection.total_changes
            connection.executemany("INSERT INTO readings VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
            stored = connection.total_changes - before
            conflicts = self._conflicts(batch) if stored < len(batch) else np.empty(0, np.intp)
            connection.executemany(
                "INSERT INTO latest VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET time = excluded.time, "
                "value = excluded.value, quality = excluded.quality WHERE excluded.time > latest.time",
                _newest(batch, conflicts),
            )
        return Written(stored, len(batch) - stored - len(conflicts), conflicts)

    def read(
        self, series: Sequence[int], start: datetime, end: datetime, every: timedelta | None = None
    ) -> pd.DataFrame:
        """Return readings of [start, end), or buckets of the length `every`; columns as of the protocol."""
        span = (to_ms(start), to_ms(end))
        if every is None:
            statement = (
                "SELECT series, time, value, quality FROM readings WHERE series = ? AND time >= ? AND time < ? "
                "ORDER BY time"
            )
            names, extra = ["value", "quality"], ()
        else:
            step = round(every / timedelta(milliseconds=1))
            statement = (
                "SELECT series, time / ?4 * ?4 AS bucket, min(value), avg(value), max(value), count(*) FROM readings "
                "WHERE series = ?1 AND time >= ?2 AND time < ?3 GROUP BY bucket ORDER BY bucket"
            )
            names, extra = ["min", "mean", "max", "count"], (step,)
        rows: list[tuple[Any, ...]] = []
        with self._reading, self._told():
            for one in sorted(set(series)):
                rows += self._reader.execute(statement, (int(one), *span, *extra)).fetchall()
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

    def _conflicts(self, batch: Batch) -> NDArray[np.intp]:
        """Return the positions whose (series, time) holds another value; they are few, so each is looked up."""
        at = "SELECT value FROM readings WHERE series = ? AND time = ?"
        keys = zip(*_lists(batch.series, batch.time, batch.value), strict=True)
        found = (self._writer.execute(at, (series, time)).fetchone()[0] != value for series, time, value in keys)
        return np.flatnonzero(np.fromiter(found, np.bool_, len(batch)))

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
        except sqlite3.OperationalError as error:
            raise UnavailableError(str(error), where=str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise InputError(str(error), where=str(self.path), expected="a reading store", code="E_FORMAT") from error


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


def _newest(batch: Batch, conflicts: NDArray[np.intp]) -> Iterable[tuple[Any, ...]]:
    """Return the newest row of each series of the batch, conflicting readings left out."""
    kept = np.ones(len(batch), np.bool_)
    kept[conflicts] = False
    rows = batch.take(kept)
    # The first of equal times wins, as it does in `readings`.
    order = np.lexsort((-np.arange(len(rows)), rows.time, rows.series))
    last = order[np.flatnonzero(np.append(np.diff(rows.series[order]) != 0, True))] if len(rows) else order
    return zip(*_lists(rows.series[last], rows.time[last], rows.value[last], rows.quality[last]), strict=True)


__all__ = ["SqliteStore"]
