"""A cast of people, and a case that went the usual way to a step."""

from datetime import UTC, datetime, timedelta

from sensors.cases import acts, workflow
from sensors.cases.case import CaseId, Step
from sensors.cases.moves import Setting
from sensors.people import Person, PersonId, Role
from sensors.response import load
from twin.asset import System

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
RESPONSE = load()
REPORT = acts.Report(title="WP-1 压力低", level=2, district="test", kind="burst_main", system=System.WATER)


def person(login, role, department=""):
    return Person(PersonId(login), login.title(), role, department)


OPERATOR = person("wang", Role.OPERATOR)
DISPATCHER = person("zhao", Role.DISPATCHER)
SECOND = person("qian", Role.DISPATCHER)
CREW = person("sun", Role.FIELD, "water_company")
MATE = person("zhou", Role.FIELD, "water_company")
STRANGER = person("wu", Role.FIELD, "gas_company")
ENGINEER = person("li", Role.ENGINEER)
AUDITOR = person("zheng", Role.AUDITOR)
PEOPLE = (OPERATOR, DISPATCHER, SECOND, CREW, MATE, STRANGER, ENGINEER, AUDITOR, person("he", Role.VIEWER))


def setting(by, at=START, standing=0):
    return Setting(by, at, RESPONSE, standing)


def do(case, act, by, at=START, standing=0):
    return workflow.perform(case, act, setting(by, at, standing))[0]


def ticked(case):
    for item in case.undone:
        case = do(case, acts.Tick(item.id), OPERATOR)
    return case


WAY = (
    (Step.OPENED, acts.Open(), OPERATOR),
    (Step.DISPATCHED, acts.Dispatch("water_company"), DISPATCHER),
    (Step.IN_HAND, acts.Take(), CREW),
    (Step.DONE, acts.Done("焊好了"), CREW),
    (Step.VERIFIED, acts.Verify(), DISPATCHER),
    (Step.CLOSED, acts.Close(), DISPATCHER),
    (Step.RATED, acts.Rate(4), AUDITOR),
)


def at_step(step):
    """Return a case that went the usual way to `step`; its plan is ticked once it is done."""
    case = workflow.report(CaseId(1), REPORT, setting(OPERATOR))[0]
    for reached, act, by in WAY:
        if case.step is step:
            return case
        if reached is Step.VERIFIED:
            case = ticked(case)
        case = do(case, act, by)
    return case
