"""Repair: what is joined, moved, cut and merged, how far, and that nothing else is."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, Point

from twin.asset import AssetId, Basis, Link, LinkKind, Node, NodeKind, System
from twin.audit.audit import audit
from twin.audit.findings import Check
from twin.audit.subject import tables
from twin.model import Decision, Model, Placement, ReadRequest, RepairAction
from twin.network.repair import repaired
from twin.readers.gis import GisReader

TOLERANCE_M = 0.05


def node(name: str, x: float, y: float, **fields) -> Node:
    fields = {"kind": NodeKind.VALVE, "system": System.WATER} | fields
    return Node(AssetId(f"f:node:{name}"), name, point=Point(x, y), **fields)


def link(name: str, *xy: tuple[float, ...], ends: tuple[str | None, str | None] = (None, None), **fields) -> Link:
    start, end = (None if end is None else AssetId(f"f:node:{end}") for end in ends)
    fields = {"kind": LinkKind.PIPE, "system": System.WATER} | fields
    return Link(AssetId(f"f:link:{name}"), name, line=LineString(xy), start=start, end=end, **fields)


def model(*assets: Node | Link) -> Model:
    nodes = [asset for asset in assets if isinstance(asset, Node)]
    links = [asset for asset in assets if isinstance(asset, Link)]
    return Model("f", "gis", Placement(Decision.PLACED, "test", "EPSG:4549"), nodes=nodes, links=links)


def mended(*assets: Node | Link, others: tuple[Node, ...] = (), tolerance_m: float = TOLERANCE_M) -> Model:
    return repaired(model(*assets), tolerance_m=tolerance_m, others=others)


def rows(found: Model, action: RepairAction) -> list:
    return [row for row in found.repairs if row.action is action]


def test_an_end_on_a_node_is_joined_and_nothing_moves() -> None:
    found = mended(node("V", 10, 0), link("a", (0, 0), (10, 0)))
    (pipe,) = found.links
    assert (pipe.end, pipe.basis) == ("f:node:V", Basis.INFERRED)
    assert pipe.line.equals(LineString([(0, 0), (10, 0)]))
    (row,) = rows(found, RepairAction.JOIN)
    assert (row.asset, row.other, row.moved_m, row.easting, row.northing) == ("f:link:a", "f:node:V", 0.0, 10.0, 0.0)


def test_an_end_beside_a_node_is_moved_onto_it_and_the_log_says_how_far() -> None:
    found = mended(node("V", 10, 0.04), link("a", (0, 0), (5, 0), (10, 0)))
    (pipe,) = found.links
    assert (pipe.end, pipe.basis) == ("f:node:V", Basis.REPAIRED)
    assert list(pipe.line.coords) == [(0, 0), (5, 0), (10, 0.04)]
    (row,) = rows(found, RepairAction.SNAP)
    assert (row.other, row.moved_m, row.tolerance_m) == ("f:node:V", pytest.approx(0.04), TOLERANCE_M)


def test_an_end_farther_than_the_tolerance_gets_a_node_of_its_own() -> None:
    found = mended(node("V", 10, 0.06), link("a", (0, 0), (10, 0)))
    assert not rows(found, RepairAction.SNAP)
    assert {made.id for made in found.nodes} == {"f:node:V", "f:node:at-0.000-0.000", "f:node:at-10.000-0.000"}


def test_ends_that_meet_get_one_node_called_after_its_place() -> None:
    found = mended(
        link("a", (0, 0), (10, 0), end_level_m=3.0, service="storm"),
        link("b", (10, 0), (20, 0), start_level_m=2.5, service="storm"),
        link("c", (10.03, 0), (10, 9), service="storm"),
    )
    a, b, c = found.links
    assert a.end == b.start == c.start == "f:node:at-10.000-0.000"
    made = next(node for node in found.nodes if node.id == a.end)
    assert (made.kind, made.basis, made.invert_m, made.service) == (NodeKind.JUNCTION, Basis.INFERRED, 2.5, "storm")
    assert (a.basis, c.basis) == (Basis.INFERRED, Basis.REPAIRED)
    assert c.line.coords[0] == (10, 0)  # where two ends coincide stays
    assert Counter(row.action for row in found.repairs) == {RepairAction.NODE: 4, RepairAction.SNAP: 1}


def test_a_pipe_is_cut_where_another_ones_end_meets_it() -> None:
    found = mended(
        link(
            "main", (0, 0, 1), (60, 0, 1), (100, 0, 5),
            start_level_m=5.0, end_level_m=3.0, length_m=110.0, diameter_m=0.3, properties={"note": "x"},
        ),
        link("branch", (25, 0.03, 1), (25, 20, 1)),
    )  # fmt: skip
    one, two, branch = found.links
    assert (one.id, two.id) == ("f:link:main/1", "f:link:main/2")
    assert one.end == two.start == branch.start
    assert (one.start_level_m, one.end_level_m, two.start_level_m, two.end_level_m) == (5.0, 4.5, 4.5, 3.0)
    assert (one.length_m, two.length_m) == pytest.approx((27.5, 82.5))  # shares 25 and 75 of 100
    assert (one.diameter_m, two.diameter_m) == (0.3, 0.3)
    assert two.properties == {"note": "x", "part_of": "f:link:main"}
    assert list(one.line.coords) == [(0, 0, 1), (25, 0.03, 1)]
    assert list(two.line.coords) == [(25, 0.03, 1), (60, 0, 1), (100, 0, 5)]
    assert one.basis is two.basis is Basis.REPAIRED
    (row,) = rows(found, RepairAction.SPLIT)
    assert (row.asset, row.other, row.moved_m) == ("f:link:main", branch.start, pytest.approx(0.03))


def test_a_valve_drawn_on_a_pipe_cuts_it() -> None:
    found = mended(node("V", 50, 0), link("main", (0, 0), (100, 0)))
    assert [(part.start, part.end) for part in found.links] == [
        ("f:node:at-0.000-0.000", "f:node:V"),
        ("f:node:V", "f:node:at-100.000-0.000"),
    ]


def test_a_pipe_is_cut_at_each_of_several_ends_in_their_order() -> None:
    found = mended(
        link("main", (0, 0), (100, 0)), *(link(f"b{x}", (x, 0), (x, 9)) for x in (70, 20, 50)), tolerance_m=0.0
    )
    parts = [part for part in found.links if part.properties.get("part_of")]
    assert [(part.line.coords[0][0], part.line.coords[-1][0]) for part in parts] == [
        (0, 20),
        (20, 50),
        (50, 70),
        (70, 100),
    ]


def test_links_whose_ends_the_file_names_stay_as_they_are() -> None:
    stated = link("main", (0, 0.04), (100, 0), ends=("A", "B"))
    ends = node("A", 0, 0), node("B", 100, 0)
    found = mended(*ends, stated, link("branch", (50, 0), (50, 9)))
    assert found.links[0] == stated
    assert repaired(model(*ends, stated), tolerance_m=1.0) == model(*ends, stated)


def test_nodes_of_other_files_are_joined_to_and_never_taken_in() -> None:
    other = replace(node("V", 10, 0.02), id=AssetId("valves:node:V"))
    far = replace(node("W", 9_000, 0), id=AssetId("valves:node:W"))
    found = mended(link("a", (0, 0), (10, 0)), others=(other, far))
    assert found.links[0].end == "valves:node:V"
    assert [made.id for made in found.nodes] == ["f:node:at-0.000-0.000"]


def test_systems_are_never_joined() -> None:
    found = mended(
        link("w", (0, 0), (10, 0)), link("g", (10, 0), (10, 9), system=System.GAS), node("V", 5, 0, system=System.HEAT)
    )
    w, g = found.links
    assert w.end == "f:node:at-10.000-0.000"
    assert g.start == "f:node:at-10.000-0.000#2"


def test_nodes_that_are_one_become_one_and_what_both_knew_is_kept() -> None:
    found = mended(
        node("V1", 10, 0, year=1999, properties={"a": 1}),
        node("V2", 10.02, 0, year=2001, ground_m=5.0, properties={"a": 2, "b": 3}),
        link("a", (0, 0), (10, 0)),
        link("b", (10.02, 0), (20, 0)),
    )
    one = found.nodes[0]
    assert found.links[0].end == found.links[1].start == one.id == "f:node:V1"
    assert (one.year, one.ground_m, one.basis) == (1999, 5.0, Basis.REPAIRED)
    assert one.properties == {"a": 1, "V2.a": 2, "b": 3, "V2.year": 2001, "merged": "f:node:V2"}
    (row,) = rows(found, RepairAction.MERGE)
    assert (row.asset, row.other, row.moved_m) == ("f:node:V2", "f:node:V1", pytest.approx(0.02))


def test_a_valve_and_a_hydrant_side_by_side_stay_two() -> None:
    found = mended(node("V", 10, 0), node("H", 10.02, 0, kind=NodeKind.HYDRANT), link("a", (0, 0), (10, 0)))
    assert not rows(found, RepairAction.MERGE)
    assert len(found.nodes) == 3


def test_nodes_that_no_loose_end_reaches_are_not_merged() -> None:
    points = node("V1", 10, 0), node("V2", 10, 0)
    assert repaired(model(*points), tolerance_m=TOLERANCE_M) == model(*points)
    assert len(mended(*points, link("a", (50, 0), (60, 0))).nodes) == 4


def test_a_pipe_shorter_than_the_tolerance_keeps_its_shape() -> None:
    found = mended(link("a", (0, 0), (0.03, 0)), link("b", (0, 0), (-9, 0)))
    assert found.links[0].line.length == pytest.approx(0.03)
    assert found.links[0].start == found.links[0].end


def test_links_that_are_drawn_nowhere_are_left_alone() -> None:
    undrawn = Link(AssetId("f:link:u"), "u", System.WATER, LinkKind.PIPE, LineString())
    assert mended(undrawn).links == [undrawn]


PLACES = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda place: (place[0] * 0.3, place[1] * 0.3))
SEGMENTS = st.lists(st.tuples(PLACES, PLACES).filter(lambda pair: pair[0] != pair[1]), min_size=1, max_size=14)
POINTS = st.lists(PLACES, max_size=5)
TOLERANCES = st.sampled_from([0.0, 0.29, 0.31, 0.45])


@settings(max_examples=60, deadline=None)
@given(SEGMENTS, POINTS, TOLERANCES)
def test_whatever_is_repaired_holds_together_and_nothing_moves_too_far(
    segments: list, points: list, tolerance_m: float
) -> None:
    before = model(
        *(node(f"n{n}", *place) for n, place in enumerate(points)),
        *(link(f"l{n}", *pair) for n, pair in enumerate(segments)),
    )
    after = repaired(before, tolerance_m=tolerance_m)
    assert repaired(after, tolerance_m=tolerance_m) == after
    assert repaired(before, tolerance_m=tolerance_m) == after
    stands = {node.id: node.point for node in after.nodes}
    assert len(stands) == len(after.nodes)
    assert len({link.id for link in after.links}) == len(after.links)
    assert all(row.moved_m <= tolerance_m * (1 + 1e-9) for row in after.repairs)
    for pipe in after.links:
        assert pipe.start is not None
        assert pipe.end is not None
        reach = max(tolerance_m, 0.001) * (1 + 1e-9)
        assert stands[pipe.start].distance(Point(pipe.line.coords[0])) <= reach
        assert stands[pipe.end].distance(Point(pipe.line.coords[-1])) <= reach
    for old in before.links:
        parts = [new for new in after.links if old.id in (new.id, new.properties.get("part_of"))]
        moves = 2 + 2 * (len(parts) - 1)  # both ends, and both sides of each cut
        assert sum(part.line.length for part in parts) == pytest.approx(old.line.length, abs=moves * tolerance_m + 1e-9)
        assert parts[0].start in stands


@settings(max_examples=60, deadline=None)
@given(SEGMENTS, TOLERANCES)
def test_what_hung_together_still_does(segments: list, tolerance_m: float) -> None:
    after = repaired(model(*(link(f"l{n}", *pair) for n, pair in enumerate(segments))), tolerance_m=tolerance_m)
    drawn = nx.MultiGraph(segments)
    joined = nx.MultiGraph([(pipe.start, pipe.end) for pipe in after.links])
    group = {place: n for n, places in enumerate(nx.connected_components(joined)) for place in places}
    of_link = {str(pipe.properties.get("part_of", pipe.id)): group[pipe.start] for pipe in after.links}
    for places in nx.connected_components(drawn):
        here = {of_link[f"f:link:l{n}"] for n, (start, _) in enumerate(segments) if start in places}
        assert len(here) == 1


@pytest.mark.parametrize(
    "name",
    ["gis/RutlandCity_lines.geojson", "gis/kh_ng_pipelines_twd97.geojson", "water/ky4_disconnected_pipes.geojson"],
)
def test_real_sets_hang_together_better_and_a_second_repair_finds_nothing(data: Path, name: str) -> None:
    found = GisReader().read(data / "networks" / name, ReadRequest("f"))
    after = repaired(found, tolerance_m=TOLERANCE_M)
    assert repaired(after, tolerance_m=TOLERANCE_M) == after
    before_s, after_s = (audit(*tables(model.nodes, model.links)) for model in (found, after))
    for check in (Check.COMPONENTS, Check.DANGLING, Check.NEAR_NO_NODE, Check.CROSSINGS_NO_NODE):
        assert after_s.counts[check] < before_s.counts[check]
    metres = [sum(link.line.length for link in model.links) for model in (found, after)]
    assert metres[0] == pytest.approx(metres[1], abs=sum(2 * row.moved_m for row in after.repairs) + 1e-6)


def test_nodes_that_are_drawn_nowhere_are_joined_to_by_nothing() -> None:
    empty = replace(node("N", 0, 0), point=Point())
    found = mended(empty, link("a", (0, 0), (9, 0)), others=(replace(empty, id=AssetId("g:node:N")),))
    assert found.nodes[0] == empty
    assert found.links[0].start == "f:node:at-0.000-0.000"
