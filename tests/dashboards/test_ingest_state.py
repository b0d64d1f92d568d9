"""What the screens are told about the ingest of several districts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from dashboards.ingest_state import ingest_state
from ingest.group import Group
from ingest.spool import Spool
from ingest.status import Status
from ingest.store.checks import readings
from ingest.watch.heartbeats import Heartbeats
from tests.ingest.well import well


def beat(district: str) -> Status:
    return well(datetime.now(UTC), district=district, broker=f"mqtt://{district}:1883", devices=1, readings_per_s=2.5)


@pytest.fixture
def spools(tmp_path: Path) -> Iterator[dict[str, Spool]]:
    made = {name: Spool(tmp_path / f"{name}.sqlite") for name in ("hewan", "nanshan")}
    for name, spool in made.items():
        spool.commit(Group(received=2, batches=[readings((1, 0, 0.3), (1, 1, 0.3))]))
        spool.beat(beat(name))
    yield made
    for spool in made.values():
        spool.close()


def state(spools: dict[str, Spool]) -> dict:
    paths = {name: spool.path for name, spool in spools.items()}
    heartbeats = Heartbeats({**paths, "elsewhere": Path("/nowhere/spool.sqlite")})
    found = ingest_state(heartbeats.look())
    heartbeats.close()
    return found


def test_districts_are_told_together_and_each_by_itself(spools: dict[str, Spool]):
    told = state(spools)
    assert (told["alive"], told["connected"], told["rate"]) == (True, True, 5.0)
    assert (told["ledger"]["received"], told["ledger"]["spooled"], told["ledger"]["balance"]) == (4, 4, 0)
    assert list(told["districts"]) == ["hewan", "nanshan"]  # one that has never run here is no district of this page
    assert told["districts"]["nanshan"]["ledger"]["received"] == 2


def test_one_district_that_is_ill_is_enough(spools: dict[str, Spool]):
    spools["nanshan"].beat(msgspec.structs.replace(beat("nanshan"), connected=False))
    told = state(spools)
    assert (told["alive"], told["connected"], told["broker"]) == (True, False, "mqtt://nanshan:1883")
    assert told["districts"]["nanshan"]["ill"] == "no connection to the broker"
    old = datetime.now(UTC) - timedelta(minutes=5)
    spools["nanshan"].beat(msgspec.structs.replace(beat("nanshan"), beat=old))
    told = state(spools)
    assert told["alive"] is False
    assert told["beat_age_s"] > 299


def test_what_one_district_misses_is_not_made_good_by_another(spools: dict[str, Spool]):
    spools["hewan"].commit(Group(received=3))
    spools["nanshan"].stored(1, 5, 0)  # three more than came in
    assert state(spools)["ledger"]["balance"] == 6


def test_what_only_the_audit_found_is_told(spools: dict[str, Spool]):
    spools["hewan"].beat(msgspec.structs.replace(beat("hewan"), unaccounted=4))
    assert state(spools)["ledger"]["balance"] == 4


def test_without_any_beat_nothing_is_claimed(tmp_path: Path):
    told = ingest_state(Heartbeats({"new": tmp_path / "spool.sqlite"}).look())
    assert (told["alive"], told["beat_age_s"], told["ledger"], told["districts"]) == (False, None, None, {})
