"""The path from a device's message to the store: what is kept, refused, receipted, and never twice."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from ingest.broker.embedded import EmbeddedBroker
from ingest.mqtt.connection import Address, Version
from ingest.worker import Worker
from sensors.alarm_log import AlarmLog
from twin.errors import InputError, UnavailableError

from .conftest import City, pressure_device, wait_until

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def test_readings_are_stored_in_si_and_receipted(city, field_device):
    (device,) = city.register("WP-1")
    with city.worker():
        sender = field_device(city.address, device)
        sender.send_values(1, range(100), NOW)
        city.settled(100)
        wait_until(lambda: sender.receipted() == set(range(100)))
    stored = city.stored(device)
    assert len(stored) == 100
    assert stored[10][1] == pytest.approx(300_010.0)
    assert city.detector.readings == 100
    assert city.spool.ledger().stored == 100


def test_same_message_three_times_is_one_reading(city, field_device):
    (device,) = city.register("WP-1")
    with city.worker():
        sender = field_device(city.address, device)
        for _ in range(3):
            sender.send_values(7, [5], NOW)
        city.settled(3)
    assert len(city.stored(device)) == 1
    assert city.spool.ledger().duplicates == 2
    assert city.detector.readings == 1


def test_bad_messages_are_quarantined_and_neighbours_stored(city, field_device):
    (device,) = city.register("WP-1")
    ts = int(NOW.timestamp() * 1000)
    good = {"v": 1, "ts": ts, "m": {"pressure": {"v": 0.3}}}
    bad = {
        "E_JSON": b"{not json",
        "E_UTF8": b'{"v":1,"x":"\xff"}',
        "E_DEPTH": b"[" * 100 + b"]" * 100,
        "E_SIZE": b'{"v":1,"x":"' + b"x" * 70_000 + b'"}',
        "E_NAN": b'{"v":1,"m":{"pressure":{"v":NaN}}}',
        "E_FIELD": b'{"v":2,"m":{"pressure":{"v":1}}}',
        "E_COUNT": b'{"v":1,"m":{}}',
        "E_POINT": b'{"v":1,"m":{"voltage":{"v":1}}}',
        "E_UNIT": b'{"v":1,"m":{"pressure":{"v":1,"u":"m3/h"}}}',
        "E_FUTURE": json.dumps({**good, "ts": ts + 2 * 3_600_000}).encode(),
        "E_OLD": json.dumps({**good, "ts": 1}).encode(),
    }
    with city.worker():
        sender = field_device(city.address, device)
        for number, payload in enumerate(bad.values()):
            sender.send({**good, "ts": ts + number})
            sender.send(payload)
        sender.send(good, topic=f"cim/v1/{city.district}/water/NOBODY/data")
        sender.send(good, topic=f"cim/v1/{city.district}/gas/WP-1/data")
        city.settled(2 * len(bad) + 2)
    refused = city.spool.quarantined()
    assert sorted(one.code for one in refused) == sorted([*bad, "E_DEVICE", "E_TOPIC"])
    assert len(city.stored(device)) == len(bad)
    kept = {one.code: one.payload for one in refused}
    assert all(kept[code] == payload for code, payload in bad.items())


def test_one_bad_reading_does_not_take_its_message_with_it(city, field_device):
    (device,) = city.register("WP-1")
    ts = int(NOW.timestamp() * 1000)
    rows = [[ts, {"pressure": {"v": 0.3}}], [ts + 1, {"pressure": {"v": None}}], [ts + 2, {"pressure": {"v": 0.31}}]]
    with city.worker():
        sender = field_device(city.address, device)
        sender.send({"v": 1, "boot": 1, "seq": 9, "r": rows})
        city.settled(3)
        wait_until(lambda: sender.receipts)
    assert sender.receipts[0] == {"boot": 1, "ok": [[9, 9]], "missing": [], "rej": [[9, 1, "E_NAN"]]}
    assert [time for time, _ in city.stored(device)] == [ts, ts + 2]


def test_a_receipt_names_the_holes(city, field_device):
    (device,) = city.register("WP-1")
    with city.worker():
        sender = field_device(city.address, device)
        sender.send_values(1, [1, 2, 5, 6], NOW)
        wait_until(lambda: sender.receipts and sender.receipts[-1]["missing"] == [[3, 4]])
        sender.send_values(1, [3, 4], NOW)
        wait_until(lambda: sender.receipted() == {1, 2, 3, 4, 5, 6} and sender.receipts[-1]["missing"] == [])


def test_late_readings_do_not_move_latest_back(city, field_device):
    (device,) = city.register("WP-1")
    with city.worker():
        sender = field_device(city.address, device)
        sender.send_values(1, [100], NOW)
        sender.send_values(1, [50], NOW - timedelta(days=7), hist=True)
        city.settled(2)
    latest = city.store.latest()
    assert list(latest.series) == [device.points[0].series]
    assert latest.time[0] == int(NOW.timestamp() * 1000) + 100_000
    assert len(city.stored(device)) == 2
    history = [bool(flag) for batch in city.detector.batches for flag in batch.history]
    assert sorted(history) == [False, True]


def test_another_value_at_the_same_time_is_a_conflict(city, field_device):
    (device,) = city.register("WP-1")
    ts = int(NOW.timestamp() * 1000)
    with city.worker():
        sender = field_device(city.address, device)
        sender.send({"v": 1, "ts": ts, "m": {"pressure": {"v": 0.3}}})
        city.settled(1)
        sender.send({"v": 1, "ts": ts, "m": {"pressure": {"v": 0.4}}})
        city.settled(2)
    (refused,) = city.spool.quarantined()
    assert (refused.code, refused.topic) == ("E_CONFLICT", "WP-1/pressure")
    assert [value for _, value in city.stored(device)] == [300_000.0]


def test_devices_registered_later_are_heard_at_once(city, field_device):
    with city.worker():
        (device,) = city.register("WP-9")
        sender = field_device(city.address, device)
        sender.send_values(1, range(3), NOW)
        city.settled(3)
    assert len(city.stored(device)) == 3


def test_unknown_device_is_counted_and_told(city, field_device):
    stranger = pressure_device("STRANGER", city.district)
    with city.worker() as worker:
        sender = field_device(city.address, stranger)
        sender.send_values(1, [4], NOW)
        city.settled(1)
        wait_until(lambda: sender.receipts)
        assert worker._intake.unknown == {"STRANGER": 1}
    assert sender.receipts[0]["rej"] == [[4, -1, "E_DEVICE"]]


def test_a_registry_that_is_away_is_not_waited_for_at_each_unknown_device(city, monkeypatch):
    worker, asked = city.new_worker(), []

    def away() -> int:
        asked.append(1)
        raise UnavailableError("away")

    monkeypatch.setattr(city.registry, "version", away)
    assert worker._refreshed() is worker._refreshed()
    assert asked == [1]


def test_heart_beat_says_that_ingest_lives(city):
    with city.worker():
        wait_until(lambda: (status := city.spool.status()) and status.connected)
        status = city.spool.status()
    assert status is not None
    assert status.alive
    assert status.store_ok
    assert not status.recording


def test_messages_sent_while_ingest_is_away_arrive_when_it_is_back(city, field_device):
    (device,) = city.register("WP-1")
    with city.worker():
        sender = field_device(city.address, device)
        sender.send_values(1, range(5), NOW)
        city.settled(5)
    sender.send_values(1, range(5, 50), NOW)
    assert sender.connection.drain(10)
    with city.worker():
        city.settled(50)
    assert len(city.stored(device)) == 50


def test_a_broker_that_goes_and_comes_back_loses_nothing(tmp_path, own_mosquitto, field_device):
    city = City(tmp_path, own_mosquitto.address)
    (device,) = city.register("WP-1")
    with city.worker() as worker:
        sender = field_device(city.address, device)
        sender.send_values(1, range(50), NOW)
        city.settled(50)
        own_mosquitto.stop()
        wait_until(lambda: not worker._connection.connected)
        sender.send_values(1, range(50, 100), NOW)
        own_mosquitto.start()
        city.settled(100)
        # Receipts went down with the broker: a device sends again what none has named, byte for byte.
        sender.send_values(1, sorted(set(range(100)) - sender.receipted()), NOW)
        wait_until(lambda: sender.receipted() == set(range(100)))
    assert len(city.stored(device)) == 100
    assert city.spool.ledger().balance == 0
    city.close()


def test_embedded_broker_carries_the_same_path_by_mqtt_3(tmp_path, field_device):
    with EmbeddedBroker() as broker:
        city = City(tmp_path, Address.parse(broker.url))
        (device,) = city.register("WP-1")
        with city.worker() as worker:
            sender = field_device(city.address, device)
            assert sender.connection.version is Version.MQTT_3_1_1
            sender.send_values(1, range(50), NOW)
            city.settled(50)
            wait_until(lambda: sender.receipted() == set(range(50)))
            assert worker._connection.version is Version.MQTT_3_1_1
        assert len(city.stored(device)) == 50
        city.close()


def test_detection_is_built_anew_when_the_city_has_changed(city):
    revision, built = [1], []
    worker = Worker(
        address=city.address,
        district=city.district,
        spool=city.spool,
        store=city.store,
        registry=city.registry,
        pipeline=lambda devices: built.append(len(devices)) or city.detector,
        alarms=AlarmLog(city.engine, city.clock),
        clock=city.clock,
        surroundings=lambda: revision[0],
    )
    assert len(built) == 1
    worker.reload()
    assert len(built) == 1
    revision[0] = 2
    worker.reload()
    assert len(built) == 2


def test_a_layer_that_is_off_is_told_with_its_reason(city):
    city.detector.degraded["leak"] = "no EPANET file"
    with city.worker():
        wait_until(lambda: (status := city.spool.status()) and status.layers_off)
        status = city.spool.status()
    assert status.layers_off == {"leak": "no EPANET file"}
    assert status.detectors_off == []  # nothing failed: no alarm


def test_a_thread_that_fails_ends_the_worker_with_its_error(city, field_device, monkeypatch):
    (device,) = city.register("WP-1")

    def damaged(_batch):
        raise InputError("file is not a database", where="readings.sqlite", code="E_FORMAT")

    monkeypatch.setattr(city.store, "write", damaged)
    stop = threading.Event()
    worker = city.new_worker()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(worker.run, stop)
        try:
            wait_until(lambda: worker._connection.connected)
            field_device(city.address, device).send_values(1, range(3), NOW)
            with pytest.raises(InputError, match="not a database"):
                running.result(30)
            assert stop.is_set()
        finally:
            stop.set()
