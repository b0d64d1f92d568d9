"""Rates: what a device may send, at once and for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.rate import BURST, MAX_REMEMBERED, Kind, Rates


def test_a_device_that_keeps_its_rate_is_never_refused():
    rates = Rates(20.0)
    assert all(rates.admits(Kind.LIVE, "A", 5, 5 / 60, 60.0 * minute) for minute in range(10_000))


@given(st.lists(st.tuples(st.floats(0, 60), st.integers(1, 500)), max_size=60), st.floats(0.01, 100))
def test_no_device_gets_more_than_its_burst_and_its_rate(sent, per_s):
    rates = Rates(20.0)
    now_s = taken = 0.0
    for pause_s, readings in sent:
        now_s += pause_s
        taken += readings * rates.admits(Kind.LIVE, "A", readings, per_s, now_s)
    assert taken <= max(3600 * per_s, BURST) + 20 * per_s * now_s + 1e-6 * taken


def test_zero_lets_everything_pass():
    assert Rates(0.0).admits(Kind.LIVE, "A", 10**9, 0.01, 0.0)


def test_what_is_remembered_of_devices_is_bounded():
    rates = Rates(20.0)
    for number in range(2 * MAX_REMEMBERED):
        rates.admits(Kind.LIVE, f"D{number}", 1, 1.0, float(number))
    assert len(rates._due[Kind.LIVE]) <= MAX_REMEMBERED
