"""What devices say of themselves, who is unknown, and commands: from the broker to the operations database and back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ingest import device_desk
from ingest.admission import Admission
from ingest.device_desk import DeviceDesk
from ingest.mqtt.connection import Connection, Delivery, Will
from ingest.worker import Worker
from sensors.alarm_log import AlarmLog
from sensors.command_log import CommandLog, CommandState
from sensors.presence import Presence
from sensors.unknown_device import UnknownDevices

from .conftest import City, FieldDevice, pressure_device, wait_until

BIRTH = {"v": 1, "online": True, "boot": 17, "model": "P-9", "interval_s": 60, "points": {"pressure": "MPa"}}


@contextmanager
def running(city: City) -> Iterator[Worker]:
    """Run the city's worker with a device desk, as `chengmai ingest` does."""
    engine, clock = city.engine, city.clock
    worker = Worker(
        address=city.address,
        district=city.district,
        spool=city.spool,
        store=city.store,
        registry=city.registry,
        pipeline=lambda _devices: city.detector,
        alarms=AlarmLog(engine, clock),
        clock=clock,
        desk=new_desk(city),
    )
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        wait_until(lambda: worker._connection.connected)
        yield worker
    finally:
        stop.set()
        thread.join(30)


def new_desk(city: City) -> DeviceDesk:
    engine = city.engine
    return DeviceDesk(city.district, Presence(engine), UnknownDevices(engine), CommandLog(engine), city.clock)


def admission_of(city: City) -> Admission:
    return Admission(city.registry.each(city.district), future=timedelta(0), history=timedelta(0))


def answer_of(device: str, city: City, **parts: str) -> Delivery:
    topic = f"cim/v1/{city.district}/water/{device}/cmd/ans"
    return Delivery(topic, json.dumps({"ok": True, **parts}).encode(), 1, 1, retain=False, connection=1)


def status_topic(city: City, name: str) -> str:
    return f"cim/v1/{city.district}/water/{name}/status"


def test_a_birth_is_known_and_a_will_too(city):
    city.register("WP-1")
    presence = Presence(city.engine)
    with running(city):
        topic = status_topic(city, "WP-1")
        device = Connection(city.address, f"{city.district}-WP-1", will=Will(topic, b'{"online":false}'), clean=True)
        device.start().wait(10)
        device.publish(topic, json.dumps(BIRTH).encode(), retain=True, wait_s=10)
        wait_until(lambda: (said := presence.get("WP-1")) and said.online)
        said = presence.get("WP-1")
        assert said.boot == 17
        assert json.loads(said.birth) == BIRTH
        device._client._sock_close()  # without a word
        device._closing.set()
        wait_until(lambda: not presence.get("WP-1").online)
        assert json.loads(presence.get("WP-1").birth) == BIRTH


def test_what_a_device_has_lost_is_kept_and_asked_for_no_more(city, field_device):
    (device,) = city.register("WP-1")
    with running(city):
        sender = field_device(city.address, device)
        sender.send_values(1, [1, 2, 5], datetime.now(UTC) - timedelta(hours=1))
        wait_until(lambda: sender.receipts and sender.receipts[-1]["missing"] == [[3, 4]])
        sender.send({"v": 1, "boot": 1, "lost": [[3, 4]]}, topic=status_topic(city, "WP-1"))
        wait_until(lambda: (said := Presence(city.engine).get("WP-1")) and said.lost == ((3, 4),))
        sender.send_values(1, [6], datetime.now(UTC) - timedelta(hours=1))
        wait_until(lambda: 6 in sender.receipted())
        assert sender.receipts[-1]["missing"] == []


def test_an_unknown_device_is_seen_with_what_it_sends_and_says(city, field_device):
    stranger = pressure_device("STRANGER", city.district)
    unknown = UnknownDevices(city.engine)
    with running(city):
        sender = field_device(city.address, stranger)
        sender.send(BIRTH, topic=status_topic(city, "STRANGER"))
        sender.send_values(1, [4, 5], datetime.now(UTC) - timedelta(hours=1))
        wait_until(lambda: [one for one in unknown.list() if one.messages == 2 and one.birth])
        (seen,) = unknown.list(city.district)
    assert seen.system == "water"
    assert json.loads(seen.birth) == BIRTH
    assert seen.points["pressure"].unit == "MPa"
    assert Presence(city.engine).get("STRANGER") is None


class Valve(FieldDevice):
    """A device that does what it is told; `told` are the commands."""

    def __init__(self, city: City, name: str) -> None:
        self.told: list[dict] = []
        self._base = f"cim/v1/{city.district}/water/{name}"
        self.connection = Connection(
            city.address, f"valve-{city.district}", subscribe=[f"{self._base}/cmd"], on_message=self._obey, clean=True
        ).start()
        self.connection.wait(10)

    def _obey(self, delivery: Delivery) -> None:
        command = json.loads(delivery.payload)
        self.told.append(command)
        answer = {"id": command["id"], "ok": True, "code": "", "result": {"position": command["args"]["position"]}}
        self.connection.ack([delivery])
        for _ in range(2):  # a resend of an answer changes nothing
            self.connection.publish(f"{self._base}/cmd/ans", json.dumps(answer).encode())


def test_a_command_is_sent_once_and_its_answer_noted(city):
    city.register("WP-1")
    log = CommandLog(city.engine)
    with running(city):
        valve = Valve(city, "WP-1")
        now = datetime.now(UTC)
        ordered = log.order("WP-1", "open", {"position": 0.5}, "lin", now + timedelta(minutes=5), at=now)
        wait_until(lambda: log.get(ordered.id).state is CommandState.DONE)
        wait_until(lambda: not city.spool.ledger().spooled)
        valve.connection.close()
    answered = log.get(ordered.id)
    assert json.loads(answered.result) == {"position": 0.5}
    assert valve.told == [
        {
            "id": ordered.id,
            "name": "open",
            "args": {"position": 0.5},
            "expires": round(ordered.expires.timestamp() * 1000),
        }
    ]
    assert city.spool.ledger().received == 0  # an answer holds no readings


def test_a_command_that_nobody_answers_expires(city):
    city.register("WP-1")
    log = CommandLog(city.engine)
    now = datetime.now(UTC)
    with running(city):
        ordered = log.order("WP-1", "open", {}, "lin", now + timedelta(seconds=2), at=now)
        wait_until(lambda: log.get(ordered.id).sent)
        wait_until(lambda: log.get(ordered.id).state is CommandState.EXPIRED)
    assert log.get(ordered.id).code == "E_EXPIRED"


@pytest.mark.parametrize(
    "answer", [b"\xff", b"[]", b'{"id":7,"ok":true}', b'{"id":"no such","ok":true}', b'{"id":"\\u0000","ok":true}']
)
def test_an_answer_that_is_none_stops_nothing(city, field_device, answer):
    (device,) = city.register("WP-1")
    with running(city) as worker:
        sender = field_device(city.address, device)
        sender.send(answer, topic=f"cim/v1/{city.district}/water/WP-1/cmd/ans")
        sender.send_values(1, [1], datetime.now(UTC) - timedelta(hours=1))
        wait_until(lambda: sender.receipted() == {1})
        wait_until(lambda: not worker._desk._answers)


@pytest.mark.parametrize("spoilt", [{"id": "a\0b"}, {"id": "a", "code": "\0"}])
def test_an_answer_that_no_database_takes_is_left_to_be_acknowledged(city, spoilt):
    city.register("WP-1")
    desk, admission = new_desk(city), admission_of(city)
    assert desk.hear([answer_of("WP-1", city, **spoilt)], admission)
    assert not desk._answers


def test_a_flood_of_answers_does_not_use_up_the_deliveries_in_flight(city, monkeypatch):
    monkeypatch.setattr(device_desk, "MAX_ANSWERS", 3)
    city.register("WP-1")
    desk, admission = new_desk(city), admission_of(city)
    flood = [answer_of("WP-1", city, id=str(number)) for number in range(5)]
    assert desk.hear(flood, admission) == flood[3:]  # the intake's, which acknowledges them


def test_a_sparkplug_node_that_dies_takes_its_devices_with_it(city):
    node = f"spBv1.0/{city.district}/N1"
    pump = replace(pressure_device("PUMP", city.district), address=f"{node}/P1")
    other = replace(pressure_device("OTHER", city.district), address=f"spBv1.0/{city.district}/N2/P1")
    city.registry.put([pump, other])
    presence = Presence(city.engine)
    with running(city):
        edge = Connection(city.address, f"edge-{city.district}", clean=True).start()
        edge.wait(10)
        for name in ("N1", "N2"):
            edge.publish(f"spBv1.0/{city.district}/DBIRTH/{name}/P1", b"")
        wait_until(lambda: all((said := presence.get(name)) and said.online for name in ("PUMP", "OTHER")))
        edge.publish(f"spBv1.0/{city.district}/NDEATH/N1", b"")
        wait_until(lambda: not presence.get("PUMP").online)
        assert presence.get("OTHER").online
        edge.close()


def test_the_city_says_to_sparkplug_nodes_that_it_lives_and_when_it_leaves(city):
    heard: list[dict] = []
    node = Connection(
        city.address,
        f"node-{city.district}",
        subscribe=[f"spBv1.0/STATE/chengmai-{city.district}"],
        on_message=lambda delivery: heard.append(json.loads(delivery.payload)),
        clean=True,
        manual_ack=False,
    ).start()
    node.wait(10)
    with running(city):
        wait_until(lambda: heard)
    wait_until(lambda: len(heard) == 2)
    node.close()
    assert [state["online"] for state in heard] == [True, False]
    assert heard[0]["timestamp"] == heard[1]["timestamp"]
