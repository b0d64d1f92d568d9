"""The teller: follows the alarm log and puts into the outbox what people have to be told.

Each step is one transaction that moves the cursor `told` over the alarm log's changes, keeps the threads, and writes
the deliveries: whoever is killed in it has done nothing, and two tellers queue for the cursor.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, bindparam, delete, func, insert, select, update

from sensors.alarm import Alarm
from sensors.alarm_log import AlarmLog
from sensors.clock import Clock, from_ms, to_ms
from sensors.ingest_alarm import ingest_subject
from sensors.notify.message import Message, Purpose, Reference, headlines, item, listed
from sensors.notify.outbox import put
from sensors.notify.routing import Notice, Route, Router
from sensors.notify.thread import Member, Thread, Timing, Turn, member, said, turn
from sensors.operations import advance, counter, devices, notify_members, notify_threads, reading, writing
from sensors.people import Role

_CHUNK = 500
_INGEST = ingest_subject("")


class Teller:
    """Tells of the alarms of `log`, by the routes of `router`; `clock` is the city's.

    `exercise`: the city is recorded or simulated, and every message says so.
    """

    def __init__(self, engine: Engine, log: AlarmLog, router: Router, clock: Clock, *, exercise: bool = False) -> None:
        self._engine = engine
        self._log = log
        self._router = router
        self._clock = clock
        self._exercise = exercise
        self._looked = False

    def step(self) -> int:
        """Look at what changed and at what has waited long enough; return how many deliveries that made.

        The first step looks at every open alarm: routes may be others than before. UnavailableError and BusyError as
        of the database; the next step then goes on where this one stood.
        """
        now = from_ms(to_ms(self._clock.now()))
        if self._looked and not self._has_work(now):
            return 0
        with writing(self._engine) as connection:
            cursor = advance(connection, "told", 0)  # takes the lock: tellers queue here
            changed, newest = self._changes(connection, cursor)
            step = _Step(connection, self._router, self._log, now, exercise=self._exercise)
            step.take(changed)
            made = step.look()
            advance(connection, "told", newest - cursor)
        self._looked = True
        return made

    def _has_work(self, now: datetime) -> bool:
        with reading(self._engine) as connection:
            first = connection.execute(select(func.min(notify_threads.c.wakes))).scalar()
            due = first is not None and first <= to_ms(now)
            return due or counter(connection, "change") != counter(connection, "told")

    def _changes(self, connection: Connection, cursor: int) -> tuple[Sequence[Alarm], int]:
        """Return the alarms to look at, and the number of the newest change that they show."""
        if not cursor and not self._looked:  # a log that was kept before anybody was told: what stands counts
            newest = counter(connection, "change")  # looked at first: alarms that change meanwhile are newer
            return self._log.open(), newest
        changed = self._log.changes(cursor)[0]
        newest = max(cursor, *(alarm.sequence for alarm in changed), 0)
        if self._looked:
            return changed, newest
        return [*({alarm.id: alarm for alarm in (*changed, *self._log.open())}).values()], newest


def tell_of_case(connection: Connection, router: Router, message: Message, role: Role) -> int:
    """Put a message about a case to everybody who is told of a role's cases, in the caller's transaction.

    For deadlines that pass: `message` has the purpose CASE and an id of `message_id`. Return the number of deliveries.
    """
    routes = router.of_role(role, message.level, message.system, message.district)
    return sum(put(connection, message, route) for route in routes)


def message_id(connection: Connection, now: datetime) -> str:
    """Return an id that no other message has, not even of a database made anew: the time and a number."""
    return f"chengmai-{to_ms(now)}-{advance(connection, 'message')}"


class _Step:
    """One transaction of the teller."""

    def __init__(self, connection: Connection, router: Router, log: AlarmLog, now: datetime, *, exercise: bool) -> None:
        self._connection = connection
        self._router = router
        self._log = log
        self._now = now
        self._exercise = exercise
        self._touched: set[tuple[str, str]] = set()

    def take(self, changed: Sequence[Alarm]) -> None:
        """Bring the members of the threads to what the alarms are now."""
        numbers = [alarm.id for alarm in changed]
        known = _members_of(self._connection, numbers)
        rows: list[dict[str, Any]] = []
        for notice in _notices(self._connection, changed):
            number = notice.alarm.id
            mine = {route.name for route in self._router.of(notice)}
            mine |= {name for name in self._router.routes if (name, number) in known}  # who was told is told of its end
            for name in mine:
                before, told = known.get((name, number), (notice.group, None))
                now = member(notice.alarm, told)
                self._touched |= {(name, before), (name, notice.group)}
                if not now.idle:
                    rows.append({"route": name, "group": notice.group, "alarm": number, **_columns(now)})
        for chunk in _chunks(numbers):
            self._connection.execute(delete(notify_members).where(notify_members.c.alarm.in_(chunk)))
        if rows:
            self._connection.execute(insert(notify_members), rows)

    def look(self) -> int:
        """Let every thread speak that was touched or has waited long enough; return the deliveries made."""
        due = select(notify_threads).where(notify_threads.c.wakes <= to_ms(self._now))
        self._touched |= {(row.route, row.group) for row in self._connection.execute(due)}
        return sum(self._look_at(route, group) for route, group in sorted(self._touched))

    def _look_at(self, name: str, group: str) -> int:
        route = self._router.routes.get(name)
        if route is None:  # the city's file has it no more
            self._connection.execute(delete(notify_threads).where(*_is(name, group)))
            return 0
        before = _thread(self._connection, name, group)
        timing = Timing(
            timedelta(seconds=route.wait_s),
            timedelta(seconds=route.repeat_s) if route.repeat_s else None,
            clear=route.clear,
        )
        after = turn(before, timing, partial(self._router.opens, route, at=self._now), self._now)
        thread, made = after.thread, 0
        if after.purpose is not None:
            message = self._message(route, group, after.purpose, after)
            made = put(self._connection, message, route)
            thread = said(thread, Reference(message.id, self._now), after.purpose)
        _keep(self._connection, (name, group), before, thread, after.wakes)
        return made

    def _message(self, route: Route, group: str, purpose: Purpose, after: Turn) -> Message:
        alarms = [self._log.get(number) for number in listed((level, number) for number, level in after.alarms)]
        notices = list(_notices(self._connection, alarms))
        items = tuple(item(each.alarm, each.district) for each in notices)
        incidents = {each.incident for each in notices}
        system = _one_of(each.system for each in items)
        district = _one_of(each.district for each in items)
        zh, en = headlines(
            purpose,
            after.level,
            system,
            district,
            count=len(after.alarms),
            items=items,
            repeats=after.thread.repeats + 1,
        )
        return Message(
            message_id(self._connection, self._now),
            purpose,
            self._now,
            route.name,
            group,
            after.level,
            system,
            district,
            zh,
            en,
            alarms=len(after.alarms),
            items=items,
            references=after.thread.messages,
            incident=incidents.pop() if len(incidents) == 1 else None,
            exercise=self._exercise,
        )


def _one_of(names: Iterable[str]) -> str:
    """Return the name that all share, or none."""
    found = set(names)
    return found.pop() if len(found) == 1 else ""


def _notices(connection: Connection, alarms: Sequence[Alarm]) -> Iterator[Notice]:
    """Yield alarms with the districts of their devices; ingest's own are of the district that they name."""
    owners = sorted({alarm.device for alarm in alarms if alarm.device is not None})
    districts: dict[str, str] = {}
    for chunk in _chunks(owners):
        rows = connection.execute(select(devices.c.device, devices.c.district).where(devices.c.device.in_(chunk)))
        districts |= {row.device: row.district for row in rows}
    for alarm in alarms:
        named = alarm.subject.removeprefix(_INGEST) if alarm.subject.startswith(_INGEST) else ""
        yield Notice(alarm, districts.get(alarm.device or "", named))


def _members_of(connection: Connection, alarms: Sequence[int]) -> dict[tuple[str, int], tuple[str, int | None]]:
    """Return group and told level of the members that stand for these alarms, by route and alarm."""
    found: dict[tuple[str, int], tuple[str, int | None]] = {}
    for chunk in _chunks(alarms):
        rows = connection.execute(select(notify_members).where(notify_members.c.alarm.in_(chunk)))
        found |= {(row.route, row.alarm): (row.group, row.told) for row in rows}
    return found


def _thread(connection: Connection, name: str, group: str) -> Thread:
    mine = (notify_members.c.route == name, notify_members.c.group == group)
    members = {
        row.alarm: Member(row.level, asks=bool(row.asks), over=bool(row.over), told=row.told)
        for row in connection.execute(select(notify_members).where(*mine))
    }
    row = connection.execute(select(notify_threads).where(*_is(name, group))).first()
    if row is None:
        return Thread(members)
    said_before = msgspec.json.decode(row.messages, type=tuple[Reference, ...])
    return Thread(members, _time(row.since), _time(row.told_at), row.repeats, said_before)


def _keep(connection: Connection, key: tuple[str, str], before: Thread, after: Thread, wakes: datetime | None) -> None:
    """Write what became of a thread: its members that are gone or were told, and itself as long as it has any."""
    name, group = key
    gone = [number for number in before.members if number not in after.members]
    for chunk in _chunks(gone):
        mine = (notify_members.c.route == name, notify_members.c.alarm.in_(chunk))
        connection.execute(delete(notify_members).where(*mine))
    told = [
        {"member": number, "said": each.told}
        for number, each in after.members.items()
        if each.told != before.members[number].told
    ]
    if told:
        mine = (notify_members.c.route == name, notify_members.c.alarm == bindparam("member"))
        connection.execute(update(notify_members).where(*mine).values(told=bindparam("said")), told)
    connection.execute(delete(notify_threads).where(*_is(name, group)))
    if after.members:
        row = {
            "route": name,
            "group": group,
            "since": _ms(after.since),
            "told_at": _ms(after.told_at),
            "repeats": after.repeats,
            "messages": msgspec.json.encode(after.messages).decode(),
            "wakes": _ms(wakes),
        }
        connection.execute(insert(notify_threads).values(row))


def _columns(each: Member) -> dict[str, Any]:
    return {"level": each.level, "asks": each.asks, "over": each.over, "told": each.told}


def _is(name: str, group: str) -> tuple[Any, Any]:
    return notify_threads.c.route == name, notify_threads.c.group == group


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (values[start : start + _CHUNK] for start in range(0, len(values), _CHUNK))


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else from_ms(ms)


def _ms(time: datetime | None) -> int | None:
    return None if time is None else to_ms(time)


__all__ = ["Teller", "message_id", "tell_of_case"]
