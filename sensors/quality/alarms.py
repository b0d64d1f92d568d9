"""When a device is told of: several of the last readings failed a test, or one failed a test that lasts by itself."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from sensors.detection.events import note
from sensors.quality.flags import Test

COUNTED = (
    Test.MISSING,
    Test.FUTURE,
    Test.STALE,
    Test.GROSS_RANGE,
    Test.OPERATOR_RANGE,
    Test.BATTERY,
    Test.RADIO,
    Test.SPIKE,
    Test.RATE,
    Test.INCONSISTENT,
)
"""Tests that single readings fail: an alarm needs several of the last ones."""
LASTING = (Test.ATTENUATED, Test.DRIFT, Test.CALIBRATION)
"""Tests that last by themselves: one failed reading is enough."""
RULES = len(COUNTED) + len(LASTING)
"""Alarms of a device; an event's side is 1 + their number, or 1 + RULES of a flat line, negative when it is over."""

_MASKS = np.array([int(mask) for mask in (*COUNTED, *LASTING)], np.uint32)
_ANY = int(np.bitwise_or.reduce(_MASKS))
_COUNTED = len(COUNTED)


@numba.njit(cache=True)
def judge(  # pragma: no cover  # compiled
    settings: Any, states: Any, reading: Any, count: int, events: Any
) -> int:
    """Count what failed among the last readings; note what its device's condition becomes."""
    mine, theirs = states
    s, time, value, flags = reading
    hit = flags & np.uint32(_ANY)
    if not hit and not mine.troubled:
        return count
    mine.troubled = False
    for k in range(RULES):
        failed = flags & _MASKS[k] != 0
        stands = mine.alarm >> np.uint32(k) & np.uint32(1) != 0
        before = stands
        share = 1.0
        if k < _COUNTED:
            last = (np.int64(mine.last[k]) << 1 | failed) & ((1 << settings.of) - 1)
            mine.last[k] = last
            bad = _bits(last)
            mine.troubled |= bad > 0
            share = bad / settings.of
            stands = bad > 1 if stands else bad >= settings.least
        else:
            stands = failed
        mine.troubled |= stands
        if stands == before:
            continue
        mine.alarm ^= np.uint32(1 << k)
        theirs.standing[k] += 1 if stands else -1
        if theirs.standing[k] == (1 if stands else 0):
            side = k + 1 if stands else -(k + 1)
            count = note(events, count, (s, side, time, value, np.nan, np.nan, share))
    return count


@numba.njit(cache=True)
def _bits(number: int) -> int:  # pragma: no cover  # compiled
    count = 0
    while number:
        number &= number - 1
        count += 1
    return count


__all__ = ["COUNTED", "LASTING", "RULES", "judge"]
