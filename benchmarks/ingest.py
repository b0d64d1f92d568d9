"""What durable ingest costs, against a subscriber that only counts, through one Mosquitto in the same run.

    python benchmarks/ingest.py [--json] [--messages N] [--memory-minutes M]

Everything runs in processes of its own on this machine: Mosquitto, a publisher (a bare socket), and either a paho
subscriber that counts and forgets (`reference_msgs_per_s`) or `chengmai ingest` with the settings of a city: checked,
on disk with fsync, acknowledged, receipted (`durable_msgs_per_s`; `ratio` is of these two). `batch_readings_per_s` is
100 readings a message into the spool, `stored_readings_per_s` the same until SQLite has them all, latencies are from
publishing to being read from the store at 5,000 readings a second, memory is of the worker. `two_workers_ratio` is two
workers to one on the same two districts, `takeover_s` how long a district stands when its worker is killed.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.remove(str(Path(__file__).resolve().parent))  # where this file would be found in place of the package

from ingest.spool import Spool
from ingest.store import ReadingStore, open_store
from sensors.clock import from_ms, to_ms
from sensors.device import Device, DeviceId, Point
from sensors.operations import connect
from sensors.registry import Registry
from twin.asset import System

PUBLISHER = Path(__file__).with_name("mqtt_publisher.py")
DEVICES = 300
PROBES = 20
LATENCY_RATE = 5000
LATENCY_S = 15
TIMEOUT_S = 180.0
BATCH = 100
KILL_RATE = 500
WARM, WARM_S = 3000, 8.0

REFERENCE = """
import sys, threading, time
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
port, wanted = int(sys.argv[1]), int(sys.argv[2])
count, begun, done = 0, 0.0, threading.Event()
def message(_client, _data, _message):
    global count, begun
    begun = begun or time.monotonic()
    count += 1
    if count == wanted:
        print(count / (time.monotonic() - begun), flush=True)
        done.set()
def subscribed(*_):
    print("ready", flush=True)
client = Client(CallbackAPIVersion.VERSION2, "bench-reference")
client.on_message, client.on_subscribe = message, subscribed
client.on_connect = lambda client, *_: client.subscribe("cim/v1/+/+/+/data", 1)
client.connect("127.0.0.1", port)
client.loop_start()
done.wait(180)
client.disconnect()
"""


@contextmanager
def process(command: Sequence[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen(command, **options)  # type: ignore[call-overload]
    try:
        yield started
    finally:
        if started.poll() is None:
            started.terminate()
        started.wait(30)


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
    with process([binary, "-c", str(path)], stderr=subprocess.DEVNULL):
        time.sleep(0.5)
        yield port


def publish(
    port: int, district: str, first: int, messages: int, readings: int, *, start: int = 0, rate: int = 0
) -> subprocess.Popen[bytes]:
    arguments = [port, district, DEVICES, first, messages, readings, start, *([rate] if rate else [])]
    return subprocess.Popen([sys.executable, str(PUBLISHER), *map(str, arguments)])


def until(condition: Callable[[], object], what: str, pause_s: float = 0.02) -> None:
    give_up_s = time.monotonic() + TIMEOUT_S
    while not condition():
        if time.monotonic() > give_up_s:
            sys.exit(f"{what}: not within {TIMEOUT_S:g} s")
        time.sleep(pause_s)


class City:
    """The files of a city whose `districts` have `DEVICES` devices each, and its settings."""

    def __init__(self, folder: Path, port: int, districts: Sequence[str]) -> None:
        folder.mkdir()
        self.folder, self.districts = folder, list(districts)
        self.settings = folder / "chengmai.toml"
        self.settings.write_text(
            f'[city]\ndistrict = "{districts[0]}"\n[mqtt]\nurl = "mqtt://127.0.0.1:{port}"\nembedded = false\n'
            f"[ingest]\nrate_factor = 0\ndistricts = {json.dumps(self.districts)}\n[log]\nlevel = 'warning'\n"
        )
        engine = connect(f"sqlite:///{folder / 'operations.sqlite'}")
        Registry(engine).put(
            Device(
                DeviceId(f"{district}-{number:04}"),
                district,
                System.WATER,
                (Point("pressure", "pressure", "MPa"),),
                timedelta(seconds=1),
            )
            for district in districts
            for number in range(DEVICES)
        )
        devices = Registry(engine).devices()
        self.series = [device.points[0].series for device in devices]
        engine.dispose()
        self.spools: dict[str, Spool] = {}
        self.store: ReadingStore = open_store(f"sqlite:{folder / 'readings.sqlite'}")

    def spool(self, district: str) -> Spool:
        if district not in self.spools:
            name = "spool.sqlite" if district == self.districts[0] else f"spool-{district}.sqlite"
            self.spools[district] = Spool(self.folder / name)
        return self.spools[district]

    @contextmanager
    def ingest(self, workers: int = 1) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "dashboards", "--settings", str(self.settings), "ingest"]
        more = ["--workers", str(workers)] if workers > 1 else []
        with process([*command, *more], cwd=self.folder) as running:
            until(lambda: all(self._ready(district) for district in self.districts), "ingest")
            yield running

    def _ready(self, district: str) -> bool:
        if not (self.folder / "readings.sqlite").exists():
            return False
        status = self.spool(district).status()
        return status is not None and status.connected and status.alive

    def received(self) -> int:
        return sum(self.spool(district).ledger().received for district in self.districts)

    def spooled(self) -> int:
        return sum(self.spool(district).ledger().spooled for district in self.districts)

    def rows(self) -> int:
        frame = self.store.read(self.series, datetime(1971, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
        return len(frame)

    def close(self) -> None:
        for spool in self.spools.values():
            spool.close()


def rate_of(count: Callable[[], int], wanted: int) -> float:
    """Return counts a second between the first count seen and `wanted` more than now."""
    base = count()
    until(lambda: count() > base, "the first message", 0.001)
    first, begun_s = count(), time.monotonic()
    until(lambda: count() >= base + wanted, f"{wanted} of them", 0.01)
    return (base + wanted - first) / (time.monotonic() - begun_s)


def reference(port: int, messages: int, start: int) -> float:
    command = [sys.executable, "-c", REFERENCE, str(port), str(messages)]
    with process(command, stdout=subprocess.PIPE) as subscriber:
        assert subscriber.stdout is not None
        subscriber.stdout.readline()
        publish(port, "counted", 0, messages, 1, start=start).wait(TIMEOUT_S)
        return float(subscriber.stdout.readline())


def warm(city: City, port: int, start: int, first: int = 5_000_000) -> None:
    """Send enough that whatever is imported, compiled or opened at the first reading is."""
    wanted = city.received() + WARM * len(city.districts)
    for district in city.districts:
        publish(port, district, first, WARM, 1, start=start - 600_000).wait(TIMEOUT_S)
    until(lambda: city.received() >= wanted and not city.spooled(), "the warm-up")
    time.sleep(WARM_S)


def durable(city: City, port: int, messages: int, start: int) -> dict[str, float]:
    """Return the rates of one reading a message and of a hundred, in the spool and in the store."""
    district = city.districts[0]
    publisher = publish(port, district, 0, messages, 1, start=start)
    single = rate_of(city.received, messages)
    publisher.wait(TIMEOUT_S)
    until(lambda: not city.spooled(), "the store")
    batches = max(messages // 10, DEVICES)
    publisher = publish(port, district, 1_000_000, batches, BATCH, start=start + 3_600_000)
    begun_s = time.monotonic()
    spooled = rate_of(city.received, batches * BATCH)
    until(lambda: not city.spooled(), "the store")
    stored = batches * BATCH / (time.monotonic() - begun_s)
    publisher.wait(TIMEOUT_S)
    return {
        "durable_msgs_per_s": round(single),
        "batch_readings_per_s": round(spooled),
        "stored_readings_per_s": round(stored),
    }


def latency(city: City, port: int) -> dict[str, float]:
    """Return how long readings take from being published to being read from the store, in ms."""
    probes = city.series[:: DEVICES // PROBES]
    publisher = publish(port, city.districts[0], 2_000_000, LATENCY_RATE * LATENCY_S, 1, rate=LATENCY_RATE)
    seen = dict.fromkeys(probes, to_ms(datetime.now(UTC)))
    found: list[float] = []
    while publisher.poll() is None:
        frame = city.store.read(probes, from_ms(min(seen.values())), datetime.now(UTC) + timedelta(seconds=1))
        now = time.time() * 1000
        times = frame["time"].astype("int64").to_numpy()
        for series, at in zip(frame["series"].tolist(), times.tolist(), strict=True):
            if at > seen[series]:
                found.append(now - at)
                seen[series] = at
        time.sleep(0.005)
    found = found[len(found) // 5 :]  # the first are of the connection
    cuts = statistics.quantiles(found, n=100)
    return {"latency_ms_p50": round(cuts[49], 1), "latency_ms_p99": round(cuts[98], 1), "latency_samples": len(found)}


def memory(city: City, port: int, ingest: int, minutes: float) -> dict[str, float]:
    """Return what the worker's memory is before and after `minutes` at 5,000 readings a second, in MB."""
    warm_s = min(30.0, 20 * minutes)
    messages = round(LATENCY_RATE * (60 * minutes + warm_s))
    publisher = publish(port, city.districts[0], 3_000_000, messages, 1, rate=LATENCY_RATE)
    time.sleep(warm_s)
    before = _rss_mb(ingest)
    publisher.wait(60 * minutes + TIMEOUT_S)
    return {"rss_mb_start": round(before, 1), "rss_mb_end": round(_rss_mb(ingest), 1), "rss_minutes": minutes}


def _rss_mb(pid: int) -> float:
    """Return the resident memory of a process and its children."""
    status = Path(f"/proc/{pid}/status").read_text()
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return own / 1024 + sum(_rss_mb(child) for child in _children(pid))


def _children(pid: int) -> list[int]:
    return [int(child) for task in Path(f"/proc/{pid}/task").glob("*/children") for child in task.read_text().split()]


def file_system(folder: Path) -> str:
    """Return the type of the file system that `folder` is on."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    inside = [(len(place), kind) for place, kind in mounts if folder.resolve().is_relative_to(place)]
    return max(inside)[1]


def both(city: City, port: int, messages: int, start: int, first: int) -> float:
    """Return the rate of two districts together, each with a publisher of its own."""
    publishers = [publish(port, district, first, messages, 1, start=start) for district in city.districts]
    rate = rate_of(city.received, 2 * messages)
    for publisher in publishers:
        publisher.wait(TIMEOUT_S)
    return rate


def two_workers(city: City, port: int, messages: int, start: int) -> dict[str, object]:
    """Return the rates of two districts with one worker and with two, and what became of one that is killed."""
    with city.ingest():
        warm(city, port, start, 5_000_000)
        alone = both(city, port, messages, start, 0)
    with city.ingest(workers=2) as running:
        owners = {district: _owner(city, district, running.pid) for district in city.districts}
        warm(city, port, start - 600_000, 6_000_000)
        shared = both(city, port, messages, start + 1_800_000, 1_000_000)
        rest = 30 * KILL_RATE
        publishers = [publish(port, district, 4_000_000, rest, 1, rate=KILL_RATE) for district in city.districts]
        time.sleep(3.0)
        victim = city.districts[0]
        before, killed_s = city.spool(victim).ledger().received, time.monotonic()
        os.kill(owners[victim], signal.SIGKILL)
        until(lambda: city.spool(victim).ledger().received > before + KILL_RATE // 10, "another owner")
        takeover_s = time.monotonic() - killed_s
        for publisher in publishers:
            publisher.wait(TIMEOUT_S)
        sent = 2 * (2 * messages + rest + 2 * WARM)
        # Rows, not the ledger's `stored`: what the victim had written and not entered counts as duplicates.
        until(lambda: city.rows() >= sent, "the store", 1.0)
        duplicates = sum(city.spool(one).ledger().duplicates for one in city.districts)
    return {
        "one_worker_of_two_districts_msgs_per_s": round(alone),
        "two_workers_msgs_per_s": round(shared),
        "two_workers_ratio": round(shared / alone, 2),
        "two_workers_distinct": len(set(owners.values())) == len(owners),
        "takeover_s": round(takeover_s, 1),
        "takeover_rows_lost": sent - city.rows(),
        "takeover_delivered_twice": duplicates,
    }


def _owner(city: City, district: str, parent: int) -> int:
    """Return the process that works a district, one of the children of `parent`."""

    def found() -> list[int]:
        status = city.spool(district).status()
        return [child for child in _children(parent) if status is not None and f"-{child}-" in status.worker]

    until(found, f"an owner of {district}")
    return found()[0]


def one_worker(folder: Path, port: int, messages: int, minutes: float, start: int) -> dict[str, object]:
    city = City(folder / "one", port, ["bench"])
    with city.ingest() as running:
        warm(city, port, start)
        figures: dict[str, object] = {**durable(city, port, messages, start)}
        figures |= latency(city, port)
        figures |= memory(city, port, running.pid, minutes)
        until(lambda: not city.spooled(), "the store")
        time.sleep(1.5)  # for the last receipts, and the heart-beat that counts them
        status = city.spool("bench").status()
    ledger = city.spool("bench").recounted()
    figures |= {
        "stored": ledger.stored,
        "rows_read_back": city.rows(),
        "quarantined": ledger.quarantined,
        "balance": ledger.balance,
        "receipts_sent": status.receipts if status else 0,
        "pragma_synchronous": city.spool("bench").synchronous,
        "file_system": file_system(city.folder),
        "devices": DEVICES,
    }
    city.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--messages", type=int, default=40_000)
    parser.add_argument("--memory-minutes", type=float, default=0.25)
    parser.add_argument("--folder", type=Path, help="where the files are written, for other file systems")
    arguments = parser.parse_args()
    start = to_ms(datetime.now(UTC) - timedelta(minutes=100))  # live still
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        with broker(folder) as port:
            counted = reference(port, arguments.messages, start)
            found = one_worker(folder, port, arguments.messages, arguments.memory_minutes, start)
            pair = City(folder / "two", port, ["left", "right"])
            found |= two_workers(pair, port, arguments.messages, start)
            pair.close()
    single = float(str(found["durable_msgs_per_s"]))
    report = {"reference_msgs_per_s": round(counted), "ratio": round(single / counted, 2), **found}
    if arguments.json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key:24} {value:>12}")


if __name__ == "__main__":
    main()
