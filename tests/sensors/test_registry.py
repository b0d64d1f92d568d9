import json
from dataclasses import replace
from datetime import date, timedelta

import pytest

from sensors.device import Device, DeviceId, Point
from sensors.registry import Registry, read_devices
from twin.asset import System
from twin.errors import InputError, UnknownError

PRESSURE = Point("pressure", "pressure", "MPa", low=0.0, high=1e6)
FLOW = Point("flow", "flow", "m3/h")


def device(name, *points):
    return Device(DeviceId(name), "test", System.WATER, points or (PRESSURE,), timedelta(seconds=5))


@pytest.fixture
def registry(engine):
    return Registry(engine)


def series(registry):
    return {(each.id, point.name): point.series for each in registry.devices() for point in each.points}


def test_series_are_dense_from_zero(registry):
    registry.put([device("A", PRESSURE, FLOW), device("B")])
    assert sorted(series(registry).values()) == [0, 1, 2, 3, 4]


def test_series_stay_when_a_device_is_replaced(registry):
    before = series(registry)
    registry.put([replace(device("WP-1", FLOW, PRESSURE), name="new name")])
    after = series(registry)
    assert after["WP-1", "pressure"] == before["WP-1", "pressure"]
    assert registry.get("WP-1").name == "new name"
    assert [point.name for point in registry.get("WP-1").points] == ["flow", "pressure"]


def test_point_that_comes_back_fills_its_old_series(registry):
    registry.put([device("A", PRESSURE, FLOW)])
    before = series(registry)
    registry.put([device("A", PRESSURE)])
    registry.put([device("B")])
    assert ("A", "flow") not in series(registry)
    registry.put([device("A", PRESSURE, FLOW)])
    assert series(registry)["A", "flow"] == before["A", "flow"]
    assert len(set(series(registry).values())) == len(series(registry))


def test_version_grows_with_every_change(registry):
    before = registry.version()
    registry.put([device("A")])
    assert registry.version() > before


def test_unknown_device_is_said(registry):
    with pytest.raises(UnknownError, match="no such device"):
        registry.get("XX")


@pytest.mark.parametrize(
    "bad",
    [
        device("sla/sh"),
        device("A", Point("p", "presure", "MPa")),
        device("A", Point("p", "pressure", "m3/h")),
        device("A", PRESSURE, PRESSURE),
        device("A", replace(PRESSURE, low=2e6)),
        replace(device("A"), interval=timedelta(0)),
        replace(device("A"), interval=timedelta(microseconds=10)),
        replace(device("A"), points=()),
        replace(device("A"), address="opc/x"),
        replace(device("A"), address="hj212/"),
        replace(device("A"), address="spBv1.0/group/no+de"),
        device("A", PRESSURE, replace(FLOW, code="pressure")),
        device("A", replace(PRESSURE, calibrated=date(2026, 5, 1), calibration_due=date(2026, 5, 1))),
    ],
)
def test_bad_device_is_refused_and_nothing_is_half_put(registry, bad):
    before = registry.devices()
    with pytest.raises(InputError):
        registry.put([device("GOOD"), bad])
    assert registry.devices() == before


ENTRY = {
    "device": "WP-7",
    "district": "test",
    "system": "water",
    "interval_s": 60,
    "asset": "water.inp:node:J1",
    "easting": 1.0,
    "northing": 2.0,
    "address": "hj212/88888880000001",
    "points": [
        {
            "name": "pressure",
            "quantity": "pressure",
            "unit": "MPa",
            "low": 0,
            "high": 1e6,
            "code": "w01001",
            "calibrated": "2026-03-01",
            "calibration_due": "2027-03-01",
        }
    ],
}


def test_json_and_csv_lists_say_the_same(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps([ENTRY]), "utf-8")
    (tmp_path / "d.csv").write_text(
        "device,district,system,interval_s,asset,easting,northing,address,point,quantity,unit,low,high,crown_m,code,"
        "calibrated,calibration_due\n"
        "WP-7,test,water,60,water.inp:node:J1,1,2,hj212/88888880000001,pressure,pressure,MPa,0,1e6,,w01001,"
        "2026-03-01,2027-03-01\n",
        "utf-8-sig",
    )
    found = read_devices(tmp_path / "d.json")
    assert found == read_devices(tmp_path / "d.csv")
    assert found[0].points[0].calibration_due == date(2027, 3, 1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"system": "wter"}, "device 2"),
        ({"sistem": "water"}, "sistem"),
        ({"interval_s": "often"}, "interval_s"),
        ({"interval_s": 1e300}, "interval_s"),
        ({"device": "WP 8"}, "WP 8"),
        ({"points": [{"name": "p", "quantity": "pressure", "unit": "m3"}]}, "m3"),
        ({"device": "WP-7"}, "twice"),
        ({"points": [{**ENTRY["points"][0], "calibrated": "1 March"}]}, "calibrated"),
    ],
)
def test_bad_row_is_named(tmp_path, change, says):
    path = tmp_path / "d.json"
    path.write_text(json.dumps([ENTRY, {**ENTRY, "device": "WP-8", **change}]), "utf-8")
    with pytest.raises(InputError, match=says) as error:
        read_devices(path)
    assert "device 2" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "code"),
    [(None, "E_MISSING"), (b"", "E_FORMAT"), (b"[]", "E_EMPTY"), (b"{", "E_FORMAT"), (b"\xff\xfe[", "E_ENCODING")],
)
def test_bad_file_has_a_code(tmp_path, content, code):
    path = tmp_path / "d.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        read_devices(path)
    assert error.value.code == code


def test_bad_csv_row_and_column_are_named(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("device,colour\nA,red\n", "utf-8")
    with pytest.raises(InputError, match="colour"):
        read_devices(path)
    head = "device,district,system,interval_s,point,quantity,unit\n"
    path.write_text(f"{head}A,t,water,5,p,pressure,MPa\nB,t,water,x,p,pressure,MPa\n", "utf-8")
    with pytest.raises(InputError, match="row 3"):
        read_devices(path)


def test_devices_follow_an_asset_to_its_new_id_and_others_stay(registry):
    registry.put([replace(device(name), asset=asset) for name, asset in (("A", "x:1"), ("B", "x:2"), ("C", None))])
    before, numbers = registry.version(), series(registry)
    assert registry.rebind({"x:1": "x:9", "x:7": "x:8"}) == ["A"]
    assert {each: registry.get(each).asset for each in "ABC"} == {"A": "x:9", "B": "x:2", "C": None}
    assert registry.version() == before + 1
    assert series(registry) == numbers
    assert registry.rebind({"x:1": "x:9"}) == []
    assert registry.version() == before + 1


def test_ids_that_change_places_take_their_devices_along(registry):
    registry.put([replace(device(name), asset=asset) for name, asset in (("A", "x:1"), ("B", "x:2"))])
    registry.rebind({"x:1": "x:2", "x:2": "x:1"})
    assert {each: registry.get(each).asset for each in "AB"} == {"A": "x:2", "B": "x:1"}


def test_whole_device_comes_back_as_it_was_put(registry, tmp_path):
    path = tmp_path / "d.json"
    path.write_text(json.dumps([ENTRY]), "utf-8")
    (given,) = read_devices(path)
    registry.put([given])
    stored = registry.get("WP-7")
    assert replace(stored, points=(replace(stored.points[0], series=-1),)) == given


def test_devices_of_a_district_are_streamed_with_their_points(registry):
    dated = replace(PRESSURE, calibrated=date(2026, 5, 1))
    many = [replace(device(f"D-{n:05d}", dated, FLOW), district="east" if n % 2 else "west") for n in range(11_000)]
    registry.put(many)
    east = list(registry.each("east"))
    assert [each.id for each in east] == [each.id for each in many if each.district == "east"]
    assert all([point.name for point in each.points] == ["pressure", "flow"] for each in east)
    assert len({point.series for each in east for point in each.points}) == 2 * len(east)
    assert list(registry.each()) == registry.devices()
    assert len({id(point.unit) for each in east for point in each.points}) == 2  # shared, not copied
    assert len({id(each.points[0].calibrated) for each in east}) == 1
    assert registry.count() == len(registry.devices())


def test_registry_can_be_written_while_somebody_reads_it_half_way(registry):
    registry.put([device(name) for name in "ABC"])
    half = registry.each()
    first = next(half)
    registry.put([device("Z")])
    assert "Z" not in {first.id, *(each.id for each in half)}  # one picture, as it was at the start
    assert registry.get("Z").id == "Z"


def test_retired_device_keeps_its_series_and_is_told_once(registry):
    registry.put([device("A")])
    before, numbers = registry.version(), series(registry)
    assert registry.retire("A").retired
    assert registry.version() == before + 1
    assert registry.retire("A").retired
    assert registry.version() == before + 1
    assert series(registry) == numbers
    with pytest.raises(UnknownError):
        registry.retire("XX")


def test_address_belongs_to_one_device(registry):
    registry.put([replace(device("A"), address="hj212/1"), replace(device("B"), address="hj212/2")])
    before = registry.devices()
    with pytest.raises(InputError, match="that of A"):
        registry.put([replace(device("C"), address="hj212/1")])
    with pytest.raises(InputError, match="that of C"):
        registry.put([replace(device(name), address="hj212/3") for name in "CD"])
    assert registry.devices() == before


def test_addresses_change_places(registry):
    registry.put([replace(device("A"), address="hj212/1"), replace(device("B"), address="hj212/2")])
    registry.put([replace(device("A"), address="hj212/2"), replace(device("B"), address="hj212/1")])
    assert (registry.get("A").address, registry.get("B").address) == ("hj212/2", "hj212/1")
