"""What each detector calls abnormal, and what it lets pass."""

from datetime import timedelta

import numpy as np
import pytest

from sensors.detection import checks
from sensors.detection.limits import LimitDetector
from sensors.detection.pipeline import Pipeline
from sensors.detection.scope import Scope
from sensors.detection.silence import SilenceDetector
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.reading import Batch
from twin.asset import System

LIMITS = load()
START = checks.START_MS
MINUTE = timedelta(minutes=1)


def build(quantity="pressure", unit="MPa", system=System.WATER, **more):
    point = Point(quantity, quantity, unit, 0, **more)
    scope = Scope([Device(DeviceId("D"), "t", system, (point,), timedelta(seconds=5))], LIMITS)
    return Pipeline.build(scope, disabled=["fusion"])  # what each detector says for itself


def live(pipeline, values, start=0.0, step=5.0):
    said = []
    for index, value in enumerate(values):
        said += pipeline.update(checks.sample_batch([0], [start + index * step], [value]))
    return [(d.rule, d.active, d.level) for d in said]


def noise(size, scale, seed=1):
    return np.random.default_rng(seed).normal(0, scale, size)


def test_gas_that_rises_escalates_one_condition_and_eases_with_hysteresis():
    values = [0.1, 0.26, 0.3, 0.55, 0.49, 0.47] + [0.47] * 13 + [0.24] * 14 + [0.2] * 13
    said = [each for each in live(build("combustible_gas", "%LEL", System.GAS), values) if "combustible" in each[0]]
    assert said == [
        ("combustible_gas_high", True, 2),
        ("combustible_gas_high", True, 1),
        ("combustible_gas_high", True, 2),
        ("combustible_gas_high", False, 2),
    ]


def test_pressure_dip_shorter_than_the_delay_raises_nothing():
    assert live(build(), [3e5, 1.2e5, 3e5, 3e5], step=5) == []


def test_level_above_the_crown_of_its_own_pipe_is_orange():
    said = live(build("level", "m", System.DRAINAGE, crown_m=0.4, depth_m=3.0), [0.1, 0.45, 0.45, 0.45])
    assert ("drain_level_high", True, 2) in said


def test_each_drain_has_the_limits_of_its_own_pipe():
    crowns = [0.8, None, 0.4, 0.8]
    devices = [
        Device(DeviceId(f"D{k}"), "t", System.DRAINAGE, (Point("level", "level", "m", 7 - k, crown_m=crown),), MINUTE)
        for k, crown in enumerate(crowns)
    ]
    detector = LimitDetector.build(Scope(devices, LIMITS))
    said = [
        d for s in (0, 60) for d in detector.update(checks.sample_batch([4, 5, 6, 7], [s] * 4, [0.9, 0.45, 9.0, 0.7]))
    ]
    assert {d.subject: (d.level, d.limit) for d in said} == {
        "point:D0/level": (3, pytest.approx(0.64)),
        "point:D2/level": (2, pytest.approx(0.4)),
        "point:D3/level": (2, pytest.approx(0.8)),
    }


def test_burst_is_seen_within_seconds_and_noise_is_not():
    pipeline = build()
    assert live(pipeline, 3e5 + noise(600, 1500)) == []
    said = live(pipeline, 2.4e5 + noise(4, 1500), start=3000)
    assert said == [("rate_of_change", True, 3)]


def test_single_spike_raises_nothing():
    values = 3e5 + noise(200, 800)
    values[150] = 2e5
    assert live(build(), values) == []


def test_flow_that_is_often_switched_may_start_and_stop():
    values = np.concatenate([np.zeros(300), 0.05 + noise(300, 2e-4), np.zeros(300)])
    assert [each for each in live(build("flow", "m3/h"), values) if each[0] == "rate_of_change"] == []


def test_stuck_value_is_seen_and_cleared_when_it_moves():
    said = live(build(), [3e5] * 130 + [3.01e5])
    assert said == [("flat_line", True, 4), ("flat_line", False, 4)]


@pytest.mark.parametrize(("quantity", "unit"), [("flow", "m3/h"), ("level", "m"), ("combustible_gas", "%LEL")])
def test_zero_may_stand_still(quantity, unit):
    assert live(build(quantity, unit, System.DRAINAGE), [0.0] * 400) == []


def quiet(detector, *seconds):
    said = [d for s in seconds for d in detector.update(Batch.empty(START + round(s * 1000)))]
    return [d.active for d in said]


def test_silent_device_raises_one_alarm_and_clears_when_heard():
    detector = SilenceDetector.build(Scope(checks.sample_devices()[:1], LIMITS))
    detector.update(checks.sample_batch([0], [0], [3e5]))
    assert quiet(detector, *range(1, 60)) == [True]
    (back,) = detector.update(checks.sample_batch([0], [60], [3e5]))
    assert (back.active, back.subject) == (False, "device:S-00")


def test_worker_that_was_away_takes_nobody_for_silent():
    detector = SilenceDetector.build(Scope(checks.sample_devices(), LIMITS))
    detector.update(checks.sample_batch(range(12), [0] * 12, [0.3] * 12))
    assert quiet(detector, 3600, 3601) == []
    detector.update(checks.sample_batch(range(12), [3602] * 12, [0.3] * 12))
    assert quiet(detector, *range(3603, 3612)) == []


def test_device_that_was_never_heard_is_not_missed():
    assert quiet(SilenceDetector.build(Scope(checks.sample_devices(), LIMITS)), *range(0, 600, 5)) == []


def test_normal_days_of_many_series_raise_nothing_and_a_slow_change_is_found():
    rng = np.random.default_rng(5)
    size = 40
    devices = [
        Device(DeviceId(f"D{k}"), "t", System.WATER, (Point("pressure", "pressure", "MPa", k),), timedelta(seconds=300))
        for k in range(size)
    ]
    pipeline = Pipeline.build(Scope(devices, LIMITS), disabled=["fusion"])
    said = []
    for step in range(288 * 8):
        time = START + step * 300_000
        wave = np.sin(2 * np.pi * (step / 288 + np.arange(size) / 400))
        value = 3e5 + 4e4 * wave + rng.normal(0, 1500, size)
        if step > 288 * 7:
            value[0] -= 4e4
        history = np.full(size, step < 288)
        batch = Batch(
            np.arange(size, dtype=np.int32), np.full(size, time), value, np.ones(size, np.uint8), history, time
        )
        said += [(step, d.subject, d.rule) for d in pipeline.update(batch) if d.active]
    assert {subject for _, subject, _ in said} == {"point:D0/pressure"}
    assert "seasonal" in {rule for _, _, rule in said}


def test_silence_is_still_seen_after_the_city_clock_was_set_back():
    detector = SilenceDetector.build(Scope(checks.sample_devices(), LIMITS))
    detector.update(checks.sample_batch([0], [0], [3e5]))
    back = checks.START_MS - 3_600_000
    said = [each for second in range(120) for each in detector.update(Batch.empty(back + 1000 * second))]
    assert [(each.subject, each.active) for each in said] == [("device:S-00", True)]
