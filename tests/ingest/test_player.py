"""The player's messages against the contract, written down here a second time, on a real Mosquitto."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from ingest.mqtt.connection import Address, Connection, Delivery
from ingest.replay.player import Order, Player, fault_topic
from sensors.clock import SystemClock
from sensors.device import Device, DeviceId, Point
from twin.asset import System
from twin.errors import InputError, UnavailableError

from .conftest import Mosquitto, wait_until

DISTRICT = "played"


class Value(msgspec.Struct, forbid_unknown_fields=True):
    v: float
    u: str | None = None


class Data(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    boot: Annotated[int, msgspec.Meta(ge=1)]
    seq: Annotated[int, msgspec.Meta(ge=0)]
    ts: int | None = None
    m: dict[str, Value] | None = None
    hist: bool = False
    r: list[tuple[int, dict[str, Value]]] | None = None


class Birth(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    online: bool
    boot: int
    model: str
    fw: str
    interval_s: float
    buffer: int
    points: dict[str, str]


class Steady:
    """A field of three devices that measure the same for ever; the third is silent."""

    def __init__(self) -> None:
        points = (Point("pressure", "pressure", "MPa"), Point("flow", "flow", "m3/h"))
        names = ("P-1", "P-2", "S-1")
        self.devices = [Device(DeviceId(name), DISTRICT, System.WATER, points, timedelta(seconds=60)) for name in names]

    def values(self, at: datetime, devices: Iterable[DeviceId]) -> Mapping[tuple[DeviceId, str], float]:
        truth = {"pressure": 312_345.678, "flow": 12.4 / 3600}
        return {(d, point): value for d in devices if d != "S-1" for point, value in truth.items()}

    def history(self, device: DeviceId) -> Iterator[tuple[datetime, Mapping[str, float]]]:
        begin = datetime.now(UTC) - timedelta(days=1)
        for n in range(288):
            yield begin + n * timedelta(minutes=5), {"pressure": 3e5 + n, "flow": 0.001}


class City:
    """Hears everything, and speaks as the city would."""

    def __init__(self, address: Address) -> None:
        self.heard: dict[str, list[bytes]] = defaultdict(list)
        self.connection = Connection(
            address,
            f"city-{time.monotonic_ns()}",
            subscribe=(f"cim/v1/{DISTRICT}/#",),
            on_message=self._note,
            clean=True,
            manual_ack=False,
        ).start()
        self.connection.wait(10)

    def _note(self, delivery: Delivery) -> None:
        if not delivery.retain:  # what an earlier test left with the broker
            self.heard[delivery.topic].append(delivery.payload)

    def data(self, device: str) -> list[bytes]:
        return list(self.heard[f"cim/v1/{DISTRICT}/water/{device}/data"])

    def status(self, device: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(payload) for payload in self.heard[f"cim/v1/{DISTRICT}/water/{device}/status"]]

    def live(self, device: str) -> list[Data]:
        messages = [msgspec.json.decode(payload, type=Data) for payload in self.data(device)]
        return [message for message in messages if not message.hist]

    def receipt(self, device: str, **fields: Any) -> None:
        topic = f"cim/v1/{DISTRICT}/water/{device}/ack"
        self.connection.publish(topic, msgspec.json.encode(fields))


@pytest.fixture
def city(mosquitto: Mosquitto) -> Iterator[City]:
    city = City(mosquitto.address)
    yield city
    city.connection.close()


@pytest.fixture
def play(mosquitto: Mosquitto, tmp_path: Path) -> Iterator[Callable[..., Callable[[], None]]]:
    stops: list[Callable[[], None]] = []

    def begin(**options: Any) -> Callable[[], None]:
        stop = threading.Event()
        options = {"interval": timedelta(seconds=0.2)} | options
        player = Player(Steady(), mosquitto.address, SystemClock(), tmp_path / "state.json", **options)
        thread = threading.Thread(target=player.run, args=(stop,))
        thread.start()

        def end() -> None:
            stop.set()
            thread.join(20)

        stops.append(end)
        return end

    yield begin
    for end in stops:
        end()


def test_a_device_is_born_tells_its_day_and_then_speaks_live(city: City, play: Callable[..., Callable[[], None]]):
    begun = time.time()
    play()
    wait_until(lambda: len(city.live("P-1")) >= 3)
    birth = msgspec.convert(city.status("P-1")[0], Birth)
    assert birth.online
    assert birth.points == {"pressure": "MPa", "flow": "m3/h"}
    messages = [msgspec.json.decode(payload, type=Data) for payload in city.data("P-1")]
    assert [message.seq for message in messages] == list(range(len(messages)))
    assert {message.boot for message in messages} == {birth.boot}
    history = [message for message in messages if message.hist]
    assert sum(len(message.r or ()) for message in history) == 288
    assert all(sum(len(row) for _, row in message.r or ()) <= 500 for message in history)
    assert all(len(payload) <= 65_536 for payload in city.data("P-1"))
    live = city.live("P-1")[0]
    assert live.m == {"pressure": Value(0.312346, "MPa"), "flow": Value(12.4, "m3/h")}
    assert live.ts is not None
    assert begun - 1 <= live.ts / 1000 <= time.time() + 1


def test_times_are_an_interval_apart(city: City, play: Callable[..., Callable[[], None]]):
    play()
    wait_until(lambda: len(city.live("P-1")) >= 6)
    times = [message.ts for message in city.live("P-1") if message.ts]
    steps = [b - a for a, b in pairwise(times)]
    assert all(round(step / 200) * 200 - 2 <= step <= round(step / 200) * 200 + 2 for step in steps)


def test_what_a_receipt_misses_comes_again_byte_for_byte(city: City, play: Callable[..., Callable[[], None]]):
    play()
    wait_until(lambda: len(city.live("P-1")) >= 4)
    sent = city.data("P-1")
    city.receipt("P-1", boot=1, ok=[[0, 1], [3, 3]], missing=[[2, 2]])
    wait_until(lambda: city.data("P-1").count(sent[2]) == 2)
    assert city.data("P-1").count(sent[1]) == 1


def test_what_has_been_receipted_is_forgotten_and_owned_up_to(city: City, play: Callable[..., Callable[[], None]]):
    play()
    wait_until(lambda: len(city.live("P-1")) >= 4)
    city.receipt("P-1", boot=1, ok=[[0, 3]], missing=[])
    city.receipt("P-1", boot=1, ok=[], missing=[[1, 2]])
    wait_until(lambda: any(status.get("lost") == [[1, 2]] for status in city.status("P-1")))
    city.receipt("P-1", boot=0, ok=[], missing=[[7, 9]])
    wait_until(lambda: any(s.get("lost") == [[7, 9]] and s["boot"] == 0 for s in city.status("P-1")))


def test_a_nonsensical_receipt_is_survived(city: City, play: Callable[..., Callable[[], None]]):
    play()
    wait_until(lambda: city.live("P-1"))
    city.connection.publish(f"cim/v1/{DISTRICT}/water/P-1/ack", b"{")
    seen = len(city.live("P-1"))
    wait_until(lambda: len(city.live("P-1")) > seen + 2)


def test_a_silent_device_is_born_and_says_no_more(city: City, play: Callable[..., Callable[[], None]]):
    play()
    wait_until(lambda: len(city.live("P-1")) >= 5)
    assert city.status("S-1")[0]["online"]
    assert not city.live("S-1")


def test_boot_grows_with_each_start_and_leaving_is_said(city: City, play: Callable[..., Callable[[], None]]):
    end = play()
    wait_until(lambda: city.live("P-1"))
    end()
    wait_until(lambda: city.status("P-1")[-1] == {"v": 1, "online": False})
    play()
    wait_until(lambda: any(message.boot == 2 for message in city.live("P-1")))


def test_a_device_that_is_torn_away_leaves_its_last_will(city: City, mosquitto: Mosquitto):
    from ingest.mqtt.connection import Will
    from ingest.replay.player import OFFLINE

    topic = f"cim/v1/{DISTRICT}/water/T-1/status"
    device = Connection(mosquitto.address, "torn", will=Will(topic, OFFLINE), clean=True).start()
    device.wait(10)
    thief = Connection(mosquitto.address, "torn", clean=True).start()  # the broker drops the first of two of one name
    wait_until(lambda: {"v": 1, "online": False} in city.status("T-1"))
    device.close()
    thief.close()


def test_orders_reach_the_field_and_bad_ones_are_survived(city: City, play: Callable[..., Callable[[], None]]):
    orders: list[Order] = []
    play(order=orders.append)
    wait_until(lambda: city.live("P-1"))
    city.connection.publish(fault_topic(DISTRICT), b"on fire")
    city.connection.publish(fault_topic(DISTRICT), b'{"fault":"burst","on":true,"asset":"water.inp:link:P1"}')
    wait_until(lambda: orders == [Order("burst", on=True, asset="water.inp:link:P1")])


def test_without_a_broker_it_says_so(tmp_path: Path):
    player = Player(Steady(), Address("127.0.0.1", 1), SystemClock(), tmp_path / "state.json")
    with pytest.raises(UnavailableError, match="127"):
        player.run(threading.Event())


def test_a_broken_file_of_counters_is_named(tmp_path: Path):
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(InputError, match=r"state\.json"):
        Player(Steady(), Address("127.0.0.1", 1), SystemClock(), tmp_path / "state.json")
