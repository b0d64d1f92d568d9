"""The disposal workflow as a pure state machine: what an act makes of a case, or why it may not be done.

Who may do what is `sensors.people`; on top of it stand the guards that make two persons of one act: who verifies did
not handle it, who grants did not ask, who closes did not sign the waiver, who rates did neither handle nor verify.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sensors.alarm import Place
from sensors.cases import acts, deadlines, relief
from sensors.cases.case import Case, CaseEvent, CaseId, Event, Step
from sensors.cases.moves import Moved, Setting, another, entered, happened, needs, said, unfit, where_of
from sensors.cases.plans import checklist
from sensors.people import FORBIDDEN, Action, Person, demand
from sensors.response import Response
from twin.asset import AssetId
from twin.errors import InputError


def report(case: CaseId, told: acts.Report, setting: Setting) -> Moved:
    """Return the new case that is `told` of; InputError for an empty title, a wrong level or an unknown kind."""
    where = "new case"
    demand(setting.by, Action.REPORT, where)
    if not told.title.strip() or not told.district.strip():
        raise InputError("says nothing", where=where, expected="a title and a district")
    _level(told.level, where)
    asset = None if told.asset is None else AssetId(told.asset)
    fresh = Case(
        id=case,
        title=told.title.strip(),
        kind=told.kind,
        level=told.level,
        source=told.source,
        district=told.district,
        place=Place(None, asset, told.easting, told.northing, "" if told.system is None else told.system.value),
        step=Step.REPORTED,
        reported=setting.at,
        reported_by=setting.by.id,
        term=deadlines.begun(Step.REPORTED, told.level, setting.at, setting.response),
        incident=told.incident,
        checklist=checklist(told.kind, setting.response),
    )
    detail = {"alarms": " ".join(str(alarm) for alarm in told.alarms)} if told.alarms else {}
    return fresh, replace(happened(fresh, Event.REPORTED, setting, told.title, detail=detail), from_step=None)


def perform(case: Case, act: acts.Act, setting: Setting) -> Moved:  # noqa: C901, PLR0911, PLR0912  # one line an act
    """Return what `act` makes of `case`.

    InputError E_FORBIDDEN for what this person may not do, E_STATE for what cannot be done to the case as it is,
    E_INPUT for a text, time, level or name that cannot be used.
    """
    match act:
        case acts.Open():
            return _open(case, act, setting)
        case acts.Dismiss():
            return _dismiss(case, act, setting)
        case acts.Dispatch():
            return _dispatch(case, act, setting)
        case acts.Take():
            return _take(case, act, setting)
        case acts.Done():
            return _done(case, act, setting)
        case acts.Verify():
            return _verify(case, act, setting)
        case acts.Close():
            return _close(case, act, setting)
        case acts.Rate():
            return _rate(case, act, setting)
        case acts.Tick():
            return _tick(case, act, setting)
        case acts.Ask():
            return relief.ask(case, act, setting)
        case acts.Answer():
            return relief.answer(case, act, setting)
        case acts.Resume():
            return relief.resume(case, act, setting)
        case acts.Regrade():
            return _regrade(case, act, setting)


def merge(case: Case, into: Case, text: str, setting: Setting) -> tuple[Moved, Moved]:
    """Return both cases after `case` went into `into`, which takes over the worse of both levels (并案)."""
    demand(setting.by, Action.JOIN, where_of(case))
    said(text, case)
    for each in (case, into):
        if not each.open:
            unfit(each, "merged", "two open cases")
    if case.id == into.id:
        raise InputError("cannot go into itself", where=where_of(case), expected="another case")
    gone = entered(replace(case, merged_into=into.id), Step.MERGED, setting)
    level = min(case.level, into.level)
    grown = replace(_releveled(into, level, setting), waiver=None, version=into.version + 1)
    return (
        (gone, happened(gone, Event.MERGED, setting, text, before=case, detail={"into": str(into.id)})),
        (grown, happened(grown, Event.MERGED, setting, text, before=into, detail={"from": str(case.id)})),
    )


def elapsed(case: Case, at: datetime, response: Response) -> Moved | None:
    """Return what time itself makes of `case` at `at`: a suspension that ends, a deadline that is told on; or None."""
    term = case.term
    if term.wakes is None or at < term.wakes:
        return None
    if term.suspended is not None:
        going = replace(case, term=deadlines.resumed(term, at, response), version=case.version + 1)
        return going, CaseEvent(case.id, going.version, at, Event.RESUMED, case.step, case.step)
    later, role = deadlines.told(term, case.step, case.level, at, response)
    due = "" if term.due is None else term.due.isoformat()
    detail = {"to": role.value, "due": due}
    escalated = CaseEvent(case.id, case.version, at, Event.ESCALATED, case.step, case.step, detail=detail)
    return replace(case, term=later), escalated


def _open(case: Case, act: acts.Open, setting: Setting) -> Moved:
    demand(setting.by, Action.OPEN, where_of(case))
    needs(case, {Step.REPORTED}, "opened")
    kind, level = act.kind or case.kind, case.level if act.level is None else act.level
    _level(level, where_of(case))
    items = case.checklist if kind == case.kind else checklist(kind, setting.response)
    known = replace(case, kind=kind, level=level, checklist=items)
    opened = entered(known, Step.OPENED, setting)
    detail = {"kind": kind, "level": str(level)}
    return opened, happened(opened, Event.OPENED, setting, act.text, before=case, detail=detail)


def _dismiss(case: Case, act: acts.Dismiss, setting: Setting) -> Moved:
    demand(setting.by, Action.OPEN, where_of(case))
    needs(case, {Step.REPORTED}, "dismissed")
    said(act.text, case)
    gone = entered(case, Step.DISMISSED, setting)
    return gone, happened(gone, Event.DISMISSED, setting, act.text, before=case)


def _dispatch(case: Case, act: acts.Dispatch, setting: Setting) -> Moved:
    demand(setting.by, Action.DISPATCH, where_of(case))
    needs(case, {Step.OPENED}, "dispatched")
    department = setting.response.departments.get(act.department)
    if department is None:
        known = ", ".join(setting.response.departments)
        raise InputError(f"no department {act.department!r}", where=where_of(case), expected=known)
    system = case.place.system
    if system and department.systems and system not in {each.value for each in department.systems}:
        answers = ", ".join(each.value for each in department.systems)
        raise InputError(
            f"{department.id} does not answer for {system}", where=where_of(case), expected=f"a case of {answers}"
        )
    sent = entered(replace(case, department=department.id), Step.DISPATCHED, setting)
    detail = {"department": department.id}
    return sent, happened(sent, Event.DISPATCHED, setting, act.text, before=case, detail=detail)


def _take(case: Case, act: acts.Take, setting: Setting) -> Moved:
    demand(setting.by, Action.HANDLE, where_of(case))
    needs(case, {Step.DISPATCHED}, "taken in hand")
    _of_department(case, setting.by)
    taken = entered(_handled(case, setting.by), Step.IN_HAND, setting)
    return taken, happened(taken, Event.TAKEN, setting, act.text, before=case)


def _done(case: Case, act: acts.Done, setting: Setting) -> Moved:
    demand(setting.by, Action.HANDLE, where_of(case))
    needs(case, {Step.IN_HAND}, "reported done")
    _of_department(case, setting.by)
    said(act.text, case)
    done = entered(_handled(case, setting.by), Step.DONE, setting)
    return done, happened(done, Event.DONE, setting, act.text, before=case)


def _verify(case: Case, act: acts.Verify, setting: Setting) -> Moved:
    demand(setting.by, Action.VERIFY, where_of(case))
    needs(case, {Step.DONE}, "verified")
    another(setting.by, case.handlers, case, "handled it and cannot verify it")
    if case.undone:
        unfit(case, "verified", f"the plan's steps ticked, or marked as not needed: {_names(case)} are not")
    verified = entered(replace(case, verifier=setting.by.id), Step.VERIFIED, setting)
    return verified, happened(verified, Event.VERIFIED, setting, act.text, before=case)


def _close(case: Case, act: acts.Close, setting: Setting) -> Moved:
    demand(setting.by, Action.CLOSE, where_of(case))
    needs(case, {Step.VERIFIED}, "closed")
    another(setting.by, case.handlers, case, "handled it and cannot close it")
    detail: dict[str, str] = {}
    if setting.standing:
        if case.waiver is None or case.waiver.standing < setting.standing:
            alarms = "its alarm is" if setting.standing == 1 else f"{setting.standing} of its alarms are"
            unfit(case, "closed", f"the condition to be normal ({alarms} not), or a waiver that another person signs")
        another(setting.by, (case.waiver.approver,), case, "signed the waiver and cannot close it")
        detail = {"standing": str(setting.standing), "waived_by": case.waiver.approver}
    closed = entered(case, Step.CLOSED, setting)
    return closed, happened(closed, Event.CLOSED, setting, act.text, before=case, detail=detail)


def _rate(case: Case, act: acts.Rate, setting: Setting) -> Moved:
    demand(setting.by, Action.RATE, where_of(case))
    needs(case, {Step.CLOSED}, "rated")
    another(setting.by, (*case.handlers, case.verifier), case, "handled or verified it and cannot rate it")
    if not 1 <= act.score <= 5:
        raise InputError(f"a score of {act.score}", where=where_of(case), expected="1 (badly) to 5")
    rated = entered(replace(case, rating=act.score), Step.RATED, setting)
    return rated, happened(rated, Event.RATED, setting, act.text, before=case, detail={"score": str(act.score)})


def _tick(case: Case, act: acts.Tick, setting: Setting) -> Moved:
    by = setting.by
    demand(by, Action.TICK, where_of(case))
    needs(case, {Step.OPENED, Step.DISPATCHED, Step.IN_HAND, Step.DONE}, "ticked")
    item = next((each for each in case.checklist if each.id == act.item), None)
    if item is None:
        known = ", ".join(each.id for each in case.checklist) or "none; its kind has no plan"
        raise InputError(f"no step {act.item!r} in its plan", where=where_of(case), expected=known)
    if item.at is not None:
        unfit(case, f"ticked at {item.id}", f"a step that {item.name} has not ticked already")
    if not act.applies:
        said(act.text, case)
    ticked = replace(item, at=setting.at, by=by.id, name=by.name, applies=act.applies, note=act.text.strip())
    items = tuple(ticked if each.id == item.id else each for each in case.checklist)
    changed = replace(case, checklist=items, version=case.version + 1)
    detail = {"item": item.id, "applies": "yes" if act.applies else "no"}
    return changed, happened(changed, Event.TICKED, setting, act.text, detail=detail)


def _regrade(case: Case, act: acts.Regrade, setting: Setting) -> Moved:
    demand(setting.by, Action.REGRADE, where_of(case))
    if not case.open:
        unfit(case, "given another level", "an open case")
    _level(act.level, where_of(case))
    said(act.text, case)
    if act.level == case.level:
        unfit(case, f"given level {act.level}", "another than it has")
    changed = replace(_releveled(case, act.level, setting), version=case.version + 1)
    detail = {"from": str(case.level), "to": str(act.level)}
    return changed, happened(changed, Event.REGRADED, setting, act.text, detail=detail)


def _releveled(case: Case, level: int, setting: Setting) -> Case:
    if level == case.level:
        return case
    term = deadlines.regraded(case.term, case.step, (case.level, level), setting.at, setting.response)
    return replace(case, level=level, term=term)


def _handled(case: Case, by: Person) -> Case:
    return case if by.id in case.handlers else replace(case, handlers=(*case.handlers, by.id))


def _of_department(case: Case, by: Person) -> None:
    if by.department != case.department:
        raise InputError(
            f"{by.id} is of {by.department or 'no department'}",
            where=where_of(case),
            expected=f"somebody of {case.department}",
            code=FORBIDDEN,
        )


def _level(level: int, where: str) -> None:
    if not 1 <= level <= 4:
        raise InputError(f"a level of {level}", where=where, expected="1 (red, worst) to 4 (blue)")


def _names(case: Case) -> str:
    return ", ".join(item.id for item in case.undone)


__all__ = ["elapsed", "merge", "perform", "report"]
