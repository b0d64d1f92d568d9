"""What durable ingest costs, against a subscriber that only counts, through one Mosquitto in the same run.

Prints reference_msgs_per_s (paho, QoS 1, counts and forgets), durable_msgs_per_s (worker: checked, on disk with
fsync, acknowledged, receipted), their ratio, and batch_readings_per_s (100 readings a message, into the spool) with
stored_readings_per_s (the same, into SQLite).

    python benchmarks/ingest.py [--json] [--messages N]
"""

from __future__ import annotations

import argparse
import getpass
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

sys.path.remove(str(Path(__file__).resolve().parent))  # where this file would be found in place of the package

from ingest.mqtt import Address, Connection
from ingest.spool import Spool
from ingest.store.sqlite import SqliteStore
from ingest.worker import Worker
from sensors.alarm_log import AlarmLog
from sensors.clock import SystemClock, to_ms
from sensors.detection.pipeline import Pipeline
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.operations import connect
from sensors.registry import Registry
from twin.asset import System

DEVICES = 300
TIMEOUT_S = 300.0

PUBLISHER = """
import sys, time
from ingest.mqtt import Address, Connection
port, first, messages, readings, start = (int(part) for part in sys.argv[1:])
connection = Connection(Address("127.0.0.1", port), f"bench-publisher-{first}", clean=True).start()
connection.wait(10)
for number in range(messages):
    device, seq = number % 300, first + number // 300
    at = start + seq * 100_000
    rows = ",".join('[%d,{"pressure":{"v":0.3}}]' % (at + 1000 * row) for row in range(readings))
    body = '{"v":1,"boot":1,"seq":%d,"r":[%s]}' % (seq, rows)
    connection.publish(f"cim/v1/bench/water/WP-{device:04}/data", body.encode())
    if number % 200 == 0:
        connection.drain(60, 2000)
connection.drain(120)
connection.close()
"""


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    path = folder / "mosquitto.conf"
    path.write_text(
        f"user {getpass.getuser()}\nlistener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
        "max_inflight_messages 0\nlog_dest none\n"
    )
    binary = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if binary is None:
        sys.exit("mosquitto is not installed (apt-get install mosquitto)")
    process = subprocess.Popen([binary, "-c", str(path)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def publish(port: int, first: int, messages: int, readings: int, start: int) -> subprocess.Popen[bytes]:
    arguments = [str(part) for part in (port, first, messages, readings, start)]
    return subprocess.Popen([sys.executable, "-c", PUBLISHER, *arguments], stdout=subprocess.DEVNULL)


def timed(counted: Callable[[], int], wanted: Sequence[int]) -> list[float]:
    """Return the rate between the first count seen and each of the `wanted` ones, in counts a second."""
    base = counted()
    give_up_s = time.monotonic() + TIMEOUT_S
    while (seen := counted()) == base and time.monotonic() < give_up_s:
        time.sleep(0.001)
    started_s = time.monotonic()
    rates: list[float] = []
    for target in wanted:
        while counted() < base + target and time.monotonic() < give_up_s:
            time.sleep(0.005)
        rates.append((counted() - seen) / (time.monotonic() - started_s))
    return rates


def reference(port: int, messages: int, start: int) -> float:
    count = 0

    def counted(_delivery: object) -> None:
        nonlocal count
        count += 1

    subscriber = Connection(
        Address("127.0.0.1", port),
        "bench-reference",
        subscribe=["cim/v1/bench/+/+/data"],
        on_message=counted,
        clean=True,
        manual_ack=False,
    ).start()
    subscriber.wait(10)
    time.sleep(0.5)
    process = publish(port, 0, messages, 1, start)
    rate = timed(lambda: count, [messages])[0]
    process.wait(TIMEOUT_S)
    subscriber.close()
    return rate


def durable(port: int, folder: Path, messages: int, start: int) -> dict[str, float | int | str]:
    engine = connect(f"sqlite:///{folder / 'operations.sqlite'}")
    registry = Registry(engine)
    registry.put(
        Device(
            DeviceId(f"WP-{number:04}"),
            "bench",
            System.WATER,
            (Point("pressure", "pressure", "MPa"),),
            timedelta(seconds=1),
        )
        for number in range(DEVICES)
    )
    spool, store = Spool(folder / "spool.sqlite"), SqliteStore(f"sqlite:{folder / 'readings.sqlite'}")
    limits = load()
    worker = Worker(
        address=Address("127.0.0.1", port),
        district="bench",
        spool=spool,
        store=store,
        registry=registry,
        pipeline=lambda devices: Pipeline.build(devices, limits),
        alarms=AlarmLog(engine, SystemClock()),
        clock=SystemClock(),
    )
    stop = threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    time.sleep(2.0)
    process = publish(port, 0, messages, 1, start)
    single = timed(lambda: spool.ledger().received, [messages])[0]
    process.wait(TIMEOUT_S)
    timed_out_s = time.monotonic() + TIMEOUT_S
    while spool.ledger().spooled and time.monotonic() < timed_out_s:
        time.sleep(0.05)
    batches = max(messages // 20, DEVICES)
    process = publish(port, 1_000_000, batches, 100, start - 100 * 24 * 3_600_000 - 1_000_000 * 100_000)
    began_s = time.monotonic()
    batch = timed(lambda: spool.ledger().received, [batches * 100])[0]
    while spool.ledger().spooled and time.monotonic() < timed_out_s:
        time.sleep(0.05)
    stored = batches * 100 / (time.monotonic() - began_s)
    process.wait(TIMEOUT_S)
    stop.set()
    thread.join()
    ledger = spool.ledger()
    synchronous = spool._connection.execute("PRAGMA synchronous").fetchone()[0]  # noqa: SLF001  # told with the figure
    spool.close()
    store.close()
    engine.dispose()
    return {
        "durable_msgs_per_s": round(single),
        "batch_readings_per_s": round(batch),
        "stored_readings_per_s": round(stored),
        "stored": ledger.stored,
        "quarantined": ledger.quarantined,
        "balance": ledger.balance,
        "pragma_synchronous": synchronous,
        "devices": DEVICES,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--messages", type=int, default=30_000)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    start = to_ms(datetime.now(UTC) - timedelta(days=200))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with broker(folder) as port:
            counted = reference(port, arguments.messages, start)
            found = durable(port, folder, arguments.messages, start)
    ratio = float(found["durable_msgs_per_s"]) / counted
    report = {"reference_msgs_per_s": round(counted), "ratio": round(ratio, 2), **found}
    if arguments.json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key:24} {value:>12}")


if __name__ == "__main__":
    main()
