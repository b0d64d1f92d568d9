"""The compiled model of what zones take in: forecast, standard residual, innovation, and the bursts carried in it.

Three steps an hour, each scored before it is learnt:

1. The forecast of a day ahead: a profile by weekday and hour, and how the last days left it, weighted by recursive
   least squares (Plackett, 1950). Nothing younger than 24 hours is in it, so that a burst does not hide itself.
2. The residual in units of its own scale at that hour of the day, and of what the other zones' residuals say of it
   (weather and customs move a city's zones together, a burst moves one): again by recursive least squares, with
   its own last three hours against autocorrelation. What remains is the innovation.
3. The likelihood ratio of a constant loss that began some hours ago (Willsky, Jones, 1976), over the last day, on
   innovations winsorised so that a flushed hydrant counts as two strange hours and not as a burst.

A burst that was found is subtracted from the inflow from then on: life with it is learnt as life without it, a second
one is found beside it, and the end is found by a CUSUM (Page, 1954) of its own likelihood ratio.
"""

# ruff: noqa: PLR0917  # compiled functions take plain arrays by position

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

_Function = TypeVar("_Function", bound=Callable[..., Any])

SLOTS = 24
ALL_DAYS = 7
"""The kind of day after those of the week: all together, for a weekday that was never seen."""
DAILY = 7
"""Regressors of the forecast: the deviations of one, two, three and seven days before, the mean of the same hour over
a week, and the means of the day and the week that ended a day ago."""
OWN = 3
COMPANIONS = 12
"""Zones whose residuals a zone is compared with, at most: the nearest."""
SHORT = OWN + 2
"""Regressors of the innovation: the zone's own last residuals, and the median of its companions' now and an hour ago. A
median, so that a burst in one of them is not taken for the weather."""
RING = 192
"""Hours of deviations that are kept: a week and the day after it."""
RECENT = 32
"""Hours of residuals that are kept: the window, and the autoregression before it."""
BURSTS = 3
"""Bursts of one zone that may stand at once."""

WINDOWS, HANDICAPS = (6, 24), (0.8, 0.0)
"""Hours that are judged together, and what is taken off the score of each: the longer one finds the smaller bursts,
the shorter one finds large ones on the day; more windows would only mean more chances of a false alarm."""
LONGEST = max(WINDOWS)
"""Hours that a burst may have gone on for when it is found: what is older has come into the forecast."""
LEAST_HOURS = 2
MEASURED = 24
"""Hours after its onset in which a burst is measured, is not over, and nothing is learnt."""
WARM_HOURS = 14 * 24
CAP = 1.5
"""Standard deviations that an innovation counts at most (Huber, 1964, uses the same constant)."""
CLIP = 3.0
"""Standard deviations at which residuals are cut before anything is learnt from them."""
WEEKS, DAYS = 4.0, 15.0
"""Visits over which the profiles of a weekday and of all days forget."""
SCALE_DAYS = 25.0
"""Visits over which the scale of an hour of the day forgets."""
LEAST_VISITS = 5.0
FORGET = 0.9998
"""Of the least squares: a memory of 5,000 hours, seven months."""
VARIANCE_RATE = 0.002
DAILY_PRIOR = 1e9
"""Variance of the forecast's weights before anything was seen, 1/(m³/s)²: flows of a litre a second and more make up
their own."""
SHORT_PRIOR = 0.01
"""The same of the innovation's weights: a hundred hours pull them away from zero."""
OVER = 3.0
"""Log of the likelihood ratio at which a burst is over: twenty to one."""

_GAUSS = 1.2533
"""Standard deviation over mean absolute deviation of a normal sample, the root of pi / 2."""

BURST = np.dtype([("size", "f8"), ("weight", "f8"), ("since", "i8"), ("over", "f8"), ("over_since", "i8")])
"""A burst that stands: m³/s, the sum of the weights it was measured with, its first hour (0: there is none), the
CUSUM of its end and the hour that it began to rise."""
EVENTS = 8
"""Columns of what is noted: zone, number of the burst, whether it began, inflow, what it would be without it, standard
deviation of that, score, and size."""


def _inner(function: _Function) -> _Function:
    """Compile what only compiled code calls: a way in from Python, for a whole `Memory`, takes as long as the rest."""
    without: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast("_Function", numba.njit(cache=True, **without)(function))


class Memory(NamedTuple):
    """All that the model of n zones knows; the first axis is that of the zones."""

    profile: NDArray[np.float64]
    visits: NDArray[np.float64]
    deviation: NDArray[np.float64]
    daily: NDArray[np.float64]
    daily_spread: NDArray[np.float64]
    daily_scale: NDArray[np.float64]
    scale: NDArray[np.float64]
    scale_visits: NDArray[np.float64]
    short: NDArray[np.float64]
    short_spread: NDArray[np.float64]
    short_variance: NDArray[np.float64]
    residual: NDArray[np.float64]
    normal: NDArray[np.float64]
    unit: NDArray[np.float64]
    innovation: NDArray[np.float64]
    own: NDArray[np.float64]
    burst: NDArray[Any]
    learnt: NDArray[np.int64]

    @classmethod
    def new(cls, zones: int) -> Memory:
        """Return the memory of zones that nothing is known of.

        Of the recent hours it keeps the residual (m³/s), the same in standard deviations, the innovation, `unit`: what
        a loss of 1 m³/s adds to an innovation before autoregression, and `own`: the weights of that.
        """
        recent = (zones, RECENT)
        return cls(
            profile=np.zeros((zones, ALL_DAYS + 1, SLOTS)),
            visits=np.zeros((zones, ALL_DAYS + 1, SLOTS)),
            deviation=np.full((zones, RING), np.nan),
            daily=np.zeros((zones, DAILY)),
            daily_spread=np.tile(np.eye(DAILY) * DAILY_PRIOR, (zones, 1, 1)),
            daily_scale=np.zeros(zones),
            scale=np.zeros((zones, SLOTS)),
            scale_visits=np.zeros((zones, SLOTS)),
            short=np.zeros((zones, SHORT)),
            short_spread=np.tile(np.eye(SHORT) * SHORT_PRIOR, (zones, 1, 1)),
            short_variance=np.ones(zones),
            residual=np.full(recent, np.nan),
            normal=np.full(recent, np.nan),
            unit=np.full(recent, np.nan),
            innovation=np.full(recent, np.nan),
            own=np.zeros((zones, RECENT, OWN)),
            burst=np.zeros((zones, BURSTS), BURST),
            learnt=np.zeros(zones, np.int64),
        )


def ready() -> None:
    """Have `skip` and `advance` compiled, or read from where numba keeps them, before the first hour waits for that."""
    none = Memory.new(0)
    skip(none, 0, 0)
    companions, events = np.empty((0, COMPANIONS), np.int32), np.empty((0, EVENTS))
    advance(none, companions, (0, 0, 0, True), np.empty(0), (1.0, 1.0, 1.0), events)


@numba.njit(cache=True)
def skip(memory: Any, before: int, hour: int) -> None:  # pragma: no cover  # compiled
    """Forget the hours between `before`, the newest, and `hour`, in which nothing was read."""
    for passed in range(max(before + 1, hour - RING), hour + 1):
        memory.deviation[:, passed % RING] = np.nan
        memory.residual[:, passed % RECENT] = np.nan
        memory.normal[:, passed % RECENT] = np.nan
        memory.innovation[:, passed % RECENT] = np.nan


@numba.njit(cache=True)
def advance(
    memory: Any, companions: Any, when: Any, inflow: Any, limits: Any, events: Any
) -> int:  # pragma: no cover  # compiled
    """Score and learn one hour of all zones; note each change and return how many there were.

    `companions` (n, COMPANIONS) are other zones, -1 none; `when` is (hour since 1970 UTC, hour of the local day, kind
    of the local day 0 to 6, whether it is live); `inflow` (n, m³/s); `limits` is (limit, least loss, hours after which
    a burst is the new state of things).
    """
    hour, slot, kind, live = when
    zones = len(inflow)
    expected = np.full(zones, np.nan)
    base = np.full(zones, np.nan)
    regressors = np.zeros((zones, DAILY))
    for z in range(zones):
        base[z] = _base(memory, z, kind, slot)
        if np.isnan(base[z]):
            continue
        _days_before(memory.deviation[z], hour, regressors[z])
        expected[z] = base[z] + regressors[z] @ memory.daily[z]
        _residual(memory, z, (hour, slot), inflow[z] - _carried(memory.burst[z]) - expected[z], limits[1])
    beside = np.zeros((zones, SHORT))
    left = np.full(zones, np.nan)
    for z in range(zones):
        if not np.isnan(memory.normal[z, hour % RECENT]):
            _beside(memory, companions, z, hour, beside[z])
            left[z] = _innovation(memory, z, hour, beside[z])
    count = 0
    for z in range(zones):
        if not np.isnan(left[z]):
            count = _follow(memory, z, (hour, live), (inflow[z], expected[z]), limits, (events, count))
    for z in range(zones):
        if not np.isnan(inflow[z]):
            flow = inflow[z] - _carried(memory.burst[z])
            memory.deviation[z, hour % RING] = flow - base[z]
            if not _measuring(memory.burst[z], hour):
                _learn(memory, z, (slot, kind), (flow, base[z], expected[z]), (regressors[z], beside[z], left[z]))
    return count


@_inner
def _base(memory: Any, z: int, kind: int, slot: int) -> float:  # pragma: no cover  # compiled
    for each in (kind, ALL_DAYS):
        if memory.visits[z, each, slot] > 0:
            return memory.profile[z, each, slot]
    return np.nan


@_inner
def _days_before(deviation: Any, hour: int, into: Any) -> None:  # pragma: no cover  # compiled
    """Write the regressors of the forecast: deviations from the profile that are a day old and older, 0 if missing."""
    for k, lag in enumerate((24, 48, 72, 168)):
        past = deviation[(hour - lag) % RING]
        into[k] = 0.0 if np.isnan(past) else past
    into[4] = _mean(deviation, hour, 24, 24, 7)
    into[5] = _mean(deviation, hour, 24, 1, 24)
    into[6] = _mean(deviation, hour, 24, 1, 168)


@_inner
def _mean(deviation: Any, hour: int, first: int, stride: int, count: int) -> float:  # pragma: no cover  # compiled
    total, there = 0.0, 0
    for k in range(count):
        past = deviation[(hour - first - k * stride) % RING]
        if not np.isnan(past):
            total += past
            there += 1
    return total / there if there else 0.0


@_inner
def _carried(bursts: Any) -> float:  # pragma: no cover  # compiled
    total = 0.0
    for k in range(BURSTS):
        if bursts[k].since:
            total += bursts[k].size
    return total


@_inner
def _measuring(bursts: Any, hour: int) -> bool:  # pragma: no cover  # compiled
    newest = 0
    for k in range(BURSTS):
        newest = max(newest, bursts[k].since)
    return newest > 0 and hour - newest < MEASURED


@_inner
def _residual(memory: Any, z: int, when: Any, away: float, least: float) -> None:  # pragma: no cover  # compiled
    """Note the residual of this hour, in m³/s and in standard deviations of the hours around it."""
    hour, slot = when
    at = hour % RECENT
    if memory.scale_visits[z, slot] < LEAST_VISITS or np.isnan(away):
        return
    around = memory.scale[z]
    scale = 0.5 * around[slot] + 0.25 * around[(slot + 1) % SLOTS] + 0.25 * around[slot - 1]
    unit = 1.0 / max(_GAUSS * scale, 0.25 * least)
    memory.residual[z, at] = away
    memory.unit[z, at] = unit
    memory.normal[z, at] = min(max(away * unit, -CLIP), CLIP)


@_inner
def _beside(memory: Any, companions: Any, z: int, hour: int, into: Any) -> None:  # pragma: no cover  # compiled
    """Write the regressors of the innovation: the zone's own last hours, and its companions' this hour and the last."""
    for k in range(OWN):
        past = memory.normal[z, (hour - 1 - k) % RECENT]
        into[k] = 0.0 if np.isnan(past) else past
    for lag in range(2):
        seen, count = np.empty(COMPANIONS), 0
        for k in range(COMPANIONS):
            past = memory.normal[companions[z, k], (hour - lag) % RECENT] if companions[z, k] >= 0 else np.nan
            if not np.isnan(past):
                seen[count] = past
                count += 1
        into[OWN + lag] = _median(seen, count)


@_inner
def _median(values: Any, count: int) -> float:  # pragma: no cover  # compiled
    """Sort the first `count` values, a dozen at most, and return their median; 0 of none."""
    for i in range(1, count):
        value, k = values[i], i
        while k > 0 and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value
    return 0.5 * (values[(count - 1) // 2] + values[count // 2]) if count else 0.0


@_inner
def _innovation(memory: Any, z: int, hour: int, beside: Any) -> float:  # pragma: no cover  # compiled
    """Note the innovation of this hour; return it before it is brought to variance 1."""
    at = hour % RECENT
    left = memory.normal[z, at] - beside @ memory.short[z]
    spread = np.sqrt(memory.short_variance[z])
    memory.innovation[z, at] = left / spread
    memory.unit[z, at] /= spread
    for k in range(OWN):
        # in units of this hour: what a loss an hour ago takes from the innovation now
        memory.own[z, at, k] = memory.short[z, k]
    return left


@_inner
def _signature(memory: Any, z: int, hour: int, first: int) -> float:  # pragma: no cover  # compiled
    """Return what a loss of 1 m³/s since the hour `first` does to the innovation of `hour`."""
    at = hour % RECENT
    found = memory.unit[z, at]
    for k in range(OWN):
        past = (hour - 1 - k) % RECENT
        if hour - 1 - k >= first and not np.isnan(memory.normal[z, past]):
            found -= memory.own[z, at, k] * memory.unit[z, past]
    return found


@_inner
def _unclipped(memory: Any, z: int, hour: int) -> float:  # pragma: no cover  # compiled
    """Return the innovation of `hour` from its own past alone, however large: half of a large burst may be over."""
    at = hour % RECENT
    found = memory.residual[z, at] * memory.unit[z, at]
    for k in range(OWN):
        past = (hour - 1 - k) % RECENT
        if not np.isnan(memory.normal[z, past]):
            found -= memory.own[z, at, k] * memory.residual[z, past] * memory.unit[z, past]
    return found


@_inner
def _ratio(memory: Any, z: int, hour: int, length: int) -> float:  # pragma: no cover  # compiled
    """Return the likelihood ratio of a loss since `length` hours, in standard deviations; 0 for none."""
    first = hour - length + 1
    along, energy, seen = 0.0, 0.0, 0
    for each in range(first, hour + 1):
        innovation = memory.innovation[z, each % RECENT]
        if not np.isnan(innovation):
            signature = _signature(memory, z, each, first)
            along += min(max(innovation, -CAP), CAP) * signature
            energy += signature * signature
            seen += 1
    return along / np.sqrt(energy) if seen >= LEAST_HOURS and energy > 0.0 else 0.0


@_inner
def _score(memory: Any, z: int, hour: int) -> float:  # pragma: no cover  # compiled
    best = 0.0
    for k in range(len(WINDOWS)):
        best = max(best, _ratio(memory, z, hour, WINDOWS[k]) - HANDICAPS[k])
    return best


@_inner
def _likeliest(memory: Any, z: int, hour: int) -> int:  # pragma: no cover  # compiled
    """Return how many hours ago a loss most likely began."""
    best, longest = -1.0, LEAST_HOURS
    for length in range(LEAST_HOURS, LONGEST + 1):
        ratio = _ratio(memory, z, hour, length)
        if ratio > best:
            best, longest = ratio, length
    return longest


@_inner
def _follow(memory: Any, z: int, when: Any, flows: Any, limits: Any, noted: Any) -> int:  # pragma: no cover  # compiled
    """Follow the bursts of one zone through an hour: measure, end and begin them; note each change."""
    hour, live = when
    inflow, expected = flows
    events, count = noted
    at = hour % RECENT
    deviation = 1.0 / memory.unit[z, at]
    for k in range(BURSTS):
        burst = memory.burst[z][k]
        if not burst.since:
            continue
        _test_end(memory, z, hour, burst)
        if hour - burst.since < MEASURED:
            _measure(memory, z, hour, burst)
            continue
        normal = hour - burst.since > limits[2]
        if normal or burst.over > OVER or burst.size < 0.5 * limits[1]:
            _end(memory, z, hour, burst, normal)
            usual = expected + _carried(memory.burst[z]) - burst.size
            count = _note(events, count, (z, k, 0, inflow, usual, deviation, 0.0, burst.size))
            burst.since = 0
    if not live or memory.learnt[z] < WARM_HOURS or _measuring(memory.burst[z], hour):
        return count
    score = _score(memory, z, hour)
    if score < limits[0]:
        return count
    for k in range(BURSTS):
        burst = memory.burst[z][k]
        if burst.since:
            continue
        _begin(memory, z, hour, burst, _likeliest(memory, z, hour))
        if burst.size < limits[1]:
            burst.since = 0
            return count
        _shift(memory, z, hour, burst.since, -burst.size)
        usual = expected + _carried(memory.burst[z]) - burst.size
        return _note(events, count, (z, k, 1, inflow, usual, deviation, score, burst.size))
    return count


@_inner
def _begin(memory: Any, z: int, hour: int, burst: Any, length: int) -> None:  # pragma: no cover  # compiled
    """Begin a burst `length` hours ago, of the weighted mean of the residuals since."""
    total, weight = 0.0, 0.0
    for each in range(hour - length + 1, hour + 1):
        away, unit = memory.residual[z, each % RECENT], memory.unit[z, each % RECENT]
        if not np.isnan(away):
            total += away * unit * unit
            weight += unit * unit
    burst.size, burst.weight = total / weight, weight
    burst.since = hour - length + 1
    burst.over, burst.over_since = 0.0, hour


@_inner
def _measure(memory: Any, z: int, hour: int, burst: Any) -> None:  # pragma: no cover  # compiled
    """Take the residual that is left in this hour into the burst's size."""
    away, unit = memory.residual[z, hour % RECENT], memory.unit[z, hour % RECENT]
    burst.weight += unit * unit
    burst.size += away * unit * unit / burst.weight


@_inner
def _test_end(memory: Any, z: int, hour: int, burst: Any) -> None:  # pragma: no cover  # compiled
    """Sum the log likelihood ratio of `the burst is over` against `it stands`, from zero up."""
    drop = burst.size * _signature(memory, z, hour, 0)
    if drop <= 0.0:
        return
    most = max(CAP, drop)
    left = min(max(_unclipped(memory, z, hour), -most), most)
    if burst.over <= 0.0:
        burst.over, burst.over_since = 0.0, hour
    burst.over = max(0.0, burst.over - drop * left - 0.5 * drop * drop)


@_inner
def _end(memory: Any, z: int, hour: int, burst: Any, normal: bool) -> None:  # pragma: no cover  # compiled
    """Put back what the burst had taken off: since it was over, or, where it is `normal` now, into all profiles."""
    if normal:
        for kind in range(ALL_DAYS + 1):
            for slot in range(SLOTS):
                if memory.visits[z, kind, slot] > 0:
                    memory.profile[z, kind, slot] += burst.size
    else:
        _shift(memory, z, hour, burst.over_since, burst.size)


@_inner
def _shift(memory: Any, z: int, hour: int, first: int, flow: float) -> None:  # pragma: no cover  # compiled
    """Change the past since `first` by `flow`, as if it had been so; what was judged is not judged again."""
    for each in range(max(first, hour - RING + 1), hour):
        memory.deviation[z, each % RING] += flow
    for each in range(max(first, hour - RECENT + 1), hour + 1):
        memory.residual[z, each % RECENT] += flow
        memory.normal[z, each % RECENT] += flow * memory.unit[z, each % RECENT] * np.sqrt(memory.short_variance[z])
        memory.normal[z, each % RECENT] = min(max(memory.normal[z, each % RECENT], -CLIP), CLIP)
    memory.innovation[z] = np.nan


@_inner
def _learn(memory: Any, z: int, when: Any, flows: Any, scored: Any) -> None:  # pragma: no cover  # compiled
    slot, kind = when
    flow, base, expected = flows
    regressors, beside, left = scored
    memory.learnt[z] += 1
    if not np.isnan(expected):
        away = flow - expected
        if memory.scale_visits[z, slot] >= LEAST_VISITS:
            away = min(max(away, -CLIP * _GAUSS * memory.scale[z, slot]), CLIP * _GAUSS * memory.scale[z, slot])
        memory.scale_visits[z, slot] = min(memory.scale_visits[z, slot] + 1.0, SCALE_DAYS)
        memory.scale[z, slot] += (abs(away) - memory.scale[z, slot]) / memory.scale_visits[z, slot]
        miss = flow - base - regressors @ memory.daily[z]
        cut = 4.0 * memory.daily_scale[z]
        memory.daily_scale[z] += (abs(miss) - memory.daily_scale[z]) * (
            VARIANCE_RATE if memory.learnt[z] > 500 else 0.02
        )
        if cut > 0.0:
            _least_squares(memory.daily[z], memory.daily_spread[z], regressors, min(max(miss, -cut), cut), DAILY_PRIOR)
    if not np.isnan(left):
        cut = CLIP * np.sqrt(memory.short_variance[z])
        left = min(max(left, -cut), cut)
        memory.short_variance[z] += VARIANCE_RATE * (left * left - memory.short_variance[z])
        _least_squares(memory.short[z], memory.short_spread[z], beside, left, SHORT_PRIOR)
    for each, most in ((kind, WEEKS), (ALL_DAYS, DAYS)):
        memory.visits[z, each, slot] = min(memory.visits[z, each, slot] + 1.0, most)
        memory.profile[z, each, slot] += (flow - memory.profile[z, each, slot]) / memory.visits[z, each, slot]


@_inner
def _least_squares(
    weights: Any, spread: Any, regressors: Any, miss: float, prior: float
) -> None:  # pragma: no cover  # compiled
    """Take in one observation; forgets only as far as the prior, so that quiet years do not make the weights loose."""
    gain = spread @ regressors
    scale = FORGET + regressors @ gain
    size = len(weights)
    widest = 0.0
    for i in range(size):
        weights[i] += gain[i] * (miss / scale)
        for j in range(size):
            spread[i, j] -= gain[i] * gain[j] / scale
        widest = max(widest, spread[i, i])
    if widest < FORGET * prior:
        for i in range(size):
            for j in range(size):
                spread[i, j] /= FORGET


@_inner
def _note(events: Any, count: int, change: Any) -> int:  # pragma: no cover  # compiled
    event = events[count]
    event[0], event[1], event[2], event[3] = change[0], change[1], change[2], change[3]
    event[4], event[5], event[6], event[7] = change[4], change[5], change[6], change[7]
    return count + 1


__all__ = ["BURST", "BURSTS", "COMPANIONS", "EVENTS", "Memory", "advance", "ready", "skip"]
