from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sensors.simulation.drainage import DrainageModel, dry_day
from twin.errors import BusyError, InputError, UnknownError

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)

NETWORK = """
[OPTIONS]
FLOW_UNITS LPS
FLOW_ROUTING DYNWAVE
START_DATE 06/01/2026
END_DATE 06/02/2026
ROUTING_STEP 0:00:10
[JUNCTIONS]
A 10.0 3 0 0 0
B 9.8 3 0 0 0
C 9.6 3 0 0 0
[OUTFALLS]
O 9.4 FREE NO
[CONDUITS]
AB A B 40 0.014 0 0 0 0
BC B C 40 0.014 0 0 0 0
CO C O 40 0.014 0 0 0 0
[XSECTIONS]
AB CIRCULAR 0.3 0 0 0 1
BC CIRCULAR 0.3 0 0 0 1
CO CIRCULAR 0.3 0 0 0 1
[DWF]
A FLOW 10 "DAY"
[PATTERNS]
DAY HOURLY 0.5 0.5 0.5 0.5 0.5 0.5
DAY 1.5 1.5 1.5 1.5 1.5 1.5
DAY 1.0 1.0 1.0 1.0 1.0 1.0
DAY 1.0 1.0 1.0 1.0 1.0 1.0
"""


@pytest.fixture
def inp(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.inp"
    path.write_text(NETWORK)
    return path


@pytest.fixture
def drains(inp: Path) -> Iterator[DrainageModel]:
    with DrainageModel(inp, START, SHANGHAI) as model:
        model.advance(START + timedelta(hours=1))
        yield model


def test_sewage_follows_the_local_time_of_day(drains: DrainageModel):
    assert drains.flow("CO") == pytest.approx(15e-3, rel=0.02)


def test_a_blockage_raises_the_level_above_it_and_lowers_the_flow_below(drains: DrainageModel):
    level, flow = drains.level("B"), drains.flow("CO")
    drains.block("BC", 1e-4)
    drains.advance(drains.time + timedelta(minutes=10))
    assert drains.level("B") > level + 0.3
    assert drains.flow("BC") < 0.1 * flow
    assert drains.flow("CO") < 0.5 * flow
    drains.clear("BC")
    drains.advance(drains.time + timedelta(minutes=30))
    assert drains.level("B") == pytest.approx(level, abs=0.01)
    assert drains.flow("CO") == pytest.approx(flow, rel=0.05)


def test_a_blockage_passes_what_the_orifice_equation_says(drains: DrainageModel):
    drains.block("BC", 1e-3)
    drains.advance(drains.time + timedelta(minutes=10))
    assert drains.flow("BC") == pytest.approx(0.6 * 1e-3 * (2 * 9.80665 * drains.level("B")) ** 0.5, rel=0.03)


def test_a_blockage_that_builds_up_holds_its_level(drains: DrainageModel):
    drains.dam("BC", 0.25)
    drains.advance(drains.time + timedelta(minutes=30))
    assert drains.level("B") == pytest.approx(0.25, abs=0.02)
    assert drains.flow("BC") == pytest.approx(15e-3, rel=0.1)


def test_a_run_from_a_kept_state_goes_on_where_the_dry_day_was(inp: Path, tmp_path: Path):
    day = dry_day(inp, date(2026, 3, 2), SHANGHAI, tmp_path / "kept")
    local = datetime(2026, 3, 2, 9, 0, tzinfo=SHANGHAI)
    with DrainageModel(inp, local.astimezone(UTC), SHANGHAI, day.hot_start(9)) as model:
        assert model.level("B") == pytest.approx(day.level("B", local), abs=1e-4)
        model.advance(model.time + timedelta(minutes=30))
        assert model.flow("CO") == pytest.approx(day.flow_of("CO", local + timedelta(minutes=30)), rel=0.02)


def test_the_dry_day_is_run_once_a_network(inp: Path, tmp_path: Path):
    first = dry_day(inp, date(2026, 3, 2), SHANGHAI, tmp_path / "kept")
    written = (first.folder / "day.npz").stat().st_mtime_ns
    again = dry_day(inp, date(2026, 3, 3), SHANGHAI, tmp_path / "kept")
    assert (again.folder / "day.npz").stat().st_mtime_ns == written
    inp.write_text(NETWORK.replace("A FLOW 10", "A FLOW 12"))
    assert dry_day(inp, date(2026, 3, 3), SHANGHAI, tmp_path / "kept").folder != first.folder


def test_a_second_run_in_the_process_is_refused(drains: DrainageModel, inp: Path):
    with pytest.raises(BusyError):
        DrainageModel(inp, START, SHANGHAI)


def test_a_file_that_swmm_refuses_leaves_room_for_the_next(tmp_path: Path, inp: Path):
    (tmp_path / "bad.inp").write_text("no network\n")
    with pytest.raises(InputError, match=r"bad\.inp"):
        DrainageModel(tmp_path / "bad.inp", START, SHANGHAI)
    DrainageModel(inp, START, SHANGHAI).close()


def test_an_unknown_conduit_is_named(drains: DrainageModel):
    with pytest.raises(UnknownError, match="'Z'"):
        drains.block("Z", 0.0)
