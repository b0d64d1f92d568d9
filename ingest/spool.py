"""The spool: where readings are durable before anybody is told so.

One SQLite file (WAL, synchronous=FULL). A group of messages goes in by one transaction: its readings as one columnar
blob, what was refused as quarantine rows, the sequence numbers seen, and the ledger's counters. Two readers follow
with cursors of their own, the store and detection; a batch is deleted once both are past it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ingest.ledger import Ledger
from ingest.sequence import Ranges
from ingest.status import Status
from sensors.clock import from_ms
from sensors.reading import Batch
from twin.errors import BusyError, InputError, UnavailableError

BUSY_TIMEOUT_S = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT, now INTEGER NOT NULL, readings INTEGER NOT NULL, columns BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
    code TEXT NOT NULL, reason TEXT NOT NULL, readings INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    device TEXT NOT NULL, boot INTEGER NOT NULL, ranges BLOB NOT NULL, PRIMARY KEY (device, boot)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS states (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
"""
_COUNTERS = ("received", "stored", "duplicates", "quarantined", "cursor_stored", "cursor_detected")


class Reader(StrEnum):
    """Who follows the spool."""

    STORED = "stored"
    DETECTED = "detected"


class Spooled(NamedTuple):
    """A batch in the spool; without readings it is a mark that the city's time has passed."""

    id: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What was refused, as it came. `readings` is how many of the message's readings the code stands for."""

    time: int
    topic: str
    payload: bytes
    code: str
    reason: str
    readings: int = 1
    id: int = 0

    @property
    def received(self) -> datetime:
        """City time of receipt, aware UTC."""
        return from_ms(self.time)


@dataclass(slots=True)
class Group:
    """What one transaction takes in; counts are in readings. `seen` and `forgotten` are by device and boot."""

    received: int = 0
    duplicates: int = 0
    batches: list[Batch] = field(default_factory=list[Batch])
    quarantine: list[Quarantined] = field(default_factory=list[Quarantined])
    seen: Mapping[tuple[str, int], Ranges] = field(default_factory=dict[tuple[str, int], Ranges])
    forgotten: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])


class Spool:
    """The spool file at `path`. Safe to share between threads; `close` it at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._more = threading.Condition()
        self._newest = 0
        with self._told():
            self._connection = sqlite3.connect(
                path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.executescript(_SCHEMA)
            self._connection.executemany(
                "INSERT INTO counters VALUES (?, 0) ON CONFLICT DO NOTHING", [(name,) for name in _COUNTERS]
            )

    @contextmanager
    def owned(self) -> Generator[None]:
        """Hold the spool as the one worker that fills and empties it; BusyError while another process does.

        What is held is a lock on a file beside it, which goes with the process, however that ends.
        """
        beside = self.path.with_name(f"{self.path.name}-owner")
        with self._told():
            owner = sqlite3.connect(beside, timeout=0, isolation_level=None)
        with closing(owner):
            try:
                owner.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                raise BusyError(f"another ingest has it ({error})", where=str(self.path), expected="one") from None
            yield

    def commit(self, group: Group) -> None:
        """Take in a group; on return it is on disk. UnavailableError, and nothing taken in, when that fails."""
        with self._transaction() as connection:
            newest = 0
            for batch in group.batches:
                row = (batch.now, len(batch), _pack(batch))
                statement = "INSERT INTO batches (now, readings, columns) VALUES (?, ?, ?)"
                newest = connection.execute(statement, row).lastrowid or 0
            quarantined = _quarantine(connection, group.quarantine)
            connection.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)",
                [(device, boot, msgspec.json.encode(seen.pairs())) for (device, boot), seen in group.seen.items()],
            )
            connection.executemany("DELETE FROM seen WHERE device = ? AND boot = ?", group.forgotten)
            _count(connection, received=group.received, duplicates=group.duplicates, quarantined=quarantined)
        if newest:
            with self._more:
                self._newest = newest
                self._more.notify_all()

    def wait(self, after: int, timeout_s: float) -> None:
        """Return when a batch newer than `after` has been committed here, or after `timeout_s`."""
        with self._more:
            self._more.wait_for(lambda: self._newest > after, timeout_s)

    def batches(self, after: int, readings: int = 50_000) -> list[Spooled]:
        """Return batches newer than `after`, oldest first, until they hold `readings` readings or there are no more."""
        taken: list[Spooled] = []
        statement = "SELECT id, now, readings, columns FROM batches WHERE id > ? ORDER BY id LIMIT 1000"
        with self._lock, self._told():
            for number, now, count, packed in self._connection.execute(statement, (after,)):
                taken.append(Spooled(number, _unpack(packed, count, now)))
                readings -= count
                if readings <= 0:
                    break
        return taken

    def cursor(self, reader: Reader) -> int:
        """Return the id of the last batch that `reader` is past."""
        return self._counters()[f"cursor_{reader}"]

    def stored(self, through: int, stored: int, duplicates: int, conflicts: Sequence[Quarantined] = ()) -> None:
        """Note what became of the batches up to `through` in the store."""
        with self._transaction() as connection:
            quarantined = _quarantine(connection, conflicts)
            _count(connection, stored=stored, duplicates=duplicates, quarantined=quarantined)
            _move(connection, Reader.STORED, through)

    def detected(self, through: int, state: bytes) -> None:
        """Note that detection is past the batches up to `through`, and the state that it was in then."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO states VALUES ('detection', ?)", (state,))
            _move(connection, Reader.DETECTED, through)

    def detector_state(self) -> bytes | None:
        """Return the state of the last `detected`."""
        return self._state("detection")

    def seen(self, device: str) -> dict[int, Ranges]:
        """Return the sequence numbers seen of a device, by boot."""
        with self._lock, self._told():
            rows = self._connection.execute("SELECT boot, ranges FROM seen WHERE device = ?", (device,)).fetchall()
        return {boot: Ranges(msgspec.json.decode(ranges, type=list[tuple[int, int]])) for boot, ranges in rows}

    def ledger(self) -> Ledger:
        """Return the ledger as it stands."""
        with self._lock, self._told(), self._picture():
            counters = dict(self._connection.execute("SELECT name, value FROM counters"))
            spooled = self._sum_after(counters["cursor_stored"])
        return Ledger(
            counters["received"], counters["stored"], counters["duplicates"], counters["quarantined"], spooled
        )

    def undetected(self) -> int:
        """Return how many readings detection has not checkpointed yet."""
        cursor = self.cursor(Reader.DETECTED)
        with self._lock, self._told():
            return self._sum_after(cursor)

    def quarantined(self, limit: int = 100, code: str | None = None) -> list[Quarantined]:
        """Return what was refused, newest first."""
        statement = (
            "SELECT time, topic, payload, code, reason, readings, id FROM quarantine "
            "WHERE code = coalesce(?, code) ORDER BY id DESC LIMIT ?"
        )
        with self._lock, self._told():
            return [Quarantined(*row) for row in self._connection.execute(statement, (code, limit))]

    def beat(self, status: Status) -> None:
        """Write the heart-beat."""
        with self._transaction() as connection:
            connection.execute("INSERT OR REPLACE INTO states VALUES ('status', ?)", (msgspec.json.encode(status),))

    def status(self) -> Status | None:
        """Return the last heart-beat, or None if there never was one."""
        state = self._state("status")
        return None if state is None else msgspec.json.decode(state, type=Status)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _state(self, name: str) -> bytes | None:
        with self._lock, self._told():
            row = self._connection.execute("SELECT state FROM states WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def _counters(self) -> dict[str, int]:
        with self._lock, self._told():
            return dict(self._connection.execute("SELECT name, value FROM counters"))

    def _sum_after(self, cursor: int) -> int:
        statement = "SELECT coalesce(sum(readings), 0) FROM batches WHERE id > ?"
        return self._connection.execute(statement, (cursor,)).fetchone()[0]

    @contextmanager
    def _picture(self) -> Generator[None]:
        """Hold one consistent picture of the file over several reads."""
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            self._connection.execute("COMMIT")

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with self._lock, self._told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"spool: {error}", where=str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"spool: {error}", where=str(self.path), expected="a spool", code="E_FORMAT") from error


def _quarantine(connection: sqlite3.Connection, refused: Iterable[Quarantined]) -> int:
    count = 0
    for one in refused:
        row = (one.time, one.topic, one.payload, one.code, one.reason, one.readings)
        # What came in may hold halves of surrogate pairs, which no UTF-8 file takes.
        clean = [part.encode("utf-8", "replace").decode() if isinstance(part, str) else part for part in row]
        connection.execute(
            "INSERT INTO quarantine (time, topic, payload, code, reason, readings) VALUES (?, ?, ?, ?, ?, ?)", clean
        )
        count += one.readings
    return count


def _count(connection: sqlite3.Connection, **changes: int) -> None:
    connection.executemany(
        "UPDATE counters SET value = value + ? WHERE name = ?",
        [(change, name) for name, change in changes.items() if change],
    )


def _move(connection: sqlite3.Connection, reader: Reader, through: int) -> None:
    connection.execute("UPDATE counters SET value = ? WHERE name = ?", (through, f"cursor_{reader}"))
    connection.execute("DELETE FROM batches WHERE id <= (SELECT min(value) FROM counters WHERE name LIKE 'cursor_%')")


def _pack(batch: Batch) -> bytes:
    columns = (batch.series, batch.time, batch.value, batch.quality, batch.history)
    return b"".join(column.tobytes() for column in columns)


def _unpack(packed: bytes, count: int, now: int) -> Batch:
    kinds = (np.int32, np.int64, np.float64, np.uint8, np.bool_)
    columns: list[np.ndarray] = []
    at = 0
    for kind in kinds:
        column = np.frombuffer(packed, kind, count, at)
        columns.append(column)
        at += column.nbytes
    return Batch(*columns, now=now)


__all__ = ["Group", "Quarantined", "Reader", "Spool", "Spooled"]
