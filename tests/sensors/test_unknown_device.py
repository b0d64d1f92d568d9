from dataclasses import replace
from datetime import timedelta

import pytest

from sensors.unknown_device import MAX_BIRTH, MAX_POINTS, MAX_TEXT, SeenPoint, Sighting, UnknownDevices
from twin.asset import System
from twin.errors import UnknownError

from .conftest import NOON


@pytest.fixture
def unknown(engine):
    return UnknownDevices(engine)


def sighting(name="XX-1", second=0, **said):
    at = NOON + timedelta(seconds=second)
    return Sighting(name, "test", System.WATER, at, at, **said)


def test_sightings_of_a_device_add_up(unknown):
    unknown.note([sighting(points={"p": SeenPoint("MPa", 0.3)}, birth="{}")])
    unknown.note([sighting(second=60, points={"p": SeenPoint(None, 0.4), "q": SeenPoint()}), sighting(second=120)])
    found = unknown.get("XX-1")
    assert found.messages == 3
    assert found.interval == timedelta(seconds=60)
    assert found.points == {"p": SeenPoint("MPa", 0.4), "q": SeenPoint()}
    assert found.birth == "{}"


def test_system_that_only_one_message_told_is_kept(unknown):
    unknown.note([sighting("hj212/1"), replace(sighting("hj212/1", 5), system=None)])
    assert unknown.get("hj212/1").system is System.WATER


def test_last_heard_comes_first_and_others_districts_stay_out(unknown):
    unknown.note([sighting("A"), sighting("B", 9), replace(sighting("C", 5), district="east")])
    assert [each.device for each in unknown.list()] == ["B", "C", "A"]
    assert [each.device for each in unknown.list("test")] == ["B", "A"]


def test_forgotten_device_is_gone(unknown):
    unknown.note([sighting()])
    unknown.forget("XX-1")
    unknown.forget("XX-1")
    assert unknown.list() == []
    with pytest.raises(UnknownError, match="XX-1"):
        unknown.get("XX-1")


def test_invented_devices_and_points_are_bounded(unknown, monkeypatch):
    monkeypatch.setattr("sensors.unknown_device.MAX_DEVICES", 5)
    points = {f"p{n}": SeenPoint("Pa") for n in range(2 * MAX_POINTS)}
    unknown.note(sighting(f"X-{n}", points=points, birth="x" * (MAX_BIRTH + 1)) for n in range(9))
    unknown.note([sighting("X-0", 1), sighting("X-99", 1), sighting("y" * (MAX_TEXT + 1), 1)])
    found = unknown.list()
    assert len(found) == 5
    assert unknown.get("X-0").messages == 2  # a known one still counts
    assert {len(each.points) for each in found} == {MAX_POINTS}
    assert {each.birth for each in found} == {""}


def test_names_and_units_without_end_are_not_kept(unknown):
    unknown.note([sighting(points={"n" * (MAX_TEXT + 1): SeenPoint(), "p": SeenPoint("u" * (MAX_TEXT + 1))})])
    assert unknown.get("XX-1").points == {}
