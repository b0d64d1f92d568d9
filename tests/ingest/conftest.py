"""A real broker, a real registry, real SQLite: what the ingest tests stand on."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.mqtt.connection import Address, Connection, Delivery, Version
from ingest.spool import Spool
from ingest.store.sqlite import SqliteStore
from ingest.worker import Worker
from sensors.alarm_log import AlarmLog
from sensors.clock import Clock, SystemClock, to_ms
from sensors.detection import Detection
from sensors.device import Device, DeviceId, Point
from sensors.operations import connect
from sensors.reading import Batch
from sensors.registry import Registry
from twin.asset import System

DISTRICT = "hewan"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Mosquitto:
    """A broker of our own on a random loopback port, with sessions that survive a stop."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = Address("127.0.0.1", self.port)
        self._configuration = folder / "mosquitto.conf"
        self._configuration.write_text(
            f"user {getpass.getuser()}\nlistener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
            f"persistence true\npersistence_location {folder}/\n"
            "log_dest none\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([_mosquitto(), "-c", str(self._configuration)])
        wait_until(lambda: _listens(self.port))

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(10)


def _mosquitto() -> str:
    return shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or ""


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    if not _mosquitto():
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    broker = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.stop()


@pytest.fixture
def own_mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that the test may stop."""
    if not _mosquitto():
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    broker = Mosquitto(folder)
    yield broker
    broker.stop()


def wait_until(condition: Callable[[], Any], timeout_s: float = 30.0) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout_s:g} s")
        time.sleep(0.02)


def pressure_device(name: str, district: str = DISTRICT) -> Device:
    return Device(
        DeviceId(name),
        district,
        System.WATER,
        (Point("pressure", "pressure", "MPa"), Point("flow", "flow", "m3/h")),
        timedelta(minutes=1),
    )


class RecordingPipeline:
    """Keeps what it is given, as detectors would see it."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.standing: set[tuple[str, str]] = set()
        self.degraded: dict[str, str] = {}
        self.failed: set[str] = set()

    def update(self, batch: Batch) -> list[Detection]:
        self.batches.append(batch)
        return []

    def save(self) -> bytes:
        return str(self.readings).encode()

    def load(self, state: bytes) -> None:
        self.loaded = state

    @property
    def readings(self) -> int:
        return sum(len(batch) for batch in self.batches)


@dataclass
class City:
    """One district's ingest on files of its own; `worker` runs it in a thread."""

    folder: Path
    address: Address
    clock: Clock = field(default_factory=SystemClock)
    detector: RecordingPipeline = field(default_factory=RecordingPipeline)
    district: str = DISTRICT

    def __post_init__(self) -> None:
        self.engine = connect(f"sqlite:///{self.folder / 'operations.sqlite'}")
        self.registry = Registry(self.engine)
        self.spool = Spool(self.folder / "spool.sqlite")
        self.store = SqliteStore(f"sqlite:{self.folder / 'readings.sqlite'}")

    def register(self, *names: str) -> list[Device]:
        self.registry.put([pressure_device(name, self.district) for name in names])
        return [self.registry.get(name) for name in names]

    def new_worker(self) -> Worker:
        return Worker(
            address=self.address,
            district=self.district,
            spool=self.spool,
            store=self.store,
            registry=self.registry,
            pipeline=lambda _devices: self.detector,
            alarms=AlarmLog(self.engine, self.clock),
            clock=self.clock,
        )

    @contextmanager
    def worker(self) -> Iterator[Worker]:
        worker = self.new_worker()
        stop = threading.Event()
        thread = threading.Thread(target=worker.run, args=(stop,))
        thread.start()
        try:
            wait_until(lambda: worker._connection.connected)
            yield worker
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()

    def settled(self, readings: int) -> None:
        """Wait until `readings` have come in and everything is past the store; the ledger must balance."""

        def done() -> bool:
            ledger = self.spool.ledger()
            return ledger.received >= readings and not ledger.spooled

        wait_until(done)
        assert self.spool.ledger().balance == 0

    def stored(self, device: Device, point: int = 0) -> list[tuple[int, float]]:
        start, end = datetime(1971, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
        frame = self.store.read([device.points[point].series], start, end)
        return [(to_ms(row.time.to_pydatetime()), row.value) for row in frame.itertuples()]

    def close(self) -> None:
        self.spool.close()
        self.store.close()
        self.engine.dispose()


@pytest.fixture
def city(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[City]:
    # A district of its own for each test: the session's broker keeps sessions and retained messages.
    city = City(tmp_path, mosquitto.address, district=f"d{to_ms(datetime.now(UTC)) % 10**9}-{free_port()}")
    yield city
    city.close()


class FieldDevice:
    """A device that keeps the contract, over a client of its own; receipts are in `receipts`."""

    def __init__(self, address: Address, device: Device, version: Version | None = None) -> None:
        self.receipts: list[dict[str, Any]] = []
        self._base = f"cim/v1/{device.district}/{device.system}/{device.id}"
        self.connection = Connection(
            address,
            f"device-{device.district}-{device.id}",
            subscribe=[f"{self._base}/ack"],
            on_message=self._receipted,
            clean=True,
            manual_ack=False,
            version=version,
        ).start()
        self.connection.wait(10)

    def _receipted(self, delivery: Delivery) -> None:
        if delivery.topic == f"{self._base}/ack":  # amqtt gives a new client every retained message there is, unasked
            self.receipts.append(json.loads(delivery.payload))

    def send(self, payload: bytes | dict[str, Any], topic: str = "") -> None:
        raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.connection.publish(topic or f"{self._base}/data", raw)

    def send_values(self, boot: int, seqs: Iterable[int], start: datetime, *, hist: bool = False) -> None:
        """Send one pressure reading a message, at `start` plus seq seconds, of 0.3 MPa plus seq Pa."""
        for seq in seqs:
            values = {"pressure": {"v": 0.3 + seq * 1e-6, "u": "MPa"}}
            extra = {"hist": True} if hist else {}
            self.send({"v": 1, "boot": boot, "seq": seq, "ts": to_ms(start) + seq * 1000, "m": values, **extra})

    def receipted(self) -> set[int]:
        return {seq for receipt in self.receipts for first, last in receipt["ok"] for seq in range(first, last + 1)}

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def field_device() -> Iterator[Callable[..., FieldDevice]]:
    made: list[FieldDevice] = []

    def make(address: Address, device: Device, version: Version | None = None) -> FieldDevice:
        made.append(FieldDevice(address, device, version))
        return made[-1]

    yield make
    for device in made:
        device.close()
