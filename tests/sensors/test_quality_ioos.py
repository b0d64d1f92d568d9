"""The quality tests against ioos_qc, QARTOD's own implementation, where both can say the same of a reading."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ioos_qc import qartod

from sensors.detection import checks
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.quality import Quality, Test
from twin.asset import System

LIMITS = load()
STEP_S = 60.0


def judged(values, quantity="pressure", unit="MPa", *, span=(None, None), off=(), step=STEP_S):
    """Return which tests each value fails, in a row of readings `step` seconds apart."""
    point = Point(quantity, quantity, unit, 0, *span)
    device = Device(DeviceId("D"), "t", System.WATER, (point,), timedelta(seconds=step))
    quality = Quality.build(Scope([device], LIMITS), off)
    seconds = step * np.arange(len(values))
    checked, _ = quality.check(checks.sample_batch([0] * len(values), seconds, values))
    return checked.flags & ~np.uint32(Test.STALE)


def times(values, step=STEP_S):
    return checks.START_MS / 1000 + step * np.arange(len(values))


def noise(size, scale, seed=1):
    return np.random.default_rng(seed).normal(0, scale, size)


@settings(max_examples=40)
@given(st.lists(st.floats(-2e6, 2e6) | st.just(float("nan")), min_size=1, max_size=50))
def test_gross_range_is_that_of_qartod(values):
    """The span is wider by one per cent here: noise at the ends of a range is no failure."""
    theirs = qartod.gross_range_test(values, (-0.01 * 1e6, 1.01 * 1e6))
    ours = judged(values, span=(0.0, 1e6))
    assert ((ours & Test.GROSS_RANGE) > 0).tolist() == (theirs == qartod.QartodFlags.FAIL).tolist()
    assert ((ours & Test.MISSING) > 0).tolist() == (theirs == qartod.QartodFlags.MISSING).tolist()


@settings(max_examples=40)
@given(st.lists(st.integers(0, 30).map(lambda k: 275.0 + k), min_size=2, max_size=50))
def test_rate_of_change_is_that_of_qartod(values):
    """Both compare neighbours; spikes, whose readings are no neighbours here, are switched off."""
    limit = LIMITS.number("rate", "temperature")
    theirs = qartod.rate_of_change_test(values, times(values), limit / 60)
    ours = judged(values, "temperature", "Cel", off=["spike"])
    assert ((ours & Test.RATE) > 0).tolist() == (theirs == qartod.QartodFlags.SUSPECT).tolist()


@settings(max_examples=40)
@given(st.sets(st.integers(15, 180), max_size=8), st.sampled_from([-1, 1]))
def test_spikes_apart_are_those_of_qartod(places, sign):
    """Those that follow one another are left out: QARTOD waits for the next reading, and takes two for none."""
    values = 3e5 + noise(200, 800.0)
    apart = [place for place in sorted(places) if not places & {place + 1, place + 2, place + 3}]
    values[apart] += sign * 2e5
    theirs = qartod.spike_test(values, fail_threshold=1e5, method="differential")
    ours = judged(values)
    assert np.flatnonzero(ours & Test.SPIKE).tolist() == np.flatnonzero(theirs == qartod.QartodFlags.FAIL).tolist()


@settings(max_examples=40)
@given(st.integers(30, 120), st.integers(0, 40))
def test_flat_line_begins_and_ends_where_that_of_qartod_does(start, length):
    row = next(row for row in LIMITS.flat_line if row.quantity == "pressure")
    values = 3e5 + noise(200, 800.0)
    values[start : start + length] = 3e5
    duration = max(row.duration_s, (row.readings - 1) * STEP_S)
    theirs = qartod.flat_line_test(values, times(values), duration, duration, tolerance=2 * row.tolerance * 1e3)
    ours = judged(values, off=["spike"])
    assert ((ours & Test.FLAT_LINE) > 0).tolist() == (theirs == qartod.QartodFlags.FAIL).tolist()


@pytest.mark.parametrize("kept", [0.5, 0.01])
def test_attenuated_days_are_those_of_qartod(kept):
    """QARTOD's window slides; at the end of each day both have seen that day."""
    days, per_day, step = 8, 96, 900.0
    wave = 3e4 * np.sin(2 * np.pi * np.arange(days * per_day) / per_day) + noise(days * per_day, 100.0)
    wave[5 * per_day :] *= kept
    values = 3e5 + wave
    usual = np.exp(np.mean([np.log(np.ptp(values[day * per_day : (day + 1) * per_day])) for day in range(5)]))
    threshold = LIMITS.number("quality", "attenuated_share") * usual
    theirs = qartod.attenuated_signal_test(
        values,
        times(values, step).astype("datetime64[s]"),
        threshold,
        threshold,
        test_period=86_400,
        check_type="range",
    )
    ours = judged(values, off=["flat_line", "spike"], step=step)
    for day in range(4, days - 1):
        said_after = bool(ours[(day + 1) * per_day] & Test.ATTENUATED)
        assert said_after == (theirs[(day + 1) * per_day - 1] == qartod.QartodFlags.FAIL)
