"""Survey tables: X is northing, heads of one row or two, GBK, pairs of files, codes of CJJ 61, nothing lost unsaid."""

import csv
import io
import itertools
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sample_models import survey as sample
from sample_models.pipes import Pipe
from twin import norms
from twin.asset import LinkKind, NodeKind, System
from twin.crs import to_lonlat
from twin.errors import CrsError, InputError
from twin.model import ColumnMapping, Decision, LayerColumns, ReadRequest
from twin.readers import reader_for
from twin.readers.survey.classes import named
from twin.readers.survey.reader import SurveyReader

GK = {"crs": "EPSG:4549", "city_crs": "EPSG:4549"}
POINTS = "Exp_No,X,Y,High,Feature,Subsid\nA,3350100,540100,10,,检查井\nB,3350200,540100,9.5,三通,\n"
LINES = "S_EXP,E_EXP,S_HIGH,E_HIGH,S_DEEP,E_DEEP,MATERIAL,PSIZE,FLOWDIR,EMBED,MDATE,BELONG,USTATUS\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("survey")
    sample.make_survey(made)
    return made


@pytest.fixture(scope="module")
def parts() -> dict[str, sample.Part]:
    return {part.of: part for part in sample.surveyed()}


def read(path: Path, **request):
    return SurveyReader().read(path, ReadRequest(path.name, **request))


def pair(tmp_path: Path, lines: str, points: str = POINTS, of: str = "WS", encoding: str = "utf-8", **request):
    (tmp_path / f"{of}Point.csv").write_text(points, encoding)
    (tmp_path / f"{of}Line.csv").write_text(LINES + lines, encoding)
    return read(tmp_path / f"{of}Point.csv", **{**GK, **request})


def book(tmp_path: Path, *rows, name: str = "WS") -> Path:
    made = openpyxl.Workbook()
    sheet = made.worksheets[0]
    sheet.title = name
    for row in rows:
        sheet.append(row)
    made.save(tmp_path / "book.xlsx")
    return tmp_path / "book.xlsx"


def test_the_same_seed_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    for first, second in zip(sample.make_survey(tmp_path), sorted(folder.rglob("*.*")), strict=False):
        assert first.read_bytes() == (folder / first.relative_to(tmp_path)).read_bytes()
        assert second.stat().st_size > 0


def test_workbook_brings_every_point_and_pipe_of_the_classes_that_are_systems(folder: Path, parts) -> None:
    path = folder / "survey.xlsx"
    assert reader_for(path)[0] == "survey"
    model = read(path, **GK)
    assert len(model.nodes) == sum(len(part.nodes) for part in parts.values())
    assert len(model.links) == sum(len(part.pipes) for part in parts.values())
    assert {node.system for node in model.nodes} == {System.WATER, System.DRAINAGE, System.GAS}
    assert model.account["not_taken"] == {"路灯": 5}  # three lights, two cables
    assert [issue.code for issue in model.issues] == ["E_CLASS"]
    assert all(link.start and link.end for link in model.links)


def test_x_is_the_northing(folder: Path, parts) -> None:
    model = read(folder / "survey.xlsx", **GK)
    where = {node.name: node.xy for part in parts.values() for node in part.nodes}
    assert {node.name: (node.point.x, node.point.y) for node in model.nodes} == where
    assert model.placement.decision is Decision.PLACED


def test_levels_are_the_inside_bottom_of_drains_and_the_axis_of_other_pipes(folder: Path, parts) -> None:
    model = read(folder / "survey.xlsx", **GK)
    by_ends = {(link.properties["from"], link.properties["to"]): link for link in model.links}
    for of in ("JS", "WS"):
        levels = {node.name: node.level_m for node in parts[of].nodes}
        pipe: Pipe
        for pipe in parts[of].pipes:
            link = by_ends[pipe.start, pipe.end]
            assert link.start_level_m == pytest.approx(levels[pipe.start], abs=0.001)
            assert link.end_level_m == pytest.approx(levels[pipe.end] + parts[of].drops.get(pipe.name, 0), abs=0.001)
            assert link.diameter_m == pytest.approx(pipe.diameter_mm / 1000)


def test_pipe_that_flows_from_end_to_start_is_turned(folder: Path, parts) -> None:
    model = read(folder / "csv/WSPoint.csv", **GK)
    turned = [link for link in model.links if link.properties.get("reversed")]
    assert len(turned) == len(parts["WS"].pipes) // 5  # every fifth is written against its flow
    for link in model.links:
        assert link.start_level_m >= link.end_level_m
        assert link.start.endswith(f":{link.properties['from']}")


def test_pair_of_gbk_files_says_what_the_workbook_says(folder: Path) -> None:
    workbook, csvs = read(folder / "survey.xlsx", **GK), read(folder / "csv/WSPoint.csv", **GK)
    wanted = {link.name: link for link in workbook.links if link.service == "sanitary"}
    assert {link.name for link in csvs.links} == set(wanted)
    for link in csvs.links:
        same = wanted[link.name]
        for field in ("diameter_m", "material", "year", "start_level_m", "end_level_m", "depth_m", "laying", "owner"):
            assert getattr(link, field) == getattr(same, field)
    assert {issue.code for issue in csvs.issues} == {"E_ENCODING"}


def test_lines_of_a_pair_come_in_once_and_alone_are_refused(folder: Path, tmp_path: Path) -> None:
    other = read(folder / "csv/JSLine.csv", **GK)
    assert (len(other.nodes), len(other.links)) == (0, 0)
    assert [issue.code for issue in other.issues] == ["E_PAIR"]
    (tmp_path / "JSLine.csv").write_bytes((folder / "csv/JSLine.csv").read_bytes())
    with pytest.raises(InputError, match="E_PAIR"):
        read(tmp_path / "JSLine.csv", **GK)


def test_field_book_with_two_rows_of_head_gives_the_same_drains(folder: Path, parts) -> None:
    model = read(folder / "fieldbook.xlsx", **GK)
    assert len(model.nodes) == len(parts["WS"].nodes)
    assert len(model.links) == len(parts["WS"].pipes)
    ends = {frozenset((link.properties["from"], link.properties["to"])) for link in model.links}
    assert ends == {frozenset((pipe.start, pipe.end)) for pipe in parts["WS"].pipes}
    assert all(link.start_level_m is not None and link.end_level_m is not None for link in model.links)
    assert {node.kind for node in model.nodes} == {NodeKind.MANHOLE}


def test_codes_are_spelled_out_and_kept(tmp_path: Path) -> None:
    [link] = pair(tmp_path, "A,B,8,7.5,2,2,QM,400X600,0,XTD,1998-05-01,水务,1\n").links
    assert (link.material, link.laying, link.status) == ("球墨铸铁", "小通道", "废弃")
    assert [link.properties[f"{name}_code"] for name in ("material", "laying", "status")] == ["QM", "XTD", "1"]
    assert (link.diameter_m, link.width_m, link.depth_m, link.year, link.owner) == (0.6, 0.4, 2, 1998, "水务")
    assert (link.kind, link.service) == (LinkKind.CONDUIT, "sanitary")


def test_features_and_appurtenances_by_word_or_annex_f_code(tmp_path: Path) -> None:
    tee, valve = (
        next(code.code for code in norms.codes().values() if code.name == name and code.pipe_class == "JS/JP 配水")
        for name in ("三通", "阀门")
    )
    points = POINTS.replace("三通", tee).replace("检查井", valve)
    nodes = pair(tmp_path, "A,B,8,7.5,2,2,G,DN100,,,,,\n", points, of="JS").nodes
    assert [(node.kind, node.feature) for node in nodes] == [(NodeKind.VALVE, None), (NodeKind.JUNCTION, "三通")]
    assert nodes[0].properties["appurtenance"] == "阀门"


@pytest.mark.parametrize(
    ("of", "word", "kind"),
    [
        ("JS", "消防栓", NodeKind.HYDRANT),
        ("JS", "阀门井", NodeKind.VALVE),
        ("JS", "水表", NodeKind.METER),
        ("RQ", "调压箱", NodeKind.REGULATOR),
        ("YS", "雨水箅", NodeKind.INLET),
        ("YS", "雨水篦", NodeKind.INLET),
        ("WS", "跌水井", NodeKind.MANHOLE),
        ("WS", "化粪池", NodeKind.STORAGE),
        ("YS", "排出口", NodeKind.OUTFALL),
        ("JS", "水源井", NodeKind.SOURCE),
    ],
)
def test_appurtenance_says_what_a_node_is(tmp_path: Path, of: str, word: str, kind: NodeKind) -> None:
    nodes = pair(tmp_path, "A,B,8,7.5,2,2,,DN100,,,,,\n", POINTS.replace("检查井", word), of=of).nodes
    assert nodes[0].kind is kind


def test_level_that_is_missing_is_what_lies_under_the_ground(tmp_path: Path) -> None:
    [link] = pair(tmp_path, "A,B,,,2,1.2,,DN200,,,,,\n", of="JS").links
    assert (link.start_level_m, link.end_level_m) == (pytest.approx(10 - 2 - 0.1), pytest.approx(9.5 - 1.2 - 0.1))


def test_length_and_pressure_are_kept(tmp_path: Path) -> None:
    (tmp_path / "RQPoint.csv").write_text(POINTS, "utf-8")
    (tmp_path / "RQLine.csv").write_text("S_EXP,E_EXP,管长,PRESSURE\nA,B,101.5,中压\n", "utf-8")
    [link] = read(tmp_path / "RQPoint.csv", **GK).links
    assert (link.length_m, link.properties["pressure"]) == (101.5, "中压")


def test_depth_in_a_trench_is_to_the_bottom(tmp_path: Path) -> None:
    [link] = pair(tmp_path, "A,B,8,7,,,,DN200,,GG,,,\n", of="RL").links
    assert (link.start_level_m, link.system) == (8.1, System.HEAT)


def test_pipe_to_a_point_in_no_table_is_kept_loose_and_told(tmp_path: Path) -> None:
    model = pair(tmp_path, "A,B,8,7.5,,,,,,,,,\nA,Z9,8,7,,,,,,,,,\n")
    loose = model.links[1]
    assert (loose.start is None, loose.end, loose.properties["to"]) == (False, None, "Z9")
    assert loose.line.is_empty
    assert ("E_NODE", "A-Z9") in {(issue.code, issue.guid) for issue in model.issues}


def test_point_number_used_twice_is_two_nodes_and_told(tmp_path: Path) -> None:
    model = pair(tmp_path, "A,B,8,7,,,,,,,,,\nA,B,8,7,,,,,,,,,\n", POINTS + "A,3350300,540300,8,,\n")
    assert [node.name for node in model.nodes] == ["A", "B", "A"]
    assert len({node.id for node in model.nodes}) == 3
    assert len({link.id for link in model.links}) == 2
    assert ("E_ID", "A") in {(issue.code, issue.guid) for issue in model.issues}


def test_cells_that_are_no_numbers_are_told_with_their_row(tmp_path: Path) -> None:
    model = pair(tmp_path, "A,B,high,7,,,,,,,,,\n", POINTS.replace("3350100", "three"))
    told = [issue.message for issue in model.issues if issue.code == "E_NUMBER"]
    assert told == [
        "WSPoint.csv WSPoint row 2: northing is 'three'",
        "WSLine.csv WSLine row 2: start_level_m is 'high'",
    ]
    assert model.nodes[0].point.is_empty


@pytest.mark.parametrize(
    ("crs", "said"), [(None, "zone 40"), ("EPSG:4549", "zone 40"), ("EPSG:4528", None)], ids=["none", "plain", "zoned"]
)
def test_zone_number_before_the_easting_is_understood(tmp_path: Path, crs: str | None, said: str | None) -> None:
    points = POINTS.replace("540100", "40540100")
    model = pair(tmp_path, "A,B,8,7,,,,,,,,,\n", points, crs=crs)
    assert (model.nodes[0].point.x, model.nodes[0].point.y) == pytest.approx((540_100, 3_350_100))
    assert model.placement.crs == "EPSG:4549"
    assert (said in model.account["zone"]) if said else ("zone" not in model.account)


def test_zone_numbers_of_six_degrees_give_their_meridian(tmp_path: Path) -> None:
    model = pair(tmp_path, "A,B,8,7,,,,,,,,,\n", POINTS.replace("540100", "20540100"), crs=None, city_crs=None)
    assert "central meridian 117° E" in model.account["zone"]  # 6 × 20 - 3
    longitude, _ = to_lonlat(model.placement.crs, model.nodes[0].point.x, model.nodes[0].point.y)
    assert float(longitude) == pytest.approx(117 + 40_100 / 96_250, abs=0.005)  # metres a degree at 30.3° N


def test_easting_without_the_zone_number_of_the_crs_given_gets_it(tmp_path: Path) -> None:
    model = pair(tmp_path, "A,B,8,7,,,,,,,,,\n", crs="EPSG:4528")
    assert model.nodes[0].point.x == pytest.approx(540_100)


@pytest.mark.parametrize("cell", ["1e308", "-1e308", "inf", "nan", "1e12"])
@pytest.mark.parametrize("axis", ["3350100", "540100"])
def test_coordinates_past_all_bounds_are_told_and_the_others_placed(tmp_path: Path, axis: str, cell: str) -> None:
    model = pair(
        tmp_path, "A,B,8,7,,,,,,,,,\n", POINTS.replace(f"A,{axis}", f"A,{cell}").replace(f",{axis},10", f",{cell},10")
    )
    assert [node.point.is_empty for node in model.nodes] == [True, False]
    assert "E_NUMBER" in {issue.code for issue in model.issues}


def test_zone_of_another_meridian_than_the_crs_given_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CrsError, match="zone 39"):
        pair(tmp_path, "A,B,8,7,,,,,,,,,\n", POINTS.replace("540100", "39540100"))


def test_axes_the_other_way_round_are_seen_and_told(tmp_path: Path) -> None:
    points = "Exp_No,X,Y\nA,540100,3350100\nB,540100,3350200\n"
    model = pair(tmp_path, "A,B,8,7,,,,,,,,,\n", points)
    assert (model.nodes[1].point.x, model.nodes[1].point.y) == (540_100, 3_350_200)
    assert "E_AXES" in {issue.code for issue in model.issues}


def test_without_a_crs_the_survey_is_unplaced(tmp_path: Path) -> None:
    model = pair(tmp_path, "A,B,8,7,,,,,,,,,\n", crs=None)
    assert model.placement.decision is Decision.UNPLACED
    assert (model.nodes[0].point.x, model.nodes[0].point.y) == (540_100, 3_350_100)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk"])
def test_encodings_and_delimiters_are_found(tmp_path: Path, encoding: str) -> None:
    text = (
        "物探点号\tX坐标\tY坐标\t地面高程\t附属物\nＷ1\t3350100\t540100\t10\t检查井\nW2\t3350200\t540100\t9\t检查井\n"
    )
    path = tmp_path / "污水点.csv"
    path.write_bytes(text.encode(encoding))
    model = read(path, **GK)
    assert [node.kind for node in model.nodes] == [NodeKind.MANHOLE, NodeKind.MANHOLE]
    assert model.nodes[0].service == "sanitary"


def test_lines_of_two_encodings_in_one_file_are_each_read_in_their_own(tmp_path: Path) -> None:
    path = tmp_path / "WSPoint.csv"
    head = "物探点号,X坐标,Y坐标,附属物\nW1,3350100,540100,检查井\n".encode()
    path.write_bytes(head + "W2,3350200,540100,出水口\n".encode("gbk"))
    model = read(path, **GK)
    assert [node.kind for node in model.nodes] == [NodeKind.MANHOLE, NodeKind.OUTFALL]
    assert [issue.code for issue in model.issues] == ["E_ENCODING"]


def test_field_book_gives_numbers_once_and_carries_them_down(tmp_path: Path) -> None:
    rows = [
        ("管线点预编号", "连接点号", "管径或断面", "特征", "坐标", None, "高程", None, None, "埋深(cm)"),
        (None, None, None, None, "X", "Y", "地面", "管顶", "管底", None),
        ("JS1", "JS2", "DN200", "三通", 3350100, 540100, 10, 8.2, None, 180),
        (None, "JS3", "DN100", None, None, None, None, 8.2, 8.1, 180),
        ("JS2", "JS1", "DN200", "弯头", 3350200, 540100, 10, 8.0, None, 200),
        ("JS3", "JS1", "DN300", "盖堵", 3350100, 540200, 10, 8.0, None, 200),
    ]
    model = read(book(tmp_path, *rows, name="给水"), **GK)
    assert [node.name for node in model.nodes] == ["JS1", "JS2", "JS3"]
    first, second = model.links
    assert (first.start_level_m, first.end_level_m, first.depth_m) == (pytest.approx(8.1), pytest.approx(7.9), 1.9)
    assert second.start_level_m == pytest.approx(8.15)
    assert second.diameter_m == 0.1
    assert "E_CONFLICT" in {issue.code for issue in model.issues}  # DN100 here, DN300 there


def test_mapping_says_what_columns_of_a_city_mean(tmp_path: Path) -> None:
    text = "GXDH,BEI,DONG,JSD\nA,3350100,540100,120\nB,3350200,540100,150\n"
    path = tmp_path / "points.csv"
    path.write_text(text)
    with pytest.raises(InputError, match="no table of a survey"):
        read(path)
    said = LayerColumns(
        {"id": "GXDH", "northing": "BEI", "easting": "DONG", "well_depth_m": "JSD"},
        {"class": "YS", "owner": "市政"},
        {"well_depth_m": "cm"},
    )
    model = read(path, columns=ColumnMapping(said), **GK)
    assert [node.depth_m for node in model.nodes] == [1.2, 1.5]
    assert {(node.service, node.owner) for node in model.nodes} == {("storm", "市政")}


def test_class_that_nobody_names_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("Exp_No,X,Y\n1,3350100,540100\n")
    with pytest.raises(InputError, match="E_SYSTEM"):
        read(path)
    assert read(path, system=System.GAS).nodes[0].system is System.GAS


def test_class_of_a_row_is_in_its_point_number_where_the_sheet_has_none(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("Exp_No,X,Y\nJS1,3350100,540100\nTR-2,3350100,540100\nDL3,3350100,540100\n")
    model = read(path)
    assert [(node.system, node.service) for node in model.nodes] == [(System.WATER, None), (System.GAS, "天然气")]
    assert model.account["not_taken"] == {"电力": 1}


def test_lines_find_points_of_their_own_class_first(tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    made.remove(made.worksheets[0])
    for of, east in (("JS", 540_100), ("RQ", 540_500)):
        sheet = made.create_sheet(f"{of}Point")
        for row in (("Exp_No", "X", "Y"), ("1", 3_350_100, east), ("2", 3_350_200, east)):
            sheet.append(row)
        sheet = made.create_sheet(f"{of}Line")
        for row in (("S_EXP", "E_EXP"), ("1", "2")):
            sheet.append(row)
    made.save(tmp_path / "city.xlsx")
    model = read(tmp_path / "city.xlsx", **GK)
    assert [link.line.bounds[0] for link in model.links] == [540_100, 540_500]
    assert len({asset.id for asset in (*model.nodes, *model.links)}) == 6


def test_classes_are_named_by_sheets_files_and_words() -> None:
    words = ("JSPoint", "ws_line", "污水管线", "RQ", "热力", "TX", "Sheet1", "book", "GBK")
    found = [(of.system, of.name) if (of := named(word)) else None for word in words]
    assert found == [
        (System.WATER, "给水"),
        (System.DRAINAGE, "污水"),
        (System.DRAINAGE, "污水"),
        (System.GAS, "燃气"),
        (System.HEAT, "热力"),
        (None, "通信"),
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("codes", "turned"),
    [
        (("0", "1"), {"1"}),
        (("1", "-1"), {"-1"}),
        (("1", "2"), {"2"}),
        (("+", "-"), {"-"}),
        (("正向", "逆向"), {"逆向"}),
    ],
)
def test_flow_codes_are_read_together(tmp_path: Path, codes: tuple[str, str], turned: set[str]) -> None:
    model = pair(tmp_path, "".join(f"A,B,8,7,,,,,{code},,,,\n" for code in codes))
    assert set(model.account["flows_from_end_to_start"]) == turned
    assert [link.properties["from"] for link in model.links] == ["B" if code in turned else "A" for code in codes]


def test_flow_code_nobody_knows_is_told(tmp_path: Path) -> None:
    model = pair(tmp_path, "A,B,8,7,,,,,?,,,,\n")
    assert "E_FLOW" in {issue.code for issue in model.issues}


def test_workbook_that_unpacks_to_entities_is_refused(tmp_path: Path, folder: Path) -> None:
    bomb = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><workbook>&b;</workbook>'
    out = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(folder / "survey.xlsx") as whole, zipfile.ZipFile(out, "w") as changed:
        for name in whole.namelist():
            changed.writestr(name, bomb if name == "xl/workbook.xml" else whole.read(name))
    with pytest.raises(InputError) as error:
        read(out)
    assert error.value.code in {"E_FORMAT", "E_TRUNCATED"}  # defusedxml forbids entities, lxml leaves them out


def test_csv_of_something_else_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "readings.csv"
    path.write_text("time,value\n2024-01-01,3\n")
    with pytest.raises(InputError, match="no reader knows"):
        reader_for(path)


def test_every_cut_of_a_workbook_is_refused_or_whole(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "fieldbook.xlsx").read_bytes()
    wanted = len(read(folder / "fieldbook.xlsx").links)
    path = tmp_path / "cut.xlsx"
    for end in range(0, len(whole), max(len(whole) // 40, 1)):
        path.write_bytes(whole[:end])
        try:
            assert len(read(path).links) == wanted
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_workbooks_give_a_model_or_an_input_error(folder: Path, tmp_path: Path, data) -> None:
    whole = bytearray((folder / "fieldbook.xlsx").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.xlsx"
    path.write_bytes(bytes(whole))
    try:
        read(path)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


CELL = st.one_of(
    st.sampled_from(["A", "B", "", "DN300", "1", "-1", "3350100", "540100", "nan", "1e999", "JS1"]), st.text(max_size=6)
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELL, max_size=9), max_size=6), st.binary(max_size=12), st.booleans())
def test_any_rows_and_bytes_give_a_model_or_an_input_error(tmp_path: Path, rows, tail: bytes, lines: bool) -> None:
    out = io.StringIO()
    csv.writer(out).writerows(itertools.chain([LINES.strip().split(",")] if lines else [], rows))
    (tmp_path / "WSPoint.csv").write_text(POINTS, "utf-8")
    (tmp_path / "WSLine.csv").unlink(missing_ok=True)
    name = "WSLine.csv" if lines else "WSPoint.csv"
    head = b"" if lines else POINTS.encode()
    (tmp_path / name).write_bytes(head + out.getvalue().encode("utf-8", "surrogatepass") + tail)
    try:
        model = read(tmp_path / "WSPoint.csv", **GK)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert len({asset.id for asset in (*model.nodes, *model.links)}) == len(model.nodes) + len(model.links)
