"""Leases: one owner a district, whatever dies, sleeps or has a wrong clock; on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest

from sensors import leases
from sensors.leases import FORGOTTEN_S, TTL_S, Leases
from sensors.operations import connect, metadata, writing
from twin.errors import BusyError, UnavailableError

from .conftest import NOON


@dataclass
class Machine:
    """A machine's two clocks: what it takes for the time, and what has passed."""

    time: datetime = NOON
    passed_s: float = 0.0

    def now(self) -> datetime:
        return self.time

    def seconds(self) -> float:
        return self.passed_s

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        self.passed_s += seconds


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    if request.param == "sqlite":
        engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    else:
        engine = connect(request.getfixturevalue("postgres").url)
        with engine.begin() as connection:
            for name in ("leases", "workers", "detector_states"):
                connection.execute(metadata.tables[name].delete())
    yield engine
    engine.dispose()


@pytest.fixture
def worker(database):
    def make(name: str, machine: Machine) -> Leases:
        return Leases(database, name, host=f"host of {name}", clock=machine)

    return make


def test_a_district_is_taken_once(worker):
    machine = Machine()
    first, second = worker("a", machine), worker("b", machine)
    for each in (first, second):
        each.beat({})
    assert first.take("hewan", "spool-a") == 1
    assert second.take("hewan", "spool-b") is None
    second.beat({})
    assert not second.free("hewan")
    assert second.lease("hewan").worker == "a"


def test_many_who_try_at_once_make_one_owner(worker):
    tries = [worker(f"w{number}", Machine()) for number in range(8)]
    for each in tries:
        each.beat({})
    with ThreadPoolExecutor(8) as pool:
        epochs = list(pool.map(lambda each: each.take("hewan", f"spool {each.worker}"), tries))
    assert sorted(epoch for epoch in epochs if epoch) == [1]


def test_an_owner_that_is_silent_is_succeeded_after_the_time_of_a_lease_and_not_before(worker):
    machine = Machine()
    dead, heir = worker("a", machine), worker("b", machine)
    dead.beat({})
    dead.take("hewan", "spool-a")
    heir.beat({})
    machine.wait(TTL_S - 0.5)
    heir.beat({})
    assert not heir.free("hewan")
    machine.wait(1.0)
    heir.beat({})
    assert heir.free("hewan")
    assert heir.take("hewan", "spool-b") == 2
    assert dead.beat({"hewan": 1}) == {"hewan"}


def test_nobody_is_taken_for_dead_because_the_database_was_away(worker, monkeypatch):
    machine = Machine()
    owner, other = worker("owner", machine), worker("other", machine)
    epoch = owner.take("hewan", "spool") if not owner.beat({}) else None
    for each, held in ((owner, {"hewan": epoch}), (other, {})):
        each.beat(held)
    with monkeypatch.context() as away:
        away.setattr(leases, "writing", no_database)
        with pytest.raises(UnavailableError):
            other.beat({})
        machine.wait(60)
    other.beat({})
    assert (other.free("hewan"), other.share(2)) == (False, 1)
    assert owner.beat({"hewan": epoch}) == set()
    machine.wait(TTL_S - 1)
    other.beat({})
    assert not other.free("hewan")
    machine.wait(TTL_S)
    other.beat({})
    assert other.free("hewan")


def no_database(_engine):
    raise UnavailableError("away")


def test_an_owner_that_shows_itself_between_look_and_grasp_keeps_its_district(worker):
    machine = Machine()
    slow, heir = worker("a", machine), worker("b", machine)
    slow.beat({})
    slow.take("hewan", "spool-a")
    heir.beat({})
    machine.wait(TTL_S + 1)
    heir.beat({})
    assert heir.free("hewan")
    assert slow.beat({"hewan": 1}) == set()
    assert heir.take("hewan", "spool-b") is None


@pytest.mark.parametrize("skew", [timedelta(hours=-1), timedelta(hours=1), timedelta(days=3650)])
def test_clocks_hours_apart_neither_take_from_the_living_nor_wait_for_the_dead(worker, skew):
    here, there = Machine(), Machine(NOON + skew)
    owner, other = worker("a", here), worker("b", there)
    owner.beat({})
    owner.take("hewan", "spool-a")
    for _ in range(20):
        here.wait(1)
        there.wait(1)
        assert owner.beat({"hewan": 1}) == set()
        other.beat({})
        assert not other.free("hewan")
    there.wait(TTL_S)
    other.beat({})
    assert other.free("hewan")


def test_a_step_of_the_machines_clock_takes_nothing_away(worker):
    machine = Machine()
    owner, other = worker("a", machine), worker("b", machine)
    owner.beat({})
    owner.take("hewan", "spool-a")
    other.beat({})
    machine.time += timedelta(hours=1)
    other.beat({})
    assert not other.free("hewan")
    assert owner.beat({"hewan": 1}) == set()


def test_what_is_given_back_is_free_at_once_and_its_epoch_goes_on(worker):
    machine = Machine()
    first, second = worker("a", machine), worker("b", machine)
    first.beat({})
    first.take("hewan", "spool-a")
    first.release("hewan", 1)
    second.beat({})
    assert second.free("hewan")
    assert second.take("hewan", "spool-b") == 2
    first.release("hewan", 1)
    assert second.beat({"hewan": 2}) == set()


@pytest.mark.parametrize(("count", "districts"), [(1, 3), (2, 3), (3, 4), (4, 2), (3, 9)])
def test_shares_add_up_and_differ_by_one_at_most(worker, count, districts):
    machine = Machine()
    team = [worker(f"w{number}", machine) for number in range(count)]
    for _ in range(2):
        for each in team:
            each.beat({})
    shares = [each.share(districts) for each in team]
    assert sum(shares) == districts
    assert max(shares) - min(shares) <= 1


def test_the_share_of_a_worker_that_dies_or_leaves_goes_to_the_others(worker):
    machine = Machine()
    stays, dies, leaves = worker("a", machine), worker("b", machine), worker("c", machine)
    for each in (dies, leaves, stays):
        each.beat({})
    assert stays.share(6) == 2
    leaves.leave()
    stays.beat({})
    assert stays.share(6) == 3
    machine.wait(TTL_S + 1)
    stays.beat({})
    assert stays.share(6) == 6


def test_the_dead_are_forgotten_in_the_end(worker, database):
    machine = Machine()
    stays, dies = worker("a", machine), worker("b", machine)
    dies.beat({})
    stays.beat({})
    machine.wait(FORGOTTEN_S + 1)
    stays.beat({})
    with database.connect() as connection:
        assert [row.worker for row in connection.execute(metadata.tables["workers"].select())] == ["a"]


def test_a_former_owner_cannot_overwrite_the_state_of_its_successor(worker):
    machine = Machine()
    former, owner = worker("a", machine), worker("b", machine)
    former.beat({})
    former.take("hewan", "spool-a")
    assert former.keep_state("hewan", 1, b"old")
    former.release("hewan", 1)
    owner.beat({})
    owner.take("hewan", "spool-b")
    assert owner.state("hewan") == (1, b"old")
    assert owner.keep_state("hewan", 2, b"new")
    assert not former.keep_state("hewan", 1, b"late")
    assert owner.state("hewan") == (2, b"new")
    assert owner.state("elsewhere") is None


@pytest.mark.slow
@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_server_that_is_away_is_told_and_takes_nothing(postgres, worker):
    owner = worker("a", Machine())
    owner.beat({})
    owner.take("hewan", "spool-a")
    postgres.stop()
    try:
        with pytest.raises(UnavailableError):
            owner.beat({"hewan": 1})
    finally:
        postgres.start()
    assert owner.beat({"hewan": 1}) == set()


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
@pytest.mark.parametrize(
    ("state", "told"), [("57P03", UnavailableError), ("53300", UnavailableError), ("40P01", BusyError)]
)
def test_what_a_server_says_of_itself_is_no_programming_error(database, state, told):
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'it says' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(told, match="it says"), writing(database) as connection:
        connection.exec_driver_sql(raising)
