"""The case log: cases and everything that happened to them, in the operations database.

Each call is one transaction, in which the case, its event and the entry in the audit trail are written together, or
none of them; writers queue for the counter `case_event`, so that events have neither holes nor overtakers. A write with
an idempotency key that was written before changes nothing and returns the case as it is now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Engine, func, select

from sensors.cases import acts, workflow
from sensors.cases.attachments import Attachments, File, Media, label
from sensors.cases.book import Book, one
from sensors.cases.case import UNFIT, Case, CaseEvent, CaseId, Event
from sensors.cases.moves import Setting, happened, said, unfit, where_of
from sensors.cases.rows import case_of, event_of
from sensors.cases.wanted import EVERY, Wanted, conditions
from sensors.clock import Clock, from_ms, to_ms
from sensors.operations import case_alarms, case_events, case_links, cases, counter, reading, writing
from sensors.people import Action, Person, demand
from sensors.response import Response
from sensors.trail import AuditTrail
from twin.errors import InputError, StaleError

_AT_ONCE = 500
"""Cases that time acts on in one transaction: others who write are not kept waiting."""


_NEVER = 1 << 62
"""After every deadline, in ms since 1970."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a case: its name as given, by whom and when, and what was said about it."""

    file: File
    name: str
    by: str
    at: datetime
    text: str


class CaseLog:
    """The cases of a city, in the operations database behind `engine` (of `operations.connect`).

    What people do goes into `trail` too. `response` is the city's, `attachments` where photos and papers are kept.
    """

    def __init__(
        self, engine: Engine, clock: Clock, response: Response, trail: AuditTrail, attachments: Attachments
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._response = response
        self._trail = trail
        self._attachments = attachments

    def report(self, told: acts.Report, by: Person, *, key: str = "") -> Case:
        """Begin a case, with the alarms that it names, and return it.

        UnknownError for an alarm that is none, InputError E_STATE for one that another open case holds; else as
        `workflow.report`.
        """
        with self._writing("case.report", (told,), by, key) as book:
            if book.before is None:
                case, event = workflow.report(book.case_id(), told, self._setting(by))
                book.add(case, event)
                book.hold(case.id, told.alarms)
                return case
            return book.get(book.before)

    def act(self, case_id: int, act: acts.Act, by: Person, *, version: int, key: str = "") -> Case:
        """Do `act` to a case as the person `by`, who saw its `version`; return it.

        UnknownError for no such case, StaleError where it has changed since that version; else as `workflow.perform`.
        """
        with self._writing(f"case.act {case_id} {version}", (act,), by, key) as book:
            case = book.get(case_id)
            if book.before is None:
                _same(case, version)
                case, event = workflow.perform(case, act, self._setting(by, book.standing(case.id)))
                book.change(case, event)
            return case

    def merge(
        self, case_id: int, into: int, text: str, by: Person, *, version: int, into_version: int, key: str = ""
    ) -> Case:
        """Put a case into another, with its alarms, and return the other; `by` saw these versions of both."""
        with self._writing(f"case.merge {case_id} {into} {version} {into_version}", (text,), by, key) as book:
            other = book.get(into)
            if book.before is None:
                case = book.get(case_id)
                _same(case, version)
                _same(other, into_version)
                gone, grown = workflow.merge(case, other, text, self._setting(by))
                book.change(*gone)
                book.change(*grown)
                book.move_alarms(case.id, other.id)
                other = grown[0]
            return other

    def link(self, case_id: int, other: int, text: str, by: Person, *, key: str = "") -> None:
        """Note that two cases have to do with one another; once is enough."""
        if case_id == other:
            raise InputError("cannot be linked with itself", where=f"case {case_id}", expected="another case")
        with self._writing(f"case.link {case_id} {other}", (text,), by, key) as book:
            pair = book.get(case_id), book.get(other)
            demand(by, Action.JOIN, where_of(pair[0]))
            if book.before is None and book.link(pair[0].id, pair[1].id):
                for one, two in (pair, pair[::-1]):
                    book.note(happened(one, Event.LINKED, self._setting(by), text, detail={"other": str(two.id)}))

    def hold(self, case_id: int, held: Sequence[int], by: Person, *, version: int, key: str = "") -> Case:
        """Put alarms into an open case and return it; as `report` for alarms that cannot be."""
        with self._writing(f"case.hold {case_id} {version}", tuple(held), by, key) as book:
            case = book.get(case_id)
            demand(by, Action.JOIN, where_of(case))
            if book.before is None:
                _same(case, version)
                if not case.open:
                    unfit(case, "given alarms", "an open case")
                book.hold(case.id, held)
                case = replace(case, waiver=None, version=case.version + 1)  # which spoke for those it held
                names = " ".join(str(alarm) for alarm in held)
                book.change(case, happened(case, Event.HELD, self._setting(by), detail={"alarms": names}))
            return case

    def comment(self, case_id: int, text: str, by: Person, *, key: str = "") -> None:
        """Note what a person says about a case: also a closed one, and whatever its version."""
        with self._writing(f"case.comment {case_id}", (text,), by, key) as book:
            case = book.get(case_id)
            demand(by, Action.COMMENT, where_of(case))
            said(text, case)
            if book.before is None:
                book.note(happened(case, Event.COMMENTED, self._setting(by), text))

    def attach(self, case_id: int, name: str, content: bytes, by: Person, text: str = "", *, key: str = "") -> File:
        """Attach a photo or PDF to a case, also a closed one; return the file as it is kept.

        InputError as `Attachments.keep`, and E_STATE where the case has as many as the city allows.
        """
        with reading(self._engine) as connection:
            case = _one(connection, case_id)
        demand(by, Action.COMMENT, where_of(case))
        file = self._attachments.keep(content, name)  # before its row: a file without one harms nobody
        with self._writing(f"case.attach {case_id} {file.digest}", (name, text), by, key) as book:
            if book.before is None:
                case = book.get(case_id)
                most = self._attachments.rules.most_files
                if book.count(case.id, Event.ATTACHED) >= most:
                    raise InputError(f"has {most} files", where=where_of(case), expected="no more", code=UNFIT)
                detail = {"name": label(name), "digest": file.digest, "media": file.media.value, "size": str(file.size)}
                book.note(happened(case, Event.ATTACHED, self._setting(by), text, detail=detail))
        return file

    def due(self, now: datetime) -> list[tuple[Case, CaseEvent]]:
        """Let time act on the cases whose time it is at `now`; return them with what happened, for those who tell.

        A deadline that passed is told on to the next role, a suspension that ended goes on. Calling it twice, or by
        two workers at once, tells nothing twice.
        """
        told: list[tuple[Case, CaseEvent]] = []
        waiting = cases.c.wakes <= to_ms(now)
        while True:
            with reading(self._engine) as connection:
                if connection.execute(select(cases.c.id).where(waiting).limit(1)).first() is None:
                    return told
            with writing(self._engine) as connection:
                book = Book(connection)
                rows = connection.execute(select(cases).where(waiting).order_by(cases.c.wakes).limit(_AT_ONCE))
                for case in [case_of(row) for row in rows.mappings()]:
                    moved = workflow.elapsed(case, from_ms(to_ms(now)), self._response)
                    if moved is not None:
                        told.append((moved[0], book.change(*moved)))

    def get(self, case_id: int) -> Case:
        """Return one case; UnknownError if there is none of that id."""
        with reading(self._engine) as connection:
            return _one(connection, case_id)

    def list(self, wanted: Wanted = EVERY, *, limit: int | None = None, offset: int = 0) -> list[Case]:
        """Return the cases that are `wanted`, the worst level first, then the next deadline."""
        order = (cases.c.level, func.coalesce(cases.c.due, _NEVER), cases.c.id)
        query = select(cases).where(*conditions(wanted, self._response)).order_by(*order).offset(offset)
        with reading(self._engine) as connection:
            rows = connection.execute(query if limit is None else query.limit(limit))
            return [case_of(row) for row in rows.mappings()]

    def count(self, wanted: Wanted = EVERY) -> int:
        """Return how many cases are `wanted`."""
        query = select(func.count()).select_from(cases).where(*conditions(wanted, self._response))
        with reading(self._engine) as connection:
            return connection.execute(query).scalar_one()

    def events(self, case_id: int) -> Sequence[CaseEvent]:
        """Return what happened to one case, oldest first; UnknownError if there is none of that id."""
        with reading(self._engine) as connection:
            _one(connection, case_id)
            query = select(case_events).where(case_events.c.case == case_id).order_by(case_events.c.number)
            return [event_of(row) for row in connection.execute(query)]

    def changes(self, after: int, limit: int = 1000) -> tuple[Sequence[CaseEvent], int]:
        """Return at most `limit` events of all cases since the number `after`, and the newest number there is."""
        with reading(self._engine) as connection:
            query = select(case_events).where(case_events.c.number > after).order_by(case_events.c.number).limit(limit)
            return [event_of(row) for row in connection.execute(query)], counter(connection, "case_event")

    def attachments(self, case_id: int) -> Sequence[Attachment]:
        """Return the files of a case, oldest first; UnknownError if there is none of that id."""
        return [_attachment(event) for event in self.events(case_id) if event.event is Event.ATTACHED]

    def held(self, case_id: int) -> Sequence[int]:
        """Return the ids of the alarms that a case holds."""
        with reading(self._engine) as connection:
            query = select(case_alarms.c.alarm).where(case_alarms.c.case == case_id).order_by(case_alarms.c.alarm)
            return list(connection.execute(query).scalars())

    def linked(self, case_id: int) -> Sequence[int]:
        """Return the ids of the cases that a case is linked with."""
        with reading(self._engine) as connection:
            query = select(case_links.c.other).where(case_links.c.case == case_id).order_by(case_links.c.other)
            return list(connection.execute(query).scalars())

    def holding(self, held: Iterable[int]) -> Mapping[int, CaseId]:
        """Return which case holds each of these alarms; those that none holds are not among them."""
        query = select(case_alarms).where(case_alarms.c.alarm.in_(list(held)))
        with reading(self._engine) as connection:
            return {row.alarm: CaseId(row.case) for row in connection.execute(query)}

    def faults(self) -> list[str]:
        """Return, a line each, the attached files that are missing or were changed since."""
        query = select(case_events.c.detail).where(case_events.c.event == Event.ATTACHED.value)
        with reading(self._engine) as connection:
            details = list(connection.execute(query).scalars())
        return self._attachments.faults(msgspec.json.decode(each, type=dict[str, str])["digest"] for each in details)

    @contextmanager
    def _writing(self, what: str, said: Sequence[object], by: Person, key: str) -> Generator[Book, None, None]:
        """Open the book of one write by a person: one transaction, with the trail in it, anchored when it is over."""
        asked = hashlib.sha256(msgspec.json.encode([what, by.id, *said])).hexdigest()
        with writing(self._engine) as connection:
            book = Book(connection, key.strip() or None, asked)
            yield book
            entries = [
                self._trail.enter(connection, event.by, f"case.{event.event.value}", f"case {event.case}", _said(event))
                for event in book.events
            ]
        for entry in entries:
            self._trail.publish(entry)

    def _setting(self, by: Person, standing: int = 0) -> Setting:
        now = from_ms(to_ms(self._clock.now()))  # what is returned is what is stored
        return Setting(by, now, self._response, standing)


def _one(connection: Connection, case_id: int) -> Case:
    return one(connection.execute(select(cases).where(cases.c.id == case_id)).mappings().first(), case_id)


def _same(case: Case, version: int) -> None:
    if case.version != version:
        raise StaleError(
            f"is at version {case.version} ({case.step.value}), not {version}",
            where=where_of(case),
            expected="the newest version; look again",
        )


def _said(event: CaseEvent) -> Mapping[str, object]:
    return {"version": event.version, "role": event.role, "step": event.to_step, "text": event.text, **event.detail}


def _attachment(event: CaseEvent) -> Attachment:
    detail = event.detail
    file = File(detail["digest"], Media(detail["media"]), int(detail["size"]))
    return Attachment(file, detail["name"], event.by, event.at, event.text)


__all__ = ["Attachment", "CaseLog"]
