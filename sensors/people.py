"""Who works with the city's alarms and cases: roles, what each may do, and the persons who act.

One table says who may do what; page, command line and HTTP all ask it (`may`). Roles are those of the operations centre
(ISA-18.2-2016, clause 6: roles and responsibilities are part of the alarm philosophy); which role may do what is
Chengmai's own, after the duties of supervision and command centres in GB/T 30428.1 (secondary sources).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from twin.errors import InputError

PersonId = NewType("PersonId", str)
"""The name by which a person logs in; unique in a city and never given to another."""

FORBIDDEN = "E_FORBIDDEN"
"""Code of what a person may not do."""


class Role(StrEnum):
    """What a person is in the operations centre."""

    VIEWER = "viewer"
    """领导、协作单位: looks on."""
    OPERATOR = "operator"
    """值班员: acknowledges alarms, opens cases."""
    DISPATCHER = "dispatcher"
    """调度: sends, chases, checks, closes."""
    FIELD = "field"
    """抢修: goes there and puts it right."""
    ENGINEER = "engineer"
    """工程师: knows the networks and the devices; checks, approves."""
    AUDITOR = "auditor"
    """审计: reads everything, changes nothing, rates what was done."""
    ADMIN = "admin"
    """系统管理员: keeps settings and logins."""


class Action(StrEnum):
    """What a person may want to do."""

    VIEW = "view"
    COMMENT = "comment"
    ACKNOWLEDGE = "alarm.acknowledge"
    SHELVE = "alarm.shelve"
    RESET = "alarm.reset"
    OUT_OF_SERVICE = "alarm.out_of_service"
    PERMIT = "permit"
    REPORT = "case.report"
    OPEN = "case.open"
    DISPATCH = "case.dispatch"
    HANDLE = "case.handle"
    """Take a case in hand, report it done."""
    TICK = "case.tick"
    VERIFY = "case.verify"
    CLOSE = "case.close"
    RATE = "case.rate"
    ASK = "case.ask"
    """Ask for it to be sent back, extended, suspended, or for the condition to be waived."""
    APPROVE = "approve"
    """Grant or refuse what another asked for; sign second where two persons have to."""
    RESUME = "case.resume"
    REGRADE = "case.regrade"
    JOIN = "case.join"
    """Link and merge cases, and put alarms into them."""
    AUDIT = "audit"
    """Read the audit trail and verify it."""
    CONFIGURE = "configure"


_DESK = frozenset(
    {
        Action.VIEW,
        Action.COMMENT,
        Action.ACKNOWLEDGE,
        Action.SHELVE,
        Action.RESET,
        Action.REPORT,
        Action.OPEN,
        Action.TICK,
        Action.ASK,
        Action.JOIN,
    }
)

_MAY: Mapping[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset({Action.VIEW}),
    Role.OPERATOR: _DESK,
    Role.DISPATCHER: _DESK
    | {
        Action.OUT_OF_SERVICE,
        Action.PERMIT,
        Action.DISPATCH,
        Action.VERIFY,
        Action.CLOSE,
        Action.APPROVE,
        Action.RESUME,
        Action.REGRADE,
    },
    Role.FIELD: frozenset({Action.VIEW, Action.COMMENT, Action.REPORT, Action.HANDLE, Action.TICK, Action.ASK}),
    Role.ENGINEER: frozenset(
        {
            Action.VIEW,
            Action.COMMENT,
            Action.ACKNOWLEDGE,
            Action.SHELVE,
            Action.RESET,
            Action.OUT_OF_SERVICE,
            Action.PERMIT,
            Action.REPORT,
            Action.TICK,
            Action.VERIFY,
            Action.ASK,
            Action.APPROVE,
            Action.RESUME,
            Action.REGRADE,
            Action.JOIN,
        }
    ),
    Role.AUDITOR: frozenset({Action.VIEW, Action.AUDIT, Action.RATE}),
    Role.ADMIN: frozenset({Action.VIEW, Action.COMMENT, Action.APPROVE, Action.RATE, Action.AUDIT, Action.CONFIGURE}),
}
"""The one table of permissions. An administrator keeps the system and does not run the city with it."""

ROLE_WORDS: Mapping[Role, tuple[str, str]] = {
    Role.VIEWER: ("查看人员", "viewer"),
    Role.OPERATOR: ("值班员", "operator"),
    Role.DISPATCHER: ("调度员", "dispatcher"),
    Role.FIELD: ("抢修人员", "field crew"),
    Role.ENGINEER: ("工程师", "engineer"),
    Role.AUDITOR: ("审计员", "auditor"),
    Role.ADMIN: ("系统管理员", "administrator"),
}
"""The words of the roles, zh and en."""


@dataclass(frozen=True, slots=True)
class Person:
    """Someone who acts: login, the name that is shown, one role, and the department (of the city's settings) or ""."""

    id: PersonId
    name: str
    role: Role
    department: str = ""


def may(role: Role, action: Action) -> bool:
    """Return whether a person of `role` may do `action`.

    >>> may(Role.FIELD, Action.HANDLE), may(Role.FIELD, Action.VERIFY)
    (True, False)
    """
    return action in _MAY[role]


def demand(person: Person, action: Action, where: str) -> None:
    """Refuse, with InputError E_FORBIDDEN, what `person` may not do to `where`, and a person without a name.

    >>> demand(Person(PersonId("li"), "Li", Role.VIEWER), Action.RATE, "case 7")
    Traceback (most recent call last):
    twin.errors.InputError: E_FORBIDDEN case 7: li is viewer, who may not do case.rate (expected auditor or admin)
    """
    if not person.id.strip() or not person.name.strip():
        raise InputError("nobody acts", where=where, expected="a person with login and name")
    if not may(person.role, action):
        able = " or ".join(role.value for role in Role if may(role, action))
        raise InputError(
            f"{person.id} is {person.role.value}, who may not do {action.value}",
            where=where,
            expected=able,
            code=FORBIDDEN,
        )


__all__ = ["FORBIDDEN", "ROLE_WORDS", "Action", "Person", "PersonId", "Role", "demand", "may"]
