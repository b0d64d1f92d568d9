"""Detection behind the spool: what a killed worker makes of alarms when it starts again."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from ingest.detecting import DetectionForwarder
from ingest.group import Group
from ingest.spool import Spool
from sensors.alarm import Condition
from sensors.alarm_log import AlarmLog
from sensors.clock import ManualClock, from_ms
from sensors.detection import checks
from sensors.detection.pipeline import Pipeline
from sensors.detection.scope import Scope
from sensors.limits import load
from sensors.operations import connect
from sensors.registry import Registry
from twin.errors import UnavailableError

LIMITS = load()
GAS = 2  # the series of a gas detector in the sample


@pytest.fixture
def spool(tmp_path):
    opened = Spool(tmp_path / "spool.sqlite")
    yield opened
    opened.close()


@pytest.fixture
def clock():
    return ManualClock(from_ms(checks.START_MS))


@pytest.fixture
def alarms(tmp_path, clock):
    engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    Registry(engine).put(checks.sample_devices())
    yield AlarmLog(engine, clock)
    engine.dispose()


def forwarder(spool, alarms, clock, devices=None, district="sample"):
    pipeline = Pipeline.build(Scope(devices or checks.sample_devices(), LIMITS))
    return DetectionForwarder(spool, pipeline, alarms, clock, district=district, recording=False)


def leak(spool, second=0):
    spool.commit(Group(received=1, batches=[checks.sample_batch([GAS], [second], [0.31])]))


def settle(detecting):
    while detecting.step():
        pass


def test_an_end_on_a_full_disk_is_an_end(spool, alarms, clock, monkeypatch):
    detecting, stop = forwarder(spool, alarms, clock), threading.Event()
    leak(spool)
    settle(detecting)

    def full(*_):
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(spool, "detected", full)
    stop.set()
    with capture_logs() as logs:
        detecting.run(stop, lambda: None)
    assert [entry["event"] for entry in logs] == ["detection_not_checkpointed"]


def test_an_alarm_that_stands_goes_through_a_crash_untouched(spool, alarms, clock):
    leak(spool)
    settle(forwarder(spool, alarms, clock))
    (before,) = alarms.list()
    settle(forwarder(spool, alarms, clock))  # the first one was killed before its checkpoint
    assert alarms.list() == [before]
    assert len(alarms.transitions(before.id)) == 1


def test_silence_goes_through_a_crash_untouched_though_no_batch_came_after_it(spool, alarms, clock, monkeypatch):
    first = forwarder(spool, alarms, clock)
    leak(spool)
    settle(first)
    first.checkpoint()
    for second in range(1, 120):
        clock.move_to(from_ms(checks.START_MS + 1000 * second))
        first.step()
    monkeypatch.setattr("ingest.detecting.CHECKPOINT_S", 0.0)
    monkeypatch.setattr("ingest.detecting.CHECKPOINT_REST", 0)
    first.step()
    before = alarms.list()
    assert {alarm.rule for alarm in before} == {"combustible_gas_high", "silence"}
    settle(forwarder(spool, alarms, clock))
    assert alarms.list() == before


def test_detection_rests_from_a_checkpoint_that_took_long(spool, alarms, clock, monkeypatch):
    one = forwarder(spool, alarms, clock)
    leak(spool)
    settle(one)
    one.checkpoint()
    kept = spool.detector_state()
    monkeypatch.setattr("ingest.detecting.CHECKPOINT_S", 0.0)
    monkeypatch.setattr("ingest.detecting.CHECKPOINT_REST", 1_000_000)
    for second in range(1, 60):
        clock.move_to(from_ms(checks.START_MS + 1000 * second))
        one.step()
    assert spool.detector_state() == kept
    one.checkpoint()
    assert spool.detector_state() != kept


def test_a_retired_device_holds_no_alarm(spool, alarms, clock):
    leak(spool)
    first = forwarder(spool, alarms, clock)
    settle(first)
    devices = checks.sample_devices()
    first.replace(Pipeline.build(Scope([replace(device, retired=device.id == "S-02") for device in devices], LIMITS)))
    settle(first)
    (alarm,) = alarms.list()
    assert alarm.condition is Condition.NORMAL


def test_the_worker_of_another_district_leaves_alarms_alone(spool, alarms, clock, tmp_path):
    leak(spool)
    settle(forwarder(spool, alarms, clock))
    elsewhere = Spool(tmp_path / "elsewhere.sqlite")
    settle(forwarder(elsewhere, alarms, clock, district="elsewhere"))
    elsewhere.close()
    (alarm,) = alarms.list()
    assert alarm.condition is Condition.ACTIVE
