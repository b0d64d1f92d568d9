"""Limits: hysteresis, delays and escalation, held against the rule as a person would write it down."""

from datetime import timedelta
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.detection import checks
from sensors.detection.limits import LimitDetector
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.reading import Quality
from twin.asset import System
from twin.errors import SettingsError

PACKAGED = (resources.files("sensors") / "limits.toml").read_text("utf-8")


def gas():
    point = Point("gas", "combustible_gas", "%LEL", 0)
    return LimitDetector.build(Scope([Device(DeviceId("D"), "t", System.GAS, (point,), timedelta(seconds=5))], load()))


def live(detector, values, step=60.0, start=0.0):
    said = []
    for index, value in enumerate(values):
        said += detector.update(checks.sample_batch([0], [start + index * step], [value]))
    return said


def test_limit_that_stays_passed_escalates_once_and_clears_as_it_was():
    detector = gas()
    said = live(detector, [0.3] * 45 + [0.1, 0.1])
    assert [(d.active, d.level) for d in said] == [(True, 2), (True, 1), (False, 2)]
    assert (said[1].time - said[0].time) == 1_800_000
    assert [d.level for d in live(detector, [0.3] * 10, start=3600.0)] == [2]


def test_escalation_says_nothing_where_the_value_is_as_bad_already():
    said = live(gas(), [0.6] * 60)
    assert [d.level for d in said] == [1]


def test_escalated_limit_stays_worse_when_the_value_eases_to_a_milder_step():
    said = live(gas(), [0.6] * 40 + [0.3] * 5)
    assert [d.level for d in said] == [1, 1]


def test_escalation_survives_a_restart():
    first, second = gas(), gas()
    live(first, [0.3] * 20)
    assert second.load(first.save()) == {("point:D/gas", "combustible_gas_high")}
    assert [d.level for d in live(second, [0.3] * 20, start=1200.0)] == [1]


def test_passed_limit_says_so_with_certainty():
    (said,) = live(gas(), [0.3])
    assert (said.evidence.basis, said.evidence.confidence, said.evidence.points) == ("limit", 1.0, ("point:D/gas",))


def test_reading_ahead_of_the_city_deafens_no_limit():
    detector = gas()
    ahead = checks.sample_batch([0], [240], [0.05])
    said = detector.update(type(ahead)(**{**_columns(ahead), "now": checks.START_MS}))
    said += live(detector, [0.3], start=5.0)
    assert [(d.active, d.time) for d in said] == [(True, checks.START_MS + 5000)]


def test_reading_that_failed_passes_no_limit():
    batch = checks.sample_batch([0], [0], [0.9])
    batch.quality[:] = Quality.FAIL
    assert gas().update(batch) == []


@given(st.lists(st.sampled_from([0.0, 0.22, 0.24, 0.25, 0.3, 0.47, 0.49, 0.5, 0.7]), max_size=40))
def test_steps_follow_hysteresis_as_it_is_written(values):
    said = live(gas(), values, step=1.0)
    step, calm, wanted = 0, 0, []
    for value in values:
        up = 2 if value >= 0.5 else 1 if value >= 0.25 else 0
        kept = 2 if value >= 0.48 else 1 if value >= 0.23 else 0
        target = max(up, min(step, kept))
        calm = 0 if target >= step else calm + 1  # a minute of calm is longer than this stream
        if target > step:
            step = target
            wanted.append({1: 2, 2: 1}[step])
    assert [d.level for d in said] == wanted


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("after_s = 1800", "after_s = 0", "after 0"),
        ("after_s = 1800", "after_s = nan", "after nan"),
        ('after_s = 1800, level = "red"', 'after_s = 1800, level = "yellow"', "worse than orange"),
    ],
)
def test_escalation_that_changes_nothing_is_refused(tmp_path, old, new, says):
    path = tmp_path / "limits.toml"
    assert old in PACKAGED
    path.write_text(PACKAGED.replace(old, new, 1), "utf-8")
    with pytest.raises(SettingsError, match=says):
        load(path)


def _columns(batch):
    return {name: getattr(batch, name) for name in type(batch).__slots__}
