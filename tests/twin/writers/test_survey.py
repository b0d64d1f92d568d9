"""Survey tables out: the survey reader finds the same network again."""

import io
from dataclasses import replace
from itertools import pairwise

import numpy as np
import openpyxl
import pytest
import shapely
from shapely import LineString, Point

from twin.asset import Link, LinkKind, Node, NodeKind, System
from twin.model import Decision, Model, Placement, ReadRequest
from twin.readers import columns
from twin.readers.survey.reader import SurveyReader
from twin.writers import survey

CRS = "EPSG:4549"
PLACED = Placement(Decision.PLACED, "given", CRS)


def read(path, source="s.xlsx"):
    return SurveyReader().read(path, ReadRequest(source, CRS, CRS))


def again(models, folder):
    path = folder / "survey.xlsx"
    with path.open("wb") as stream:
        survey.write_workbook(survey.tables(models), stream)
    return read(path)


@pytest.fixture
def surveyed(tmp_path):
    """The sample district's own survey, read."""
    from sample_models.survey import make_survey

    make_survey(tmp_path / "in")
    return read(tmp_path / "in" / "survey.xlsx")


def test_a_survey_comes_back_as_it_was_read(surveyed, tmp_path):
    back = again([surveyed], tmp_path)
    assert len(back.nodes) == len(surveyed.nodes) > 100
    by_place = {(node.system, node.service, node.name): node for node in back.nodes}
    for node in surveyed.nodes:
        found = by_place[node.system, node.service, node.name]
        assert shapely.distance(found.point, node.point) < 1e-3
        for field in ("kind", "ground_m", "invert_m", "depth_m", "feature", "year", "status", "owner"):
            one, other = getattr(node, field), getattr(found, field)
            assert one == other or one == pytest.approx(other, abs=2e-4), (node.id, field)
    named = {node.id: node.name for node in (*surveyed.nodes, *back.nodes)}
    by_ends = {
        (link.system, link.service, link.start and named[link.start], link.end and named[link.end]): link
        for link in back.links
    }
    joined = [link for link in surveyed.links if link.start and link.end]
    assert len(joined) > 100
    for link in joined:
        found = by_ends[link.system, link.service, named[link.start], named[link.end]]
        for field in ("kind", "diameter_m", "width_m", "material", "year", "laying", "status", "owner"):
            one, other = getattr(link, field), getattr(found, field)
            assert one == other or one == pytest.approx(other), (link.id, field)
        for field in ("start_level_m", "end_level_m", "depth_m"):
            one, other = getattr(link, field), getattr(found, field)
            assert (one is None and field != "depth_m" and other is None) or one == pytest.approx(other, abs=2e-4), (
                link.id,
                field,
            )


def test_x_is_the_northing(tmp_path):
    node = Node("n:node:a", "a", System.WATER, NodeKind.VALVE, Point(540_123.4567, 3_350_765.4321))
    made = survey.tables([Model("n", "gis", PLACED, nodes=[node])])
    assert made.points["JS"][0][2:4] == (3_350_765.4321, 540_123.4567)


def test_a_network_that_bends_comes_back_with_a_point_at_each_bend_and_its_levels(named, tmp_path):
    model = named["drainage.inp"]
    made = survey.tables([model])
    back = again([model], tmp_path)
    bends = sum(len(link.line.coords) - 2 for link in model.links)
    assert bends > 0
    pumps = sum(link.kind is LinkKind.PUMP for link in model.links)
    assert set(made.notes) == {
        f"{pumps} points put in for valves, pumps and regulators that are links",
        f"{bends} points put in where links bend",
    }
    assert sum(node.feature == survey.BEND for node in back.nodes) == bends
    assert len(back.nodes) == len(model.nodes) + bends + pumps
    assert len(back.links) == len(model.links) + bends + pumps
    before = shapely.union_all([shapely.force_2d(link.line) for link in model.links])
    after = shapely.union_all([shapely.force_2d(link.line) for link in back.links])
    assert shapely.hausdorff_distance(before, after) < 1e-3
    heights = {tuple(np.round(c[:2], 3)): c[2] for link in back.links for c in link.line.coords}
    for link in model.links:
        corners = list(link.line.coords)
        for x, y, z in corners[1:-1]:
            assert heights[round(x, 3), round(y, 3)] == pytest.approx(z, abs=1e-3)


@pytest.mark.parametrize("kind", [kind for kind in NodeKind if kind is not NodeKind.JUNCTION])
def test_every_kind_of_node_has_a_word_that_is_read_as_that_kind(kind):
    assert columns.node_kind(survey.APPURTENANCES[kind]) is kind


def test_a_main_is_measured_to_its_top_a_drain_and_a_pipe_in_a_trench_to_their_inside_bottom(tmp_path):
    ends = [Point(540_000, 3_350_000), Point(540_030, 3_350_000)]
    nodes, links = [], []
    cases = (("w", System.WATER, None), ("t", System.HEAT, "管沟"), ("d", System.DRAINAGE, None))
    for name, system, laying in cases:
        pair = [
            Node(f"n:node:{name}{n}", f"{name}{n}", system, NodeKind.JUNCTION, at, ground_m=8.0)
            for n, at in enumerate(ends)
        ]
        kind = LinkKind.CONDUIT if system is System.DRAINAGE else LinkKind.PIPE
        link = Link(f"n:link:{name}", name, system, kind, LineString(ends), pair[0].id, pair[1].id, diameter_m=0.4)
        links.append(replace(link, start_level_m=6.0, end_level_m=5.9, laying=laying))
        nodes += pair
    model = Model("n", "gis", PLACED, nodes=nodes, links=links)
    made = survey.tables([model])
    assert {code: rows[0][2:6] for code, rows in made.lines.items()} == {
        "JS": (1.8, 1.9, 6.2, 6.1),
        "RL": (2.2, 2.3, 5.8, 5.7),
        "PS": (2.0, 2.1, 6.0, 5.9),
    }
    back = again([model], tmp_path)
    assert [(link.start_level_m, link.end_level_m) for link in back.links] == [pytest.approx((6.0, 5.9))] * 3


def test_sections_and_codes_are_written_as_the_standard_has_them():
    line = LineString([(540_000, 3_350_000), (540_030, 3_350_000)])
    link = Link(
        "n:link:1", "1", System.DRAINAGE, LinkKind.CONDUIT, line, diameter_m=0.6, width_m=0.4, material="混凝土"
    )
    link = replace(link, laying="小通道", status="废弃", service="storm")
    made = survey.tables([Model("n", "gis", PLACED, links=[link])])
    (row,) = made.lines["YS"]
    assert dict(zip(survey.LINE_HEAD, row, strict=True)) | {
        "MATERIAL": "T",
        "PSIZE": "400X600",
        "EMBED": "XTD",
        "USTATUS": "1",
    } == dict(zip(survey.LINE_HEAD, row, strict=True))
    assert row[:2] == ("1-1", "1-2")
    assert made.notes == ["2 points put in where links have no node at an end"]


def test_valve_that_is_a_link_is_a_point_on_its_pipe_and_what_tables_cannot_say_is_told(tmp_path):
    ends = [Point(540_000, 3_350_000), Point(540_030, 3_350_000), Point(540_060, 3_350_040)]
    nodes = [Node(f"n:node:{n}", f"{n}", System.WATER, NodeKind.JUNCTION, at) for n, at in enumerate(ends)]
    lines = LineString(ends[:2]), LineString([ends[1], Point(540_060, 3_350_000), ends[2]])
    links = [
        Link("n:link:v", "v", System.WATER, LinkKind.VALVE, lines[0], nodes[0].id, nodes[1].id, status="closed"),
        Link("n:link:p", "p", System.WATER, LinkKind.PUMP, lines[1], nodes[1].id, nodes[2].id, depth_m=1.2),
    ]
    model = Model("n", "epanet", PLACED, nodes=nodes, links=links)
    back = again([model], tmp_path)
    devices = [node for node in back.nodes if node.kind is not NodeKind.JUNCTION]
    # half of 30 m; half of 30 + 40 m is 5 m past the bend
    assert [(node.kind, node.point.x, node.point.y) for node in devices] == [
        (NodeKind.VALVE, 540_015, 3_350_000),
        (NodeKind.PUMP, 540_060, 3_350_005),
    ]
    assert [(link.start, link.end) for link in back.links] == list(
        pairwise([f"s.xlsx:node:{name}" for name in ("0", "v-1", "1", "p-1", "p-2", "2")])
    )
    assert set(survey.tables([model]).notes) == {
        "1 closed valves or pipes: CJJ 61 has no such state of use",
        "2 points put in for valves, pumps and regulators that are links",
        "1 points put in where links bend",
        "6 depths that are the mean along their link",
    }


def test_levels_of_a_link_that_states_none_are_those_it_is_drawn_at(tmp_path):
    line = LineString([(540_000, 3_350_000, 6.0), (540_030, 3_350_000, 5.0), (540_030, 3_350_040, 5.8)])
    ends = (Point(540_000, 3_350_000), Point(540_030, 3_350_040))
    nodes = [Node(f"n:node:{n}", f"{n}", System.GAS, NodeKind.JUNCTION, at, ground_m=8.0) for n, at in enumerate(ends)]
    link = Link("n:link:1", "1", System.GAS, LinkKind.PIPE, line, nodes[0].id, nodes[1].id, diameter_m=0.2, depth_m=2.1)
    made = survey.tables([Model("n", "gis", PLACED, nodes=nodes, links=[link])])
    # depth and level of the crown, 0.1 m over the axis; nobody knows the ground at the bend
    assert [row[2:6] for row in made.lines["RQ"]] == [(1.9, 2.1, 6.1, 5.1), (2.1, 2.1, 5.1, 5.9)]
    assert made.notes == ["1 points put in where links bend", "2 depths that are the mean along their link"]


def test_pressure_comes_back(tmp_path):
    line = LineString([(540_000, 3_350_000), (540_030, 3_350_000)])
    link = Link("n:link:1", "1", System.GAS, LinkKind.PIPE, line, properties={"pressure": "中压A"})
    back = again([Model("n", "gis", PLACED, links=[link])], tmp_path)
    assert [link.properties["pressure"] for link in back.links] == ["中压A"]


def test_points_of_one_name_in_two_networks_get_names_of_their_own(tmp_path):
    models = []
    for n, source in enumerate(("a", "b")):
        ends = [Point(540_000, 3_350_000 + n), Point(540_030, 3_350_000 + n)]
        nodes = [Node(f"{source}:node:{k}", str(k), System.GAS, NodeKind.JUNCTION, at) for k, at in enumerate(ends)]
        link = Link(f"{source}:link:1", "1", System.GAS, LinkKind.PIPE, LineString(ends), nodes[0].id, nodes[1].id)
        models.append(Model(source, "gis", PLACED, nodes=nodes, links=[link]))
    back = again(models, tmp_path)
    assert len({node.name for node in back.nodes}) == 4
    at = {node.id: node.point for node in back.nodes}
    assert sorted(at[link.start].y for link in back.links) == [3_350_000, 3_350_001]
    assert all(at[link.start].y == at[link.end].y for link in back.links)


def test_csv_files_hold_the_same_tables(named, tmp_path):
    made = survey.tables([named["gas_nodes.geojson"], named["gas_pipes.geojson"]])
    survey.write_folder(made, tmp_path)
    from_csv = read(tmp_path / "TRPoint.csv") if (tmp_path / "TRPoint.csv").exists() else read(tmp_path / "RQPoint.csv")
    from_book = again([named["gas_nodes.geojson"], named["gas_pipes.geojson"]], tmp_path)
    assert [node.name for node in from_csv.nodes] == [node.name for node in from_book.nodes]
    assert [(link.start, link.end, link.diameter_m) for link in from_csv.links] == [
        (link.start, link.end, link.diameter_m) for link in from_book.links
    ]
    assert all(link.start and link.end for link in from_csv.links)


def test_the_same_tables_make_the_same_bytes(named):
    made = survey.tables([named["drainage.inp"]])
    books = [io.BytesIO() for _ in range(2)]
    for book in books:
        survey.write_workbook(made, book)
    assert books[0].getvalue() == books[1].getvalue()
    assert openpyxl.load_workbook(books[0]).sheetnames == [name for name, _ in made.sheets()]
    assert all(a < b for a, b in pairwise(sorted(made.points)))
