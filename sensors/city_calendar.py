"""What day and hour it is in a city: its offset from UTC, its holidays, and the weekends worked for them (调休)."""

from __future__ import annotations

from datetime import date, timedelta
from enum import IntEnum

import msgspec
import numpy as np
from numpy.typing import NDArray

from twin.errors import SettingsError

_FURTHEST_H = 14
"""No time zone is further from UTC (IANA: Pacific/Kiritimati)."""
_EPOCH = date(1970, 1, 1)
_DAYS = (date(2100, 1, 1) - _EPOCH).days
_LONGEST = timedelta(days=31)
"""A holiday longer than this is a slip of the pen in a year or a month."""


class DayKind(IntEnum):
    """What people do on a day, as far as their use of water, gas and drains goes."""

    WORKING = 1
    WEEKEND = 2
    HOLIDAY = 3


class Holiday(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Days off from `first` to `last`, both included, and the weekend days that are worked for them."""

    name: str
    first: date
    last: date
    source: str
    verified: bool
    working: tuple[date, ...] = ()


class Calendar(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A city's calendar. A year whose holidays nobody entered has working days and weekends only."""

    utc_offset_h: float
    holiday: tuple[Holiday, ...] = ()

    @property
    def offset(self) -> timedelta:
        """What local time is ahead of UTC."""
        return timedelta(hours=self.utc_offset_h)

    def day(self, day: date) -> DayKind:
        """Return what kind of day the local `day` is.

        >>> spring = Holiday("spring", date(2026, 2, 15), date(2026, 2, 23), "", True, (date(2026, 2, 28),))
        >>> calendar = Calendar(8.0, (spring,))
        >>> [calendar.day(date(2026, 2, day)).name for day in (22, 23, 24, 28)]
        ['HOLIDAY', 'HOLIDAY', 'WORKING', 'WORKING']
        """
        for each in self.holiday:
            if day in each.working:
                return DayKind.WORKING
            if each.first <= day <= each.last:
                return DayKind.HOLIDAY
        return DayKind.WEEKEND if day.weekday() >= 5 else DayKind.WORKING

    def days(self) -> NDArray[np.int8]:
        """Return the `DayKind` of every local day from 1970-01-01 to the end of 2099, by days since the first."""
        weekday = (np.arange(_DAYS) + _EPOCH.weekday()) % 7
        kinds = np.where(weekday >= 5, DayKind.WEEKEND, DayKind.WORKING).astype(np.int8)
        for each in self.holiday:
            kinds[(each.first - _EPOCH).days : (each.last - _EPOCH).days + 1] = DayKind.HOLIDAY
        for each in self.holiday:
            kinds[[(day - _EPOCH).days for day in each.working]] = DayKind.WORKING
        return kinds


def check_calendar(calendar: Calendar, where: str) -> None:
    """Refuse a calendar that no city can have; SettingsError with the place, under `where`."""
    if not abs(calendar.utc_offset_h) <= _FURTHEST_H:  # also refuses nan
        raise SettingsError("is no offset", where=f"{where}: calendar", expected=f"at most {_FURTHEST_H} hours")
    taken: dict[date, str] = {}
    for each in calendar.holiday:
        place = f"{where}: calendar.holiday {each.name}"
        if not timedelta() <= each.last - each.first <= _LONGEST:
            raise SettingsError(
                f"goes from {each.first} to {each.last}",
                where=place,
                expected=f"at most {_LONGEST.days} days, in order",
            )
        off = [each.first + timedelta(days=day) for day in range((each.last - each.first).days + 1)]
        for day in (*off, *each.working):
            if day in taken:
                raise SettingsError(f"{day} is of {taken[day]} already", where=place, expected="each day once")
            if not _EPOCH <= day < _EPOCH + timedelta(days=_DAYS):
                raise SettingsError(f"{day} is out of time", where=place, expected="1970 to 2099")
            taken[day] = each.name


__all__ = ["Calendar", "DayKind", "Holiday", "check_calendar"]
