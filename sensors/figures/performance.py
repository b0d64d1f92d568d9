"""How the alarm system performed in a time: the measures of ISA-18.2-2016 and IEC 62682 (clause 16), and EEMUA 191.

Counted are announcements: an alarm that is raised, that comes back, or that gets worse, so that it asks for a person
anew. All columns are computed once (`Meter`); a time within them is then told in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sensors.clock import from_ms, to_ms
from sensors.figures.history import Change, History
from sensors.figures.targets import Targets

WINDOW = timedelta(minutes=10)
"""What rates are told for (ISA-18.2-2016, clause 16)."""

TOP = 10
"""So many of the most frequent alarms are told (ISA-18.2-2016, clause 16: frequently occurring alarms)."""

_WINDOW_MS = 600_000
_MINUTE_MS = 60_000
_NEVER = np.iinfo(np.int64).max
_ANNOUNCING = (Change.RAISED, Change.REOPENED, Change.ESCALATED)

_Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long something took: how often it was seen, the middle and the ninth of ten; None where never."""

    count: int
    median: timedelta | None = None
    p90: timedelta | None = None


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """What one level had: announcements, their share of all (of 1), times to acknowledge and to clear."""

    level: int
    announced: int
    share: float
    acknowledge: Lengths
    clear: Lengths


@dataclass(frozen=True, slots=True)
class Actor:
    """A condition that announces itself often: its subject and rule, how often, and its share of all (of 1)."""

    subject: str
    rule: str
    announced: int
    share: float


@dataclass(frozen=True, slots=True)
class Flood:
    """More than a person can take in: from its first alarm to when it ebbed; `peak` is the most in ten minutes.

    `running`: it had not ended when the time did.
    """

    start: datetime
    end: datetime
    announced: int
    peak: int
    running: bool


@dataclass(frozen=True, slots=True)
class Performance:
    """The figures of the alarms from `start` to before `end`.

    `rate` is announcements in ten minutes, `windows` how many fell into each ten minutes from `start`, `over_share` the
    share of these (of 1) with more than a flood begins with, `peak` the most in any ten minutes, up to `peak_at`.
    `standing` and `stale` alarms, and those `unacknowledged`, are those at `end`. Times to acknowledge and to clear are
    of what was acknowledged and cleared in this time. `chattering` conditions, and `fleeting` alarms of others.
    """

    start: datetime
    end: datetime
    announced: int
    rate: float
    windows: tuple[int, ...]
    over_share: float
    peak: int
    peak_at: datetime | None
    levels: tuple[LevelFigures, ...]
    standing_before: int
    standing: int
    stale: int
    unacknowledged: int
    chattering: tuple[Actor, ...]
    fleeting: int
    top: tuple[Actor, ...]
    top_share: float
    floods: tuple[Flood, ...]
    flood_share: float
    acknowledge: Lengths
    clear: Lengths


@dataclass(frozen=True, slots=True, eq=False)
class _Spells:
    """Stretches of time in the order of their end, ms; `end` is `_NEVER` of what was not over.

    `begun` are the begins in their own order.
    """

    begin: _Ints
    end: _Ints
    level: _Ints
    key: _Ints
    begun: _Ints

    def standing(self, at: int) -> int:
        """Return how many had begun before `at` and were not over before it."""
        return int(np.searchsorted(self.begun, at) - np.searchsorted(self.end, at))

    def ended(self, start: int, end: int) -> _Spells:
        """Return those that ended from `start` to before `end`."""
        first, last = np.searchsorted(self.end, (start, end))
        columns = (column[first:last] for column in (self.begin, self.end, self.level, self.key))
        return _Spells(*columns, begun=self.begun[:0])

    def lengths(self, level: int | None = None) -> Lengths:
        """Return how long they took, or those of one level."""
        took = self.end - self.begin
        if level is not None:
            took = took[self.level == level]
        if not len(took):
            return Lengths(0)
        median, p90 = (timedelta(milliseconds=round(float(each))) for each in np.quantile(took, (0.5, 0.9)))
        return Lengths(len(took), median, p90)


@dataclass(frozen=True, slots=True, eq=False)
class _Floods:
    """Floods in their order: ms, and the most in ten minutes."""

    start: _Ints
    end: _Ints
    peak: _Ints


class Meter:
    """Measures a history; `over` tells of any time in it from `BEFORE` (of `sensors.figures.history`) on."""

    def __init__(self, history: History, targets: Targets) -> None:
        self._keys = history.keys
        self._targets = targets
        key = history.key[history.alarm]
        announced = np.flatnonzero(np.isin(history.change, _ANNOUNCING))
        announced = announced[np.argsort(history.at[announced], kind="stable")]
        self._at, self._level, self._key = history.at[announced], history.level[announced], key[announced]
        self._active = _activations(history, key)
        self._waits = _waits(history, key)
        self._floods = _floods(self._at, over=targets.flood_over.si, until=targets.flood_until.si)
        self._chattered = _chattered(self._active, round(targets.chattering.si))

    def over(self, start: datetime, end: datetime) -> Performance:
        """Return the figures from `start` to before `end`, aware times; `end` is after `start`."""
        a, b = to_ms(start), to_ms(end)
        first, last = (int(each) for each in np.searchsorted(self._at, (a, b)))
        at, key = self._at[first:last], self._key[first:last]
        windows = np.bincount((at - a) // _WINDOW_MS, minlength=-(-(b - a) // _WINDOW_MS))
        trailing = np.arange(first, last) - np.searchsorted(self._at, at - _WINDOW_MS, "right") + 1
        worst = int(np.argmax(trailing)) if len(at) else None
        top = self._actors(key, TOP)
        chattering = self._chattering(a, b, key)
        acknowledged, cleared = self._waits.ended(a, b), self._active.ended(a, b)
        floods = self._floods_in(a, b)
        return Performance(
            start,
            end,
            announced=len(at),
            rate=len(at) * _WINDOW_MS / (b - a),
            windows=tuple(windows.tolist()),
            over_share=float(np.mean(windows > self._targets.flood_over.si)),
            peak=0 if worst is None else int(trailing[worst]),
            peak_at=None if worst is None else from_ms(int(at[worst])),
            levels=tuple(_of_level(level, self._level[first:last], acknowledged, cleared) for level in (1, 2, 3, 4)),
            standing_before=self._active.standing(a),
            standing=self._active.standing(b),
            stale=self._stale(b),
            unacknowledged=self._waits.standing(b),
            chattering=tuple(self._actor(each, key) for each in chattering),
            fleeting=self._fleeting(cleared, chattering),
            top=top,
            top_share=sum(each.share for each in top),
            floods=floods,
            flood_share=sum((flood.end - flood.start).total_seconds() for flood in floods) * 1000 / (b - a),
            acknowledge=acknowledged.lengths(),
            clear=cleared.lengths(),
        )

    def _stale(self, at: int) -> int:
        since = at - round(self._targets.stale.si * 1000)
        return int(np.count_nonzero(self._active.begin[np.searchsorted(self._active.end, at) :] < since))

    def _fleeting(self, cleared: _Spells, chattering: _Ints) -> int:
        short = cleared.end - cleared.begin < self._targets.fleeting.si * 1000
        return int(np.count_nonzero(~np.isin(cleared.key[short], chattering)))

    def _chattering(self, start: int, end: int, key: _Ints) -> _Ints:
        """Return the conditions that chattered, the most frequent first."""
        at, which = self._chattered
        found = np.unique(which[(at >= start) & (at < end)])
        often = np.array([np.count_nonzero(key == each) for each in found], np.int64)
        return found[np.argsort(-often, kind="stable")]

    def _actors(self, key: _Ints, most: int) -> tuple[Actor, ...]:
        found, often = np.unique(key, return_counts=True)
        order = np.argsort(-often, kind="stable")[:most]
        return tuple(self._actor(each, key) for each in found[order])

    def _actor(self, which: np.int64, key: _Ints) -> Actor:
        often = int(np.count_nonzero(key == which))
        return Actor(*self._keys[int(which)], announced=often, share=often / len(key) if len(key) else 0.0)

    def _floods_in(self, start: int, end: int) -> tuple[Flood, ...]:
        """Return the floods of which a part lies in the time, that part of them."""
        floods = self._floods
        told: list[Flood] = []
        for n in np.flatnonzero((floods.end > start) & (floods.start < end)):
            begin, until = max(int(floods.start[n]), start), min(int(floods.end[n]), end)
            first, last = np.searchsorted(self._at, (begin, until))
            running = bool(floods.end[n] >= end)
            told.append(Flood(from_ms(begin), from_ms(until), int(last - first), int(floods.peak[n]), running))
        return tuple(told)


def performance(history: History, targets: Targets, start: datetime, end: datetime) -> Performance:
    """Return the figures of `history` from `start` to before `end`; of many times in it, ask one `Meter`."""
    return Meter(history, targets).over(start, end)


def _of_level(level: int, announced: _Ints, acknowledged: _Spells, cleared: _Spells) -> LevelFigures:
    count = int(np.count_nonzero(announced == level))
    share = count / len(announced) if len(announced) else 0.0
    return LevelFigures(level, count, share, acknowledged.lengths(level), cleared.lengths(level))


def _activations(history: History, key: _Ints) -> _Spells:
    """Return the times in which conditions stood: from raised or reopened to cleared."""
    rows = np.flatnonzero(np.isin(history.change, (Change.RAISED, Change.REOPENED, Change.CLEARED)))
    return _spells(history, key, rows, history.change[rows] != Change.CLEARED)


def _waits(history: History, key: _Ints) -> _Spells:
    """Return the times in which alarms waited for a person: from the announcement to its acknowledgement.

    One that comes back or gets worse before anybody acknowledged it has waited since the first time.
    """
    rows = np.flatnonzero(np.isin(history.change, (*_ANNOUNCING, Change.ACKNOWLEDGED)))
    alarm, answered = history.alarm[rows], history.change[rows] == Change.ACKNOWLEDGED
    follows = np.zeros(len(rows), np.bool_)
    follows[1:] = (alarm[1:] == alarm[:-1]) & ~answered[:-1]
    kept = answered | ~follows
    return _spells(history, key, rows[kept], ~answered[kept])


def _spells(history: History, key: _Ints, rows: _Ints, begins: NDArray[np.bool_]) -> _Spells:
    """Return the spells that begin in those of `rows` where `begins`, each until the next row of its alarm."""
    end = np.full(len(rows), _NEVER, np.int64)
    same = history.alarm[rows[1:]] == history.alarm[rows[:-1]]
    end[:-1] = np.where(same, history.at[rows[1:]], _NEVER)
    begin, end, chosen = history.at[rows][begins], end[begins], rows[begins]
    end = np.maximum(end, begin)  # a clock that stepped back makes nothing end before it began
    order = np.argsort(end, kind="stable")
    return _Spells(begin[order], end[order], history.level[chosen][order], key[chosen][order], np.sort(begin))


def _chattered(active: _Spells, times: int) -> tuple[_Ints, _Ints]:
    """Return when which condition had begun `times` within a minute (ISA-18.2-2016, clause 16)."""
    order = np.lexsort((active.begin, active.key))
    begin, key = active.begin[order], active.key[order]
    ago = times - 1
    if len(begin) <= ago:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    hit = (key[ago:] == key[:-ago]) & (begin[ago:] - begin[:-ago] <= _MINUTE_MS)
    return begin[ago:][hit], key[ago:][hit]


def _floods(at: _Ints, *, over: float, until: float) -> _Floods:
    """Return the floods of announcements `at`, in order: from more than `over` in ten minutes to fewer than `until`.

    A flood starts with the first of the alarms that made it one, and ends when the last ten minutes had fewer.
    """
    when = np.concatenate([at, at + _WINDOW_MS])
    step = np.repeat(np.array([1, -1]), len(at))
    order = np.lexsort((step, when))  # what leaves the ten minutes leaves before what comes at the same time
    when, count = when[order], np.cumsum(step[order])
    said = np.flatnonzero((count > over) | (count < until))
    flooded = np.concatenate([[False], count[said] > over])
    rises = said[np.flatnonzero(flooded[1:] & ~flooded[:-1])]
    falls = said[np.flatnonzero(~flooded[1:] & flooded[:-1])]
    start = at[np.searchsorted(at, when[rises] - _WINDOW_MS, "right")]
    start = np.maximum(start, np.concatenate([[0], when[falls]])[: len(start)])
    bounds = np.column_stack([rises, falls]).ravel()
    peak = np.maximum.reduceat(count, bounds)[::2] if len(bounds) else np.empty(0, np.int64)
    return _Floods(start, when[falls], peak)


__all__ = ["TOP", "WINDOW", "Actor", "Flood", "Lengths", "LevelFigures", "Meter", "Performance", "performance"]
