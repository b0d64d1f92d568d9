"""The demo as a newcomer runs it: one command, within two minutes three faults stand as alarms, and what they touch.

Where the faults are is told by the simulation's log only; what they touch is worked out here from the city's tables.
"""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import networkx as nx
import pytest
import shapely
from playwright.sync_api import Page, expect
from shapely import Point

from dashboards.city_view import geometry_of
from twin import crs
from twin.asset import Link
from twin.city import City

from .asking import ask, choose, drawn, listed
from .conftest import Visitor, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
WITHIN_S = 120.0
NEAR_M = {"burst": 150.0, "gas_leak": 5.0, "blockage": 150.0}
"""How far from the fault the alarm's device may be: the reach in which the simulation looks for one."""
SYSTEMS = {"burst": ("WP-", "WF-"), "gas_leak": ("GM-",), "blockage": ("DL-", "DF-")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Demo:
    """`chengmai demo` in a process of its own."""

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.folder, self.port = folder / "demo", free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.output = folder / "output.txt"
        command = [sys.executable, "-m", "dashboards", "demo", "--folder", str(self.folder)]
        command += ["--port", str(self.port), "--mqtt-port", str(free_port())]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
            )

    def said(self, words: str) -> bool:
        assert self.process.poll() is None, self.output.read_text("utf-8")
        return words in self.output.read_text("utf-8")

    def alarms(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}api/v1/alarms", timeout=30) as answer:
            return json.load(answer)

    def faults(self) -> dict[str, str]:
        """Return the faults that have begun and their places: the truth, which only the simulation knows."""
        log = (self.folder / "logs" / "simulate.log").read_text("utf-8")
        return dict(re.findall(r"fault_begins .*?fault=(\S+) .*?place=(\S+)", re.sub(r"\x1b\[[0-9;]*m", "", log)))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def running(folder: Path, environment: dict[str, str] | None = None) -> Iterator[Demo]:
    demo = Demo(folder, environment)
    try:
        yield demo
    finally:
        if demo.process.poll() is None:
            demo.stop()


def metres_between(city: City, asset: str, lon_lat: tuple[float, float]) -> float:
    shape = geometry_of(city.asset(asset))
    assert shape is not None
    assert city.crs is not None
    corner = shape.centroid
    longitude, latitude = (float(v) for v in crs.to_lonlat(city.crs, corner.x, corner.y))
    east = (lon_lat[0] - longitude) * 111_320 * math.cos(math.radians(latitude))
    north = (lon_lat[1] - latitude) * 110_950
    return shape.distance(Point(corner.x + east, corner.y + north))


def shown_in_list(page: Page, device: str) -> bool:
    """Scroll the alarm list (only visible rows are drawn) until a row names the device."""
    rows = page.locator(".alarm-list .ag-row")
    body = page.locator(".alarm-list .ag-body-viewport").first
    for step in range(40):
        if rows.filter(has_text=device).count():
            return True
        body.evaluate("(element, top) => { element.scrollTop = top }", 300 * step)
        page.wait_for_timeout(150)
    return False


def is_fed(city: City, pipe: str, *, closed: Collection[str]) -> bool:
    """Return whether a reservoir or tank reaches a water pipe past the valves that are shut or `closed`."""
    links, nodes = city.table("links"), city.table("nodes")
    own = links.loc[pipe]
    water = links[(links["system"] == "water") & (links["status"] != "closed") & ~links.index.isin(list(closed))]
    pipes = nx.Graph(zip(water["start"], water["end"], strict=True))
    sources = set(nodes.index[nodes["kind"].isin(["reservoir", "tank"])])
    return bool(sources & nx.node_connected_component(pipes, own["start"]))


def click_on(page: Page, city: City, pipe: str) -> None:
    """Click on the middle of a pipe, on a map that looks straight down at it."""
    asset = city.asset(pipe)
    assert isinstance(asset, Link)
    assert asset.line is not None
    assert city.crs is not None
    middle = asset.line.interpolate(0.5, normalized=True)
    at = [float(v) for v in crs.to_lonlat(city.crs, middle.x, middle.y)]
    page.locator("#card-close").click()
    expect(page.locator("#card")).to_be_hidden()
    wait_until(lambda: page.evaluate(LOOK_AT, [at, pipe]))  # its tile may still be on the way
    page.mouse.click(*page.evaluate(LOOK_AT, [at, pipe]))
    expect(page.locator("#card-title")).to_have_text(asset.name)


LOOK_AT = """([at, asset]) => {
  const map = document.querySelector('.city-map-canvas').cityMap;
  map.jumpTo({center: at, zoom: 19.5, pitch: 0, bearing: 0});
  const point = map.project(at);
  if (!map.queryRenderedFeatures(point).some(({properties}) => properties.asset === asset)) return null;
  const {left, top} = map.getCanvas().getBoundingClientRect();
  return [left + point.x, top + point.y];
}"""


def gas_is_followed(page: Page, city: City, manhole: str, device: str) -> None:
    """The gas alarm's question finds the pipe nearest to the leak, and draws all that it lists."""
    choose(page, device)
    ask(page, "adjacency")
    links = city.table("links", placed_only=True)
    where = geometry_of(city.asset(manhole))
    gas = links[links["system"] == "gas"]
    nearest = str(gas.index.to_numpy()[int(shapely.distance(gas.geometry.to_numpy(), where).argmin())])
    beside = links[(links["system"] == "drainage") & ((links["start"] == manhole) | (links["end"] == manhole))]
    neighbours = {*beside["start"], *beside["end"]}
    ranked, reached = listed(page, "candidate"), listed(page, "manhole")
    assert nearest in ranked[:3]
    assert neighbours <= set(reached)
    wait_until(lambda: set(drawn(page, "candidate")) == set(ranked))
    wait_until(lambda: set(drawn(page, "manhole")) == set(reached))


def burst_is_closed_off(page: Page, city: City, pipe: str) -> None:
    """The burst main's valves cut it off from every source, none of them for nothing, and stand on the map."""
    click_on(page, city, pipe)
    ask(page, "impact")
    valves = listed(page, "valve")
    assert is_fed(city, pipe, closed=())
    assert not is_fed(city, pipe, closed=valves)
    assert all(is_fed(city, pipe, closed=set(valves) - {valve}) for valve in valves)
    wait_until(lambda: set(drawn(page, "valve")) == set(valves))
    assert pipe in drawn(page, "segment")
    assert drawn(page, "building")


def test_burst_gas_leak_and_blockage_stand_as_alarms_where_they_are(
    tmp_path: Path, visit_url: Callable[[str], Visitor]
) -> None:
    with running(tmp_path) as demo:
        wait_until(lambda: demo.said(demo.url), 240)
        begin = time.monotonic()
        visitor = visit_url(demo.url)
        found: dict[str, int] = {}

        def device(kind: str) -> str:  # a finding moves to where its evidence is best
            return next(alarm["device"] for alarm in demo.alarms() if alarm["id"] == found[kind])

        with City.open(demo.folder / "city.gpkg") as city:
            while found.keys() != NEAR_M.keys() and time.monotonic() - begin < WITHIN_S:
                time.sleep(2)
                for kind, asset in demo.faults().items():
                    for alarm in demo.alarms():
                        near = kind in NEAR_M and (alarm["device"] or "").startswith(SYSTEMS[kind])
                        if near and metres_between(city, asset, alarm["place"]) <= NEAR_M[kind]:
                            found.setdefault(kind, alarm["id"])
        assert found.keys() == NEAR_M.keys(), f"only {found} of {demo.faults()}: {demo.alarms()}"
        for kind in found:
            wait_until(lambda kind=kind: shown_in_list(visitor.page, device(kind)))
        with City.open(demo.folder / "city.gpkg") as city:
            wait_until(lambda: shown_in_list(visitor.page, device("gas_leak")))
            gas_is_followed(visitor.page, city, demo.faults()["gas_leak"], device("gas_leak"))
            burst_is_closed_off(visitor.page, city, demo.faults()["burst"])
        visitor.forgiven = True  # the page reports that its server goes away
        assert demo.stop() == 0
        assert demo.output.read_text("utf-8").rstrip().endswith("stopped")


def test_a_second_demo_is_told_which_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "dashboards", "demo", "--folder", str(tmp_path / "demo"), "--port", str(port)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert result.returncode == 1
    assert f"port {port} is taken" in result.stderr
    assert f"--port {port + 1}" in result.stderr


def test_the_wheel_alone_runs_the_demo_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = tmp_path.glob("chengmai-*.whl")
    installed = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(installed)

    outside = {"PYTHONPATH": str(installed)}
    where = [
        sys.executable,
        "-c",
        "import dashboards, sample_models; print(dashboards.__file__, sample_models.__file__)",
    ]
    found = subprocess.run(
        where, cwd=tmp_path, env={**os.environ, **outside}, capture_output=True, text=True, check=True, timeout=60
    )
    assert all(file.startswith(str(installed)) for file in found.stdout.split())
    with running(tmp_path, outside) as demo:
        wait_until(lambda: demo.said(demo.url), 240)
        with urllib.request.urlopen(demo.url, timeout=30) as page:
            assert page.status == 200
        assert demo.stop() == 0
