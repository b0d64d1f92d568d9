"""Seasonal: what days teach, what they do not, and what is strange then."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from sensors.city_calendar import Calendar, Holiday
from sensors.detection.scope import Scope
from sensors.detection.seasonal import SeasonalDetector
from sensors.detection.series import pack
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.reading import Batch
from twin.asset import System
from twin.errors import InputError

LIMITS = load()
MONDAY = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


PLAIN = Calendar(0.0)


def build(interval_s=900, calendar=PLAIN, count=1):
    devices = [
        Device(DeviceId(f"D{k}"), "t", System.WATER, (Point("q", "flow", "m3/h", k),), timedelta(seconds=interval_s))
        for k in range(count)
    ]
    return SeasonalDetector.build(Scope(devices, replace(LIMITS, calendar=calendar)))


def stretch(first_ms, days, step_ms=900_000):
    return first_ms + np.arange(0, round(days * DAY_MS), step_ms, dtype=np.int64)


def feed(detector, time, value, now=None, history=False):
    size = len(time)
    columns = np.zeros(size, np.int32), time, np.asarray(value, float)
    late = int(time[-1]) if now is None else now
    return detector.update(Batch(*columns, np.ones(size, np.uint8), np.full(size, history), late))


def flow(time, rng, off=()):
    """Return m3/s: by day (UTC) twice what it is by night, and by a day off half as much."""
    hour = time / HOUR_MS % 24
    day = (time // DAY_MS).astype(int)
    rest = ((day + 3) % 7 >= 5) | np.isin(day, [(each - date(1970, 1, 1)).days for each in off])
    shape = 1 + np.sin(2 * np.pi * (hour - 8) / 24)
    return 0.01 + 0.02 * shape * np.where(rest, 0.5, 1.0) + rng.normal(0, 2e-4, len(time))


HOLIDAYS = (date(2026, 4, 29), date(2026, 4, 30))
UTC_CALENDAR = Calendar(0.0, (Holiday("h", *HOLIDAYS, "test", verified=True),))


@pytest.mark.parametrize(("calendar", "raised"), [(UTC_CALENDAR, False), (PLAIN, True)])
def test_holiday_is_taken_for_a_weekend_until_it_has_a_profile(calendar, raised):
    time = stretch(MONDAY, 61)  # to Friday, the first of May
    said = feed(build(calendar=calendar), time, flow(time, np.random.default_rng(1), HOLIDAYS))
    assert any(d.active for d in said) == raised


def test_series_of_one_reading_an_hour_is_watched():
    detector, rng = build(interval_s=3600), np.random.default_rng(2)
    time = stretch(MONDAY, 21, HOUR_MS)
    assert feed(detector, time, flow(time, rng)) == []
    burst = stretch(MONDAY + 21 * DAY_MS, 0.5, HOUR_MS)
    said = feed(detector, burst, flow(burst, rng) + 0.03)
    assert [d.active for d in said] == [True]
    assert said[0].time <= burst[1]


def test_one_odd_reading_raises_nothing_and_hardly_moves_what_is_expected():
    detector, rng = build(), np.random.default_rng(3)
    time = stretch(MONDAY, 21)
    value = flow(time, rng)
    value[-60] += 1.0
    assert feed(detector, time, value) == []
    later = stretch(MONDAY + 21 * DAY_MS, 7)
    strange = flow(later, rng)
    strange[-48:] += 0.03
    (said,) = feed(detector, later, strange)
    usual = flow(later, np.random.default_rng(4))[int((said.time - later[0]) // 900_000)]
    assert said.expected[0] < usual < said.expected[1]


def test_leak_does_not_become_the_baseline_within_a_week():
    detector, rng = build(), np.random.default_rng(5)
    time = stretch(MONDAY, 28)
    feed(detector, time, flow(time, rng))
    leak = stretch(MONDAY + 28 * DAY_MS, 7)
    said = feed(detector, leak, flow(leak, rng) + 0.02)
    assert [d.active for d in said] == [True]
    repaired = stretch(MONDAY + 35 * DAY_MS, 0.5)
    assert [d.active for d in feed(detector, repaired, flow(repaired, rng))] == [False]


def test_new_life_of_a_series_is_learnt_after_a_fortnight():
    detector, rng = build(), np.random.default_rng(6)
    time = stretch(MONDAY, 28)
    feed(detector, time, flow(time, rng))
    after = stretch(MONDAY + 28 * DAY_MS, 20)
    feed(detector, after, flow(after, rng) + 0.02)
    settled = stretch(MONDAY + 48 * DAY_MS, 2)
    assert feed(detector, settled, flow(settled, rng) + 0.02) == []
    assert detector.load(detector.save()) == set()


def test_small_change_that_lasts_is_found_by_its_sum():
    detector, rng = build(), np.random.default_rng(7)
    time = stretch(MONDAY, 42)
    feed(detector, time, flow(time, rng))
    leak = stretch(MONDAY + 42 * DAY_MS, 1)
    said = feed(detector, leak, flow(leak, rng) + 0.0025)  # 8 % of the mean
    assert said[0].active
    assert said[0].score < 6.0


def test_nothing_is_strange_before_a_day_is_known():
    detector, rng = build(), np.random.default_rng(8)
    time = stretch(MONDAY, 0.8)
    value = flow(time, rng)
    value[-8:] += 1.0
    assert feed(detector, time, value) == []


def test_week_without_readings_changes_nothing_of_what_is_known():
    detector, rng = build(), np.random.default_rng(9)
    time = stretch(MONDAY, 28)
    feed(detector, time, flow(time, rng))
    back = stretch(MONDAY + 35 * DAY_MS, 2)
    assert feed(detector, back, flow(back, rng)) == []
    burst = stretch(MONDAY + 37 * DAY_MS, 0.1)
    assert [d.active for d in feed(detector, burst, flow(burst, rng) + 0.03)] == [True]


def test_reading_ahead_of_the_city_deafens_no_series():
    detector, rng = build(), np.random.default_rng(10)
    time = stretch(MONDAY, 21)
    feed(detector, time, flow(time, rng))
    now = int(time[-1]) + 1000
    feed(detector, np.array([now + 290_000]), flow(time[-1:], rng), now=now)
    burst = now + 1000 + np.arange(0, 60_000, 5000, dtype=np.int64)
    said = feed(detector, burst, flow(burst, rng) + 0.1)
    assert [d.active for d in said] == [True]


def test_confidence_grows_with_how_far_the_value_is_away():
    def confidence(more):
        detector, rng = build(), np.random.default_rng(11)
        time = stretch(MONDAY, 21)
        feed(detector, time, flow(time, rng))
        burst = stretch(MONDAY + 21 * DAY_MS, 0.1)
        (said,) = feed(detector, burst, flow(burst, rng) + more)
        assert said.evidence.basis == "profile"
        assert said.evidence.facts[0].name == "usual"
        return said.evidence.confidence

    assert 0.5 <= confidence(0.02) < confidence(0.1) <= 1.0


def test_state_of_a_series_is_small():
    size = 1000
    detector = build(count=size)
    rng = np.random.default_rng(12)
    for step in range(60):
        time = np.full(size, MONDAY + step * 1_800_000)
        value = rng.uniform(0.01, 0.1, size)
        series = np.arange(size, dtype=np.int32)
        detector.update(Batch(series, time, value, np.ones(size, np.uint8), np.zeros(size, bool), int(time[0])))
    assert len(detector.save()) <= 4096 * size


def test_state_of_another_layout_is_refused_aloud():
    with pytest.raises(InputError, match="E_SCHEMA"):
        build().load(pack(state=np.zeros(3)))
