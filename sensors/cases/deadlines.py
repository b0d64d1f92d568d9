"""The time of a step: its deadline by level, extension, suspension, and who is told when it passes.

Deadlines and the ladder of roles are the city's (`sensors.response`); nothing here reads a clock.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from sensors.cases.case import Step, Term
from sensors.people import Role
from sensors.response import Response


def begun(step: Step, level: int, at: datetime, response: Response, extensions: int = 0) -> Term:
    """Return the term of `step`, entered at `at`; a step without deadline in the city's settings has none here."""
    deadline = response.deadlines.get(step.value)
    if deadline is None:
        return Term(at, extensions=extensions)
    due = at + deadline.within(level)
    return Term(at, due, due, extensions=extensions)


def extended(term: Term, until: datetime) -> Term:
    """Return the term with its deadline put off; whoever was told before is no longer waited for."""
    return replace(term, due=until, wakes=until, escalated=None, extensions=term.extensions + 1)


def suspended(term: Term, until: datetime, at: datetime) -> Term:
    """Return the term at rest: its time stops at `at` and goes on at `until`."""
    left = None if term.due is None else term.due - at
    return replace(term, wakes=until, suspended=until, left=left)


def resumed(term: Term, at: datetime, response: Response) -> Term:
    """Return the term going on at `at` with what it had left."""
    going = replace(term, suspended=None, left=None, due=None if term.left is None else at + term.left)
    return replace(going, wakes=_wakes(going, at, response))


def regraded(term: Term, step: Step, levels: tuple[int, int], at: datetime, response: Response) -> Term:
    """Return the term after a change from one of `levels` to the other: the deadline moves by the difference."""
    deadline = response.deadlines.get(step.value)
    if deadline is None:
        return term
    change = deadline.within(levels[1]) - deadline.within(levels[0])
    if term.suspended is not None:
        return replace(term, left=None if term.left is None else term.left + change)
    if term.due is None:
        return term
    due = term.due + change
    moved = replace(term, due=due, escalated=None if due > at else term.escalated)
    return replace(moved, wakes=_wakes(moved, at, response))


def told(term: Term, step: Step, level: int, at: datetime, response: Response) -> tuple[Term, Role]:
    """Return the term after its deadline was told on, and to whom: the next on the ladder, who has time in turn.

    At the ladder's end nobody is left: the term sleeps, and stays overdue.
    """
    deadline = response.deadlines[step.value]
    role = response.escalation.after(term.escalated or deadline.role) or deadline.role
    last = response.escalation.after(role) is None
    again: timedelta = deadline.within(level) * response.escalation.again_share
    return replace(term, escalated=role, wakes=None if last else at + again), role


def _wakes(term: Term, at: datetime, response: Response) -> datetime | None:
    """Return when the term is to be looked at next: at its deadline, or at once where that has passed."""
    ended = term.escalated is not None and response.escalation.after(term.escalated) is None
    return None if term.due is None or ended else max(term.due, at)


__all__ = ["begun", "extended", "regraded", "resumed", "suspended", "told"]
