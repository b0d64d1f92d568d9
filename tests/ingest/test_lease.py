"""Leaseholders: a district has one owner, whatever dies or comes back, and nothing that was spooled stays behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import Engine, create_engine

from ingest import lease, spool_file
from ingest.group import Group
from ingest.lease import Leaseholder
from ingest.spool import Reader, Spool, owned
from sensors.leases import TTL_S, Leases
from sensors.operations import connect
from sensors.reading import Batch
from twin.errors import BusyError, InputError

from .conftest import wait_until

FULL = SimpleNamespace(total=10**12, used=10**12 - 1, free=1)


@dataclass
class Hands:
    """Both clocks of a machine, moved by the test."""

    passed_s: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.passed_s)

    def seconds(self) -> float:
        return self.passed_s


@dataclass
class Machine:
    """A machine with spools of its own; its workers do nothing but say that they work."""

    folder: Path
    working: set[str] = field(default_factory=set[str])
    drained: list[str] = field(default_factory=list[str])
    failures: dict[str, Exception] = field(default_factory=dict[str, Exception])

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)

    def spool(self, district: str) -> Path:
        return self.folder / f"{district}.sqlite"

    def work(self, district: str, spool: Spool, keep_state: Callable[[], None]) -> Job:
        def body(stop: threading.Event) -> None:
            if district in self.failures:
                raise self.failures[district]
            self.working.add(district)
            stop.wait()
            newest = spool.batches(0)[-1].id if spool.batches(0) else 0
            spool.detected(newest, f"state of {self.folder.name}".encode())
            keep_state()
            self.working.discard(district)

        return Job(body)

    def drain(self, district: str, spool: Spool) -> Job:
        def body(_stop: threading.Event) -> None:
            for one in spool.batches(spool.cursor(Reader.STORED)):
                spool.stored(one.id, len(one.batch), 0)
            self.drained.append(district)

        return Job(body)

    def put(self, district: str, readings: int) -> None:
        spool = Spool(self.spool(district))
        spool.commit(Group(received=readings, batches=[_readings(readings)]))
        spool.close()


@dataclass
class Job:
    run: Callable[[threading.Event], None]


def _readings(count: int) -> Batch:
    series = np.zeros(count, np.int32)
    times = np.arange(count, dtype=np.int64)
    return Batch(series, times, times.astype(float), series.astype(np.uint8), series.astype(bool), 0)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def holder(engine, clock):
    made: list[Leaseholder] = []

    def make(machine: Machine, name: str, districts: tuple[str, ...] = ("hewan",)) -> Leaseholder:
        made.append(Leaseholder(Leases(engine, name, host=name, clock=clock), machine, districts))
        return made[-1]

    yield make
    for each in made:
        end(each)


def end(holder: Leaseholder) -> None:
    for duty in holder._duties.values():
        duty.stop.set()
        duty.thread.join(10)


def die(holder: Leaseholder, machine: Machine) -> None:
    """Let a machine go under: it says nothing more, and gives nothing back."""
    holder._leases.release = lambda *_: None
    holder._leases.keep_state = lambda *_: True
    end(holder)
    machine.working.clear()


def settle(*holders: Leaseholder) -> None:
    """Let every holder look around until nobody begins or ends anything more."""
    for _ in range(3):
        for each in holders:
            each.turn()
        for each in holders:
            for duty in each._duties.values():
                if duty.stop.is_set():
                    duty.thread.join(10)


def test_two_workers_share_the_districts(tmp_path, holder):
    machine = Machine(tmp_path / "m")
    names = ("a", "b", "c", "d", "e")
    one, two = holder(machine, "one", names), holder(machine, "two", names)
    settle(one, two)
    assert sorted([*one.owned, *two.owned]) == sorted(names)
    assert {len(one.owned), len(two.owned)} == {2, 3}


def test_a_worker_that_comes_later_takes_no_only_district(tmp_path, holder):
    machine = Machine(tmp_path / "m")
    first, late = holder(machine, "z"), holder(machine, "a")
    settle(first, late, first, late)
    assert (first.owned, late.owned) == (["hewan"], [])


def test_a_worker_that_comes_later_gets_its_share(tmp_path, holder):
    machine = Machine(tmp_path / "m")
    first = holder(machine, "first", ("a", "b"))
    settle(first)
    assert first.owned == ["a", "b"]
    late = holder(machine, "late", ("a", "b"))
    settle(late, first)
    assert len(first.owned) == len(late.owned) == 1


def test_what_died_on_this_machine_is_taken_up_at_once(tmp_path, holder, clock):
    machine = Machine(tmp_path / "m")
    dead, heir = holder(machine, "dead"), holder(machine, "heir")
    settle(dead, heir)
    assert dead.owned == ["hewan"]
    die(dead, machine)
    heir.turn()
    assert heir.owned == ["hewan"]
    assert clock.passed_s == 0.0
    wait_until(lambda: machine.working == {"hewan"})


def test_what_died_on_another_machine_is_waited_for(tmp_path, holder, clock):
    here, there = Machine(tmp_path / "here"), Machine(tmp_path / "there")
    dead, heir = holder(there, "dead"), holder(here, "heir")
    settle(dead, heir)
    die(dead, there)
    heir.turn()
    assert heir.owned == []
    clock.passed_s += TTL_S + 0.1
    heir.turn()
    assert heir.owned == ["hewan"]


def test_detection_goes_on_from_the_state_of_the_last_owner(tmp_path, holder):
    here, there = Machine(tmp_path / "here"), Machine(tmp_path / "there")
    first, second = holder(there, "first"), holder(here, "second")
    settle(first)
    there.put("hewan", 3)
    first._go()
    settle(second)
    wait_until(lambda: here.working)
    spool = Spool(here.spool("hewan"))
    assert spool.detector_state() == b"state of there"
    spool.close()


def test_an_owner_that_comes_back_to_its_own_spool_keeps_the_newer_state_there(tmp_path, holder):
    machine = Machine(tmp_path / "m")
    first = holder(machine, "first")
    settle(first)
    first._go()
    spool = Spool(machine.spool("hewan"))
    spool.detected(0, b"newer, and not in the database yet")
    spool.close()
    again = holder(machine, "again")
    settle(again)
    wait_until(lambda: machine.working)
    spool = Spool(machine.spool("hewan"))
    assert spool.detector_state() == b"newer, and not in the database yet"
    spool.close()


def test_an_owner_that_only_seemed_dead_stops_and_its_spool_is_drained(tmp_path, holder, clock):
    here, there = Machine(tmp_path / "here"), Machine(tmp_path / "there")
    slow, heir = holder(there, "slow"), holder(here, "heir")
    settle(slow, heir)
    wait_until(lambda: there.working)
    there.put("hewan", 5)
    clock.passed_s += TTL_S + 0.1
    heir.turn()
    assert heir.owned == ["hewan"]
    settle(slow)
    wait_until(lambda: not there.working)
    settle(slow)
    wait_until(lambda: there.drained == ["hewan"])
    settle(slow)
    spool = Spool(there.spool("hewan"))
    assert (spool.ledger().spooled, spool.ledger().stored, spool.undetected()) == (0, 5, 0)
    spool.close()
    assert heir.owned == ["hewan"]


def test_a_drain_makes_way_for_an_owner_that_is_another_process(tmp_path, holder):
    here, there = Machine(tmp_path / "here"), Machine(tmp_path / "there")
    here.drain = lambda *_: Job(lambda stop: stop.wait())  # the store is away
    here.put("hewan", 5)
    districts = ("hewan", "north")
    elsewhere, busy = holder(there, "elsewhere", districts), holder(here, "busy", districts)
    settle(elsewhere, busy)
    wait_until(lambda: there.working == {"hewan"})
    settle(elsewhere, busy)
    assert (busy.owned, sorted(busy._duties)) == (["north"], ["hewan", "north"])
    elsewhere._go()
    heir = holder(here, "heir", districts)
    heir._leases.beat({})
    busy.turn()
    busy._duties["hewan"].thread.join(10)
    settle(busy, heir)
    assert (busy.owned, heir.owned) == (["north"], ["hewan"])


def test_a_district_is_worked_when_its_disk_is_full_for_otherwise_nothing_would_empty_it(tmp_path, holder, monkeypatch):
    machine = Machine(tmp_path / "m")
    machine.put("hewan", 5)
    monkeypatch.setattr(spool_file.shutil, "disk_usage", lambda _: FULL)
    owner = holder(machine, "owner")
    settle(owner)
    wait_until(lambda: machine.working == {"hewan"})


def test_an_owner_whose_database_is_away_goes_on(tmp_path, holder, engine):
    machine = Machine(tmp_path / "m")
    owner = holder(machine, "owner")
    settle(owner)
    wait_until(lambda: machine.working)
    owner._leases._engine = create_engine("postgresql+pg8000://nobody@127.0.0.1:1/nothing")
    owner.turn()
    owner.turn()
    assert machine.working == {"hewan"}
    owner._leases._engine = engine
    owner.turn()
    assert owner.owned == ["hewan"]


def test_a_district_that_fails_alone_leaves_the_others_alone(tmp_path, holder):
    machine = Machine(tmp_path / "m")
    machine.failures["bad"] = InputError("damaged", where="bad")
    worker = holder(machine, "one", ("bad", "good"))
    worker.turn()
    worker._duties["bad"].thread.join(10)
    worker.turn()
    assert worker.owned == ["good"]
    wait_until(lambda: machine.working == {"good"})


def test_a_spool_that_cannot_be_opened_leaves_the_other_districts_alone(tmp_path, holder):
    machine = Machine(tmp_path / "m")
    machine.spool("bad").write_bytes(b"no spool at all" * 100)
    worker = holder(machine, "one", ("bad", "good"))
    settle(worker)
    assert worker.owned == ["good"]


def test_a_damaged_spool_of_a_district_that_another_machine_owns_stops_nothing(tmp_path, holder):
    here, there = Machine(tmp_path / "here"), Machine(tmp_path / "there")
    owner = holder(there, "owner")
    settle(owner)
    here.spool("hewan").write_bytes(b"no spool at all" * 100)
    standby = holder(here, "standby")
    settle(standby, owner)
    assert (owner.owned, standby.owned) == (["hewan"], [])


def test_the_only_district_that_fails_ends_the_process_with_its_reason(tmp_path, holder):
    machine = Machine(tmp_path / "m")
    machine.failures["hewan"] = InputError("damaged", where="hewan")
    with pytest.raises(InputError, match="damaged"):
        holder(machine, "one").run(threading.Event())


def test_a_spool_held_without_a_lease_is_told_after_a_while(tmp_path, holder, monkeypatch):
    machine = Machine(tmp_path / "m")
    monkeypatch.setattr(lease, "TTL_S", 0.0)
    worker = holder(machine, "one")
    with owned(machine.spool("hewan")), pytest.raises(BusyError, match="another ingest has it"):
        worker.turn()


def test_stopping_gives_everything_back(tmp_path, holder, engine):
    machine = Machine(tmp_path / "m")
    worker, stop = holder(machine, "one", ("a", "b")), threading.Event()
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    wait_until(lambda: machine.working == {"a", "b"})
    stop.set()
    thread.join(20)
    other = Leases(engine, "other", host="other", clock=Hands())
    other.beat({})
    assert other.free("a")
    assert other.free("b")
    assert other.share(2) == 2
    assert other.state("a") == (1, b"state of m")
