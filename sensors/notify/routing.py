"""Who is told what, and when: channels and routes of the city's file, and the hours in which a route tells.

A route takes alarms by level, system and district, in the shifts and on the days that it names, and hands them to its
channels. Quiet hours hold back everything but level 1, until they end (EEMUA 191: who is woken for nothing stops
looking; that level 1 is never held back is Chengmai's own rule).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Literal, TypeAlias

import msgspec

from sensors.alarm import Alarm
from sensors.city_calendar import Calendar
from sensors.figures.shift import Rota
from sensors.limits import LEVELS, LevelName
from sensors.people import Role
from twin.asset import System
from twin.errors import SettingsError

DayName: TypeAlias = Literal["working", "weekend", "holiday"]

FURTHEST = timedelta(days=32)
"""A route that tells nothing within this time is looked at again then; no holiday is longer than 31 days."""


class Quiet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The quiet hours of the city: of each day, local time, `begins` to before `ends`, mostly past midnight."""

    begins: time
    ends: time
    source: str
    verified: bool

    def hold(self, at: time) -> bool:
        """Return whether the local time `at` is in them; equal ends mean the whole day.

        >>> [Quiet(time(22), time(6), "", True).hold(time(hour)) for hour in (21, 22, 5, 6)]
        [False, True, True, False]
        """
        if self.begins < self.ends:
            return self.begins <= at < self.ends
        return at >= self.begins or at < self.ends


class Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way to people: `kind` is the entry point, `options` what that takes."""

    name: str
    kind: str
    options: dict[str, Any] = {}


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which alarms go to whom.

    `level` or worse, of `systems` and `districts` (none: all), in `shifts` and on `days` (none: always), over each of
    `channels` to each of `to` (none: the channel's one recipient). `roles`: whose cases are told here. News wait
    `wait_s` for more of their group, except level 1, and so long between two messages; what nobody acknowledges is
    repeated every `repeat_s` (0: never). `quiet`: whether quiet hours hold; `clear`: whether the end is told.
    """

    name: str
    channels: tuple[str, ...]
    source: str
    verified: bool
    to: tuple[str, ...] = ()
    level: LevelName = "blue"
    systems: tuple[System, ...] = ()
    districts: tuple[str, ...] = ()
    shifts: tuple[str, ...] = ()
    days: tuple[DayName, ...] = ()
    roles: tuple[Role, ...] = ()
    wait_s: float = 30.0
    repeat_s: float = 0.0
    quiet: bool = False
    clear: bool = True

    def takes(self, level: int, system: str, district: str) -> bool:
        """Return whether it tells an alarm of `level`; one whose system or district nobody knows is told rather."""
        return (
            level <= LEVELS[self.level]
            and (not self.systems or not system or system in self.systems)
            and (not self.districts or not district or district in self.districts)
        )


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How often a delivery is tried: after `first_s`, then twice as long each time up to `longest_s`, for `for_h`."""

    first_s: float
    longest_s: float
    for_h: float
    source: str
    verified: bool


class Notify(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that a city says about telling people: the section ``notify`` of its file."""

    retry: Retry
    quiet: Quiet | None = None
    channel: tuple[Channel, ...] = ()
    route: tuple[Route, ...] = ()


@dataclass(frozen=True, slots=True)
class Notice:
    """An alarm as the router sees it: with the district of its device, and the incident that holds it, if known."""

    alarm: Alarm
    district: str = ""
    incident: int | None = None

    @property
    def group(self) -> str:
        """What it is told together with: its incident, or else its system in its district."""
        if self.incident is not None:
            return f"incident:{self.incident}"
        return f"{self.district or '-'}/{self.alarm.place.system or '-'}"


class Router:
    """Routes of a city, with its shifts, and with what day it is there."""

    def __init__(self, notify: Notify, rota: Rota, calendar: Calendar) -> None:
        self.notify = notify
        self.routes = {route.name: route for route in notify.route}
        self._rota = rota
        self._calendar = calendar

    def of(self, notice: Notice) -> list[Route]:
        """Return the routes that tell an alarm, whatever the hour."""
        alarm = notice.alarm
        return [route for route in self.notify.route if route.takes(alarm.level, alarm.place.system, notice.district)]

    def of_role(self, role: Role, level: int, system: str, district: str) -> list[Route]:
        """Return the routes over which a role is told of a case."""
        return [each for each in self.notify.route if role in each.roles and each.takes(level, system, district)]

    def tells(self, route: Route, level: int, at: datetime) -> bool:
        """Return whether a route tells news of `level` at the aware time `at`.

        A night shift is all of the day on which it began.
        """
        local, shift = at.astimezone(self._rota.zone), self._rota.at(at)
        if route.shifts and shift.id not in route.shifts:
            return False
        day = self._calendar.day(shift.day if route.shifts else local.date())
        if route.days and day.name.lower() not in route.days:
            return False
        quiet = self.notify.quiet
        return level == 1 or not route.quiet or quiet is None or not quiet.hold(local.time())

    def opens(self, route: Route, level: int, at: datetime) -> datetime:
        """Return the first time from `at` on at which a route tells news of `level`, or else `FURTHEST` after it."""
        if self.tells(route, level, at):
            return at
        today = at.astimezone(self._rota.zone).date()
        for day in range(FURTHEST.days):
            for edge in self._edges():
                begins = datetime.combine(today + timedelta(days=day), edge, self._rota.zone).astimezone(UTC)
                if begins > at and self.tells(route, level, begins):
                    return begins
        return at + FURTHEST

    def _edges(self) -> list[time]:
        """Return the local times at which a route may begin to tell, in order."""
        edges = {time(), *(row.start for row in self._rota.rows)}
        return sorted(edges | ({self.notify.quiet.ends} if self.notify.quiet else set[time]()))


def check_notify(notify: Notify, shifts: Collection[str], where: str) -> None:
    """Refuse channels and routes that cannot work; SettingsError with the place, under `where`.

    That each has a name of its own is for whoever reads the file to see to.
    """
    channels = [channel.name for channel in notify.channel]
    for route in notify.route:
        place = f"{where}: notify.route {route.name}"
        if not route.channels:
            raise SettingsError("names no channel", where=place, expected="at least one")
        _known(route.channels, channels, f"{place}: channels")
        _known(route.shifts, shifts, f"{place}: shifts")
        for name, value in (("wait_s", route.wait_s), ("repeat_s", route.repeat_s)):
            if not 0 <= value <= FURTHEST.total_seconds():
                raise SettingsError(f"is {value}", where=f"{place}: {name}", expected="seconds, 0 or more")
    if notify.quiet is not None and (notify.quiet.begins.tzinfo or notify.quiet.ends.tzinfo):
        raise SettingsError("names an offset", where=f"{where}: notify.quiet", expected="local times such as 22:00:00")
    retry = notify.retry
    if not 0 < retry.first_s <= retry.longest_s <= retry.for_h * 3600 <= FURTHEST.total_seconds():
        raise SettingsError(
            f"is {retry.first_s} s, {retry.longest_s} s, {retry.for_h} h",
            where=f"{where}: notify.retry",
            expected="first_s, longest_s and for_h more than 0 and in this order",
        )


def _known(names: Iterable[str], offered: Collection[str], place: str) -> None:
    for name in names:
        if name not in offered:
            raise SettingsError(f"no such name as {name}", where=place, expected=f"one of {', '.join(sorted(offered))}")


__all__ = [
    "Channel",
    "Notice",
    "Notify",
    "Quiet",
    "Retry",
    "Route",
    "Router",
    "check_notify",
]
