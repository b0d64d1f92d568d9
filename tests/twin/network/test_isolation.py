"""Isolation and supply over random multigraphs and real networks, held against networkx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twin.network.files import epanet, of_city
from tests.twin.network.networks import Drawn, chain, drawn, unhurried
from tests.twin.network.oracle import Oracle
from twin.city import City
from twin.network import ValveState
from twin.network.graph import Network
from twin.network.isolation import Isolation, isolate, next_ring, unsupplied, unsupplied_behind


@st.composite
def asked(draw: st.DrawFn) -> tuple[Drawn, str, list[str]]:
    network = draw(drawn())
    stuck = draw(st.lists(st.sampled_from(network.valves), max_size=3)) if network.valves else []
    return network, draw(st.sampled_from(network.assets)), stuck


def ids(network: Network, nodes: np.ndarray, links: np.ndarray) -> set[str]:
    return {*network.nodes[nodes], *network.links[links]}


def to_close(network: Network, cut: Isolation) -> set[str]:
    return ids(network, cut.valve_nodes, cut.valve_links)


def held_against_networkx(drawn_: Drawn, network: Network, asset: str, stuck: list[str]) -> None:
    oracle = Oracle(drawn_)
    inside, valves, shut = oracle.isolated(asset, set(stuck))
    cut = isolate(network, asset, stuck=stuck)
    assert ids(network, cut.nodes, cut.links) == inside
    assert to_close(network, cut) == valves
    assert ids(network, cut.shut_nodes, cut.shut_links) == shut
    lost = unsupplied(network, cut)
    before, after = oracle.supplied(set(), set()), oracle.supplied(inside, valves)
    assert ids(network, lost.nodes, lost.links) == before - after


@unhurried
@given(asked())
def test_isolation_and_supply_are_those_of_networkx(given_: tuple[Drawn, str, list[str]]) -> None:
    drawn_, asset, stuck = given_
    held_against_networkx(drawn_, drawn_.network(), asset, stuck)


@unhurried
@given(asked())
def test_closing_valves_takes_supply_as_networkx_says(given_: tuple[Drawn, str, list[str]]) -> None:
    drawn_, _, closed = given_
    network, oracle = drawn_.network(), Oracle(drawn_)
    lost = unsupplied_behind(network, closed)
    assert ids(network, lost.nodes, lost.links) == oracle.supplied(set(), set()) - oracle.supplied(set(), set(closed))


@pytest.mark.parametrize("name", ["L-TOWN.inp", "CTOWN.inp", "MICROPOLIS_v1.inp"])
def test_real_networks_are_isolated_as_networkx_does(data: Path, name: str) -> None:
    drawn_ = epanet(data / "networks" / "water" / name)
    network = drawn_.network()
    for asset in np.random.default_rng(2).choice([row[0] for row in drawn_.links], 4):
        held_against_networkx(drawn_, network, asset, [])


@pytest.mark.slow
@pytest.mark.parametrize("system", ["water", "gas"])
def test_sample_district_is_isolated_as_networkx_does(sample_city: City, system: str) -> None:
    drawn_ = of_city(sample_city, system)
    network = Network.of(sample_city.table("nodes"), sample_city.table("links"))  # every system in one
    for asset in np.random.default_rng(3).choice(drawn_.assets, 6):
        held_against_networkx(drawn_, network, asset, [])


def test_next_ring_is_closed_where_a_valve_sticks() -> None:
    network = chain("pipe", "valve", "pipe", "valve", "pipe", "valve", "pipe").network()
    cut = isolate(network, "l4")
    assert to_close(network, cut) == {"l3", "l5"}
    assert to_close(network, next_ring(network, "l4", "l3")) == {"l1"}
    past = isolate(network, "l4", stuck=["l3"])
    assert to_close(network, past) == {"l1", "l5"}
    assert set(network.links[past.passed_links]) == {"l3"}
    last = isolate(network, "l4", stuck=["l3", "l1"])
    assert set(network.nodes[last.sources]) == {"n0"}  # nothing is left to close before the source


@pytest.mark.parametrize("state", [ValveState.STUCK, ValveState.INACCESSIBLE])
def test_valve_that_nobody_can_close_is_passed_over(state: ValveState) -> None:
    network = chain("valve", "pipe", "valve", "pipe").network().operated({"l2": state})
    cut = isolate(network, "l3")
    assert to_close(network, cut) == {"l0"}
    assert set(network.links[cut.passed_links]) == {"l2"}


def test_closed_valve_is_an_edge_already_and_an_opened_one_is_not() -> None:
    surveyed = chain("pipe", "valve", "pipe").network()
    closed = surveyed.operated({"l1": ValveState.CLOSED})
    cut = isolate(closed, "l2")
    assert to_close(closed, cut) == set()
    assert set(closed.links[cut.shut_links]) == {"l1"}
    assert not unsupplied(closed, cut).was_supplied
    opened = Network.of(*chain("pipe", "valve", "pipe", status="closed").tables()).operated({"l1": ValveState.OPEN})
    assert not opened.shut_link[opened.link_index("l1")]
    assert surveyed.shut_link.sum() == 0  # what was surveyed stays as it is


@pytest.mark.parametrize(("valve_type", "isolates"), [("TCV", True), ("GPV", True), ("PRV", False), ("FCV", False)])
def test_control_valves_are_not_what_crews_close(valve_type: str, isolates: bool) -> None:
    nodes, links = chain("pipe", "valve", "pipe").tables()
    links.loc[1, "properties"] = f'{{"valve_type":"{valve_type}"}}'
    network = Network.of(nodes, links)
    assert ("l1" in to_close(network, isolate(network, "l2"))) is isolates


@pytest.mark.parametrize("feature", ["排气阀", "泄水阀", "air valve"])
def test_air_and_scour_valves_do_not_isolate(feature: str) -> None:
    drawn_ = Drawn(
        [("n0", "reservoir", "open"), ("n1", "valve", "open"), ("n2", "junction", "open")],
        [("l0", "n0", "n1", "pipe", "open", 1.0), ("l1", "n1", "n2", "pipe", "open", 1.0)],
    )
    nodes, links = drawn_.tables()
    assert to_close(drawn_.network(), isolate(drawn_.network(), "l1")) == {"n1"}
    nodes.loc[1, "feature"] = feature
    network = Network.of(nodes, links)
    assert to_close(network, isolate(network, "l1")) == set()


def test_pump_lets_no_supply_back_but_isolates_nothing() -> None:
    drawn_ = chain("valve", "pipe", "pump", "pipe")
    network = drawn_.network()
    assert to_close(network, isolate(network, "l3")) == {"l0"}  # past the pump
    turned = Drawn(
        drawn_.nodes, [(n, e, s, *rest) if n == "l2" else (n, s, e, *rest) for n, s, e, *rest in drawn_.links]
    )
    lost = unsupplied_behind(turned.network(), ["l0"])
    assert "n3" not in turned.network().nodes[lost.nodes]  # the pump turned round never fed it


def test_valve_as_a_node_with_three_pipes_parts_them_all() -> None:
    nodes = [("n0", "reservoir", "open"), ("v", "valve", "open"), ("a", "junction", "open"), ("b", "junction", "open")]
    links = [(f"l{i}", "v", end, "pipe", "open", 1.0) for i, end in enumerate(("n0", "a", "b"))]
    network = Drawn(nodes, links).network()
    cut = isolate(network, "l1")
    assert ids(network, cut.nodes, cut.links) == {"l1", "a"}
    assert to_close(network, cut) == {"v"}
    lost = unsupplied(network, cut)
    assert ids(network, lost.nodes, lost.links) == {"l1", "a", "l2", "b"}
