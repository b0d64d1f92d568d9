"""Steps hold what the readings say, however they were batched, and are closed neither early nor never."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sensors.detection.series import pack, unpack
from sensors.detection.steps import Steps
from sensors.reading import Batch, Quality

MINUTE = 60_000


def batch(rows):
    """Return a batch of (series, time in ms, value) in time order."""
    rows = sorted(rows, key=lambda row: row[1])
    series, time, value = (np.array(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    size = len(rows)
    good, live = np.full(size, Quality.GOOD, np.uint8), np.zeros(size, np.bool_)
    return Batch(
        np.asarray(series, np.int32),
        np.asarray(time, np.int64),
        np.asarray(value, np.float64),
        good,
        live,
        int(max(time, default=0)),
    )


def told(steps):
    return [
        (step.time, np.round(step.mean, 9).tolist().__repr__(), step.last.tolist().__repr__(), step.count.tolist())
        for step in steps
    ]


rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 40 * MINUTE), st.floats(-1e3, 1e3)), min_size=1, max_size=80
)


@given(rows, st.integers(1, 79))
def test_batching_does_not_change_the_steps(rows, cut):
    rows = sorted(rows, key=lambda row: row[1])
    whole, parts = Steps([0, 1, 2, 3], MINUTE), Steps([0, 1, 2, 3], MINUTE)
    at_once = whole.take(batch(rows))
    apart = parts.take(batch(rows[:cut])) + parts.take(batch(rows[cut:]))
    assert told(at_once) == told(apart)


@given(rows, st.integers(1, 79))
def test_state_goes_on_where_it_was_saved(rows, cut):
    rows = sorted(rows, key=lambda row: row[1])
    first, second = Steps([0, 1, 2, 3], MINUTE), Steps([0, 1, 2, 3], MINUTE)
    begun = first.take(batch(rows[:cut]))
    second.restore(unpack(pack(**first.state()), **second.state()))
    whole = Steps([0, 1, 2, 3], MINUTE)
    assert told(begun + second.take(batch(rows[cut:]))) == told(whole.take(batch(rows)))


@given(rows)
def test_steps_come_in_order_and_hold_every_reading_that_was_in_time(rows):
    rows = sorted(rows, key=lambda row: row[1])
    steps = Steps([0, 1, 2, 3], MINUTE)
    end = max(row[1] for row in rows) + 30 * MINUTE
    found = steps.take(batch([*rows, *((n, end + n, 0.0) for n in range(4))]))
    times = [step.time for step in found]
    assert times == sorted(set(times))
    newest = [-1] * 4
    taken = 0
    for series, time, _ in rows:
        taken += time > newest[series]
        newest[series] = max(newest[series], time)
    within = 3 * MINUTE  # nothing is waited for longer, and a single series that runs ahead closes nothing
    if max(newest) - min(row[1] for row in rows) < within:
        assert sum(int(step.count.sum()) for step in found) == taken


def test_one_clock_that_runs_ahead_closes_nothing():
    steps = Steps([0, 1, 2], MINUTE)
    assert steps.take(batch([(0, 0, 1.0), (1, 0, 1.0), (2, 5 * MINUTE, 9.0)])) == []
    assert told(steps.take(batch([(0, 2 * MINUTE, 2.0), (1, 2 * MINUTE, 2.0)]))) == [
        (0, "[1.0, 1.0, nan]", "[1.0, 1.0, nan]", [1, 1, 0])
    ]


def test_pause_of_a_year_is_stepped_over_at_once():
    steps = Steps([0], MINUTE)
    year = 365 * 86_400_000
    found = steps.take(batch([(0, 0, 1.0), (0, year, 2.0), (0, year + 3 * MINUTE, 3.0)]))
    assert [(step.time, step.mean[0]) for step in found] == [(0, 1.0), (year, 2.0)]


def test_failed_readings_are_left_out():
    steps = Steps([0], MINUTE, lateness_ms=0)
    given = batch([(0, 0, 1.0), (0, 10, 500.0), (0, MINUTE, 1.0)])
    given.quality[1] = Quality.FAIL
    [step] = steps.take(given)
    assert (step.mean[0], step.count[0]) == (1.0, 1)


def test_only_history_makes_a_step_of_history():
    steps = Steps([0], MINUTE, lateness_ms=0)
    given = batch([(0, 0, 1.0), (0, MINUTE, 1.0), (0, MINUTE + 1, 1.0), (0, 2 * MINUTE, 1.0)])
    given.history[:2] = True
    assert [step.live for step in steps.take(given)] == [False, True]


def test_series_that_are_new_after_a_restart_start_afresh():
    first, second = Steps([0, 1], MINUTE, lateness_ms=0), Steps([1, 2], MINUTE, lateness_ms=0)
    first.take(batch([(0, 0, 1.0), (1, 0, 5.0)]))
    second.restore(first.state())
    [step] = second.take(batch([(1, MINUTE, 0.0), (2, MINUTE, 0.0)]))
    assert step.mean.tolist()[0] == 5.0
    assert step.count.tolist() == [1, 0]


def test_no_series_make_no_steps():
    assert Steps(np.empty(0, np.int32), MINUTE).take(batch([(0, 0, 1.0)])) == []


def test_prompt_step_is_closed_by_the_last_reading_that_is_expected_in_it():
    steps = Steps([0, 1, 2], MINUTE, prompt=True)
    assert not steps.take(batch([(0, 0, 1.0), (1, 0, 2.0)]))
    steps.take(batch([(s, t * MINUTE, 1.0) for t in (1, 2) for s in (0, 1)]))
    assert not steps.take(batch([(0, 3 * MINUTE, 3.0)]))
    [step] = steps.take(batch([(1, 3 * MINUTE, 4.0)]))
    assert (step.time, step.mean[:2].tolist()) == (3 * MINUTE, [3.0, 4.0])


def test_prompt_step_without_one_of_its_series_waits_for_the_others_to_go_on():
    steps = Steps([0, 1, 2], MINUTE, prompt=True)
    steps.take(batch([(s, t * MINUTE, 1.0) for t in range(3) for s in range(3)]))
    assert not steps.take(batch([(0, 3 * MINUTE, 1.0), (1, 3 * MINUTE, 1.0)]))
    later = steps.take(batch([(s, t * MINUTE, 1.0) for t in (4, 5, 6) for s in range(2)]))
    assert [step.time // MINUTE for step in later] == [3, 4, 5, 6]


@given(rows, st.integers(1, 79))
def test_batching_does_not_change_prompt_steps(rows, cut):
    rows = sorted(rows, key=lambda row: row[1])
    whole, parts = Steps([0, 1, 2, 3], MINUTE, prompt=True), Steps([0, 1, 2, 3], MINUTE, prompt=True)
    at_once = whole.take(batch(rows))
    apart = parts.take(batch(rows[:cut])) + parts.take(batch(rows[cut:]))
    assert told(at_once) == told(apart)


minutes = st.lists(st.lists(st.integers(0, 3), unique=True, min_size=2), min_size=1, max_size=12)


@given(minutes, st.permutations(range(4)))
def test_order_within_a_batch_does_not_change_prompt_steps(present, order):
    plain, turned = Steps([0, 1, 2, 3], MINUTE, prompt=True), Steps([0, 1, 2, 3], MINUTE, prompt=True)
    for minute, those in enumerate(present):
        rows = [(series, minute * MINUTE, float(series)) for series in those]
        ordered = [(series, minute * MINUTE, float(series)) for series in order if series in those]
        assert told(plain.take(batch(rows))) == told(turned.take(batch(ordered)))


def test_series_that_report_all_at_once_after_many_steps_lose_nothing():
    steps = Steps([0, 1, 2, 3], MINUTE)
    closed = steps.take(batch([(series, number * 5 * MINUTE, 1.0) for number in range(4) for series in range(4)]))
    assert [step.count.tolist() for step in closed] == [[1, 1, 1, 1]] * 3
