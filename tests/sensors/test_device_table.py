"""What a table gives back of the devices that went in, and what it costs."""

import tracemalloc
from dataclasses import replace
from datetime import date, timedelta

import pytest

from sensors.detection import checks
from sensors.device import Device, DeviceId, Point
from sensors.device_table import DeviceTable
from twin.asset import AssetId, System

FULL = Device(
    DeviceId("GM-1"),
    "hewan",
    System.GAS,
    (
        Point("p", "pressure", "kPa", 7, 0.0, 1e5, 0.8, 2.5, "a01", date(2025, 1, 2), date(2026, 1, 2)),
        Point("q", "flow", "m3/h", 3),
    ),
    timedelta(seconds=30),
    "阀井 1",
    AssetId("gas/valve/1"),
    500_000.25,
    3_400_000.5,
    "M-2",
    address="hj212/MN1",
)
BARE = Device(DeviceId("GM-2"), "hewan", System.GAS, (), timedelta(minutes=1))
DEVICES = [FULL, BARE, replace(FULL, id=DeviceId("GM-3"), retired=True), *checks.sample_devices()]


def test_devices_come_back_as_they_went_in():
    table = DeviceTable(DEVICES)
    assert list(table) == DEVICES
    assert (table[-1], table[1:3], len(table)) == (DEVICES[-1], DEVICES[1:3], len(DEVICES))
    with pytest.raises(IndexError):
        table[len(DEVICES)]


def test_devices_are_passed_on_and_are_the_tables_after_the_last():
    table = DeviceTable([BARE])
    passing = table.fill(DEVICES)
    assert next(passing) is DEVICES[0]
    assert list(table) == [BARE], "a table half read would be taken for the registry"
    assert [FULL, *passing] == DEVICES
    assert list(table) == DEVICES


def test_series_are_called_by_device_and_point():
    names = DeviceTable([FULL, replace(BARE, points=(Point("x", "level", "m"),))]).names
    assert dict(names) == {7: "GM-1/p", 3: "GM-1/q"}
    assert [names.get(series) for series in (-1, 0, 8)] == [None, None, None]
    assert len(names) == 2


def test_table_of_a_table_is_itself():
    table = DeviceTable(DEVICES)
    assert DeviceTable.of(table) is table


def test_device_costs_little_beside_its_name():
    count = 20_000
    names = [DeviceId(f"D-{number:05}") for number in range(count)]
    devices = (
        Device(name, "t", System.WATER, (Point("p", "pressure", "MPa", series),), timedelta(minutes=1))
        for series, name in enumerate(names)
    )
    tracemalloc.start()
    try:
        table = DeviceTable(devices)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == count
    assert size / count < 150
