"""Cases in a real database: SQLite, and PostgreSQL where the two might differ."""

import shutil
import threading
from collections import Counter
from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy.exc import DBAPIError

from sensors.alarm_log import AlarmLog
from sensors.cases import acts
from sensors.cases.attachments import Attachments
from sensors.cases.case import Event, Relief, Step
from sensors.cases.log import CaseLog
from sensors.cases.plans import draft
from sensors.cases.wanted import Wanted
from sensors.operations import connect, metadata
from sensors.registry import Registry
from sensors.response import AttachmentRules
from sensors.trail import AuditTrail
from twin.asset import System
from twin.errors import InputError, StaleError, UnknownError

from .conftest import NOON, _device
from .disposal import AUDITOR, CREW, DISPATCHER, ENGINEER, HOUR, OPERATOR, REPORT, RESPONSE, SECOND, STRANGER, WAY
from .test_case_attachments import JPEG, PDF

on_both = pytest.mark.parametrize("engine", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A database with two devices, which each test has a copy of: migrating one takes most of a second."""
    file = tmp_path_factory.mktemp("template") / "operations.sqlite"
    engine = connect(f"sqlite:///{file}")
    Registry(engine).put(_device(name) for name in ("WP-1", "WP-2"))
    engine.dispose()
    return file


@pytest.fixture
def engine(request, url, template, tmp_path):
    if getattr(request, "param", "sqlite") == "sqlite":
        shutil.copy(template, tmp_path / "operations.sqlite")
        engine = connect(url)
    else:
        engine = connect(request.getfixturevalue("postgres").url)
        _empty(engine)
        Registry(engine).put(_device(name) for name in ("WP-1", "WP-2"))
    yield engine
    if engine.dialect.name == "postgresql":
        _empty(engine)  # others' tests find it as they expect it
    engine.dispose()


def _empty(engine):
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "SET LOCAL session_replication_role = replica"
        )  # past the triggers that keep it whole
        for table in metadata.sorted_tables:
            if table.name != "counters":
                connection.execute(table.delete())
        connection.exec_driver_sql("UPDATE counters SET value = 0")


@pytest.fixture
def trail(engine, clock, tmp_path):
    return AuditTrail(engine, tmp_path / "trail.anchor", clock)


@pytest.fixture
def log(engine, clock, trail, tmp_path):
    rules = AttachmentRules(1, 2, "a test", verified=True)
    return CaseLog(engine, clock, RESPONSE, trail, Attachments(tmp_path / "attachments", rules))


@pytest.fixture
def alarms(engine, clock):
    return AlarmLog(engine, clock)


def along(log, case, until, *, tick=True):
    """Take a case the usual way to a step."""
    for step, act, by in WAY:
        if case.step is until:
            break
        if step is Step.VERIFIED and tick:
            for item in case.undone:
                case = log.act(case.id, acts.Tick(item.id), OPERATOR, version=case.version)
        case = log.act(case.id, act, by, version=case.version)
    return case


@on_both
def test_a_case_comes_back_as_it_was_written_after_every_step(log, clock):
    case = log.report(REPORT, OPERATOR)
    for step, act, by in WAY:
        clock.move_to(clock.now() + timedelta(minutes=1))
        if step is Step.VERIFIED:
            for item in case.undone:
                case = log.act(case.id, acts.Tick(item.id, text="好"), ENGINEER, version=case.version)
        case = log.act(case.id, act, by, version=case.version)
        assert case.step is step
        assert log.get(case.id) == case


def test_what_happened_is_told_in_order_with_who_and_when(log):
    case = along(log, log.report(REPORT, OPERATOR), Step.IN_HAND)
    told = [(event.event, event.from_step, event.to_step, event.by, event.at) for event in log.events(case.id)]
    assert told == [
        (Event.REPORTED, None, Step.REPORTED, "wang", NOON),
        (Event.OPENED, Step.REPORTED, Step.OPENED, "wang", NOON),
        (Event.DISPATCHED, Step.OPENED, Step.DISPATCHED, "zhao", NOON),
        (Event.TAKEN, Step.DISPATCHED, Step.IN_HAND, "sun", NOON),
    ]
    assert [event.number for event in log.events(case.id)] == [1, 2, 3, 4]


def test_a_stale_write_is_refused_and_leaves_nothing_behind(log, trail):
    case = log.report(REPORT, OPERATOR)
    log.act(case.id, acts.Open(), OPERATOR, version=1)
    with pytest.raises(StaleError, match=r"version 2 \(opened\), not 1"):
        log.act(case.id, acts.Dismiss("误报"), OPERATOR, version=1)
    assert log.get(case.id).step is Step.OPENED
    assert (len(log.events(case.id)), trail.verify().entries) == (2, 2)


@on_both
def test_of_many_who_act_on_the_same_version_one_does(log):
    case = log.report(REPORT, OPERATOR)
    said = []

    def act():
        try:
            said.append(log.act(case.id, acts.Open(), OPERATOR, version=1).version)
        except StaleError:
            said.append("stale")

    threads = [threading.Thread(target=act) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(said) == {2: 1, "stale": 7}


def test_everything_that_people_do_is_in_the_audit_trail(log, trail):
    case = along(log, log.report(REPORT, OPERATOR), Step.DISPATCHED)
    log.comment(case.id, "路不好走", CREW)
    found = [(entry.by, entry.action, entry.subject) for entry in trail.list(action="case")]
    assert found == [
        ("wang", "case.reported", f"case {case.id}"),
        ("wang", "case.opened", f"case {case.id}"),
        ("zhao", "case.dispatched", f"case {case.id}"),
        ("sun", "case.commented", f"case {case.id}"),
    ]
    assert (list(trail.verify().faults), trail.verify().unanchored) == ([], "")


def test_an_act_that_the_trail_cannot_take_does_not_happen(log, trail, monkeypatch):
    case = log.report(REPORT, OPERATOR)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(AuditTrail, "enter", fail)
    with pytest.raises(OSError, match="disk full"):
        log.act(case.id, acts.Open(), OPERATOR, version=1)
    assert log.get(case.id) == case
    assert len(log.events(case.id)) == 1


@on_both
@pytest.mark.parametrize("write", ["report", "act", "comment", "attach", "hold"])
def test_a_write_that_is_sent_again_is_done_once(log, alarms, seen, write):
    (alarm,) = alarms.apply([seen(0)])
    case = log.report(REPORT, OPERATOR)
    writes = {
        "report": lambda: log.report(REPORT, OPERATOR, key="k1"),
        "act": lambda: log.act(case.id, acts.Open(), OPERATOR, version=1, key="k1"),
        "comment": lambda: log.comment(case.id, "看到了", OPERATOR, key="k1"),
        "attach": lambda: log.attach(case.id, "a.jpg", JPEG, OPERATOR, key="k1"),
        "hold": lambda: log.hold(case.id, [alarm.id], OPERATOR, version=1, key="k1"),
    }
    first = writes[write]()
    count = log.changes(0)[1]
    assert writes[write]() == first
    assert log.changes(0)[1] == count == 2


def test_a_key_that_was_used_for_something_else_is_refused(log):
    case = log.report(REPORT, OPERATOR, key="k1")
    for again in (
        lambda: log.act(case.id, acts.Open(), OPERATOR, version=1, key="k1"),
        lambda: log.report(REPORT, DISPATCHER, key="k1"),
    ):
        with pytest.raises(InputError, match="key k1: was used") as error:
            again()
        assert error.value.code == "E_KEY_REUSED"
    assert len(log.list()) == 1


def test_a_replayed_write_returns_the_case_as_it_is_now(log):
    case = log.report(REPORT, OPERATOR)
    log.act(case.id, acts.Open(), OPERATOR, version=1, key="k1")
    now = log.act(case.id, acts.Dispatch("water_company"), DISPATCHER, version=2)
    assert log.act(case.id, acts.Open(), OPERATOR, version=1, key="k1") == now


@on_both
@pytest.mark.parametrize("change", ["UPDATE case_events SET text = 'x'", "DELETE FROM case_events"])
def test_the_database_itself_refuses_to_change_what_happened(log, engine, change):
    log.report(REPORT, OPERATOR)
    with engine.connect() as connection, pytest.raises(DBAPIError, match="events of cases are append-only"):
        connection.exec_driver_sql(change)


@on_both
def test_a_case_made_from_alarms_holds_them_until_it_is_over(log, alarms, seen):
    raised = alarms.apply([seen(0), seen(0, name="WP-2", level=2)])
    case = log.report(draft(raised, "test", RESPONSE), OPERATOR)
    assert (case.level, log.held(case.id)) == (2, [1, 2])
    assert log.holding([1, 2, 3]) == {1: case.id, 2: case.id}
    with pytest.raises(InputError, match=f"alarm 2: is in case {case.id}"):
        log.report(draft(raised[1:], "test", RESPONSE), OPERATOR)
    log.act(case.id, acts.Dismiss("误报"), OPERATOR, version=1)
    again = log.report(draft(raised[1:], "test", RESPONSE), OPERATOR)
    assert (log.held(case.id), log.held(again.id)) == ([1], [2])


def test_an_alarm_that_is_none_makes_no_case(log):
    with pytest.raises(UnknownError, match="alarm 99"):
        log.report(acts.Report(title="x", level=1, district="test", alarms=(99,)), OPERATOR)
    assert log.list() == []


def test_a_case_is_closed_once_its_alarm_is_normal_or_by_a_waiver(log, alarms, seen):
    raised = alarms.apply([seen(0), seen(0, name="WP-2")])
    case = along(log, log.report(draft(raised, "test", RESPONSE), OPERATOR), Step.VERIFIED)
    with pytest.raises(InputError, match="2 of its alarms are not"):
        log.act(case.id, acts.Close(), DISPATCHER, version=case.version)
    alarms.apply([seen(60, active=False)])
    with pytest.raises(InputError, match="its alarm is not"):
        log.act(case.id, acts.Close(), DISPATCHER, version=case.version)
    case = log.act(case.id, acts.Ask(Relief.WAIVE, "传感器待换"), CREW, version=case.version)
    case = log.act(case.id, acts.Answer(granted=True), SECOND, version=case.version)
    assert log.get(case.id) == case
    with pytest.raises(InputError, match="signed the waiver"):
        log.act(case.id, acts.Close(), SECOND, version=case.version)
    assert log.act(case.id, acts.Close(), DISPATCHER, version=case.version).step is Step.CLOSED


def test_a_waiver_is_void_once_another_alarm_is_put_into_the_case(log, alarms, seen):
    first, second = alarms.apply([seen(0), seen(0, name="WP-2", active=True)])
    case = along(log, log.report(draft([first], "test", RESPONSE), OPERATOR), Step.VERIFIED)
    case = log.act(case.id, acts.Ask(Relief.WAIVE, "传感器待换"), CREW, version=case.version)
    case = log.act(case.id, acts.Answer(granted=True), SECOND, version=case.version)
    case = log.hold(case.id, [second.id], OPERATOR, version=case.version)
    assert (case.waiver, log.held(case.id)) == (None, [first.id, second.id])


def test_an_acknowledged_alarm_whose_condition_stands_still_keeps_its_case_open(log, alarms, seen):
    (alarm,) = alarms.apply([seen(0)])
    alarms.acknowledge(alarm.id, by="wang", version=1)
    case = along(log, log.report(draft([alarm], "test", RESPONSE), OPERATOR), Step.VERIFIED)
    with pytest.raises(InputError, match="condition to be normal"):
        log.act(case.id, acts.Close(), DISPATCHER, version=case.version)


@on_both
def test_a_merged_case_gives_its_alarms_to_the_other(log, alarms, seen):
    raised = alarms.apply([seen(0), seen(0, name="WP-2", level=2)])
    one, two = (log.report(draft([alarm], "test", RESPONSE), OPERATOR) for alarm in raised)
    with pytest.raises(StaleError):
        log.merge(two.id, one.id, "同一处", OPERATOR, version=1, into_version=2)
    kept = log.merge(two.id, one.id, "同一处", OPERATOR, version=1, into_version=1, key="k")
    assert (kept.id, kept.level, kept.version, log.held(one.id), log.held(two.id)) == (one.id, 2, 2, [1, 2], [])
    assert (log.get(two.id).step, log.get(two.id).merged_into) == (Step.MERGED, one.id)
    assert log.merge(two.id, one.id, "同一处", OPERATOR, version=1, into_version=1, key="k") == kept


def test_linked_cases_know_one_another_once(log):
    one, two = log.report(REPORT, OPERATOR), log.report(REPORT, OPERATOR)
    log.link(one.id, two.id, "同一条路", DISPATCHER)
    log.link(two.id, one.id, "同一条路", DISPATCHER)
    assert (log.linked(one.id), log.linked(two.id)) == ([two.id], [one.id])
    assert log.events(two.id)[-1].detail == {"other": str(one.id)}
    assert log.changes(0)[1] == 4
    with pytest.raises(InputError, match="with itself"):
        log.link(one.id, one.id, "x", DISPATCHER)


def test_comments_and_photos_need_no_version_and_change_none(log):
    case = along(log, log.report(REPORT, OPERATOR), Step.IN_HAND)
    log.comment(case.id, "路不好走", CREW)
    photo = log.attach(case.id, "现场.jpg", JPEG, CREW, "开挖前")
    log.attach(case.id, "签证.pdf", PDF, ENGINEER)
    assert log.get(case.id) == case
    first, second = log.attachments(case.id)
    assert (first.file, first.name, first.by, first.text, second.name) == (
        photo,
        "现场.jpg",
        "sun",
        "开挖前",
        "签证.pdf",
    )
    assert log.faults() == []


def test_an_attachment_that_was_changed_on_the_disk_shows(log, tmp_path):
    case = log.report(REPORT, OPERATOR)
    digest = log.attach(case.id, "现场.jpg", JPEG, OPERATOR).digest
    (tmp_path / "attachments" / digest[:2] / digest).write_bytes(PDF)
    assert ["E_CHANGED" in fault for fault in log.faults()] == [True]


def test_a_case_has_so_many_files(log):
    case = log.report(REPORT, OPERATOR)
    for number in range(2):
        log.attach(case.id, f"{number}.jpg", JPEG + bytes([number]), OPERATOR)
    with pytest.raises(InputError, match="has 2 files"):
        log.attach(case.id, "more.jpg", JPEG, OPERATOR)


@pytest.mark.parametrize(
    "write",
    [
        lambda log, case: log.comment(case.id, "x", AUDITOR),
        lambda log, case: log.attach(case.id, "a.jpg", JPEG, AUDITOR),
        lambda log, case: log.link(case.id, case.id + 1, "x", CREW),
        lambda log, case: log.hold(case.id, [], CREW, version=1),
        lambda log, case: log.merge(case.id, case.id + 1, "x", CREW, version=1, into_version=1),
        lambda log, case: log.report(REPORT, AUDITOR),
    ],
)
def test_who_may_not_writes_nothing(log, write):
    case = log.report(REPORT, OPERATOR)
    log.report(REPORT, OPERATOR)
    with pytest.raises(InputError) as error:
        write(log, case)
    assert error.value.code == "E_FORBIDDEN"
    assert log.changes(0)[1] == 2


@pytest.mark.parametrize("read", ["get", "events", "attachments"])
def test_a_case_that_is_none_is_unknown(log, read):
    with pytest.raises(UnknownError, match="case 99"):
        getattr(log, read)(99)


def test_deadlines_that_pass_are_told_once_and_in_order(log, trail):
    late = along(log, log.report(REPORT, OPERATOR), Step.DISPATCHED)
    log.report(acts.Report(title="不急", level=4, district="test"), OPERATOR)
    assert log.due(NOON + HOUR - timedelta(seconds=1)) == []
    ((case, event),) = log.due(NOON + HOUR)
    assert (case.id, event.event, event.by, event.detail["to"]) == (late.id, Event.ESCALATED, "city", "dispatcher")
    assert log.due(NOON + HOUR) == []
    assert log.get(late.id) == case
    assert log.changes(0)[0][-1] == event
    assert trail.list(action="case.escalated") == []


@on_both
def test_two_workers_that_look_at_once_tell_a_deadline_once(log):
    for _ in range(5):
        log.report(REPORT, OPERATOR)
    told = []
    threads = [threading.Thread(target=lambda: told.extend(log.due(NOON + HOUR))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(case.id for case, _ in told) == [1, 2, 3, 4, 5]


@on_both
def test_a_suspension_ends_by_itself(log, clock):
    case = along(log, log.report(REPORT, OPERATOR), Step.IN_HAND)
    case = log.act(case.id, acts.Ask(Relief.SUSPEND, "等料", until=NOON + 48 * HOUR), CREW, version=case.version)
    case = log.act(case.id, acts.Answer(granted=True), DISPATCHER, version=case.version)
    assert log.get(case.id) == case
    assert log.list(Wanted(due_by=NOON + 40 * HOUR)) == []
    ((going, event),) = log.due(NOON + 48 * HOUR)
    assert (event.event, going.term.due, log.get(case.id)) == (Event.RESUMED, NOON + 72 * HOUR, going)


@on_both
def test_cases_are_listed_the_worst_and_most_urgent_first(log):
    for level in (3, 1, 4, 2):
        log.report(acts.Report(title=f"{level}", level=level, district="test"), OPERATOR)
    along(log, log.get(4), Step.DISPATCHED)
    assert [case.level for case in log.list()] == [1, 2, 3, 4]
    assert [case.level for case in log.list(limit=2, offset=1)] == [2, 3]
    assert log.count() == 4


@on_both
@pytest.mark.parametrize(
    ("wanted", "levels"),
    [
        (Wanted(), [1, 2, 3]),
        (Wanted(only_open=True), [2, 3]),
        (Wanted(level=2), [1, 2]),
        (Wanted(steps=[Step.DISPATCHED, Step.DISMISSED]), [1, 2]),
        (Wanted(kind="burst_main"), [2]),
        (Wanted(district="test"), [1, 3]),
        (Wanted(system=System.WATER), [2]),
        (Wanted(department="water_company"), [2]),
        (Wanted(due_by=NOON + timedelta(minutes=30)), [3]),
        (Wanted(due_by=NOON + timedelta(minutes=29)), []),
        (Wanted(only_open=True, level=2, system=System.GAS), []),
    ],
)
def test_those_cases_are_listed_that_are_wanted(log, wanted, levels):
    along(log, log.report(replace(REPORT, district="east"), OPERATOR), Step.DISPATCHED)
    log.report(acts.Report(title="3", level=3, district="test"), OPERATOR)
    closed = log.report(acts.Report(title="1", level=1, district="test"), OPERATOR)
    log.act(closed.id, acts.Dismiss("误报"), OPERATOR, version=1)
    assert [case.level for case in log.list(wanted)] == levels
    assert log.count(wanted) == len(levels)


def test_a_case_waits_for_whose_turn_it_is(log):
    case = along(log, log.report(REPORT, OPERATOR), Step.DISPATCHED)
    everybody = (OPERATOR, DISPATCHER, SECOND, CREW, STRANGER, ENGINEER, AUDITOR)

    def waits_for():
        return {person.id for person in everybody if log.list(Wanted(waits_for=person))}

    assert waits_for() == {"sun"}
    case = log.act(case.id, acts.Ask(Relief.SEND_BACK, "归街道", to=Step.OPENED), DISPATCHER, version=case.version)
    assert waits_for() == {"sun", "qian", "li"}  # not zhao, who asked
    case = log.act(case.id, acts.Answer(granted=False, text="归你"), SECOND, version=case.version)
    log.due(NOON + HOUR)
    assert waits_for() == {"sun", "zhao", "qian"}


def test_changes_are_told_from_where_one_stopped(log):
    for _ in range(3):
        log.report(REPORT, OPERATOR)
    first, newest = log.changes(0, limit=2)
    assert ([event.number for event in first], newest) == ([1, 2], 3)
    assert [event.case for event in log.changes(2)[0]] == [3]
