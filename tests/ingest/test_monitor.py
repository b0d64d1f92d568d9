"""What ingest says about itself, raised in a real alarm log from heart-beats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ingest.watch.monitor import DEVICE_AFTER_S, DEVICE_SETTLE_S, LATE_WITHIN_S, REFUSED_WITHIN_S, SCALES, Monitor
from sensors.alarm import Alarm
from sensors.alarm_log import AlarmLog
from sensors.clock import ManualClock, SteadyClock
from sensors.ingest_alarm import IngestRule
from sensors.operations import connect
from sensors.registry import Registry
from sensors.sentence import sentence
from twin.errors import UnavailableError

from .conftest import pressure_device
from .well import well

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
WELL = well(NOON, disk_free=10**12, disk_size=10**12)


@dataclass
class Watch:
    """A monitor on an alarm log of its own, and a clock that the test moves with it."""

    folder: Path
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOON))
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.engine = connect(f"sqlite:///{self.folder / 'operations.sqlite'}")
        Registry(self.engine).put([pressure_device(name, "hewan") for name in ("WP-1", "WP-2", "WP-3", "WP-4")])
        self.log = AlarmLog(self.engine, self.clock)
        self.monitor = self.successor()

    def successor(self) -> Monitor:
        return Monitor(self.log, self.clock, "hewan", lambda: self.seconds)

    def beat(self, seconds: float = 1.0, times: int = 1, **found: object) -> None:
        for _ in range(times):
            self.seconds += seconds
            self.clock.move_to(NOON + timedelta(seconds=self.seconds))
            self.monitor.step(msgspec.structs.replace(WELL, **found))

    def standing(self) -> dict[str, Alarm]:
        return {f"{alarm.subject} {alarm.rule}": alarm for alarm in self.log.of_ingest("hewan")}


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    watch = Watch(tmp_path)
    yield watch
    watch.engine.dispose()


def test_ingest_that_is_well_says_nothing(watch: Watch):
    watch.beat(times=30)
    assert watch.log.list() == []


def test_a_filling_disk_gets_worse_by_levels_and_its_alarm_does_not_flutter(watch: Watch):
    size = 10**10
    watch.beat(disk_size=size, disk_free=int(0.19 * size))
    assert watch.standing()["ingest:hewan spool_disk"].level == 3
    watch.beat(disk_size=size, disk_free=int(0.09 * size))
    watch.beat(disk_size=size, disk_free=int(0.02 * size))
    alarm = watch.standing()["ingest:hewan spool_disk"]
    assert alarm.level == 1
    assert "0.2 GB" in sentence(alarm, "zh")
    for share in (0.031, 0.049, 0.04, 0.03) * 10:  # above the mark of level 1, and below where it is left
        watch.beat(disk_size=size, disk_free=int(share * size))
    assert watch.standing()["ingest:hewan spool_disk"].version == alarm.version
    watch.beat(times=12)
    assert watch.standing() == {}


def test_a_little_share_of_a_large_disk_is_room_enough(watch: Watch):
    watch.beat(disk_size=10**13, disk_free=5 * 10**10, times=3)
    assert watch.standing() == {}


@pytest.mark.parametrize(
    ("rule", "found", "level"),
    [
        (IngestRule.UNWRITABLE, {"spool_ok": False}, 1),
        (IngestRule.LEDGER, {"received": 5}, 1),
        (IngestRule.STORE, {"store_ok": False}, 2),
        (IngestRule.STORE_LOSES, {"store_missing": 7}, 1),
        (IngestRule.BROKER, {"connected": False}, 2),
        (IngestRule.BACKLOG, {"backlog_s": 400.0}, 3),
        (IngestRule.DETECTORS, {"detectors_off": ["seasonal"]}, 2),
        (IngestRule.CLOCK, {"clock_off_s": -3600.0}, 2),
    ],
)
def test_each_trouble_is_one_alarm_that_goes_when_it_is_over(watch: Watch, rule: IngestRule, found, level: int):
    watch.beat(times=20, **found)
    (alarm,) = watch.standing().values()
    assert (alarm.subject, alarm.rule, alarm.level, alarm.count) == ("ingest:hewan", rule, level, 1)
    for language in ("zh", "en"):
        assert "?" not in sentence(alarm, language)
    watch.beat(times=round(SCALES[rule].settle_s) + 2)
    assert watch.standing() == {}


def test_a_broker_that_stays_away_becomes_the_worst_level(watch: Watch):
    watch.beat(times=310, connected=False)
    assert watch.standing()["ingest:hewan broker"].level == 1


def test_a_growing_quarantine_is_told_by_its_share_of_what_came(watch: Watch):
    watch.beat(received=1_000_000, stored=995_000, quarantined=5_000)
    watch.beat(received=1_010_000, stored=1_004_500, quarantined=5_500)  # 5 % of what came since
    alarm = watch.standing()["ingest:hewan refused"]
    assert (alarm.level, alarm.value) == (3, 0.05)
    watch.beat(
        seconds=10, times=round(REFUSED_WITHIN_S / 10) + 10, received=1_010_000, stored=1_004_500, quarantined=5_500
    )
    assert watch.standing() == {}


def test_a_device_ahead_of_time_is_one_alarm_on_the_device_until_it_has_been_quiet(watch: Watch):
    watch.beat(received=100, stored=95, quarantined=5, ahead={"WP-1": 5})
    watch.beat(times=round(DEVICE_AFTER_S) + 1, received=200, stored=195, quarantined=5)
    watch.beat(times=5, received=300, stored=295, quarantined=5, ahead={"WP-1": 1})
    (alarm,) = watch.standing().values()
    assert (alarm.device, alarm.rule, alarm.count) == ("WP-1", IngestRule.DEVICE_CLOCK, 1)
    watch.beat(seconds=DEVICE_SETTLE_S + 1)
    assert watch.standing() == {}


def test_a_device_that_sends_too_fast_is_told_and_no_other(watch: Watch):
    watch.beat(times=5, throttled={"WP-2": 900})
    (alarm,) = watch.standing().values()
    assert (alarm.device, alarm.rule) == ("WP-2", IngestRule.DEVICE_RATE)


def test_when_most_devices_are_ahead_it_is_the_citys_clock_and_no_mass_of_device_alarms(watch: Watch):
    received = 0
    for _ in range(10):
        received += 4
        ahead = {"WP-1": 1, "WP-2": 1, "WP-3": 1, "WP-4": 1}
        watch.beat(received=received, quarantined=received, ahead=ahead)
    assert list(watch.standing()) == ["ingest:hewan clock"]


def test_readings_that_always_come_equally_late_speak_of_a_clock(watch: Watch):
    watch.beat(times=round(LATE_WITHIN_S) + 5, late_s=3600.0)
    assert watch.standing()["ingest:hewan clock"].value == 3600.0


def test_a_backlog_that_gets_shorter_is_no_matter_of_clocks(watch: Watch):
    for second in range(400):
        watch.beat(late_s=3600.0 - 5 * second)
    assert watch.standing() == {}


def test_a_successor_clears_what_its_predecessor_raised(watch: Watch):
    watch.beat(times=20, connected=False, throttled={"WP-2": 1})
    assert len(watch.standing()) == 2
    watch.monitor = watch.successor()
    watch.beat(times=12)
    watch.beat(seconds=DEVICE_SETTLE_S + 1)
    assert watch.standing() == {}


def test_an_alarm_log_that_is_away_is_told_when_it_is_back(watch: Watch, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as away:

        def refuse(*_: object) -> None:
            raise UnavailableError("no connection", where="operations")

        away.setattr(watch.log, "apply", refuse)
        watch.beat(times=3, received=5)
    assert watch.standing() == {}
    watch.beat(received=5)
    assert list(watch.standing()) == ["ingest:hewan ledger"]


class Machine:
    """A machine's clocks, of which one can be set."""

    def __init__(self) -> None:
        self.monotonic_s, self.set_s = 50.0, NOON.timestamp() - 50.0

    def wall(self) -> float:
        return self.set_s + self.monotonic_s

    def monotonic(self) -> float:
        return self.monotonic_s


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_wrong_step_of_the_machines_clock_moves_nothing_but_an_alarm(watch: Watch, step_s: float):
    machine = Machine()
    clock = SteadyClock(machine.wall, machine.monotonic)
    monitor = Monitor(watch.log, clock, "hewan", machine.monotonic)
    machine.set_s += step_s
    for _ in range(30):
        machine.monotonic_s += 1
        monitor.step(msgspec.structs.replace(WELL, clock_off_s=clock.off_s, late_s=0.2))
    assert abs((clock.now() - NOON).total_seconds() - 30) < 1e-3
    assert watch.standing()["ingest:hewan clock"].value == pytest.approx(step_s)
    machine.set_s -= step_s
    for _ in range(12):
        machine.monotonic_s += 1
        monitor.step(msgspec.structs.replace(WELL, clock_off_s=clock.off_s, late_s=0.2))
    assert watch.standing() == {}


def test_a_step_that_sets_a_wrong_clock_right_is_followed(watch: Watch):
    machine = Machine()
    clock = SteadyClock(machine.wall, machine.monotonic)
    monitor = Monitor(watch.log, clock, "hewan", machine.monotonic)
    machine.set_s -= 3600.0
    for _ in range(3):  # by the city's clock, an hour ahead, everything comes an hour late
        machine.monotonic_s += 1
        monitor.step(msgspec.structs.replace(WELL, clock_off_s=clock.off_s, late_s=3600.2))
    assert clock.off_s == pytest.approx(0.0)


def test_a_step_in_the_middle_of_a_look_is_not_followed_unseen():
    machine = Machine()
    steps = iter([0.0, 5.0, 3600.0])  # set by an hour right after the look that saw the five seconds
    clock = SteadyClock(lambda: machine.wall() + next(steps), machine.monotonic)
    assert clock.now() == NOON + timedelta(seconds=5)


def test_a_small_step_is_followed_at_once():
    machine = Machine()
    clock = SteadyClock(machine.wall, machine.monotonic)
    machine.set_s += 5.0
    assert clock.now() == NOON + timedelta(seconds=5)
