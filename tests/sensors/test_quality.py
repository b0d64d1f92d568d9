"""Each quality test flags what it is meant for; a device is told of once several readings have failed."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from sensors.detection import DetectionKind, checks
from sensors.detection.pipeline import Pipeline
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.quality import GrossRange, Quality, Test
from sensors.reading import Batch
from sensors.reading import Quality as Flag
from twin.asset import AssetId, System
from twin.errors import SettingsError

LIMITS = load()
START = checks.START_MS
DAY_S = 86_400.0


def device(name="D", *points, system=System.WATER, interval=5.0, **more):
    return Device(DeviceId(name), "t", system, points, timedelta(seconds=interval), **more)


def pressure(series=0, **more):
    return Point("pressure", "pressure", "MPa", series, 0.0, 1e6, **more)


def quality(*devices, disabled=()):
    return Quality.build(Scope(devices or [device("D", pressure())], LIMITS), disabled)


def quality_of(*points):
    return quality(device("D", *points))


def feed(tested, values, *, start=0.0, step=5.0, history=False):
    """Hand values over one by one; return their QARTOD flags, their tests, and what was said."""
    flags, tests, said = [], [], []
    for index, value in enumerate(values):
        batch = checks.sample_batch([0], [start + index * step], [value])
        checked, found = tested.check(replace(batch, history=np.array([history])))
        flags.append(int(checked.quality[0]))
        tests.append(Test(int(checked.flags[0])))
        said += found
    return flags, tests, said


def noisy(size, middle=3e5, scale=800.0, seed=1):
    return middle + np.random.default_rng(seed).normal(0, scale, size)


def test_good_readings_pass_every_test():
    flags, tests, said = feed(quality(), noisy(200))
    assert set(flags) == {Flag.GOOD}
    assert set(tests) == {Test(0)}
    assert said == []


def test_reading_without_a_number_is_missing_and_one_outside_the_span_fails():
    flags, tests, _ = feed(quality(), [3e5, np.nan, 2e6])
    assert flags == [Flag.GOOD, Flag.MISSING, Flag.FAIL]
    assert tests == [Test(0), Test.MISSING, Test.GROSS_RANGE]


def test_largest_float_is_no_reading_whatever_the_span():
    gas = quality(device("D", Point("g", "combustible_gas", "%LEL", 0, 0.0, 1.0), system=System.GAS))
    assert feed(gas, [0.0, 1.2, 3.4e38])[0] == [Flag.GOOD, Flag.SUSPECT, Flag.FAIL]
    assert feed(quality(device("D", Point("p", "pressure", "MPa", 0))), [-3.4e38])[0] == [Flag.FAIL]
    store = GrossRange([device("D", Point("g", "combustible_gas", "%LEL", 0, 0.0, 1.0), system=System.GAS)])
    assert store.check(checks.sample_batch([0], [0], [3.4e38])).quality.tolist() == [Flag.FAIL]


def test_what_no_operator_believes_is_suspect_only():
    flags, tests, _ = feed(quality(device("D", Point("pressure", "pressure", "MPa", 0))), [2e6])
    assert (flags, tests) == ([Flag.SUSPECT], [Test.OPERATOR_RANGE])


def test_one_failed_reading_never_rings_and_several_ring_once_for_the_device():
    tested = quality()
    assert feed(tested, [*noisy(20), 2e6, *noisy(20)])[2] == []
    _, _, said = feed(tested, [*[2e6] * 8, *noisy(30)], start=1000)
    assert [(d.subject, d.rule, d.kind, d.active) for d in said] == [
        ("device:D", "gross_range", DetectionKind.QUALITY, True),
        ("device:D", "gross_range", DetectionKind.QUALITY, False),
    ]
    assert said[0].time == START + 1_000_000 + 4 * 5000  # the fifth of sixteen
    assert said[0].evidence.points == ("point:D/pressure",)


def test_two_points_of_a_device_make_one_alarm_that_ends_with_the_last():
    tested = quality(device("D", pressure(), Point("inlet", "pressure", "MPa", 1, 0.0, 1e6)))
    said = []
    for second in range(60):
        values = [2e6 if second < 10 else 3e5, 2e6 if second < 30 else 3e5]
        said += tested.check(checks.sample_batch([0, 1], [second, second], values))[1]
    assert [(d.rule, d.active) for d in said] == [("gross_range", True), ("gross_range", False)]
    assert said[1].time > START + 30_000


def test_spike_fails_and_what_comes_after_it_passes():
    values = noisy(100)
    values[50] = 5e5
    flags, tests, said = feed(quality(), values)
    assert [index for index, flag in enumerate(flags) if flag != Flag.GOOD] == [50]
    assert tests[50] == Test.SPIKE
    assert said == []


def test_step_costs_its_first_reading_only():
    flags, _, _ = feed(quality(), [*noisy(50), *noisy(50, middle=5e5)])
    assert [index for index, flag in enumerate(flags) if flag != Flag.GOOD] == [50]


def test_slope_costs_its_first_reading_only():
    flags, _, said = feed(quality(), [*noisy(50), *np.arange(3.6e5, 9e5, 6e4)])
    assert [index for index, flag in enumerate(flags) if flag != Flag.GOOD] == [50]
    assert said == []


def test_gas_at_alarm_level_is_never_a_spike():
    gas = device("G", Point("lel", "combustible_gas", "%LEL", 0, 0.0, 1.0), system=System.GAS)
    calm = np.abs(noisy(50, 0.0, 0.002))
    flags, _, _ = feed(quality(gas), [*calm, 0.26, *calm])
    assert flags == [Flag.GOOD] * 101
    flags, _, _ = feed(quality(gas), [*calm, 0.2, *calm])
    assert flags[50] == Flag.FAIL


def test_value_that_moves_faster_than_the_quantity_can_is_suspect():
    cold = device("T", Point("temperature", "temperature", "Cel", 0), interval=60)
    flags, tests, _ = feed(quality(cold), [283.0, 283.1, 295.0], step=60.0)
    assert (flags[2], tests[2]) == (Flag.SUSPECT, Test.RATE)


def test_value_that_stands_still_fails_until_it_moves():
    flags, tests, said = feed(quality(), [*noisy(20), *[3e5] * 150, *noisy(20)])
    assert tests[20 + 119] == Test(0)
    assert set(tests[20 + 121 : 170]) == {Test.FLAT_LINE}
    assert set(flags[170:]) == {Flag.GOOD}
    assert [(d.subject, d.rule, d.kind, d.active) for d in said] == [
        ("point:D/pressure", "flat_line", DetectionKind.FLAT_LINE, True),
        ("point:D/pressure", "flat_line", DetectionKind.FLAT_LINE, False),
    ]


def test_what_stood_still_feeds_no_baseline():
    tested = Pipeline.build(Scope([device("D", pressure())], LIMITS))
    before = tested._detectors["seasonal"].save()
    for index in range(400):
        tested.update(checks.sample_batch([0], [index * 5.0], [3e5]))
        if index == 150:
            before = tested._detectors["seasonal"].save()
    assert tested._detectors["seasonal"].save() == before


def test_series_that_moves_far_less_than_it_used_to_is_attenuated():
    hours = np.arange(24 * 10)
    wave = 3e5 + 3e4 * np.sin(2 * np.pi * hours / 24) + noisy(len(hours), 0.0, 300.0)
    wave[24 * 7 :] = 3e5 + noisy(24 * 3, 0.0, 100.0)
    hourly = device("D", pressure(), interval=3600)
    _, tests, said = feed(quality(hourly), wave, step=3600.0)
    assert not any(tests[: 24 * 8])
    assert tests[24 * 9] == Test.ATTENUATED
    assert [(d.rule, d.active) for d in said] == [("attenuated", True)]


def test_clock_that_runs_ahead_and_readings_that_come_late_are_suspect():
    batch = checks.sample_batch([0, 0], [0, 5], [3e5, 3.01e5])
    ahead, _ = quality().check(replace(batch, now=START - 120_000))
    late, _ = quality().check(replace(batch, now=START + 7_200_000))
    assert {Test(int(f)) & Test.FUTURE for f in ahead.flags[:1]} == {Test.FUTURE}
    assert set(late.flags.tolist()) == {int(Test.STALE)}
    assert set(late.quality.tolist()) == {Flag.SUSPECT}


def test_history_is_never_stale():
    batch = checks.sample_batch([0], [0], [3e5])
    checked, _ = quality().check(replace(batch, now=START + DAY_S * 1000, history=np.array([True])))
    assert checked.flags.tolist() == [0]


def test_reading_that_comes_again_or_out_of_order_fails_and_one_after_a_pause_is_marked():
    batch = checks.sample_batch([0, 0, 0, 0], [5, 5, 0, 2000], [3e5, 3e5, 3e5, 3.01e5])
    checked, _ = quality().check(batch)
    assert [Test(f) for f in checked.flags.tolist()] == [Test(0), Test.DUPLICATE, Test.OUT_OF_ORDER, Test.GAP]
    assert checked.quality.tolist() == [Flag.GOOD, Flag.FAIL, Flag.FAIL, Flag.GOOD]


def test_points_of_a_device_are_suspect_while_another_begins_to_fail():
    sonde = device(
        "S",
        Point("temp", "temperature", "Cel", 0, 263.15, 323.15),
        Point("ph", "ph", "pH", 1, 0.0, 14.0),
        interval=900,
    )
    tested = quality(sonde)
    ph = noisy(40, 8.0, 0.01).round(2)
    ph[21] = ph[20]  # the bus shows its last value again
    marked = []
    for index in range(40):
        temp = -9999.0 if index in {20, 21} else 285.0 + 0.1 * (index % 3)
        batch = checks.sample_batch([0, 1], [900.0 * index] * 2, [temp, ph[index]])
        marked.append(Test(int(tested.check(batch)[0].flags[1])))
    assert marked[21] == Test.COMPANION
    assert not any(marked[:20])
    assert not any(marked[24:])


def test_level_in_freezing_water_is_suspect():
    river = device("R", Point("temp", "temperature", "Cel", 0), Point("level", "level", "m", 1), interval=900)
    batch = checks.sample_batch([0, 1, 0, 1], [0, 0, 900, 900], [274.15, 1.0, 273.15, 1.01])
    checked, _ = quality(river).check(batch)
    assert [Test(f) for f in checked.flags.tolist()] == [Test(0), Test(0), Test(0), Test.ICE]


def test_two_sensors_at_one_asset_that_contradict_each_other_are_told_of():
    asset = AssetId("water.inp:node:J-1")
    pair = [device(f"D{k}", pressure(k), asset=asset) for k in (0, 1)]
    elsewhere = device("D2", pressure(2), asset=AssetId("water.inp:node:J-2"))
    tested = quality(*pair, elsewhere)
    rng, said, tests = np.random.default_rng(1), [], []
    for index in range(60):
        values = np.array([3e5, 3e5, 5e5]) + rng.normal(0, 800, 3)
        values[1] += 6e4 * (index >= 30)
        checked, found = tested.check(checks.sample_batch([0, 1, 2], [5.0 * index] * 3, values))
        tests.append([Test(int(flag)) for flag in checked.flags])
        said += found
    assert not any(any(each) for each in tests[:30])
    assert tests[59] == [Test.INCONSISTENT, Test.INCONSISTENT, Test(0)]
    assert {(d.subject, d.rule) for d in said} == {("device:D0", "inconsistent"), ("device:D1", "inconsistent")}


def test_sensor_past_its_calibration_is_told_of_once():
    due = date(2026, 1, 1) + timedelta(days=1)
    tested = quality(device("D", pressure(calibration_due=due)))
    _, tests, said = feed(tested, noisy(48), step=3600.0)
    assert [Test.CALIBRATION in test for test in tests] == [False] * 24 + [True] * 24
    assert [(d.rule, d.active) for d in said] == [("calibration", True)]


@pytest.mark.parametrize(
    ("quantity", "unit", "good", "bad", "test"),
    [("battery", "V", 3.6, 2.8, Test.BATTERY), ("signal_strength", "dBm", -85.0, -115.0, Test.RADIO)],
)
def test_device_that_runs_out_of_power_or_of_reach_is_told_of(quantity, unit, good, bad, test):
    _, tests, said = feed(quality_of(Point(quantity, quantity, unit, 0)), [*[good] * 5, *[bad] * 8])
    assert set(tests[5:]) == {test}
    assert [(d.rule, d.quantity) for d in said] == [(test.rule, quantity)]


def test_sensor_that_leaves_its_neighbours_drifts_and_they_do_not():
    devices = [device(f"D{k}", pressure(k), interval=10_800, easting=100.0 * k, northing=0.0) for k in range(5)]
    tested = quality(*devices)
    rng, said = np.random.default_rng(1), []
    for hour in range(0, 24 * 60, 3):
        demand = 2e4 * np.sin(2 * np.pi * hour / 24)
        values = 3e5 + 1e4 * np.arange(5) + demand + rng.normal(0, 1000, 5)
        values[2] += max(0, hour - 24 * 20) * 100.0  # 2.4 kPa a day, from the twentieth on
        said += tested.check(checks.sample_batch(range(5), [3600.0 * hour] * 5, values))[1]
    assert [(d.subject, d.rule, d.active) for d in said] == [("device:D2", "drift", True)]
    assert START + 22 * DAY_S * 1000 < said[0].time < START + 42 * DAY_S * 1000


def test_burst_that_takes_the_pressure_of_all_is_no_drift():
    devices = [device(f"D{k}", pressure(k), interval=10_800, easting=100.0 * k, northing=0.0) for k in range(5)]
    tested = quality(*devices)
    rng, said = np.random.default_rng(1), []
    for hour in range(0, 24 * 40, 3):
        values = 3e5 - 4e4 * (hour > 24 * 20) + rng.normal(0, 1000, 5)
        said += tested.check(checks.sample_batch(range(5), [3600.0 * hour] * 5, values))[1]
    assert said == []


def test_failing_history_raises_nothing():
    assert feed(quality(), [2e6] * 50, history=True)[2] == []


def test_state_that_is_loaded_goes_on_and_says_what_stands():
    first, second = quality(), quality()
    feed(first, [*noisy(20), *[2e6] * 8])
    assert second.load(first.save()) == {("device:D", "gross_range")}
    values = [*noisy(30)]
    assert feed(second, values, start=500) == feed(first, values, start=500)


def test_series_that_stood_still_goes_on_where_nothing_is_a_flat_line_any_more():
    before = quality()
    assert feed(before, [3e5] * 400, step=60.0)[2]
    after = Quality.build(Scope([device("D", pressure())], replace(LIMITS, flat_line=())))
    assert after.load(before.save()) == set()
    assert feed(after, [3.1e5], start=30_000)[2] == []


def test_retired_device_holds_nothing():
    first = quality()
    feed(first, [2e6] * 8)
    assert quality(device("D", pressure(), retired=True)).load(first.save()) == set()


def test_test_that_is_switched_off_flags_and_says_nothing():
    values = [*noisy(20), 5e5, *[3e5] * 150]
    _, tests, said = feed(quality(disabled=["flat_line", "spike"]), values)
    assert not any(tests)
    assert said == []


def test_quality_switched_off_still_keeps_what_no_sensor_can_read_from_detectors():
    flags, tests, _ = feed(quality(disabled=["quality"]), [*noisy(50), 5e5, 2e6])
    assert (flags[50], tests[51]) == (Flag.GOOD, Test.GROSS_RANGE)


def test_alarm_that_one_reading_could_raise_is_refused():
    numbers = {**LIMITS.numbers["quality"]}
    numbers["least"] = replace_number(numbers["least"], 1)
    with pytest.raises(SettingsError, match="1 of 16"):
        Quality.build(Scope([], replace(LIMITS, numbers={**LIMITS.numbers, "quality": numbers})))


def replace_number(number, value):
    return type(number)(value, number.unit, number.source, number.verified)


def test_readings_of_series_that_nobody_has_stay_as_they_are():
    checked, said = quality().check(checks.sample_batch([500, -1], [0, 0], [1.0, np.nan]))
    assert checked.quality.tolist() == [Flag.GOOD, Flag.MISSING]
    assert said == []


def test_batch_without_readings_is_taken():
    checked, said = quality().check(Batch.empty(START))
    assert (len(checked), said) == (0, [])
