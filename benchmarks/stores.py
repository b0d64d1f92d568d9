"""What it costs to take readings from the spool into a store, against a bare sender of ready lines in the same run.

For each store at hand (SQLite; VictoriaMetrics and InfluxDB 1 if installed; the contract server of InfluxDB 2, in
a process of its own, which parses every line in Python): forwarded_readings_per_s from the first read of the spool
until the ledger counts the last as stored (with VictoriaMetrics: read back from it, 2.5 s after the write),
forwarder_cpu_us_per_reading of this process alone, bare_readings_per_s of the same readings as ready lines, posted one
request after the other, and the ratio. Then, asked by a second store: latest_first_ms and latest_ms of all series,
read_ms of a series' raw range, buckets_ms of its minutes.

    python benchmarks/stores.py [--json] [--readings N] [--series N] [--only NAME]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import numpy as np
import structlog
import urllib3

sys.path.remove(str(Path(__file__).resolve().parent))  # where this file would be found in place of the package

from ingest.group import Group
from ingest.spool import Spool
from ingest.store import Retention, open_store
from ingest.store.lines import lines
from ingest.storing import StoreForwarder
from sensors.clock import SystemClock, from_ms
from sensors.reading import Batch

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 120.0
GROUP = 20_000
"""Readings a group of the spool, as intake commits them under load."""

SETTLE_S = 2.5
"""Read back so soon after the write, so that a short run has both; in service it is 20 s, and the work is the same."""

CONTRACT = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tests.ingest.influx_contract import InfluxContract
server = InfluxContract()
print(server.url, flush=True)
time.sleep(3600)
"""


def readings(count: int, series: int, start: int) -> list[Batch]:
    """Return readings of all series in turn, one a minute each, from `start` (ms) on."""
    number = np.arange(count)
    columns = (
        (number % series).astype(np.int32),
        start + 60_000 * number // series,
        0.3 + 1e-6 * (number % 10_007),
        np.ones(count, np.uint8),
        np.zeros(count, np.bool_),
    )
    parts = range(0, count, GROUP)
    return [Batch(*(column[first : first + GROUP] for column in columns), now=start) for first in parts]


@contextmanager
def served(name: str, folder: Path) -> Iterator[tuple[str, str, str]]:
    """Run a server; give the store's URL, its token, and where bare lines go."""
    if name == "sqlite":
        yield f"sqlite:{folder / 'readings.sqlite'}", "", ""
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    base = f"http://127.0.0.1:{port}"
    if name == "influx_contract":
        command = [sys.executable, "-c", CONTRACT, str(ROOT)]
    elif name == "victoria":
        command = ["victoria-metrics", f"-storageDataPath={folder}/victoria", f"-httpListenAddr=127.0.0.1:{port}"]
        command += ["-retentionPeriod=400d", "-dedup.minScrapeInterval=1ms"]
    else:
        command = ["influxd", "-config", str(influxd_configuration(folder, port))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        if name == "influx_contract":
            assert process.stdout is not None
            url = process.stdout.readline().decode().strip()
            base = url.removeprefix("influx+").rsplit("/", 2)[0]
            yield url, "secret-token", f"{base}/api/v2/write?org=water&bucket=readings&precision=ms"
        else:
            listening(f"{base}/{'health' if name == 'victoria' else 'ping'}")
            if name == "victoria":
                yield f"victoria+{base}?settle_s={SETTLE_S:g}", "", f"{base}/api/v2/write?org=-&bucket=-&precision=ms"
            else:
                urllib.request.urlopen(f"{base}/query", b"q=CREATE+DATABASE+bare", timeout=10).close()
                yield f"influxql+{base}/city", "", f"{base}/write?db=bare&precision=ms"
    finally:
        process.terminate()
        process.wait(30)


def influxd_configuration(folder: Path, port: int) -> Path:
    path = folder / "influxdb.conf"
    path.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:0"\n[meta]\n  dir = "{folder}/meta"\n'
        f'[data]\n  dir = "{folder}/data"\n  wal-dir = "{folder}/wal"\n  query-log-enabled = false\n'
        f'[http]\n  bind-address = "127.0.0.1:{port}"\n  log-enabled = false\n[monitor]\n  store-enabled = false\n'
    )
    return path


def listening(url: str) -> None:
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        try:
            urllib.request.urlopen(url, timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    sys.exit(f"{url} does not answer")


def bare(url: str, token: str, batches: list[Batch], at_once: int) -> float:
    """Return readings/s of ready lines, posted one request after the other."""
    ready = [line for batch in batches for line in lines(batch)]
    bodies = ["\n".join(ready[first : first + at_once]).encode() for first in range(0, len(ready), at_once)]
    pool = urllib3.PoolManager(retries=False)
    headers = {"Authorization": f"Token {token}"} if token else {}
    started_s = time.monotonic()
    for body in bodies:
        answer = pool.request("POST", url, body=body, headers=headers)
        assert answer.status == 204, answer.data
    return len(ready) / (time.monotonic() - started_s)


def forwarded(spool: Spool, forwarder: StoreForwarder, count: int) -> float:
    """Return readings/s out of the spool, until the ledger counts them all as stored."""
    started_s = time.monotonic()
    while spool.ledger().spooled and time.monotonic() - started_s < TIMEOUT_S:
        if not forwarder.step():
            time.sleep(0.01)
    took_s = time.monotonic() - started_s
    ledger = spool.ledger()
    assert (ledger.stored, ledger.balance) == (count, 0), f"{ledger} after {took_s:.0f} s"
    return count / took_s


def milliseconds(action: Callable[[], object], times: int = 5) -> float:
    """Return the median time of an action in ms."""
    took: list[float] = []
    for _ in range(times):
        started_s = time.monotonic()
        action()
        took.append(1000 * (time.monotonic() - started_s))
    return round(float(np.median(took)), 2)


def measured(name: str, count: int, series: int) -> dict[str, float]:
    start = round(time.time() * 1000) - 60_000 * count // series
    before, batches = readings(count, series, start - 86_400_000), readings(count, series, start)
    with tempfile.TemporaryDirectory() as folder, served(name, Path(folder)) as (url, token, sink):
        spool = Spool(Path(folder) / "spool.sqlite")
        store = open_store(url, token, Retention(timedelta(days=400)))
        forwarder = StoreForwarder(spool, store, SystemClock(), check=lambda batch: batch, names=dict)
        spool.commit(Group(received=GROUP, batches=before[:1]))
        forwarded(spool, forwarder, GROUP)  # set up, and its series known
        for batch in batches:
            spool.commit(Group(received=len(batch), batches=[batch]))
        began_s = time.process_time()
        found = {"forwarded_readings_per_s": round(forwarded_more(spool, forwarder, count))}
        found["forwarder_cpu_us_per_reading"] = round(1e6 * (time.process_time() - began_s) / count, 2)
        if sink:
            at_once = getattr(store, "at_once", 5000)
            found["bare_readings_per_s"] = round(bare(sink, token, before, at_once))
            found["ratio"] = round(found["forwarded_readings_per_s"] / found["bare_readings_per_s"], 3)
        reader = open_store(url, token)
        found["latest_first_ms"] = milliseconds(reader.latest, 1)
        found["latest_ms"] = milliseconds(reader.latest)
        assert len(reader.latest().series) == series
        span = (from_ms(start - 1), from_ms(start + 86_400_000))
        found["read_ms"] = milliseconds(lambda: reader.read([series // 2], *span))
        found["buckets_ms"] = milliseconds(lambda: reader.read([series // 2], *span, timedelta(minutes=1)))
        spool.close()
    return found


def forwarded_more(spool: Spool, forwarder: StoreForwarder, count: int) -> float:
    """Return readings/s as `forwarded`, counted on from what the ledger has."""
    stored = spool.ledger().stored
    started_s = time.monotonic()
    forwarded(spool, forwarder, stored + count)
    return count / (time.monotonic() - started_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--readings", type=int, default=1_000_000)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--only", choices=["sqlite", "victoria", "influxdb1", "influx_contract"])
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    needed = {"sqlite": "", "victoria": "victoria-metrics", "influxdb1": "influxd", "influx_contract": ""}
    found: dict[str, object] = {"readings": options.readings, "series": options.series, "cores": os.cpu_count()}
    for name, program in needed.items():
        if options.only in {None, name}:
            there = not program or shutil.which(program)
            found[name] = measured(name, options.readings, options.series) if there else f"{program} is not installed"
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(
                name,
                *(f"\n    {key:26} {number:>12,}" for key, number in value.items())
                if isinstance(value, dict)
                else [value],
            )


if __name__ == "__main__":
    main()
