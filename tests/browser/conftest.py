"""A real server on real databases, and a real Chromium that is let out of the machine for nothing."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvicorn
from shapely import LineString, MultiPolygon, Point, box

from dashboards.commands.serve import application
from dashboards.settings import Settings, load
from ingest.spool import Spool
from ingest.store.sqlite import SqliteStore
from sensors.alarm_log import AlarmLog
from sensors.clock import SystemClock, to_ms
from sensors.detection import Detection, DetectionKind, Subject
from sensors.device import Device, DeviceId
from sensors.device import Point as Measured
from sensors.operations import connect
from sensors.reading import Batch
from sensors.registry import Registry
from tests.ingest.well import well
from twin.asset import Building, Link, LinkKind, Node, NodeKind, System, asset_id
from twin.city import City
from twin.model import Decision, Model, Placement

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--force-color-profile=srgb",
]
PATIENCE_MS = 120_000  # software rendering on a busy machine: a whole district's answer took 24 s on one half idle
EASTING, NORTHING = 540_000.0, 3_350_000.0
DISTRICT = "hewan"


def node(name: str) -> str:
    return asset_id("net.inp", "node", name)


@dataclass
class SmallCity:
    """A street with three manholes, two pipes, a building; a pressure, a level and a gas device."""

    folder: Path
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        (self.folder / "chengmai.toml").write_text(
            f'[city]\ndistrict = "{DISTRICT}"\ntitle = "试验片区"\n', encoding="utf-8"
        )
        self._connect()
        self._load()
        self.registry.put(
            [
                self._device("WP-0001", System.WATER, "pressure", "MPa", 0),
                self._device("DL-0001", System.DRAINAGE, "level", "m", 1),
                self._device("GM-0001", System.GAS, "combustible_gas", "%LEL", 2),
            ]
        )

    def _connect(self) -> None:
        self.settings = load(self.folder / "chengmai.toml")
        self.engine = connect(self.settings.operations_url())
        self.registry = Registry(self.engine)
        self.alarms = AlarmLog(self.engine, SystemClock())
        self.store = SqliteStore(self.settings.store_url())
        self.spool = Spool(self.settings.resolve(self.settings.ingest.spool))

    def _device(self, name: str, system: System, quantity: str, unit: str, place: int) -> Device:
        return Device(
            DeviceId(name),
            DISTRICT,
            system,
            (Measured(quantity, quantity, unit),),
            timedelta(seconds=5),
            name=f"试验路{place}号",
            asset=node(f"J{place}"),  # pyright: ignore[reportArgumentType]
            easting=EASTING + 100 * place,
            northing=NORTHING,
        )

    def _load(self) -> None:
        nodes = [
            Node(node(f"J{i}"), f"J{i}", System.DRAINAGE, NodeKind.MANHOLE, Point(EASTING + 100 * i, NORTHING, 2))
            for i in range(3)
        ]
        links = [
            Link(
                asset_id("net.inp", "link", f"P{i}"),
                f"P{i}",
                System.DRAINAGE,
                LinkKind.PIPE,
                LineString([(EASTING + 100 * i, NORTHING, 2), (EASTING + 100 * i + 100, NORTHING, 2)]),
                diameter_m=0.6,
                material="HDPE",
            )
            for i in range(2)
        ]
        house = MultiPolygon([box(EASTING + 20, NORTHING + 20, EASTING + 70, NORTHING + 40)])
        buildings = [Building(asset_id("net.inp", "building", "B1"), "试验楼", house, height_m=18.0, residents=60)]
        placement = Placement(Decision.PLACED, "net.inp", "EPSG:4549")
        model = Model("net.inp", "epanet", placement, buildings=buildings, nodes=nodes, links=links)
        with City.open_or_create(self.folder / "city.gpkg", "EPSG:4549") as city:
            city.replace(model, datetime.now(UTC))

    def series(self, device: str) -> int:
        return self.registry.get(device).points[0].series

    def read(self, device: str, value: float, *, ago: timedelta = timedelta()) -> None:
        """Put one reading (SI) into the store, as ingest does."""
        moment = to_ms(datetime.now(UTC) - ago)
        one = np.array([self.series(device)], np.int32)
        self.store.write(
            Batch(one, np.array([moment]), np.array([value]), np.ones(1, np.uint8), np.zeros(1, bool), moment)
        )

    def raise_alarm(self, device: str, level: int, value: float, limit: float) -> Any:
        point = self.registry.get(device).points[0]
        detection = Detection(
            Subject(f"point:{device}/{point.name}"),
            f"{point.quantity}_high",
            DetectionKind.LIMIT,
            active=True,
            level=level,
            time=to_ms(datetime.now(UTC)),
            value=value,
            limit=limit,
            quantity=point.quantity,
        )
        return self.alarms.apply([detection])[0]

    def beat(self, *, connected: bool = True) -> None:
        """Write ingest's heart-beat."""
        self.spool.beat(well(datetime.now(UTC), connected=connected, district=DISTRICT, readings_per_s=0.6))

    def close(self) -> None:
        self.store.close()
        self.spool.close()
        self.engine.dispose()


class DistrictCity(SmallCity):
    """The sample district and its devices, in the demo's folder: what `demo_folder` of tests/conftest.py has made."""

    def __post_init__(self) -> None:
        self._connect()


@pytest.fixture
def city(tmp_path: Path) -> Iterator[SmallCity]:
    small = SmallCity(tmp_path)
    yield small
    small.close()


class Pulse:
    """Ingest's heart-beat and fresh readings, once a second, until stopped."""

    def __init__(self, city: SmallCity) -> None:
        self._city = city
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._city.beat()
            for device, value in (("WP-0001", 310_000.0), ("DL-0001", 0.4), ("GM-0001", 0.02)):
                self._city.read(device, value)
            if self._stop.wait(1.0):
                return

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def pulse(city: SmallCity) -> Iterator[Pulse]:
    running = Pulse(city)
    yield running
    running.stop()


class Server:
    """The operations view on a loopback port that it keeps over restarts."""

    def __init__(self, city: SmallCity) -> None:
        self._city = city
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()

    def start(self) -> None:
        app = application(self._city.settings, self._city.folder / "city.gpkg")
        config = uvicorn.Config(app, port=self.port, log_level="error", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_until(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()


def wait_until(done: Callable[[], object], timeout_s: float = PATIENCE_MS / 1000) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.fixture
def server(city: SmallCity) -> Iterator[Server]:
    running = Server(city)
    yield running
    running.stop()


@pytest.fixture(scope="module")  # while it lives, Playwright's event loop counts as running: none can be started
def chromium() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM} (apt-get install chromium fonts-noto-cjk)")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


class Visitor:
    """A browser of its own with a page on the server; what it must not do is noted and fails the test."""

    def __init__(self, chromium: Any, url: str) -> None:
        self.context = chromium.new_context(
            viewport={"width": 1440, "height": 900},
            locale="zh-CN",
            timezone_id="Asia/Shanghai",
            reduced_motion="reduce",
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.wrongs: list[str] = []
        self.forgiven = False
        """While the server is away a browser reports every attempt to reach it."""
        home = (url, url.replace("http", "ws"), "data:", "blob:")
        self.page.route(lambda url: not url.startswith(home), self._outside)
        self.page.on("pageerror", lambda error: self.wrongs.append(f"page error: {error}"))
        self.page.on("console", self._said)
        self.page.goto(url)

    def _outside(self, route: Any) -> None:
        self.wrongs.append(f"left the machine: {route.request.url}")
        route.abort()

    def _said(self, message: Any) -> None:
        if message.type == "error" and not self.forgiven:
            self.wrongs.append(f"console: {message.text}")

    def close(self) -> None:
        self.context.close()
        assert not self.wrongs, self.wrongs


@pytest.fixture
def visit_url(chromium: Any) -> Iterator[Callable[[str], Visitor]]:
    visitors: list[Visitor] = []

    def come(url: str) -> Visitor:
        visitors.append(Visitor(chromium, url))
        return visitors[-1]

    yield come
    for visitor in visitors:
        visitor.close()


@pytest.fixture
def visit(server: Server, visit_url: Callable[[str], Visitor]) -> Callable[[], Visitor]:
    # In this order: the pages are closed before their server goes away.
    return lambda: visit_url(server.url)
