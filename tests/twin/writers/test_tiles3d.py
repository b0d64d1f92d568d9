"""3D Tiles, held to the rules of OGC 22-025r4 by a checker of the test's own, and to Khronos' validator."""

import json
import struct
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from pyproj import Transformer
from shapely import LineString, Point, box
from shapely.affinity import translate

from twin.asset import Building, Link, LinkKind, Node, NodeKind, System
from twin.model import Decision, Model, Placement
from twin.writers import tiles3d

CRS = "EPSG:4549"
PLACED = Placement(Decision.PLACED, "given", CRS)


def to_ecef(points):
    """Return earth-centred coordinates by way of pyproj alone; a city's height goes in as one over the ellipsoid."""
    longitude, latitude = Transformer.from_crs(4549, 4326, always_xy=True).transform(points[:, 0], points[:, 1])
    return np.column_stack(
        Transformer.from_crs(4979, 4978, always_xy=True).transform(longitude, latitude, points[:, 2])
    )


@pytest.fixture(scope="module")
def tileset(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles")
    tiles3d.write(models, folder, CRS)
    return folder


def glb_parts(path):
    data = path.read_bytes()
    size = struct.unpack_from("<I", data, 12)[0]
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def vertices(path):
    """Return the vertices of a GLB as a viewer of 3D Tiles sees them: z up."""
    document, binary = glb_parts(path)
    found = []
    for mesh in document["meshes"]:
        for primitive in mesh["primitives"]:
            accessor = document["accessors"][primitive["attributes"]["POSITION"]]
            view = document["bufferViews"][accessor["bufferView"]]
            found.append(np.frombuffer(binary, "<f4", accessor["count"] * 3, view["byteOffset"]).reshape(-1, 3))
    every = np.concatenate(found).astype(float)
    return np.column_stack([every[:, 0], -every[:, 2], every[:, 1]])


def matrix_of(tile):
    return np.array(tile.get("transform", np.eye(4).T.ravel().tolist())).reshape(4, 4).T


def apply(matrix, points):
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def inside(points, volume, slack=1e-6):
    """Say whether points lie in a box: centre and three half axes (OGC 22-025r4, 7.3.3)."""
    centre, axes = np.array(volume["box"][:3]), np.array(volume["box"][3:]).reshape(3, 3)
    lengths = np.linalg.norm(axes, axis=1)
    along = (points - centre) @ (axes / lengths[:, None]).T
    return (np.abs(along) <= lengths + slack).all()


def corners(volume):
    centre, axes = np.array(volume["box"][:3]), np.array(volume["box"][3:]).reshape(3, 3)
    return np.array([centre + np.array([x, y, z]) @ axes for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])


def walk(tile, matrix, parents=()):
    """Yield (tile, matrix to earth-centred coordinates, [(parent, its matrix), …]) of a tile and all below it."""
    matrix = matrix @ matrix_of(tile)
    yield tile, matrix, parents
    for child in tile.get("children", ()):
        yield from walk(child, matrix, (*parents, (tile, matrix)))


def check(folder):
    """Hold a tileset to the specification; return its (tile, matrix) with content."""
    document = json.loads((folder / "tileset.json").read_text("utf-8"))
    assert document["asset"]["version"] == "1.1"
    assert document["geometricError"] >= document["root"]["geometricError"] >= 0
    assert document["root"]["refine"] in ("ADD", "REPLACE")
    seen = []
    for tile, matrix, parents in walk(document["root"], np.eye(4)):
        assert {"boundingVolume", "geometricError"} <= tile.keys()
        assert len(tile["boundingVolume"]["box"]) == 12
        assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(matrix[:3, :3]) > 0
        if parents:
            assert tile["geometricError"] <= parents[-1][0]["geometricError"]
        assert tile.get("children") != []
        points = corners(tile["boundingVolume"])
        if "content" in tile:
            path = folder / tile["content"]["uri"]
            assert path.is_file()
            content = vertices(path)
            assert inside(content, tile["boundingVolume"])
            points = np.concatenate([points, content])
            seen.append((tile, matrix))
        for parent, parent_matrix in parents:
            assert inside(apply(np.linalg.inv(parent_matrix) @ matrix, points), parent["boundingVolume"])
    return seen


def test_the_district_keeps_the_rules_of_the_specification(tileset, models):
    seen = check(tileset)
    files = {path.relative_to(tileset).as_posix() for path in tileset.rglob("*.glb")}
    assert {tile["content"]["uri"] for tile, _ in seen} == files
    assert sum(uri.startswith("models/") for uri in files) == sum(model.mesh is not None for model in models)
    assert {uri.split("/")[0] for uri in files} == {"models", "buildings", "water", "drainage", "gas"}


@pytest.mark.slow
def test_the_contents_pass_khronos_validator(tileset, gltf_issues):
    paths = sorted(tileset.rglob("*.glb"))
    for path, issues in zip(paths, gltf_issues(paths), strict=True):
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), (path.name, issues["messages"])


def drawn(folder, uri):
    tile, matrix = next((tile, matrix) for tile, matrix in check(folder) if tile["content"]["uri"] == uri)
    return apply(matrix, vertices(folder / tile["content"]["uri"]))


def test_every_corner_of_a_building_stands_where_pyproj_puts_it(tmp_path):
    footprint = box(540_100, 3_350_100, 540_180, 3_350_130)
    far = Building("b:building:2", "2", box(546_000, 3_357_000, 546_030, 3_357_020), 11.0, 8.0)
    building = Building("b:building:1", "1", footprint, 7.0, 24.0)
    tiles3d.write([Model("b", "gis", PLACED, buildings=[building, far])], tmp_path, CRS)
    found = drawn(tmp_path, "buildings/0.glb")
    for shape, levels in ((building.footprint, (7.0, 31.0)), (far.footprint, (11.0, 19.0))):
        for level in levels:
            ring = np.array(shape.exterior.coords)
            wanted = to_ecef(np.column_stack([ring, np.full(len(ring), level)]))
            distance = np.linalg.norm(found[:, None] - wanted[None], axis=2).min(axis=0)
            assert distance.max() < 1e-3


def test_a_model_stands_and_turns_as_it_was_placed(named, tileset):
    order = [model for model in named.values() if model.mesh is not None]
    for number, model in enumerate(order):
        found = drawn(tileset, f"models/{number}.glb")
        place = model.placement
        local = vertices(tileset / f"models/{number}.glb")
        angle = np.radians(place.rotation_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        wanted = to_ecef(local @ turn.T + np.array(place.origin))
        # A model keeps its true size; the grid's scale (under 1e-4 here) over its 50 m is the difference.
        assert np.linalg.norm(found - wanted, axis=1).max() < 1e-2


def test_a_drain_lies_on_its_invert_and_a_main_on_its_axis(tmp_path):
    line = LineString([(540_000, 3_350_000, 5.0), (540_050, 3_350_000, 5.0)])
    links = [
        Link("n:link:d", "d", System.DRAINAGE, LinkKind.CONDUIT, line, diameter_m=0.8),
        Link("n:link:w", "w", System.WATER, LinkKind.PIPE, line, diameter_m=0.8),
    ]
    tiles3d.write([Model("n", "gis", PLACED, links=links)], tmp_path, CRS)
    up = to_ecef(np.array([[540_025.0, 3_350_000, 6.0]]))[0] - to_ecef(np.array([[540_025.0, 3_350_000, 5.0]]))[0]
    heights = {
        system: (drawn(tmp_path, f"{system}/0.glb") - to_ecef(np.array([[540_025.0, 3_350_000, 5.0]]))) @ up
        for system in ("drainage", "water")
    }
    assert (heights["drainage"].min(), heights["drainage"].max()) == pytest.approx((0.0, 0.8), abs=2e-3)
    assert (heights["water"].min(), heights["water"].max()) == pytest.approx((-0.4, 0.4), abs=2e-3)


def test_each_vertex_names_its_asset_in_the_property_table(tileset, named):
    document, binary = glb_parts(tileset / "gas" / "0.glb")
    table = document["extensions"]["EXT_structural_metadata"]["propertyTables"][0]
    links = [link for model in named.values() for link in model.links if link.system is System.GAS]
    assert table["count"] == len(links)

    def view(number, dtype):
        of = document["bufferViews"][number]
        assert of["byteOffset"] % 8 == 0
        return np.frombuffer(binary, dtype, of["byteLength"] // np.dtype(dtype).itemsize, of["byteOffset"])

    column = table["properties"]["asset"]
    ends = view(column["stringOffsets"], "<u4").tolist()
    text = view(column["values"], "u1").tobytes()
    assert [text[a:b].decode() for a, b in pairwise(ends)] == [link.id for link in links]
    (primitive,) = document["meshes"][0]["primitives"]
    assert primitive["extensions"]["EXT_mesh_features"]["featureIds"][0]["featureCount"] == len(links)


def test_many_assets_are_split_over_tiles_of_which_each_holds_few(tmp_path, monkeypatch):
    monkeypatch.setattr(tiles3d, "MOST_BUILDINGS", 7)
    buildings = [
        Building(
            f"b:building:{x}-{y}",
            "",
            box(540_000 + 30 * x, 3_350_000 + 20 * y, 540_020 + 30 * x, 3_350_010 + 20 * y),
            5.0,
            9.0,
        )
        for x in range(9)
        for y in range(5)
    ]
    written = tiles3d.write([Model("b", "gis", PLACED, buildings=buildings)], tmp_path, CRS)
    seen = check(tmp_path)
    assert written.counts == {"buildings": 45}
    assert len(seen) == 8
    counts = [
        glb_parts(tmp_path / tile["content"]["uri"])[0]["extensions"]["EXT_structural_metadata"]["propertyTables"][0][
            "count"
        ]
        for tile, _ in seen
    ]
    assert sum(counts) == 45
    assert max(counts) <= 7


def test_a_building_that_a_model_stands_for_is_not_raised_as_well(named, tmp_path):
    model = named["clinic.ifc"]
    (building,) = model.buildings
    same = replace(building, id="b:building:1", footprint=building.footprint.buffer(0.3))
    beside = replace(same, id="b:building:2", footprint=translate(same.footprint, 100))
    written = tiles3d.write([Model("b", "gis", PLACED, buildings=[same, beside]), model], tmp_path, CRS)
    assert written.counts["buildings"] == 1
    assert written.notes == ["1 buildings not raised: models of them stand there"]


def test_what_has_no_height_is_said(tmp_path):
    line = LineString([(540_000, 3_350_000), (540_050, 3_350_000)])
    link = Link("n:link:1", "1", System.GAS, LinkKind.PIPE, line)
    node = Node("n:node:1", "1", System.GAS, NodeKind.JUNCTION, Point(540_000, 3_350_000))
    shape = box(540_000, 3_350_000, 540_010, 3_350_010)
    buildings = [Building("b:building:1", "1", shape, height_m=9.0), Building("b:building:2", "2", shape)]
    model = Model("n", "gis", PLACED, nodes=[node], links=[link, replace(link, line=LineString())], buildings=buildings)
    written = tiles3d.write([model], tmp_path, CRS)
    assert written.counts == {"buildings": 1, "links": 1}
    assert sorted(written.notes) == [
        "1 buildings at height 0: their ground is not known",
        "1 buildings left out: without a footprint or a height",
        "1 links at height 0: their level is not known",
        "1 links left out: without a line",
    ]
    assert "not ellipsoidal" in (tmp_path / "tileset.json").read_text("utf-8")


def test_the_same_assets_make_the_same_bytes(models, tileset, tmp_path):
    tiles3d.write(models, tmp_path, CRS)
    files = sorted(path.relative_to(tileset) for path in tileset.rglob("*.*"))
    assert [(tmp_path / path).read_bytes() == (tileset / path).read_bytes() for path in files] == [True] * len(files)
