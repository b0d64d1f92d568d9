"""Vector tiles, decoded by mapbox-vector-tile."""

import gzip
import math

import geopandas as gpd
import mapbox_vector_tile
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from twin.writers.tiles import TileSet, _varints

CRS = "EPSG:4549"
E, N = 540_000.0, 3_350_000.0


def tables(lines=(), shapes=(), points=(), areas=()):
    links = {
        "asset": [f"w:link:{i}" for i in range(len(lines))],
        "system": "water",
        "kind": "pipe",
        "service": None,
        "diameter_m": 0.3,
    }
    buildings = {"asset": [f"b:building:{i}" for i in range(len(shapes))], "height_m": 12.34, "ground_m": 4.0}
    nodes = {
        "asset": [f"w:node:{i}" for i in range(len(points))],
        "system": "gas",
        "kind": "valve",
        "service": "low",
    }
    zones = {"asset": [f"z:zone:{kind}" for kind, _ in areas], "kind": [kind for kind, _ in areas]}
    shapes_of_zones = [area for _, area in areas]
    return [
        gpd.GeoDataFrame(columns, index=range(len(geometry)), geometry=list(geometry), crs=CRS)
        for columns, geometry in ((links, lines), (buildings, shapes), (nodes, points), (zones, shapes_of_zones))
    ]


def at(tiles, z):
    west, south, east, north = tiles.bounds_lonlat
    lon, lat = (west + east) / 2, (south + north) / 2
    x = (lon + 180) / 360 * 2**z
    y = (1 - math.asinh(math.tan(math.radians(lat))) / math.pi) / 2 * 2**z
    return z, int(x), int(y)


def decoded(tiles, z):
    body = tiles.tile(*at(tiles, z))
    return mapbox_vector_tile.decode(gzip.decompress(body), default_options={"y_coord_down": True})


def test_each_layer_keeps_ids_assets_and_properties():
    line = shapely.LineString([(E, N, 1), (E + 30, N + 5, 1), (E + 60, N, 1)])
    tile = decoded(TileSet(*tables([line], [shapely.box(E, N, E + 20, N + 10)], [shapely.Point(E, N, 3)]), CRS), 16)
    (link,), (building,), (node,) = (tile[name]["features"] for name in ("links", "buildings", "nodes"))
    assert link["id"] == building["id"] == node["id"] == 0
    assert link["properties"] == {"asset": "w:link:0", "system": "water", "kind": "pipe", "size": 2}
    assert len(link["geometry"]["coordinates"]) == 3
    assert building["properties"] == {"asset": "b:building:0", "height_m": 12.3, "ground_m": 4.0}
    assert node["properties"] == {"asset": "w:node:0", "system": "gas", "kind": "valve", "service": "low"}


def test_roads_and_rivers_are_land_and_do_not_widen_the_bounds():
    areas = [(kind, shapely.box(E - 50, N - 50, E + 50, N + 50)) for kind in ("road", "water_body", "dma")]
    tiles = TileSet(*tables(points=[shapely.Point(E, N)], areas=areas), CRS)
    land = decoded(tiles, 15)["land"]["features"]
    assert [feature["properties"]["kind"] for feature in land] == ["road", "water_body"]
    west, _, east, _ = tiles.bounds_lonlat
    assert west == east


def test_a_long_line_is_in_every_tile_it_crosses_and_ends_at_the_buffer():
    tiles = TileSet(*tables([shapely.LineString([(E - 5000, N), (E + 5000, N)])]), CRS)
    (feature,) = decoded(tiles, 16)["links"]["features"]
    columns = [x for x, _ in feature["geometry"]["coordinates"]]
    assert (min(columns), max(columns)) == (-64, 4096 + 64)


def test_outer_rings_have_positive_area_in_tile_coordinates_and_holes_negative():
    for shell in (shapely.box(E, N, E + 60, N + 60), shapely.box(E, N, E + 60, N + 60).reverse()):
        court = shapely.Polygon(shell.exterior, [shapely.box(E + 20, N + 20, E + 40, N + 40).exterior])
        (feature,) = decoded(TileSet(*tables(shapes=[court]), CRS), 15)["buildings"]["features"]
        rings = [np.array(ring, float) for ring in feature["geometry"]["coordinates"]]
        areas = [float(np.sum(r[:-1, 0] * r[1:, 1] - r[1:, 0] * r[:-1, 1])) / 2 for r in rings]
        assert areas[0] > 0 > areas[1]


def test_what_is_smaller_than_a_pixel_waits_for_a_closer_zoom():
    close = [shapely.LineString([(E, N), (E + 4, N)]), shapely.LineString([(E, N), (E + 900, N)])]
    tiles = TileSet(*tables(close), CRS)
    assert [f["id"] for f in decoded(tiles, 12)["links"]["features"]] == [1]
    assert [f["id"] for f in decoded(tiles, 16)["links"]["features"]] == [0, 1]


def test_a_tile_without_anything_is_no_bytes():
    tiles = TileSet(*tables(points=[shapely.Point(E, N)]), CRS)
    z, x, y = at(tiles, 14)
    assert tiles.tile(z, x + 40, y) == b""


def test_a_city_without_features_has_no_bounds():
    tiles = TileSet(*tables(), CRS)
    assert tiles.bounds_lonlat is None
    assert tiles.tile(0, 0, 0) == b""


def test_features_without_geometry_keep_the_ids_of_the_others():
    tiles = TileSet(*tables(points=[None, shapely.Point(E, N)]), CRS)
    (node,) = decoded(tiles, 14)["nodes"]["features"]
    assert (node["id"], node["properties"]["asset"]) == (1, "w:node:1")


def test_bounds_hold_the_city():
    tiles = TileSet(*tables(points=[shapely.Point(E, N), shapely.Point(E + 1000, N + 1000)]), CRS)
    assert tiles.bounds_lonlat == pytest.approx((120.4155, 30.2688, 120.4259, 30.2779), abs=2e-3)


@given(st.lists(st.integers(0, 2**35 - 1), min_size=1))
def test_varints_decode_to_the_same_numbers(values):
    stream, ends = _varints(np.array(values, np.uint64))
    starts = [0, *ends[:-1].tolist()]
    parts = [stream[a:b] for a, b in zip(starts, ends.tolist(), strict=True)]
    assert [sum((byte & 0x7F) << 7 * i for i, byte in enumerate(part)) for part in parts] == values
