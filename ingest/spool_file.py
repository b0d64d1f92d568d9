"""The spool's file: how it is opened, what its disk must have left, and how a batch stands in it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from sensors.reading import Batch
from twin.errors import UnavailableError

BUSY_TIMEOUT_S = 30.0

RESERVE_BYTES = 64 * 1024 * 1024
RESERVE_SHARE = 0.1
"""Free space that intake leaves on the spool's disk: this much, or this share of a small one. Moving a cursor and
writing the heart-beat take space too, and must go on when nothing more is taken in."""

LOG_SHARE = 32
"""The write-ahead log is copied into the file before it takes more than this fraction of the disk."""

_VACUUM_PAGES = 2000  # given back at a time: they pass through the log, which has to fit into the reserve


def connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """Open the file for commits that are on disk when they return (`synchronous` FULL), or in order only (NORMAL)."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table: later it does nothing
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA secure_delete = OFF")  # Debian's default writes zeros over all that is deleted
    connection.execute(f"PRAGMA wal_autocheckpoint = {log_pages(path)}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


def log_pages(path: Path) -> int:
    """Return how many pages the log may hold: on a small disk not the usual 1000, since they have to fit in too."""
    return max(10, min(1000, shutil.disk_usage(path).total // (LOG_SHARE * 4096)))


@contextmanager
def immediate(connection: sqlite3.Connection) -> Generator[None]:
    """Hold a transaction that writes, and that is undone when what is done in it fails."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def picture(connection: sqlite3.Connection) -> Generator[None]:
    """Hold one consistent picture of the file over several reads."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


def keep_reserve(path: Path, connection: sqlite3.Connection, coming: int) -> None:
    """UnavailableError when `coming` bytes would leave the disk nearly full, even with what can be given back."""
    disk = shutil.disk_usage(path)
    reserve = coming + min(RESERVE_BYTES, round(RESERVE_SHARE * disk.total))
    if disk.free >= reserve:
        return
    while _give_back(connection) and shutil.disk_usage(path).free < reserve:
        pass
    free = shutil.disk_usage(path).free
    if free < reserve:
        raise UnavailableError(
            f"the spool's disk is nearly full: {free / 1e6:.3g} MB free",
            where=str(path),
            expected=f"at least {reserve / 1e6:.3g} MB",
        )


def _give_back(connection: sqlite3.Connection) -> bool:
    """Give some of the file's unused pages back to the disk; whether there were any."""
    unused = connection.execute("PRAGMA freelist_count").fetchone()[0]
    connection.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return connection.execute("PRAGMA freelist_count").fetchone()[0] < unused


def pack(batch: Batch) -> bytes:
    """Return the columns of a batch, one after the other."""
    columns = (batch.series, batch.time, batch.value, batch.quality, batch.history)
    return b"".join(column.tobytes() for column in columns)


def unpack(packed: bytes, count: int, now: int) -> Batch:
    """Return the batch of `count` readings that `pack` made, at its `now` (ms)."""
    kinds = (np.int32, np.int64, np.float64, np.uint8, np.bool_)
    columns: list[np.ndarray] = []
    at = 0
    for kind in kinds:
        column = np.frombuffer(packed, kind, count, at)
        columns.append(column)
        at += column.nbytes
    return Batch(*columns, now=now)


__all__ = [
    "RESERVE_BYTES",
    "RESERVE_SHARE",
    "connect",
    "immediate",
    "keep_reserve",
    "log_pages",
    "pack",
    "picture",
    "unpack",
]
