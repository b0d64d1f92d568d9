"""The book of one write transaction of cases: what it reads under the writers' lock, and every event that it enters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from sensors.alarm import Condition
from sensors.cases.case import UNFIT, Case, CaseEvent, CaseId, Event
from sensors.cases.rows import case_of, event_row, row_of
from sensors.operations import advance, alarms, case_alarms, case_events, case_links, cases
from twin.errors import InputError, UnknownError

_CHUNK = 500
"""Alarms named in one query; as many as the alarm log names subjects."""


class Book:
    """Cases in a write transaction on `connection`; the write has an idempotency `key`, and asks for what `asked` is.

    `before` is the case that a write with this key was about already, or None; InputError E_KEY_REUSED where that
    asked for something else. `events` are those entered here.
    """

    def __init__(self, connection: Connection, key: str | None = None, asked: str | None = None) -> None:
        self._connection = connection
        advance(connection, "case_event", 0)  # takes the lock: writers queue here
        self._key = key
        self._asked = asked
        self.events: list[CaseEvent] = []
        self.before = None if key is None else self._before(key)

    def case_id(self) -> CaseId:
        """Return the id of a new case."""
        return CaseId(advance(self._connection, "case"))

    def get(self, case_id: int) -> Case:
        """Return a case; UnknownError if there is none of that id."""
        row = self._connection.execute(select(cases).where(cases.c.id == case_id)).mappings().first()
        return one(row, case_id)

    def add(self, case: Case, event: CaseEvent) -> None:
        """Write a new case and its first event."""
        self._connection.execute(insert(cases).values(row_of(case)))
        self.note(event)

    def change(self, case: Case, event: CaseEvent) -> CaseEvent:
        """Write a changed case and the event that led to it; return that with its number."""
        self._connection.execute(update(cases).where(cases.c.id == case.id).values(row_of(case)))
        return self.note(event)

    def note(self, event: CaseEvent) -> CaseEvent:
        """Write an event, and return it with its number; the first of a write carries its key."""
        numbered = replace(event, number=advance(self._connection, "case_event"))
        first = not self.events
        row = event_row(numbered, self._key if first else None, self._asked if first else None)
        self._connection.execute(insert(case_events).values(row))
        self.events.append(numbered)
        return numbered

    def standing(self, case: CaseId) -> int:
        """Return how many alarms of the case have a condition that is not normal."""
        joined = case_alarms.join(alarms, alarms.c.id == case_alarms.c.alarm)
        query = select(func.count()).select_from(joined)
        stands = alarms.c.condition != Condition.NORMAL.value
        return self._connection.execute(query.where(case_alarms.c.case == case, stands)).scalar_one()

    def count(self, case: CaseId, event: Event) -> int:
        """Return how many events of one sort the case has."""
        query = select(func.count()).where(case_events.c.case == case, case_events.c.event == event.value)
        return self._connection.execute(query).scalar_one()

    def hold(self, case: CaseId, held: Sequence[int]) -> None:
        """Put alarms into the case; UnknownError for one that is none, InputError E_STATE for one in another open case.

        What a case that is over held, may be held anew: the condition came back.
        """
        wanted = sorted(set(held))
        for chunk in (wanted[start : start + _CHUNK] for start in range(0, len(wanted), _CHUNK)):
            known = set(self._connection.execute(select(alarms.c.id).where(alarms.c.id.in_(chunk))).scalars())
            if missing := [each for each in chunk if each not in known]:
                raise UnknownError(
                    "no such alarm", where=f"alarm {missing[0]}", expected="one of `chengmai alarms list`"
                )
            taken = case_alarms.join(cases, cases.c.id == case_alarms.c.case)
            rows = self._connection.execute(
                select(case_alarms.c.alarm, cases.c.id, cases.c.open)
                .select_from(taken)
                .where(case_alarms.c.alarm.in_(chunk))
            ).all()
            for row in rows:
                if row.open and row.id != case:
                    raise InputError(
                        f"is in case {row.id}", where=f"alarm {row.alarm}", expected="one in no open case", code=UNFIT
                    )
            moved = {row.alarm for row in rows}
            statement = update(case_alarms).where(case_alarms.c.alarm.in_(moved))
            self._connection.execute(statement.values(case=case))
            if fresh := [{"alarm": each, "case": case} for each in chunk if each not in moved]:
                self._connection.execute(insert(case_alarms), fresh)

    def move_alarms(self, case: CaseId, into: CaseId) -> None:
        """Give the alarms of one case to another."""
        self._connection.execute(update(case_alarms).where(case_alarms.c.case == case).values(case=into))

    def link(self, case: CaseId, other: CaseId) -> bool:
        """Link two cases; return whether they were not before."""
        pair = (case_links.c.case == case, case_links.c.other == other)
        if self._connection.execute(select(case_links).where(*pair)).first() is not None:
            return False
        pairs = [{"case": case, "other": other}, {"case": other, "other": case}]
        self._connection.execute(insert(case_links), pairs)
        return True

    def _before(self, key: str) -> CaseId | None:
        row = self._connection.execute(select(case_events).where(case_events.c.key == key)).first()
        if row is None:
            return None
        if row.request != self._asked:
            raise InputError(
                "was used for another write", where=f"key {key}", expected="a new key a write", code="E_KEY_REUSED"
            )
        return CaseId(row.case)


def one(row: RowMapping | None, case_id: int) -> Case:
    """Return the case of a row; UnknownError where there is none."""
    if row is None:
        raise UnknownError("no such case", where=f"case {case_id}", expected="one of `chengmai cases list`")
    return case_of(row)


__all__ = ["Book", "one"]
