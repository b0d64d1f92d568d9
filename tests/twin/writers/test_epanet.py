"""EPANET files out: the reader finds again what went in, and the engine computes the same heads and flows."""

from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shapely import LineString, Point

from sensors.hydraulics.epanet import Epanet, LinkProperty, NodeProperty
from tests.twin.writers.same import differences
from twin.asset import Link, LinkKind, Node, NodeKind, System
from twin.errors import ChengmaiError
from twin.model import Decision, Model, Placement, ReadRequest
from twin.readers.epanet import EpanetReader
from twin.writers import epanet

PLACED = Placement(Decision.PLACED, "given", "EPSG:4549", accuracy_m=0.0)


def read(path):
    return EpanetReader().read(path, ReadRequest("n.inp"))


def again(model, folder):
    path = folder / "again.inp"
    path.write_bytes(epanet.write(model).data)
    return read(path), path


def heads_and_flows(path, model, hours, folder):
    """Return every node's head and link's flow at each moment of the first hours, in the file's units."""
    rows = []
    with closing(Epanet()) as engine:
        engine.open(path, folder / "r.rpt", folder / "r.bin")
        nodes = [engine.node_index(node.name) for node in model.nodes]
        links = [engine.link_index(link.name) for link in model.links]
        engine.begin()
        while engine.solve() <= hours * 3600:
            rows.append(
                [
                    *(engine.node(index, NodeProperty.HEAD) for index in nodes),
                    *(engine.link(index, LinkProperty.FLOW) for index in links),
                ]
            )
            if engine.next() == 0:
                break
    return np.array(rows)


@pytest.mark.data
def test_every_real_network_comes_back_as_it_was(data, tmp_path):
    compared = 0
    for path in sorted((data / "networks" / "water").rglob("*.inp")):
        try:
            model = read(path)
        except ChengmaiError:
            continue  # the broken ones, which other tests are about
        back, written = again(model, tmp_path)
        assert differences(model.nodes, back.nodes) == [], path.name
        assert differences(model.links, back.links) == [], path.name
        assert epanet.write(back).data == written.read_bytes(), path.name
        compared += 1
    assert compared >= 12


@pytest.mark.data
@pytest.mark.parametrize(("name", "hours"), [("Net1", 24), ("Net3", 24), ("L-TOWN", 3), ("CTOWN", 12), ("ky4", 6)])
def test_the_engine_computes_the_same_from_the_written_file(data, tmp_path, name, hours):
    path = data / "networks" / "water" / f"{name}.inp"
    model = read(path)
    _, written = again(model, tmp_path)
    before, after = (heads_and_flows(file, model, hours, tmp_path) for file in (path, written))
    assert before.shape == after.shape
    # The solver stops when flows change by less than a thousandth (ACCURACY), so equal input is compared closer.
    assert np.allclose(before, after, rtol=1e-5, atol=1e-4)


def test_the_districts_own_network_runs_from_the_city_as_from_its_file(named, district, tmp_path):
    model = named["water.inp"]
    _, written = again(model, tmp_path)
    before, after = (heads_and_flows(file, model, 2, tmp_path) for file in (district / "water.inp", written))
    assert np.allclose(before, after, rtol=1e-5, atol=1e-4)


def test_a_network_brought_to_other_coordinates_leaves_drawn_text_of_the_old_ones_out(tmp_path):
    path = tmp_path / "n.inp"
    path.write_text('[JUNCTIONS]\na 1\n[LABELS]\n1 2 "here"\n[COORDINATES]\na 1 2\n[OPTIONS]\nUNITS LPS\n')
    model = read(path)
    assert b"here" in epanet.write(model).data
    moved = epanet.write(replace(model, placement=replace(PLACED, accuracy_m=1.0)))
    assert b"here" not in moved.data
    assert moved.notes[-1].startswith("[LABELS] left out")


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=40)


@st.composite
def networks(draw):
    """Draw a network of another source: any names, some levels and sizes missing, parallel links."""
    names = draw(st.lists(NAMES, min_size=2, max_size=6))
    level = st.none() | st.floats(-50, 500).map(lambda value: round(value, 3))
    kinds = st.sampled_from([NodeKind.JUNCTION, NodeKind.HYDRANT, NodeKind.VALVE, NodeKind.RESERVOIR, NodeKind.TANK])
    nodes = [
        Node(f"n:node:{n}", name, System.WATER, draw(kinds), Point(500_000 + n * 10, 3_000_000), invert_m=draw(level))
        for n, name in enumerate(names)
    ]
    links = []
    for n in range(draw(st.integers(1, 8))):
        start, end = draw(st.permutations(nodes))[:2]
        size = draw(st.none() | st.sampled_from([0.1, 0.3, 1.2]))
        kind = draw(st.sampled_from([LinkKind.PIPE, LinkKind.SERVICE, LinkKind.PUMP, LinkKind.VALVE]))
        line = LineString([start.point, (start.point.x + 3, 3_000_005), end.point])
        links.append(Link(f"n:link:{n}", draw(NAMES), System.WATER, kind, line, start.id, end.id, diameter_m=size))
    return Model("n", "gis", PLACED, nodes=nodes, links=links)


@given(networks())
def test_a_network_of_any_source_becomes_a_file_with_the_same_graph(tmp_path_factory, model):
    back, _ = again(model, tmp_path_factory.mktemp("n"))
    assert max(len(asset.name.encode()) for asset in (*back.nodes, *back.links)) <= 31
    at = {node.id: (node.point.x, node.point.y) for node in model.nodes}
    back_at = {node.id: (node.point.x, node.point.y) for node in back.nodes}
    assert sorted((link.kind, at[link.start], at[link.end]) for link in model.links) == sorted(
        (link.kind, back_at[link.start], back_at[link.end]) for link in back.links
    )
    joined = {end for link in model.links for end in (link.start, link.end)}
    levels = {at[node.id]: (node.kind, node.invert_m or 0.0) for node in model.nodes if node.id in joined}
    assert levels == {
        back_at[node.id]: (node.kind, node.invert_m if node.invert_m is not None else node.properties["head_m"])
        for node in back.nodes
    }
    lengths = sorted(link.line.length for link in model.links if link.kind in (LinkKind.PIPE, LinkKind.SERVICE))
    assert np.allclose(lengths, sorted(link.length_m for link in back.links if link.length_m is not None))


def test_long_names_that_are_alike_are_told_apart_within_what_the_engine_takes(tmp_path):
    nodes = [
        Node(f"n:node:{n}", "河湾路与望江路交叉口东北角", System.WATER, NodeKind.JUNCTION, Point(n, 0), invert_m=1.0)
        for n in range(12)
    ]
    links = [
        Link(f"n:link:{n}", "", System.WATER, LinkKind.PIPE, LineString([(n, 0), (n + 1, 0)]), a.id, b.id)
        for n, (a, b) in enumerate(pairwise(nodes))
    ]
    back, _ = again(Model("n", "gis", PLACED, nodes=nodes, links=links), tmp_path)
    assert len({node.name for node in back.nodes}) == 12
    assert max(len(node.name.encode()) for node in back.nodes) <= 31
    assert len(back.links) == 11


def test_what_was_taken_as_a_default_or_left_out_is_said():
    nodes = [Node(f"n:node:{n}", n, System.WATER, NodeKind.JUNCTION, Point(x, 0)) for x, n in enumerate("abc")]
    line = LineString([(0, 0), (1, 0)])
    links = [
        Link("n:link:1", "1", System.WATER, LinkKind.PIPE, line, "n:node:a", "n:node:b"),
        Link("n:link:2", "2", System.WATER, LinkKind.PIPE, line),
        Link("n:link:3", "3", System.WATER, LinkKind.WEIR, line, "n:node:a", "n:node:b"),
    ]
    written = epanet.write(Model("n", "gis", PLACED, nodes=nodes, links=links))
    assert written.counts == {"nodes": 2, "links": 1}
    assert [note.split(":")[0] for note in written.notes] == [
        "2 links left out",
        "1 nodes left out",
        "no reservoir or tank",
        "2 nodes without a level",
        "1 diameters taken as 0.1 m",
        "1 roughnesses taken as 130 (Hazen-Williams)",
    ]


@pytest.mark.parametrize("status", ["废弃", "空管", "Abandoned", "关闭", "closed"])
def test_what_is_shut_or_out_of_use_is_closed_in_the_engine(tmp_path, status):
    nodes = [
        Node(f"n:node:{n}", n, System.WATER, kind, Point(x, 0), invert_m=5.0)
        for x, (n, kind) in enumerate((("a", NodeKind.RESERVOIR), ("b", NodeKind.JUNCTION)))
    ]
    line = LineString([(0, 0), (1, 0)])
    links = [
        Link(f"n:link:{kind}", kind.value, System.WATER, kind, line, nodes[0].id, nodes[1].id, status=status)
        for kind in (LinkKind.PIPE, LinkKind.VALVE, LinkKind.PUMP)
    ]
    back, _ = again(Model("n", "survey", PLACED, nodes=nodes, links=links), tmp_path)
    assert {link.name: link.status for link in back.links} == dict.fromkeys(("pipe", "valve", "pump"), "closed")


def test_closed_valve_at_a_node_which_the_engine_cannot_have_is_told():
    kinds = NodeKind.RESERVOIR, NodeKind.VALVE
    nodes = [
        Node(f"n:node:{kind}", kind.value, System.WATER, kind, Point(x, 0), invert_m=5.0, status="closed")
        for x, kind in enumerate(kinds)
    ]
    link = Link("n:link:1", "1", System.WATER, LinkKind.PIPE, LineString([(0, 0), (1, 0)]), nodes[0].id, nodes[1].id)
    written = epanet.write(Model("n", "gis", PLACED, nodes=nodes, links=[link]))
    assert [note for note in written.notes if "closed" in note] == [
        "1 closed valves at nodes: EPANET has valves as links only, so water passes them in the file"
    ]


def test_a_network_of_another_source_runs_in_the_engine(tmp_path):
    nodes = [
        Node("n:node:a", "源", System.WATER, NodeKind.RESERVOIR, Point(0, 0), ground_m=50.0),
        Node("n:node:b", "b 1", System.WATER, NodeKind.JUNCTION, Point(100, 0), invert_m=5.0),
    ]
    link = Link("n:link:1", "1", System.WATER, LinkKind.PIPE, LineString([(0, 0), (100, 0)]), nodes[0].id, nodes[1].id)
    back, path = again(Model("n", "gis", PLACED, nodes=nodes, links=[link]), tmp_path)
    assert heads_and_flows(path, back, 0, tmp_path)[0].tolist() == pytest.approx([50.0, 50.0, 0.0], abs=1e-3)
