from importlib import resources

import pytest

from sensors.device import Point
from sensors.limits import load, row_of
from twin.asset import System
from twin.errors import SettingsError

PACKAGED = (resources.files("sensors") / "limits.toml").read_text("utf-8")


def test_packaged_limits_load_and_name_their_sources():
    limits = load()
    for row in (*limits.limits, *limits.flat_line, *limits.rate_of_change, *limits.seasonal, limits.silence):
        assert row.source
    assert all(step.source for row in limits.limits for step in row.steps)


def test_low_set_point_of_gas_is_orange_and_high_set_point_red():
    (row,) = load().limits_of("combustible_gas", System.DRAINAGE)
    point = Point("combustible_gas", "combustible_gas", "%LEL")
    assert list(zip(row.levels, row.at(point), strict=True)) == [(2, 0.25), (1, 0.5)]


def test_shares_of_the_crown_hold_only_where_it_is_known():
    drain, overflow = load().limits_of("level", System.DRAINAGE)
    point = Point("level", "level", "m", crown_m=0.5, depth_m=2.0)
    assert drain.at(point) == pytest.approx([0.4, 0.5])
    assert drain.margin(point) == pytest.approx(0.025)
    assert overflow.at(point) == pytest.approx([1.9])
    assert drain.at(Point("level", "level", "m")) is None


def test_row_of_a_system_goes_before_the_one_for_all():
    limits = load()
    gas = row_of(limits.seasonal, "pressure", System.GAS)
    assert gas is not None
    assert gas.unit == "kPa"
    assert row_of(limits.seasonal, "pump_state", System.WATER) is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('quantity = "oxygen"', 'quantity = "oxigen"', "oxigen"),
        ('unit = "%LEL"', 'unit = "MPa"', "MPa"),
        ('level = "orange", at = 25', 'level = "orange", at = 75', "mildest to the worst"),
        ("hysteresis = 2\n", "hysterese = 2\n", "hysterese"),
        ("hysteresis = 2\n", "hysteresis = -2\n", "hysteresis is -2"),
        ('rule = "methane_high"', 'rule = "combustible_gas_high"', "twice"),
        ('rule = "methane_high"', 'rule = "methane"', "methane_high|_high"),
        ("intervals = 3", "intervals = 0", "silence"),
        ("intervals = 3", "intervals = nan", "silence"),
        ("hysteresis = 2\n", "hysteresis = nan\n", "hysteresis is nan"),
        ('level = "orange", at = 25', 'level = "orange", at = nan', "numbers"),
        ("utc_offset_h = 8.0", "utc_offset_h = inf", "calendar"),
        ("[calendar]", "[calender]", "calend"),
        ('level = "blue"', 'level = "green"', "green"),
        ("[silence]", "[silence", "line"),
    ],
)
def test_slip_in_the_file_is_named_in_one_line(tmp_path, old, new, says):
    path = tmp_path / "limits.toml"
    assert old in PACKAGED
    path.write_text(PACKAGED.replace(old, new, 1), "utf-8")
    with pytest.raises(SettingsError, match=says) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match="no such file"):
        load(tmp_path / "none.toml")
