"""A profile of the day: what each of many places usually reads at this time, learnt from steps.

Half hours of the local day, with a profile for each kind of day (working, weekend, holiday) beside that of all days. A
half hour is learnt only PROBATION after it has ended: what turns out to have been the beginning of a fault is dropped
before it has become the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.city_calendar import Calendar, DayKind

SLOTS = 48
DAY_MS = 86_400_000
SLOT_MS = DAY_MS // SLOTS
PROBATION = 4
"""Half hours that a half hour waits before it is learnt."""
MEMORY_DAYS = 15.0
"""Visits over which a half hour's mean forgets."""
KIND_VISITS = 3
"""Visits of a half hour after which the profile of the day's own kind is preferred to that of all days."""
PRIOR_DAYS, PRIOR_SHARE = 2.0, 0.1
"""Before the days have shown it, one is taken to deviate by this share of the profile's range; weighs so many days."""

_KINDS = 1 + len(DayKind)
_UNSET = np.iinfo(np.int64).min


class DayProfile:
    """Profiles of k places; `least` (k,) is the smallest standard deviation of a day that is believed, SI.

    >>> profile = DayProfile(np.array([0.01]), Calendar(8.0))
    >>> hour = 3_600_000
    >>> for n in range(24):
    ...     profile.learn(n * hour, np.array([2.0]), np.array([True]))
    >>> profile.expected(24 * hour).tolist()
    [2.0]
    """

    def __init__(self, least: NDArray[np.float64], calendar: Calendar) -> None:
        size = len(least)
        self._least = least
        self._offset_ms = round(calendar.offset.total_seconds() * 1000)
        self._kind = calendar.days()
        self._mean = np.zeros((size, _KINDS, SLOTS))
        self._weight = np.zeros((size, _KINDS, SLOTS), np.uint8)
        self._deviation, self._days = np.zeros(size), np.zeros(size)
        self._noise, self._range = np.zeros(size), np.zeros(size)
        self._open = np.zeros((size, 3))  # of the half hour that is open: sum, sum of squares, count
        self._waiting = np.full((size, PROBATION, 2), np.nan)  # mean and variance of those that wait
        self._at = np.full(1 + PROBATION, _UNSET, np.int64)  # numbers of the open half hour and of those that wait

    def expected(self, time: int) -> NDArray[np.float64]:
        """Return what is usual at `time` (ms UTC), (k,) SI; NaN where neither neighbouring half hour is known."""
        local = time + self._offset_ms
        position = (local % DAY_MS) / SLOT_MS - 0.5
        before = int(np.floor(position))
        share = position - before
        pair = [before % SLOTS, (before + 1) % SLOTS]
        kind = self._kind_of(local)
        own = (self._weight[:, kind, pair] >= KIND_VISITS).all(axis=1)
        which = np.where(own, kind, 0)
        rows = np.arange(len(which))
        seen = self._weight[rows[:, None], which[:, None], pair] > 0
        mean = self._mean[rows[:, None], which[:, None], pair]
        parts = np.where(seen, np.array([1.0 - share, share]), 0.0)
        whole = parts.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(seen.any(axis=1) & (whole > 0), (mean * parts).sum(axis=1) / whole, np.nan)

    def sigma(self) -> NDArray[np.float64]:
        """Return how far a good half hour lies from what was expected, (k,) SI: its standard deviation."""
        prior = self._least + PRIOR_SHARE * self._range
        days = (PRIOR_DAYS * prior**2 + self._deviation * self._days) / (PRIOR_DAYS + self._days)
        return np.sqrt(np.maximum(days, self._least**2))

    def noise(self) -> NDArray[np.float64]:
        """Return the standard deviation of single readings within a half hour, (k,) SI."""
        return np.sqrt(self._noise)

    def learn(self, time: int, value: NDArray[np.float64], good: NDArray[np.bool_]) -> None:
        """Take in a step at `time` (ms UTC, never back): `value` (k,) SI where `good` (k,)."""
        number = (time + self._offset_ms) // SLOT_MS
        if number != self._at[0]:
            self._turn(number)
        good = good & np.isfinite(value)
        taken = np.where(good, value, 0.0)
        self._open += np.stack([taken, taken**2, good], axis=1)

    def drop(self, places: NDArray[np.bool_]) -> None:
        """Forget what waits of `places` (k,): it belongs to a fault."""
        self._open[places] = 0.0
        self._waiting[places] = np.nan

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, for `sensors.detection.series.pack`; rows by place but for `profile_at`."""
        return {
            "profile_mean": self._mean,
            "profile_weight": self._weight,
            "profile_days": np.stack([self._deviation, self._days, self._noise, self._range], axis=1),
            "profile_open": self._open,
            "profile_waiting": self._waiting,
            "profile_at": self._at,
        }

    def restore(self, state: Mapping[str, NDArray[Any]], mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> None:
        """Take over the rows `theirs` of what `state` returned as the rows `mine`."""
        self._mean[mine] = state["profile_mean"][theirs]
        self._weight[mine] = state["profile_weight"][theirs]
        days = state["profile_days"][theirs]
        self._deviation[mine], self._days[mine], self._noise[mine], self._range[mine] = days.T
        self._open[mine] = state["profile_open"][theirs]
        self._waiting[mine] = state["profile_waiting"][theirs]
        self._at[:] = state["profile_at"]

    def _kind_of(self, local: int) -> int:
        return int(self._kind[min(max(local // DAY_MS, 0), len(self._kind) - 1)])

    def _turn(self, number: int) -> None:
        """Close the open half hour, and learn those that have waited long enough when `number` begins."""
        for place in np.argsort(self._at[1:]).tolist():
            if _UNSET < self._at[1 + place] <= number - PROBATION:
                self._settle(place)
        closed = int(self._at[0])
        self._at[0] = number
        if closed == _UNSET:
            return
        place = closed % PROBATION
        total, squares, count = self._open.T
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / count
            self._waiting[:, place] = np.stack([mean, np.maximum(squares / count - mean**2, 0.0)], axis=1)
        self._at[1 + place] = closed
        self._open[:] = 0.0
        if closed <= number - PROBATION:  # after a pause
            self._settle(place)

    def _settle(self, place: int) -> None:
        """Learn a half hour that has waited: its deviation first, then its mean."""
        local = int(self._at[1 + place]) * SLOT_MS
        slot, kind = (local % DAY_MS) // SLOT_MS, self._kind_of(local)
        value, spread = self._waiting[:, place].T
        good = np.isfinite(value)
        own = self._weight[:, kind, slot] >= KIND_VISITS
        before = np.where(own, self._mean[:, kind, slot], self._mean[:, 0, slot])
        known = good & (self._weight[:, 0, slot] > 0)
        keep = 1.0 / (1.0 + np.minimum(self._days, 2 * MEMORY_DAYS) * SLOTS)
        self._deviation = np.where(
            known, self._deviation + keep * ((value - before) ** 2 - self._deviation), self._deviation
        )
        self._days[known] += 1.0 / SLOTS
        rate = 1.0 / np.minimum(1.0 + self._weight[:, 0, :].sum(axis=1), SLOTS)
        self._noise = np.where(good, self._noise + rate * (spread - self._noise), self._noise)
        for each in (0, kind):
            weight = np.minimum(self._weight[:, each, slot] + 1.0, MEMORY_DAYS)
            mean = self._mean[:, each, slot]
            self._mean[:, each, slot] = np.where(good, mean + (value - mean) / weight, mean)
            self._weight[:, each, slot] = np.where(good, weight, self._weight[:, each, slot])
        seen = self._weight[:, 0] > 0
        high = np.where(seen, self._mean[:, 0], -np.inf).max(axis=1)
        low = np.where(seen, self._mean[:, 0], np.inf).min(axis=1)
        self._range = np.where(seen.any(axis=1), high - low, 0.0)
        self._waiting[:, place] = np.nan
        self._at[1 + place] = _UNSET


__all__ = ["DAY_MS", "SLOTS", "SLOT_MS", "DayProfile"]
