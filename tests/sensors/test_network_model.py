"""The model of a network follows its meters, tanks and pumps, and says what a leak would do."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sensors.hydraulics.epanet import PA_PER_M
from sensors.hydraulics.network_model import Measured, NetworkModel
from sensors.simulation.water import WaterModel
from twin.errors import InputError, UnknownError

NETWORK = """
[JUNCTIONS]
 A  10  0
 B  10  5  DAY
 C  10  5  DAY
 D  10  5
[RESERVOIRS]
 R  50
[TANKS]
 T  45  2  0  4  10  0
[PIPES]
 M1  R  A  500  300  120  0  OPEN
 P2  A  B  300  200  110  0  OPEN
 P3  B  C  300  150  110  0  OPEN
 P4  T  D  300  150  110  0  OPEN
[PUMPS]
 PU  C  T  HEAD 1
[CURVES]
 1  10  20
[PATTERNS]
 DAY  0.5 1.5
[TIMES]
 DURATION 24:00
 PATTERN TIMESTEP 12:00
[OPTIONS]
 UNITS LPS
 HEADLOSS H-W
[END]
"""
NOTHING = np.empty(0)
MEASURED = Measured(flows=["M1", "PU"], levels=["T"], pressures=["B", "C", "D"])


@pytest.fixture
def inp(tmp_path):
    path = tmp_path / "small.inp"
    path.write_text(NETWORK)
    return path


def test_a_part_draws_what_its_meters_let_in(inp):
    with NetworkModel(inp, MEASURED) as model:
        middle_s = 6 * 3600.0  # between the middles of its steps it is a line
        model.solve(middle_s, 300.0, np.array([0.012, 0.0]), np.array([2.0]), NOTHING)
        drawn, nominal = model.demand()
        assert nominal.sum() == pytest.approx(0.5 * 0.010 + 0.005)
        assert drawn[model.part[model.nodes.index("B")]] == pytest.approx(0.012)


def test_a_tank_that_falls_feeds_its_part(inp):
    area = np.pi / 4 * 10**2
    with NetworkModel(inp, MEASURED) as model:
        part = model.part[model.nodes.index("D")]
        for step in range(60):  # the balance of a part with a tank is averaged over an hour
            level = 3.0 - step * 300 * 0.002 / area
            model.solve(step * 300.0, 300.0, np.array([0.012, 0.0]), np.array([level]), NOTHING)
        assert model.demand()[0][part] == pytest.approx(0.002, rel=0.02)


def test_pressures_are_those_of_a_run_with_the_same_demand(inp):
    start = datetime(2026, 3, 2, tzinfo=UTC)
    zone = ZoneInfo("UTC")
    with WaterModel(inp, start, zone, np.random.default_rng(1)) as truth, NetworkModel(inp, MEASURED) as model:
        truth.advance(start + timedelta(hours=6))
        flows = np.array([truth.flow("M1"), truth.flow("PU")])
        found = model.solve(6 * 3600.0, 300.0, flows, np.array([truth.level("T")]), NOTHING)
        assert found[:2] == pytest.approx([truth.pressure("B"), truth.pressure("C")], abs=0.05 * PA_PER_M)


def test_a_pump_without_flow_stands(inp):
    with NetworkModel(inp, MEASURED) as model:
        still = model.solve(0.0, 300.0, np.array([0.01, 0.0]), np.array([2.0]), NOTHING)
        runs = model.solve(300.0, 300.0, np.array([0.02, 0.01]), np.array([2.0]), NOTHING)
    assert runs[1] < still[1]


def test_what_is_not_read_stays_as_it_was(inp):
    with NetworkModel(inp, MEASURED) as model:
        before = model.solve(0.0, 300.0, np.array([0.012, 0.0]), np.array([2.0]), NOTHING)
        after = model.solve(300.0, 300.0, np.full(2, np.nan), np.full(1, np.nan), NOTHING)
    assert after == pytest.approx(before, rel=1e-3)  # the pattern of the day goes on


def test_a_leak_lowers_pressure_most_beyond_it_and_nothing_in_other_parts(inp):
    with NetworkModel(inp, MEASURED) as model:
        effect = model.sensitivity()
        at_c, at_d = effect[model.nodes.index("C")], effect[model.nodes.index("D")]
    assert at_c[1] < 0
    assert at_c[2] == pytest.approx(0, abs=1)
    assert at_d[:2] == pytest.approx([0, 0], abs=1)


def test_a_leak_is_told_from_what_the_model_makes_of_the_meters(inp):
    """The mean of a part, weighted by demand, is what a model that is scaled to the inflow already expects."""
    with NetworkModel(inp, MEASURED) as model:
        effect = model.sensitivity()
    demand = np.array([0.0, 0.005, 0.005])  # of A, B and C
    assert demand @ effect[:3] == pytest.approx(np.zeros(3), abs=1e-6)


def test_carried_state_goes_on(inp):
    flows, levels = np.array([0.012, 0.0]), np.array([2.0])
    with NetworkModel(inp, MEASURED) as one, NetworkModel(inp, MEASURED) as other:
        one.solve(0.0, 300.0, flows, levels, NOTHING)
        other.restore({name: array.copy() for name, array in one.state().items()})
        first = one.solve(300.0, 300.0, flows, levels - 0.01, NOTHING)
        assert other.solve(300.0, 300.0, flows, levels - 0.01, NOTHING) == pytest.approx(first, abs=1.0)


def test_an_unknown_name_is_named(inp):
    with pytest.raises(UnknownError, match="'Z'"):
        NetworkModel(inp, Measured(flows=["Z"]))


def test_a_file_that_epanet_refuses_is_named(tmp_path):
    path = tmp_path / "broken.inp"
    path.write_text("[JUNCTIONS]\n A x\n[END]\n")
    with pytest.raises(InputError, match=r"broken\.inp"):
        NetworkModel(path, Measured())
