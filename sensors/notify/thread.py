"""What one route says of one group of alarms, as a pure machine: wait for more, tell, repeat, say that it is over.

The grouping is that of Prometheus Alertmanager (group_wait, group_interval and repeat_interval of its dispatcher), but
for two things: level 1 does not wait for company, and an acknowledgement ends the repetition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from sensors.alarm import Alarm, Condition, Visibility
from sensors.notify.message import Purpose, Reference

MOST_REFERENCES = 50
"""So many earlier messages a message refers to; each refers to those before."""

RED_EVERY = timedelta(seconds=10)
"""Messages of one thread about level 1 follow one another no sooner: the first goes at once, a stream is readable."""

Opens: TypeAlias = Callable[[int], datetime]
"""The first time from now on at which news of a level may be told."""


@dataclass(frozen=True, slots=True)
class Member:
    """An alarm of a thread: its level, whether it asks for somebody, whether its condition is gone, the level told."""

    level: int
    asks: bool
    over: bool
    told: int | None = None

    @property
    def news(self) -> bool:
        """Whether it has to be told: not told yet, or worse than what was told.

        One that is over before it was told is told if it is of level 1; the others (fleeting, as EEMUA 191 calls them)
        are on the screen, and worth no message.
        """
        if not self.asks:
            return False
        if self.over:
            return self.told is None and self.level == 1
        return self.told is None or self.level < self.told

    @property
    def idle(self) -> bool:
        """Whether nothing was told and nothing is to be."""
        return self.told is None and not self.news and (self.over or not self.asks)


def member(alarm: Alarm, told: int | None = None) -> Member:
    """Return an alarm as a thread sees it: it asks while it is shown and nobody has acknowledged it."""
    return Member(
        alarm.level,
        asks=not alarm.acknowledged and alarm.visibility is Visibility.SHOWN,
        over=alarm.condition is Condition.NORMAL,
        told=told,
    )


@dataclass(frozen=True, slots=True)
class Thread:
    """What was said, and what is not yet: `since` the oldest news, `told_at` the newest message."""

    members: Mapping[int, Member] = field(default_factory=dict[int, Member])
    since: datetime | None = None
    told_at: datetime | None = None
    repeats: int = 0
    messages: tuple[Reference, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """How long news wait, how often what nobody acknowledges is repeated (None: never), whether the end is told."""

    wait: timedelta
    repeat: timedelta | None = None
    clear: bool = True


@dataclass(frozen=True, slots=True)
class Turn:
    """What a look at a thread leads to: the thread after it, what is to be said now, and when to look again.

    `purpose` is None where nothing is said; `alarms` are what the message is about, with their levels,
    `level` the worst of them.
    """

    thread: Thread
    purpose: Purpose | None = None
    alarms: tuple[tuple[int, int], ...] = ()
    level: int = 4
    wakes: datetime | None = None


def turn(thread: Thread, timing: Timing, opens: Opens, now: datetime) -> Turn:
    """Return what `thread` says at the aware time `now`; its members are the alarms as they are.

    Repeated looks at one time say nothing twice. A thread without members is done with.
    """
    thread = replace(thread, members={name: each for name, each in thread.members.items() if not each.idle})
    news = {name: each for name, each in thread.members.items() if each.news}
    told = {name: each for name, each in thread.members.items() if each.told is not None}
    if news:
        return _tell(replace(thread, since=thread.since or now), timing, opens, now, news)
    thread = replace(thread, since=None)
    if told and all(each.over for each in told.values()):
        return _clear(thread, timing, opens, now, told)
    unheard = {name: each for name, each in told.items() if each.asks and not each.over}
    if unheard and timing.repeat is not None:
        return _repeat(thread, timing.repeat, opens, now, unheard)
    return Turn(thread)


def said(thread: Thread, message: Reference, purpose: Purpose) -> Thread:
    """Return the thread after its message has got an id."""
    repeats = thread.repeats + 1 if purpose is Purpose.REPEAT else 0
    references = (*thread.messages, message)[-MOST_REFERENCES:]
    return replace(thread, since=None, told_at=message.at, repeats=repeats, messages=references)


def _tell(thread: Thread, timing: Timing, opens: Opens, now: datetime, news: Mapping[int, Member]) -> Turn:
    worst = _worst(news.values())
    assert thread.since is not None
    ready = max(thread.since, thread.told_at or thread.since) + timing.wait
    if worst == 1:
        ready = min(ready, now if thread.told_at is None else thread.told_at + RED_EVERY)
    at = max(ready, opens(worst))
    if at > now:
        return Turn(thread, wakes=at)
    # what the message does not list is told by its count: all of them are told
    about = {name: each for name, each in thread.members.items() if each.news or (each.asks and not each.over)}
    members = {name: replace(each, told=each.level) if name in about else each for name, each in thread.members.items()}
    purpose = Purpose.UPDATE if thread.messages else Purpose.ALERT
    return Turn(replace(thread, members=members), purpose, _levels(about), _worst(about.values()), wakes=now)


def _clear(thread: Thread, timing: Timing, opens: Opens, now: datetime, told: Mapping[int, Member]) -> Turn:
    rest = replace(thread, members={name: each for name, each in thread.members.items() if name not in told})
    if not timing.clear:
        return Turn(rest)
    worst = _worst(told.values())
    pause = min(timing.wait, RED_EVERY) if worst == 1 else timing.wait
    ready = now if thread.told_at is None else thread.told_at + pause
    at = max(ready, opens(worst))
    if at > now:
        return Turn(thread, wakes=at)
    return Turn(rest, Purpose.CLEAR, _levels(told), worst)


def _repeat(thread: Thread, every: timedelta, opens: Opens, now: datetime, unheard: Mapping[int, Member]) -> Turn:
    worst = _worst(unheard.values())
    at = max((thread.told_at or now) + every, opens(worst))
    if at > now:
        return Turn(thread, wakes=at)
    return Turn(thread, Purpose.REPEAT, _levels(unheard), worst, wakes=now + every)


def _levels(members: Mapping[int, Member]) -> tuple[tuple[int, int], ...]:
    return tuple((number, each.level) for number, each in members.items())


def _worst(members: Iterable[Member]) -> int:
    return min(min(each.level, each.told or each.level) for each in members)


__all__ = ["Member", "Opens", "Thread", "Timing", "Turn", "member", "said", "turn"]
