"""Quarantine: what was refused, as it came, with its code and reason; from here it can be taken in again.

Its rows are part of the spool, and change in the spool's transactions only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from sensors.clock import from_ms
from twin.errors import BusyError

SCHEMA = """
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, topic TEXT NOT NULL, payload BLOB NOT NULL,
    code TEXT NOT NULL, reason TEXT NOT NULL, readings INTEGER NOT NULL, places TEXT
);
CREATE TABLE IF NOT EXISTS asked (id INTEGER PRIMARY KEY);
"""
_COLUMNS = "time, topic, payload, code, reason, readings, places, id"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """What was refused, as it came. `readings` is how many of the message's readings the code stands for.

    `places` are those readings' places in the message; empty: all of it.
    """

    time: int
    topic: str
    payload: bytes
    code: str
    reason: str
    readings: int = 1
    places: tuple[int, ...] = ()
    id: int = 0

    @property
    def received(self) -> datetime:
        """City time of receipt, aware UTC."""
        return from_ms(self.time)


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, and add the column that quarantines of earlier versions lack."""
    connection.executescript(SCHEMA)
    names = {row[1] for row in connection.execute("PRAGMA table_info(quarantine)")}
    if "places" not in names:
        connection.execute("ALTER TABLE quarantine ADD COLUMN places TEXT")


def add(connection: sqlite3.Connection, refused: Iterable[Quarantined]) -> int:
    """Keep what was refused; returns how many readings that is."""
    count = 0
    for one in refused:
        places = msgspec.json.encode(one.places).decode() if one.places else None
        row = (one.time, one.topic, one.payload, one.code, one.reason, one.readings, places)
        # What came in may hold halves of surrogate pairs, which no UTF-8 file takes.
        clean = [part.encode("utf-8", "replace").decode() if isinstance(part, str) else part for part in row]
        connection.execute(
            "INSERT INTO quarantine (time, topic, payload, code, reason, readings, places) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            clean,
        )
        count += one.readings
    return count


def newest(
    connection: sqlite3.Connection, limit: int, code: str | None = None, device: str | None = None
) -> list[Quarantined]:
    """Return what was refused, newest first; of one code, and of one device's topics, where these are given."""
    statement = (
        f"SELECT {_COLUMNS} FROM quarantine WHERE code = coalesce(?1, code) "  # noqa: S608  # a constant
        "AND (?2 IS NULL OR '/' || topic || '/' GLOB '*/' || ?2 || '/*') ORDER BY id DESC LIMIT ?3"
    )
    return [_row(row) for row in connection.execute(statement, (code, device, limit))]


def one(connection: sqlite3.Connection, number: int) -> Quarantined | None:
    """Return the row called `number`, if there is one."""
    statement = f"SELECT {_COLUMNS} FROM quarantine WHERE id = ?"  # noqa: S608  # a constant
    found = connection.execute(statement, (number,)).fetchone()
    return None if found is None else _row(found)


def ask(connection: sqlite3.Connection, numbers: Iterable[int]) -> int:
    """Note that the rows `numbers` are to be taken in again; returns how many of them there are."""
    before = connection.total_changes
    connection.executemany(
        "INSERT INTO asked SELECT id FROM quarantine WHERE id = ? ON CONFLICT DO UPDATE SET id = id",
        [(number,) for number in numbers],
    )
    return connection.total_changes - before


def asked(connection: sqlite3.Connection, limit: int) -> list[Quarantined]:
    """Return the oldest rows that are to be taken in again."""
    statement = f"SELECT {_COLUMNS} FROM quarantine WHERE id IN (SELECT id FROM asked ORDER BY id LIMIT ?) ORDER BY id"  # noqa: S608  # a constant
    return [_row(row) for row in connection.execute(statement, (limit,))]


def remove(connection: sqlite3.Connection, numbers: Iterable[int]) -> tuple[int, int]:
    """Take the rows out; returns how many there were, and how many readings they stood for."""
    rows = readings = 0
    for number in numbers:
        for (count,) in connection.execute("DELETE FROM quarantine WHERE id = ? RETURNING readings", (number,)):
            rows, readings = rows + 1, readings + count
        connection.execute("DELETE FROM asked WHERE id = ?", (number,))
    return rows, readings


def release(connection: sqlite3.Connection, numbers: Sequence[int]) -> int:
    """Take rows out that are being taken in again, and return their readings; BusyError if one has gone meanwhile."""
    rows, readings = remove(connection, numbers)
    if rows != len(numbers):
        raise BusyError("rows were purged while they were taken in again", where="quarantine", expected="another try")
    return readings


def _row(row: tuple[int, str, bytes, str, str, int, str | None, int]) -> Quarantined:
    time, topic, payload, code, reason, readings, places, number = row
    known = () if places is None else msgspec.json.decode(places, type=tuple[int, ...])
    return Quarantined(time, topic, payload, code, reason, readings, known, number)


__all__ = ["Quarantined", "add", "ask", "asked", "newest", "one", "prepare", "release", "remove"]
