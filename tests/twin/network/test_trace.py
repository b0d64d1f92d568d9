"""Traces over random multigraphs and real networks, held against networkx."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twin.network.files import epanet, of_city, swmm
from tests.twin.network.networks import Drawn, chain, drawn, unhurried
from tests.twin.network.oracle import Oracle
from twin.city import City
from twin.errors import UnknownError
from twin.network import trace
from twin.network.graph import Network

SYSTEMS = st.sampled_from(["water", "drainage"])


@st.composite
def asked(draw: st.DrawFn) -> tuple[Drawn, str]:
    network = draw(SYSTEMS.flatmap(drawn))
    return network, draw(st.sampled_from(network.assets))


def met(network: Network, found: trace.Traced | trace.Loops) -> set[str]:
    return {*network.nodes[found.nodes], *network.links[found.links]}


@unhurried
@given(asked())
def test_connected_is_all_that_hangs_together_with_it(given_: tuple[Drawn, str]) -> None:
    drawn_, asset = given_
    network, oracle = drawn_.network(), Oracle(drawn_)
    assert met(network, trace.connected(network, asset)) | {asset} == oracle.reachable(asset, oracle.both_ways())


@unhurried
@given(asked())
def test_upstream_is_all_that_flows_to_it(given_: tuple[Drawn, str]) -> None:
    drawn_, asset = given_
    network = drawn_.network()
    assert met(network, trace.upstream(network, asset)) == Oracle(drawn_).upstream(asset)


@unhurried
@given(asked())
def test_downstream_is_all_that_flows_on_from_it(given_: tuple[Drawn, str]) -> None:
    drawn_, asset = given_
    network = drawn_.network()
    assert met(network, trace.downstream(network, asset)) == Oracle(drawn_).downstream(asset)


@unhurried
@given(asked(), st.data())
def test_path_is_a_way_of_the_shortest_length(given_: tuple[Drawn, str], data: st.DataObject) -> None:
    drawn_, asset = given_
    to = data.draw(st.sampled_from(drawn_.assets))
    network, oracle = drawn_.network(), Oracle(drawn_)
    found = trace.path(network, asset, to)
    assert found.length_m == oracle.path_length(asset, to)
    assert len(found.nodes) == len(found.links) + (found.length_m < np.inf)
    for (one, other), link in zip(pairwise(network.nodes[found.nodes]), network.links[found.links], strict=True):
        assert {one, other} == set(oracle.ends[link])
        assert link not in oracle.shut


@unhurried
@given(asked())
def test_loops_are_what_no_single_link_joins(given_: tuple[Drawn, str]) -> None:
    drawn_, asset = given_
    network, oracle = drawn_.network(), Oracle(drawn_)
    found = trace.loops(network, asset)
    assert met(network, found) == oracle.looped(asset)
    if len(found.links):
        ring = found.shortest
        assert ring.nodes[0] == ring.nodes[-1]
        assert asset in {*network.nodes[ring.nodes], *network.links[ring.links]}
        assert len(set(ring.links.tolist())) == len(ring.links)


def test_two_pipes_side_by_side_are_a_loop_and_both_are_kept() -> None:
    network = Drawn(
        [("n0", "reservoir", "open"), ("n1", "junction", "open")],
        [("l0", "n0", "n1", "pipe", "open", 10.0), ("l1", "n0", "n1", "pipe", "open", 12.0)],
    ).network()
    found = trace.loops(network, "n1")
    assert found.independent == 1
    assert found.shortest.length_m == 22.0
    assert set(network.links[trace.connected(network, "n0").links]) == {"l0", "l1"}


def test_closed_node_valve_is_reached_and_not_passed() -> None:
    nodes = [("n0", "reservoir", "open"), ("n1", "valve", "closed"), ("n2", "junction", "open")]
    links = [("l0", "n0", "n1", "pipe", "open", 1.0), ("l1", "n1", "n2", "pipe", "open", 1.0)]
    network = Drawn(nodes, links).network()
    assert met(network, trace.connected(network, "l0")) == {"n0", "l0", "n1"}
    assert met(network, trace.connected(network, "n1")) == {"n0", "l0", "n1", "l1", "n2"}  # asked itself: both sides


def test_way_to_the_source_follows_the_flow_backwards() -> None:
    network = chain("pipe", "pump", "pipe").network()
    found = trace.path_to_end(network, "n3")
    assert list(network.nodes[found.nodes]) == ["n3", "n2", "n1", "n0"]
    assert found.length_m == 30.0


def test_rests_on_counts_by_basis_and_shares_by_length() -> None:
    nodes, links = chain("pipe", "pipe", "pipe").tables()
    links["basis"] = ["stated", "inferred", "repaired"]
    links["length_m"] = [70.0, 20.0, 10.0]
    network = Network.of(nodes, links)
    assert trace.rests_on(network, np.arange(3)) == trace.RestsOn(1, 1, 1, share=0.3)
    assert trace.rests_on(network, []) == trace.RestsOn(0, 0, 0, share=0.0)


def test_unknown_asset_is_said() -> None:
    with pytest.raises(UnknownError, match="no link 'l9'"):
        trace.upstream(chain("pipe").network(), "l9")


@pytest.mark.parametrize("name", ["Net3.inp", "CTOWN.inp", "L-TOWN.inp", "ky4.inp", "Net6.inp", "MICROPOLIS_v1.inp"])
def test_real_water_networks_are_traced_as_networkx_does(data: Path, name: str) -> None:
    drawn_ = epanet(data / "networks" / "water" / name)
    network, oracle = drawn_.network(), Oracle(drawn_)
    both, flow = oracle.both_ways(), oracle.flow()
    turned = {link: {(b, a) for a, b in pairs} for link, pairs in flow.items()}
    for asset in np.random.default_rng(1).choice([row[0] for row in drawn_.nodes], 5):
        assert met(network, trace.connected(network, asset)) == oracle.reachable(asset, both)
        assert met(network, trace.upstream(network, asset)) == oracle.reachable(asset, turned)
        assert met(network, trace.downstream(network, asset)) == oracle.reachable(asset, flow)
    assert met(network, trace.loops(network, asset)) == oracle.looped(asset)


@pytest.mark.parametrize("name", ["bellinge_small.inp", "CoS-Reduced-Inlets.inp", "Example7-Final.inp"])
def test_real_sewers_are_traced_as_networkx_does(data: Path, name: str) -> None:
    drawn_ = swmm(data / "networks" / "drainage" / name)
    network, oracle = drawn_.network(), Oracle(drawn_)
    for asset in [row[0] for row in drawn_.nodes]:
        assert met(network, trace.upstream(network, asset)) == oracle.upstream(asset)
        assert met(network, trace.downstream(network, asset)) == oracle.downstream(asset)


@pytest.mark.slow
@pytest.mark.parametrize("system", ["water", "gas", "drainage"])
def test_sample_district_is_traced_as_networkx_does(sample_city: City, system: str) -> None:
    drawn_ = of_city(sample_city, system)
    oracle = Oracle(drawn_)
    network = Network.of(sample_city.table("nodes"), sample_city.table("links"))  # every system in one
    for asset in np.random.default_rng(4).choice(drawn_.assets, 8):
        assert met(network, trace.upstream(network, asset)) == oracle.upstream(asset)
        assert met(network, trace.downstream(network, asset)) == oracle.downstream(asset)
        assert met(network, trace.loops(network, asset)) == oracle.looped(asset)
