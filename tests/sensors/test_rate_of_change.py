"""Rate of change: what is too fast for a series, and what it does every day."""

from datetime import timedelta

import numpy as np
import pytest

from sensors.detection import checks
from sensors.detection.rate_of_change import RateOfChangeDetector
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.reading import Batch
from twin.asset import System

LIMITS = load()


def build(quantity="pressure", unit="MPa", system=System.WATER):
    point = Point(quantity, quantity, unit, 0)
    return RateOfChangeDetector.build(
        Scope([Device(DeviceId("D"), "t", system, (point,), timedelta(seconds=5))], LIMITS)
    )


def live(detector, values, start_s=0.0, step_s=5.0, now=None):
    size = len(values)
    time = checks.START_MS + np.round(1000 * (start_s + step_s * np.arange(size))).astype(np.int64)
    said = detector.update(
        Batch(
            np.zeros(size, np.int32),
            time,
            np.asarray(values, float),
            np.ones(size, np.uint8),
            np.zeros(size, np.bool_),
            int(time[-1]) if now is None else now,
        )
    )
    return [(d.active, d.value) for d in said]


def calm(size, seed=1, scale=1000.0):
    return 3e5 + np.random.default_rng(seed).normal(0, scale, size)


def test_fall_that_two_readings_show_is_told_with_what_was_usual():
    detector = build()
    assert live(detector, calm(100)) == []
    size = np.zeros(2, np.int32)
    time = checks.START_MS + np.array([500_000, 505_000])
    (said,) = detector.update(Batch(size, time, np.array([2.2e5, 2.2e5]), np.ones(2, np.uint8), size > 0, int(time[1])))
    assert said.evidence.basis == "recent"
    assert said.evidence.facts[0].value == pytest.approx(3e5, rel=0.01)
    assert 0.5 < said.evidence.confidence < 1
    assert said.expected[0] > said.value


def test_noise_of_a_coarse_sensor_sets_its_own_threshold():
    assert live(build(), calm(2000, scale=8000.0)) == []


def test_steps_nearly_worth_telling_raise_the_bar_by_a_quarter():
    detector, values = build(), calm(600)
    for start in (200, 300, 400, 500):
        values[start] -= 28_000
    assert live(detector, values) == []
    assert live(detector, [2.67e5, 2.67e5], start_s=3000) == []
    assert [active for active, _ in live(build(), [*calm(600), 2.67e5, 2.67e5])] == [True]
    assert [active for active, _ in live(detector, [2.0e5, 2.0e5], start_s=3010)] == [True]


def test_what_has_settled_where_it_went_is_over_within_an_hour():
    detector = build()
    live(detector, calm(100))
    said = live(detector, calm(900, seed=2) - 6e4, start_s=500)
    assert [active for active, _ in said] == [True, False]


def test_gas_that_falls_is_no_alarm():
    detector = build("combustible_gas", "%LEL", System.GAS)
    assert live(detector, [0.2] * 50 + [0.0] * 50) == []


def test_reading_ahead_of_the_city_deafens_nothing():
    detector = build()
    live(detector, calm(100))
    assert live(detector, [3e5], start_s=790, now=checks.START_MS + 500_000) == []
    assert [active for active, _ in live(detector, [2e5, 2e5], start_s=505)] == [True]


def test_state_of_a_series_is_small():
    detector = build()
    live(detector, calm(5000))
    assert len(detector.save()) < 4096
