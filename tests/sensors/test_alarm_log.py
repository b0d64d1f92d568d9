import multiprocessing
import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError

from sensors.alarm import Event, State
from sensors.alarm_log import AlarmLog
from sensors.clock import SystemClock
from sensors.detection import Candidate, DetectionKind, Evidence, Fact, Subject
from sensors.ingest_alarm import device_subject, ingest_subject
from sensors.operations import alarms, connect, transitions, writing
from sensors.registry import Registry
from twin.asset import AssetId
from twin.errors import InputError, StaleError, UnknownError


@pytest.fixture
def log(engine, clock):
    return AlarmLog(engine, clock)


def events(log, alarm):
    return [step.event for step in log.transitions(alarm.id)]


def test_alarm_carries_value_limit_and_place(log, seen, clock):
    (alarm,) = log.apply([seen(-3)])
    assert (alarm.level, alarm.value, alarm.limit, alarm.state) == (3, 130_000.0, 140_000.0, State.UNACKNOWLEDGED)
    assert (alarm.device, alarm.asset, alarm.easting) == ("WP-1", "water.inp:node:WP-1", 500_001.5)
    assert alarm.detected == clock.now()
    assert alarm.detected - alarm.onset == timedelta(seconds=3)
    assert log.get(alarm.id) == alarm


def test_same_detections_again_change_nothing(log, seen):
    stream = [seen(0), seen(5, level=2), seen(9, active=False), seen(20), seen(30, active=False)]
    log.apply(stream)
    before, newest = log.changes(0)
    for part in (stream, stream[:2], stream[2:], stream[:1]):
        assert log.apply(part) == []
    assert log.changes(0) == (before, newest)


def test_killed_between_detection_and_alarm_the_rerun_raises_once(log, seen):
    log.apply([seen(0)])
    log.apply([seen(0), seen(1, name="WP-2")])  # the worker came back, and saw its last batches again
    assert [alarm.count for alarm in log.open()] == [1, 1]


def test_condition_that_comes_back_soon_is_the_same_alarm_and_counts(log, seen):
    (first,) = log.apply([seen(0)])
    log.apply([seen(10, active=False)])
    log.acknowledge(first.id, by="li", version=2)
    assert log.get(first.id).state is State.NORMAL
    (again,) = log.apply([seen(500)])
    assert (again.id, again.count, again.state) == (first.id, 2, State.UNACKNOWLEDGED)
    assert events(log, again) == [Event.RAISED, Event.CLEARED, Event.ACKNOWLEDGED, Event.REOPENED]


def test_condition_that_comes_back_late_is_a_new_alarm(log, seen):
    (first,) = log.apply([seen(0)])
    log.apply([seen(10, active=False)])
    log.acknowledge(first.id, by="li", version=2)
    (second,) = log.apply([seen(10 + 601)])
    assert second.id != first.id
    assert log.open() == [second]


def test_unacknowledged_alarm_stays_the_one_open_alarm(log, seen):
    (first,) = log.apply([seen(0)])
    (returned,) = log.apply([seen(10, active=False)])
    assert returned.state is State.RETURNED
    (again,) = log.apply([seen(5000)])
    assert again.id == first.id


def test_worse_level_asks_for_acknowledgement_again(log, seen):
    (alarm,) = log.apply([seen(0)])
    log.acknowledge(alarm.id, by="li", version=1)
    (worse,) = log.apply([seen(5, level=1)])
    assert (worse.level, worse.original_level, worse.state) == (1, 3, State.UNACKNOWLEDGED)
    log.acknowledge(alarm.id, by="li", version=worse.version)
    (eased,) = log.apply([seen(9, level=2)])
    assert (eased.level, eased.state) == (2, State.ACKNOWLEDGED)


def test_stale_acknowledgement_is_refused(log, seen):
    (alarm,) = log.apply([seen(0)])
    log.apply([seen(5, level=1)])
    with pytest.raises(StaleError, match="version 2"):
        log.acknowledge(alarm.id, by="li", version=1)
    assert not log.get(alarm.id).acknowledged


def test_acknowledging_twice_is_once(log, seen):
    (alarm,) = log.apply([seen(0)])
    done = log.acknowledge(alarm.id, by="li", comment="on the way", version=1)
    assert log.acknowledge(alarm.id, by="wang", version=done.version) == done
    assert log.transitions(alarm.id)[-1].comment == "on the way"


def test_nobody_cannot_acknowledge(log, seen):
    (alarm,) = log.apply([seen(0)])
    with pytest.raises(InputError, match="a name"):
        log.acknowledge(alarm.id, by=" ", version=1)
    assert not log.get(alarm.id).acknowledged


def test_unknown_alarm_is_said(log):
    for ask in (log.get, log.transitions, lambda number: log.acknowledge(number, by="li", version=1)):
        with pytest.raises(UnknownError, match="alarm 99"):
            ask(99)


def test_changes_are_what_came_after(log, seen):
    log.apply([seen(0), seen(0, name="WP-2")])
    changed, newest = log.changes(0)
    assert [alarm.sequence for alarm in changed] == [1, 2]
    assert log.changes(newest) == ([], newest)
    log.apply([seen(5, active=False)])
    changed, newer = log.changes(newest)
    assert [alarm.subject for alarm in changed] == ["point:WP-1/pressure"]
    assert newer == newest + 1


def test_list_puts_the_worst_first_and_filters(log, seen, clock):
    log.apply([seen(0), seen(1, name="WP-2", level=1)])
    assert [alarm.level for alarm in log.open()] == [1, 3]
    assert [alarm.level for alarm in log.list(level=2)] == [1]
    assert log.list(since=clock.now() + timedelta(seconds=1))[0].device == "WP-2"
    assert len(log.list(limit=1)) == 1


def test_clearing_what_never_stood_says_nothing(log, seen):
    assert log.apply([seen(0, active=False)]) == []


def test_subject_without_device_is_its_own_asset(log, seen):
    (alarm,) = log.apply([replace(seen(0), subject=Subject("zone:water.inp:zone:DMA1"))])
    assert (alarm.device, alarm.asset) == (None, "water.inp:zone:DMA1")


EVIDENCE = Evidence(
    basis="model",
    confidence=0.8,
    candidates=(Candidate(AssetId("water.inp:link:P-1"), 0.6, 40.0), Candidate(AssetId("water.inp:link:P-2"), 0.2)),
    facts=(Fact("loss", 0.004, "flow"),),
    points=(Subject("point:WP-1/pressure"),),
    members=((Subject("point:WP-1/pressure"), "seasonal"),),
)


def test_asset_is_seen_through_the_device_that_speaks_the_loudest(log, seen):
    (alarm,) = log.apply([replace(seen(0), subject=Subject("asset:water.inp:link:P-1"), evidence=EVIDENCE)])
    assert (alarm.device, alarm.asset, alarm.place.system) == ("WP-1", "water.inp:link:P-1", "water")
    assert (alarm.easting, alarm.northing) == (None, None)  # where the pipe is, not where the device is


def test_finding_is_where_its_likeliest_cause_is_and_moves_with_it(log, seen):
    there = replace(seen(0), subject=Subject("asset:water.inp:link:P-9"), kind=DetectionKind.FINDING, evidence=EVIDENCE)
    (alarm,) = log.apply([replace(there, evidence=replace(EVIDENCE, candidates=()))])
    assert (alarm.asset, alarm.easting) == ("water.inp:node:WP-1", 500_001.5)  # where it is seen best
    (alarm,) = log.apply([replace(there, time=there.time + 1)])
    assert (alarm.subject, alarm.asset) == ("asset:water.inp:link:P-9", "water.inp:link:P-1")


def test_value_of_a_finding_is_of_the_quantity_that_speaks_loudest_now(log, seen):
    (first,) = log.apply([replace(seen(0), evidence=EVIDENCE)])
    flow = replace(seen(5), quantity="flow", value=0.1, evidence=replace(EVIDENCE, confidence=0.9))
    assert (first.quantity, log.apply([flow])[0].quantity) == ("pressure", "flow")


def test_evidence_is_kept_as_it_was_said(log, seen):
    (alarm,) = log.apply([replace(seen(0), evidence=EVIDENCE)])
    assert log.get(alarm.id).evidence == alarm.evidence == EVIDENCE


def test_evidence_that_grows_reaches_the_screens_and_makes_no_acknowledgement_stale(log, seen):
    (first,) = log.apply([replace(seen(0), evidence=EVIDENCE)])
    grown = replace(seen(5), evidence=replace(EVIDENCE, confidence=0.9))
    (alarm,) = log.apply([grown])
    assert (alarm.version, alarm.evidence.confidence) == (first.version, 0.9)
    assert [each.id for each in log.changes(first.sequence)[0]] == [first.id]
    assert events(log, alarm) == [Event.RAISED]
    assert log.acknowledge(first.id, by="li", version=first.version).acknowledged
    assert log.apply([grown]) == []


def test_condition_that_no_detector_holds_is_cleared(log, seen):
    raised = log.apply([seen(0), seen(0, name="WP-2")])
    kept = {(raised[1].subject, raised[1].rule)}
    (cleared,) = log.reconcile(kept)
    assert (cleared.id, cleared.state) == (raised[0].id, State.RETURNED)
    assert log.reconcile(kept) == []


def test_what_no_device_is_named_for_is_cleared_where_the_district_is_the_only_one(log, seen, engine):
    zone = replace(seen(0), subject=Subject("zone:Z-1"), kind=DetectionKind.FINDING)
    log.apply([zone])
    Registry(engine).put([replace(device, district="north") for device in Registry(engine).devices()[:1]])
    assert log.reconcile([], "test") == []
    Registry(engine).put([replace(device, district="test") for device in Registry(engine).devices()])
    assert [alarm.subject for alarm in log.reconcile([], "test")] == [zone.subject]


def test_what_ingest_found_is_its_own_to_clear(log, seen):
    own = replace(seen(0), subject=ingest_subject("test"), rule="broker", kind=DetectionKind.INGEST)
    device = replace(seen(0), subject=device_subject("WP-1"), rule="device_clock", kind=DetectionKind.INGEST)
    elsewhere = replace(own, subject=ingest_subject("nanshan"))
    log.apply([own, device, elsewhere, seen(0)])
    assert [alarm.rule for alarm in log.reconcile([])] == [seen(0).rule]
    assert {alarm.subject for alarm in log.of_ingest("test")} == {own.subject, device.subject}
    log.apply([replace(own, active=False, time=own.time + 1)])
    assert [alarm.rule for alarm in log.of_ingest("test")] == ["device_clock"]
    assert log.of_ingest("xishan") == []


def test_alarm_reconciled_too_early_comes_back_when_its_detection_is_fed_again(log, seen):
    (alarm,) = log.apply([seen(0)])
    log.reconcile([])
    (again,) = log.apply([seen(0)])
    assert (again.id, again.state) == (alarm.id, State.UNACKNOWLEDGED)


def test_history_of_an_alarm_can_only_grow(engine, log, seen):
    log.apply([seen(0)])
    for statement in (update(transitions).values(by="nobody"), delete(transitions)):
        with pytest.raises(IntegrityError, match="append-only"), writing(engine) as connection:
            connection.execute(statement)
    assert log.transitions(1)[0].by == "city"


def test_database_itself_refuses_a_second_open_alarm(engine, log, seen):
    log.apply([seen(0)])
    raw = sqlite3.connect(engine.url.database)
    raw.row_factory = sqlite3.Row
    row = dict(raw.execute("SELECT * FROM alarms").fetchone())
    raw.close()
    with pytest.raises(IntegrityError), writing(engine) as connection:
        connection.execute(insert(alarms).values({**row, "id": 2, "sequence": 99}))


def test_failed_apply_leaves_nothing_behind(engine, log, seen, monkeypatch):
    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr("sensors.alarm_log._transition_row", fail)
    with pytest.raises(RuntimeError):
        log.apply([seen(0)])
    monkeypatch.undo()
    assert log.changes(0) == ([], 0)
    assert [alarm.count for alarm in log.apply([seen(0)])] == [1]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(0, 900)), max_size=25), st.data())
def test_whatever_comes_twice_the_log_is_as_after_once(log, seen, steps, data):
    _, example = log.changes(0)
    streams = {"WP-1": [], "WP-2": []}
    second = 0
    for active, level, passed in steps:
        second += passed + 1
        for name, stream in streams.items():
            stream.append(seen(second, active=active, level=level, name=name, rule=f"example_{example}"))
    once, twice = streams.values()
    again = data.draw(st.integers(0, len(once)))
    log.apply(once)
    for each in twice[:again]:
        log.apply([each])
    log.apply(twice[: again // 2])
    log.apply(twice)

    def became(name):
        mine = [alarm for alarm in log.list() if alarm.device == name and alarm.rule == f"example_{example}"]
        return [(alarm.level, alarm.state, alarm.count, alarm.version, alarm.onset) for alarm in mine]

    assert became("WP-1") == became("WP-2")


def _raise_many(url, ready, detections):
    log = AlarmLog(connect(url), SystemClock())
    ready.wait()
    for each in detections:
        log.apply([each])


def test_two_processes_that_see_the_same_breach_raise_one_alarm(url, engine, log, seen):
    breaches = [seen(n, name=name) for n in range(20) for name in ("WP-1", "WP-2")]
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(2)
    workers = [context.Process(target=_raise_many, args=(url, ready, breaches)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert [(alarm.count, alarm.version) for alarm in log.list()] == [(1, 1), (1, 1)]
    changed, newest = log.changes(0)
    assert [alarm.sequence for alarm in changed] == [1, 2]
    assert newest == 2
