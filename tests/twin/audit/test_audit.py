"""The audit: the measured table of real sets, and each check on networks small enough to count by hand."""

import csv
import json
import sqlite3
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import networkx as nx
import numpy as np
import pyogrio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import LineString, Point
from typer.testing import CliRunner

from dashboards.cli import app
from twin.asset import AssetId, Link, LinkKind, Node, NodeKind, System
from twin.audit.audit import Audit, audit
from twin.audit.findings import Check, Finding, Severity, write_csv, write_layer
from twin.audit.join import Join
from twin.audit.networks import city_networks, file_network
from twin.audit.subject import tables
from twin.city import City
from twin.errors import InputError, UnknownError
from twin.model import Decision, Model, Placement, ReadRequest
from twin.readers.gis import GisReader

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MEASURED = {
    "gis/RutlandCity_lines.geojson": (0.05, 0.5, (466, 953, 589, 2055, 596, 444)),
    "gis/kh_ng_pipelines_twd97.geojson": (0.01, 0.5, (572, 1147, 475, 302, 0, 0)),
    "water/ky4_pipes.geojson": (0.01, 3.0, (1, 258, 2, 41, 0, 21)),
    "water/ky4_disconnected_pipes.geojson": (0.01, 3.0, (1156, 2312, 190, 107, 47, 0)),
}
"""Measured with other software on the same files: the cell of the grid, near (ky4's map is in feet: 3 of those), and
the counts of the checks below."""
COUNTED = (
    Check.COMPONENTS,
    Check.DANGLING,
    Check.NEAR_NO_NODE,
    Check.CROSSINGS_NO_NODE,
    Check.NEAR_DUPLICATE_NODES,
    Check.DUPLICATE_EDGES,
)


opened = cache(file_network)
"""Each real file is read once."""


def node(name: str, x: float, y: float, **fields) -> Node:
    fields = {"kind": NodeKind.JUNCTION, "system": System.WATER} | fields
    return Node(AssetId(f"f:node:{name}"), fields.pop("label", name), point=Point(x, y), **fields)


def link(name: str, *xy: tuple[float, ...], ends: tuple[str | None, str | None] = (None, None), **fields) -> Link:
    start, end = (None if end is None else AssetId(f"f:node:{end}") for end in ends)
    fields = {"kind": LinkKind.PIPE, "system": System.WATER, "diameter_m": 0.1, "material": "PE"} | fields
    return Link(AssetId(f"f:link:{name}"), name, line=LineString(xy), start=start, end=end, **fields)


def audited(*assets: Node | Link, **options) -> Audit:
    nodes = [asset for asset in assets if isinstance(asset, Node)]
    links = [asset for asset in assets if isinstance(asset, Link)]
    return audit(*tables(nodes, links), **options)


def of(found: Audit, check: Check) -> list[Finding]:
    return [finding for finding in found.findings if finding.code is check]


@pytest.mark.parametrize("name", MEASURED)
def test_real_sets_give_the_measured_figures(data: Path, name: str) -> None:
    tolerance, near, figures = MEASURED[name]
    network = opened(data / "networks" / name)
    found = audit(network.nodes, network.links, tolerance=tolerance, near=near, unit_m=network.unit_m)
    assert tuple(found.counts[check] for check in COUNTED) == figures


def test_points_on_the_ends_change_none_of_the_measured_figures(data: Path) -> None:
    lines = opened(data / "networks/gis/RutlandCity_lines.geojson")
    points = GisReader().read(data / "networks/gis/RutlandCity_points.geojson", ReadRequest("points", lines.crs))
    found = audit(tables(points.nodes, [])[0], lines.links, tolerance=0.05)
    assert tuple(found.counts[check] for check in COUNTED) == MEASURED["gis/RutlandCity_lines.geojson"][2]


def test_true_clusters_of_the_sewers_are_fewer_than_cells(data: Path) -> None:
    network = opened(data / "networks/gis/RutlandCity_lines.geojson")
    found = audit(network.nodes, network.links, tolerance=0.05, join=Join.CLUSTER)
    assert (found.counts[Check.COMPONENTS], found.counts[Check.DANGLING]) == (448, 894)


def test_every_count_is_its_rows(data: Path) -> None:
    network = opened(data / "networks/water/ky4_disconnected_pipes.geojson")
    found = audit(network.nodes, network.links, near=3.0, unit_m=network.unit_m)
    assert {check: len(of(found, check)) for check in Check} == dict(found.counts)


def test_degrees_are_audited_in_metres_and_feet_in_feet(data: Path) -> None:
    sewers = opened(data / "networks/gis/RutlandCity_lines.geojson")
    assert (sewers.crs, sewers.unit) == ("EPSG:32618", "metre")  # longitude 73° W: zone 18
    mains = opened(data / "networks/water/ky4_pipes.geojson")
    assert (mains.crs, mains.unit) == ("EPSG:3547", "US survey foot")
    assert mains.unit_m == pytest.approx(1200 / 3937)  # the definition of that foot


def test_a_grid_parts_neighbours_that_a_cluster_joins() -> None:
    pipes = link("a", (0, 0), (10.0049, 0)), link("b", (10.0051, 0), (20, 0))
    assert audited(*pipes, tolerance=0.01).counts[Check.COMPONENTS] == 2
    assert audited(*pipes, tolerance=0.01, join=Join.CLUSTER).counts[Check.COMPONENTS] == 1


def test_systems_never_meet() -> None:
    found = audited(
        link("a", (0, 0), (10, 0)),
        link("b", (10, 0), (10, 9), system=System.GAS),
        link("c", (5, -5), (5, 5), system=System.HEAT),
    )
    assert found.counts[Check.COMPONENTS] == 3
    assert found.counts[Check.CROSSINGS_NO_NODE] == found.counts[Check.NEAR_NO_NODE] == 0


def test_an_end_beside_a_pipe_is_named_with_the_pipe_and_its_distance() -> None:
    found = audited(link("main", (0, 0), (100, 0)), link("branch", (50, 0.3), (50, 20)))
    (row,) = of(found, Check.NEAR_NO_NODE)
    assert (row.asset, row.other) == ("f:link:branch", "f:link:main")
    assert row.value == pytest.approx(0.3)
    assert (row.easting, row.northing) == pytest.approx((50, 0.3), abs=0.01)


def test_pipes_that_cross_high_above_each_other_are_good_to_know_only() -> None:
    level = {"start_level_m": 5.0, "end_level_m": 5.0}
    low = {"start_level_m": 2.0, "end_level_m": 2.0}
    (row,) = of(
        audited(link("a", (0, 0), (10, 0), **level), link("b", (5, -5), (5, 5), **low)), Check.CROSSINGS_NO_NODE
    )
    assert (row.severity, row.value, row.easting, row.northing) == ("info", 3.0, 5.0, 0.0)
    (row,) = of(
        audited(link("a", (0, 0), (10, 0), **level), link("b", (5, -5), (5, 5), **level)), Check.CROSSINGS_NO_NODE
    )
    assert row.severity == "warning"


def test_names_join_what_lies_apart_and_an_unknown_name_is_missing() -> None:
    found = audited(
        node("A", 0, 0),
        node("B", 10, 0),
        link("a", (1, 0), (9, 0), ends=("A", "B")),
        link("b", (9, 1), (20, 0), ends=("B", "gone")),
    )
    assert found.counts[Check.COMPONENTS] == 1
    (row,) = of(found, Check.MISSING_POINT)
    assert row.asset == "f:link:b"
    assert "gone" in row.sentence


def test_a_table_that_names_points_nobody_has_says_so_for_each_end() -> None:
    found = audited(link("a", (0, 0), (9, 0), properties={"from": "WS1", "to": "WS2"}))
    assert [row.sentence.split()[1] for row in of(found, Check.MISSING_POINT)] == ["start", "end"]


def test_a_pipe_drawn_twice_is_double_whichever_way_round() -> None:
    found = audited(link("a", (0, 0), (9, 0)), link("b", (9, 0), (0, 0)), link("c", (0, 0), (5, 30), (9, 0)))
    rows = of(found, Check.DUPLICATE_EDGES)
    assert [(row.asset, row.other, row.severity) for row in rows] == [
        ("f:link:b", "f:link:a", "warning"),
        ("f:link:c", "f:link:a", "info"),  # another way between the same nodes
    ]
    assert "other way" in rows[0].sentence


def test_lengths_and_slopes_outside_what_surveys_allow() -> None:
    found = audited(
        link("short", (0, 0), (0.04, 0)),
        link("fits", (10, 0), (85, 0)),
        link("long", (10, 9), (85.1, 9)),
        link("steep", (0, 20), (10, 20), start_level_m=5.0, end_level_m=3.2),  # atan(0.18) = 10.2°
        link("slopes", (0, 30), (10, 30), start_level_m=5.0, end_level_m=3.3),  # atan(0.17) = 9.6°
        link("loop", (0, 40), (5, 40), (5, 45), (0, 40)),
        link("none", (3, 50), (3, 50)),
    )
    named = {check: [row.asset[7:] for row in of(found, check)] for check in Check}
    assert named[Check.SHORT_SEGMENT] == ["short"]
    assert named[Check.LONG_SEGMENT] == ["long"]
    assert named[Check.STEEP_SEGMENT] == ["steep"]
    assert named[Check.ZERO_LENGTH] == ["none"]
    assert named[Check.START_IS_END] == ["loop", "none"]


def test_only_drains_have_a_slope_to_reverse() -> None:
    rising = {"start_level_m": 3.0, "end_level_m": 3.2}
    found = audited(
        link("drain", (0, 0), (9, 0), system=System.DRAINAGE, kind=LinkKind.CONDUIT, **rising),
        link("main", (0, 9), (9, 9), **rising),
    )
    (row,) = of(found, Check.REVERSED_SLOPE)
    assert (row.asset, row.value) == ("f:link:drain", pytest.approx(0.2))


def test_sizes_and_materials_are_asked_of_pipes_only() -> None:
    found = audited(
        link("p", (0, 0), (9, 0), diameter_m=None, material=None),
        link("q", (0, 5), (9, 5), diameter_m=0.0, material=""),
        link("v", (0, 9), (9, 9), kind=LinkKind.VALVE, diameter_m=None, material=None),
    )
    assert (found.counts[Check.MISSING_DIAMETER], found.counts[Check.MISSING_MATERIAL]) == (2, 2)


def test_levels_that_contradict_each_other() -> None:
    drain = {"system": System.DRAINAGE, "kind": NodeKind.MANHOLE}
    found = audited(
        node("sunk", 0, 0, ground_m=4.0, invert_m=5.0, **drain),
        node("ok", 20, 0, ground_m=8.0, invert_m=4.0, depth_m=4.5, **drain),
        node("shallow", 40, 0, ground_m=8.0, invert_m=4.0, depth_m=3.0, **drain),
        link("low", (0, 0), (20, 0), ends=("sunk", "ok"), system=System.DRAINAGE, start_level_m=4.5, end_level_m=3.9),
        link(
            "deep",
            (20, 0),
            (40, 0),
            ends=("ok", "shallow"),
            system=System.DRAINAGE,
            start_level_m=4,
            end_level_m=4,
            depth_m=2.0,
        ),
    )
    named = {check: [row.asset.rpartition(":")[2] for row in of(found, check)] for check in Check}
    assert named[Check.GROUND_BELOW_INVERT] == ["sunk"]
    assert named[Check.LEVEL_ABOVE_GROUND] == ["low"]
    assert named[Check.END_BELOW_NODE_INVERT] == ["low", "low"]  # 4.5 under 5, and 3.9 under 4
    assert named[Check.COVER_DISAGREES] == ["shallow", "deep"]  # 3 m deep with a pipe at 4 m; 8 - 4 is not 2


@pytest.mark.parametrize(("diameter_m", "count"), [(0.3, 0), (0.06, 1), (None, 1)])
def test_depth_of_a_point_under_pressure_may_be_that_of_its_crown(diameter_m: float | None, count: int) -> None:
    found = audited(
        node("A", 0, 0, ground_m=8.0, invert_m=6.9, depth_m=1.0),  # the axis 1.1 m deep
        link("a", (0, 0), (9, 0), ends=("A", None), diameter_m=diameter_m),
    )
    assert [row.severity for row in of(found, Check.COVER_DISAGREES)] == [Severity.INFO] * count


def test_pipes_under_pressure_meet_in_one_depth_and_drains_may_drop() -> None:
    def meeting(system: System) -> Audit:
        return audited(
            node("A", 10, 0, system=system),
            link("a", (0, 0), (10, 0), ends=(None, "A"), system=system, start_level_m=2.0, end_level_m=2.0),
            link("b", (10, 0), (20, 0), ends=("A", None), system=system, start_level_m=2.3, end_level_m=2.3),
        )

    (row,) = of(meeting(System.GAS), Check.DEPTHS_DIFFER)
    assert (row.asset, row.value) == ("f:node:A", pytest.approx(0.3))
    assert meeting(System.DRAINAGE).counts[Check.DEPTHS_DIFFER] == 0


def test_depths_of_a_survey_agree_by_crown_or_by_axis() -> None:
    def meeting(depth_m: float, diameter_m: float) -> int:
        sizes = {"a": (1.0, 0.3), "b": (depth_m, diameter_m)}
        pipes = [
            link(name, (10, 0), (x, 0), ends=("T", None), diameter_m=size, properties={"start_depth_m": depth})
            for x, (name, (depth, size)) in enumerate(sizes.items())
        ]
        return audited(node("T", 10, 0), *pipes).counts[Check.DEPTHS_DIFFER]

    assert meeting(1.0, 0.1) == 0  # crowns in one depth
    assert meeting(1.1, 0.1) == 0  # axes in one depth: 1.0 + 0.3 / 2
    assert meeting(1.05, 0.1) == 1


def test_depth_at_one_end_that_is_not_what_lies_over_the_pipe_is_found() -> None:
    ends = node("A", 0, 0, ground_m=8.0), node("B", 9, 0, ground_m=8.0)
    level = {"start_level_m": 6.0, "end_level_m": 6.0, "diameter_m": 0.1}
    told = {"start_depth_m": 2.0, "end_depth_m": 1.8}
    (row,) = of(
        audited(*ends, link("a", (0, 0), (9, 0), ends=("A", "B"), properties=told, **level)), Check.COVER_DISAGREES
    )
    assert row.value == pytest.approx(-0.2)


def test_points_that_are_there_twice() -> None:
    found = audited(
        node("WS1", 0, 0, ground_m=5.0),
        node("WS1#2", 5, 0, label="WS1", ground_m=5.0),
        node("WS3", 0, 0.0002, ground_m=5.0),
        node("WS4", 0, 0, ground_m=4.0),
        node("n5", 9, 0, label="Main Street"),
        node("n6", 9, 5, label="Main Street"),
        link("a", (0, 0), (9, 0)),
    )
    assert [(row.asset, row.other) for row in of(found, Check.DUPLICATE_POINT_NUMBER)] == [
        ("f:node:WS1#2", "f:node:WS1")
    ]
    assert [(row.asset, row.other) for row in of(found, Check.DUPLICATE_XYZ)] == [("f:node:WS3", "f:node:WS1")]


def test_a_point_is_a_feature_or_an_appurtenance_and_a_tee_has_three_pipes() -> None:
    found = audited(
        node("T1", 10, 0, feature="三通"),
        node("T2", 20, 0, feature="三通", properties={"appurtenance": "阀门"}),
        link("a", (0, 0), (10, 0), ends=(None, "T1")),
        link("b", (10, 0), (20, 0), ends=("T1", "T2")),
        link("c", (10, 0), (10, 9), ends=("T1", None)),
    )
    (row,) = of(found, Check.FEATURE_AND_APPURTENANCE)
    assert row.asset == "f:node:T2"
    (row,) = of(found, Check.DEGREE_AGAINST_FEATURE)
    assert (row.asset, row.value) == ("f:node:T2", 1.0)


def test_groups_without_a_source_and_systems_of_which_none_is_known() -> None:
    found = audited(
        node("R", 0, 0, kind=NodeKind.RESERVOIR),
        link("fed", (0, 0), (10, 0), ends=("R", None)),
        link("dry", (0, 9), (10, 9)),
        link("drain", (0, 20), (9, 20), system=System.DRAINAGE),
        node("post", 30, 0),
    )
    assert [(row.asset, row.severity) for row in of(found, Check.ISOLATED)] == [
        ("f:link:dry", "warning"),
        ("f:link:drain", "info"),
    ]
    (row,) = of(found, Check.UNLINKED_NODES)
    assert (row.asset, row.value) == ("f:node:post", 20.0)


def test_a_hydrant_ends_its_pipe_rightly() -> None:
    found = audited(node("H", 0, 0, kind=NodeKind.HYDRANT), link("a", (0, 0), (10, 0), ends=("H", None)))
    assert [(row.asset, row.severity) for row in of(found, Check.DANGLING)] == [
        ("f:node:H", "info"),
        ("f:link:a", "warning"),
    ]


def test_links_that_are_drawn_nowhere_are_audited_by_their_names() -> None:
    undrawn = Link(
        AssetId("f:link:u"), "u", System.WATER, LinkKind.PIPE, LineString(), AssetId("f:node:A"), AssetId("f:node:B")
    )
    found = audited(node("A", 0, 0), node("B", 9, 0), undrawn)
    assert (found.counts[Check.COMPONENTS], found.counts[Check.DANGLING]) == (1, 2)
    assert of(found, Check.COMPONENTS)[0].easting is None


PLACES = st.tuples(st.integers(0, 12), st.integers(0, 12))


@settings(max_examples=30, deadline=None)  # a busy machine is slow
@given(st.lists(st.tuples(PLACES, PLACES), max_size=25))
def test_groups_dangling_ends_and_doubles_are_those_of_networkx(segments: list) -> None:
    found = audited(*(link(str(n), *pair) for n, pair in enumerate(segments)))
    graph = nx.MultiGraph()
    graph.add_edges_from(segments)
    assert found.counts[Check.COMPONENTS] == nx.number_connected_components(graph)
    assert found.counts[Check.DANGLING] == sum(degree == 1 for _, degree in graph.degree())
    assert found.counts[Check.DUPLICATE_EDGES] == graph.number_of_edges() - nx.Graph(graph).number_of_edges()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(PLACES, PLACES), min_size=1, max_size=20), st.sampled_from([0.5, 1.0, 1.5]))
def test_near_ends_are_those_that_a_plain_loop_finds(segments: list, near: float) -> None:
    lines = {n: LineString(pair) for n, pair in enumerate(segments)}
    ends = [place for pair in segments for place in pair]
    expected = sum(
        ends.count(place) == 1
        and any(place not in segments[n] and line.distance(Point(place)) <= near for n, line in lines.items())
        for place in set(ends)
    )
    found = audited(*(link(str(n), *pair) for n, pair in enumerate(segments)), near=near)
    assert found.counts[Check.NEAR_NO_NODE] == expected


def test_findings_are_a_layer_that_gdal_reads_and_a_table_that_csv_reads(tmp_path: Path) -> None:
    found = audited(
        link("a", (500_000, 3_500_000), (500_010, 3_500_000), diameter_m=None), node("B", 0, 0, feature="三通")
    )
    layer, table = tmp_path / "findings.gpkg", tmp_path / "findings.csv"
    write_layer(found.findings, layer, "EPSG:4549", AT)
    write_layer(found.findings, layer, "EPSG:4549", AT)  # written again in its own place
    write_csv(found.findings, table)
    frame = pyogrio.read_dataframe(layer)
    assert frame.crs.to_epsg() == 4549
    assert frame["code"].tolist() == [row.code.value for row in found.findings]
    seen = np.column_stack([frame.geometry.x, frame.geometry.y]).tolist()
    assert seen == [[row.easting, row.northing] for row in found.findings]
    with table.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["sentence"] for row in rows] == [row.sentence for row in found.findings]


def test_a_city_is_never_overwritten_by_findings(tmp_path: Path) -> None:
    City.create(tmp_path / "city.gpkg", "EPSG:4549").close()
    with pytest.raises(InputError, match="E_EXISTS"):
        write_layer([], tmp_path / "city.gpkg", None, AT)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        write_layer([], tmp_path / "notes.txt", None, AT)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def put(city: City, source: str, decision: Decision, *assets: Node | Link) -> None:
    crs = "EPSG:4549" if decision is Decision.PLACED else None
    nodes = [asset for asset in assets if isinstance(asset, Node)]
    links = [asset for asset in assets if isinstance(asset, Link)]
    city.replace(Model(source, "gis", Placement(decision, "test", crs), nodes=nodes, links=links), AT)


def test_a_city_is_audited_as_one_and_what_is_not_placed_by_itself(tmp_path: Path) -> None:
    with City.create(tmp_path / "city.gpkg", "EPSG:4549") as city:
        put(city, "points", Decision.PLACED, node("A", 0, 0), node("B", 10, 0))
        put(city, "mains", Decision.PLACED, link("a", (0, 0), (10, 0), ends=("A", "B"), diameter_m=None))
        put(city, "plan", Decision.UNPLACED, link("z", (0, 0), (1, 0)))
        together = city_networks(city)
        assert [(found.name, len(found.nodes), len(found.links)) for found in together] == [
            ("city.gpkg", 2, 1),
            ("plan", 0, 1),
        ]
        found = audit(together[0].nodes, together[0].links)
        assert (found.counts[Check.UNLINKED_NODES], found.counts[Check.MISSING_DIAMETER]) == (0, 1)
        (mains,) = city_networks(city, "mains")
        assert len(mains.nodes) == 2  # of the other source, where its links end
        with pytest.raises(UnknownError, match="mains"):
            city_networks(city, "mians")
        with pytest.raises(InputError, match="E_EMPTY"):
            city_networks(city, "points")


def run(*words: str | Path):
    return CliRunner().invoke(app, ["audit", *map(str, words)], catch_exceptions=False)


def test_the_command_gives_one_line_of_json_a_file_and_rows_if_asked(data: Path, tmp_path: Path) -> None:
    pipes = data / "networks/water/ky4_pipes.geojson"
    outcome = run(pipes, data / "networks/water/Net3.inp", "--near", "3", "--json", "--csv", tmp_path / "f.csv")
    first, second = map(json.loads, outcome.stdout.splitlines())
    assert outcome.exit_code == 0
    assert (first["components"], first["dangling"], first["crossings_no_node"]) == (1, 258, 41)
    assert set(map(str, Check)) <= set(second)
    counted = sum(line[check] for line in (first, second) for check in map(str, Check))
    assert len((tmp_path / "f.csv").read_text("utf-8-sig").splitlines()) == 1 + counted
    (line,) = run(pipes, "--json", "--rows").stdout.splitlines()
    assert {"code", "severity", "asset", "sentence"} <= set(json.loads(line)["findings"][0])


def test_a_file_that_cannot_be_audited_stops_no_other(data: Path, tmp_path: Path) -> None:
    outcome = run(tmp_path / "none.geojson", data / "networks/water/Net1.inp", data / "ifc/arch_fzk_haus_4.ifc")
    assert outcome.exit_code == 1
    assert "Net1.inp  13 links" in outcome.stdout
    assert "E_MISSING" in outcome.stderr
    assert "building model" in outcome.stderr


def test_the_audit_leaves_the_city_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "city.gpkg"
    with City.create(path, "EPSG:4549") as city:
        put(city, "mains", Decision.PLACED, link("a", (0, 0), (10, 0)))
    before = sqlite3.connect(path).execute("SELECT * FROM links").fetchall()
    outcome = run("--city", path, "--layer", tmp_path / "f.gpkg")
    assert outcome.exit_code == 0
    assert "city.gpkg  1 links, 2 nodes  EPSG:4549" in outcome.stdout
    assert sqlite3.connect(path).execute("SELECT * FROM links").fetchall() == before
    assert len(pyogrio.read_dataframe(tmp_path / "f.gpkg")) > 0
