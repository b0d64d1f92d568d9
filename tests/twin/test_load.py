"""Loading: a receipt a file, one refused file stops no other, readers that hang or die take nothing with them."""

import json
import os
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely

from tests.twin.readers.test_epanet import SMALL
from twin import load as loading
from twin import workers
from twin.asset import System
from twin.city import City
from twin.errors import BusyError, CrsError, InputError
from twin.load import Progress, load
from twin.model import Decision, ReadRequest
from twin.workers import Workers

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def town(tmp_path: Path) -> Path:
    path = tmp_path / "town.inp"
    path.write_text(SMALL.format(units="LPS"), "utf-8")
    return path


def geojson(path: Path, rows: list[tuple[dict, dict]]) -> Path:
    features = [{"type": "Feature", "properties": p, "geometry": g} for p, g in rows]
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::4549"}}
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}), "utf-8")
    return path


def gas(folder: Path) -> tuple[Path, Path]:
    point = lambda x: {"type": "Point", "coordinates": [500_000 + x, 3_300_000]}  # noqa: E731
    line = {"type": "LineString", "coordinates": [[500_000, 3_300_000], [500_001, 3_300_000]]}
    nodes = geojson(folder / "gas_nodes.geojson", [({"id": "A"}, point(0)), ({"id": "B"}, point(1))])
    return nodes, geojson(folder / "gas_pipes.geojson", [({"id": "P", "from": "A", "to": "B"}, line)])


def test_receipts_agree_with_what_another_program_counts(tmp_path: Path, town: Path, data: Path) -> None:
    city = tmp_path / "c.gpkg"
    files = [town, data / "networks/drainage/epa_Example3.inp", data / "networks/gis/RutlandCity_lines.geojson"]
    receipts = load(files, city, at=NOW)
    assert [receipt.refused for receipt in receipts] == [False] * 3
    for table in ("nodes", "links", "zones", "buildings"):
        wanted = sum(receipt.counts[table] for receipt in receipts)
        assert len(pyogrio.read_dataframe(city, layer=table)) == wanted
    assert [json.loads(receipt.line())["kind"] for receipt in receipts] == ["epanet", "swmm", "gis"]
    assert pyogrio.read_info(city, layer="links")["crs"] == "EPSG:32618"


@pytest.mark.slow
def test_ifc_and_networks_come_into_one_new_city(tmp_path: Path, data: Path) -> None:
    names = ("ifc/arch_office_a_2x3.ifc", "ifc/mep_hvac_heating_4.ifc", "networks/water/L-TOWN.inp")
    more = ("networks/drainage/epa_Example3.inp", "networks/gis/RutlandCity_lines.geojson")
    city = tmp_path / "c.gpkg"
    receipts = load([data / name for name in (*names, *more)], city, at=NOW)
    assert [receipt.refused for receipt in receipts] == [False] * 5
    for table in ("buildings", "storeys", "spaces", "elements", "nodes", "links", "zones"):
        assert len(pyogrio.read_dataframe(city, layer=table)) == sum(r.counts[table] for r in receipts)
    assert all(receipt.peak_mb > 0 for receipt in receipts)


def test_one_refused_file_stops_no_other_and_is_told(tmp_path: Path, town: Path) -> None:
    (tmp_path / "empty.inp").touch()
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    os.mkfifo(tmp_path / "pipe.inp")
    bad = [tmp_path / name for name in ("none.inp", "empty.inp", "photo.png", "pipe.inp")]
    receipts = load([*bad, town], tmp_path / "c.gpkg", at=NOW)
    assert [r.errors[0].code for r in receipts[:4]] == ["E_MISSING", "E_EMPTY", "E_FORMAT", "E_FORMAT"]
    assert all("\n" not in receipt.line() for receipt in receipts)
    assert not receipts[4].refused


def test_nothing_read_makes_no_city(tmp_path: Path) -> None:
    load([tmp_path / "none.inp"], tmp_path / "c.gpkg", at=NOW)
    assert not (tmp_path / "c.gpkg").exists()


def test_file_loaded_again_replaces_itself_and_a_broken_one_replaces_nothing(tmp_path: Path, town: Path) -> None:
    city = tmp_path / "c.gpkg"
    for _ in range(2):
        load([town], city, at=NOW)
    town.write_text("[PIPES]\n P1 A", "utf-8")
    [receipt] = load([town], city, at=NOW)
    assert receipt.refused
    with City.open(city) as opened:
        assert opened.counts()["nodes"] == 4
        assert len(opened.sources()) == 1


def test_another_file_of_the_same_name_is_told_and_in_one_load_refused(tmp_path: Path, town: Path) -> None:
    other = tmp_path / "elsewhere" / "town.inp"
    other.parent.mkdir()
    shutil.copy(town, other)
    receipts = load([town, other], tmp_path / "c.gpkg", at=NOW)
    assert [r.refused for r in receipts] == [False, True]
    [again] = load([other], tmp_path / "c.gpkg", at=NOW)
    assert again.errors == receipts[0].errors
    assert str(town) in again.notes[0]
    [named] = load([other], tmp_path / "c.gpkg", at=NOW, source="second")
    assert (named.source, named.refused) == ("second", False)
    assert [issue.code for issue in named.errors if issue not in again.errors] == ["E_DOUBLE"]
    assert "as town.inp too" in named.errors[-1].message
    with pytest.raises(InputError, match="one name for 2 files"):
        load([town, other], tmp_path / "c.gpkg", at=NOW, source="x")


def test_what_was_given_with_a_file_holds_until_something_else_is_given(tmp_path: Path, town: Path) -> None:
    city = tmp_path / "c.gpkg"
    [first] = load([town], city, at=NOW, crs="4549", system=System.GAS)
    town.write_text(town.read_text("utf-8").replace("P1", "MAIN"), "utf-8")
    [second] = load([town], city, at=NOW)
    assert (second.revision, second.placement) == (2, first.placement)
    assert second.notes == ["where the file is silent, as given before: CRS 4549, system gas"]
    [third] = load([town], city, at=NOW, system=System.WATER)
    assert third.notes == ["where the file is silent, as given before: CRS 4549"]
    with City.open(city) as opened:
        assert set(opened.table("links")["system"]) == {"water"}
        assert [row.given.system for row in opened.revisions("town.inp")] == ["gas", "gas", "water"]
    assert third.errors == first.errors
    [displaced] = load([town], city, at=NOW, crs="EPSG:4547")
    assert displaced.errors[-1].code == "E_PLACEMENT"
    assert "stood in the city as revision 3" in displaced.errors[-1].message
    [elsewhere] = load([town], tmp_path / "d.gpkg", at=NOW)
    assert (elsewhere.placement and elsewhere.placement.decision, elsewhere.notes) == (Decision.UNPLACED, [])


def test_new_city_stands_in_the_given_crs_and_an_old_one_stays(tmp_path: Path, town: Path) -> None:
    city = tmp_path / "c.gpkg"
    [receipt] = load([town], city, at=NOW, crs="4549")
    assert receipt.placement is not None
    assert (receipt.placement.decision, receipt.placement.crs) == (Decision.PLACED, "EPSG:4549")
    near = geojson(tmp_path / "gas.geojson", [({}, {"type": "Point", "coordinates": [790_000, 3_300_000]})])
    near.write_text(near.read_text("utf-8").replace("EPSG::4549", "EPSG::4548"), "utf-8")
    [receipt] = load([near], city, at=NOW)
    assert receipt.placement is not None
    assert receipt.placement.crs == "EPSG:4549"


def test_data_far_from_the_citys_zone_is_quarantined_with_the_reason(tmp_path: Path, town: Path) -> None:
    city = tmp_path / "c.gpkg"
    load([town], city, at=NOW, crs="4549")
    vermont = geojson(tmp_path / "gas.geojson", [({}, {"type": "Point", "coordinates": [-72.9, 43.6]})])
    vermont.write_text(vermont.read_text("utf-8").replace("EPSG::4549", "OGC:1.3:CRS84"), "utf-8")
    [receipt] = load([vermont], city, at=NOW)
    assert receipt.placement is not None
    assert receipt.placement.decision is Decision.QUARANTINED
    assert "outside the area of use of the city's" in receipt.placement.contradictions[0]


def test_pipes_are_joined_to_nodes_of_another_file(tmp_path: Path) -> None:
    nodes, pipes = gas(tmp_path)
    load([nodes, pipes], tmp_path / "c.gpkg", at=NOW)
    with City.open(tmp_path / "c.gpkg") as city:
        pipe = city.asset("gas_pipes.geojson:link:P")
    assert (pipe.start, pipe.end) == ("gas_nodes.geojson:node:A", "gas_nodes.geojson:node:B")


def test_ends_that_name_nothing_are_told(tmp_path: Path) -> None:
    [receipt] = load([gas(tmp_path)[1]], tmp_path / "c.gpkg", at=NOW)
    assert receipt.errors[-1].code == "E_NODE"
    assert receipt.errors[-1].message.startswith("2 ends")


def test_folder_gives_its_files_and_an_empty_one_is_refused(tmp_path: Path, town: Path) -> None:
    gas(tmp_path)
    (tmp_path / "devices.json").write_text("[]")
    city = tmp_path / "c.gpkg"
    receipts = load([tmp_path], city, at=NOW)
    assert [receipt.source for receipt in receipts] == ["gas_nodes.geojson", "gas_pipes.geojson", "town.inp"]
    assert len(load([tmp_path], city, at=NOW)) == 3  # the city itself is none of them
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="E_MISSING"):
        load([tmp_path / "void"], city, at=NOW)
    assert load([city], city, at=NOW)[0].errors[0].code == "E_FORMAT"


def test_crs_that_does_not_exist_is_refused_before_anything_is_read(tmp_path: Path, town: Path) -> None:
    with pytest.raises(CrsError):
        load([town], tmp_path / "c.gpkg", at=NOW, crs="EPSG:999999")


def test_file_that_is_no_city_and_a_held_city_are_told(tmp_path: Path, town: Path, monkeypatch) -> None:
    (tmp_path / "x.gpkg").write_text("hello")
    with pytest.raises(InputError, match="E_FORMAT"):
        load([town], tmp_path / "x.gpkg", at=NOW)
    city = tmp_path / "c.gpkg"
    load([town], city, at=NOW)
    monkeypatch.setattr(loading.City, "open", lambda path, open_=City.open: open_(path, busy_timeout_s=0.1))
    holder = loading.City.open(city)
    holder._db.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError):
        load([town], city, at=NOW)
    holder.close()


def test_progress_tells_each_beginning_and_each_receipt(tmp_path: Path, town: Path) -> None:
    steps: list[Progress] = []
    load([town, tmp_path / "none.inp"], tmp_path / "c.gpkg", at=NOW, progress=steps.append)
    assert [(step.file.name, step.receipt is not None, step.done) for step in steps] == [
        ("none.inp", True, 1),
        ("town.inp", False, 1),
        ("town.inp", True, 2),
    ], "what cannot be read is told before the others are begun"


def test_system_of_the_caller_decides(tmp_path: Path, data: Path) -> None:
    path = data / "networks/gis/kh_petroleum_pipelines_wgs84.geojson"
    [receipt] = load([path], tmp_path / "c.gpkg", at=NOW)
    assert receipt.errors[0].code == "E_SYSTEM"
    [receipt] = load([path], tmp_path / "c.gpkg", at=NOW, system=System.GAS, tolerance_m=None)
    assert (receipt.counts["links"], receipt.repairs) == (59, {})


def pid_of(worker: workers._Worker | None) -> int:
    assert worker is not None
    pid = worker._process.pid
    assert pid is not None
    return pid


def test_worker_is_kept_warm_and_one_that_dies_refuses_its_file_only(town: Path) -> None:
    request = ReadRequest("town.inp")
    with Workers(1, timeout_s=60) as pool:
        first = pool.read(town, request)
        assert first.model is not None
        assert len(first.model.nodes) == 4
        assert first.peak_mb > 0
        worker = pool._idle.queue[0]
        again = pool.read(town.with_name("none.inp"), request)
        assert again.error is not None
        assert again.error.code == "E_MISSING"
        assert pool._idle.queue[0] is worker
        os.kill(pid_of(worker), signal.SIGKILL)
        dead = pool.read(town, request)
        assert dead.error is not None
        assert dead.error.code == "E_CRASH"
        assert pool.read(town, request).model is not None


def test_worker_that_hangs_is_killed_at_the_limit(town: Path) -> None:
    with Workers(1, timeout_s=60) as pool:
        pool.read(town, ReadRequest("town.inp"))
        worker = pool._idle.queue[0]
        pool._timeout_s = 0.2
        os.kill(pid_of(worker), signal.SIGSTOP)  # as if the library looped for ever
        begun = time.monotonic()
        late = pool.read(town, ReadRequest("town.inp"))
        assert late.error is not None
        assert late.error.code == "E_TIMEOUT"
        assert time.monotonic() - begun < 30
        assert not worker.alive


def test_killed_pool_ends_what_is_being_read_at_once(town: Path) -> None:
    with Workers(1, timeout_s=600) as pool, ThreadPoolExecutor(1) as threads:
        pool.read(town, ReadRequest("town.inp"))
        os.kill(pid_of(pool._idle.queue[0]), signal.SIGSTOP)
        reading = threads.submit(pool.read, town, ReadRequest("town.inp"))
        while not pool._idle.empty():
            time.sleep(0.01)
        pool.kill()
        error = reading.result(60).error
        assert error is not None
        assert error.code == "E_CRASH"


@pytest.mark.parametrize(("raised", "code"), [(ZeroDivisionError("x"), "E_READER"), (MemoryError(), "E_MEMORY")])
def test_bug_in_a_reader_refuses_its_file_only(town: Path, monkeypatch, raised: Exception, code: str) -> None:
    class Broken:
        def recognises(self, path: Path) -> bool:
            return True

        def read(self, path: Path, request: ReadRequest):
            raise raised

    found: Callable = lambda path: ("broken", Broken())  # noqa: E731
    monkeypatch.setattr(workers, "reader_for", found)
    error = workers.read(town, ReadRequest("x")).error
    assert error is not None
    assert error.code == code


def test_data_beyond_the_declared_bounds_of_the_city_is_quarantined(tmp_path: Path) -> None:
    """The nodes lie at (500000, 3300000), whichever way they come: in the city's CRS or in WGS 84."""
    nodes, _ = gas(tmp_path)
    City.create(tmp_path / "c.gpkg", "EPSG:4549").close()
    degrees = tmp_path / "gas_degrees.geojson"
    pyogrio.write_dataframe(pyogrio.read_dataframe(nodes).to_crs(4326), degrees)
    for path in (nodes, degrees):
        for west, decision in ((499_000.0, Decision.PLACED), (400_000.0, Decision.QUARANTINED)):
            bounds = (west, 3_299_000.0, west + 2_000.0, 3_301_000.0)
            [receipt] = load([path], tmp_path / "c.gpkg", at=NOW, bounds=bounds)
            assert receipt.placement is not None
            assert receipt.placement.decision is decision
        assert "is outside the city's bounds (400000, 3299000, 402000, 3301000)" in receipt.placement.contradictions[0]


def loose_pipes(folder: Path) -> Path:
    """Two pipes without ends; the second begins 2 cm from where the first ends."""
    lines = [[[500_000, 3_300_000], [500_010, 3_300_000]], [[500_010.02, 3_300_000], [500_020, 3_300_000]]]
    features = [({"id": n}, {"type": "LineString", "coordinates": line}) for n, line in enumerate(lines)]
    return geojson(folder / "water_pipes.geojson", features)


def test_networks_are_repaired_with_a_log_or_loaded_as_found(tmp_path: Path) -> None:
    path, city = loose_pipes(tmp_path), tmp_path / "c.gpkg"
    [found] = load([path], city, at=NOW, tolerance_m=None)
    assert (found.counts["nodes"], found.repairs) == (0, {})
    [receipt] = load([path], city, at=NOW)
    assert receipt.revision == 2
    assert receipt.counts["nodes"] == 3
    with City.open(city) as opened:
        assert receipt.repairs == opened.table("repairs")["action"].value_counts().to_dict()
        one, two = (opened.asset(f"water_pipes.geojson:link:{n}") for n in (0, 1))
        assert one.end == two.start is not None
    [tight] = load([path], city, at=NOW, tolerance_m=0.005)
    assert tight.counts["nodes"] == 4


@pytest.mark.filterwarnings("ignore:.crs. was not provided")
def test_network_that_is_not_placed_and_may_be_in_degrees_is_not_repaired(tmp_path: Path) -> None:
    """Five hundredths of a degree are five kilometres."""
    path = tmp_path / "water.shp"
    pyogrio.write_dataframe(
        gpd.GeoDataFrame({"id": [1, 2]}, geometry=[shapely.LineString([(x, 43), (x, 43.1)]) for x in (-72, -72.03)]),
        path,
    )
    [receipt] = load([path], tmp_path / "c.gpkg", at=NOW)
    assert receipt.placement is not None
    assert receipt.placement.decision is Decision.UNPLACED
    assert receipt.repairs == {}
    assert receipt.errors[-1].code == "E_REPAIR"


def test_second_load_waits_for_the_first_and_says_so(tmp_path: Path, town: Path) -> None:
    city = tmp_path / "c.gpkg"
    load([town], city, at=NOW)
    said = threading.Event()
    with closing(sqlite3.connect(city, isolation_level=None, check_same_thread=False)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as threads:
            town.write_text(SMALL.format(units="GPM"), "utf-8")
            second = threads.submit(load, [town], city, at=NOW, waiting=said.set)
            assert said.wait(60)
            holder.execute("ROLLBACK")
            [receipt] = second.result(60)
    assert (receipt.refused, receipt.revision) == (False, 2)


def test_two_first_loads_at_once_make_one_city(tmp_path: Path, town: Path) -> None:
    other = tmp_path / "other.inp"
    shutil.copy(town, other)
    city = tmp_path / "c.gpkg"
    with ThreadPoolExecutor(2) as threads:
        both = [threads.submit(load, [path], city, at=NOW) for path in (town, other)]
        receipts = [each.result(60)[0] for each in both]
    assert [receipt.refused for receipt in receipts] == [False, False]
    with City.open(city) as opened:
        assert opened.counts()["nodes"] == 8


@pytest.mark.slow
def test_every_broken_file_of_the_real_data_is_one_line_and_the_others_come_in(tmp_path: Path, data: Path) -> None:
    """INDEX.tsv names what is broken; the sums of every IFC receipt hold."""
    broken = {"bad_header.ifc", "bad_schema_ifc20_longform.ifc"}
    receipts = load([data / "networks", *sorted((data / "ifc").glob("bad_*.ifc"))], tmp_path / "c.gpkg", at=NOW)
    refused = {Path(receipt.file).name: receipt for receipt in receipts if receipt.refused}
    assert broken <= set(refused)
    for receipt in refused.values():
        assert receipt.errors[0].code.startswith("E_")
        assert "\n" not in receipt.errors[0].message
        assert receipt.errors[0].code not in {"E_READER", "E_CRASH", "E_BUG"}
    with City.open(tmp_path / "c.gpkg") as city:
        assert {row.source for row in city.sources()} == {each.source for each in receipts if not each.refused}
        assert city.counts() == {
            table: sum(each.counts[table] for each in receipts if not each.refused) for table in city.counts()
        }
    for receipt in receipts:
        if receipt.kind == "ifc" and not receipt.refused:
            excluded = receipt.excluded or 0
            total = excluded if isinstance(excluded, int) else sum(excluded.values())
            assert receipt.products == receipt.meshed + receipt.empty + receipt.failed + total
