"""What an event touches, as an operator asks it: from the alarm to the valves, buildings and candidates on the map."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from playwright.sync_api import expect

from .asking import ask, choose, drawn, listed
from .conftest import DistrictCity, Server, Visitor, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(600)]

MANHOLE, MAIN_DISTRICT = "drainage.inp:node:WS202", "water.inp:link:FM-1"
"""Where the demo's gas leak is smelt; the meter of the district in which its script breaks a main."""


class Event:
    """The district with the two alarms that the demo's burst and gas leak raise; `ask` is what a program is told."""

    def __init__(self, folder: Path) -> None:
        self.city = DistrictCity(folder)
        on = {(device.asset, device.system): device.id for device in self.city.registry.devices()}
        self.flow = next(name for (asset, system), name in on.items() if asset == MAIN_DISTRICT and system == "water")
        self.nose = next(name for (asset, system), name in on.items() if asset == MANHOLE and system == "gas")
        self.alarms = [self.city.raise_alarm(self.flow, 2, 0.02, 0.01), self.city.raise_alarm(self.nose, 1, 0.6, 0.5)]
        self.server = Server(self.city)
        wait_until(lambda: self.ask("devices"))
        self.ask(f"devices/{self.flow}/impact")  # a machine that never traced compiles its kernels now
        self.ask(f"devices/{self.nose}/adjacency")

    def ask(self, path: str) -> Any:
        with urlopen(f"{self.server.url}api/v1/{path}", timeout=300) as answer:
            return json.load(answer)

    def close(self) -> None:
        self.server.stop()
        self.city.close()


@pytest.fixture(scope="module")
def event(demo_folder: Path) -> Iterator[Event]:
    running = Event(demo_folder)
    yield running
    running.close()


def assets(answer: Any, role: str) -> list[str]:
    features = answer["features"]["features"]
    return sorted({f["properties"]["asset"] for f in features if f["properties"]["role"] == role})


def test_from_the_burst_alarm_to_the_valves_and_back(event: Event, visit_url: Callable[[str], Visitor]) -> None:
    page = visit_url(event.server.url).page
    choose(page, event.flow)
    expect(page.locator(".answer")).to_have_count(0)  # nobody asked yet
    ask(page, "impact")
    told = event.ask(f"devices/{event.flow}/impact")
    valves = [valve["asset"] for valve in told["detail"]["valves"]]
    assert valves
    assert listed(page, "valve") == valves
    buildings = listed(page, "sensitive") + listed(page, "building")
    assert sorted(buildings) == assets(told, "building")
    expect(page.locator(".figures-row")).to_contain_text(f"{told['detail']['people']:,}")
    for role in ("valve", "next_valve", "building", "hydrant"):
        wait_until(lambda role=role: drawn(page, role) == assets(told, role))
    assert set(drawn(page, "segment")) <= set(assets(told, "segment"))
    assert drawn(page, "segment")

    page.locator(".rows.valve .stuck").first.click()
    expect(page.locator(".rows.stuck-valves")).to_have_count(1)
    after = event.ask(f"devices/{event.flow}/impact?stuck={valves[0]}")
    assert listed(page, "valve") == [valve["asset"] for valve in after["detail"]["valves"]]
    wait_until(lambda: drawn(page, "valve") == assets(after, "valve"))

    page.locator(".answer-head button").click()
    expect(page.locator(".answer")).to_have_count(0)
    expect(page.locator("#card-facts")).to_be_visible()
    wait_until(lambda: not any(drawn(page, role) for role in ("valve", "segment", "building", "hydrant")))


def test_from_gas_in_a_manhole_to_the_pipes_it_may_come_from(event: Event, visit_url: Callable[[str], Visitor]) -> None:
    page = visit_url(event.server.url).page
    choose(page, event.nose)
    ask(page, "adjacency")
    told = event.ask(f"devices/{event.nose}/adjacency")
    ranked = [each["link"] for each in told["detail"]["candidates"]]
    assert ranked
    assert listed(page, "candidate") == ranked
    along = told["detail"]["along_m"]
    reached = listed(page, "manhole")
    assert sorted(reached) == sorted(told["detail"]["reach_manholes"])
    assert [along[asset] for asset in reached] == sorted(along[asset] for asset in reached)
    for role in ("manhole", "drain", "candidate"):
        wait_until(lambda role=role: drawn(page, role) == assets(told, role))

    page.locator(".rows.candidate button.name").first.click()  # flies to the likeliest
    centre = "() => document.querySelector('.city-map-canvas').cityMap.getCenter().toArray()"
    place = json.loads(page.locator(".rows.candidate button.name").first.get_attribute("id") or "{}")["at"]
    wanted = [float(part) for part in place.split(",")]
    wait_until(lambda: max(abs(a - b) for a, b in zip(page.evaluate(centre), wanted, strict=True)) < 1e-4)

    page.locator("#card-close").click()
    expect(page.locator("#card")).to_be_hidden()
    wait_until(lambda: not any(drawn(page, role) for role in ("manhole", "drain", "candidate")))


def test_what_cannot_be_answered_is_said_in_the_card(event: Event, visit_url: Callable[[str], Visitor]) -> None:
    page = visit_url(event.server.url).page
    choose(page, event.nose)
    page.evaluate(
        "dash_clientside.set_props('question', {data: {asset: 'gone', kind: 'impact', system: '', stuck: [], at: 1}})"
    )
    expect(page.locator(".answer [role=alert]")).to_contain_text("E_UNKNOWN")


def test_an_answer_fits_a_phone_in_english_by_day(event: Event, visit_url: Callable[[str], Visitor]) -> None:
    page = visit_url(event.server.url).page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{event.server.url}?lang=en")
    page.locator("#theme").get_by_text("Day").click()
    choose(page, event.nose)
    ask(page, "adjacency")
    expect(page.locator(".answer-head")).to_contain_text("Gas reach")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#card").scroll_into_view_if_needed()
    expect(page.locator(".answer-head button")).to_be_in_viewport()
