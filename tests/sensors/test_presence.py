from datetime import timedelta

import pytest

from sensors.device import DeviceId
from sensors.presence import MAX_LOST, DeviceStatus, Presence

from .conftest import NOON

LATER = NOON + timedelta(minutes=1)


@pytest.fixture
def presence(engine):
    return Presence(engine)


def status(name="WP-1", at=NOON, *, online=True, **said):
    return DeviceStatus(DeviceId(name), online, at, **said)


def test_birth_comes_back_as_it_was_said(presence):
    birth = status(last=NOON, boot=17, birth='{"v":1,"online":true,"boot":17}', lost=((3, 5),))
    presence.put([birth])
    assert presence.get("WP-1") == birth
    assert presence.get("WP-2") is None


def test_device_that_stays_keeps_since_and_its_birth(presence):
    presence.put([status(boot=17, birth="{}", last=NOON)])
    presence.put([status(at=LATER, last=LATER)])
    found = presence.get("WP-1")
    assert (found.since, found.last, found.boot, found.birth) == (NOON, LATER, 17, "{}")


@pytest.mark.parametrize("change", [{"online": False}, {"boot": 18}])
def test_since_moves_with_coming_going_and_a_new_boot(presence, change):
    presence.put([status(boot=17)])
    presence.put([status(at=LATER, **change)])
    assert presence.get("WP-1").since == LATER


def test_last_heard_never_goes_back(presence):
    presence.put([status(last=LATER)])
    presence.put([status(last=NOON), status(online=False)])
    assert presence.get("WP-1").last == LATER


def test_lost_ranges_gather_within_a_boot_and_go_with_it(presence):
    presence.put([status(boot=17, lost=((1, 2),)), status(lost=((1, 2), (7, 9)))])
    assert presence.get("WP-1").lost == ((1, 2), (7, 9))
    presence.put([status(boot=18)])
    assert presence.get("WP-1").lost == ()


def test_lost_ranges_are_bounded_on_the_first_word_too(presence):
    presence.put([status(boot=1, lost=tuple((n, n) for n in range(MAX_LOST * 3)))])
    assert presence.get("WP-1").lost[0] == (2 * MAX_LOST, 2 * MAX_LOST)
    assert len(presence.get("WP-1").lost) == MAX_LOST


def test_list_is_of_registered_devices_in_a_district(presence):
    presence.put([status("WP-2"), status("WP-1"), status("stranger")])
    assert [each.device for each in presence.list("test")] == ["WP-1", "WP-2"]
    assert presence.list("elsewhere") == []
