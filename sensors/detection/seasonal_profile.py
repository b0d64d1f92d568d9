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

TAU_MS = 180_000.0
"""Time constant of the smoothed residual."""
STRANGE = 6.0
"""Deviations of the smoothed residual that are strange at once."""
DOUBTFUL = 3.5
"""Deviations beyond which a half hour is not learnt."""
SLACK = 3.5
DECISION = 4.0
"""CUSUM: what is beyond SLACK deviations is summed over half hours up to DECISION (5.5 deviations for an hour)."""
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
    states, profiles, weights = memory
    offset_ms, days = clock
    series, time, value, quality, history = columns
    count = 0
    for i in range(len(series)):
        s = series[i]
        if s < 0 or s >= len(which) or which[s] == 0 or quality[i] >= FAIL or not np.isfinite(value[i]):
            continue
        rule, now, profile, weight = rules[which[s]], states[s], profiles[s], weights[s]
        if time[i] <= now.time:
            continue
        local = time[i] + offset_ms
        visit = local // SLOT_MS
        if visit != now.visit:
            _commit(now, profile, weight, days)
            now.visit = visit
        kind = _day_type(weight, local, days)
        expected = _expected(profile[kind], weight[kind], local)
        passed = min(time[i] - now.time, SLOT_MS) if now.count or now.days else SLOT_MS
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
        sd = _deviation(now, rule.least, rate)
        z = now.residual / sd
        before = now.active
        _judge(now, weight, z, passed, not history[i] and now.rested < RESTED_MS and now.visited >= rule.warm)
        if now.active != before:
            low, high = expected - 3.0 * sd, expected + 3.0 * sd
            count = note(events, count, (s, now.active, time[i], value[i], low, high, abs(z)))
    return count


@numba.njit(cache=True)
def _judge(now: Any, weight: Any, z: float, passed: int, scored: bool) -> None:  # pragma: no cover
    """Move the CUSUMs and the condition of one series by its newest reading, `z` deviations away."""
    time = now.time
    if abs(z) > DOUBTFUL or now.active != 0:
        now.spoiled = True
        now.strange = now.strange or time
    else:
        now.strange = 0
    if now.strange and time - now.strange > RELEARN_MS:
        weight[:] = 0
        now.strange = now.active = now.visited = 0
        now.up = now.down = now.residual = now.deviation = now.days = 0.0
        return
    if not scored:
        return
    share = passed / SLOT_MS
    now.up = min(max(0.0, now.up + (z - SLACK) * share), 2.0 * DECISION)
    now.down = min(max(0.0, now.down + (-z - SLACK) * share), 2.0 * DECISION)
    if now.active == 0:
        if z > STRANGE or now.up > DECISION:
            now.active = 1
        elif z < -STRANGE or now.down > DECISION:
            now.active = -1
        now.calm = 0
        return
    if abs(z) > NORMAL:
        now.calm = 0
    elif now.calm == 0:
        now.calm = time
    elif time - now.calm >= CALM_MS:
        now.active = 0
        now.up = now.down = 0.0


@numba.njit(cache=True)
def _commit(now: Any, profile: Any, weight: Any, days: Any) -> None:  # pragma: no cover  # compiled
    """Learn the half hour that is over, unless anything in it was doubtful, and begin the next."""
    if now.count and not now.spoiled:
        slot = now.visit % SLOTS
        mean = now.sum / now.count
        typed = _kind(now.visit // SLOTS, days)
        for kind in (0, typed):
            if kind == 0 and weight[0, slot] > 0:
                scored = weight[typed, slot] >= TYPE_VISITS
                away = mean - (profile[typed, slot] if scored else profile[0, slot])
                keep = 1.0 - 1.0 / (SLOTS * DEVIATION_DAYS)
                now.deviation = keep * now.deviation + away * away / SLOTS
                now.days = keep * now.days + 1.0 / SLOTS
                spread = max(0.0, now.squares / now.count - away * away)
                now.noise += (spread - now.noise) / (SLOTS if now.days > 1.0 else 1.0 + SLOTS * now.days)
            now.visited += kind == 0 and weight[0, slot] == 0
            weight[kind, slot] = min(weight[kind, slot] + 1, MEMORY_DAYS)
            profile[kind, slot] += (mean - profile[kind, slot]) / weight[kind, slot]
        now.range = _range(profile[0], weight[0])
    now.sum = 0.0
    now.squares = 0.0
    now.count = 0
    now.spoiled = now.active != 0


@numba.njit(cache=True)
def _deviation(now: Any, least: float, rate: float) -> float:  # pragma: no cover  # compiled
    """Return the standard deviation of the smoothed residual: of days, and of what smoothing leaves of the noise."""
    prior = least + PRIOR_SHARE * now.range
    days = (PRIOR_DAYS * prior * prior + now.deviation) / (PRIOR_DAYS + now.days)
    return np.sqrt(max(days, least * least) + now.noise * rate / (2.0 - rate))


@numba.njit(cache=True)
def _expected(profile: Any, weight: Any, local: int) -> float:  # pragma: no cover  # compiled
    """Return the profile between the middles of two half hours, or of the one that was visited; NaN where none was."""
    position = (local % DAY_MS) / SLOT_MS - 0.5
    first = int(np.floor(position))
    share = position - first
    a, b = first % SLOTS, (first + 1) % SLOTS
    if weight[a] == 0 or weight[b] == 0:
        if weight[a] == weight[b]:
            return np.nan
        return profile[b] if weight[a] == 0 else profile[a]
    return (1.0 - share) * profile[a] + share * profile[b]


@numba.njit(cache=True)
def _day_type(weight: Any, local: int, days: Any) -> int:  # pragma: no cover  # compiled
    """Return which profile to trust: that of the day's own type once it has been seen often enough.

    A holiday that has not been is taken for a day of a weekend, and any other day for one of all.
    """
    kind = _kind(local // DAY_MS, days)
    slot = (local % DAY_MS) // SLOT_MS
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
