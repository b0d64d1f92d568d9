from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sensors.notify.message import Purpose, Reference
from sensors.notify.thread import RED_EVERY, Member, Thread, Timing, said, turn

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TIMING = Timing(timedelta(seconds=30), timedelta(minutes=10))


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def active(level=3, told=None):
    return Member(level, asks=True, over=False, told=told)


def look(thread, seconds, timing=TIMING, opens=0):
    """Look at a thread so many seconds after noon, and give what it says an id."""
    now = at(seconds)
    seen = turn(thread, timing, lambda _level: max(now, at(opens)), now)
    if seen.purpose is None:
        return seen.thread, seen
    return said(seen.thread, Reference(f"m{seconds}", now), seen.purpose), seen


def begun(*members, seconds=0):
    thread = Thread(dict(enumerate(members, 1)))
    thread, _ = look(thread, seconds)
    return thread


def test_news_wait_for_company_and_are_told_once():
    thread, seen = look(Thread({1: active()}), 0)
    assert (seen.purpose, seen.wakes) == (None, at(30))
    thread = replace(thread, members={**thread.members, 2: active(2)})
    thread, seen = look(thread, 29)
    assert seen.purpose is None
    thread, seen = look(thread, 30)
    assert (seen.purpose, dict(seen.alarms), seen.level) == (Purpose.ALERT, {1: 3, 2: 2}, 2)
    for seconds in (30, 31, 300):
        thread, seen = look(thread, seconds)
        assert seen.purpose is None


def test_level_1_does_not_wait():
    _, seen = look(Thread({1: active(1), 2: active(4)}), 0)
    assert (seen.purpose, seen.level, len(seen.alarms)) == (Purpose.ALERT, 1, 2)


def test_a_stream_of_level_1_is_told_every_ten_seconds():
    thread = begun(active(1))
    thread, seen = look(replace(thread, members={**thread.members, 2: active(1)}), 3)
    assert (seen.purpose, seen.wakes) == (None, NOON + RED_EVERY)
    _, seen = look(thread, 10)
    assert (seen.purpose, len(seen.alarms)) == (Purpose.UPDATE, 2)


def test_what_gets_worse_is_told_again_and_what_eases_is_not():
    thread, _ = look(begun(active(3)), 30)
    thread, seen = look(replace(thread, members={1: replace(thread.members[1], level=4)}), 100)
    assert seen.purpose is None
    _, seen = look(replace(thread, members={1: replace(thread.members[1], level=1)}), 101)
    assert (seen.purpose, seen.level) == (Purpose.UPDATE, 1)


def test_it_is_repeated_until_somebody_acknowledges():
    thread, _ = look(begun(active()), 30)
    for number in (1, 2):
        thread, seen = look(thread, 30 + 600 * number - 1)
        assert (seen.purpose, seen.wakes) == (None, at(30 + 600 * number))
        thread, seen = look(thread, 30 + 600 * number)
        assert (seen.purpose, thread.repeats) == (Purpose.REPEAT, number)
    thread = replace(thread, members={1: replace(thread.members[1], asks=False)})
    _, seen = look(thread, 30 + 600 * 9)
    assert (seen.purpose, seen.wakes) == (None, None)


def test_the_end_is_told_once_all_are_over():
    thread, _ = look(begun(active(), active(2)), 30)
    thread, seen = look(replace(thread, members={**thread.members, 1: replace(thread.members[1], over=True)}), 90)
    assert seen.purpose is None
    over = {number: replace(each, over=True) for number, each in thread.members.items()}
    thread, seen = look(replace(thread, members=over), 95)
    assert (seen.purpose, seen.level, len(seen.alarms)) == (Purpose.CLEAR, 2, 2)
    assert not thread.members


def test_who_does_not_want_the_end_is_not_told_of_it():
    thread, _ = look(begun(active()), 30)
    thread = replace(thread, members={1: replace(thread.members[1], over=True)})
    thread, seen = look(thread, 90, replace(TIMING, clear=False))
    assert (seen.purpose, thread.members) == (None, {})


@pytest.mark.parametrize(("level", "purpose"), [(1, Purpose.ALERT), (2, None), (4, None)])
def test_what_was_over_before_it_was_told_is_told_at_level_1_only(level, purpose):
    thread, seen = look(Thread({1: Member(level, asks=True, over=True)}), 0)
    assert seen.purpose is purpose
    assert bool(thread.members) == (purpose is not None)


def test_acknowledged_before_it_was_told_is_not_told():
    thread, seen = look(Thread({1: Member(1, asks=False, over=False)}), 0)
    assert (seen.purpose, thread.members) == (None, {})


def test_news_of_the_night_are_told_together_in_the_morning():
    thread, seen = look(Thread({1: active()}), 0, opens=3600)
    assert (seen.purpose, seen.wakes) == (None, at(3600))
    thread = replace(thread, members={**thread.members, 2: active(4)})
    _, seen = look(thread, 3600, opens=3600)
    assert (seen.purpose, len(seen.alarms)) == (Purpose.ALERT, 2)


class ThreadMachine(RuleBasedStateMachine):
    """Alarms come, go, worsen and are acknowledged; whoever is told hears of all that asks, and of nothing twice."""

    def __init__(self):
        super().__init__()
        self.thread = Thread()
        self.seconds = 0
        self.number = 0
        self.messages = []
        self.opens = 0

    def put(self, number, **changes):
        each = replace(self.thread.members[number], **changes)
        self.thread = replace(self.thread, members={**self.thread.members, number: each})

    @rule(level=st.integers(1, 4))
    def comes(self, level):
        self.number += 1
        self.thread = replace(self.thread, members={**self.thread.members, self.number: active(level)})

    @precondition(lambda self: self.thread.members)
    @rule(data=st.data(), level=st.integers(1, 4), over=st.booleans(), asks=st.booleans())
    def changes(self, data, level, over, asks):
        self.put(data.draw(st.sampled_from(sorted(self.thread.members))), level=level, over=over, asks=asks)

    @rule(seconds=st.integers(0, 900))
    def quiet(self, seconds):
        self.opens = self.seconds + seconds

    @rule(seconds=st.integers(0, 1200))
    def passes(self, seconds):
        self.seconds += seconds
        before = self.thread
        self.thread, seen = look(before, self.seconds, opens=self.opens)
        if seen.purpose is None:
            return
        now = self.seconds
        assert now >= self.opens
        about = {number: before.members[number] for number, _ in seen.alarms}
        if seen.purpose is Purpose.CLEAR:
            assert all(each.over and each.told is not None for each in about.values())
        elif seen.purpose is Purpose.REPEAT:
            assert all(each.asks and each.told is not None for each in about.values())
            assert now - self.messages[-1] >= 600
        else:
            assert all(number in about for number, each in before.members.items() if each.news)
            if self.messages and before.messages and seen.level > 1:
                assert now - self.messages[-1] >= 30
        assert (seen.purpose is Purpose.ALERT) == (not before.messages)
        self.messages.append(now)

    @invariant()
    def a_second_look_says_nothing(self):
        again, seen = look(self.thread, self.seconds, opens=self.opens)
        if seen.purpose is None:  # else it is the first look since something changed
            assert seen.wakes is None or seen.wakes > at(self.seconds)
            return
        assert look(again, self.seconds, opens=self.opens)[1].purpose is None

    @invariant()
    def what_asks_is_told_in_the_end(self):
        """Looking whenever it asks to be looked at, for long enough, leaves nothing untold."""
        thread, seconds = self.thread, max(self.seconds, self.opens)
        for _ in range(4):
            thread, _ = look(thread, seconds, opens=self.opens)
            seconds += 60
        assert not any(each.news for each in thread.members.values())


TestThreadMachine = ThreadMachine.TestCase
TestThreadMachine.settings = settings(max_examples=30, stateful_step_count=12, deadline=None)
