"""What an event touches: valves to close, the next ring, what is then without supply, and who is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from twin.asset import LinkKind, NodeKind, Space, Storey, System, asset_id
from twin.buildings import Sensitive
from twin.city import City
from twin.effects.impact import Impact, impact
from twin.errors import UnknownError
from twin.network import ValveState
from twin.network.graph import Network

Make = Callable[[City], Network]
PIPE, VALVE = LinkKind.PIPE, LinkKind.VALVE


@pytest.fixture
def water(drawing, tmp_path: Path):
    """A reservoir R, a main with valves V0, V1 and V2 in a row, and three customers.

    ::

        R -P0- A -V0- B -P1- C -V1- D -P2- E -V2- F -P3- G
                      |             |      |             |
                     CB3            H     CB1           CB2
    """
    w = System.WATER
    drawing.node("R", w, NodeKind.RESERVOIR, 0, 0, 5)
    for n, name in enumerate("ABCDEFG", start=1):
        drawing.node(name, w, NodeKind.JUNCTION, 10.0 * n, 0, 5)
    drawing.node("H", w, NodeKind.HYDRANT, 40, 5, 5)
    drawing.node("CB3", w, NodeKind.CUSTOMER, 20, -5, 5, properties={"building": "B3"})
    drawing.node("CB1", w, NodeKind.CUSTOMER, 50, -5, 5, properties={"building": "B1"})
    drawing.node("CB2", w, NodeKind.CUSTOMER, 70, -5, 5, properties={"building": "B2"})
    for name, kind, start, end in (
        ("P0", PIPE, "R", "A"),
        ("V0", VALVE, "A", "B"),
        ("P1", PIPE, "B", "C"),
        ("V1", VALVE, "C", "D"),
        ("P2", PIPE, "D", "E"),
        ("V2", VALVE, "E", "F"),
        ("P3", PIPE, "F", "G"),
        ("SH", PIPE, "D", "H"),
        ("S3", LinkKind.SERVICE, "B", "CB3"),
        ("S1", LinkKind.SERVICE, "E", "CB1"),
        ("S2", LinkKind.SERVICE, "G", "CB2"),
    ):
        drawing.link(name, kind, start, end, length_m=10.0)
    drawing.building("B1", (45, -20, 55, -5), residents=40)
    drawing.building("B2", (65, -20, 75, -5), usage="school", properties={"people": 300})
    drawing.building("B3", (15, -20, 25, -5))
    modelled = drawing.building("M", (45, -20, 55, -8), model=True, title="一幢")  # 4/5 of B1
    first, second = (asset_id("model", "storey", name) for name in ("1F", "2F"))
    drawing.storeys += [Storey(first, "1F", modelled, 5.0), Storey(second, "2F", modelled, 8.0)]
    drawing.spaces += [Space(asset_id("model", "space", name), name, first) for name in ("101", "102")]
    drawing.spaces.append(Space(asset_id("model", "space", "201"), "201", second))
    with drawing.city(tmp_path / "city.gpkg") as city:
        yield city


def names(assets) -> set[str]:
    return {asset.rsplit(":", 1)[-1] for asset in assets}


def closes(answer: Impact) -> set[str]:
    return names(valve.asset for valve in answer.valves)


def test_a_burst_closes_the_valves_around_it_and_takes_what_lies_behind(water: City, network_of: Make) -> None:
    answer = impact(water, network_of(water), "net:link:P2")

    assert closes(answer) == {"V1", "V2"}
    assert names(answer.links) == {"P2", "SH", "S1"}
    assert names(answer.unsupplied_nodes) == {"D", "E", "H", "CB1", "F", "G", "CB2"}  # all behind V1: one source
    assert names(answer.hydrants) == {"H"}
    assert names(each.building for each in answer.buildings) == {"M", "B2"}


def test_the_model_stands_for_the_footprint_and_keeps_its_people(water: City, network_of: Make) -> None:
    answer = impact(water, network_of(water), "net:link:P2")

    model = next(each for each in answer.buildings if each.building == "model:building:M")
    assert (model.name, model.people, model.via, model.confidence) == ("一幢", 40, "property", 1.0)
    assert names(each.asset for each in answer.storeys) == {"1F", "2F"}
    assert names(each.asset for each in answer.spaces) == {"101", "102", "201"}
    assert answer.people == 40 + 300


def test_sensitive_buildings_are_named(water: City, network_of: Make) -> None:
    answer = impact(water, network_of(water), "net:link:P3")

    assert [(names([each.building]), each.sensitive) for each in answer.sensitive] == [({"B2"}, Sensitive.SCHOOL)]


def test_a_building_that_says_nothing_of_its_people_is_counted_apart(water: City, network_of: Make) -> None:
    answer = impact(water, network_of(water), "net:link:P1")

    assert names(each.building for each in answer.buildings) == {"B3", "M", "B2"}
    assert (answer.people, answer.unknown_people) == (340, 1)


def test_the_next_ring_is_told_for_each_valve(water: City, network_of: Make) -> None:
    answer = impact(water, network_of(water), "net:link:P2")

    rings = {ring.sticks: names(valve.asset for valve in ring.close) for ring in answer.next_ring}
    assert rings == {"net:link:V1": {"V0"}, "net:link:V2": set()}  # behind V2 there is no other source


def test_a_stuck_valve_moves_the_closure_outwards(water: City, network_of: Make) -> None:
    answer = impact(water, network_of(water), "net:link:P2", stuck=["net:link:V1"])

    assert closes(answer) == {"V0", "V2"}
    assert names(answer.passed) == {"V1"}
    assert "CB3" in names(answer.unsupplied_nodes)


def test_a_valve_that_crews_report_stuck_is_passed_without_being_asked(water: City, network_of: Make) -> None:
    water.operate("net:link:V1", ValveState.STUCK, at=water.sources()[0].loaded, by="crew 3")

    assert closes(impact(water, network_of(water), "net:link:P2")) == {"V0", "V2"}


def test_a_closed_valve_leaves_what_is_behind_it_out(water: City, network_of: Make) -> None:
    water.operate("net:link:V2", ValveState.CLOSED, at=water.sources()[0].loaded, by="crew 3")

    answer = impact(water, network_of(water), "net:link:P2")

    assert closes(answer) == {"V1"}
    assert names(valve.asset for valve in answer.keep_shut) == {"V2"}
    assert names(each.building for each in answer.buildings) == {"M"}  # B2 had no water before


def test_a_room_stands_for_the_connection_of_its_building(water: City, network_of: Make) -> None:
    answer = impact(water, network_of(water), "model:space:201")

    assert answer.network_asset == "net:node:CB1"
    assert closes(answer) == {"V1", "V2"}


def test_an_asset_of_no_network_is_refused(water: City, network_of: Make) -> None:
    with pytest.raises(UnknownError):
        impact(water, network_of(water), "net:link:P99")


def test_a_blocked_drain_touches_what_drains_there_and_where_it_goes(drawing, tmp_path: Path, network_of: Make) -> None:
    d = System.DRAINAGE
    for name, at in (("W1", (0, 0)), ("W2", (10, 0)), ("W3", (20, 0)), ("X", (10, 10))):
        drawing.node(name, d, NodeKind.MANHOLE, *at, properties={"building": f"B{name}"})
    drawing.node("O", d, NodeKind.OUTFALL, 30, 0)
    for name, start, end in (("L1", "W1", "W2"), ("L2", "W2", "W3"), ("L3", "W3", "O"), ("LX", "X", "W2")):
        drawing.link(name, LinkKind.CONDUIT, start, end)
    for n, name in enumerate(("BW1", "BW3", "BX")):
        drawing.building(name, (100.0 * n, 50, 100.0 * n + 10, 60), residents=10 + n)
    with drawing.city(tmp_path / "drains.gpkg") as city:
        answer = impact(city, network_of(city), "net:link:L2")

    assert names(answer.upstream_links) == {"L1", "LX", "L2"}
    assert names(answer.downstream_links) == {"L2", "L3"}
    assert names(answer.outfalls) == {"O"}
    assert names(each.building for each in answer.buildings) == {"BW1", "BX"}
    assert answer.people == 10 + 12
    assert not answer.valves


@pytest.mark.slow
def test_the_sample_burst_reaches_the_block_that_hangs_on_the_main(sample_city: City, network_of: Make) -> None:
    """P128 is a main of DMA1; what it feeds is worked out by taking the pipes of the closed part out of the graph."""
    import networkx as nx

    network = network_of(sample_city)
    answer = impact(sample_city, network, "water.inp:link:P128")

    links = sample_city.table("links")
    water = links[(links["system"] == "water") & (links["status"] != "closed")]  # DMAs are closed off from each other
    closed = {valve.asset for valve in answer.valves}
    graph = nx.Graph()
    graph.add_edges_from(
        (start, end)
        for asset, start, end in zip(water["asset"], water["start"], water["end"], strict=True)
        if asset not in closed
    )
    nodes = sample_city.table("nodes")
    sources = nodes.loc[nodes["kind"].isin(["reservoir", "tank"]), "asset"]
    reached = set().union(*(nx.node_connected_component(graph, source) for source in sources))
    customers = set(nodes.loc[(nodes["system"] == "water") & (nodes["kind"] == "customer"), "asset"])
    dry = {name.rsplit("-", 1)[-1] for name in customers - reached}  # C-B007 serves building B007
    assert dry
    assert names(each.node for each in answer.buildings) == {f"C-{name}" for name in dry}
    assert answer.people == sum(
        each["residents"]
        for each in sample_city.table("buildings").to_dict("records")
        if each["asset"].startswith("buildings.geojson") and each["asset"].rsplit(":", 1)[-1] in dry
    )
