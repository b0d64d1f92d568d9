"""Shifts and desks: when one shift hands over to the next in the city's own time, and which alarms a desk watches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import pairwise

import msgspec

from twin.asset import System
from twin.errors import InputError, SettingsError

_SHORTEST = timedelta(hours=2)
"""Shorter than this a shift is a slip of the pen; also, no clock change (at most an hour) turns two of them round."""

_DAY = timedelta(days=1)
_EPOCH = date(1970, 1, 1)


class ShiftRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A shift of every day as the city's file has it: from `start`, local time, to the start of the next one."""

    id: str
    zh: str
    en: str
    start: time
    source: str
    verified: bool


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A desk of one operator (ISA-18.2: operator position), and the alarms that it watches; none named: all."""

    id: str
    zh: str
    en: str
    systems: tuple[System, ...] = ()
    districts: tuple[str, ...] = ()

    def watches(self, system: str, district: str) -> bool:
        """Return whether an alarm of `system` in `district` is this desk's.

        >>> Position("gas", "燃气席", "gas desk", (System.GAS,)).watches("gas", "main")
        True
        """
        return (not self.systems or system in self.systems) and (not self.districts or district in self.districts)


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift of one day: it began on the local `day`, and lasts from `start` to before `end`, aware UTC."""

    id: str
    zh: str
    en: str
    day: date
    start: datetime
    end: datetime

    @property
    def label(self) -> str:
        """Its name for people and commands, such as ``2026-11-22/night``."""
        return f"{self.day}/{self.id}"


@dataclass(frozen=True, slots=True)
class Rota:
    """The shifts of every day, in the order of their starts, and the city's time zone."""

    rows: tuple[ShiftRow, ...]
    zone: tzinfo

    @classmethod
    def of(cls, rows: Sequence[ShiftRow], zone: tzinfo) -> Rota:
        """Return the rota of `rows`, in whatever order they stand in the file."""
        return cls(tuple(sorted(rows, key=lambda row: row.start)), zone)

    def at(self, moment: datetime) -> Shift:
        """Return the shift that is on at `moment`."""
        day = moment.astimezone(self.zone).date()
        begun = [each for each in self._of_days(day - _DAY, day) if each.start <= moment]
        return begun[-1]

    def before(self, shift: Shift) -> Shift:
        """Return the shift that handed over to `shift`."""
        return self.at(shift.start - timedelta(microseconds=1))

    def after(self, shift: Shift) -> Shift:
        """Return the shift that `shift` hands over to."""
        return self.at(shift.end)

    def between(self, start: datetime, end: datetime) -> Iterator[Shift]:
        """Yield the shifts of which a part lies in [start, end), oldest first, whole."""
        shift = self.at(start)
        while shift.start < end:
            yield shift
            shift = self.after(shift)

    def named(self, name: str, now: datetime) -> Shift:
        """Return a shift as people name it; InputError for a name that is none, or a shift that has not begun.

        ``current``, ``last`` (the one before it), ``night`` (the newest of that id that has begun), or
        ``2026-11-22/night``.
        """
        current = self.at(now)
        if name == "current":
            return current
        if name == "last":
            return self.before(current)
        day, slash, shift_id = name.rpartition("/")
        for shift in reversed(self._of_days(*self._days(day, now))) if self._known(shift_id) else ():
            if shift.id == shift_id and shift.start <= now and (not slash or str(shift.day) == day):
                return shift
        ids = ", ".join(row.id for row in self.rows)
        raise InputError(
            "is no shift that has begun",
            where=f"shift {name!r}",
            expected=f"current, last, one of {ids}, or such a one of a day: {current.label}",
        )

    def _known(self, shift_id: str) -> bool:
        return any(row.id == shift_id for row in self.rows)

    def _days(self, day: str, now: datetime) -> tuple[date, date]:
        """Return the first and last day that are looked through: that of `day`, or those until `now`."""
        today = now.astimezone(self.zone).date()
        if not day:
            return today - _DAY, today
        try:
            named = date.fromisoformat(day)
        except ValueError:
            named = date.min
        if not _EPOCH <= named <= today:
            raise InputError(
                "is no day with shifts", where=f"shift of {day!r}", expected=f"a day from {_EPOCH} to {today}"
            )
        return named, named

    def _of_days(self, first: date, last: date) -> list[Shift]:
        """Return the shifts that begin on the local days `first` to `last`, oldest first."""
        days = [first + timedelta(days=n) for n in range((last - first).days + 2)]
        begun = [
            (row, day, datetime.combine(day, row.start, self.zone).astimezone(UTC)) for day in days for row in self.rows
        ]
        return [
            Shift(row.id, row.zh, row.en, day, start, until)
            for (row, day, start), (_, _, until) in pairwise(begun)
            if day <= last
        ]


def check_shifts(rows: Sequence[ShiftRow], positions: Sequence[Position], where: str) -> None:
    """Refuse shifts and desks that no city can work with; SettingsError with the place, under `where`."""
    if not rows:
        raise SettingsError("there are none", where=f"{where}: shift", expected="at least one shift")
    if not positions:
        raise SettingsError("there are none", where=f"{where}: position", expected="at least one desk")
    ordered = sorted(rows, key=lambda row: row.start)
    for row, following in zip(ordered, [*ordered[1:], ordered[0]], strict=True):
        place = f"{where}: shift {row.id}"
        if row.id in {"", "current", "last"} or "/" in row.id:
            raise SettingsError(f"{row.id!r} is no name", where=place, expected="a word other than current and last")
        if row.start.tzinfo is not None:
            raise SettingsError("names an offset", where=place, expected="a local time such as 08:00:00")
        length = (_of_day(following.start) - _of_day(row.start)) % _DAY or _DAY
        if length < _SHORTEST or (following is not row and following.start == row.start):
            raise SettingsError(
                f"lasts {length}", where=place, expected=f"at least {_SHORTEST} to the start of {following.id}"
            )


def position_of(positions: Sequence[Position], system: str, district: str) -> str:
    """Return the id of the first desk that watches an alarm of `system` in `district`; "" where none does."""
    return next((each.id for each in positions if each.watches(system, district)), "")


def _of_day(at: time) -> timedelta:
    return timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)


__all__ = ["Position", "Rota", "Shift", "ShiftRow", "check_shifts", "position_of"]
