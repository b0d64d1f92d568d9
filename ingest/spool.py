"""The spool: where readings are durable before anybody is told so.

One SQLite file (WAL, synchronous=FULL). A group of messages goes in by one transaction: its readings as one columnar
blob, what was refused as quarantine rows, the sequence numbers seen, and the ledger's counters. Two readers follow
with cursors of their own, the store and detection; a batch is deleted once both are past it.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from ingest import quarantine
from ingest.group import Group
from ingest.ledger import Ledger
from ingest.quarantine import Quarantined
from ingest.sequence import Ranges
from ingest.spool_file import connect, immediate, keep_reserve, log_pages, pack, picture, unpack
from ingest.status import Status
from sensors.reading import Batch
from twin.errors import BusyError, InputError, UnavailableError

logger = structlog.get_logger()

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT, now INTEGER NOT NULL, readings INTEGER NOT NULL, columns BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    device TEXT NOT NULL, boot INTEGER NOT NULL, ranges BLOB NOT NULL, PRIMARY KEY (device, boot)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS states (name TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
"""
_COUNTERS = ("received", "stored", "duplicates", "quarantined", "purged", "dropped", "cursor_stored", "cursor_detected")
_WAITING = {"spooled": "cursor_stored", "undetected": "cursor_detected"}
"""Counters of what waits for a reader, by that reader's cursor."""

COMPANY_S = 0.03
"""How long what is new in the spool waits for company, when its reader has caught up."""


class Given(NamedTuple):
    """Batches up to `through` that a store has answered for, `stored` of their readings new, and no ledger has."""

    through: int = 0
    stored: int = 0


class Reader(StrEnum):
    """Who follows the spool."""

    STORED = "stored"
    DETECTED = "detected"


class Spooled(NamedTuple):
    """A batch in the spool; without readings it is a mark that the city's time has passed."""

    id: int
    batch: Batch


@contextmanager
def owned(path: Path) -> Generator[None]:
    """Hold the spool at `path` as the one worker that fills and empties it; BusyError while another process does.

    What is held is a lock on a file beside it, which goes with the process, however that ends. Any thread may let go.
    """
    try:
        owner = sqlite3.connect(
            path.with_name(f"{path.name}-owner"), timeout=0, isolation_level=None, check_same_thread=False
        )
    except sqlite3.OperationalError as error:
        raise UnavailableError(f"spool: {error}", where=str(path)) from error
    with closing(owner):
        try:
            owner.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise BusyError(f"another ingest has it ({error})", where=str(path), expected="one") from None
        yield


class Spool:
    """The spool file at `path`. Safe to share between threads; `close` it at the end.

    What is taken in is synchronised to the disk before `commit` returns (`synchronous = FULL`). A cursor that moves
    is not (NORMAL): should the machine lose power then, the reader does its last steps again, which changes nothing,
    and the next commit puts both on disk (SQLite, PRAGMA synchronous; the order of the log is kept).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._more = threading.Condition()
        self._newest = 0
        with self._told():
            self._durable = connect(path, "FULL")
            self._prepare()
            self._moving = connect(path, "NORMAL")
            self._reader = connect(path, "NORMAL")

    @contextmanager
    def owned(self) -> Generator[None]:
        """Hold the spool as `owned` does, by its path."""
        with owned(self.path):
            yield

    @property
    def synchronous(self) -> int:
        """What `commit` runs with (SQLite, PRAGMA synchronous: 2 is FULL)."""
        return self._durable.execute("PRAGMA synchronous").fetchone()[0]

    def commit(self, group: Group) -> None:
        """Take in a group; on return it is on disk. UnavailableError, and nothing taken in, when that fails.

        It also fails when the disk is nearly full (`RESERVE_BYTES`), and as soon as there is room it does not.
        BusyError when a row of `group.released` has been purged meanwhile.
        """
        with self._writing, self._told():
            keep_reserve(self.path, self._durable, 2 * group.bytes)  # once in the log, and once in the file
        with self._transaction(self._durable) as connection:
            newest = _add_batches(connection, group.batches)
            quarantined = quarantine.add(connection, group.quarantine)
            quarantined -= quarantine.release(connection, group.released)
            connection.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?)",
                [(device, boot, msgspec.json.encode(seen.pairs())) for (device, boot), seen in group.seen.items()],
            )
            connection.executemany("DELETE FROM seen WHERE device = ? AND boot = ?", group.forgotten)
            connection.executemany("INSERT OR REPLACE INTO states VALUES (?, ?)", group.states.items())
            spooled = sum(len(batch) for batch in group.batches)
            _count(
                connection,
                received=group.received,
                duplicates=group.duplicates,
                quarantined=quarantined,
                dropped=group.dropped,
                spooled=spooled,
                undetected=spooled,
            )
        if newest:
            with self._more:
                self._newest = newest
                self._more.notify_all()

    def wait(self, after: int, timeout_s: float) -> None:
        """Return soon after a batch newer than `after` has been committed here, or after `timeout_s`.

        A reader that has caught up is given those of the next `COMPANY_S` too: every step costs it a transaction.
        """
        with self._more:
            more = self._more.wait_for(lambda: self._newest > after, timeout_s)
        if more:
            time.sleep(COMPANY_S)

    def batches(self, after: int, readings: int = 50_000) -> list[Spooled]:
        """Return batches newer than `after`, oldest first, until they hold `readings` readings or there are no more."""
        taken: list[Spooled] = []
        statement = "SELECT id, now, readings, columns FROM batches WHERE id > ? ORDER BY id LIMIT 1000"
        with self._reads() as connection:
            for number, now, count, packed in connection.execute(statement, (after,)):
                taken.append(Spooled(number, unpack(packed, count, now)))
                readings -= count
                if readings <= 0:
                    break
        return taken

    def cursor(self, reader: Reader) -> int:
        """Return the id of the last batch that `reader` is past."""
        return self._counters()[f"cursor_{reader}"]

    def stored(
        self,
        through: int,
        stored: int,
        duplicates: int,
        refused: Sequence[Quarantined] = (),
        given: Given | None = None,
    ) -> None:
        """Note what became of the batches up to `through` in the store; `refused` are those it does not take.

        `given` is what the store has answered for beyond them.
        """
        with self._transaction(self._moving) as connection:
            quarantined = quarantine.add(connection, refused)
            if given is not None:
                _keep(connection, "given", msgspec.json.encode(given))
            _count(connection, stored=stored, duplicates=duplicates, quarantined=quarantined)
            _move(connection, Reader.STORED, "spooled", through)
        self._forget()

    def give(self, given: Given) -> None:
        """Note what the store has answered for and no audit has found yet."""
        with self._transaction(self._moving) as connection:
            _keep(connection, "given", msgspec.json.encode(given))

    def given(self) -> Given:
        """Return what the last `give` or `stored` noted."""
        state = self.state("given")
        return Given() if state is None else msgspec.json.decode(state, type=Given)

    def detected(self, through: int, state: bytes) -> None:
        """Note that detection is past the batches up to `through`, and the state that it was in then."""
        with self._transaction(self._moving) as connection:
            _keep(connection, "detection", state)
            _move(connection, Reader.DETECTED, "undetected", through)
        self._forget()

    def state(self, name: str) -> bytes | None:
        """Return what was last kept under `name` (`Group.states`, `keep`, `detected`, `beat`), or None."""
        with self._reads() as connection:
            row = connection.execute("SELECT state FROM states WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def keep(self, name: str, state: bytes) -> None:
        """Put a state on disk under `name`, also when the disk is nearly full: who cannot begin empties nothing."""
        with self._transaction(self._durable) as connection:
            _keep(connection, name, state)

    def detector_state(self) -> bytes | None:
        """Return the state of the last `detected`."""
        return self.state("detection")

    def seen(self, device: str) -> dict[int, Ranges]:
        """Return the sequence numbers seen of a device, by boot."""
        with self._reads() as connection:
            rows = connection.execute("SELECT boot, ranges FROM seen WHERE device = ?", (device,)).fetchall()
        return {boot: Ranges(msgspec.json.decode(ranges, type=list[tuple[int, int]])) for boot, ranges in rows}

    def ledger(self) -> Ledger:
        """Return the ledger as it stands, from its counters."""
        counters = self._counters()
        return Ledger(
            counters["received"],
            counters["stored"],
            counters["duplicates"],
            counters["quarantined"],
            counters["spooled"],
            counters["purged"],
            counters["dropped"],
        )

    def recounted(self) -> Ledger:
        """Return the ledger with what waits and what is in quarantine counted anew, row by row.

        Takes a second for each ten million readings or so that wait; nobody has to wait for it.
        """
        with self._told(), closing(connect(self.path, "NORMAL")) as connection, picture(connection):
            counters = dict[str, int](connection.execute("SELECT name, value FROM counters").fetchall())
            spooled = _sum_after(connection, counters["cursor_stored"])
            kept = connection.execute("SELECT coalesce(sum(readings), 0) FROM quarantine").fetchone()[0]
        return Ledger(
            counters["received"],
            counters["stored"],
            counters["duplicates"],
            kept + counters["purged"],
            spooled,
            counters["purged"],
            counters["dropped"],
        )

    def oldest(self) -> int | None:
        """Return the city's time (ms) at which the oldest readings that the store has not got came in, or None."""
        statement = (
            "SELECT now FROM batches WHERE readings > 0 "
            "AND id > (SELECT value FROM counters WHERE name = 'cursor_stored') ORDER BY id LIMIT 1"
        )
        with self._reads() as connection:
            row = connection.execute(statement).fetchone()
        return None if row is None else row[0]

    def undetected(self) -> int:
        """Return how many readings detection has not checkpointed yet."""
        return self._counters()["undetected"]

    def quarantined(self, limit: int = 100, code: str | None = None, device: str | None = None) -> list[Quarantined]:
        """Return what was refused, newest first; of one code and of one device where these are given."""
        with self._reads() as connection:
            return quarantine.newest(connection, limit, code, device)

    def quarantined_row(self, number: int) -> Quarantined | None:
        """Return one row of the quarantine, or None."""
        with self._reads() as connection:
            return quarantine.one(connection, number)

    def ask_replay(self, numbers: Iterable[int]) -> int:
        """Ask that rows of the quarantine are taken in again; returns how many of them there are.

        The owner's intake does it within seconds, or when there is one: what passes now leaves the quarantine, what
        does not is refused anew. Asking again changes nothing.
        """
        with self._transaction(self._durable) as connection:
            return quarantine.ask(connection, numbers)

    def asked(self, limit: int = 500) -> list[Quarantined]:
        """Return the oldest rows that are to be taken in again."""
        with self._reads() as connection:
            return quarantine.asked(connection, limit)

    def purge(self, numbers: Iterable[int]) -> int:
        """Delete rows of the quarantine for good, and return how many there were.

        The ledger goes on counting their readings as quarantined, and tells how many of those are purged.
        """
        with self._transaction(self._durable) as connection:
            rows, readings = quarantine.remove(connection, numbers)
            _count(connection, purged=readings)
        return rows

    def beat(self, status: Status) -> None:
        """Write the heart-beat."""
        with self._transaction(self._moving) as connection:
            connection.execute("INSERT OR REPLACE INTO states VALUES ('status', ?)", (msgspec.json.encode(status),))

    def status(self) -> Status | None:
        """Return the last heart-beat, or None if there never was one."""
        state = self.state("status")
        return None if state is None else msgspec.json.decode(state, type=Status)

    def close(self) -> None:
        """Close the file."""
        for connection in (self._reader, self._moving, self._durable):
            connection.close()

    def _prepare(self) -> None:
        connection = self._durable
        connection.executescript(_SCHEMA)
        quarantine.prepare(connection)
        with immediate(connection):
            connection.executemany(
                "INSERT INTO counters VALUES (?, 0) ON CONFLICT DO NOTHING", [(name,) for name in _COUNTERS]
            )
            counters = dict[str, int](connection.execute("SELECT name, value FROM counters").fetchall())
            for name, cursor in _WAITING.items():  # spools of earlier versions counted them at every question
                if name not in counters:
                    waiting = _sum_after(connection, counters[cursor])
                    connection.execute("INSERT INTO counters VALUES (?, ?)", (name, waiting))

    def _counters(self) -> dict[str, int]:
        with self._reads() as connection:
            return dict(connection.execute("SELECT name, value FROM counters").fetchall())

    def _forget(self) -> None:
        """Delete what both readers are past, no more at a time than the log of a full disk still takes.

        The cursor has moved, whatever becomes of this: what a disk without any room keeps goes the next time.
        """
        statement = (
            "DELETE FROM batches WHERE id IN (SELECT id FROM batches "
            "WHERE id <= (SELECT min(value) FROM counters WHERE name LIKE 'cursor_%') ORDER BY id LIMIT ?)"
        )
        limit = log_pages(self.path) // 2  # a row's deletion touches its page, and a neighbour or the page above
        more = True
        try:
            while more:
                with self._transaction(self._moving) as connection:
                    more = connection.execute(statement, (limit,)).rowcount == limit
        except UnavailableError as error:
            logger.warning("spool_not_shortened", error=str(error))

    @contextmanager
    def _reads(self) -> Generator[sqlite3.Connection]:
        with self._reading, self._told():
            yield self._reader

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Generator[sqlite3.Connection]:
        with self._writing, self._told(), immediate(connection):
            yield connection

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UnavailableError(f"spool: {error}", where=str(self.path)) from error
        except sqlite3.DatabaseError as error:
            raise InputError(f"spool: {error}", where=str(self.path), expected="a spool", code="E_FORMAT") from error


def _add_batches(connection: sqlite3.Connection, batches: Iterable[Batch]) -> int:
    """Add the batches, and return the number of the last one (0: there was none)."""
    newest = 0
    for batch in batches:
        row = (batch.now, len(batch), pack(batch))
        newest = connection.execute("INSERT INTO batches (now, readings, columns) VALUES (?, ?, ?)", row).lastrowid or 0
    return newest


def _keep(connection: sqlite3.Connection, name: str, state: bytes) -> None:
    connection.execute("INSERT OR REPLACE INTO states VALUES (?, ?)", (name, state))


def _count(connection: sqlite3.Connection, **changes: int) -> None:
    connection.executemany(
        "UPDATE counters SET value = value + ? WHERE name = ?",
        [(change, name) for name, change in changes.items() if change],
    )


def _sum_after(connection: sqlite3.Connection, cursor: int) -> int:
    statement = "SELECT coalesce(sum(readings), 0) FROM batches WHERE id > ?"
    return connection.execute(statement, (cursor,)).fetchone()[0]


def _move(connection: sqlite3.Connection, reader: Reader, waiting: str, through: int) -> None:
    """Move a cursor, and count down what waits for its reader."""
    passed = (
        "SELECT coalesce(sum(readings), 0) FROM batches "
        "WHERE id > (SELECT value FROM counters WHERE name = ?) AND id <= ?"
    )
    count = connection.execute(passed, (f"cursor_{reader}", through)).fetchone()[0]
    _count(connection, **{waiting: -count})
    connection.execute("UPDATE counters SET value = ? WHERE name = ?", (through, f"cursor_{reader}"))


__all__ = ["Quarantined", "Reader", "Spool", "Spooled", "owned"]
