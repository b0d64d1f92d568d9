"""The HTTP interface on a real city, registry, alarm log and store, over a real server."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import mapbox_vector_tile
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from dashboards.city_view import CityView
from dashboards.queries import OFFLINE, UNACKNOWLEDGED, Observer
from ingest.watch.heartbeats import Heartbeats
from sensors.clock import SystemClock

from ..browser.conftest import DISTRICT, Server, SmallCity, wait_until  # noqa: TID252 - one small city for both folders


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallCity]:
    small = SmallCity(tmp_path_factory.mktemp("city"))
    yield small
    small.close()


@pytest.fixture(scope="module")
def server(city: SmallCity) -> Iterator[Server]:
    running = Server(city)
    wait_until(lambda: ask(running, "health")[0] == 200)
    yield running
    running.stop()


def ask(server: Server, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, _decoded(answer)
    except urllib.error.HTTPError as error:
        return error.code, _decoded(error)


def _decoded(answer: Any) -> Any:
    content = answer.read()
    return json.loads(content) if "json" in (answer.headers.get("content-type") or "") else content


def test_unknown_api_path_is_404_in_json_and_never_a_page(server: Server) -> None:
    for path in ("api", "api/v1/nothing", "tiles/1/2/3.png", "models/none.glb"):
        status, body = ask(server, path)
        assert status == 404
        assert body["error"] == "E_UNKNOWN"


def test_pages_are_served_after_the_interface(server: Server) -> None:
    status, body = ask(server, "")
    assert status == 200
    assert b"_dash-component-suites" in body


def test_tiles_hold_the_city_and_are_empty_elsewhere(server: Server) -> None:
    import gzip
    import math

    west, south, east, north = ask(server, "api/v1/map")[1]["bounds"]
    longitude, latitude = math.radians((west + east) / 2), math.radians((south + north) / 2)
    side = 2**14
    x = int((longitude / math.pi + 1) / 2 * side)
    y = int((1 - math.asinh(math.tan(latitude)) / math.pi) / 2 * side)
    status, body = ask(server, f"tiles/14/{x}/{y}.mvt")
    assert status == 200
    assert {"links", "nodes", "buildings"} <= mapbox_vector_tile.decode(gzip.decompress(body)).keys()
    assert ask(server, "tiles/14/0/0.mvt")[0] == 204


def test_sensors_are_numbered_by_their_place_in_the_device_list(server: Server) -> None:
    wait_until(lambda: len(ask(server, "api/v1/devices")[1]) == 3)
    devices = ask(server, "api/v1/devices")[1]
    features = ask(server, "api/v1/map/sensors")[1]["features"]
    assert [devices[feature["id"]]["device"] for feature in features] == [f["properties"]["device"] for f in features]
    assert all(119 < feature["geometry"]["coordinates"][0] < 121 for feature in features)


def test_assets_tell_what_is_known(server: Server) -> None:
    status, body = ask(server, "api/v1/assets/net.inp:link:P0")
    assert status == 200
    assert body["diameter_m"] == 0.6
    assert ask(server, "api/v1/assets/net.inp:link:P9")[0] == 404


def test_acknowledgement_needs_the_newest_version(server: Server, city: SmallCity) -> None:
    alarm = city.raise_alarm("DL-0001", 1, 2.0, 1.8)
    path = f"api/v1/alarms/{alarm.id}/acknowledge"
    status, body = ask(server, path, {"by": "张建国", "version": alarm.version})
    assert status == 200
    assert body["acknowledged_by"] == "张建国"
    assert ask(server, path, {"by": "李秀英", "version": alarm.version})[0] == 409
    assert ask(server, "api/v1/alarms/999999/acknowledge", {"by": "李秀英", "version": 1})[0] == 404


@pytest.mark.parametrize("body", [{}, {"by": "x"}, {"by": 1, "version": 1}, {"by": "x", "version": 1, "extra": 0}, []])
def test_malformed_acknowledgement_is_refused(server: Server, body: Any) -> None:
    assert ask(server, "api/v1/alarms/1/acknowledge", body)[0] == 422


@pytest.mark.parametrize("path", ["api/v1/alarms/1/acknowledge", "_dash-update-component"])
def test_another_sites_page_cannot_acknowledge(server: Server, path: str) -> None:
    for origin in ("http://evil.example", "null", "http://["):
        status, body = ask(server, path, {"by": "x", "version": 1}, Origin=origin)
        assert (status, body["error"]) == (403, "E_ORIGIN"), origin


def test_a_foreign_name_that_points_here_is_refused(server: Server) -> None:
    status, body = ask(server, "api/v1/alarms", Host="evil.example", Origin="http://evil.example")
    assert (status, body["error"]) == (403, "E_ORIGIN")
    assert "web.names" in body["message"]
    assert ask(server, "api/v1/alarms", Host=f"localhost:{server.port}")[0] == 200


def test_an_alarm_number_that_no_database_holds_is_refused(server: Server) -> None:
    assert ask(server, f"api/v1/alarms/{10**23}")[0] == 422


def test_another_sites_page_gets_no_live_channel(server: Server) -> None:
    url = f"ws://127.0.0.1:{server.port}/live"
    with pytest.raises(InvalidStatus, match="403"):
        connect(url, origin=Origin("http://evil.example"))
    with connect(url, origin=Origin(f"http://127.0.0.1:{server.port}")) as line:
        assert json.loads(line.recv(timeout=20))["kind"] == "snapshot"


def test_an_endless_body_is_cut_off(server: Server) -> None:
    status, body = ask(server, "api/v1/alarms/1/acknowledge", {"by": "x" * 100_000, "version": 1})
    assert (status, body["error"]) == (413, "E_SIZE")


def test_status_says_that_ingest_never_ran_and_devices_were_never_heard(server: Server) -> None:
    wait_until(lambda: ask(server, "api/v1/status")[1]["devices"] == 3)
    status = ask(server, "api/v1/status")[1]
    assert status["ingest"]["alive"] is False
    assert status["stale"] is True
    assert status["offline"] == 3


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[tuple[SmallCity, Observer]]:
    city = SmallCity(tmp_path)
    view = CityView(tmp_path / "city.gpkg")
    yield (
        city,
        Observer(
            registry=city.registry,
            alarms=city.alarms,
            store=city.store,
            heartbeats=Heartbeats({DISTRICT: city.spool.path}),
            city=view,
            clock=SystemClock(),
        ),
    )
    view.close()
    city.close()


def test_states_are_level_unacknowledged_and_offline(observed: tuple[SmallCity, Observer]) -> None:
    city, observer = observed
    city.read("WP-0001", 310_000.0)
    city.read("DL-0001", 0.4, ago=timedelta(seconds=1))
    city.raise_alarm("DL-0001", 2, 2.0, 1.8)
    seen = observer.look()
    states = {device.id: state for device, state in zip(observer.device_list.devices, seen.states, strict=True)}
    assert states == {"WP-0001": 0, "DL-0001": 2 | UNACKNOWLEDGED, "GM-0001": OFFLINE}
    assert [row["device"] for row in seen.put] == ["DL-0001"]
    assert not observer.look().put


def test_what_a_silent_sensor_said_last_is_no_figure_of_now(observed: tuple[SmallCity, Observer]) -> None:
    city, observer = observed
    city.read("WP-0001", 310_000.0)
    city.read("GM-0001", 0.9, ago=timedelta(hours=1))
    figures = observer.look().status["figures"]
    assert figures["water"]["value"] == 0.31
    assert figures["gas"]["value"] is None


def test_alarms_that_could_not_be_shown_are_shown_at_the_next_look(
    observed: tuple[SmallCity, Observer], monkeypatch: pytest.MonkeyPatch
) -> None:
    city, observer = observed
    observer.look()
    city.raise_alarm("DL-0001", 2, 2.0, 1.8)
    with monkeypatch.context() as broken:
        broken.setattr(CityView, "place", lambda *_: 1 / 0)
        seen = observer.look()
    assert not seen.put
    assert any("E_BUG alarms" in line for line in seen.status["trouble"])
    seen = observer.look()
    assert [row["device"] for row in seen.put] == ["DL-0001"]
    assert not seen.status["trouble"]


def test_alarms_of_a_device_that_moved_are_told_again(observed: tuple[SmallCity, Observer]) -> None:
    city, observer = observed
    city.raise_alarm("DL-0001", 2, 2.0, 1.8)
    observer.look()
    city.registry.put([replace(city.registry.get("DL-0001"), name="新名字")])
    assert [row["name"] for row in observer.look().put] == ["新名字"]
