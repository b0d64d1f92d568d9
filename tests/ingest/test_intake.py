"""Intake: what one group takes in, what it leaves alone when the spool fails, and what it remembers of devices."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ingest.admission import Admission
from ingest.intake import MAX_BOOTS, Intake
from ingest.mqtt import Delivery
from ingest.payload.native import NativeDecoder
from ingest.spool import Spool
from ingest.store.checks import START
from sensors.clock import ManualClock, from_ms
from twin.errors import UnavailableError

from .conftest import DISTRICT, pressure_device

CLOCK = f"sim/v1/{DISTRICT}/clock"


@pytest.fixture
def spool(tmp_path):
    opened = Spool(tmp_path / "spool.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def intake(spool):
    return new_intake(spool)


def new_intake(spool):
    devices = [pressure_device("WP-1"), pressure_device("WP-2")]
    admission = Admission(devices, future=timedelta(minutes=5), history=timedelta(days=400))
    clock = ManualClock(from_ms(START))
    return Intake(spool, admission, NativeDecoder(), clock, clock_topic=CLOCK, refresh=lambda: admission)


def delivery(body, device="WP-1", channel="data"):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    topic = device if "/" in device else f"cim/v1/{DISTRICT}/water/{device}/{channel}"
    return Delivery(topic, payload, 1, 1, retain=False, connection=1)


def message(seq, boot=1, device="WP-1"):
    body = {"v": 1, "boot": boot, "seq": seq, "ts": START + seq, "m": {"pressure": {"v": 0.3}}}
    return delivery(body, device)


def test_a_group_that_failed_while_it_was_gathered_is_taken_in_whole_at_the_next_try(spool, intake, monkeypatch):
    group = [message(1), message(1, device="WP-2")]
    read = spool.seen

    def unreadable(device):
        if device == "WP-2":
            raise UnavailableError("disk I/O error")
        return read(device)

    monkeypatch.setattr(spool, "seen", unreadable)
    with pytest.raises(UnavailableError):
        intake.take(group)
    monkeypatch.setattr(spool, "seen", read)
    intake.take(group)
    assert spool.ledger().spooled == 2
    assert spool.ledger().duplicates == 0


def test_a_clock_stays_where_it_is_until_the_group_is_on_disk(spool, intake, monkeypatch):
    group = [delivery({"now": START + 60_000}, CLOCK)]
    with monkeypatch.context() as patch:
        patch.setattr(spool, "commit", lambda _group: (_ for _ in ()).throw(UnavailableError("full")))
        with pytest.raises(UnavailableError):
            intake.take(group)
    assert intake._clock.now() == from_ms(START)
    intake.take(group)
    assert intake._clock.now() == from_ms(START + 60_000)


@pytest.mark.parametrize("boot", [2**70, -1, "one", 1.5])
def test_a_start_counter_that_no_spool_can_hold_is_quarantined(spool, intake, boot):
    intake.take([delivery({"boot": boot, "lost": [[1, 2]]}, channel="status"), message(1)])
    assert [one.code for one in spool.quarantined()] == ["E_JSON"]
    assert spool.ledger().spooled == 1


def test_starts_that_are_long_past_are_forgotten_on_disk_too(spool, intake):
    intake.take([message(1, boot=boot) for boot in range(10)])
    assert sorted(spool.seen("WP-1")) == list(range(10 - MAX_BOOTS, 10))
    intake.take([message(2, boot=20)])
    assert sorted(spool.seen("WP-1")) == [8, 9, 20]


def test_names_that_nobody_registered_leave_nothing_in_memory(intake):
    intake.take([message(1, device=f"STRANGER-{number}") for number in range(50)])
    assert len(intake.receipts.due(1.0, intake.holes)) == 50
    assert intake._seen == {}


def test_what_a_device_has_lost_is_not_asked_for_and_is_stored_if_it_comes_after_all(spool, intake):
    intake.take([message(1), message(5)])
    assert intake.holes("WP-1", 1) == [(2, 4)]
    intake.take([delivery({"v": 1, "boot": 1, "lost": [[2, 3]]}, channel="status")])
    assert intake.holes("WP-1", 1) == [(4, 4)]
    intake.take([message(3)])
    assert spool.ledger().duplicates == 0
    assert spool.ledger().spooled == 3
    assert intake.holes("WP-1", 1) == [(4, 4)]
