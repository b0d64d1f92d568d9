"""The file format: geometries survive, other programs read it, the spatial index tells the truth."""

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from twin.crs import parse
from twin.errors import BusyError, InputError, UnavailableError
from twin.store import geopackage
from twin.store.geopackage import Table

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
LINES = Table("lines", (("name", "TEXT"), ("source", "TEXT")), "LINESTRING", unique=("name",), indexed=("source",))
COORDINATE = st.floats(-1e7, 1e7, allow_nan=False)


@pytest.fixture
def db(tmp_path: Path):
    connection = geopackage.connect(tmp_path / "x.gpkg", busy_timeout_s=0.1)
    with geopackage.transaction(connection):
        geopackage.create(connection, [LINES], geopackage.UNDEFINED_CARTESIAN, NOW)
    yield connection
    connection.close()


def put(db: sqlite3.Connection, count: int, source: str = "a", srs: int = -1) -> None:
    lines = np.array([shapely.LineString([(i, 0), (i, 1 + i)]) for i in range(count)], dtype=object)
    with geopackage.transaction(db), geopackage.untriggered(db, [LINES]):
        geopackage.insert(db, LINES, [(f"{source}{i}", source) for i in range(count)], lines, srs)
        geopackage.note_contents(db, LINES, NOW)


@given(st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE), min_size=2, max_size=5), st.booleans())
def test_geometry_comes_back_as_it_went_in(corners, with_z: bool) -> None:
    line = shapely.LineString(corners if with_z else [c[:2] for c in corners])
    [blob] = geopackage.encode(np.array([line], dtype=object), 4549)
    assert geopackage.decode(blob) == line


def test_missing_and_empty_geometries_come_back() -> None:
    blobs = geopackage.encode(np.array([None, shapely.Point(), shapely.Point(1, 2, 3)], dtype=object), 4549)
    assert blobs[0] is None
    assert geopackage.decode(blobs[1]) == shapely.Point()
    assert geopackage.decode(blobs[2]) == shapely.Point(1, 2, 3)


def test_another_program_reads_it_plainly_and_as_arrow(db: sqlite3.Connection, tmp_path: Path) -> None:
    put(db, 30)
    for arrow in (False, True):
        frame = pyogrio.read_dataframe(tmp_path / "x.gpkg", layer="lines", use_arrow=arrow)
        assert list(frame["name"]) == [f"a{i}" for i in range(30)]
        assert frame.geometry.iloc[7] == shapely.LineString([(7, 0), (7, 8)])


def test_box_query_through_the_index_finds_what_is_there(db: sqlite3.Connection, tmp_path: Path) -> None:
    put(db, 100)
    with geopackage.transaction(db), geopackage.untriggered(db, [LINES]):
        geopackage.delete(db, LINES, "name", "a51")
    frame = pyogrio.read_dataframe(tmp_path / "x.gpkg", layer="lines", bbox=(49.5, 0, 52.5, 1))
    assert sorted(frame["name"]) == ["a50", "a52"]
    assert db.execute("SELECT rtreecheck('rtree_lines_geom')").fetchone() == ("ok",)


def test_another_program_may_edit_it_and_the_index_follows(db: sqlite3.Connection, tmp_path: Path) -> None:
    put(db, 3)
    db.close()
    more = pyogrio.read_dataframe(tmp_path / "x.gpkg", layer="lines").iloc[:1].assign(name="new")
    more.geometry = [shapely.LineString([(500, 500), (501, 501)])]
    pyogrio.write_dataframe(more, tmp_path / "x.gpkg", layer="lines", append=True)
    assert len(pyogrio.read_dataframe(tmp_path / "x.gpkg", layer="lines", bbox=(499, 499, 502, 502))) == 1


def test_extent_and_crs_are_declared(db: sqlite3.Connection, tmp_path: Path) -> None:
    with geopackage.transaction(db):
        srs = geopackage.put_srs(db, parse("EPSG:4549"))
        assert geopackage.put_srs(db, parse("4549")) == srs == 4549
        with geopackage.untriggered(db, [LINES]):
            geopackage.move_to_srs(db, [LINES], srs)
    put(db, 5, srs=4549)
    info = pyogrio.read_info(tmp_path / "x.gpkg", layer="lines", force_total_bounds=True)
    assert info["crs"] == "EPSG:4549"
    assert info["total_bounds"] == (0, 0, 4, 5)


def test_crs_without_a_number_gets_one_of_its_own(db: sqlite3.Connection) -> None:
    local = parse("+proj=tmerc +lat_0=30 +lon_0=120.3 +x_0=5000 +y_0=2000 +ellps=GRS80 +units=m")
    with geopackage.transaction(db):
        assert geopackage.put_srs(db, local) == geopackage.put_srs(db, local) == 100_000


def test_moving_to_a_crs_rewrites_the_geometries_headers(db: sqlite3.Connection) -> None:
    put(db, 2)
    with geopackage.transaction(db), geopackage.untriggered(db, [LINES]):
        geopackage.move_to_srs(db, [LINES], geopackage.put_srs(db, parse("EPSG:4549")))
    for (blob,) in db.execute("SELECT geom FROM lines"):
        assert int.from_bytes(blob[4:8], "little", signed=True) == 4549


def test_failed_transaction_leaves_rows_index_and_triggers_alone(db: sqlite3.Connection) -> None:
    put(db, 3)
    before = db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    with pytest.raises(sqlite3.IntegrityError):
        put(db, 1)
    assert db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall() == before
    assert db.execute("SELECT count(*) FROM lines").fetchone() == (3,)
    assert db.execute("SELECT count(*) FROM rtree_lines_geom").fetchone() == (3,)


@pytest.mark.parametrize(
    ("break_it", "kind", "code"),
    [
        ("PRAGMA max_page_count = 1", UnavailableError, "E_DISK"),
        ("PRAGMA query_only = 1", UnavailableError, "E_READONLY"),
    ],
)
def test_full_disk_and_read_only_file_are_one_line(db, tmp_path: Path, break_it: str, kind: type, code: str) -> None:
    db.execute(break_it)
    with pytest.raises(kind) as error, geopackage.one_line_errors(tmp_path / "x.gpkg"):
        put(db, 5000)
    assert error.value.code == code
    assert "\n" not in str(error.value)
    assert db.execute("SELECT count(*) FROM lines").fetchone() == (0,)


def test_locked_file_is_busy_and_garbage_is_no_database(db, tmp_path: Path) -> None:
    other = geopackage.connect(tmp_path / "x.gpkg", busy_timeout_s=0.05)
    with geopackage.transaction(db), pytest.raises(BusyError), geopackage.one_line_errors(tmp_path / "x.gpkg"):
        put(other, 1)
    other.close()
    (tmp_path / "y.gpkg").write_bytes(b"not a database at all" * 100)
    garbage = sqlite3.connect(tmp_path / "y.gpkg")
    with pytest.raises(InputError, match="E_FORMAT"), geopackage.one_line_errors(tmp_path / "y.gpkg"):
        garbage.execute("SELECT 1 FROM sqlite_master")
    garbage.close()
