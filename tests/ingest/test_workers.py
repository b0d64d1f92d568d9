"""`chengmai ingest --workers`: processes that share districts, and one of them killed in mid-stream."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ingest.mqtt.connection import Address
from ingest.spool import Spool
from ingest.store.sqlite import SqliteStore
from sensors.operations import connect
from sensors.registry import Registry

from .conftest import FieldDevice, Mosquitto, pressure_device, wait_until

NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)


class TwoDistricts:
    """Two districts on two workers, from one settings file, and a device in each."""

    def __init__(self, folder: Path, mosquitto: Mosquitto) -> None:
        self.folder = folder
        self.names = [f"{name}-{mosquitto.port}" for name in ("east", "west")]
        self.settings = folder / "city.toml"
        self.settings.write_text(
            f'[city]\ndistrict = "{self.names[0]}"\n'
            f"[ingest]\ndistricts = {json.dumps(self.names)}\nworkers = 2\nrate_factor = 0\n"
            f'[mqtt]\nurl = "mqtt://127.0.0.1:{mosquitto.port}"\nembedded = false\n'
        )
        engine = connect(f"sqlite:///{folder / 'operations.sqlite'}")
        registry = Registry(engine)
        registry.put([pressure_device(f"WP-{name}", name) for name in self.names])
        self.devices = {name: registry.get(f"WP-{name}") for name in self.names}
        engine.dispose()
        self.senders = {
            name: FieldDevice(Address("127.0.0.1", mosquitto.port), device) for name, device in self.devices.items()
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dashboards", "--settings", str(self.settings), "ingest"],
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )

    def spool(self, name: str) -> Path:
        return self.folder / ("spool.sqlite" if name == self.names[0] else f"spool-{name}.sqlite")

    def owner(self, name: str) -> str:
        """Return the worker that has beaten the district's heart in the last seconds, connected; empty for none."""
        if not self.spool(name).is_file():
            return ""
        spool = Spool(self.spool(name))
        status = spool.status()
        spool.close()
        return status.worker if status and status.alive and status.connected else ""

    def resend(self, name: str, count: int) -> bool:
        """Send again what no receipt has named; whether all is receipted."""
        sender = self.senders[name]
        left = sorted(set(range(count)) - sender.receipted())
        sender.send_values(1, left, NOW)
        sender.connection.drain(20)
        return not left

    def close(self) -> None:
        for sender in self.senders.values():
            sender.close()
        self.process.terminate()
        self.process.wait(30)


@pytest.fixture
def city(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[TwoDistricts]:
    city = TwoDistricts(tmp_path, mosquitto)
    yield city
    city.close()


@pytest.mark.slow
def test_a_worker_killed_hands_its_district_over_and_nothing_is_lost_or_doubled(city):
    count = 2000
    wait_until(lambda: all(city.owner(name) for name in city.names), 90)
    wait_until(lambda: len({city.owner(name) for name in city.names}) == 2, 30)
    victim = city.owner(city.names[1])
    for name in city.names:
        city.senders[name].send_values(1, range(count // 2), NOW)
    wait_until(city.senders[city.names[1]].receipted)
    os.kill(int(victim.split("-")[-2]), signal.SIGKILL)
    for name in city.names:
        city.senders[name].send_values(1, range(count // 2, count), NOW)
    wait_until(lambda: city.owner(city.names[1]) not in {"", victim}, 60)
    for name in city.names:
        wait_until(lambda name=name: city.resend(name, count), 90)
    city.process.terminate()
    assert city.process.wait(30) == 0
    ledgers = []
    for name in city.names:
        spool = Spool(city.spool(name))
        ledgers.append(spool.ledger())
        spool.close()
    assert [ledger.balance for ledger in ledgers] == [0, 0]
    assert [ledger.quarantined for ledger in ledgers] == [0, 0]
    store = SqliteStore(f"sqlite:{city.folder / 'readings.sqlite'}")
    for device in city.devices.values():
        frame = store.read([device.points[0].series], NOW - timedelta(days=1), NOW + timedelta(days=1))
        assert len(frame) + sum(ledger.spooled for ledger in ledgers) == count
    store.close()
    with closing(sqlite3.connect(city.folder / "operations.sqlite")) as raw:  # all of it was given back
        assert raw.execute("SELECT worker FROM leases").fetchall() == [("",), ("",)]
        assert raw.execute("SELECT * FROM workers").fetchall() == []
        assert raw.execute("SELECT count(*) FROM detector_states").fetchall() == [(2,)]
