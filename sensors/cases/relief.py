"""退回, 延期, 挂起 and waivers: asked for by one person with a reason, granted or refused by another.

One request a case stands at a time; it stops no clock, and lapses when the case moves on. How far each may go is the
city's (`sensors.response.Relief`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sensors.cases import acts, deadlines
from sensors.cases.case import ORDER, Case, Event, Relief, Request, Step, Waiver
from sensors.cases.moves import Moved, Setting, another, entered, happened, needs, said, unfit, where_of
from sensors.people import Action, demand
from twin.errors import InputError

_AFTER_REPORT = frozenset(ORDER[1:-1])
"""Steps that there is something to send back from: all but the first and the last."""

_DONE_WITH = frozenset({Step.DONE, Step.VERIFIED})
"""Steps in which a waiver is worth asking for: what could be done was done, and it is not over."""

_AT_WORK = frozenset(ORDER[:-2])


def ask(case: Case, act: acts.Ask, setting: Setting) -> Moved:
    """Return the case with a request; refused where it could not be granted."""
    demand(setting.by, Action.ASK, where_of(case))
    said(act.text, case)
    if case.asked is not None:
        unfit(case, f"asked for {act.relief.value}", f"an answer to {case.asked.relief.value} first")
    request = Request(act.relief, act.text.strip(), setting.by.id, setting.at, act.to, act.until)
    _check(case, request, setting)
    asking = replace(case, asked=request, version=case.version + 1)
    return asking, happened(asking, Event.ASKED, setting, act.text, detail=_detail(request))


def answer(case: Case, act: acts.Answer, setting: Setting) -> Moved:
    """Return the case after what was asked for is granted or refused by another person."""
    demand(setting.by, Action.APPROVE, where_of(case))
    request = case.asked
    if request is None:
        unfit(case, "answered", "a request")
    another(setting.by, (request.by,), case, "asked for it and cannot answer it")
    if not act.granted:
        said(act.text, case)
        same = replace(case, asked=None, version=case.version + 1)
        return same, happened(same, Event.REFUSED, setting, act.text, detail=_detail(request))
    _check(case, request, setting)
    granted, event = _grant(case, request, setting)
    detail = {**_detail(request), "asked_by": request.by, "reason": request.reason}
    return granted, happened(granted, event, setting, act.text, before=case, detail=detail)


def resume(case: Case, act: acts.Resume, setting: Setting) -> Moved:
    """Return the suspended case going on before its time."""
    demand(setting.by, Action.RESUME, where_of(case))
    said(act.text, case)
    if not case.suspended:
        unfit(case, "resumed", "one that is suspended")
    term = deadlines.resumed(case.term, setting.at, setting.response)
    going = replace(case, term=term, version=case.version + 1)
    return going, happened(going, Event.RESUMED, setting, act.text)


def _grant(case: Case, request: Request, setting: Setting) -> tuple[Case, Event]:
    answered = replace(case, asked=None, version=case.version + 1)
    match request.relief:
        case Relief.SEND_BACK:
            assert request.to is not None  # `_check` saw to it
            return _back(case, request.to, setting), Event.SENT_BACK
        case Relief.EXTEND:
            assert request.until is not None
            return replace(answered, term=deadlines.extended(case.term, request.until)), Event.EXTENDED
        case Relief.SUSPEND:
            assert request.until is not None
            term = deadlines.suspended(case.term, request.until, setting.at)
            return replace(answered, term=term), Event.SUSPENDED
        case Relief.WAIVE:
            waiver = Waiver(request.reason, request.by, setting.by.id, setting.at, setting.standing)
            return replace(answered, waiver=waiver), Event.WAIVED


def _back(case: Case, to: Step, setting: Setting) -> Case:
    """Return the case back in `to`: what was verified or waived since is so no longer; who handled it stays."""
    kept = replace(case, waiver=None)
    if ORDER.index(to) < ORDER.index(Step.VERIFIED):
        kept = replace(kept, verifier=None)
    if ORDER.index(to) < ORDER.index(Step.DISPATCHED):
        kept = replace(kept, department=None)
    return entered(kept, to, setting)


def _check(case: Case, request: Request, setting: Setting) -> None:
    """Refuse what cannot be granted to the case as it is now."""
    match request.relief:
        case Relief.SEND_BACK:
            needs(case, _AFTER_REPORT, "sent back")
            earlier = ORDER[: ORDER.index(case.step)]
            if request.to not in earlier:
                names = ", ".join(step.value for step in earlier)
                raise InputError(f"to {request.to}", where=where_of(case), expected=f"an earlier step: {names}")
        case Relief.EXTEND:
            needs(case, _AT_WORK, "extended")
            most = setting.response.relief.extensions
            if case.term.extensions >= most:
                unfit(case, "extended again", f"at most {most} extensions a case")
            due = max(case.term.due or setting.at, setting.at)
            _until(case, request, due, timedelta(hours=setting.response.relief.extension_h))
        case Relief.SUSPEND:
            needs(case, _AT_WORK, "suspended")
            _until(case, request, setting.at, timedelta(days=setting.response.relief.suspension_d))
        case Relief.WAIVE:
            needs(case, _DONE_WITH, "waived")
            if not setting.standing:
                unfit(case, "waived", "an alarm of it whose condition stands; without, no waiver is needed")


def _until(case: Case, request: Request, after: datetime, most: timedelta) -> None:
    until = request.until
    if until is None or until.tzinfo is None or not after < until <= after + most:
        raise InputError(
            f"until {'no time' if until is None else until.isoformat()}",
            where=where_of(case),
            expected=f"after {after.astimezone(UTC).isoformat()}, by at most {most}, with its offset from UTC",
        )


def _detail(request: Request) -> Mapping[str, str]:
    detail = {"relief": request.relief.value}
    if request.to is not None:
        detail["to"] = request.to.value
    if request.until is not None:
        detail["until"] = request.until.astimezone(UTC).isoformat()
    return detail


__all__ = ["answer", "ask", "resume"]
