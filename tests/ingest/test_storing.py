"""Storing: what becomes of readings at a store that waits, refuses, or says well and keeps nothing."""

from __future__ import annotations

import itertools
import json
import threading
import time

import numpy as np
import pytest

from ingest.group import Group
from ingest.ledger import Ledger
from ingest.read_back import PATIENCE_S, REFUSALS, ReadBack
from ingest.spool import Spool
from ingest.store import Retention, Written
from ingest.store.checks import START, readings
from ingest.store.influx import InfluxStore
from ingest.store.sqlite import SqliteStore
from ingest.store.victoria import VictoriaStore
from ingest.storing import StoreForwarder
from sensors.clock import SystemClock, from_ms
from twin.errors import UnavailableError

from .conftest import free_port, wait_until
from .influx_contract import TOKEN, InfluxContract
from .store_servers import PromptVictoriaStore, gate, known, victoria_metrics


@pytest.fixture
def spool(tmp_path):
    opened = Spool(tmp_path / "spool.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def influx():
    server = InfluxContract()
    yield server
    server.stop()


def forwarder(spool, store) -> StoreForwarder:
    return StoreForwarder(spool, store, SystemClock(), check=lambda batch: batch, names=lambda: {5: "WP-5/pressure"})


class Hasty(SqliteStore):
    """A store that answers well to everything; of what `loses` says it keeps nothing, and does not show `hides`."""

    settles_s = 0.0

    def __init__(self, path) -> None:
        super().__init__(f"sqlite:{path}")
        self.loses: set[int] = set()
        self.away = False
        self.writes = 0

    def write(self, batch) -> Written:
        self.writes += 1
        kept = ~np.isin(batch.series, list(self.loses))
        written = super().write(batch.take(kept))
        return Written(written.stored + int((~kept).sum()), written.duplicates, written.conflicts)

    def held(self, batch):
        if self.away:
            raise UnavailableError("away")
        return ~np.isnan(self._held(batch))


@pytest.fixture
def hasty(tmp_path):
    store = Hasty(tmp_path / "readings.sqlite")
    yield store
    store.close()


class Time:
    def __init__(self) -> None:
        self.s = 100.0

    def __call__(self) -> float:
        return self.s


def spooled(spool, *rows) -> None:
    spool.commit(Group(received=len(rows), batches=[readings(*rows)]))


def test_what_the_store_refuses_for_good_goes_to_quarantine_and_its_neighbours_stay(spool, influx):
    influx.poison = {5}
    store = InfluxStore(influx.url, TOKEN, Retention())
    spooled(spool, (1, 0, 1.0), (5, 0, 7.5), (2, 0, 2.0))
    assert forwarder(spool, store).step()
    assert spool.ledger() == Ledger(received=3, stored=2, duplicates=0, quarantined=1, spooled=0)
    (refused,) = spool.quarantined()
    assert (refused.code, refused.topic) == ("E_STORE", "WP-5/pressure")
    assert json.loads(refused.payload) == {"ts": START, "v": 7.5, "q": 1}
    assert "partial write" in refused.reason
    store.close()


def test_a_store_is_left_alone_as_long_as_it_asks(spool, influx):
    influx.refuse, influx.retry_after = 429, "2"
    store = InfluxStore(influx.url, TOKEN, Retention())
    spooled(spool, (1, 0, 1.0))
    storing, stop = forwarder(spool, store), threading.Event()
    thread = threading.Thread(target=storing.run, args=(stop,))
    began_s = time.monotonic()
    thread.start()
    wait_until(lambda: not storing.available)
    assert "429" in storing.trouble
    influx.refuse = 0
    wait_until(lambda: not spool.ledger().spooled)
    assert time.monotonic() - began_s >= 2.0
    wait_until(lambda: storing.available)
    assert storing.trouble == ""
    stop.set()
    thread.join(10)
    assert influx.requests.count("POST /api/v2/write") == 2
    store.close()


def test_nothing_counts_before_it_has_been_read_back(spool, hasty):
    storing = forwarder(spool, hasty)
    spooled(spool, (1, 0, 1.0), (2, 0, 2.0))
    hasty.away = True
    assert storing.step()
    with pytest.raises(UnavailableError):
        storing.step()
    assert spool.ledger() == Ledger(received=2, stored=0, duplicates=0, quarantined=0, spooled=2)
    hasty.away = False
    assert storing.step()
    assert spool.ledger() == Ledger(received=2, stored=2, duplicates=0, quarantined=0, spooled=0)


def test_what_a_worker_had_given_when_it_died_counts_as_stored_by_the_next(spool, hasty):
    hasty.settles_s = 3600.0
    spooled(spool, (1, 0, 1.0), (1, 1000, 2.0), (1, 0, 1.0))
    forwarder(spool, hasty).step()
    spooled(spool, (2, 0, 1.0))
    died = forwarder(spool, hasty)  # the second to be given the first batch, and to die of it
    died.step()
    hasty.settles_s = 0.0
    storing = forwarder(spool, hasty)
    spooled(spool, (2, 0, 1.0), (3, 0, 1.0))
    wait_until(lambda: storing.step() is False and not spool.ledger().spooled)
    assert spool.ledger() == Ledger(6, stored=4, duplicates=2, quarantined=0, spooled=0)
    assert spool.given().stored == 0


def test_what_is_missing_is_written_again_and_told_until_it_is_there(hasty):
    clock = Time()
    audit = ReadBack(hasty, clock)
    hasty.loses = {2}
    batch = readings((1, 0, 1.0), (2, 0, 2.0))
    audit.give(7, batch, hasty.write(batch))
    assert audit.settled() == []
    assert audit.missing == 0  # not missing, as long as it may be late
    clock.s += PATIENCE_S
    assert audit.settled() == []
    assert (audit.missing, hasty.writes) == (1, 2)
    hasty.loses = set()
    clock.s += PATIENCE_S
    assert audit.settled() == []  # written once more; and found next time
    clock.s += 1
    (given,) = audit.settled()
    assert (given.through, given.rejected) == (7, [])
    assert (audit.missing, audit.waiting) == (0, 0)


def test_what_is_written_again_settles_from_when_that_was_answered(hasty, monkeypatch):
    clock = Time()
    audit = ReadBack(hasty, clock)
    hasty.settles_s, hasty.loses = 20.0, {1}
    batch = readings((1, 0, 1.0))
    audit.give(7, batch, hasty.write(batch))
    hasty.loses, write = set(), hasty.write

    def slow(again):
        clock.s += 12
        return write(again)

    monkeypatch.setattr(hasty, "write", slow)
    clock.s += 20
    assert audit.settled() == []
    clock.s += 19  # it may still forget what it shows
    assert audit.settled() == []
    clock.s += 1
    assert [given.through for given in audit.settled()] == [7]


def test_what_never_appears_while_others_do_is_refused_and_holds_up_nobody(hasty):
    clock = Time()
    audit = ReadBack(hasty, clock)
    hasty.loses = {2}
    batch = readings((1, 0, 1.0), (2, 0, 2.0))
    audit.give(7, batch, hasty.write(batch))
    for _ in range(REFUSALS + 3):
        clock.s += PATIENCE_S
        assert audit.settled() == []  # nobody knows whether the store takes anything at all
    for through in range(8, 8 + REFUSALS):
        clock.s += 1
        later = readings((1, 1000 * through, 1.0))
        audit.give(through, later, hasty.write(later))
        assert audit.settled() == []  # this one is kept, and has to wait behind the other
        clock.s += PATIENCE_S
        assert audit.missing == 1
        assert (settled := audit.settled()) == [] or through == 7 + REFUSALS
    assert [given.through for given in settled] == list(range(7, 8 + REFUSALS))
    assert [[one.position for one in given.rejected] for given in settled] == [[1]] + [[]] * REFUSALS


def test_a_store_that_loses_everything_loses_nothing_for_us(hasty):
    clock = Time()
    audit = ReadBack(hasty, clock)
    hasty.loses = {1, 2}
    for through in (1, 2):
        batch = readings((1, through, 1.0), (2, through, 2.0))
        audit.give(through, batch, hasty.write(batch))
    for _ in range(20):
        clock.s += PATIENCE_S
        assert audit.settled() == []
    assert audit.missing == 4


def test_the_ledger_balances_whatever_the_audit_finds(spool, hasty, monkeypatch):
    monkeypatch.setattr("ingest.read_back.PATIENCE_S", 0.05)
    monkeypatch.setattr("ingest.read_back.LOOK_S", 0.01)
    hasty.loses = {5}
    storing = forwarder(spool, hasty)
    spooled(spool, (1, 0, 1.0), (5, 0, 7.5), (1, 0, 1.0), (1, 0, 9.0))
    seconds = itertools.count(1)

    def goes_on() -> bool:
        spooled(spool, (1, 1000 * next(seconds), 1.0))
        storing.step()
        assert spool.ledger().balance == 0
        return bool(spool.ledger().quarantined)

    wait_until(goes_on)
    wait_until(lambda: storing.step() is False and not spool.ledger().spooled)
    received = 4 + next(seconds) - 1
    assert spool.ledger() == Ledger(received, stored=received - 3, duplicates=1, quarantined=2, spooled=0)
    assert {(row.code, row.topic) for row in spool.quarantined()} == {
        ("E_STORE", "WP-5/pressure"),
        ("E_CONFLICT", "series 1"),
    }


def test_what_victoria_metrics_answered_well_for_and_does_not_have_is_written_again(spool, tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.read_back.PATIENCE_S", 0.5)
    monkeypatch.setattr("ingest.store.victoria.SHOWN_S", 0.3)
    monkeypatch.setattr("ingest.read_back.LOOK_S", 0.1)
    with victoria_metrics(tmp_path / "victoria") as base, gate(base) as lossy:
        store = PromptVictoriaStore(f"victoria+{lossy.base}", "", Retention())
        store.server = base
        storing = forwarder(spool, store)
        known(base, range(8))
        lossy.drops = lambda line: line.startswith(b"reading,series=5 ")
        spooled(spool, *((series, 1000, 2.5) for series in range(8)))
        wait_until(lambda: storing.step() is False and storing.missing == 1)
        assert spool.ledger() == Ledger(received=8, stored=0, duplicates=0, quarantined=0, spooled=8)
        lossy.drops = lambda _line: False
        wait_until(lambda: storing.step() is False and not spool.ledger().spooled)
        assert spool.ledger() == Ledger(received=8, stored=8, duplicates=0, quarantined=0, spooled=0)
        assert storing.missing == 0
        assert len(store.read(range(8), from_ms(START), from_ms(START + 2000))) == 8
        store.close()


def test_readings_that_victoria_metrics_has_forgotten_before_the_audit_are_written_again(spool, tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.read_back.PATIENCE_S", 0.5)
    monkeypatch.setattr("ingest.store.victoria.SHOWN_S", 0.3)
    port = free_port()
    with victoria_metrics(tmp_path / "victoria", port=port) as base:
        store = PromptVictoriaStore(f"victoria+{base}", "", Retention())
        storing = forwarder(spool, store)
        known(base, range(50))
        spooled(spool, *((series, 0, 1.0) for series in range(50)))
        assert storing.step()
        wait_until(lambda: storing.step() or not spool.ledger().spooled)
        spooled(spool, *((series, 1000, 2.0) for series in range(50)))
        assert storing.step()
        assert spool.ledger().spooled == 50
    # Another server with an empty folder: as if the disk of the first had forgotten.
    with victoria_metrics(tmp_path / "another", port=port) as base:
        known(base, range(50))
        wait_until(lambda: storing.step() or storing.missing == 50 or not spool.ledger().spooled, 60)
        assert storing.missing == 50
        wait_until(lambda: storing.step() or not spool.ledger().spooled, 60)
    assert spool.ledger() == Ledger(received=100, stored=100, duplicates=0, quarantined=0, spooled=0)
    store.close()


@pytest.mark.parametrize("audited", [False, True])
def test_what_a_full_disk_keeps_from_being_entered_is_entered_before_what_comes_later(
    spool, hasty, tmp_path, monkeypatch, audited
):
    store = hasty if audited else SqliteStore(f"sqlite:{tmp_path / 'plain.sqlite'}")
    forward = forwarder(spool, store)
    full = [True]

    def unless_full(enter):
        def entered(*given) -> None:
            if full[0]:
                raise UnavailableError("database or disk is full")
            enter(*given)

        return entered

    monkeypatch.setattr(spool, "stored", unless_full(spool.stored))
    monkeypatch.setattr(spool, "give", unless_full(spool.give))
    spool.commit(Group(received=2, batches=[readings((1, 0, 1.0), (1, 1000, 2.0))]))
    with pytest.raises(UnavailableError):
        [forward.step() for _ in range(3)]  # an audited store's readings are entered with the step after
    spool.commit(Group(received=1, batches=[readings((1, 2000, 3.0))]))
    full[0] = False
    wait_until(lambda: not forward.step() and not spool.ledger().spooled)
    assert spool.ledger() == Ledger(received=3, stored=3, duplicates=0, quarantined=0, spooled=0)


@pytest.mark.slow
def test_what_victoria_metrics_forgets_when_it_is_killed_is_still_in_the_spool(spool, tmp_path, monkeypatch):
    port = free_port()
    with victoria_metrics(tmp_path / "victoria", port=port, kill=True) as base:
        store = VictoriaStore(f"victoria+{base}?settle_s=60", "", Retention())
        storing = forwarder(spool, store)
        known(base, range(50))
        spooled(spool, *((series, 0, 1.5) for series in range(50)))
        assert storing.step()
        wait_until(lambda: storing.step() or store.held(readings((7, 0, 1.5))).all())
        assert spool.ledger().spooled == 50  # shown already, and not yet on its disk
    with victoria_metrics(tmp_path / "victoria", port=port):
        known(base, range(50))
        assert not store.held(readings((7, 0, 1.5))).any()
        store.settles_s = 1.0  # for the second time, since nobody kills this one
        monkeypatch.setattr(storing._read_back, "_seconds", lambda: time.monotonic() + 60)
        wait_until(lambda: storing.step() or not spool.ledger().spooled, 90)
        assert spool.ledger() == Ledger(received=50, stored=50, duplicates=0, quarantined=0, spooled=0)
        assert store.held(readings(*((series, 0, 1.5) for series in range(50)))).all()
        store.close()
