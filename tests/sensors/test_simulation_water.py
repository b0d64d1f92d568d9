from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sensors.simulation.water import WaterModel, smooth
from twin.errors import InputError, UnknownError

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = datetime(2026, 3, 1, 0, 0, tzinfo=UTC)  # eight in the morning there

NETWORK = """
[JUNCTIONS]
 A  10  0
 B  10  5  DAY
 C  10  5  DAY
[RESERVOIRS]
 R  50
[PIPES]
 P1  R  A  500  300  120  0  OPEN
 P2  A  B  300  200  110  0  OPEN
 P3  B  C  300  150  110  0  OPEN
[PATTERNS]
 DAY  0.5 0.5 0.5 0.5 0.5 0.5 1.5 1.5 1.5 1.5 1.5 1.5
 DAY  1.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0
[TIMES]
 DURATION 24:00
 HYDRAULIC TIMESTEP 1:00
 PATTERN TIMESTEP 1:00
[OPTIONS]
 UNITS LPS
 HEADLOSS H-W
 EMITTER EXPONENT 0.5
[END]
"""


@pytest.fixture
def inp(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.inp"
    path.write_text(NETWORK)
    return path


def model(inp: Path, start: datetime = START, seed: int = 1) -> WaterModel:
    return WaterModel(inp, start, SHANGHAI, np.random.default_rng(seed))


def test_demand_follows_the_local_time_of_day(inp: Path):
    with model(inp) as morning, model(inp, START + timedelta(hours=18)) as night:
        assert morning.outflow("C") == pytest.approx(7.5e-3, rel=0.15)
        assert night.outflow("C") == pytest.approx(2.5e-3, rel=0.15)


def test_demand_does_not_jump_on_the_hour(inp: Path):
    with model(inp, START - timedelta(hours=3)) as water:
        flows: list[float] = []
        for minutes in range(0, 180, 5):
            water.advance(water.start + timedelta(minutes=minutes))
            flows.append(water.flow("P1"))
        assert np.abs(np.diff(flows)).max() < 0.25 * (max(flows) - min(flows))


def test_a_burst_lowers_the_pressure_beside_it_and_mass_is_conserved(inp: Path):
    with model(inp) as water:
        water.advance(START + timedelta(minutes=5))
        before = water.pressure("C")
        water.burst("C", 1e-3)
        water.advance(START + timedelta(minutes=10))
        head = water.pressure("C") / 9806.65
        assert water.pressure("C") < before - 20e3
        assert water.balance() == pytest.approx(0.0, abs=1e-5)
        hole = water.outflow("C") - 7.5e-3
        assert hole == pytest.approx(0.6 * 1e-3 * (2 * 9.80665 * head) ** 0.5, abs=1.5e-3)
        water.burst("C", 0.0)
        water.advance(START + timedelta(minutes=15))
        assert water.pressure("C") == pytest.approx(before, abs=5e3)
        assert water.outflow("C") == pytest.approx(7.5e-3, rel=0.15)


def test_one_seed_gives_one_course(inp: Path):
    courses: list[list[float]] = []
    for _ in range(2):
        with model(inp) as water:
            courses.append([])
            for minutes in range(0, 60, 5):
                water.advance(START + timedelta(minutes=minutes))
                courses[-1].append(water.pressure("C"))
    assert courses[0] == courses[1]


def test_time_does_not_go_back(inp: Path):
    with model(inp) as water:
        water.advance(START + timedelta(minutes=5))
        water.advance(START)
        assert water.time == START + timedelta(minutes=5)


def test_a_file_that_epanet_refuses_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "bad.inp").write_text("[JUNCTIONS]\n A ten\n[END]\n")
    with pytest.raises(InputError, match=r"bad\.inp"):
        model(tmp_path / "bad.inp")


def test_closing_twice_is_no_error(inp: Path):
    with model(inp) as water:
        water.close()


def test_an_unknown_node_is_named(inp: Path):
    with model(inp) as water, pytest.raises(UnknownError, match="'Z'"):
        water.pressure("Z")


def test_smoothing_keeps_the_mean():
    stairs = np.array([0.2, 1.8, 1.0, 1.4, 0.6])
    assert smooth(stairs, 3600, 300).mean() == pytest.approx(stairs.mean())


def test_flow_units_are_wntrs():
    from wntr.epanet.util import FlowUnits

    from sensors.hydraulics.epanet import _FLOW_M3S

    names = ("CFS", "GPM", "MGD", "IMGD", "AFD", "LPS", "LPM", "MLD", "CMH", "CMD")
    assert pytest.approx([FlowUnits[name].factor for name in names], rel=1e-5) == _FLOW_M3S
