"""The registry and what belongs to it on PostgreSQL: the same answers as on SQLite, where the other tests run."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from sensors.command_log import CommandLog, CommandState
from sensors.device import Device, DeviceId, Point
from sensors.operations import connect, metadata
from sensors.presence import DeviceStatus, Presence
from sensors.registry import Registry
from sensors.unknown_device import SeenPoint, Sighting, UnknownDevices
from twin.asset import AssetId, System
from twin.errors import InputError

from .conftest import NOON

PRESSURE = Point("pressure", "pressure", "MPa", low=0.0, high=1e6, code="w1", calibrated=date(2026, 1, 1))
DEVICE = Device(
    DeviceId("P-1"),
    "pg",
    System.WATER,
    (PRESSURE, Point("flow", "flow", "m3/h")),
    timedelta(seconds=5),
    asset=AssetId("water.inp:node:J1"),
    easting=500_001.5,
    northing=3_350_002.5,
    address="hj212/1",
)


@pytest.fixture
def engine(postgres):
    engine = connect(postgres.url)
    with engine.begin() as connection:
        for name in ("commands", "presence", "unknown_devices", "points", "credentials", "devices"):
            connection.execute(metadata.tables[name].delete())
    yield engine
    engine.dispose()


@pytest.fixture
def registry(engine):
    registry = Registry(engine)
    registry.put([DEVICE])
    return registry


def test_device_comes_back_as_it_was_put(registry):
    found = registry.get("P-1")
    assert replace(found, points=tuple(replace(point, series=-1) for point in found.points)) == DEVICE
    assert [point.series for point in found.points] == [0, 1]


def test_many_devices_are_streamed_in_order_with_their_points(registry):
    many = [replace(DEVICE, id=DeviceId(f"d_{n:05}"), address="", district="many") for n in range(6000)]
    registry.put(many)
    assert [(each.id, len(each.points)) for each in registry.each("many")] == [(each.id, 2) for each in many]
    assert registry.count() == 6001
    assert next(registry.each("pg")).id == "P-1"


def test_device_is_replaced_retired_and_its_address_kept_its_own(registry):
    registry.put([replace(DEVICE, points=(PRESSURE,), name="new")])
    assert [point.series for point in registry.get("P-1").points] == [0]
    assert registry.retire("P-1").retired
    with pytest.raises(InputError, match="that of P-1"):
        registry.put([replace(DEVICE, id=DeviceId("P-2"))])


def test_presence_is_put_and_listed(registry, engine):
    presence = Presence(engine)
    said = DeviceStatus(DeviceId("P-1"), online=True, since=NOON, last=NOON, boot=7, birth="{}", lost=((1, 2),))
    presence.put([said])
    presence.put([replace(said, online=False, since=NOON + timedelta(seconds=9))])
    assert presence.list("pg") == [replace(said, online=False, since=NOON + timedelta(seconds=9))]


def test_unknown_devices_add_up(engine):
    unknown = UnknownDevices(engine)
    for unit in ("MPa", None):
        unknown.note([Sighting("X", "pg", System.GAS, NOON, NOON, points={"p": SeenPoint(unit, 0.3)})])
    assert (unknown.get("X").messages, unknown.get("X").points["p"].unit) == (2, "MPa")
    unknown.forget("X")
    assert unknown.list() == []


@pytest.mark.usefixtures("registry")
def test_command_goes_from_order_to_answer(engine):
    log = CommandLog(engine)
    command = log.order("P-1", "reboot", {"in_s": 3}, "li", NOON + timedelta(minutes=1), at=NOON)
    assert log.pending("pg", NOON) == [command]
    log.sent([command.id], NOON)
    assert log.pending("pg", NOON) == []
    (given_up,) = log.expire(NOON + timedelta(hours=1))
    assert given_up.state is CommandState.EXPIRED
    assert log.answer(command.id, device="P-1", ok=True, at=NOON).state is CommandState.DONE
