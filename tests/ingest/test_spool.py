"""The spool: what one transaction takes in, what its readers do to it, and that its ledger balances."""

from __future__ import annotations

import itertools
import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.group import Group
from ingest.ledger import Ledger
from ingest.sequence import MAX_RANGES, Memory, Ranges
from ingest.spool import Quarantined, Reader, Spool
from ingest.store.checks import START, readings
from ingest.store.sqlite import SqliteStore
from ingest.storing import StoreForwarder
from sensors.clock import SystemClock
from sensors.reading import Batch
from twin.errors import BusyError, InputError, UnavailableError


@pytest.fixture
def spool(tmp_path):
    opened = Spool(tmp_path / "spool.sqlite")
    yield opened
    opened.close()


def test_a_group_comes_back_bit_by_bit(spool):
    batch = readings((1, 0, 0.1), (2, 5, -0.0), (3, 9, 1e-300))
    spool.commit(Group(received=3, batches=[batch]))
    (spooled,) = spool.batches(0)
    for name in ("series", "time", "value", "quality", "history"):
        assert np.array_equal(getattr(spooled.batch, name), getattr(batch, name))
    assert spooled.batch.now == START


def test_a_batch_goes_when_both_readers_are_past_it(spool):
    spool.commit(Group(received=1, batches=[readings((1, 0, 1.0))]))
    (spooled,) = spool.batches(0)
    spool.stored(spooled.id, 1, 0)
    assert [one.id for one in spool.batches(0)] == [spooled.id]
    assert spool.undetected() == 1
    spool.detected(spooled.id, b"state")
    assert spool.batches(0) == []
    assert (spool.cursor(Reader.STORED), spool.cursor(Reader.DETECTED)) == (spooled.id, spooled.id)
    assert spool.detector_state() == b"state"


def test_batches_are_numbered_on_after_all_are_gone(spool):
    for number in range(3):
        spool.commit(Group(received=1, batches=[readings((1, number, 1.0))]))
        (spooled,) = spool.batches(number)
        assert spooled.id == number + 1
        spool.stored(spooled.id, 1, 0)
        spool.detected(spooled.id, b"")


def test_the_ledger_balances_at_every_step(spool):
    refused = Quarantined(START, "topic", b"\xff", "E_UTF8", "half of a pair: \ud800", 2)
    batch = readings((1, 0, 1.0), (1, 1, 2.0), (1, 2, 3.0))
    spool.commit(Group(received=6, duplicates=1, batches=[batch], quarantine=[refused]))
    assert spool.ledger() == Ledger(received=6, stored=0, duplicates=1, quarantined=2, spooled=3)
    spool.stored(1, 1, 1, [Quarantined(START, "", b"", "E_CONFLICT", "")])
    assert spool.ledger() == Ledger(received=6, stored=1, duplicates=2, quarantined=3, spooled=0)
    assert spool.ledger().balance == 0
    assert [one.code for one in spool.quarantined()] == ["E_CONFLICT", "E_UTF8"]
    assert [one.payload for one in spool.quarantined(code="E_UTF8")] == [b"\xff"]


def test_sequence_numbers_outlive_the_process(tmp_path):
    spool = Spool(tmp_path / "spool.sqlite")
    spool.commit(Group(seen={("WP-1", 7): Ranges([(1, 5), (8, 2**63 - 1)])}))
    spool.close()
    spool = Spool(tmp_path / "spool.sqlite")
    assert spool.seen("WP-1")[7].pairs() == [(1, 5), (8, 2**63 - 1)]
    assert spool.seen("WP-2") == {}
    spool.close()


def test_a_spool_that_is_locked_takes_nothing_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.spool_file.BUSY_TIMEOUT_S", 0.1)
    spool = Spool(tmp_path / "spool.sqlite")
    other = sqlite3.connect(tmp_path / "spool.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="locked"):
        spool.commit(Group(received=1, batches=[readings((1, 0, 1.0))]))
    other.execute("ROLLBACK")
    other.close()
    assert spool.ledger().received == 0
    spool.commit(Group(received=1, batches=[readings((1, 0, 1.0))]))
    assert spool.ledger().balance == 0
    spool.close()


def test_a_file_that_is_no_spool_is_refused(tmp_path):
    path = tmp_path / "spool.sqlite"
    path.write_text("no database, whatever its name says\n" * 100)
    with pytest.raises(InputError, match="E_FORMAT"):
        Spool(path)


def test_a_store_that_comes_back_gets_what_waited(tmp_path, spool, monkeypatch):
    monkeypatch.setattr("ingest.store.sqlite.BUSY_TIMEOUT_S", 0.1)
    store = SqliteStore(f"sqlite:{tmp_path / 'readings.sqlite'}")
    forwarder = StoreForwarder(spool, store, SystemClock(), check=lambda batch: batch, names=dict)
    spool.commit(Group(received=2, batches=[readings((1, 0, 1.0), (1, 1, 2.0))]))
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError):
        forwarder.step()
    assert spool.ledger().spooled == 2
    other.execute("ROLLBACK")
    other.close()
    assert forwarder.step()
    assert spool.ledger() == Ledger(received=2, stored=2, duplicates=0, quarantined=0, spooled=0)
    assert not forwarder.step()
    store.close()


def test_joined_batches_are_in_time_order():
    joined = Batch.joined([readings((1, 50, 5.0), (2, 10, 1.0)), readings((1, 20, 2.0))], 99)
    assert list(joined.value) == [1.0, 2.0, 5.0]
    assert joined.now == 99


@given(st.lists(st.integers(0, 60)))
def test_ranges_behave_as_a_set_of_numbers(numbers):
    ranges, known = Ranges(), set()
    for number in numbers:
        assert ranges.add(number) is (number not in known)
        known.add(number)
    pairs = ranges.pairs()
    assert {n for first, last in pairs for n in range(first, last + 1)} == known
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(pairs))
    holes = {n for first, last in ranges.holes() for n in range(first, last + 1)}
    assert holes == (set(range(min(known), max(known))) - known if known else set())
    assert Ranges(pairs).pairs() == pairs


def test_ranges_are_bounded():
    ranges = Ranges((2 * n, 2 * n) for n in range(2 * MAX_RANGES))
    assert len(ranges) == MAX_RANGES


def test_a_spool_has_one_owner_and_is_free_when_that_has_gone(tmp_path, spool):
    second = Spool(tmp_path / "spool.sqlite")
    with spool.owned(), pytest.raises(BusyError, match="another ingest"), second.owned():
        pass
    with second.owned():
        second.commit(Group(received=1, batches=[readings((1, 0, 1.0))]))
    second.close()
    assert spool.ledger().spooled == 1


def test_a_store_whose_commit_failed_takes_the_next_batch(tmp_path):
    store = SqliteStore(f"sqlite:{tmp_path / 'readings.sqlite'}")
    store.write(readings((1, 0, 1.0)))
    (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(UnavailableError, match="full"):
        store.write(readings(*((1, number, 1.0) for number in range(1, 20_000))))
    store._writer.execute("PRAGMA max_page_count = 1000000")
    assert store.write(readings((1, 1, 1.0))).stored == 1
    store.close()


def test_numbers_of_devices_that_are_not_in_memory_are_read_again():
    disk = {"A": {1: [(1, 3)]}}
    memory = Memory(lambda device: {boot: Ranges(pairs) for boot, pairs in disk.get(device, {}).items()}, limit=1)
    assert not memory.add("A", 1, 2)
    assert memory.add("A", 1, 4)
    for device in ("B", "C", "D", "E"):
        memory.begin()
        memory.add(device, 1, 1)
    assert len(memory) <= 4
    memory.begin()
    assert memory.known("A", 1) is None
    assert not memory.add("A", 1, 3)
    assert memory.knows("A", 1, 3)
    assert not memory.knows("A", 2, 3)


def test_what_a_group_that_failed_had_added_is_new_again():
    memory = Memory(lambda _device: {})
    memory.begin()
    assert memory.add("A", 1, 7)
    memory.undo()
    assert memory.add("A", 1, 7)


def test_spools_of_earlier_versions_go_on(tmp_path):
    path = tmp_path / "spool.sqlite"
    old = sqlite3.connect(path)
    old.executescript(
        "CREATE TABLE batches (id INTEGER PRIMARY KEY AUTOINCREMENT, now INTEGER, readings INTEGER, columns BLOB);"
        "CREATE TABLE quarantine (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, topic TEXT NOT NULL,"
        " payload BLOB NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL, readings INTEGER NOT NULL);"
        "CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
        "INSERT INTO counters VALUES ('received', 5), ('stored', 0), ('duplicates', 0), ('quarantined', 2),"
        " ('cursor_stored', 0), ('cursor_detected', 0);"
        "INSERT INTO batches VALUES (1, 0, 3, x'');"
        "INSERT INTO quarantine VALUES (1, 0, 't', x'00', 'E_JSON', 'r', 2);"
    )
    old.commit()
    old.close()
    spool = Spool(path)
    assert spool.ledger() == Ledger(received=5, stored=0, duplicates=0, quarantined=2, spooled=3)
    assert spool.recounted() == spool.ledger()
    assert spool.undetected() == 3
    assert spool.quarantined()[0].places == ()
    spool.close()


def test_a_recount_finds_what_the_counters_do_not_know(tmp_path, spool):
    spool.commit(Group(received=2, batches=[readings((1, 0, 1.0), (1, 1, 2.0))]))
    assert spool.recounted().balance == 0
    other = sqlite3.connect(tmp_path / "spool.sqlite", isolation_level=None)
    other.execute("DELETE FROM batches")
    other.close()
    assert spool.ledger().balance == 0
    assert spool.recounted().balance == 2
