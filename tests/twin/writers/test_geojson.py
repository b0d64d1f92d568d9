"""GeoJSON, read back by json, shapely, GDAL and the project's own reader."""

import io
import json
import re

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from shapely.geometry import shape

from twin.asset import Building, System, Zone, ZoneKind
from twin.model import Decision, Model, Placement, ReadRequest
from twin.readers.gis import GisReader
from twin.writers import geojson

CRS = "EPSG:4549"
PLACED = Placement(Decision.PLACED, "given", CRS)


def text_of(models, **options):
    stream = io.BytesIO()
    counts = geojson.write(models, stream, CRS, **options)
    return stream.getvalue(), counts


def test_every_asset_with_a_geometry_is_a_feature_in_degrees_at_its_place(models):
    data, counts = text_of(models)
    document = json.loads(data)
    assert counts == {table: sum(len(getattr(model, table)) for model in models) for table in geojson.LAYERS}
    assert len(document["features"]) == sum(counts.values())
    assert "crs" not in document
    points = {node.id: node.point for model in models for node in model.nodes}
    to_city = Transformer.from_crs(4326, 4549, always_xy=True)
    for feature in document["features"]:
        if feature["properties"]["table"] == "nodes":
            longitude, latitude = feature["geometry"]["coordinates"][:2]
            easting, northing = to_city.transform(longitude, latitude)
            assert np.hypot(easting - points[feature["id"]].x, northing - points[feature["id"]].y) < 2e-3


def test_no_coordinate_has_more_than_eight_decimals(models):
    data, _ = text_of(models)
    numbers = re.findall(rb'"coordinates":([^}]+)\}', data)
    assert numbers
    assert max(len(part) for text in numbers for part in re.findall(rb"\.(\d+)", text)) <= 8


def test_a_height_is_there_where_the_asset_has_one_and_is_never_called_ellipsoidal(named):
    data, _ = text_of([named["gas_nodes.geojson"]])
    document = json.loads(data)
    assert "not ellipsoidal" in document["heights"]
    with_height = {feature["id"]: len(feature["geometry"]["coordinates"]) == 3 for feature in document["features"]}
    assert with_height == {node.id: node.point.has_z for node in named["gas_nodes.geojson"].nodes}
    flat, _ = text_of([named["buildings.geojson"]])
    assert not any(shape(feature["geometry"]).has_z for feature in json.loads(flat)["features"])


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 500), st.floats(1, 50), st.booleans()), min_size=1))
def test_rings_follow_the_right_hand_rule(squares):
    zones = []
    for number, (x, y, side, turned) in enumerate(squares):
        outer = shapely.box(540_000 + x, 3_350_000 + y, 540_000 + x + side, 3_350_000 + y + side, ccw=not turned)
        area = shapely.Polygon(outer.exterior, [shapely.buffer(outer.centroid, side / 4).exterior])
        zones.append(Zone(f"z:zone:{number}", "z", System.WATER, ZoneKind.DMA, area))
    data, _ = text_of([Model("z", "gis", PLACED, zones=zones)])
    for feature in json.loads(data)["features"]:
        polygon = shape(feature["geometry"])
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)


def test_the_citys_own_coordinates_are_read_back_by_the_projects_reader_and_by_gdal(named, tmp_path):
    zones = named["dma.geojson"]
    path = tmp_path / "dma.geojson"
    with path.open("wb") as stream:
        geojson.write([zones], stream, CRS, lonlat=False)
    assert gpd.read_file(path).crs.to_epsg() == 4549
    again = GisReader().read(path, ReadRequest("dma.geojson", CRS, None, System.WATER))
    assert again.placement.decision is Decision.PLACED
    pairs = zip(again.zones, zones.zones, strict=True)
    assert all(shapely.hausdorff_distance(a.area, b.area) < 1e-3 for a, b in pairs)


def test_properties_are_the_assets_fields(named):
    link = named["water.inp"].links[0]
    data, _ = text_of([named["water.inp"]], tables=["links"])
    properties = json.loads(data)["features"][0]["properties"]
    assert (properties["table"], properties["source"]) == ("links", "water.inp")
    assert (properties["start"], properties["diameter_m"]) == (link.start, link.diameter_m)
    assert properties["properties"] == link.properties


def test_an_asset_without_a_place_keeps_its_feature_with_a_null_geometry():
    model = Model("b", "gis", PLACED, buildings=[Building("b:building:1", "1", None)])
    assert json.loads(text_of([model])[0])["features"][0]["geometry"] is None
    storeys = text_of([model], tables=["storeys"])
    assert json.loads(storeys[0])["features"] == []


@pytest.mark.parametrize("lonlat", [True, False])
def test_the_same_assets_make_the_same_bytes(named, lonlat):
    once, again = (text_of([named["drainage.inp"]], lonlat=lonlat)[0] for _ in range(2))
    assert once == again
