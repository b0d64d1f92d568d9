"""The compiled step of the seasonal detector: profile, residual, EWMA, CUSUM and learning, one reading at a time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from sensors.city_calendar import DayKind
from sensors.detection.events import note
from sensors.detection.series import FAIL

DAY_TYPES = 4
"""Profiles of a series: all days, and one of each `DayKind`, at its number."""
_WEEKEND, _HOLIDAY = int(DayKind.WEEKEND), int(DayKind.HOLIDAY)
SLOTS = 48
DAY_MS = 86_400_000
SLOT_MS = DAY_MS // SLOTS
_QUARTER_MS = SLOT_MS // 2

WARM_SHARE = 5 / 6
"""Share of the half hours that a day's readings reach that must have been visited before anything is called strange."""
TYPE_VISITS = 3
"""Visits of a half hour after which the profile of the day's own type is preferred to that of all days."""
MEMORY_DAYS = 15
"""Visits over which a half hour's mean forgets; a weight counts them, and stays there."""
DEVIATION_DAYS = 60.0
"""Days over which the deviation forgets."""
PRIOR_DAYS = 2.0
PRIOR_SHARE = 0.15
"""Before the days have shown it, a day is taken to deviate by this share of the profile's range."""
UNKNOWN_SHARE = 0.25
"""So much more by a day of a kind that is not known yet: nobody's first weekend is strange."""
PRIOR_VISITS = 5.0
"""Visits of a half hour that count as much as what the whole day deviates: a night is quieter than a morning."""

TAU_MS = 180_000.0
"""Time constant of the smoothed residual."""
STRANGE = 6.0
"""Deviations of the smoothed residual that are strange as soon as a second reading agrees."""
DOUBTFUL = 3.5
"""Deviations at which what a half hour teaches is cut off (winsorised: Huber, 1964)."""
SLACK = 2.0
DECISION = 16.0
"""CUSUM: what is beyond SLACK deviations is summed over half hours up to DECISION (four deviations for four hours).

Chosen on the inflows of ten real districts in 2021 (BWDF) and five months of L-TOWN's 2018, with steps put in: of
slacks from 1 to 3.5 the one that finds most at the fewest alarms where nothing was put in (docs/detection.md).
"""
NORMAL = 2.5
CALM_MS = 900_000
"""Within NORMAL deviations for so long, a strange series is normal again."""
RESTED_MS = 1_200_000.0
"""A flow that has rested at zero for this long altogether is switched, and by no clock: it has no profile."""
RELEARN_MS = 14 * DAY_MS
"""A series strange for this long has a new life, and is learnt anew."""


@numba.njit(cache=True)
def scan(ruled: Any, memory: Any, clock: Any, columns: Any, events: Any) -> int:  # pragma: no cover  # compiled
    """Score, then learn, every reading; note each change. `clock` is the city's offset in ms, and its kinds of days."""
    which, rules = ruled
    states, profiles, weights, spreads = memory
    offset_ms, days = clock
    series, time, value, quality, history = columns
    count = 0
    for i in range(len(series)):
        s = series[i]
        if s < 0 or s >= len(which) or which[s] == 0 or quality[i] >= FAIL or not np.isfinite(value[i]):
            continue
        rule, now, known = rules[which[s]], states[s], (profiles[s], weights[s], spreads[s])
        if time[i] <= now.time:
            continue
        if time[i] >= now.until:
            _enter(now, known, rule.least, time[i] + offset_ms, days)
            now.until -= offset_ms
        expected = now.base + now.slope * (time[i] - now.until)
        passed = min(time[i] - now.time, SLOT_MS) if now.time > 0 else SLOT_MS
        now.time = time[i]
        if rule.rests and abs(value[i]) <= rule.least:
            now.rested += passed
        now.sum += value[i]
        now.count += 1
        if not np.isfinite(expected):
            continue
        rate = 1.0 - np.exp(-passed / TAU_MS)
        away = value[i] - expected
        now.squares += away * away
        now.residual += rate * (away - now.residual)
        sd = np.sqrt(now.variance + now.noise * rate / (2.0 - rate))
        z, alone = now.residual / sd, away / sd
        before = now.active
        scored = not history[i] and now.rested < RESTED_MS and now.visited >= rule.warm
        _judge(now, known[1], (z, alone), passed, scored)
        if now.active != before:
            low, high = expected - 3.0 * sd, expected + 3.0 * sd
            count = note(events, count, (s, now.active, time[i], value[i], low, high, abs(z)))
    return count


@numba.njit(cache=True)
def _judge(now: Any, weight: Any, far: Any, passed: int, scored: bool) -> None:  # pragma: no cover
    """Move the CUSUMs and the condition of one series by its newest reading.

    `far` is how many deviations the smoothed residual is away, and that of the reading alone: a spike that the first
    has yet to forget is not a second reading that agrees.
    """
    time, (z, alone) = now.time, far
    now.strange = (now.strange or time) if abs(z) > DOUBTFUL or now.active != 0 else 0
    now.spoiled = now.spoiled or now.active != 0
    if now.strange and time - now.strange > RELEARN_MS:
        weight[:] = 0
        now.strange = now.active = now.visited = now.pending = now.until = 0
        now.up = now.down = now.residual = now.deviation = now.days = 0.0
        return
    if not scored:
        return
    share, most = passed / SLOT_MS, min(max(z, -STRANGE), STRANGE)  # one odd reading is not many
    now.up = min(max(0.0, now.up + (most - SLACK) * share), 2.0 * DECISION)
    now.down = min(max(0.0, now.down + (-most - SLACK) * share), 2.0 * DECISION)
    side = 0 if abs(z) < STRANGE or abs(alone) < NORMAL or z * alone < 0 else (1 if z > 0 else -1)
    if now.active == 0:
        if now.up > DECISION or now.down > DECISION:
            now.active = 1 if now.up > now.down else -1
        elif side != 0 and now.pending == side:
            now.active = side
        now.pending = side
        now.spoiled = now.spoiled or now.active != 0
        now.calm = 0
        return
    if abs(z) > NORMAL:
        now.calm = 0
    elif now.calm == 0:
        now.calm = time
    elif time - now.calm >= CALM_MS:
        now.active = now.pending = 0
        now.up = now.down = 0.0


@numba.njit(cache=True)
def _commit(now: Any, known: Any, least: float, days: Any) -> None:  # pragma: no cover  # compiled
    """Learn the half hour that is over, unless the series was abnormal in it, and begin the next."""
    profile, weight, spread = known
    if now.count and not now.spoiled:
        slot = now.visit % SLOTS
        mean = now.sum / now.count
        kind = _kind(now.visit // SLOTS, days)
        if weight[0, slot] > 0:
            trusted = _trusted(weight, kind, slot)
            expected = profile[trusted, slot]
            away = mean - expected
            variance = _variance(now, spread[slot], weight[0, slot], least)
            most = DOUBTFUL * np.sqrt(variance)
            scatter = min(max(0.0, now.squares / now.count - away * away), DOUBTFUL**2 * (now.noise + variance))
            now.noise += (scatter - now.noise) / now.visited
            if trusted == kind:  # how far a day lies from one of another kind says nothing of either
                away = min(max(away, -most), most)
                mean = expected + away
                _deviate(now, away)
                spread[slot] += (away * away - spread[slot]) / weight[kind, slot]
        else:
            now.visited += 1
            spread[slot] = 0.0
        for each in (0, kind):
            weight[each, slot] = min(weight[each, slot] + 1, MEMORY_DAYS)
            profile[each, slot] += (mean - profile[each, slot]) / weight[each, slot]
        now.range = _range(profile[0], weight[0])
    now.sum = now.squares = 0.0
    now.count = 0
    now.spoiled = now.active != 0


@numba.njit(cache=True)
def _deviate(now: Any, away: float) -> None:  # pragma: no cover  # compiled
    """Learn how far the half hours of a day lie from what was expected of them."""
    keep = 1.0 - 1.0 / (SLOTS * DEVIATION_DAYS)
    now.deviation = keep * now.deviation + away * away / SLOTS
    now.days = keep * now.days + 1.0 / SLOTS


@numba.njit(cache=True)
def _variance(now: Any, spread: float, visits: int, least: float) -> float:  # pragma: no cover  # compiled
    """Return the variance from day to day of a half hour that was visited so often: its own, shrunk to the series'."""
    prior = least + PRIOR_SHARE * now.range
    days = (PRIOR_DAYS * prior * prior + now.deviation) / (PRIOR_DAYS + now.days)
    own = (PRIOR_VISITS * days + (visits - 1) * spread) / (PRIOR_VISITS + visits - 1)
    return max(own, least * least)


@numba.njit(cache=True)
def _enter(now: Any, known: Any, least: float, local: int, days: Any) -> None:  # pragma: no cover  # compiled
    """Let a series enter a quarter of an hour: what is expected in it is a line, so that few readings look it up.

    The line goes between the middles of two half hours, or stands still where one of them was never visited; there is
    none (NaN) where neither was. `until` is the local end of the quarter, and `base` what is expected there.
    """
    profile, weight, spread = known
    visit = local // SLOT_MS
    if visit != now.visit:
        _commit(now, known, least, days)
        now.visit = visit
    quarter = local // _QUARTER_MS
    day = _kind(local // DAY_MS, days)
    kind = _trusted(weight, day, visit % SLOTS)
    a = ((quarter + 1) // 2 - 1) % SLOTS
    b = (a + 1) % SLOTS
    if weight[kind, a] == 0:
        a = b
    elif weight[kind, b] == 0:
        b = a
    now.until = (quarter + 1) * _QUARTER_MS
    now.base = now.slope = np.nan
    if weight[kind, a] > 0:
        first, last = profile[kind, a], profile[kind, b]
        now.slope = (last - first) / SLOT_MS
        now.base = first + (0.5 + 0.5 * (quarter % 2 == 0)) * (last - first)
        now.variance = 0.5 * _variance(now, spread[a], weight[0, a], least)
        now.variance += 0.5 * _variance(now, spread[b], weight[0, b], least)
        if kind != day:
            now.variance += (UNKNOWN_SHARE * now.range) ** 2


@numba.njit(cache=True)
def _trusted(weight: Any, kind: int, slot: int) -> int:  # pragma: no cover  # compiled
    """Return which profile to trust: that of the day's own type once it has been seen often enough.

    A holiday that has not been is taken for a day of a weekend, and any other day for one of all.
    """
    if weight[kind, slot] < TYPE_VISITS and kind == _HOLIDAY:
        kind = _WEEKEND
    return kind if weight[kind, slot] >= TYPE_VISITS else 0


@numba.njit(cache=True)
def _kind(day: int, days: Any) -> Any:  # pragma: no cover  # compiled
    """Return the `DayKind` of a local day, by its number since 1970, as an int64."""
    return np.int64(days[min(max(day, 0), len(days) - 1)])


@numba.njit(cache=True)
def _range(profile: Any, weight: Any) -> float:  # pragma: no cover  # compiled
    low, high = np.inf, -np.inf
    for slot in range(SLOTS):
        if weight[slot] > 0:
            low = min(low, profile[slot])
            high = max(high, profile[slot])
    return high - low if high > low else 0.0
