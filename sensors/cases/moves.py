"""What every move of a case has in common: who, when and by which settings; its guards; the event that it leaves."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NoReturn, TypeAlias

from sensors.cases import deadlines
from sensors.cases.case import ORDER, UNFIT, Case, CaseEvent, Event, Step
from sensors.people import FORBIDDEN, Person
from sensors.response import Response
from twin.errors import InputError

Moved: TypeAlias = tuple[Case, CaseEvent]
"""A changed case, and the event that led to it."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What an act happens in: by whom, when (city's time), and by which settings of the city.

    `standing` is how many of the case's alarms have a condition that is not normal.
    """

    by: Person
    at: datetime
    response: Response
    standing: int = 0


def entered(case: Case, step: Step, setting: Setting) -> Case:
    """Return the case in `step`: with its deadline, without what was asked for in the one before, rested no longer."""
    term = deadlines.begun(step, case.level, setting.at, setting.response, case.term.extensions)
    return replace(case, step=step, term=term, asked=None, version=case.version + 1)


def happened(
    case: Case,
    event: Event,
    setting: Setting,
    text: str = "",
    *,
    before: Case | None = None,
    detail: Mapping[str, str] | None = None,
) -> CaseEvent:
    """Return the event that led from `before` (None: from the same step) to `case`."""
    by = setting.by
    step = case.step if before is None else before.step
    return CaseEvent(
        case.id,
        case.version,
        setting.at,
        event,
        step,
        case.step,
        by.id,
        by.name,
        by.role,
        text.strip(),
        dict(detail or {}),
    )


def needs(case: Case, steps: Collection[Step], what: str) -> None:
    """Refuse what is done in `steps` only, and anything while the case rests; InputError E_STATE."""
    if case.step not in steps:
        unfit(case, what, " or ".join(step.value for step in ORDER if step in steps))
    if case.suspended:
        unfit(case, what, "one that is not suspended")


def said(text: str, case: Case) -> None:
    """Refuse an empty text where a reason is wanted."""
    if not text.strip():
        raise InputError("no reason is given", where=where_of(case), expected="a text")


def unfit(case: Case, what: str, expected: str) -> NoReturn:
    """Refuse what cannot be done to the case as it is; InputError E_STATE."""
    rests = ", suspended" if case.suspended else ""
    raise InputError(
        f"is {case.step.value}{rests}: cannot be {what}", where=where_of(case), expected=expected, code=UNFIT
    )


def another(person: Person, others: Collection[str | None], case: Case, why: str) -> None:
    """Refuse a person who is one of `others`, because of `why`; InputError E_FORBIDDEN."""
    if person.id in others:
        raise InputError(f"{person.id} {why}", where=where_of(case), expected="another person", code=FORBIDDEN)


def where_of(case: Case) -> str:
    """Return how messages name a case."""
    return f"case {case.id}"


__all__ = ["Moved", "Setting", "another", "entered", "happened", "needs", "said", "unfit", "where_of"]
