"""The network in arrays: what is kept, what is left out, how it stands, and that threads do not disturb each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.twin.network.networks import Drawn, chain, drawn, unhurried
from twin import norms
from twin.asset import LinkKind, NodeKind
from twin.errors import UnknownError
from twin.network import trace
from twin.network.graph import LINK_KINDS, NODE_KINDS, Network
from twin.network.ids import Ids
from twin.network.isolation import isolate


@unhurried
@given(drawn())
def test_every_link_is_at_both_its_ends(drawn_: Drawn) -> None:
    network = drawn_.network()
    around: dict[str, list[tuple[str, str]]] = {row[0]: [] for row in drawn_.nodes}
    for link, start, end, *_ in drawn_.links:
        around[start].append((link, end))
        around[end].append((link, start))
    for at, node in enumerate(network.nodes):
        span = slice(network.indptr[at], network.indptr[at + 1])
        there = zip(network.links[network.edge[span]], network.nodes[network.neighbour[span]], strict=True)
        assert sorted(there) == sorted(around[node])
        assert all(network.start[network.edge[network.indptr[at] : network.turn[at]]] == at)
        assert all(network.end[network.edge[network.turn[at] : network.indptr[at + 1]]] == at)


@unhurried
@given(drawn())
def test_kinds_and_lengths_are_the_tables_own(drawn_: Drawn) -> None:
    network = drawn_.network()
    assert [NODE_KINDS[code] for code in network.node_kind] == [NodeKind(row[1]) for row in drawn_.nodes]
    assert [LINK_KINDS[code] for code in network.link_kind] == [LinkKind(row[3]) for row in drawn_.links]
    assert network.length_m.tolist() == [row[5] for row in drawn_.links]
    assert network.source.tolist() == [row[1] == "reservoir" for row in drawn_.nodes]


def test_link_without_two_nodes_is_left_out_and_said() -> None:
    nodes, links = chain("pipe", "pipe").tables()
    links.loc[1, "end"] = None
    network = Network.of(nodes, links)
    assert list(network.links) == ["l0"]
    assert network.left_out == {"l1"}
    with pytest.raises(UnknownError, match="does not join two nodes"):
        network.link_index("l1")


@pytest.mark.parametrize("status", sorted(norms.status().values()))
def test_pipe_out_of_use_carries_nothing_though_nobody_closed_it(status: str) -> None:
    nodes, links = chain("pipe", "pipe", "pipe").tables()
    links.loc[1, "status"] = status
    network = Network.of(nodes, links)
    reached = {network.nodes[at] for at in trace.connected(network, "n0").nodes.tolist()}
    out_of_use = status in ("废弃", "空管")  # of annex C's states the two without anything in the pipe
    assert reached == ({"n0", "n1"} if out_of_use else {"n0", "n1", "n2", "n3"})


def test_length_that_is_not_stated_is_the_drawn_one() -> None:
    nodes, links = chain("pipe").tables()
    links["length_m"] = np.nan
    assert Network.of(nodes, links).length_m.tolist() == [1.0]  # LineString((0, 0), (1, 0))


def test_empty_city_is_an_empty_network() -> None:
    nodes, links = chain("pipe").tables()
    network = Network.of(nodes[:0], links[:0])
    assert len(network.nodes) == len(network.links) == 0
    with pytest.raises(UnknownError):
        network.node_index("n0")


@unhurried
@given(st.lists(st.text(max_size=12), unique=True), st.lists(st.text(max_size=12)))
def test_ids_are_found_where_they_stand(ids: list[str], others: list[str]) -> None:
    table = Ids.of(pd.Series(ids, dtype="str"))
    where = {name: at for at, name in enumerate(ids)}
    assert list(table) == ids
    assert [table.find(name) for name in ids + others] == [where.get(name, -1) for name in ids + others]
    found = table.find_all(pd.Series([*ids, *others], dtype="str"))
    assert found.tolist() == [where.get(name, -1) for name in ids + others]
    assert table[np.arange(len(ids))].tolist() == ids


def test_threads_ask_at_once_and_each_gets_its_own_answer() -> None:
    network = chain(*(["pipe", "pipe", "valve"] * 60)).network()
    alone = [(len(trace.upstream(network, f"n{i}").links), len(isolate(network, f"n{i}").links)) for i in range(181)]

    def ask(i: int) -> tuple[int, int]:
        return len(trace.upstream(network, f"n{i}").links), len(isolate(network, f"n{i}").links)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, list(range(181)) * 5)) == alone * 5
