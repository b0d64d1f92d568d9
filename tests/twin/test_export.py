"""A city written in every format, as it is and as it was."""

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from shapely import LineString, Point, box

from twin.asset import Building, Link, LinkKind, Node, NodeKind, System
from twin.city import City
from twin.errors import InputError, UnknownError
from twin.export import Wanted, export
from twin.model import Decision, Model, Placement, ReadRequest
from twin.readers.epanet import EpanetReader
from twin.writers.format import Format
from twin.writers.glb import Surface, glb, unpacked

CRS = "EPSG:4549"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLACED = Placement(Decision.PLACED, "given", CRS, origin=(540_000.0, 3_350_000.0, 5.0), rotation_deg=30.0)


def network(source, names, system=System.WATER):
    nodes = [
        Node(
            f"{source}:node:{name}",
            name,
            system,
            NodeKind.RESERVOIR if not n else NodeKind.JUNCTION,
            Point(540_000 + 9 * n, 3_350_000, 5.0),
        )
        for n, name in enumerate(names)
    ]
    links = [
        Link(
            f"{source}:link:{n}",
            str(n),
            system,
            LinkKind.PIPE,
            LineString([a.point, b.point]),
            a.id,
            b.id,
            diameter_m=0.2,
        )
        for n, (a, b) in enumerate(pairwise(nodes))
    ]
    return Model(source, "gis", PLACED, nodes=nodes, links=links)


def block(source):
    corners = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0.0]])
    surface = Surface(0, (0.5, 0.5, 0.5, 1.0), corners, np.tile([0, 0, 1.0], (3, 1)), np.array([[0, 1, 2]], np.int32))
    building = Building(f"{source}:building:1", "1", box(540_000, 3_350_000, 540_009, 3_350_009), 5.0, 12.0)
    return Model(
        source, "ifc", PLACED, buildings=[building], mesh=glb([surface], [("2O2Fr$t4X7Zf8NOew3FNr2", "IfcWall", "墙")])
    )


@pytest.fixture
def city(tmp_path):
    with City.create(tmp_path / "city.gpkg", CRS) as made:
        made.replace(network("water.geojson", ["a", "b", "c"]), NOW)
        made.replace(block("house.ifc"), NOW)
        loose = network("loose.geojson", ["x", "y"], System.GAS)
        made.replace(replace(loose, placement=Placement(Decision.UNPLACED, "the file says nothing")), NOW)
        yield made


@pytest.mark.parametrize(
    ("form", "name"),
    [
        (Format.GEOJSON, "a.geojson"),
        (Format.CITYJSON, "a.city.json"),
        (Format.GLB, "a.glb"),
        (Format.TILES_3D, "tiles"),
        (Format.SURVEY, "a.xlsx"),
        (Format.SURVEY, "tables"),
        (Format.GEOPACKAGE, "copy.gpkg"),
    ],
)
def test_every_format_is_written_and_written_again_in_its_place(city, tmp_path, form, name):
    first = export(city, form, tmp_path / name, Wanted())
    again = export(city, form, tmp_path / name, Wanted())
    assert first == again
    assert sum(first.counts.values()) > 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


@pytest.mark.parametrize("form", [Format.GEOJSON, Format.SURVEY, Format.GEOPACKAGE])
def test_no_export_takes_the_place_of_the_city(city, form):
    counts = city.counts()
    with pytest.raises(InputError, match="E_EXISTS"):
        export(city, form, city.path, Wanted())
    with City.open(city.path) as again:
        assert again.counts() == counts


def test_what_is_not_placed_is_left_out_and_said(city, tmp_path):
    receipt = export(city, Format.GEOJSON, tmp_path / "a.geojson", Wanted())
    assert receipt.notes == ["loose.geojson left out: unplaced"]
    sources = {f["properties"]["source"] for f in json.loads((tmp_path / "a.geojson").read_text("utf-8"))["features"]}
    assert sources == {"water.geojson", "house.ifc"}


def test_an_engines_file_is_of_one_network_or_of_those_named(city, tmp_path):
    with pytest.raises(InputError, match=r"several networks .*--source, of loose\.geojson, water\.geojson"):
        export(city, Format.EPANET, tmp_path / "a.inp", Wanted())
    receipt = export(city, Format.EPANET, tmp_path / "a.inp", Wanted(("water.geojson",)))
    assert (receipt.counts["nodes"], receipt.counts["links"]) == (3, 2)
    back = EpanetReader().read(tmp_path / "a.inp", ReadRequest("a.inp", CRS, CRS))
    assert [node.name for node in back.nodes] == ["b", "c", "a"]  # the reservoir comes in its own section
    with pytest.raises(InputError, match=r"loose\.geojson: is not placed"):
        export(city, Format.EPANET, tmp_path / "b.inp", Wanted(("water.geojson", "loose.geojson")))
    assert not (tmp_path / "b.inp").exists()


def test_links_of_one_source_may_join_nodes_of_another(city, tmp_path):
    whole = network("w", ["a", "b"])
    city.replace(replace(whole, source="nodes.shp", links=()), NOW)
    city.replace(replace(whole, source="pipes.shp", nodes=()), NOW)
    receipt = export(city, Format.EPANET, tmp_path / "a.inp", Wanted(("nodes.shp", "pipes.shp")))
    assert receipt.counts == {"nodes": 2, "links": 1}
    assert b"[PIPES]" in (tmp_path / "a.inp").read_bytes()


def test_a_file_read_into_the_city_comes_out_with_all_that_it_said(city, tmp_path):
    text = "[TITLE]\nold\n[JUNCTIONS]\nj 5 1 daily\n[RESERVOIRS]\nr 50\n[PIPES]\np r j 90 200 110 0 Open ;DI 1998\n"
    text += "[PATTERNS]\ndaily 0.5 1.5\n[CONTROLS]\nLINK p CLOSED AT TIME 5\n[OPTIONS]\nUNITS LPS\n"
    text += "[COORDINATES]\nj 540000 3350000\nr 540090 3350000\n"
    (tmp_path / "n.inp").write_text(text)
    city.replace(EpanetReader().read(tmp_path / "n.inp", ReadRequest("n.inp", CRS, CRS)), NOW)
    export(city, Format.EPANET, tmp_path / "out.inp", Wanted())  # the only source that is an EPANET file
    written = (tmp_path / "out.inp").read_text("utf-8")
    assert "LINK p CLOSED AT TIME 5" in written
    assert "daily 0.5 1.5" in written
    assert "p\tr\tj\t90\t200\t110\t0\tOPEN\t;DI 1998" in written


def test_the_city_as_it_was_is_written(city, tmp_path):
    later = NOW + timedelta(days=30)
    city.replace(network("water.geojson", ["a", "b", "c", "d"]), later)
    with city.as_of(NOW + timedelta(days=1)) as then:
        before = export(then, Format.SURVEY, tmp_path / "then.xlsx", Wanted(("water.geojson",)))
        export(then, Format.GEOPACKAGE, tmp_path / "then.gpkg", Wanted())
    after = export(city, Format.SURVEY, tmp_path / "now.xlsx", Wanted(("water.geojson",)))
    assert (before.counts["nodes"], after.counts["nodes"]) == (3, 4)
    with City.open(tmp_path / "then.gpkg") as copy:
        assert copy.counts()["nodes"] == 5  # three of water.geojson, two that are loose


def test_a_copy_of_the_city_is_whole_while_somebody_else_writes(city, tmp_path):
    writer = sqlite3.connect(city.path, isolation_level=None)
    try:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM sources")
        export(city, Format.GEOPACKAGE, tmp_path / "copy.gpkg", Wanted())
        writer.execute("ROLLBACK")
    finally:
        writer.close()
    with City.open(tmp_path / "copy.gpkg") as copy:
        assert [row.source for row in copy.sources()] == ["house.ifc", "loose.geojson", "water.geojson"]
        assert copy.counts() == city.counts()
        assert copy.crs == CRS


def test_a_model_says_where_it_stands_and_several_come_with_a_list(city, tmp_path):
    export(city, Format.GLB, tmp_path / "one.glb", Wanted())
    document, _ = unpacked((tmp_path / "one.glb").read_bytes())
    placement = document["asset"]["extras"]["placement"]
    assert (placement["crs"], placement["origin"], placement["rotation_deg"]) == (CRS, [540_000, 3_350_000, 5], 30)
    city.replace(block("annex.ifc"), NOW)
    receipt = export(city, Format.GLB, tmp_path / "models", Wanted())
    listed = json.loads((tmp_path / "models" / "models.json").read_text("utf-8"))
    assert receipt.counts == {"models": 2}
    assert [row["source"] for row in listed] == ["annex.ifc", "house.ifc"]
    assert all((tmp_path / "models" / row["file"]).is_file() for row in listed)


@pytest.mark.parametrize(
    ("form", "wanted", "message"),
    [
        (Format.GEOJSON, Wanted(("nix",)), "no source 'nix'"),
        (Format.GEOJSON, Wanted(tables=("nix",)), "no table 'nix'"),
        (Format.GLB, Wanted(tables=("nodes",)), "for geojson only"),
        (Format.SWMM, Wanted(meshes=True), "with cityjson only"),
        (Format.GEOPACKAGE, Wanted(("house.ifc",)), "has all its sources"),
        (Format.SURVEY, Wanted(("house.ifc",)), "nothing to write"),
        (Format.GLB, Wanted(("water.geojson",)), "nothing to write"),
        (Format.GEOJSON, Wanted(("loose.geojson",)), "nothing to write"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_leaves_no_file(city, tmp_path, form, wanted, message):
    before = sorted(tmp_path.iterdir())
    with pytest.raises((InputError, UnknownError), match=message):
        export(city, form, tmp_path / "out", wanted)
    assert sorted(tmp_path.iterdir()) == before
