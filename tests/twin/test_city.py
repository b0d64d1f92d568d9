"""The city database: assets come back as they went in, a file is replaced whole or not at all."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pyogrio
import pytest
import shapely

from twin.asset import (
    Building,
    Element,
    Link,
    LinkKind,
    Node,
    NodeKind,
    Space,
    Storey,
    System,
    Zone,
    ZoneKind,
    asset_id,
)
from twin.city import City
from twin.errors import BusyError, CrsError, InputError, UnavailableError, UnknownError
from twin.model import Decision, Issue, Model, Placement
from twin.store import geopackage

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLACED = Placement(Decision.PLACED, "test", "EPSG:4549", origin=(500_000.0, 3_300_000.0, 5.0), rotation_deg=30.0)
UNPLACED = Placement(Decision.UNPLACED, "nobody said where")


def everything(source: str = "a.ifc", placement: Placement = PLACED) -> Model:
    building = asset_id(source, "building", "B")
    storey = asset_id(source, "storey", "S")
    node, other = asset_id(source, "node", "N:1"), asset_id(source, "node", "井2")
    zone = asset_id(source, "zone", "Z")
    square = shapely.MultiPolygon([shapely.box(0, 0, 10, 10)])
    point = shapely.Point(1, 2, 3)
    return Model(
        source,
        "test",
        placement,
        buildings=[Building(building, "一幢", square, 5.0, 18.0, 6, "residential", 1996, 96, {"a": True, "b": None})],
        storeys=[Storey(storey, "1F", building, 5.0)],
        spaces=[Space(asset_id(source, "space", "R"), "101", storey, "Kitchen", 12.5)],
        elements=[
            Element(asset_id(source, "element", "G"), "G", "IfcWall", "wall", position=point, connects=(node, other)),
            Element(asset_id(source, "element", "H"), "H", "IfcDoor", "door", properties={"Pset.Fire": "EI30", "n": 2}),
        ],
        nodes=[
            Node(node, "N:1", System.WATER, NodeKind.HYDRANT, point, ground_m=4.0, invert_m=3.0, zone=zone),
            Node(other, "井2", System.WATER, NodeKind.JUNCTION, shapely.Point(5, 6), zone=zone),
        ],
        links=[
            Link(
                asset_id(source, "link", "P"),
                "P",
                System.WATER,
                LinkKind.PIPE,
                shapely.LineString([(1, 2, 3), (5, 6, 2)]),
                start=node,
                end=other,
                diameter_m=0.3,
                year=1998,
            )
        ],
        zones=[Zone(zone, "Z", System.WATER, ZoneKind.DMA, square)],
        mesh=b"glTF",
        issues=[Issue("E_X", "a doubt", "G")],
        account={"products": 2},
    )


def many(source: str, count: int, name: str = "n") -> Model:
    nodes = [
        Node(
            asset_id(source, "node", f"{name}{i}"),
            f"{name}{i}",
            System.GAS,
            NodeKind.JUNCTION,
            shapely.Point(500_000 + i, 3_300_000),
        )
        for i in range(count)
    ]
    return Model(source, "test", PLACED, nodes=nodes)


def test_every_kind_of_asset_comes_back_equal(tmp_path: Path) -> None:
    model = everything()
    with City.create(tmp_path / "c.gpkg", "EPSG:4549") as city:
        city.replace(model, NOW)
        for table in ("buildings", "storeys", "spaces", "elements", "nodes", "links", "zones"):
            for asset in getattr(model, table):
                assert city.asset(asset.id) == asset
        mesh = city.mesh("a.ifc")
        assert (mesh.glb, mesh.easting, mesh.northing, mesh.height, mesh.rotation_deg) == (b"glTF", 5e5, 3.3e6, 5, 30)


def test_source_row_tells_what_was_loaded(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", None) as city:
        city.replace(everything(), NOW, path="/somewhere/a.ifc", sha256="ab")
        [row] = city.sources()
    assert (row.source, row.kind, row.path, row.sha256, row.loaded) == ("a.ifc", "test", "/somewhere/a.ifc", "ab", NOW)
    assert row.counts["elements"] == 2
    assert row.placement.decision is Decision.PLACED
    assert row.issues == (Issue("E_X", "a doubt", "G"),)
    assert row.account == {"products": 2}


def test_unknown_asset_mesh_and_table_are_told(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", None) as city:
        for ask in (lambda: city.asset("a:node:1"), lambda: city.mesh("a"), lambda: city.table("nonsense")):
            with pytest.raises(UnknownError):
                ask()


def test_loading_again_replaces_its_own_assets_and_nothing_else(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "4549") as city:
        city.replace(many("a", 10), NOW)
        city.replace(many("b", 5), NOW)
        before = city.revision()
        city.replace(many("a", 3, "other"), NOW)
        assert city.revision() == before + 1
        assert city.counts()["nodes"] == 8
        assert sorted(city.table("nodes")["source"]) == ["a"] * 3 + ["b"] * 5
        city.replace(Model("b", "test", UNPLACED), NOW)
        assert city.counts()["nodes"] == 3


def test_tables_are_what_another_program_reads(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "4549") as city:
        city.replace(everything(), NOW)
        city.replace(everything("b.ifc", UNPLACED), NOW)
        counts = city.counts()
        nodes = city.table("nodes", placed_only=True)
        assert list(nodes.index) == ["a.ifc:node:N:1", "a.ifc:node:井2"]
        assert list(nodes["asset"]) == list(nodes.index)
        assert nodes.crs.to_epsg() == 4549
        assert len(city.table("storeys")) == 2
    for name, count in counts.items():
        for arrow in (False, True):
            assert len(pyogrio.read_dataframe(tmp_path / "c.gpkg", layer=name, use_arrow=arrow)) == count
    theirs = pyogrio.read_dataframe(tmp_path / "c.gpkg", layer="nodes")
    assert list(theirs.geometry[:2]) == list(nodes.geometry)
    frame = sqlite3.connect(tmp_path / "c.gpkg")
    assert frame.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert frame.execute("PRAGMA foreign_key_check").fetchall() == []
    frame.close()


def test_city_without_crs_adopts_the_first_placed_source(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", None) as city:
        city.replace(everything("u.ifc", UNPLACED), NOW)
        assert city.crs is None
        assert city.table("nodes").crs is None
        city.replace(everything(), NOW)
        assert city.crs == "EPSG:4549"
        assert city.table("links").crs.to_epsg() == 4549
        assert city.asset("u.ifc:node:N:1").point == shapely.Point(1, 2, 3)


def test_placed_model_in_another_crs_is_refused(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "EPSG:4549") as city:
        with pytest.raises(CrsError, match="EPSG:4547"):
            city.replace(everything("x", Placement(Decision.PLACED, "t", "EPSG:4547")), NOW)
        assert city.revision() == 0


@pytest.mark.parametrize("crs", ["EPSG:4490", "EPSG:2264", "EPSG:1"])
def test_city_stands_in_a_projected_crs_in_metres(tmp_path: Path, crs: str) -> None:
    with pytest.raises(CrsError):
        City.create(tmp_path / "c.gpkg", crs)
    assert list(tmp_path.iterdir()) == []


def test_two_assets_with_one_id_are_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "4549") as city:
        city.replace(many("a", 10), NOW)
        double = many("a", 2)
        with pytest.raises(InputError, match="E_ID"):
            city.replace(Model("a", "test", PLACED, nodes=[*double.nodes, double.nodes[0]]), NOW)
        assert city.counts()["nodes"] == 10


@pytest.mark.parametrize("content", [b"", b"no database at all, just some text" * 50])
def test_file_that_is_no_city_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.gpkg"
    path.write_bytes(content)
    with pytest.raises(InputError, match="E_FORMAT"):
        City.open_or_create(path, None)
    assert path.read_bytes() == content


def test_geopackage_of_somebody_else_is_no_city(tmp_path: Path, data: Path) -> None:
    frame = pyogrio.read_dataframe(data / "networks/water/ky4_junctions.geojson")
    pyogrio.write_dataframe(frame, tmp_path / "c.gpkg", layer="nodes")
    with pytest.raises(InputError, match="is no city database"):
        City.open(tmp_path / "c.gpkg")


def test_missing_city_existing_city_and_missing_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="E_MISSING"):
        City.open(tmp_path / "c.gpkg")
    City.create(tmp_path / "c.gpkg", None).close()
    with pytest.raises(InputError, match="E_EXISTS"):
        City.create(tmp_path / "c.gpkg", None)
    with pytest.raises(UnavailableError, match="E_READONLY"):
        City.create(tmp_path / "nowhere" / "c.gpkg", None)


def test_second_writer_is_told_that_the_city_is_busy_or_waits(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "4549") as city, City.open(tmp_path / "c.gpkg", busy_timeout_s=0.1) as other:
        holder = geopackage.connect(tmp_path / "c.gpkg", busy_timeout_s=0.1)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(BusyError):
            other.replace(many("a", 1), NOW)
        assert other.counts()["nodes"] == 0  # reading goes on
        threading.Timer(0.3, lambda: holder.execute("COMMIT")).start()
        city.replace(many("a", 1), NOW)  # waits for it
        holder.close()
        assert other.counts()["nodes"] == 1


def test_readers_see_before_or_after_and_never_between(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "4549") as city:
        city.replace(many("a", 400), NOW)
        seen: set[int] = set()
        done = threading.Event()

        def watch() -> None:
            with City.open(tmp_path / "c.gpkg") as reader:
                while True:
                    seen.add(len(reader.table("nodes")))
                    if done.is_set():
                        return

        watcher = threading.Thread(target=watch)
        watcher.start()
        for round_ in range(12):
            city.replace(many("a", 400 + 300 * (round_ % 2)), NOW)
        done.set()
        watcher.join()
    assert seen
    assert seen <= {400, 700}


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.twin.test_city import City, NOW, many, geopackage
note = geopackage.note_contents
def die(db, table, at):
    note(db, table, at)
    if table.name == "nodes":
        print("writing", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
geopackage.note_contents = die
City.open(Path(sys.argv[1])).replace(many("a", 20_000, "new"), NOW)
"""


def test_writer_killed_in_the_middle_leaves_the_city_as_it_was(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "4549") as city:
        city.replace(many("a", 10), NOW)
        city.replace(many("b", 5), NOW)
        root = Path(__file__).resolve().parents[2]
        dead = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path / "c.gpkg")],
            capture_output=True,
            text=True,
            check=False,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
            timeout=120,
        )
        assert dead.stdout == "writing\n"
        assert dead.returncode == -signal.SIGKILL
        assert city.counts()["nodes"] == 15
        assert city.revision() == 2
        city.replace(many("a", 7), NOW)
        assert city.counts()["nodes"] == 12
    plain = sqlite3.connect(tmp_path / "c.gpkg")
    assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert plain.execute("SELECT rtreecheck('rtree_nodes_geom')").fetchone() == ("ok",)
    plain.close()


def test_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with City.create(tmp_path / "c.gpkg", "4549") as city:
        city.replace(many("a", 10), NOW)
        connect = geopackage.connect

        def small(path: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
            db = connect(path, busy_timeout_s=busy_timeout_s)
            db.execute("PRAGMA max_page_count = 1")  # SQLite answers as on a full disk
            return db

        monkeypatch.setattr(geopackage, "connect", small)
        with pytest.raises(UnavailableError, match=r"E_DISK .*the disk is full; nothing was changed"):
            city.replace(many("a", 20_000), NOW)
        assert city.counts()["nodes"] == 10


def test_names_shared_by_several_nodes_find_none(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "4549") as city:
        city.replace(many("a", 3), NOW)
        city.replace(many("b", 1), NOW)
        assert city.nodes_named(System.GAS) == {"n1": "a:node:n1", "n2": "a:node:n2"}
        assert city.nodes_named(System.WATER) == {}


def test_city_stands_in_a_crs_that_wkt_1_cannot_write(tmp_path: Path) -> None:
    with City.create(tmp_path / "c.gpkg", "EPSG:5516") as city:
        assert city.crs == "EPSG:5516"
    assert pyogrio.read_info(tmp_path / "c.gpkg", layer="nodes")["crs"] == "EPSG:5516"
