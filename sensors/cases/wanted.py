"""Which cases somebody wants to see: of which steps, whose turn it is, by when they are due."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, or_

from sensors.cases.case import Step
from sensors.clock import to_ms
from sensors.operations import cases
from sensors.people import Action, Person, Role, may
from sensors.response import Response
from twin.asset import System


@dataclass(frozen=True, slots=True)
class Wanted:
    """What each field says, all together; a field that says nothing takes any case.

    `level` is this or worse, 1 being the worst. `due_by` are those that do not rest and whose step is due by then: late
    ones for now, near ones for a time to come. `waits_for` is whoever has to do something: it is the turn of his role
    (of field crews: of his department), the case was escalated to it, or it waits for a second person to sign, which he
    may be.
    """

    only_open: bool = False
    steps: Sequence[Step] = ()
    kind: str | None = None
    level: int | None = None
    district: str | None = None
    system: System | None = None
    department: str | None = None
    due_by: datetime | None = None
    waits_for: Person | None = None


EVERY = Wanted()


def conditions(wanted: Wanted, response: Response) -> list[ColumnElement[bool]]:
    """Return the conditions of SQL that the wanted cases fulfil."""
    found: list[ColumnElement[bool]] = [cases.c.open] if wanted.only_open else []
    if wanted.steps:
        found.append(cases.c.step.in_([step.value for step in wanted.steps]))
    if wanted.level is not None:
        found.append(cases.c.level <= wanted.level)
    exactly = (
        (cases.c.kind, wanted.kind),
        (cases.c.district, wanted.district),
        (cases.c.system, None if wanted.system is None else wanted.system.value),
        (cases.c.department, wanted.department),
    )
    found.extend(column == value for column, value in exactly if value is not None)
    if wanted.due_by is not None:
        found.extend((cases.c.suspended.is_(None), cases.c.due <= to_ms(wanted.due_by)))
    if wanted.waits_for is not None:
        found.append(_waiting(wanted.waits_for, response))
    return found


def _waiting(person: Person, response: Response) -> ColumnElement[bool]:
    turn = cases.c.step.in_([each.step for each in response.deadline if each.role is person.role])
    if person.role is Role.FIELD:
        turn = and_(turn, cases.c.department == person.department)
    acting = and_(cases.c.suspended.is_(None), or_(turn, cases.c.escalated == person.role.value))
    if not may(person.role, Action.APPROVE):
        return acting
    return or_(acting, cases.c.asked_by != person.id)  # what he asked for himself, another has to sign


__all__ = ["EVERY", "Wanted", "conditions"]
