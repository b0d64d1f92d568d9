"""How a city responds to alarms: one TOML file, every number with its source, checked before it is used.

Departments, deadlines and escalation of cases, what may be attached to them, the response plans (预案); shifts, desks,
and the targets that the alarm system is measured against. Levels are named as in
`sensors.limits`; durations stand in the file in the unit that their names say.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Iterable, Mapping
from datetime import timedelta
from functools import cached_property
from importlib import resources
from itertools import pairwise
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import msgspec

from sensors.figures.shift import Position, ShiftRow, check_shifts
from sensors.figures.targets import Targets, check_targets
from sensors.notify.routing import Notify, check_notify
from sensors.people import Role
from twin.asset import System
from twin.errors import SettingsError

DeadlineStep: TypeAlias = Literal["reported", "opened", "dispatched", "in_hand", "done", "verified", "closed"]
"""A step of `sensors.cases.case.Step` in which a case waits for somebody."""


class Department(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is sent: a company or office of the city, and the systems that it answers for; none: for all."""

    id: str
    zh: str
    en: str
    systems: tuple[System, ...] = ()


class Deadline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a case may stay in a step, in minutes by level, and whose turn it is then."""

    step: DeadlineStep
    role: Role
    red_min: float
    orange_min: float
    yellow_min: float
    blue_min: float
    source: str
    verified: bool

    def within(self, level: int) -> timedelta:
        """Return the time that the step has at `level`, 1 (red, worst) to 4 (blue)."""
        return timedelta(minutes=(self.red_min, self.orange_min, self.yellow_min, self.blue_min)[level - 1])


class Escalation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom a deadline that passes is told to, one after the other; each has `again_share` of the deadline."""

    roles: tuple[Role, ...]
    again_share: float
    source: str
    verified: bool

    def after(self, role: Role) -> Role | None:
        """Return who is told after `role`: the next in the ladder, its first for a role that is not in it, or None."""
        if role not in self.roles:
            return self.roles[0]
        following = self.roles.index(role) + 1
        return self.roles[following] if following < len(self.roles) else None


class Relief(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far 延期 and 挂起 may go: so many extensions a case, each so long at most; a suspension so long at most."""

    extensions: int
    extension_h: float
    suspension_d: float
    source: str
    verified: bool


class AttachmentRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be attached: at most so many megabytes (10^6 bytes) a file, and so many files a case."""

    most_mb: float
    most_files: int
    source: str
    verified: bool


class PlanStep(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A step of a response plan, in both languages; `role` does it."""

    id: str
    role: Role
    zh: str
    en: str


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A response plan (预案) for a kind of event, and the alarms that are of this kind.

    `rules` are names of rules that stand for it wherever they are raised (also a rule's name before its last ``_``);
    `systems`, where given, are the only ones in which they do.
    """

    kind: str
    zh: str
    en: str
    steps: tuple[PlanStep, ...]
    source: str
    verified: bool
    rules: tuple[str, ...] = ()
    systems: tuple[System, ...] = ()


class Response(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """Everything that a city says about its response; made by `load`."""

    department: tuple[Department, ...]
    deadline: tuple[Deadline, ...]
    escalation: Escalation
    relief: Relief
    attachments: AttachmentRules
    plan: tuple[Plan, ...]
    shift: tuple[ShiftRow, ...]
    position: tuple[Position, ...]
    targets: Targets
    notify: Notify

    @cached_property
    def deadlines(self) -> Mapping[str, Deadline]:
        """The deadlines by step."""
        return {each.step: each for each in self.deadline}

    @cached_property
    def plans(self) -> Mapping[str, Plan]:
        """The response plans by kind of event."""
        return {each.kind: each for each in self.plan}

    @cached_property
    def departments(self) -> Mapping[str, Department]:
        """The departments by id."""
        return {each.id: each for each in self.department}


def load(path: Path | None = None) -> Response:
    """Return the response in the file at `path`, or the packaged one; SettingsError with the file and the place.

    >>> load().deadlines["reported"].within(1)
    datetime.timedelta(seconds=300)
    """
    if path is None:
        return _read((resources.files("sensors") / "response.toml").read_text("utf-8"), "response.toml (packaged)")
    return _read(_text(path), str(path))


def _read(text: str, where: str) -> Response:
    try:
        read = msgspec.convert(tomllib.loads(text), Response, strict=False)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(str(error), where=where, expected="a TOML file") from None
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at ")
        raise SettingsError(what, where=f"{where}: {place.strip('`$.') or 'top'}") from None
    _check_cases(read, where)
    _check_plans(read.plan, where)
    once((each.id for each in read.shift), f"{where}: shift")
    once((each.id for each in read.position), f"{where}: position")
    check_shifts(read.shift, read.position, where)
    check_targets(read.targets, where)
    once((each.name for each in read.notify.channel), f"{where}: notify.channel")
    once((each.name for each in read.notify.route), f"{where}: notify.route")
    check_notify(read.notify, [each.id for each in read.shift], where)
    return read


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise SettingsError("no such file", where=str(path), code="E_MISSING") from None
    except OSError as error:
        raise SettingsError(error.strerror or "cannot be read", where=str(path)) from None
    except UnicodeDecodeError:
        raise SettingsError("is not UTF-8", where=str(path), expected="a TOML file") from None


def _check_cases(read: Response, where: str) -> None:
    once((each.id for each in read.department), f"{where}: department")
    once((each.step for each in read.deadline), f"{where}: deadline")
    for step in get_args(DeadlineStep):
        if step not in read.deadlines:
            raise SettingsError("is missing", where=f"{where}: deadline {step}", expected="a deadline for each step")
    for each in read.deadline:
        place = f"{where}: deadline {each.step}"
        minutes = (each.red_min, each.orange_min, each.yellow_min, each.blue_min)
        for level, value in zip(("red", "orange", "yellow", "blue"), minutes, strict=True):
            if not 1 <= value < math.inf:
                raise SettingsError(f"is {value}", where=f"{place}: {level}_min", expected="at least a minute")
        if any(worse > milder for worse, milder in pairwise(minutes)):
            raise SettingsError(f"is {minutes}", where=place, expected="a worse level to have no longer than a milder")
    if not read.escalation.roles:
        raise SettingsError("names nobody", where=f"{where}: escalation.roles", expected="at least one role")
    once((role.value for role in read.escalation.roles), f"{where}: escalation.roles")
    if not 0.1 <= read.escalation.again_share < math.inf:
        raise SettingsError(
            f"is {read.escalation.again_share}", where=f"{where}: escalation.again_share", expected="at least 0.1"
        )
    positive(read.relief.extension_h, f"{where}: relief.extension_h")
    positive(read.relief.suspension_d, f"{where}: relief.suspension_d")
    positive(read.attachments.most_mb, f"{where}: attachments.most_mb")
    if read.relief.extensions < 0 or read.attachments.most_files < 0:
        raise SettingsError("is negative", where=f"{where}: relief, attachments", expected="0 or more")


def _check_plans(plans: Collection[Plan], where: str) -> None:
    once((plan.kind for plan in plans), f"{where}: plan")
    taken: set[tuple[str, System | None]] = set()
    for plan in plans:
        place = f"{where}: plan {plan.kind}"
        if not plan.steps:
            raise SettingsError("has no steps", where=place, expected="at least one")
        once((step.id for step in plan.steps), place)
        for key in [(rule, system) for rule in plan.rules for system in plan.systems or (None,)]:
            if key in taken:
                raise SettingsError(f"{key[0]} is of another plan already", where=place, expected="each rule once")
            taken.add(key)


def once(names: Iterable[str], place: str) -> None:
    """Refuse a name that is empty or stands twice at `place`; for sections of this file."""
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            raise SettingsError(f"{name!r} stands twice or is none", where=place, expected="each name once")
        seen.add(name)


def positive(value: float, place: str) -> None:
    """Refuse a number at `place` that is not more than 0; TOML has nan and inf."""
    if not 0 < value < math.inf:
        raise SettingsError(f"is {value}", where=place, expected="more than 0")


__all__ = [
    "AttachmentRules",
    "Deadline",
    "Department",
    "Escalation",
    "Plan",
    "PlanStep",
    "Relief",
    "Response",
    "load",
    "once",
    "positive",
]
