"""GIS layers: rows in = assets + rows told, columns understood by name, nothing guessed in silence."""

import json
import shutil
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from twin.asset import LinkKind, NodeKind, System, ZoneKind
from twin.errors import CrsError, InputError
from twin.model import Decision, ReadRequest
from twin.readers import columns, reader_for
from twin.readers.gis import GisReader

LINES = [shapely.LineString([(500_000 + i, 3_300_000), (500_001 + i, 3_300_000)]) for i in range(3)]


def read(path: Path, **request):
    return GisReader().read(path, ReadRequest(path.name, **request))


def layer(tmp_path: Path, name: str, rows: dict, geometry=LINES, crs: object = 4549, **options):
    frame = gpd.GeoDataFrame(rows, geometry=geometry, crs=crs)
    path = tmp_path / name
    if name.endswith(".geojson"):
        options["RFC7946"] = "NO"
    pyogrio.write_dataframe(frame, path, **options)
    return path


def test_every_real_layer_comes_in_whole_or_is_refused(data: Path) -> None:
    refused = {}
    files = [*(data / "networks").rglob("*.geojson"), *(data / "networks").rglob("*.shp")]
    assert len(files) >= 15
    for path in sorted(files):
        name, reader = reader_for(path)
        assert name == "gis"
        try:
            model = reader.read(path, ReadRequest(path.name))
        except InputError as error:
            refused[path.name] = error.code
            continue
        frame = pyogrio.read_dataframe(path)
        made = len(model.nodes) + len(model.links) + len(model.buildings) + len(model.zones)
        assert made == int(frame.geometry.notna().sum())
        assert model.account["features"] == len(frame) == made + model.account["empty"]
    unsaid = {"kh_petroleum_pipelines_wgs84.geojson", "roads_v1.shp", "valves_v0.shp"}
    assert refused == dict.fromkeys(unsaid, "E_SYSTEM")


def test_real_sewers_are_placed_and_understood(data: Path) -> None:
    model = read(data / "networks/gis/RutlandCity_points.geojson")
    assert model.placement.crs == "EPSG:32618"
    assert {node.system for node in model.nodes} == {System.DRAINAGE}
    assert {node.kind for node in model.nodes} == {NodeKind.INLET, NodeKind.MANHOLE, NodeKind.OUTFALL}
    assert {node.service for node in model.nodes} == {"combined", "sanitary"}
    assert model.nodes[0].properties["OBJECTID"] == 2902


def test_chinese_survey_columns_are_understood(tmp_path: Path) -> None:
    rows = {
        "管线编号": ["a", "b", "c"],
        "管径": ["DN300", "400X600", "200"],
        "材质": ["球墨铸铁", "砼", None],
        "建设年代": ["1998", "2004-05-01", ""],
        "埋深": [1.2, None, 0.8],
        "权属单位": ["水务", "水务", "水务"],
        "备注一": ["a", "b", "c"],
    }
    model = read(layer(tmp_path, "给水管线.geojson", rows))
    first, second, third = model.links
    assert (first.id, first.system, first.kind) == ("给水管线.geojson:link:a", System.WATER, LinkKind.PIPE)
    assert (first.diameter_m, second.diameter_m, third.diameter_m) == (0.3, 0.6, 0.2)
    assert second.width_m == 0.4
    assert (first.material, third.material) == ("球墨铸铁", None)
    assert [link.year for link in model.links] == [1998, 2004, None]
    assert (first.depth_m, first.owner) == (1.2, "水务")
    [told] = model.account["layers"]
    assert told["understood"] == {
        "管径": "diameter_mm",
        "材质": "material",
        "建设年代": "year",
        "埋深": "depth_m",
        "权属单位": "owner",
    }
    assert told["not_understood"] == ["备注一"]


@pytest.mark.parametrize(
    ("values", "metres"),
    [
        ([0.1524, 0.3], [0.1524, 0.3]),
        ([100, 300], [0.1, 0.3]),
        (["DN80", "DN100"], [0.08, 0.1]),
        ([4, 12], None),
        ([0.75, 1.25, 2], None),  # inches of gas services
        ([16, 24, 36], None),  # inches of trunk mains
    ],
)
def test_diameter_without_a_unit_is_taken_only_where_it_is_plain(values: list, metres: list | None) -> None:
    sizes = columns.sizes(pd.Series(values), "")
    if metres is None:
        assert sizes.doubt
        assert not (sizes.height > 0).any()
    else:
        assert sizes.height.tolist() == pytest.approx(metres)


@given(st.integers(15, 4000))
def test_dn_is_millimetres(size: int) -> None:
    assert columns.sizes(pd.Series([f"DN{size}"]), "").height[0] == pytest.approx(size / 1000)


def test_ends_are_joined_only_where_the_file_names_its_nodes(tmp_path: Path) -> None:
    path = tmp_path / "gas.gpkg"
    points = [shapely.Point(500_000 + i, 3_300_000) for i in range(3)]
    layer(
        tmp_path, "gas.gpkg", {"id": ["A", "B", "C"], "kind": ["regulator", "valve", "well"]}, points, layer="gas_nodes"
    )
    rows = {"id": ["1", "2", "3"], "from": ["A", "B", "X"], "to": ["B", "C", None]}
    layer(tmp_path, "gas.gpkg", rows, layer="gas_pipes", append=True)
    model = read(path)
    assert [node.kind for node in model.nodes] == [NodeKind.REGULATOR, NodeKind.VALVE, NodeKind.JUNCTION]
    assert [(link.start, link.end) for link in model.links] == [
        ("gas.gpkg:node:A", "gas.gpkg:node:B"),
        ("gas.gpkg:node:B", "gas.gpkg:node:C"),
        (None, None),
    ]
    assert model.links[2].properties["from"] == "X"


def test_rows_without_a_usable_geometry_are_counted_and_listed(tmp_path: Path) -> None:
    path = layer(tmp_path, "gas.gpkg", {"id": ["a", "b", "c"]}, [LINES[0], None, shapely.LineString()])
    model = read(path)
    assert len(model.links) == 1
    assert model.account["empty"] == 2
    assert [(issue.code, issue.guid) for issue in model.issues] == [("E_GEOMETRY", "b"), ("E_GEOMETRY", "c")]


def test_line_of_one_point_is_left_out_and_told_and_the_others_come_in(tmp_path: Path) -> None:
    lines = {"a": [[120.1, 30.1], [120.2, 30.1]], "b": [[120.1, 30.1]]}
    features = [
        {"type": "Feature", "properties": {"id": name}, "geometry": {"type": "LineString", "coordinates": line}}
        for name, line in lines.items()
    ]
    path = tmp_path / "gas.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    model = read(path)
    assert [link.name for link in model.links] == ["a"]
    assert [(issue.code, issue.guid) for issue in model.issues] == [("E_GEOMETRY", "b")]


def test_parts_that_touch_are_one_and_others_are_told(tmp_path: Path) -> None:
    touching = shapely.MultiLineString([[(0, 0), (1, 0)], [(1, 0), (2, 0)]])
    apart = shapely.MultiLineString([[(0, 0), (1, 0)], [(5, 0), (6, 0)]])
    model = read(layer(tmp_path, "gas.gpkg", {"id": ["a", "b"]}, [touching, apart]))
    assert [link.name for link in model.links] == ["a", "b#1", "b#2"]
    assert [issue.code for issue in model.issues] == ["E_PARTS"]


def test_heights_are_kept_through_a_change_of_crs(tmp_path: Path) -> None:
    path = layer(tmp_path, "water.gpkg", {"id": [1]}, [shapely.LineString([(120, 30, 7.5), (120.001, 30, 7)])], 4490)
    model = read(path, city_crs="EPSG:4549")
    assert [z for _, _, z in model.links[0].line.coords] == [7.5, 7]
    assert model.placement.accuracy_m == 0


def test_polygons_are_buildings_or_areas_by_their_names(tmp_path: Path) -> None:
    box = [shapely.box(500_000, 3_300_000, 500_010, 3_300_010)]
    buildings = read(layer(tmp_path, "x.geojson", {"id": [1], "height_m": [9.5], "storeys": [3]}, box)).buildings
    assert (buildings[0].height_m, buildings[0].storeys) == (9.5, 3)
    zones = read(layer(tmp_path, "y.geojson", {"id": ["D1"], "kind": ["dma"]}, box), system=System.WATER).zones
    assert zones[0].kind is ZoneKind.DMA
    with pytest.raises(InputError, match="E_KIND"):
        read(layer(tmp_path, "z.geojson", {"id": [1]}, box))


def test_layer_without_crs_is_unplaced_or_where_the_caller_says(tmp_path: Path) -> None:
    path = layer(tmp_path, "water.shp", {"id": [1, 2, 3]}, crs=None)
    assert read(path).placement.decision is Decision.UNPLACED
    assert read(path).links[0].line == LINES[0]
    placed = read(path, crs="4549", city_crs="EPSG:4549")
    assert (placed.placement.decision, placed.placement.crs) == (Decision.PLACED, "EPSG:4549")


def test_geojson_in_metres_without_a_crs_is_not_believed_to_be_degrees(tmp_path: Path) -> None:
    path = tmp_path / "water.geojson"
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(LINES[0])}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    model = read(path)
    assert model.placement.decision is Decision.UNPLACED
    assert model.issues[0].code == "E_CRS"
    assert read(path, crs="4549").placement.crs == "EPSG:4549"


def test_coordinates_outside_the_given_crs_are_refused(tmp_path: Path) -> None:
    path = layer(tmp_path, "water.shp", {"id": [1, 2, 3]}, crs=None)
    with pytest.raises(CrsError, match="do not fit"):
        read(path, crs="EPSG:4326")


@pytest.mark.parametrize("encoding", ["GBK", "UTF-8"])
def test_shapefile_tables_that_do_not_say_their_encoding_are_read_right(tmp_path: Path, encoding: str) -> None:
    rows = {"id": ["1", "2", "3"], "材质": ["球墨铸铁", "钢管", "铸铁"]}
    path = layer(tmp_path, "water.shp", rows, encoding=encoding)
    path.with_suffix(".cpg").unlink()
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[29] = 0  # no language driver id
    path.with_suffix(".dbf").write_bytes(table)
    assert [link.material for link in read(path).links] == ["球墨铸铁", "钢管", "铸铁"]


def test_id_column_has_to_name_each_row_once(tmp_path: Path) -> None:
    model = read(layer(tmp_path, "gas.geojson", {"ID": [0, 0, 0], "NAME": ["x", "x", "y"]}))
    assert [link.id for link in model.links] == [f"gas.geojson:link:{n}" for n in (1, 2, 3)]
    assert model.account["layers"][0]["id"] == "row number"


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"type": "FeatureCollection", "features": []}', "hello"])
def test_geojson_that_is_none_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gas.geojson"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        reader_for(path)[1].read(path, ReadRequest("gas.geojson"))
    assert error.value.code in {"E_EMPTY", "E_FORMAT"}
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["gas.geojson", "gas.gpkg", "gas.shp", "gas.dbf"])
def test_truncated_file_is_refused_or_whole_and_never_half(tmp_path: Path, name: str) -> None:
    suffix = Path(name).suffix
    path = layer(tmp_path, name if suffix != ".dbf" else "gas.shp", {"id": ["1", "2", "3"]})
    whole = (tmp_path / name).read_bytes()
    for share in (0.3, 0.6, 0.9):
        shutil.copy(path, tmp_path / "backup") if share == 0.3 else None
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        try:
            model = reader_for(path)[1].read(path, ReadRequest(path.name))
        except InputError as error:
            assert error.code in {"E_FORMAT", "E_TRUNCATED", "E_EMPTY"}  # noqa: PT017
        else:
            assert len(model.links) + model.account["empty"] == 3


def test_lists_and_numbers_past_all_bounds_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "buildings.geojson"
    feature = {
        "type": "Feature",
        "properties": {"id": 1, "floors": 1e300, "tags": ["a", "b"], "sizes": [1, 2], "deep": {"a": [None, {"b": 1}]}},
        "geometry": shapely.geometry.mapping(shapely.box(120, 30, 120.001, 30.001)),
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    [building] = read(path).buildings
    assert building.storeys is None
    assert building.properties["tags"] == "a, b"
    assert building.properties["sizes"] == "1, 2"


def test_row_with_infinite_coordinates_is_left_out_and_the_others_are_placed(tmp_path: Path) -> None:
    endless = shapely.LineString([(500_000, 3_300_000), (float("inf"), 3_300_000)])
    model = read(layer(tmp_path, "gas.gpkg", {"id": ["a", "b"]}, [LINES[0], endless]))
    assert model.placement.decision is Decision.PLACED
    assert [link.name for link in model.links] == ["a"]


def test_courtyards_stay_open(tmp_path: Path) -> None:
    ring = shapely.Polygon([(0, 0), (30, 0), (30, 30), (0, 30)], [[(10, 10), (20, 10), (20, 20), (10, 20)]])
    path = layer(tmp_path, "buildings.gpkg", {"id": [1]}, [ring])
    [building] = read(path).buildings
    assert building.footprint.area == 30 * 30 - 10 * 10
    from datetime import UTC, datetime

    from twin.city import City
    from twin.load import load

    load([path], tmp_path / "city.gpkg", at=datetime(2024, 1, 1, tzinfo=UTC), crs="EPSG:4549")
    with City.open(tmp_path / "city.gpkg") as city:
        assert city.asset("buildings.gpkg:building:1").footprint.area == 800


def test_points_in_several_parts_are_several_nodes(tmp_path: Path) -> None:
    model = read(layer(tmp_path, "water.gpkg", {"id": ["a"]}, [shapely.MultiPoint([(0, 0), (5, 5)])]))
    assert [node.name for node in model.nodes] == ["a#1", "a#2"]


def test_survey_layer_has_features_appurtenances_depths_and_codes(tmp_path: Path) -> None:
    points = [shapely.Point(500_000 + i, 3_300_000) for i in range(2)]
    rows = {"Exp_No": ["1", "2"], "Feature": ["三通", None], "Subsid": [None, "消防栓"], "WellDeep": [None, 1.5]}
    nodes = read(layer(tmp_path, "JSPoint.gpkg", rows, points)).nodes
    assert [(node.kind, node.feature, node.depth_m) for node in nodes] == [
        (NodeKind.JUNCTION, "三通", None),
        (NodeKind.HYDRANT, None, 1.5),
    ]
    rows = {"S_EXP": ["1", "2", "3"], "S_DEEP": [1, 2, 0.5], "E_DEEP": [2, None, 0.5], "MATERIAL": ["PE", "G", "QM"]}
    links = read(layer(tmp_path, "JSLine.gpkg", rows)).links
    assert [link.depth_m for link in links] == [1.5, 2, 0.5]
    assert [link.material for link in links] == ["聚乙烯塑料", "钢", "球墨铸铁"]
    assert links[0].properties["MATERIAL"] == "PE"
    assert {link.system for link in links} == {System.WATER}
    drains = read(layer(tmp_path, "YSLine.gpkg", rows)).links
    assert {(link.system, link.service) for link in drains} == {(System.DRAINAGE, "storm")}


def test_letters_of_another_citys_materials_are_no_codes(tmp_path: Path) -> None:
    assert [link.material for link in read(layer(tmp_path, "water.gpkg", {"MATERIAL": ["S", "G", "T"]})).links] == list(
        "SGT"
    )
