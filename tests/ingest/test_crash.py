"""kill -9 in mid-stream: nothing that was receipted is lost, and nothing is stored twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from .conftest import City, wait_until

WORKER = """
import sys, threading
from pathlib import Path
from ingest.mqtt.connection import Address
from ingest.spool import Spool
from ingest.store.sqlite import SqliteStore
from ingest.worker import Worker
from sensors.alarm_log import AlarmLog
from sensors.clock import SystemClock
from sensors.operations import connect
from sensors.registry import Registry

class NoDetection:
    standing, degraded, failed = set(), {}, set()
    def update(self, batch): return []
    def save(self): return b""
    def load(self, state): pass

folder, port, district = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
engine = connect(f"sqlite:///{folder / 'operations.sqlite'}")
Worker(
    address=Address("127.0.0.1", port), district=district, spool=Spool(folder / "spool.sqlite"),
    store=SqliteStore(f"sqlite:{folder / 'readings.sqlite'}"), registry=Registry(engine),
    pipeline=lambda devices: NoDetection(), alarms=AlarmLog(engine, SystemClock()),
    clock=SystemClock(),
).run(threading.Event())
"""
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3)


def start_worker(city: City) -> subprocess.Popen[bytes]:
    arguments = [str(city.folder), str(city.address.port), city.district]
    return subprocess.Popen([sys.executable, "-c", WORKER, *arguments], stderr=subprocess.DEVNULL)


@pytest.mark.slow
def test_worker_killed_in_mid_stream_loses_and_doubles_nothing(city, field_device):
    (device,) = city.register("WP-1")
    sender = field_device(city.address, device)
    count, kills = 3000, 3
    worker = start_worker(city)
    try:
        wait_until(lambda: (status := city.spool.status()) and status.connected)
        for kill in range(kills):
            sender.send_values(1, range(kill * count // kills, (kill + 1) * count // kills), NOW)
            before = city.spool.ledger().received
            wait_until(lambda before=before: city.spool.ledger().received > before)
            os.kill(worker.pid, signal.SIGKILL)
            worker.wait(10)
            receipted = sender.receipted()
            on_disk = {time for spooled in city.spool.batches(0, 10**9) for time in spooled.batch.time.tolist()}
            on_disk |= {moment for moment, _ in city.stored(device)}
            start = int(NOW.timestamp() * 1000)
            assert {start + seq * 1000 for seq in receipted} <= on_disk
            worker = start_worker(city)
        until = time.monotonic() + 60
        while sender.receipted() != set(range(count)) and time.monotonic() < until:
            assert sender.connection.drain(30)
            time.sleep(2.5)  # more than the second between two receipts
            sender.send_values(1, sorted(set(range(count)) - sender.receipted()), NOW)
        wait_until(lambda: not city.spool.ledger().spooled)
    finally:
        worker.kill()
        worker.wait(10)
    assert sender.receipted() == set(range(count))
    stored = city.stored(device)
    assert len(stored) == count
    ledger = city.spool.ledger()
    assert ledger.balance == 0
    assert ledger.quarantined == 0
