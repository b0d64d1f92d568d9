from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from sensors.simulation.drain_air import Drain, DrainAir
from sensors.simulation.gas_network import COOKING, GasNetwork, GasNode, GasPipe

START = datetime(2026, 3, 1, tzinfo=UTC)
EVENING, NIGHT = datetime(2026, 3, 1, 18, 30, tzinfo=UTC), datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def network() -> GasNetwork:
    nodes = [
        GasNode("gate", held_pa=300e3),
        GasNode("inlet"),
        GasNode("outlet", held_pa=2600.0),
        GasNode("a"),
        GasNode("b", demand_m3s=0.002),
        GasNode("c", demand_m3s=0.002),
    ]
    pipes = [
        GasPipe("main", "gate", "inlet", 0.15, 500),
        GasPipe("regulator", "inlet", "outlet", 0.1, 1, regulator=True),
        GasPipe("oa", "outlet", "a", 0.1, 200),
        GasPipe("ab", "a", "b", 0.08, 200),
        GasPipe("ac", "a", "c", 0.08, 300),
        GasPipe("bc", "b", "c", 0.05, 200),
    ]
    return GasNetwork(nodes, pipes)


def test_what_is_drawn_has_come_through_the_gate(network: GasNetwork):
    drawn = 0.004 * COOKING[18]
    for pipe in ("main", "regulator", "oa"):
        assert network.flow(pipe, EVENING) == pytest.approx(drawn, rel=0.01)
    assert network.flow("ab", EVENING) + network.flow("ac", EVENING) == pytest.approx(drawn, rel=0.01)


def test_pressure_falls_along_the_flow_and_most_when_people_cook(network: GasNetwork):
    along = [network.pressure(node, EVENING) for node in ("outlet", "a", "b", "c")]
    assert along == sorted(along, reverse=True)
    assert along[3] < network.pressure("c", NIGHT)
    assert all(2000 < pressure < 2800 for pressure in along)


def test_each_pipe_obeys_its_equation(network: GasNetwork):
    resistance = 16 * 0.03 * 0.72 * 101_325 * 200 / (3.14159265**2 * 0.1**5)
    squares = [(network.pressure(node, EVENING) + 101_325) ** 2 for node in ("outlet", "a")]
    assert squares[0] - squares[1] == pytest.approx(resistance * network.flow("oa", EVENING) ** 2, rel=0.02)


@pytest.fixture
def air() -> DrainAir:
    names = [f"M{n}" for n in range(7)]
    drains = [Drain(a, b, 0.4, 40.0) for a, b in pairwise(names)]
    return DrainAir(dict.fromkeys(names, 2.5), drains, START)


def shares(air: DrainAir) -> list[float]:
    return [air.methane(f"M{n}") for n in range(7)]


def test_air_is_clean_without_a_leak(air: DrainAir):
    air.advance(START + timedelta(hours=1))
    assert shares(air) == [0.0] * 7


def test_a_leak_reaches_a_quarter_of_the_explosive_limit_within_a_minute(air: DrainAir):
    air.leak("M3", 2e-3)
    air.advance(START + timedelta(minutes=1))
    assert air.methane("M3") > 0.25 * 0.05


def test_a_leak_spreads_downstream_more_than_upstream_and_thins_out(air: DrainAir):
    air.leak("M3", 2e-3)
    air.advance(START + timedelta(hours=1))
    found = shares(air)
    assert found[3] > found[4] > found[5] > found[6] > 0
    assert found[3] > found[2] > found[1] > 0
    assert found[4] > found[2]
    assert all(0 <= share <= 1 for share in found)


def test_what_leaks_in_leaves_in_the_end(air: DrainAir):
    air.leak("M3", 2e-3)
    air.advance(START + timedelta(hours=1))
    air.leak("M3", 0.0)
    air.advance(START + timedelta(hours=5))
    assert max(shares(air)) < 0.001 * 0.05
