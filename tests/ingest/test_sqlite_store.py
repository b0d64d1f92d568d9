"""The SQLite store: several processes and threads, a full or locked file, retention, minutes and hours."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.store import Retention
from ingest.store.checks import START, readings
from ingest.store.sqlite import SqliteStore
from sensors.clock import from_ms
from twin.errors import InputError, UnavailableError

DAY_MS = 86_400_000
ALWAYS = (from_ms(0), from_ms(2**42))


@pytest.fixture
def url(tmp_path) -> str:
    return f"sqlite:{tmp_path / 'readings.sqlite'}"


def test_a_file_that_is_no_store_is_refused(url, tmp_path):
    (tmp_path / "readings.sqlite").write_text("this is no database, but long enough to be read as one\n" * 100)
    with pytest.raises(InputError) as refused:
        SqliteStore(url)
    assert refused.value.code == "E_FORMAT"


def test_a_file_that_was_damaged_is_unavailable_and_leaves_ingest_its_spool(url, tmp_path):
    store = SqliteStore(url)
    store.write(readings(*((series, 1000 * n, float(n)) for series in range(50) for n in range(200))))
    store.close()
    path = tmp_path / "readings.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + bytes(len(whole) - 4096))
    store = SqliteStore(url)
    with pytest.raises(UnavailableError, match="malformed"):
        store.write(readings((7, 1_000_000, 1.0)))
    store.close()


def test_a_file_of_a_newer_version_is_refused(url):
    store = SqliteStore(url)
    store._writer.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(InputError, match="version 99"):
        SqliteStore(url)


def test_another_process_reads_while_this_one_writes(url):
    store = SqliteStore(url)
    store.write(readings((1, 0, 1.0)))
    code = f"from ingest.store import open_store; s = open_store({url!r}); print(len(s.latest().series), flush=True); "
    code += "input(); print(len(s.latest().series))"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == b"1\n"
        store.write(readings((2, 0, 1.0)))
        assert other.communicate(b"\n", 20)[0] == b"2\n"
    store.close()


def test_a_locked_file_is_unavailable_and_goes_on_afterwards(url, monkeypatch):
    monkeypatch.setattr("ingest.store.sqlite.BUSY_TIMEOUT_S", 0.1)
    store, other = SqliteStore(url), SqliteStore(url)
    other._writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        store.write(readings((1, 0, 1.0)))
    other._writer.execute("ROLLBACK")
    assert store.write(readings((1, 0, 1.0))).stored == 1
    store.close()
    other.close()


def test_threads_share_a_store(url):
    store = SqliteStore(url)
    failures: list[BaseException] = []

    def write(series: int) -> None:
        try:
            for number in range(20):
                store.write(readings((series, number, float(number))))
                store.latest()
        except BaseException as error:  # noqa: BLE001  # shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=write, args=(series,)) for series in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(store.read(range(4), from_ms(START), from_ms(START + 1000))) == 80
    store.close()


rows = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 12) | st.integers(0, 90).map(lambda m: m * 60_000), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


@given(st.lists(rows, min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_minutes_and_hours_are_those_of_the_readings_whatever_comes_again_late_or_contradicting(batches):
    store = SqliteStore("sqlite::memory:")
    store._reader.close()
    store._reader = store._writer  # a database in memory is one connection's
    for batch in batches:
        store.write(readings(*((series, after, float(value)) for series, after, value in batch)))
    for name, step in (("minutes", 60_000), ("hours", 3_600_000)):
        kept = store._writer.execute(f"SELECT series, time, low, total, high, count FROM {name}").fetchall()
        wanted = store._writer.execute(
            f"SELECT series, time / {step} * {step} AS at, min(value), sum(value), max(value), count(*) FROM readings "
            "GROUP BY series, at ORDER BY series, at"
        ).fetchall()
        assert kept == wanted
    assert (
        store._writer.execute("SELECT series, time, value FROM latest").fetchall()
        == store._writer.execute("SELECT series, max(time), value FROM readings GROUP BY series").fetchall()
    )
    store._writer.close()


def test_values_that_add_up_to_no_number_are_kept(url):
    store = SqliteStore(url)
    largest = 1.7976931348623157e308
    for after in range(3):
        store.write(readings(*((1, 10 * after + at, largest) for at in range(3))))
    store.write(readings(*((1, 100 + at, -largest) for at in range(6))))
    assert len(store.read([1], *ALWAYS)) == 15
    (bucket,) = store.read([1], *ALWAYS, timedelta(minutes=1)).itertuples()
    assert (bucket.min, bucket.max, bucket.count) == (-largest, largest, 15)
    store.close()


def test_a_file_from_before_minutes_were_kept_is_given_them(url, tmp_path):
    old = sqlite3.connect(tmp_path / "readings.sqlite")
    old.execute(
        "CREATE TABLE readings (series INTEGER NOT NULL, time INTEGER NOT NULL, value REAL NOT NULL, "
        "quality INTEGER NOT NULL, PRIMARY KEY (series, time)) WITHOUT ROWID"
    )
    old.executemany("INSERT INTO readings VALUES (1, ?, ?, 1)", [(START + 1000 * n, float(n)) for n in range(120)])
    old.commit()
    old.close()
    store = SqliteStore(url)
    frame = store.read([1], *ALWAYS, timedelta(minutes=1))
    assert list(frame["mean"]) == [29.5, 89.5]
    assert store._writer.execute("SELECT sum(count) FROM minutes").fetchone() == (120,)
    store.close()


def test_what_is_past_its_retention_goes_and_its_minutes_stay_as_long_as_they_may(url, monkeypatch):
    monkeypatch.setattr("ingest.store.sqlite.SWEEP_S", 0.0)
    store = SqliteStore(url, "", Retention(timedelta(days=10), timedelta(days=20)))
    store.write(readings((1, 0, 1.0), (2, 0, 2.0)))
    for day in (5, 11):
        store.write(replace(readings((3, day * DAY_MS, 3.0)), now=START + day * DAY_MS))
    for _ in range(5):  # one series a sweep
        store.write(replace(readings((3, 11 * DAY_MS, 3.0)), now=START + 11 * DAY_MS))
    assert list(store.read([1, 2, 3], *ALWAYS)["series"]) == [3, 3]
    assert list(store.read([1, 2, 3], *ALWAYS, timedelta(hours=1))["series"]) == [1, 2, 3, 3]
    assert list(store.latest().series) == [1, 2, 3]  # a silent device's last word stays
    for _ in range(6):
        store.write(replace(readings((3, 11 * DAY_MS, 3.0)), now=START + 21 * DAY_MS))
    assert list(store.read([1, 2, 3], *ALWAYS, timedelta(hours=1))["series"]) == [3, 3]
    store.close()


def test_minutes_stay_as_long_as_their_readings_whatever_is_wished(url, monkeypatch):
    monkeypatch.setattr("ingest.store.sqlite.SWEEP_S", 0.0)
    store = SqliteStore(url, "", Retention(timedelta(days=30), timedelta(days=2)))
    store.write(readings((1, 0, 1.0)))
    for _ in range(3):
        store.write(replace(readings((1, 11 * DAY_MS, 3.0)), now=START + 11 * DAY_MS))
    assert list(store.read([1], *ALWAYS, timedelta(hours=1))["mean"]) == [1.0, 3.0]
    store.close()


def test_what_is_past_its_retention_when_it_comes_is_refused_and_counted_once(url):
    store = SqliteStore(url, "", Retention(timedelta(days=10), None))
    late = replace(readings((1, 0, 1.0), (1, 2 * DAY_MS, 5.0)), now=START + 11 * DAY_MS)
    for _ in range(2):
        written = store.write(late)
        assert [one.position for one in written.rejected] == [0]
        assert "10 days" in written.rejected[0].reason
    assert (written.stored, written.duplicates) == (0, 1)
    assert list(store.read([1], *ALWAYS, timedelta(hours=1))["count"]) == [1]
    store.close()


def test_a_long_range_is_read_from_hours_and_not_from_readings(url):
    store = SqliteStore(url)
    store.write(readings(*((1, 60_000 * minute, float(minute)) for minute in range(300))))
    store._writer.execute("DELETE FROM readings WHERE time >= ? AND time < ?", (START + 60_000, START + 17_940_000))
    frame = store.read([1], from_ms(START + 30_000), from_ms(START + 17_970_000), timedelta(hours=1))
    assert list(frame["count"]) == [59, 60, 60, 60, 60]
    store._writer.execute("DELETE FROM minutes WHERE time >= ? AND time < ?", (START + 3_600_000, START + 14_400_000))
    again = store.read([1], from_ms(START + 30_000), from_ms(START + 17_970_000), timedelta(hours=1))
    assert np.array_equal(frame["mean"], again["mean"])
    store.close()
