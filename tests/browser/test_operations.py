"""What an operator sees and does, in a real browser on a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from dashboards.commands.ingest import worker_of
from dashboards.settings import clock_of, load
from ingest.broker.embedded import EmbeddedBroker
from ingest.group import Group
from ingest.mqtt.connection import Address, Connection
from sensors.detection import Detection, DetectionKind
from sensors.ingest_alarm import IngestRule, ingest_subject
from twin.city import City

from .conftest import DISTRICT, PATIENCE_MS, Pulse, Server, SmallCity, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.slow]
expect.set_options(timeout=PATIENCE_MS)

Visit = Callable[[], Visitor]


def row(page: Page, text: str) -> Any:
    return page.locator(".alarm-list .ag-row", has_text=text)


def acknowledge(page: Page, name: str) -> None:
    page.locator("#acknowledge-by").fill(name)
    page.locator("#acknowledge-send").click()


@pytest.mark.usefixtures("pulse")
def test_page_shows_city_sensors_and_counters(visit: Visit) -> None:
    page = visit().page
    expect(page.locator("h1")).to_have_text("试验片区")
    expect(page.locator("#connection")).to_contain_text("已连接")
    expect(page.locator("#count-devices")).to_contain_text("3")
    expect(page.locator(".city-map-phase")).to_have_count(0)
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.get_by_role("grid").get_by_text("当前无报警")).to_be_visible()


@pytest.mark.usefixtures("pulse")
def test_the_ledger_is_on_the_page_and_what_ingest_says_of_itself_in_the_list(visit: Visit, city: SmallCity) -> None:
    page = visit().page
    expect(page.locator("#count-ledger")).to_have_text("平")
    city.spool.commit(Group(received=3))  # three readings that are nowhere
    expect(page.locator("#count-ledger")).to_have_text("差 3 条")
    own = Detection(
        ingest_subject("hewan"),
        IngestRule.LEDGER,
        DetectionKind.INGEST,
        active=True,
        level=1,
        time=1_767_225_600_000,
        value=3.0,
    )
    city.alarms.apply([own])
    expect(page.locator("#count-1")).to_have_text("1")
    listed = page.get_by_role("grid").get_by_text("hewan 数据接入：账目不平，3 条读数去向不明。")
    expect(listed).to_be_visible()
    listed.click()
    expect(page.locator("#card-title")).to_have_text("数据接入")
    expect(page.locator(".card-alarm")).to_contain_text("账目不平")


@pytest.mark.usefixtures("pulse")
def test_alarm_appears_flies_to_its_place_and_shows_its_trend(visit: Visit, city: SmallCity) -> None:
    page = visit().page
    for minutes in range(60, 0, -1):
        city.read("DL-0001", 0.3 + minutes / 1000, ago=timedelta(minutes=minutes))
    expect(page.locator(".city-map-phase")).to_have_count(0)
    city.raise_alarm("DL-0001", 1, 2.5, 1.8)
    expect(page.locator("#count-1")).to_have_text("1")
    expect(page.locator(".mark.level-1.unacknowledged")).to_be_visible()
    row(page, "DL-0001").locator(".alarm-text").click()
    expect(page.locator("#card-title")).to_contain_text("DL-0001")
    expect(page.locator(".card-alarm")).to_contain_text("超过一级红限值")
    expect(page.locator(".chosen-ring")).to_be_visible()
    expect(page.locator("#trend .main-svg").first).to_be_visible()


@pytest.mark.usefixtures("pulse")
def test_trend_is_lengthened_by_readings_of_its_own_point_only(visit: Visit, city: SmallCity) -> None:
    page = visit().page
    for minutes in range(60, 0, -1):
        city.read("DL-0001", 0.3 + minutes / 1000, ago=timedelta(minutes=minutes))
    city.raise_alarm("DL-0001", 1, 2.5, 1.8)
    row(page, "DL-0001").locator(".alarm-text").click()
    expect(page.locator("#trend .main-svg").first).to_be_visible()
    lengthen = """(device) => dash_clientside.operations.lengthen(
        {of: {device, point: 'level', after: 5}, x: ['2026-01-01'], y: [100], most: 9, tail: {device}},
        {device: 'DL-0001', point: 'level', after: 5})[1].device"""
    assert page.evaluate(lengthen, "DL-0001") == "DL-0001"
    assert page.evaluate(lengthen, "GM-0001") is None  # asked about what was chosen before
    city.read("DL-0001", 0.777, ago=timedelta(0))  # among those of the pulse, which go on
    drawn = "document.querySelector('#trend .js-plotly-plot').data[0].y"
    page.wait_for_function(f"() => {drawn}.includes(0.777)", timeout=PATIENCE_MS)


@pytest.mark.usefixtures("pulse")
def test_acknowledging_needs_a_name_and_is_kept(visit: Visit, city: SmallCity) -> None:
    alarm = city.raise_alarm("GM-0001", 2, 0.3, 0.25)
    page = visit().page
    row(page, "GM-0001").get_by_role("button").click()
    page.locator("#acknowledge-send").click()
    expect(page.get_by_text("请填写姓名")).to_be_visible()
    acknowledge(page, "张建国")
    expect(row(page, "GM-0001")).to_contain_text("张建国")
    assert city.alarms.get(alarm.id).acknowledged_by == "张建国"


@pytest.mark.usefixtures("pulse")
def test_of_two_operators_the_second_is_told_who_was_faster(visit: Visit, city: SmallCity) -> None:
    alarm = city.raise_alarm("WP-0001", 1, 80_000.0, 100_000.0)
    first, second = visit().page, visit().page
    for page in (first, second):
        row(page, "WP-0001").get_by_role("button").click()
        expect(page.locator("#acknowledge-what")).to_contain_text("WP-0001")
    acknowledge(first, "张建国")
    expect(row(first, "WP-0001")).to_contain_text("张建国")
    acknowledge(second, "李秀英")
    expect(second.locator("#acknowledge-trouble")).to_contain_text("张建国")
    assert city.alarms.get(alarm.id).acknowledged_by == "张建国"


@pytest.mark.usefixtures("pulse")
def test_order_holds_under_the_pointer_and_new_alarms_wait_at_the_end(visit: Visit, city: SmallCity) -> None:
    city.raise_alarm("GM-0001", 3, 0.1, 0.05)
    page = visit().page
    row(page, "GM-0001").locator(".alarm-text").hover()
    city.raise_alarm("WP-0001", 1, 80_000.0, 100_000.0)
    expect(page.locator("#alarms-waiting")).to_contain_text("1 条新报警")
    expect(page.locator('.ag-row[row-index="0"]')).to_contain_text("GM-0001")
    page.locator("h1").hover()
    expect(page.locator('.ag-row[row-index="0"]')).to_contain_text("WP-0001")


def test_stale_data_is_said_and_never_drawn_as_normal(visit: Visit, city: SmallCity) -> None:
    city.read("DL-0001", 0.4, ago=timedelta(minutes=10))
    city.beat()
    page = visit().page
    expect(page.locator("#banner")).to_contain_text("数据接入已停止")
    expect(page.locator("#banner")).to_be_visible()


def test_page_recovers_from_a_restart_of_the_server(
    visit: Visit, city: SmallCity, server: Server, pulse: Pulse
) -> None:
    visitor = visit()
    page = visitor.page
    expect(page.locator("#connection")).to_contain_text("已连接")
    visitor.forgiven = True
    server.stop()
    expect(page.locator("#banner")).to_contain_text("连接已中断")
    city.raise_alarm("DL-0001", 2, 2.0, 1.8)
    server.start()
    expect(page.locator("#connection")).to_contain_text("已连接")
    expect(row(page, "DL-0001")).to_be_visible()
    expect(page.locator("#banner")).to_be_hidden()
    del pulse


@pytest.mark.usefixtures("pulse")
def test_english_day_and_phone(visit: Visit, city: SmallCity, server: Server) -> None:
    city.raise_alarm("DL-0001", 2, 2.0, 1.8)
    page = visit().page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{server.url}?lang=en")
    expect(page.get_by_text("Connected")).to_be_visible()
    expect(row(page, "DL-0001").get_by_role("button", name="Ack")).to_be_in_viewport()
    page.locator("#theme").get_by_text("Day").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "day")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    alarms, map_pane = page.locator(".alarms").bounding_box(), page.locator(".map-pane").bounding_box()
    assert alarms is not None
    assert map_pane is not None
    assert alarms["y"] < map_pane["y"]


@pytest.mark.usefixtures("pulse")
def test_a_city_loaded_anew_is_drawn_anew(visit: Visit, city: SmallCity) -> None:
    page = visit().page
    expect(page.locator(".city-map-phase")).to_have_count(0)
    with City.open(city.folder / "city.gpkg") as opened:
        revision = opened.revision()
    with page.expect_response(lambda answer: f"revision={revision + 1}" in answer.url):
        city._load()


@contextmanager
def ingesting(city: SmallCity) -> Iterator[Connection]:
    """A real broker and a real ingest worker; yields a device's connection."""
    with EmbeddedBroker() as broker:
        path = city.folder / "chengmai.toml"
        path.write_text(path.read_text("utf-8") + f'[mqtt]\nurl = "{broker.url}"\n', encoding="utf-8")
        settings = load(path)
        stop = Event()
        with worker_of(settings, clock_of(settings)) as worker:
            running = Thread(target=worker.run, args=(stop,))
            running.start()
            device = Connection(Address.parse(broker.url), "GM-0001").start()
            device.wait(20)
            try:
                yield device
            finally:
                device.close()
                stop.set()
                running.join()


def test_published_reading_becomes_an_alarm_at_its_place(visit: Visit, city: SmallCity) -> None:
    page = visit().page
    expect(page.locator(".city-map-phase")).to_have_count(0)
    with ingesting(city) as device:
        expect(page.locator("#banner")).to_have_text("尚未收到任何读数")  # ingest lives and has its broker
        for seq in range(3):
            reading = {
                "v": 1,
                "boot": 1,
                "seq": seq,
                "ts": int(time.time() * 1000),
                "m": {"combustible_gas": {"v": 61.0}},
            }
            device.publish(f"cim/v1/{DISTRICT}/gas/GM-0001/data", json.dumps(reading).encode())
            time.sleep(0.3)
        found = row(page, "GM-0001")
        expect(found).to_contain_text("可燃气体")
        expect(page.locator("#banner")).to_be_hidden()
        mark = page.get_by_role("button", name="GM-0001").and_(page.locator(".mark.level-1"))
        expect(mark).to_be_visible()
        found.locator(".alarm-text").click()
        pane = page.locator(".city-map").bounding_box()
        page.wait_for_timeout(1500)
        spot = mark.bounding_box()
    assert pane is not None
    assert spot is not None
    # The map has flown to the alarm: its mark stands in the middle.
    assert abs(spot["x"] + spot["width"] / 2 - (pane["x"] + pane["width"] / 2)) < 30
    assert abs(spot["y"] + spot["height"] / 2 - (pane["y"] + pane["height"] / 2)) < 30


@pytest.mark.usefixtures("pulse")
def test_clicking_a_pipe_shows_its_properties(visit: Visit, city: SmallCity) -> None:
    city.raise_alarm("DL-0001", 1, 2.5, 1.8)
    page = visit().page
    expect(page.locator(".city-map-phase")).to_have_count(0)
    row(page, "DL-0001").locator(".alarm-text").click()
    expect(page.locator("#card-title")).to_contain_text("DL-0001")
    page.locator("#card-close").click()
    page.wait_for_timeout(1500)
    mark = page.locator(".mark.level-1").bounding_box()
    assert mark is not None
    # The alarm stands on a manhole between two pipes that run east and west.
    page.mouse.click(mark["x"] + mark["width"] / 2 + 70, mark["y"] + mark["height"] / 2)
    expect(page.locator("#card-title")).to_have_text("P1")
    expect(page.locator("#card-facts")).to_contain_text("HDPE")
