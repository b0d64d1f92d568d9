"""The disposal workflow: what each act makes of a case in each step, and the guards of two persons."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from sensors.cases import acts, workflow
from sensors.cases.case import EVENT_WORDS, ORDER, RELIEF_WORDS, STEP_WORDS, CaseId, Event, Relief, Step
from sensors.cases.plans import draft, kind_of
from sensors.people import Role
from twin.asset import System
from twin.errors import InputError

from .disposal import (
    AUDITOR,
    CREW,
    DISPATCHER,
    HOUR,
    MATE,
    OPERATOR,
    REPORT,
    RESPONSE,
    SECOND,
    START,
    STRANGER,
    WAY,
    at_step,
    do,
    person,
    setting,
    ticked,
)


def refused(code, case, act, by, **more):
    with pytest.raises(InputError) as error:
        do(case, act, by, **more)
    assert error.value.code == code
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_case_goes_the_way_of_the_disposal_workflow():
    case = at_step(Step.RATED)
    assert (case.step, case.rating, case.verifier) == (Step.RATED, 4, "zhao")
    assert (case.department, case.handlers) == ("water_company", ("sun",))
    assert case.version == 8 + len(case.checklist)
    assert [step for step, _, _ in WAY] == list(ORDER[1:])


STEP_ACTS = {
    "open": (acts.Open(), OPERATOR, {Step.REPORTED}),
    "dismiss": (acts.Dismiss("误报"), OPERATOR, {Step.REPORTED}),
    "dispatch": (acts.Dispatch("water_company"), DISPATCHER, {Step.OPENED}),
    "take": (acts.Take(), CREW, {Step.DISPATCHED}),
    "done": (acts.Done("好了"), CREW, {Step.IN_HAND}),
    "verify": (acts.Verify(), DISPATCHER, {Step.DONE}),
    "close": (acts.Close(), DISPATCHER, {Step.VERIFIED}),
    "rate": (acts.Rate(5), AUDITOR, {Step.CLOSED}),
    "regrade": (acts.Regrade(1, "扩大"), DISPATCHER, set(ORDER[:6])),
    "extend": (acts.Ask(Relief.EXTEND, "雨", until=START + timedelta(days=2)), CREW, set(ORDER[:6])),
    "suspend": (acts.Ask(Relief.SUSPEND, "等料", until=START + timedelta(days=2)), CREW, set(ORDER[:6])),
    "send_back": (acts.Ask(Relief.SEND_BACK, "不归我管", to=Step.REPORTED), CREW, set(ORDER[1:7])),
    "waive": (acts.Ask(Relief.WAIVE, "等雨停"), CREW, {Step.DONE, Step.VERIFIED}),
    "answer": (acts.Answer(granted=True), DISPATCHER, set()),
    "resume": (acts.Resume("来料"), DISPATCHER, set()),
}


@pytest.mark.parametrize("step", ORDER)
@pytest.mark.parametrize("name", STEP_ACTS)
def test_each_act_is_done_in_its_steps_and_refused_in_all_others(name, step):
    act, by, fitting = STEP_ACTS[name]
    case = at_step(step)
    if step is Step.DONE:
        case = ticked(case)
    standing = 1 if name == "waive" else 0
    if step in fitting:
        assert do(case, act, by, standing=standing).version == case.version + 1
    else:
        refused("E_STATE", case, act, by, standing=standing)


@pytest.mark.parametrize("step", [Step.OPENED, Step.DISPATCHED, Step.IN_HAND, Step.DONE])
def test_a_step_of_the_plan_is_ticked_once_with_time_and_name(step):
    case = do(at_step(step), acts.Tick("flush", text="浊度 0.6"), CREW, at=START + HOUR)
    item = next(item for item in case.checklist if item.id == "flush")
    assert (item.at, item.by, item.name, item.applies, item.note) == (START + HOUR, "sun", "Sun", True, "浊度 0.6")
    assert "Sun has not ticked" in refused("E_STATE", case, acts.Tick("flush"), OPERATOR)


def test_a_step_that_is_not_needed_wants_a_reason():
    case = at_step(Step.IN_HAND)
    refused("E_INPUT", case, acts.Tick("flush", applies=False), CREW)
    item = next(
        i for i in do(case, acts.Tick("flush", applies=False, text="未停水"), CREW).checklist if i.id == "flush"
    )
    assert (item.applies, item.note) == (False, "未停水")


def test_a_step_that_is_not_in_the_plan_is_refused_with_those_that_are():
    assert "confirm, find" in refused("E_INPUT", at_step(Step.OPENED), acts.Tick("no such"), OPERATOR)


def test_nothing_is_verified_before_its_plan_is_ticked():
    case = at_step(Step.DONE)
    assert "flush" in refused("E_STATE", case, acts.Verify(), DISPATCHER)
    assert do(ticked(case), acts.Verify(), DISPATCHER).step is Step.VERIFIED


def test_who_handled_it_does_not_verify_close_or_rate_it_even_in_another_role():
    promoted = person("sun", Role.DISPATCHER)
    assert "handled it" in refused("E_FORBIDDEN", ticked(at_step(Step.DONE)), acts.Verify(), promoted)
    assert "handled it" in refused("E_FORBIDDEN", at_step(Step.VERIFIED), acts.Close(), promoted)
    refused("E_FORBIDDEN", at_step(Step.CLOSED), acts.Rate(5), person("sun", Role.AUDITOR))
    refused("E_FORBIDDEN", at_step(Step.CLOSED), acts.Rate(5), person("zhao", Role.AUDITOR))


def test_who_handled_it_before_it_was_sent_back_does_not_verify_it_either():
    case = do(at_step(Step.DONE), acts.Ask(Relief.SEND_BACK, "没修好", to=Step.DISPATCHED), DISPATCHER)
    case = do(case, acts.Answer(granted=True), SECOND)
    case = do(do(case, acts.Take(), MATE), acts.Done("又修了"), MATE)
    assert case.handlers == ("sun", "zhou")
    refused("E_FORBIDDEN", ticked(case), acts.Verify(), person("sun", Role.ENGINEER))


@pytest.mark.parametrize("act", [acts.Take(), acts.Done("好了")])
def test_only_the_department_that_was_sent_has_it_in_hand(act):
    step = Step.DISPATCHED if isinstance(act, acts.Take) else Step.IN_HAND
    assert "somebody of water_company" in refused("E_FORBIDDEN", at_step(step), act, STRANGER)


def test_a_department_that_does_not_answer_for_the_system_is_not_sent():
    case = at_step(Step.OPENED)
    assert "does not answer for water" in refused("E_INPUT", case, acts.Dispatch("gas_company"), DISPATCHER)
    assert "street_office" in refused("E_INPUT", case, acts.Dispatch("fire_brigade"), DISPATCHER)
    assert do(case, acts.Dispatch("street_office"), DISPATCHER).department == "street_office"


def test_a_case_whose_condition_stands_is_not_closed():
    assert "2 of its alarms are not" in refused("E_STATE", at_step(Step.VERIFIED), acts.Close(), DISPATCHER, standing=2)


def test_a_waiver_closes_a_case_whose_condition_stands_but_not_by_who_signed_it():
    asked = do(at_step(Step.VERIFIED), acts.Ask(Relief.WAIVE, "等雨停"), OPERATOR, standing=1)
    waived, event = workflow.perform(asked, acts.Answer(granted=True), setting(SECOND, standing=1))
    assert (waived.waiver.by, waived.waiver.approver, waived.waiver.reason) == ("wang", "qian", "等雨停")
    assert event.event is Event.WAIVED
    assert "signed the waiver" in refused("E_FORBIDDEN", waived, acts.Close(), SECOND, standing=1)
    closed, event = workflow.perform(waived, acts.Close(), setting(DISPATCHER, standing=1))
    assert (closed.step, event.detail["waived_by"]) == (Step.CLOSED, "qian")


def test_a_waiver_speaks_for_as_many_alarms_as_stood_when_it_was_signed():
    asked = do(at_step(Step.VERIFIED), acts.Ask(Relief.WAIVE, "等雨停"), OPERATOR, standing=1)
    waived = do(asked, acts.Answer(granted=True), SECOND, standing=1)
    refused("E_STATE", waived, acts.Close(), DISPATCHER, standing=2)
    (_, _), (grown, _) = workflow.merge(
        replace(at_step(Step.OPENED), id=CaseId(2)), waived, "同一处", setting(OPERATOR)
    )
    assert grown.waiver is None


def test_a_waiver_does_not_outlive_being_sent_back():
    case = do(at_step(Step.VERIFIED), acts.Ask(Relief.WAIVE, "等雨停"), OPERATOR, standing=1)
    case = do(case, acts.Answer(granted=True), SECOND, standing=1)
    case = do(case, acts.Ask(Relief.SEND_BACK, "雨停了", to=Step.IN_HAND), OPERATOR, standing=1)
    case = do(case, acts.Answer(granted=True), SECOND, standing=1)
    assert (case.step, case.waiver, case.verifier) == (Step.IN_HAND, None, None)


@pytest.mark.parametrize("granted", [True, False])
def test_nobody_answers_what_he_asked_for(granted):
    case = do(at_step(Step.IN_HAND), acts.Ask(Relief.EXTEND, "雨", until=START + timedelta(days=2)), DISPATCHER)
    refused("E_FORBIDDEN", case, acts.Answer(granted, "不"), DISPATCHER)
    assert do(case, acts.Answer(granted, "不"), SECOND).asked is None


def test_one_request_stands_at_a_time_and_lapses_when_the_case_moves_on():
    ask = acts.Ask(Relief.EXTEND, "雨", until=START + timedelta(days=2))
    case = do(at_step(Step.IN_HAND), ask, CREW)
    assert "an answer to extend first" in refused("E_STATE", case, ask, MATE)
    assert do(case, acts.Done("不用了"), CREW).asked is None


def test_a_refusal_wants_a_reason_and_changes_nothing_else():
    case = do(at_step(Step.IN_HAND), acts.Ask(Relief.SUSPEND, "等料", until=START + HOUR), CREW)
    refused("E_INPUT", case, acts.Answer(granted=False), DISPATCHER)
    after, event = workflow.perform(case, acts.Answer(granted=False, text="库里有"), setting(DISPATCHER))
    assert replace(after, version=0, asked=None) == replace(case, version=0, asked=None)
    assert (event.event, event.text) == (Event.REFUSED, "库里有")


@pytest.mark.parametrize("to", [None, Step.DONE, Step.VERIFIED, Step.DISMISSED])
def test_a_case_is_sent_back_to_an_earlier_step_only(to):
    refused("E_INPUT", at_step(Step.DONE), acts.Ask(Relief.SEND_BACK, "x", to=to), DISPATCHER)


def test_a_closed_case_that_was_not_right_is_opened_again():
    case = do(at_step(Step.CLOSED), acts.Ask(Relief.SEND_BACK, "又漏了", to=Step.OPENED), OPERATOR)
    case = do(case, acts.Answer(granted=True), DISPATCHER)
    assert (case.step, case.open, case.department, case.verifier) == (Step.OPENED, True, None, None)


def test_a_closed_case_that_goes_back_to_verified_keeps_who_verified_it():
    case = do(at_step(Step.CLOSED), acts.Ask(Relief.SEND_BACK, "照片缺", to=Step.VERIFIED), OPERATOR)
    assert do(case, acts.Answer(granted=True), DISPATCHER).verifier == "zhao"


@pytest.mark.parametrize("hours", [-1, 0, 24 + 73])
def test_an_extension_goes_as_far_as_the_city_allows(hours):
    case = at_step(Step.IN_HAND)  # due in 24 h at level orange
    until = START + timedelta(hours=hours)
    refused("E_INPUT", case, acts.Ask(Relief.EXTEND, "雨", until=until), CREW)
    refused("E_INPUT", case, acts.Ask(Relief.EXTEND, "雨", until=datetime(2026, 1, 3)), CREW)  # noqa: DTZ001  # refused


def test_so_many_extensions_a_case_are_granted():
    case = at_step(Step.IN_HAND)
    for _ in range(2):
        until = case.term.due + HOUR
        case = do(do(case, acts.Ask(Relief.EXTEND, "雨", until=until), CREW), acts.Answer(granted=True), DISPATCHER)
        assert case.term.due == until
    assert "at most 2" in refused("E_STATE", case, acts.Ask(Relief.EXTEND, "雨", until=until + HOUR), CREW)


def suspended_case():
    case = do(at_step(Step.IN_HAND), acts.Ask(Relief.SUSPEND, "等料", until=START + 48 * HOUR), CREW)
    return do(case, acts.Answer(granted=True), DISPATCHER, at=START + 4 * HOUR)


def test_a_suspended_case_rests_and_goes_on_with_the_time_it_had():
    case = suspended_case()
    assert workflow.elapsed(case, START + 47 * HOUR, RESPONSE) is None
    assert not case.late(START + 47 * HOUR)
    refused("E_STATE", case, acts.Done("好了"), CREW)
    going, event = workflow.elapsed(case, START + 48 * HOUR, RESPONSE)
    assert (event.event, event.by, going.suspended) == (Event.RESUMED, "city", False)
    assert going.term.due == START + (48 + 20) * HOUR


def test_a_suspended_case_is_resumed_before_its_time_by_hand():
    case = suspended_case()
    refused("E_INPUT", case, acts.Resume(""), DISPATCHER)
    assert do(case, acts.Resume("来料"), DISPATCHER, at=START + 10 * HOUR).term.due == START + 30 * HOUR


def test_a_deadline_that_passes_is_told_up_the_ladder_to_its_end():
    case = at_step(Step.DISPATCHED)
    told, at = [], START
    while case.term.wakes is not None:
        at = case.term.wakes
        assert workflow.elapsed(case, at - timedelta(milliseconds=1), RESPONSE) is None
        case, event = workflow.elapsed(case, at, RESPONSE)
        told.append((event.detail["to"], at - START))
    assert told == [("dispatcher", 1 * HOUR), ("engineer", 1.5 * HOUR), ("admin", 2 * HOUR)]
    assert case.late(at)
    assert case.step is Step.DISPATCHED


def test_after_a_night_without_power_each_rung_still_has_its_time():
    case, _ = workflow.elapsed(at_step(Step.DISPATCHED), START + 12 * HOUR, RESPONSE)
    assert (case.term.escalated, case.term.wakes) == (Role.DISPATCHER, START + 12.5 * HOUR)


def test_a_deadline_that_is_told_on_makes_nobody_who_acts_stale():
    case = at_step(Step.DISPATCHED)
    late, event = workflow.elapsed(case, START + HOUR, RESPONSE)
    assert late.version == event.version == case.version


def test_an_extension_begins_the_ladder_anew():
    case, _ = workflow.elapsed(at_step(Step.IN_HAND), START + 24 * HOUR, RESPONSE)
    ask = acts.Ask(Relief.EXTEND, "雨", until=START + 30 * HOUR)
    case = do(do(case, ask, CREW, at=START + 25 * HOUR), acts.Answer(granted=True), DISPATCHER, at=START + 26 * HOUR)
    assert (case.term.escalated, case.term.wakes, case.late(START + 29 * HOUR)) == (None, START + 30 * HOUR, False)


def test_a_worse_level_brings_the_deadline_forward():
    case = do(at_step(Step.DISPATCHED), acts.Regrade(1, "扩大"), DISPATCHER)
    assert (case.level, case.term.due) == (1, START + HOUR / 2)
    late = do(at_step(Step.DISPATCHED), acts.Regrade(1, "扩大"), DISPATCHER, at=START + 0.75 * HOUR)
    assert workflow.elapsed(late, START + 0.75 * HOUR, RESPONSE) is not None


def test_a_merged_case_gives_the_other_the_worse_level():
    mild = at_step(Step.DISPATCHED)
    worse = replace(at_step(Step.OPENED), id=CaseId(2), level=1)
    (gone, out), (grown, into) = workflow.merge(worse, mild, "同一处", setting(OPERATOR))
    assert (gone.step, gone.merged_into, gone.open) == (Step.MERGED, 1, False)
    assert (grown.step, grown.level, grown.term.due) == (Step.DISPATCHED, 1, START + HOUR / 2)
    assert (out.detail, into.detail) == ({"into": "1"}, {"from": "2"})


@pytest.mark.parametrize(("one", "other"), [(Step.CLOSED, Step.OPENED), (Step.OPENED, Step.CLOSED)])
def test_only_open_cases_are_merged(one, other):
    with pytest.raises(InputError, match="closed: cannot be merged"):
        workflow.merge(at_step(one), replace(at_step(other), id=CaseId(2)), "同一处", setting(OPERATOR))


def test_a_case_does_not_go_into_itself():
    with pytest.raises(InputError, match="into itself"):
        workflow.merge(at_step(Step.OPENED), at_step(Step.OPENED), "同一处", setting(OPERATOR))


@pytest.mark.parametrize(
    "wrong",
    [{"title": " "}, {"district": ""}, {"level": 0}, {"level": 5}, {"kind": "earthquake"}],
)
def test_a_report_that_says_nothing_is_refused(wrong):
    with pytest.raises(InputError):
        workflow.report(CaseId(1), msgspec.structs.replace(REPORT, **wrong), setting(OPERATOR))


def test_opening_settles_kind_and_level_where_the_report_was_wrong():
    case = at_step(Step.REPORTED)
    opened = do(case, acts.Open("sewer_overflow", 1), OPERATOR)
    assert (opened.kind, opened.level, opened.checklist[1].id) == ("sewer_overflow", 1, "guard")
    assert opened.term.due == START + timedelta(minutes=5)
    refused("E_INPUT", case, acts.Open("earthquake"), OPERATOR)
    refused("E_INPUT", case, acts.Open("", 7), OPERATOR)


@pytest.mark.parametrize(
    ("act", "step", "by"),
    [
        (acts.Dismiss(" "), Step.REPORTED, OPERATOR),
        (acts.Done(""), Step.IN_HAND, CREW),
        (acts.Regrade(1, ""), Step.OPENED, DISPATCHER),
        (acts.Regrade(9, "x"), Step.OPENED, DISPATCHER),
        (acts.Rate(6), Step.CLOSED, AUDITOR),
        (acts.Ask(Relief.SUSPEND, "", until=START + HOUR), Step.IN_HAND, CREW),
        (acts.Ask(Relief.SUSPEND, "x", until=START + timedelta(days=31)), Step.IN_HAND, CREW),
    ],
)
def test_what_wants_a_reason_or_a_number_is_refused_without(act, step, by):
    refused("E_INPUT", at_step(step), act, by)


@pytest.mark.parametrize("step", [Step.OPENED, Step.DONE])
def test_who_may_not_is_refused_whatever_the_step(step):
    for act, by in ((acts.Dispatch("water_company"), CREW), (acts.Verify(), OPERATOR), (acts.Open(), AUDITOR)):
        assert "may not do" in refused("E_FORBIDDEN", at_step(step), act, by)


def test_an_act_is_read_from_json_and_a_strange_one_refused():
    read = msgspec.json.decode(
        b'{"act":"ask","relief":"extend","text":"x","until":"2026-01-02T08:00:00+08:00"}', type=acts.Act
    )
    assert read.until == datetime(2026, 1, 2, tzinfo=UTC)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"act":"delete"}', type=acts.Act)


def test_everything_has_its_words():
    assert (set(STEP_WORDS), set(EVENT_WORDS), set(RELIEF_WORDS)) == (set(Step), set(Event), set(Relief))


@pytest.fixture
def alarm(engine, clock, seen):
    from sensors.alarm_log import AlarmLog

    (raised,) = AlarmLog(engine, clock).apply([seen(0)])
    return lambda **changes: replace(raised, **changes)


@pytest.mark.parametrize(
    ("rule_name", "system", "kind"),
    [
        ("combustible_gas_high", "gas", "gas_in_manhole"),
        ("gas_leak", "drainage", "gas_in_manhole"),
        ("burst", "water", "burst_main"),
        ("drain_overflow_high", "drainage", "sewer_overflow"),
        ("cover_open_high", "drainage", "cover_open"),
        ("silence", "water", "sensor_fault"),
        ("leak", "gas", "other"),
        ("water_pressure_low", "water", "other"),
    ],
)
def test_an_alarm_asks_for_the_plan_that_names_its_rule(alarm, rule_name, system, kind):
    said = alarm(rule=rule_name)
    assert kind_of(replace(said, place=replace(said.place, system=system)), RESPONSE) == kind


def test_a_report_drafted_from_alarms_says_what_the_worst_does(alarm):
    mild = alarm(id=1, level=3, rule="burst")
    worst = alarm(id=2, level=2)
    planned = alarm(id=3, level=2, rule="burst", onset=worst.onset + HOUR)
    told = draft([mild, worst, planned], "test", RESPONSE, "en")
    assert (told.level, told.kind, told.alarms, told.system) == (2, "burst_main", (1, 2, 3), System.WATER)
    assert (told.asset, told.easting) == (worst.place.asset, worst.place.easting)
    assert "WP-1" in told.title
