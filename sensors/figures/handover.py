"""交接班, the handover of a shift: what happened in it, what is open at its end, who has it, what the next has to know.

Alarms, cases and figures are told as they were when the shift ended; visibility and the state of devices are those of
the time at which the handover was made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Engine, Row, func, select

from sensors.alarm import CITY, Alarm, Condition, Event, Transition, Visibility
from sensors.alarm_log import AlarmLog
from sensors.cases.case import OVER, Step
from sensors.clock import ManualClock, from_ms, to_ms
from sensors.figures.history import read_history
from sensors.figures.performance import Meter, Performance
from sensors.figures.shift import Position, Rota, Shift
from sensors.operations import case_alarms, case_events, cases, devices, points, presence, reading
from sensors.response import Response

OFFLINE_MOST = 20
"""So many devices that are offline are named, those that have been away longest first; the others are counted."""


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """An alarm as it stood at the end; `case` holds it, `stale`: it stood for longer than the city's target."""

    alarm: Alarm
    case: int | None
    stale: bool


@dataclass(frozen=True, slots=True)
class Remark:
    """What a person wrote about an alarm or case in the shift."""

    at: datetime
    by: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A case that is not closed at the end; `late`: its deadline has passed, `near`: it passes in the next shift."""

    id: int
    title: str
    level: int
    step: str
    department: str
    handlers: tuple[str, ...]
    due: datetime | None
    suspended: bool
    late: bool
    near: bool


@dataclass(frozen=True, slots=True)
class SystemHealth:
    """The devices of one system in service, those that said they are offline, and points past their calibration."""

    system: str
    devices: int
    offline: int
    calibration_due: int


@dataclass(frozen=True, slots=True)
class Offline:
    """A device that is offline since a time."""

    device: str
    name: str
    system: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Handover:
    """Everything that one shift tells the next, at `made`; `until` is its end, or `made` while it lasts.

    `happened` are the alarms that announced themselves in the shift, as they stood at `until`, the worst first;
    `hidden` those that are shelved, suppressed or out of service.
    """

    shift: Shift
    following: Shift
    until: datetime
    made: datetime
    performance: Performance
    desks: tuple[tuple[Position, Performance], ...]
    happened: tuple[Alarm, ...]
    open: tuple[OpenAlarm, ...]
    hidden: tuple[Alarm, ...]
    cases: tuple[OpenCase, ...]
    cases_opened: int
    cases_closed: int
    remarks: tuple[Remark, ...]
    health: tuple[SystemHealth, ...]
    offline: tuple[Offline, ...]

    @property
    def unacknowledged(self) -> tuple[Alarm, ...]:
        """The open alarms that nobody has acknowledged."""
        return tuple(each.alarm for each in self.open if not each.alarm.acknowledged)


_ANNOUNCING = frozenset({Event.RAISED, Event.REOPENED, Event.ESCALATED})


def as_of(alarm: Alarm, steps: Sequence[Transition]) -> Alarm:
    """Return `alarm` as it was after `steps`, the first of its transitions, at least one.

    What a later change took over (limit, band, evidence, place) stays as it is now: transitions do not keep it.
    """
    last = steps[-1]
    if last.version == alarm.version:
        return alarm
    state = replace(alarm, condition=Condition.NORMAL, acknowledged=False, count=0, cleared=None, value=None)
    for step in steps:
        value = state.value if step.value is None else step.value
        state = replace(state, level=step.level, version=step.version, value=value)
        match step.event:
            case Event.RAISED | Event.REOPENED | Event.ESCALATED:
                again = step.event is not Event.ESCALATED
                state = replace(
                    state,
                    condition=Condition.ACTIVE,
                    acknowledged=False,
                    acknowledged_at=None,
                    acknowledged_by=None,
                    cleared=None,
                    count=state.count + again,
                )
            case Event.CLEARED:
                state = replace(state, condition=Condition.NORMAL, cleared=step.at)
            case Event.ACKNOWLEDGED:
                state = replace(state, acknowledged=True, acknowledged_at=step.at, acknowledged_by=step.by)
            case _:
                pass  # another level, or who sees it
    return state


def read_handover(engine: Engine, rota: Rota, shift: Shift, response: Response, now: datetime) -> Handover:
    """Return the handover of `shift` as the operations database behind `engine` has it; `now` is the city's time."""
    until, following = min(shift.end, max(now, shift.start + timedelta(milliseconds=1))), rota.after(shift)
    history = read_history(engine, shift.start, until)
    meter = Meter(history, response.targets)
    known = AlarmLog(engine, ManualClock(now)).between(shift.start, until)
    told = [(as_of(alarm, steps), steps) for alarm, steps in known]
    told.sort(key=lambda each: (each[0].level, -to_ms(each[0].onset)))
    stale = response.targets.stale_after
    held = _held(engine)
    opened, closed, remarks = _events(engine, shift.start, until)
    return Handover(
        shift,
        following,
        until,
        now,
        meter.over(shift.start, until),
        tuple(
            (desk, Meter(history.where(desk.watches), response.targets).over(shift.start, until))
            for desk in response.position
        )
        if len(response.position) > 1
        else (),
        tuple(alarm for alarm, steps in told if any(_announces(step, shift.start) for step in steps)),
        tuple(
            OpenAlarm(alarm, held.get(alarm.id), _stood(alarm, steps, until) > stale)
            for alarm, steps in told
            if alarm.open and alarm.visibility is Visibility.SHOWN
        ),
        tuple(alarm for alarm, _ in told if alarm.open and alarm.visibility is not Visibility.SHOWN),
        _cases(engine, until, following.end),
        opened,
        closed,
        tuple(sorted((*remarks, *_said(told, shift.start)), key=lambda remark: remark.at)),
        _health(engine, until.astimezone(rota.zone)),
        _offline(engine),
    )


def _announces(step: Transition, since: datetime) -> bool:
    return step.at >= since and step.event in _ANNOUNCING


def _stood(alarm: Alarm, steps: Sequence[Transition], until: datetime) -> timedelta:
    """Return how long the condition has stood without a break; nothing where it does not."""
    if alarm.condition is not Condition.ACTIVE:
        return timedelta()
    return until - max(step.at for step in steps if step.event in {Event.RAISED, Event.REOPENED})


def _said(told: Sequence[tuple[Alarm, Sequence[Transition]]], since: datetime) -> list[Remark]:
    return [
        Remark(step.at, step.by, f"alarm {alarm.id}", step.comment)
        for alarm, steps in told
        for step in steps
        if step.at >= since and step.comment and step.by != CITY
    ]


def _held(engine: Engine) -> Mapping[int, int]:
    """Return the case that holds each alarm."""
    with reading(engine) as connection:
        return {row.alarm: row.case for row in connection.execute(select(case_alarms))}


def _events(engine: Engine, start: datetime, end: datetime) -> tuple[int, int, list[Remark]]:
    """Return how many cases were reported and closed in the shift, and what was written in them."""
    query = select(case_events).where(case_events.c.at >= to_ms(start), case_events.c.at < to_ms(end))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(case_events.c.number)).all()
    fresh = sum(row.from_step is None for row in rows)
    closed = sum(row.to_step == Step.CLOSED.value != row.from_step for row in rows)
    wrote = [
        Remark(from_ms(row.at), row.name or row.by, f"case {row.case}", row.text)
        for row in rows
        if row.text and row.by != CITY
    ]
    return fresh, closed, wrote


def _cases(engine: Engine, until: datetime, horizon: datetime) -> tuple[OpenCase, ...]:
    """Return the cases that were open at `until`, the worst level first, then the nearest deadline."""
    over = [step.value for step in OVER]
    newest = (
        select(case_events.c.case, func.max(case_events.c.number).label("number"))
        .where(case_events.c.at < to_ms(until))
        .group_by(case_events.c.case)
        .subquery()
    )
    query = (
        select(cases, case_events.c.to_step.label("was"))
        .join(newest, newest.c.case == cases.c.id)
        .join(case_events, case_events.c.number == newest.c.number)
        .where(case_events.c.to_step.not_in(over))
        .order_by(cases.c.level, func.coalesce(cases.c.due, to_ms(horizon)), cases.c.id)
    )
    with reading(engine) as connection:
        return tuple(_case(row, until, horizon) for row in connection.execute(query))


def _case(row: Row[Any], until: datetime, horizon: datetime) -> OpenCase:
    same = row.was == row.step  # a deadline is that of the step in which the case is now
    due = from_ms(row.due) if row.due is not None and same else None
    waits = row.suspended is not None
    handlers = tuple(msgspec.json.decode(row.handlers, type=list[str]))
    late, near = (due is not None and not waits and due <= end for end in (until, horizon))
    return OpenCase(
        row.id, row.title, row.level, row.was, row.department or "", handlers, due, waits, late, near and not late
    )


def _health(engine: Engine, today: datetime) -> tuple[SystemHealth, ...]:
    served = devices.c.retired.is_(False)
    away = func.count().filter(presence.c.online.is_(False))
    counted = select(devices.c.system, func.count(), away).where(served).group_by(devices.c.system)
    counted = counted.outerjoin(presence, presence.c.device == devices.c.device).order_by(devices.c.system)
    due = select(devices.c.system, func.count().label("points")).join(points, points.c.device == devices.c.device)
    due = due.where(served, points.c.position.is_not(None), points.c.calibration_due <= today.date())
    with reading(engine) as connection:
        overdue: dict[str, int] = {row.system: row.points for row in connection.execute(due.group_by(devices.c.system))}
        return tuple(
            SystemHealth(system, number, offline, overdue.get(system, 0))
            for system, number, offline in connection.execute(counted)
        )


def _offline(engine: Engine) -> tuple[Offline, ...]:
    query = select(devices.c.device, devices.c.name, devices.c.system, presence.c.since)
    query = query.join(presence, presence.c.device == devices.c.device)
    query = query.where(devices.c.retired.is_(False), presence.c.online.is_(False))
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(presence.c.since).limit(OFFLINE_MOST))
        return tuple(Offline(row.device, row.name, row.system, from_ms(row.since)) for row in rows)


__all__ = [
    "Handover",
    "Offline",
    "OpenAlarm",
    "OpenCase",
    "Remark",
    "SystemHealth",
    "as_of",
    "read_handover",
]
