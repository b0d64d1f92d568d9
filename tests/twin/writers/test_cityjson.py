"""CityJSON, read back by cjio and by the test itself: the specification's rules, closed solids, outward faces."""

import io
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.affinity import translate

from twin.asset import Building, Space, Storey, System, Zone, ZoneKind
from twin.model import Decision, Model, Placement
from twin.writers import cityjson

CRS = "EPSG:4549"
PLACED = Placement(Decision.PLACED, "given", CRS)
DEPTHS = {"MultiPoint": 1, "MultiLineString": 2, "MultiSurface": 3, "Solid": 4}
"""How deep the boundaries of a geometry are nested (specification, 3.2)."""
SECOND_LEVEL = {
    "BuildingStorey",
    "BuildingRoom",
    "BuildingConstructiveElement",
    "BuildingInstallation",
    "BuildingFurniture",
}


def document(models, **options):
    stream = io.BytesIO()
    written = cityjson.write(models, stream, CRS, **options)
    return json.loads(stream.getvalue()), written


def leaves(nested, depth):
    if depth == 1:
        return nested
    return [leaf for part in nested for leaf in leaves(part, depth - 1)]


def check(city):
    """Hold a document to the rules of the specification that its schema and cjval hold it to."""
    assert (city["type"], city["version"]) == ("CityJSON", "2.0")
    assert city["metadata"]["referenceSystem"] == "https://www.opengis.net/def/crs/EPSG/0/4549"
    vertices = city["vertices"]
    assert all(isinstance(value, int) for vertex in vertices for value in vertex)
    assert len({tuple(vertex) for vertex in vertices}) == len(vertices)
    used = set()
    for name, thing in city["CityObjects"].items():
        assert (thing["type"] in SECOND_LEVEL) == ("parents" in thing)
        for parent in thing.get("parents", ()):
            assert name in city["CityObjects"][parent]["children"]
        for child in thing.get("children", ()):
            assert city["CityObjects"][child]["parents"] == [name]
        for geometry in thing["geometry"]:
            assert isinstance(geometry["lod"], str)
            depth = DEPTHS[geometry["type"]]
            indices = leaves(geometry["boundaries"], depth)
            used |= set(indices)
            assert all(isinstance(index, int) for index in indices)
            if depth >= 3:
                rings = leaves(geometry["boundaries"], depth - 1)
                assert all(len(set(ring)) == len(ring) >= 3 for ring in rings)
            if "semantics" in geometry:
                (values,), (shell,) = geometry["semantics"]["values"], geometry["boundaries"]
                assert len(values) == len(shell)
    assert used == set(range(len(vertices)))


def volume_of(solid, city):
    """Return the volume within a solid's shell, which has to be closed: every edge once in each direction."""
    (shell,) = solid["boundaries"]
    edges = Counter(
        (a, b) for surface in shell for ring in surface for a, b in zip(ring, ring[1:] + ring[:1], strict=True)
    )
    assert set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)
    points = np.array(city["vertices"]) * city["transform"]["scale"]
    points -= points.mean(axis=0)
    # A planar ring fanned from its first corner, holes by their own turn: the divergence theorem needs no more.
    fans = [
        (ring[0], ring[at], ring[at + 1]) for surface in shell for ring in surface for at in range(1, len(ring) - 1)
    ]
    a, b, c = (points[[fan[at] for fan in fans]] for at in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6


def test_the_district_keeps_the_rules_and_every_asset_is_there(models):
    city, written = document(models)
    check(city)
    assets = [a.id for m in models for t in written.counts for a in getattr(m, t)]
    assert set(city["CityObjects"]) == set(assets)
    assert sum(written.counts.values()) == len(assets)


READ_BACK = """
import json, sys
from cjio import cityjson
with open(sys.argv[1]) as file:
    read = cityjson.CityJSON(file=file)
read.check_version()
answer = {"version": read.get_version(), "epsg": read.get_epsg(), "box": read.calculate_bbox()}
answer["first level"] = read.number_city_objects_level1()
answer["superfluous"] = [read.remove_duplicate_vertices(), read.remove_orphan_vertices()]
print(json.dumps(answer))
"""
"""In a process of its own: cjio changes how Python's json writes numbers, for all that is in its process."""


def test_cjio_reads_it(models, tmp_path):
    path = tmp_path / "d.city.json"
    with path.open("wb") as stream:
        written = cityjson.write(models, stream, CRS)
    done = subprocess.run([sys.executable, "-c", READ_BACK, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    read = json.loads(done.stdout.splitlines()[-1])
    assert (read["version"], read["epsg"]) == ("2.0", 4549)
    bounds = shapely.total_bounds(np.array([link.line for model in models for link in model.links], dtype=object))
    assert read["box"][0] <= bounds[0] + 1e-3
    assert read["box"][4] >= bounds[3] - 1e-3
    assert read["first level"] == sum(written.counts[table] for table in ("buildings", "nodes", "links", "zones"))
    assert read["superfluous"] == [0, 0]


@st.composite
def footprints(draw):
    x, y = draw(st.integers(539_000, 541_000)), draw(st.integers(3_350_000, 3_351_000))
    radii = draw(st.lists(st.floats(5, 20), min_size=3, max_size=9))
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    shell = np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)])
    hole = shapely.Point(x, y).buffer(0.5, quad_segs=2).exterior
    polygon = shapely.Polygon(shell, [hole] if draw(st.booleans()) else [])
    return shapely.MultiPolygon([polygon, translate(polygon, 60)]) if draw(st.booleans()) else polygon


@given(footprints(), st.floats(-5, 90), st.floats(1, 300))
def test_a_solid_is_closed_faces_outwards_and_holds_its_volume(footprint, ground, height):
    city, _ = document(
        [Model("b", "gis", PLACED, buildings=[Building("b:building:1", "1", footprint, ground, height)])]
    )
    check(city)
    solids = [g for g in city["CityObjects"]["b:building:1"]["geometry"] if g["lod"] == "1"]
    assert len(solids) == shapely.get_num_geometries(footprint)
    # Corners are moved by half a millimetre at most, along a rim of less than 400 m.
    assert sum(volume_of(solid, city) for solid in solids) == pytest.approx(footprint.area * height, rel=1e-3, abs=0.4)
    vertices = np.array(city["vertices"]) * 0.001 + city["transform"]["translate"]
    for solid in solids:
        for kind, surface in zip(solid["semantics"]["values"][0], solid["boundaries"][0], strict=True):
            heights = vertices[surface[0], 2]
            wanted = {0: (ground, ground), 1: (ground, ground + height), 2: (ground + height, ground + height)}[kind]
            assert (heights.min(), heights.max()) == pytest.approx(wanted, abs=1e-3)


def test_a_building_has_its_storeys_and_they_their_rooms(named):
    model = named["clinic.ifc"]
    city, _ = document([model])
    things = city["CityObjects"]
    (building,) = model.buildings
    storeys = [child for child in things[building.id]["children"] if things[child]["type"] == "BuildingStorey"]
    assert storeys == [storey.id for storey in model.storeys]
    rooms = [c for s in storeys for c in things[s]["children"] if things[c]["type"] == "BuildingRoom"]
    assert sorted(rooms) == sorted(space.id for space in model.spaces)
    assert things[building.id]["attributes"]["storeysAboveGround"] == building.storeys


def test_meshes_stand_where_the_model_was_placed(named):
    model = named["clinic.ifc"]
    plain, _ = document([model])
    city, _ = document([model], meshes=True)
    check(city)
    drawn = [t for t in city["CityObjects"].values() if any(g["lod"] == "3" for g in t["geometry"])]
    assert len(drawn) > 100
    assert not any(g["lod"] == "3" for t in plain["CityObjects"].values() for g in t["geometry"])
    indices = {i for thing in drawn for g in thing["geometry"] for i in leaves(g["boundaries"], 3)}
    points = (np.array(city["vertices"]) * 0.001 + city["transform"]["translate"])[sorted(indices)]
    (building,) = model.buildings
    west, south, east, north = building.footprint.buffer(3).bounds
    assert points[:, 0].min() > west
    assert points[:, 0].max() < east
    assert points[:, 1].min() > south
    assert points[:, 1].max() < north


def test_what_has_no_height_or_no_building_is_said():
    shape = shapely.box(540_000, 3_350_000, 540_010, 3_350_010)
    model = Model(
        "n",
        "gis",
        PLACED,
        buildings=[Building("n:building:1", "1", shape)],
        storeys=[Storey("n:storey:1", "1", None)],
        spaces=[Space("n:space:1", "1", "n:storey:1")],
        zones=[Zone("n:zone:1", "r", System.STRUCTURE, ZoneKind.ROAD, shape)],
    )
    city, written = document([model])
    assert city["CityObjects"]["n:zone:1"]["type"] == "Road"
    assert city["CityObjects"]["n:zone:1"]["attributes"]["height_known"] is False
    assert written.notes == [
        "1 buildings at height 0: their ground is not known",
        "1 buildings without a height: no solid",
        "1 storeys left out: no building that they are in",
        "1 spaces left out: no building that they are in",
        "1 zones at height 0: their level is not known",
    ]


def test_the_same_assets_make_the_same_bytes(models):
    once, again = io.BytesIO(), io.BytesIO()
    cityjson.write(models, once, CRS)
    cityjson.write(models, again, CRS)
    assert once.getvalue() == again.getvalue()
