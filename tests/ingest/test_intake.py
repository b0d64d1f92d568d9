"""Intake: what one group takes in, what it leaves alone when the spool fails, and what it remembers of devices."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import timedelta

import msgspec
import pytest

from ingest.admission import Admission
from ingest.intake import Intake
from ingest.ledger import Ledger
from ingest.mqtt.connection import Delivery
from ingest.payload import Format, Measurement, Message
from ingest.payload.formats import decoders
from ingest.payload.native import NativeDecoder
from ingest.rate import BURST, REFUSED
from ingest.sequence import MAX_BOOTS
from ingest.spool import Quarantined, Spool
from ingest.store.checks import START
from sensors.clock import ManualClock, from_ms
from sensors.device import Point
from sensors.reading import Quality
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


def new_admission(*devices):
    return Admission(devices, future=timedelta(minutes=5), history=timedelta(days=400))


def new_intake(spool, **options):
    admission = new_admission(pressure_device("WP-1"), pressure_device("WP-2"))
    clock = ManualClock(from_ms(START))
    options = {"decoders": decoders(clock), "clock": clock, **options}
    return Intake(spool, admission, clock_topic=CLOCK, refresh=lambda: admission, **options)


def delivery(body, device="WP-1", channel="data"):
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    topic = device if "/" in device else f"cim/v1/{DISTRICT}/water/{device}/{channel}"
    return Delivery(topic, payload, 1, 1, retain=False, connection=1)


def message(seq, boot=1, device="WP-1", **extra):
    body = {"v": 1, "boot": boot, "seq": seq, "ts": START + seq, "m": {"pressure": {"v": 0.3}}, **extra}
    return delivery(body, device)


def test_a_group_that_failed_while_it_was_gathered_is_taken_in_whole_at_the_next_try(spool, intake, monkeypatch):
    group = [message(1), message(1, device="WP-2")]
    read = spool.seen

    def unreadable(device):
        if device == "WP-2":
            raise UnavailableError("disk I/O error")
        return read(device)

    monkeypatch.setattr(intake._seen, "_read", unreadable)
    with pytest.raises(UnavailableError):
        intake.take(group)
    monkeypatch.setattr(intake._seen, "_read", read)
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
    assert len(intake._seen) == 0


def test_what_a_device_has_lost_is_not_asked_for_and_is_stored_if_it_comes_after_all(spool, intake):
    intake.take([message(1), message(5)])
    assert intake.holes("WP-1", 1) == [(2, 4)]
    intake.take([delivery({"v": 1, "boot": 1, "lost": [[2, 3]]}, channel="status")])
    assert intake.holes("WP-1", 1) == [(4, 4)]
    intake.take([message(3)])
    assert spool.ledger().duplicates == 0
    assert spool.ledger().spooled == 3
    assert intake.holes("WP-1", 1) == [(4, 4)]


def test_lost_messages_without_a_boot_are_of_the_newest(intake):
    intake.take([message(1), message(5)])
    intake.take([delivery({"lost": [[2, 3]]}, channel="status")])
    assert intake.holes("WP-1", 1) == [(4, 4)]


@dataclass
class StandingClock:
    """The city's clock, which runs only when a test says so."""

    ms: int = START

    def now(self):
        return from_ms(self.ms)

    def seconds(self):
        return self.ms / 1000


def test_one_device_that_sends_far_too_much_is_throttled_alone(spool):
    clock = StandingClock()
    intake = new_intake(spool, clock=clock, rate_factor=20.0)
    flood = [message(seq, r=rows(10), m=None, ts=None) for seq in range(300)]
    intake.take([*flood, flood[0], message(1, device="WP-2")])
    ledger = spool.ledger()
    assert {one.code for one in spool.quarantined()} == {"E_RATE"}
    assert (ledger.quarantined, ledger.duplicates) == (3000 - BURST, 10)
    assert ledger.spooled == BURST + 1
    assert ledger.balance == 0
    intake.take([flood[-1]])  # receipted with its reason, and not wanted twice
    assert spool.ledger().duplicates == 20
    clock.ms += 600_000  # ten minutes of twenty times two readings a minute
    intake.take([message(seq) for seq in range(1000, 2000)])
    assert spool.ledger().spooled == BURST + 1 + 400


def test_what_a_full_disk_keeps_out_is_not_charged_at_each_try(spool, monkeypatch):
    intake = new_intake(spool, clock=StandingClock(), rate_factor=20.0)
    burst = [message(seq, r=rows(100), m=None, ts=None) for seq in range(BURST // 100)]

    def full(_group):
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as disk:
        disk.setattr(spool, "commit", full)
        for _ in range(20):
            with pytest.raises(UnavailableError):
                intake.take(burst)
    intake.take(burst)
    assert (spool.ledger().spooled, spool.ledger().quarantined) == (BURST, 0)
    intake.take([message(1000)])  # what was taken in is charged
    assert spool.ledger().quarantined == 1


def test_a_device_that_fills_its_share_of_the_quarantine_is_not_receipted_any_more(spool):
    intake = new_intake(spool, clock=StandingClock(), rate_factor=20.0)
    intake.take([message(seq, r=rows(100), m=None, ts=None) for seq in range(200)])
    ledger = spool.ledger()
    assert (ledger.spooled, ledger.quarantined, ledger.dropped) == (BURST, REFUSED, 20_000 - BURST - REFUSED)
    assert (ledger.received, ledger.balance) == (BURST + REFUSED, 0)
    ((_, receipt),) = intake.receipts.due(1.0, intake.holes)
    assert json.loads(receipt)["ok"] == [[0, (BURST + REFUSED) // 100 - 1]]


def test_what_a_device_has_buffered_does_not_use_up_what_it_may_send_live(spool):
    intake = new_intake(spool, clock=StandingClock(), rate_factor=20.0)
    intake.take([message(seq, r=rows(100), m=None, ts=None, hist=True) for seq in range(200)])
    assert spool.ledger().spooled == 20_000
    intake.take([message(1000)])
    assert spool.ledger().quarantined == 0


def rows(count):
    return [[START - 1000 * row, {"pressure": {"v": 0.3}}] for row in range(count)]


def test_a_poison_message_a_thousand_times_leaves_its_neighbours_alone(spool, intake):
    poison = delivery(b'{"v":1,"boot":1,"seq":' + b"[" * 60_000)
    intake.take([one for seq in range(1000) for one in (poison, message(seq))])
    assert spool.ledger() == Ledger(received=2000, stored=0, duplicates=0, quarantined=1000, spooled=1000)


class BrokenDecoder(NativeDecoder):
    def decode(self, topic, payload):
        if b"unforeseen" in payload:
            raise ZeroDivisionError
        return super().decode(topic, payload)


def test_a_message_that_a_decoder_breaks_on_goes_to_quarantine_and_its_neighbours_in(spool):
    intake = new_intake(spool, decoders={Format.NATIVE: BrokenDecoder()})
    intake.take([message(1), delivery(b"unforeseen"), message(2)])
    (row,) = spool.quarantined()
    assert (row.code, row.payload) == ("E_BUG", b"unforeseen")
    assert sum(len(one.batch) for one in spool.batches(0)) == 2
    assert spool.ledger().balance == 0


def test_what_quarantine_holds_is_taken_in_again_when_asked_for_and_only_once(spool, intake):
    late = message(1, r=[[START, {"inlet": {"v": 3.0}, "flow": {"v": 1.0}}]], m=None, ts=None)
    intake.take([late, delivery(b"no json")])
    assert spool.ledger() == Ledger(received=3, stored=0, duplicates=0, quarantined=2, spooled=1)
    assert intake.readmit() == 0
    wanted = [one.id for one in spool.quarantined()]
    assert spool.ask_replay([*wanted, 999]) == 2
    point = Point("inlet", "pressure", "Pa", series=7)
    device = pressure_device("WP-1")
    intake.admission = new_admission(replace(device, points=(*device.points, point)))
    assert intake.readmit() == 2
    assert spool.ledger() == Ledger(received=3, stored=0, duplicates=0, quarantined=1, spooled=2)
    assert [one.code for one in spool.quarantined()] == ["E_JSON"]
    again = spool.batches(0)[-1].batch
    assert (again.series.tolist(), again.value.tolist(), again.history.tolist()) == ([7], [3.0], [True])
    assert intake.readmit() == 0
    assert spool.asked() == []


def test_a_reading_that_the_store_refused_is_taken_in_again_when_asked_for(spool, intake):
    intake.take([message(1)])
    refused = Quarantined(START, "WP-1/pressure", b'{"ts":1577836800001,"v":300000.0}', "E_STORE", "not now")
    spool.stored(1, 0, 0, [refused])
    spool.ask_replay([spool.quarantined()[0].id])
    assert intake.readmit() == 1
    assert spool.ledger() == Ledger(received=1, stored=0, duplicates=0, quarantined=0, spooled=1)
    assert spool.batches(1)[0].batch.value.tolist() == [300_000.0]


def test_what_was_purged_while_it_was_taken_in_again_stays_purged(spool, intake, monkeypatch):
    intake.take([delivery(b"no json")])
    (row,) = spool.quarantined()
    spool.ask_replay([row.id])
    monkeypatch.setattr(spool, "asked", lambda: [row])
    assert spool.purge([row.id]) == 1
    assert intake.readmit() == 0
    ledger = spool.ledger()
    assert (ledger.received, ledger.quarantined, ledger.purged, ledger.balance) == (1, 1, 1, 0)
    assert spool.recounted() == ledger


class Minute:
    """A format that remembers how many messages it has read, and answers each."""

    def __init__(self):
        self.count = 0

    def decode(self, topic, payload):
        self.count += 1
        found = Measurement(0, START + self.count, "metric/1", float(payload), None, 0)
        return Message(
            None,
            None,
            history=False,
            readings=1,
            measurements=[found],
            address=topic,
            replies=((topic, b"%d" % self.count),),
        )

    def memory(self):
        return b"%d" % self.count

    def recall(self, memory):
        self.count = int(memory)


def test_a_device_of_another_protocol_is_found_by_its_address_and_its_points_by_their_codes(spool):
    point = Point("pressure", "pressure", "kPa", series=5, code="metric/1")
    device = replace(pressure_device("SP-1"), address="spBv1.0/hewan/NDATA/node", points=(point,))
    seen = []
    intake = new_intake(spool, decoders={Format.SPARKPLUG: Minute()}, see=lambda *what: seen.append(what))
    intake.admission = new_admission(device)
    intake.take([delivery(b"7", device.address), delivery(b"8", "spBv1.0/hewan/NDATA/other")])
    batch = spool.batches(0)[0].batch
    assert (batch.series.tolist(), batch.value.tolist()) == ([5], [7000.0])
    # A node in no registry is answered too: devices that are in it may stand behind it.
    assert intake.replies() == [(device.address, b"1"), ("spBv1.0/hewan/NDATA/other", b"2")]
    assert intake.replies() == []
    assert [one.code for one in spool.quarantined()] == ["E_DEVICE"]
    assert [name for name, *_ in seen] == ["spBv1.0/hewan/NDATA/other"]


def test_what_a_format_remembers_outlives_the_process(spool):
    new_intake(spool, decoders={Format.SPARKPLUG: Minute()}).take([delivery(b"7", "spBv1.0/hewan/NDATA/node")])
    assert spool.state("decoder:sparkplug") == b"1"
    again = Minute()
    new_intake(spool, decoders={Format.SPARKPLUG: again})
    assert again.count == 1


def test_an_address_of_another_device_than_the_topic_names_is_refused(spool):
    named = replace(pressure_device("WP-1"), address="hj212/A")
    other = replace(pressure_device("WP-2"), address="hj212/B")

    class Foreign(Minute):
        def decode(self, topic, payload):
            return msgspec.structs.replace(super().decode(topic, payload), address="hj212/B")

    intake = new_intake(spool, decoders={Format.HJ212: Foreign()})
    intake.admission = new_admission(named, other)
    intake.take([delivery(b"7", "WP-1", "data/hj212")])
    assert [one.code for one in spool.quarantined()] == ["E_IDENTITY"]


@pytest.mark.parametrize("channel", ["ack", "cmd", "data/senml"])
def test_channels_that_hold_no_readings_are_refused(spool, channel):
    intake = new_intake(spool, decoders={Format.NATIVE: NativeDecoder()})
    intake.take([delivery(b"{}", channel=channel)])
    assert [one.code for one in spool.quarantined()] == ["E_TOPIC"]


def test_a_nearly_full_disk_takes_nothing_in_and_goes_on_when_there_is_room(spool, intake, monkeypatch):
    usage = shutil.disk_usage(spool.path)
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage._replace(free=1_000_000))
    with pytest.raises(UnavailableError, match="nearly full: 1 MB free"):
        intake.take([message(1)])
    assert spool.ledger().received == 0
    spool.stored(0, 0, 0)  # cursors still move
    monkeypatch.undo()
    intake.take([message(1)])
    assert spool.ledger().spooled == 1


def test_a_reading_that_comes_days_late_is_history_whatever_its_message_says(spool, intake):
    week_ms = 7 * 24 * 3600 * 1000
    intake.take([message(1), message(2, ts=START - week_ms), message(3, ts=START - week_ms, hist=True)])
    (spooled,) = spool.batches(0)
    assert spooled.batch.history.tolist() == [False, True, True]
    assert spooled.batch.quality.tolist() == [Quality.GOOD, Quality.SUSPECT, Quality.GOOD]


def test_what_a_device_that_reports_once_a_day_sends_of_that_day_is_live(spool, intake):
    daily = replace(pressure_device("WP-1"), interval=timedelta(days=1))
    intake.admission = new_admission(daily)
    intake.take([message(1, ts=START - 23 * 3_600_000)])
    (spooled,) = spool.batches(0)
    assert spooled.batch.history.tolist() == [False]
