"""Figures of performance are what counting by hand gives, whatever happened to the alarms."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.alarm_log import AlarmLog
from sensors.figures.history import Change, history, read_history
from sensors.figures.performance import Lengths, Meter, performance
from sensors.response import load

TARGETS = load().targets
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
ZERO = int(START.timestamp() * 1000)
HOUR = timedelta(hours=1)


def story(*alarms):
    """Make a history: of each alarm its changes (seconds after START, what, level), the subject being its place."""
    rows, changes = [], []
    for number, (subject, steps) in enumerate(alarms, 1):
        rows.append((number, subject, "high", "water", "main"))
        changes += [
            (number, version, ZERO + round(1000 * second), change, level)
            for version, (second, change, level) in enumerate(steps, 1)
        ]
    return history(rows, np.array(changes, np.int64).reshape(-1, 5))


def raised(second, subject="S", level=3, *, ack=None, clear=None):
    steps = [(second, Change.RAISED, level)]
    if ack is not None:
        steps.append((ack, Change.ACKNOWLEDGED, level))
    if clear is not None:
        steps.append((clear, Change.CLEARED, level))
    return subject, sorted(steps)


def measured(*alarms, start=START, length=HOUR):
    return performance(story(*alarms), TARGETS, start, start + length)


def test_nothing_happened_has_figures_too():
    quiet = measured()
    assert (quiet.announced, quiet.rate, quiet.peak, quiet.peak_at, quiet.floods) == (0, 0.0, 0, None, ())
    assert quiet.windows == (0,) * 6
    assert quiet.acknowledge == quiet.clear == Lengths(0)


def test_rate_is_announcements_in_ten_minutes():
    told = measured(*(raised(300 * n, f"S{n}") for n in range(12)))
    assert (told.announced, told.rate, told.windows) == (12, 2.0, (2,) * 6)
    assert told.peak == 2


def test_peak_is_found_across_the_borders_of_windows():
    told = measured(*(raised(500 + 20 * n, f"S{n}") for n in range(10)))  # 500 s to 680 s
    assert max(told.windows) == 5
    assert (told.peak, told.peak_at) == (10, START + timedelta(seconds=680))


def test_shares_are_of_the_levels_as_they_were_announced():
    told = measured(raised(1, "A", 1), raised(2, "B", 4), ("C", [(3, Change.RAISED, 3), (9, Change.ESCALATED, 2)]))
    assert [level.announced for level in told.levels] == [1, 1, 1, 1]
    assert sum(level.share for level in told.levels) == 1


def test_times_to_acknowledge_and_to_clear():
    told = measured(*(raised(10 * n, f"S{n}", ack=10 * n + 60 * (n + 1), clear=10 * n + 600) for n in range(5)))
    assert told.acknowledge == Lengths(5, timedelta(minutes=3), timedelta(minutes=4, seconds=36))
    assert told.clear == Lengths(5, timedelta(minutes=10), timedelta(minutes=10))
    assert told.unacknowledged == told.standing == 0


def test_alarm_that_gets_worse_before_anybody_looks_has_waited_since_the_first_time():
    steps = [(0, Change.RAISED, 3), (100, Change.ESCALATED, 1), (160, Change.ACKNOWLEDGED, 1)]
    assert measured(("S", steps)).acknowledge.median == timedelta(seconds=160)


def test_alarm_that_gets_worse_after_it_was_acknowledged_waits_anew():
    steps = [
        (0, Change.RAISED, 3),
        (10, Change.ACKNOWLEDGED, 3),
        (100, Change.ESCALATED, 1),
        (160, Change.ACKNOWLEDGED, 1),
    ]
    told = measured(("S", steps))
    assert (told.acknowledge.count, told.acknowledge.median) == (2, timedelta(seconds=35))


def test_what_is_acknowledged_counts_in_the_shift_that_did_it():
    alarm = raised(3000, ack=4000)
    assert measured(alarm).acknowledge == Lengths(0)
    assert measured(alarm).unacknowledged == 1
    assert measured(alarm, start=START + HOUR).acknowledge.median == timedelta(seconds=1000)


def test_standing_for_more_than_a_day_is_stale():
    day = 86_400
    told = measured(raised(-day - 1, "old"), raised(-day + 1801, "young"), raised(-day, "over", clear=-5), raised(9))
    assert (told.standing_before, told.standing) == (2, 3)
    told = measured(raised(-day - 1, "old"), raised(-day + 3601, "young"), raised(-day, "over", clear=-5))
    assert told.stale == 1


def bounce(subject, *seconds):
    """Make an alarm that comes back, each time for three seconds."""
    steps = []
    for n, second in enumerate(seconds):
        steps += [(second, Change.REOPENED if n else Change.RAISED, 4), (second + 3, Change.CLEARED, 4)]
    return subject, steps


def test_three_times_in_a_minute_chatter_and_two_are_fleeting():
    told = measured(bounce("rattle", 0, 30, 60), bounce("blink", 0, 59), bounce("slow", 100, 131, 161))
    assert [(actor.subject, actor.announced) for actor in told.chattering] == [("rattle", 3)]
    assert told.fleeting == 2 + 3


def test_chattering_is_seen_over_alarms_of_one_condition():
    told = measured(raised(0, "S", clear=5), raised(20, "S", clear=25), raised(40, "S", clear=45))
    assert [actor.subject for actor in told.chattering] == ["S"]
    assert told.fleeting == 0


def test_top_ten_are_the_most_frequent_and_their_share():
    told = measured(*(bounce(f"S{n:02}", *(200 * k for k in range(1 + n))) for n in range(12)))
    assert [actor.announced for actor in told.top] == [12, 11, 10, 9, 8, 7, 6, 5, 4, 3]
    assert told.top[0].subject == "S11"
    assert told.top_share == pytest.approx(75 / 78)


def test_flood_lasts_from_its_first_alarm_until_the_last_ten_minutes_had_fewer_than_five():
    told = measured(*(raised(60 + 10 * n, f"S{n}") for n in range(20)))
    (flood,) = told.floods
    assert flood.start == START + timedelta(seconds=60)
    assert flood.end == START + timedelta(seconds=60 + 150 + 600)  # then four are left: those from 220 s on
    assert (flood.announced, flood.peak, flood.running) == (20, 20, False)
    assert told.flood_share == pytest.approx(750 / 3600)


def test_ten_in_ten_minutes_are_no_flood():
    assert measured(*(raised(n, f"S{n}") for n in range(10))).floods == ()


def test_flood_goes_on_in_the_next_shift():
    alarms = [raised(3500 + 10 * n, f"S{n}") for n in range(30)]
    (before,), (after,) = (measured(*alarms, start=START + n * HOUR).floods for n in (0, 1))
    assert (before.running, after.running) == (True, False)
    assert before.end == after.start == START + HOUR
    assert before.announced + after.announced == 30


@st.composite
def lives(draw):
    """Draw what may become of an alarm, by a rule a step: what stands is cleared, what sounds is acknowledged."""
    second, steps, active, waits = draw(st.integers(-3000, 3500)), [], False, False
    for _ in range(draw(st.integers(1, 8))):
        may = [Change.REOPENED] if not active else [Change.CLEARED, Change.ESCALATED, Change.OTHER]
        what = draw(st.sampled_from([*may, *([Change.ACKNOWLEDGED] if waits else [])])) if steps else Change.RAISED
        active = what != Change.CLEARED and (active or what in {Change.RAISED, Change.REOPENED})
        waits = what is not Change.ACKNOWLEDGED and (
            waits or what in {Change.RAISED, Change.REOPENED, Change.ESCALATED}
        )
        steps.append((second, what, draw(st.integers(1, 4))))
        second += draw(st.sampled_from([0, 1, 20, 300, 2000]))
    return f"S{draw(st.integers(0, 3))}", steps


def by_hand(alarms, end):
    """Count with plain loops what the columns say."""
    sounds = {Change.RAISED, Change.REOPENED, Change.ESCALATED}
    announced = sum(0 <= second < end and what in sounds for _, steps in alarms for second, what, _ in steps)
    standing = waiting = 0
    cleared, answered = [], []
    for _, steps in alarms:
        since = asked = None
        for second, what, _ in (step for step in steps if step[0] < end):
            if what in {Change.RAISED, Change.REOPENED}:
                since = second
            if what is Change.CLEARED:
                cleared += [second - since] if second >= 0 else []
                since = None
            if what in sounds and asked is None:
                asked = second
            if what is Change.ACKNOWLEDGED:
                answered += [second - asked] if second >= 0 else []
                asked = None
        standing += since is not None
        waiting += asked is not None
    return announced, standing, waiting, sorted(cleared), sorted(answered)


@given(alarms=st.lists(lives(), max_size=12), end=st.sampled_from([600, 1800, 3600]))
def test_columns_say_what_counting_says(alarms, end):
    told = measured(*alarms, length=timedelta(seconds=end))
    announced, standing, waiting, cleared, answered = by_hand(alarms, end)
    assert (told.announced, told.standing, told.unacknowledged) == (announced, standing, waiting)
    assert (told.clear.count, told.acknowledge.count) == (len(cleared), len(answered))
    for lengths, by_loop in ((told.clear, cleared), (told.acknowledge, answered)):
        if by_loop:
            assert lengths.median == timedelta(seconds=float(np.median(by_loop)))
    assert sum(told.windows) == announced == sum(level.announced for level in told.levels)


@given(alarms=st.lists(lives(), max_size=25))
def test_time_cut_in_two_is_told_as_one(alarms):
    meter = Meter(story(*alarms), TARGETS)
    whole, *halves = (
        meter.over(START + timedelta(minutes=a), START + timedelta(minutes=b)) for a, b in ((0, 60), (0, 30), (30, 60))
    )
    assert whole.announced == sum(half.announced for half in halves)
    assert whole.standing == halves[1].standing
    assert halves[0].standing == halves[1].standing_before
    assert whole.peak == max(half.peak for half in halves)
    for earlier, later in pairwise(whole.floods):
        assert earlier.end <= later.start


def test_history_of_the_log_is_told_a_desk(engine, clock, seen):
    log = AlarmLog(engine, clock)
    (alarm,) = log.apply([seen(0)])
    clock.move_to(START + timedelta(seconds=90))
    log.acknowledge(alarm.id, by="li", version=1)
    clock.move_to(START + timedelta(seconds=600))
    log.apply([seen(600, active=False), seen(600, name="WP-2")])
    told = read_history(engine, START, START + HOUR)
    assert told.keys[0] == ("point:WP-1/pressure", "water_pressure_low")
    assert set(told.places) == {("water", "test")}
    figures = performance(told, TARGETS, START, START + HOUR)
    assert (figures.announced, figures.standing, figures.acknowledge.median) == (2, 1, timedelta(seconds=90))
    assert figures.clear.median == timedelta(seconds=600)
    assert performance(told.where(lambda _, district: district == "x"), TARGETS, START, START + HOUR).announced == 0


def test_figures_of_a_shift_stay_as_they_were_when_it_ended(engine, clock, seen):
    log = AlarmLog(engine, clock)
    (alarm,) = log.apply([seen(0)])
    first = performance(read_history(engine, START, START + HOUR), TARGETS, START, START + HOUR)
    clock.move_to(START + 30 * HOUR)
    log.acknowledge(alarm.id, by="li", version=1)
    log.apply([seen(3600 * 30, active=False), seen(3600 * 30, name="WP-2")])
    assert performance(read_history(engine, START, START + HOUR), TARGETS, START, START + HOUR) == first
    later = START + 29 * HOUR
    assert performance(read_history(engine, later, later + HOUR), TARGETS, later, later + HOUR).stale == 1
