"""The compiled pass of the quality tests: every reading is held against its own series, one after the other.

Sources: IOOS, Manuals for Real-Time Oceanographic Data Quality Control (QARTOD), tests by their number as in `Test`;
but causal: what a later reading would tell of this one is not waited for.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection.events import note
from sensors.detection.usual import remember
from sensors.quality.alarms import COUNTED, RULES, judge
from sensors.quality.flags import Test
from sensors.quality.gross_range import LARGEST
from sensors.quality.neighbours import drifts
from sensors.reading import Quality as Flag

GOOD, SUSPECT, FAIL, MISSING = int(Flag.GOOD), int(Flag.SUSPECT), int(Flag.FAIL), int(Flag.MISSING)

(
    _MISSING,
    _FUTURE,
    _STALE,
    _DUPLICATE,
    _OUT_OF_ORDER,
    _GAP,
    _GROSS_RANGE,
    _OPERATOR_RANGE,
    _SPIKE,
    _RATE,
    _FLAT_LINE,
    _ATTENUATED,
    _DRIFT,
    _CALIBRATION,
    _INCONSISTENT,
    _BATTERY,
    _RADIO,
    _ICE,
    _COMPANION,
) = (int(test) for test in Test)  # compiled code knows numbers only
_STUCK = RULES + 1
_MOVED, _STANDS, _TOO_LONG = 0, 1, 2

MEMORY = 50
"""Readings over which the scatter is averaged."""
SETTLED = 10
"""Readings after which a series knows its own scatter."""
USUAL = 1.25
"""A step a quarter larger than the third largest so far is unheard of."""
ODD = 5.0
"""Mean absolute steps, beyond which a reading is odd if another point of its device fails; chosen on pyhydroqc's
training part."""
WINDOWS = 3
"""Windows after which a series knows how far it usually moves in one."""

STATE = np.dtype(
    [
        ("newest", "i8"),
        ("time", "i8"),
        ("value", "f8"),
        ("held", "f8"),
        ("toward", "f8"),
        ("scatter", "f8"),
        ("usual", "f8", (3,)),
        ("count", "i8"),
        ("start", "i8"),
        ("stood", "f8"),
        ("run", "i8"),
        ("runs", "f8", (3,)),
        ("window", "i8"),
        ("low", "f8"),
        ("high", "f8"),
        ("range", "f8"),
        ("in_window", "i4"),
        ("windows", "i4"),
        ("last", "u2", (len(COUNTED),)),
        ("troubled", "?"),
        ("attenuated", "?"),
        ("stuck", "?"),
        ("alarm", "u4"),
    ],
    align=True,
)
"""A series: newest reading; the last one believed, and one that is held back as a spike; which way it
goes in large steps; mean absolute step and the largest steps; the run that it stands still in, and the longest such
runs, ms; the window, its ends and readings, and the usual range of one; of each counted test which of the last sixteen
readings failed it (bits); what stands."""

DEVICE = np.dtype([("began", "i8"), ("fault", "i8"), ("faulty", "i4"), ("cold", "i8"), ("standing", "u2", (RULES,))])
"""A device: when one of its points began to fail, and last did, and which; when its water was last freezing; by rule
how many of its points raise the alarm."""

SETTINGS = np.dtype(
    [
        ("future_ms", "i8"),
        ("stale_ms", "i8"),
        ("scatters", "f8"),
        ("window_ms", "i8"),
        ("share", "f8"),
        ("handling_ms", "i8"),
        ("freezing", "f8"),
        ("of", "i8"),
        ("least", "i8"),
    ]
)


@numba.njit(cache=True)
def scan(  # pragma: no cover  # compiled
    rules: Any, states: Any, columns: Any, verdict: Any, events: Any
) -> int:
    """Test every reading; write quality and flags to `verdict`, and note each change of an alarm.

    `rules` are tables and settings. The tables are by series its rule (-1: none), the first series of its device, what
    `drifts` wants, when its calibration is due, its twin (-1: none), and by rule how far twins may differ; the records
    of the rules come second, and the last three may be empty. `columns` are those of the batch, the readings' own times
    and the city's; `verdict` has the bits of the tests that are on, too.
    """
    (series, time, value, _, history), own, now = columns
    tables, settings = rules
    kinds, records, owner, _, _, _, _ = tables
    state, device = states
    quality, flags, on = verdict
    count = 0
    for i in range(len(series)):
        s = series[i]
        if not np.isfinite(value[i]):
            quality[i] = MISSING
            flags[i] |= np.uint32(on & _MISSING)
        if s < 0 or s >= len(kinds) or kinds[s] < 0:
            continue
        rule, mine = records[kinds[s]], state[s]
        _time((rule, settings, mine), (own[i], time[i], now, history[i], i), verdict)
        _range(rule, value[i], i, verdict)
        if time[i] <= mine.newest:
            continue
        mine.newest = time[i]
        theirs = device[owner[s]]
        if quality[i] < np.uint8(FAIL):
            odd = _is_odd(mine, value[i])
            count = _values((rule, settings, mine), (s, time[i], value[i], history[i], i), verdict, count, events)
            _others(tables, settings, (state, theirs), (s, time[i], value[i], i, odd), verdict)
        if quality[i] >= np.uint8(FAIL) and not flags[i] & np.uint32(_SPIKE | _FLAT_LINE):
            _fail(theirs, settings, s, time[i])
        if not history[i]:
            count = judge(settings, (mine, theirs), (s, time[i], value[i], flags[i]), count, events)
    return count


@numba.njit(cache=True)
def _mark(verdict: Any, i: int, bit: int, worst: int) -> None:  # pragma: no cover  # compiled
    quality, flags, on = verdict
    if not on & bit:
        return
    flags[i] |= np.uint32(bit)
    quality[i] = max(quality[i], np.uint8(worst))


@numba.njit(cache=True)
def _time(  # pragma: no cover  # compiled
    known: Any, reading: Any, verdict: Any
) -> None:
    """Tests 1: ahead of the city's time or late by it, again or out of order, after a pause.

    What is not newer fails: one that was held back as a spike would else reach the detectors when it comes again.
    """
    rule, settings, mine = known
    own, time, now, history, i = reading
    if own > now + settings.future_ms:
        _mark(verdict, i, _FUTURE, SUSPECT)
    elif not history and now - own > settings.stale_ms:
        _mark(verdict, i, _STALE, SUSPECT)
    if time == mine.newest:
        _mark(verdict, i, _DUPLICATE, FAIL)
    elif time < mine.newest:
        _mark(verdict, i, _OUT_OF_ORDER, FAIL)
    elif mine.count > 0 and time - mine.newest > rule.gap_ms:
        _mark(verdict, i, _GAP, GOOD)


@numba.njit(cache=True)
def _range(rule: Any, value: float, i: int, verdict: Any) -> None:  # pragma: no cover  # compiled
    """Test 4: outside the span of the sensor, what no sensor can mean, or outside what operators call plausible."""
    if value < rule.low or abs(value) > LARGEST:
        _mark(verdict, i, _GROSS_RANGE, FAIL)
    elif value > rule.high:
        _mark(verdict, i, _GROSS_RANGE, rule.above)
    elif value < rule.least or value > rule.most:
        _mark(verdict, i, rule.beyond, SUSPECT)


@numba.njit(cache=True)
def _values(  # pragma: no cover  # compiled
    known: Any, reading: Any, verdict: Any, count: int, events: Any
) -> int:
    """Tests 6, 7, 8 and 10: what the series itself has read lately."""
    rule, settings, mine = known
    s, time, value, history, i = reading
    began = mine.count == 0
    passed = time - mine.time
    paused = not began and passed > rule.gap_ms
    if not began and abs(value - mine.value) > rule.rate * passed:
        _mark(verdict, i, _RATE, SUSPECT)
    if not began and not paused and _is_spike(rule, settings, mine, value):
        mine.held = value
        if rule.alarm_low < value < rule.alarm_high:  # what is urgent passes, and is believed when it comes again
            _mark(verdict, i, _SPIKE, FAIL)
        return count
    run, ran = _stands_still(rule, mine, time, value, paused)
    if run == _TOO_LONG and not history and not mine.stuck:
        mine.stuck = True
        count = note(events, count, (s, _STUCK, time, value, np.nan, np.nan, ran))
    elif run == _MOVED and mine.stuck:
        mine.stuck = False
        count = note(events, count, (s, -_STUCK, time, value, np.nan, np.nan, 0.0))
    if run == _TOO_LONG or mine.stuck:
        _mark(verdict, i, _FLAT_LINE, FAIL)
    else:
        _attenuation(rule, settings, mine, time, value)
        if mine.attenuated:
            _mark(verdict, i, _ATTENUATED, SUSPECT)
    _learn(mine, value, passed, began or paused)
    mine.time = time
    mine.value = value
    mine.held = np.nan
    return count


@numba.njit(cache=True)
def _is_spike(rule: Any, settings: Any, mine: Any, value: float) -> bool:  # pragma: no cover  # compiled
    """Test 6: far from the last reading that was believed, and from the one held back before it.

    A second reading that agrees with the one held back, or goes on from it the same way, shows a step or a slope.
    """
    if rule.spike == np.inf or mine.count < SETTLED:
        return False
    threshold = max(rule.spike, settings.scatters * mine.scatter, USUAL * mine.usual[2])
    away = value - mine.value
    if abs(away) <= threshold:
        mine.toward = 0.0
        return False
    onward = (value - mine.held) * (mine.held - mine.value) > 0.0
    if onward or abs(value - mine.held) <= threshold:
        mine.toward = away
    return not mine.toward * away > 0.0


@numba.njit(cache=True)
def _stands_still(  # pragma: no cover  # compiled
    rule: Any, mine: Any, time: int, value: float, paused: bool
) -> tuple[int, float]:
    """Test 8: follow the run in which the value stays within the tolerance; what becomes of it, in shares of allowed.

    A series that often stands still is allowed twice the run it has shown three times before.
    """
    if not rule.flat:
        return _MOVED, 0.0
    same = mine.run > 0 and abs(value - mine.stood) <= rule.tolerance
    if same and not paused:
        mine.run += 1
        ran = float(time - mine.start)
        allowed = max(float(rule.flat_ms), 2.0 * mine.runs[2])
        resting = rule.zero and abs(value) <= rule.tolerance
        stuck = mine.run >= rule.readings and ran >= allowed and not resting
        return _TOO_LONG if stuck else _STANDS, ran / allowed
    if mine.run > 1 and not paused:
        remember(mine.runs, float(mine.time - mine.start), float(time - mine.start))
    mine.start = time
    mine.stood = value
    mine.run = 1
    return _STANDS if same else _MOVED, 0.0


@numba.njit(cache=True)
def _attenuation(rule: Any, settings: Any, mine: Any, time: int, value: float) -> None:  # pragma: no cover  # compiled
    """Test 10: the range within a whole window is a small share of the usual one; told when the window is over.

    What is usual is a geometric mean: after a storm, calm days are no failure.
    """
    if not rule.moves:
        return
    window = time // settings.window_ms
    if window != mine.window:
        whole = mine.in_window >= max(rule.readings, 1) and window == mine.window + 1
        if whole:
            ranged = mine.high - mine.low
            mine.attenuated = (
                mine.windows >= WINDOWS
                and ranged < settings.share * mine.range
                and not (rule.zero and max(abs(mine.low), abs(mine.high)) <= rule.tolerance)
            )
            if not mine.attenuated and ranged > 0.0:
                mine.windows = min(mine.windows + 1, MEMORY)
                mine.range = ranged if mine.windows == 1 else mine.range * (ranged / mine.range) ** (1.0 / mine.windows)
        mine.window = window
        mine.low = mine.high = value
        mine.in_window = 0
    mine.low = min(mine.low, value)
    mine.high = max(mine.high, value)
    mine.in_window += 1


@numba.njit(cache=True)
def _learn(mine: Any, value: float, passed: int, afresh: bool) -> None:  # pragma: no cover  # compiled
    """Take the step from the last reading into the scatter and the usual steps; after a pause there is none."""
    if afresh:
        mine.count = max(mine.count, 1)
        return
    away = abs(value - mine.value)
    remember(mine.usual, away, float(passed))
    seen = away if mine.count < SETTLED else min(away, 3.0 * mine.scatter)
    mine.scatter += (seen - mine.scatter) / min(mine.count, MEMORY)
    mine.count += 1


@numba.njit(cache=True)
def _others(  # pragma: no cover  # compiled
    tables: Any, settings: Any, states: Any, reading: Any, verdict: Any
) -> None:
    """Test 9: what its device's other points, a twin at the same asset, or slower comparisons say of a reading."""
    kinds, rules, _, days, due, twins, tolerance = tables
    state, theirs = states
    s, time, value, i, odd = reading
    rule = rules[kinds[s]]
    if drifts(days, s, time, value):
        _mark(verdict, i, _DRIFT, SUSPECT)
    if len(due) and time >= due[s]:
        _mark(verdict, i, _CALIBRATION, SUSPECT)
    handled = theirs.fault and theirs.faulty != s and time - theirs.fault <= 2 * rule.gap_ms // 3
    if odd and handled and time - theirs.began <= settings.handling_ms:
        _mark(verdict, i, _COMPANION, SUSPECT)
    if rule.warm and value <= settings.freezing:
        theirs.cold = time
    elif rule.wet and theirs.cold and 0 <= time - theirs.cold <= rule.gap_ms:
        _mark(verdict, i, _ICE, SUSPECT)
    if len(twins) and twins[s] >= 0:
        other = state[twins[s]]
        fresh = other.count > 0 and abs(time - other.time) <= rule.gap_ms
        if fresh and abs(value - other.value) > tolerance[kinds[s]]:
            _mark(verdict, i, _INCONSISTENT, SUSPECT)


@numba.njit(cache=True)
def _is_odd(mine: Any, value: float) -> bool:  # pragma: no cover  # compiled
    """Whether a reading is just the last one again, or further from it than usual: neither says much by itself."""
    return mine.count > 0 and (value == mine.value or abs(value - mine.value) > ODD * mine.scatter)


@numba.njit(cache=True)
def _fail(theirs: Any, settings: Any, s: int, time: int) -> None:  # pragma: no cover  # compiled
    """Note that a point of the device failed: somebody may be working at it."""
    if theirs.fault == 0 or time - theirs.fault > settings.handling_ms:
        theirs.began = time
    theirs.fault = time
    theirs.faulty = s


def fresh(size: int) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return the states of `size` series that nothing has been read of, and of their devices by their first series.

    All zero: memory that no reading has touched is not taken.
    """
    return np.zeros(size, STATE), np.zeros(size, DEVICE)
