"""Response plans (预案): which one an alarm asks for, and what a case carries of it."""

from __future__ import annotations

from collections.abc import Sequence

from sensors.alarm import Alarm
from sensors.cases.acts import Report
from sensors.cases.case import OTHER, Item, Source
from sensors.response import Plan, Response
from sensors.sentence import sentence
from sensors.wording import Language
from twin.asset import System
from twin.errors import InputError


def kind_of(alarm: Alarm, response: Response) -> str:
    """Return the kind of event that `alarm` tells of: that of the plan that names its rule or kind, else ``other``.

    A rule is looked up as it is, then by its kind of detection, then without what follows its last ``_``: thresholds
    are called ``cover_open_high``.
    """
    names = (alarm.rule, alarm.kind.value, alarm.rule.rpartition("_")[0])
    for name in names:
        for plan in response.plan:
            if name in plan.rules and _holds(plan, alarm.place.system):
                return plan.kind
    return OTHER


def checklist(kind: str, response: Response) -> tuple[Item, ...]:
    """Return the steps that a case of `kind` carries; none for ``other``. InputError for a kind without plan."""
    if kind == OTHER:
        return ()
    plan = response.plans.get(kind)
    if plan is None:
        known = ", ".join((*response.plans, OTHER))
        raise InputError(f"no response plan for {kind!r}", where="kind", expected=known)
    return tuple(Item(step.id, step.role, step.zh, step.en) for step in plan.steps)


def draft(alarms: Sequence[Alarm], district: str, response: Response, language: Language = "zh") -> Report:
    """Return the report that `alarms` make (at least one): level, place and kind are those of the worst.

    Of equally bad ones, the first that a plan is for speaks, then the oldest.
    """
    kinds = {alarm.id: kind_of(alarm, response) for alarm in alarms}
    worst = min(alarms, key=lambda alarm: (alarm.level, kinds[alarm.id] == OTHER, alarm.onset, alarm.id))
    return Report(
        title=sentence(worst, language),
        level=worst.level,
        district=district,
        kind=kinds[worst.id],
        source=Source.ALARM,
        system=System(worst.place.system) if worst.place.system else None,
        asset=worst.place.asset,
        easting=worst.place.easting,
        northing=worst.place.northing,
        alarms=tuple(alarm.id for alarm in alarms),
    )


def _holds(plan: Plan, system: str) -> bool:
    return not plan.systems or system in {each.value for each in plan.systems}


__all__ = ["checklist", "draft", "kind_of"]
