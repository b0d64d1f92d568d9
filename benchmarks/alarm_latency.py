"""From publish to alarm visible in the browser: ``python benchmarks/alarm_latency.py [--json] [--rate 1000]``.

A real broker, a real ingest process, a real server process and a real Chromium. Background readings come at `--rate` a
second from 200 devices; every other second one gas detector crosses its red limit, and the page's list is watched for
the alarm's row by a mutation observer. The goal is p95 < 2 s at 1,000 readings/s on two cores. The calibration is the
same machine's time for a fixed piece of arithmetic, since absolute figures mean nothing without it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from playwright.sync_api import Page, sync_playwright
from shapely import Point

sys.path.remove(str(Path(__file__).resolve().parent))  # benchmarks/ingest.py would be found in place of the package

from dashboards.settings import load
from ingest.broker.embedded import EmbeddedBroker
from ingest.mqtt.connection import Address, Connection
from sensors.device import Device, DeviceId
from sensors.device import Point as Measured
from sensors.operations import connect
from sensors.registry import Registry
from twin.asset import Node, NodeKind, System, asset_id
from twin.city import City
from twin.model import Decision, Model, Placement

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
BACKGROUND = 200
EASTING, NORTHING = 540_000.0, 3_350_000.0
WATCH = """() => {
  window.seen = {};
  const look = () => document.querySelectorAll('.alarm-list .ag-row').forEach((row) => {
    for (const name of row.textContent.match(/GM-\\d{4}/g) ?? []) window.seen[name] ??= Date.now();
  });
  const changes = {subtree: true, childList: true, characterData: true};
  new MutationObserver(look).observe(document.querySelector('.alarm-list'), changes);
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--rate", type=int, default=1000, help="background readings a second")
    parser.add_argument("--alarms", type=int, default=30, help="alarms that are timed")
    options = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        result = measure(Path(folder), stack, options.rate, options.alarms)
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{key:24} {value}" for key, value in result.items()))


def measure(folder: Path, stack: ExitStack, rate: int, alarms: int) -> dict[str, Any]:
    broker = stack.enter_context(_broker(folder))
    port = _free_port()
    settings_file = folder / "chengmai.toml"
    settings_file.write_text(
        f'[city]\ndistrict = "bench"\n[mqtt]\nurl = "{broker}"\nembedded = false\n[web]\nport = {port}\n',
        encoding="utf-8",
    )
    _city(folder, settings_file, alarms)
    for command in ("ingest", "serve"):
        stack.enter_context(_process("--settings", str(settings_file), command))
    url = f"http://127.0.0.1:{port}/"
    _wait(lambda: _status(url)["ingest"]["connected"])
    page = stack.enter_context(_page(url))
    load_made = stack.enter_context(_background(broker, rate))
    latencies = _time_alarms(page, broker, alarms)
    ordered = sorted(latencies)
    return {
        "rate_wanted": rate,
        "rate_seen": _status(url)["ingest"]["rate"],
        "rate_published": round(load_made(), 1),
        "alarms": alarms,
        "alarms_seen": len(ordered),
        "p50_s": round(statistics.median(ordered), 3),
        "p95_s": round(ordered[max(0, int(len(ordered) * 0.95) - 1)], 3),
        "worst_s": round(ordered[-1], 3),
        "goal_p95_s": 2.0,
        "calibration_s": round(_calibration(), 3),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
    }


@contextmanager
def _broker(folder: Path) -> Iterator[str]:
    """Run Mosquitto where it is installed, the embedded broker else."""
    port = _free_port()
    (folder / "mosquitto.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nlog_dest none\n")
    try:
        running = subprocess.Popen(["/usr/sbin/mosquitto", "-c", str(folder / "mosquitto.conf")])
    except FileNotFoundError:
        with EmbeddedBroker(port=port) as broker:
            yield broker.url
        return
    try:
        yield f"mqtt://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait(10)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _city(folder: Path, settings_file: Path, alarms: int) -> None:
    names = [f"GM-{i:04d}" for i in range(alarms)]
    nodes = [
        Node(asset_id("bench", "node", name), name, System.GAS, NodeKind.JUNCTION, Point(EASTING + 20 * i, NORTHING, 0))
        for i, name in enumerate(names)
    ]
    with City.create(folder / "city.gpkg", "EPSG:4549") as city:
        city.replace(Model("bench", "gis", Placement(Decision.PLACED, "bench", "EPSG:4549"), nodes=nodes), _now())
    devices = [_device(name, System.GAS, ("combustible_gas",), i) for i, name in enumerate(names)]
    devices += [_device(f"WP-{i:04d}", System.WATER, ("pressure",), i) for i in range(BACKGROUND)]
    engine = connect(load(settings_file).operations_url())
    Registry(engine).put(devices)
    engine.dispose()


def _device(name: str, system: System, quantities: tuple[str, ...], place: int) -> Device:
    units = {"combustible_gas": "%LEL", "pressure": "MPa"}
    points = tuple(Measured(quantity, quantity, units[quantity]) for quantity in quantities)
    where = EASTING + 20 * place
    return Device(DeviceId(name), "bench", system, points, timedelta(hours=1), easting=where, northing=NORTHING)


def _now() -> datetime:
    return datetime.now(UTC)


@contextmanager
def _process(*words: str) -> Iterator[None]:
    running = subprocess.Popen([sys.executable, "-m", "dashboards", *words], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.terminate()
        running.wait(20)


def _status(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"{url}api/v1/status", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {"ingest": {"connected": False, "rate": None}}


def _wait(done: Any, timeout_s: float = 90.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit("the stack did not come up")
        time.sleep(0.2)


@contextmanager
def _page(url: str) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 4000})
        page.goto(url)
        page.locator(".alarm-list .ag-root").wait_for(timeout=60_000)
        page.locator(".city-map-phase").wait_for(state="detached", timeout=60_000)
        page.evaluate(WATCH)
        yield page
        browser.close()


@contextmanager
def _background(broker: str, rate: int) -> Iterator[Any]:
    """Publish `rate` readings a second, one a message; yields what was reached."""
    stop, sent, begun = threading.Event(), itertools.count(), time.monotonic()
    connection = Connection(Address.parse(broker), "bench-background").start()
    connection.wait(20)

    def publish() -> None:
        due = time.monotonic()
        while not stop.is_set():
            number = next(sent)
            body = {"v": 1, "ts": int(time.time() * 1000), "m": {"pressure": {"v": 0.31 + number % 97 * 1e-5}}}
            connection.publish(f"cim/v1/bench/water/WP-{number % BACKGROUND:04d}/data", json.dumps(body).encode())
            due += 1 / rate
            time.sleep(max(0.0, due - time.monotonic()))

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield lambda: next(sent) / (time.monotonic() - begun)
    finally:
        stop.set()
        thread.join()
        connection.close()


def _time_alarms(page: Page, broker: str, alarms: int) -> list[float]:
    connection = Connection(Address.parse(broker), "bench-alarms").start()
    connection.wait(20)
    page.wait_for_timeout(5000)
    published: dict[str, float] = {}
    for i in range(alarms):
        name = f"GM-{i:04d}"
        published[name] = time.time()
        body = {"v": 1, "ts": int(time.time() * 1000), "m": {"combustible_gas": {"v": 80.0}}}
        connection.publish(f"cim/v1/bench/gas/{name}/data", json.dumps(body).encode())
        page.wait_for_timeout(1000 + 37 * i % 500)  # not in step with the server's ticks
    page.wait_for_timeout(8000)
    connection.close()
    seen = page.evaluate("window.seen")
    return [seen[name] / 1000 - moment for name, moment in published.items() if name in seen]


def _calibration() -> float:
    begin = time.perf_counter()
    for _ in range(20):
        np.linalg.svd(np.arange(90_000, dtype=float).reshape(300, 300))
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
