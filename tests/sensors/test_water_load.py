"""Residuals brought to one load: a leak that stands shows the same in winter and in summer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.detection.water.load import EXPONENT, USUAL_BLOCKS, Load
from sensors.hydraulics.network_model import PROBE_LOAD

USUAL = np.array([3.0, -1.0, 2.0])
PARTS = np.array([0, 1, -1])


def taught(usual=USUAL, parts=PARTS):
    load = Load(parts)
    for _ in range(USUAL_BLOCKS):
        load.take(usual, np.ones(2))
    return load


@given(st.floats(0.5, 2.0), st.floats(0.01, 5.0))
def test_a_leak_shows_the_same_whatever_is_drawn(times, leak):
    shown = taught().take(USUAL - leak * times**EXPONENT, np.full(2, times * PROBE_LOAD))
    assert shown[:2] == pytest.approx([-leak, -leak])


def test_each_pressure_goes_by_the_draw_of_its_own_part():
    shown = taught().take(USUAL - 1.0, np.array([2.0, 1.0]) * PROBE_LOAD)
    assert shown[1] == pytest.approx(-1.0)
    assert shown[0] == pytest.approx(-1.0 / 2.0**EXPONENT)


def test_what_hangs_on_no_metered_part_stays_as_it_is():
    assert taught().take(USUAL - 1.0, np.array([3.0, 3.0]))[2] == USUAL[2] - 1.0


def test_a_meter_that_says_nothing_leaves_the_load_as_the_signatures_have_it():
    assert taught().take(USUAL - 1.0, np.full(2, np.nan))[:2] == pytest.approx([-1.0, -1.0])


def test_what_was_not_read_is_not_read_and_teaches_nothing():
    load = Load(PARTS)
    assert np.isnan(load.take(np.array([np.nan, 1.0, 1.0]), np.ones(2))[0])
    assert load.take(np.array([7.0, 1.0, 1.0]), np.ones(2))[0] == 0.0


def test_an_order_of_readings_that_changed_is_followed():
    load = Load(PARTS[[1, 0, 2]])
    load.restore(taught().state(), np.array([1, 0, -1]))
    assert load.take(USUAL[[1, 0, 2]] - 1.0, np.full(2, PROBE_LOAD))[:2] == pytest.approx([-1.0, -1.0])
