"""Revisions: what a load replaces is kept whole, the city of a time answers, an older city file keeps all it has."""

import gzip
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.twin.test_city import NOW, PLACED, UNPLACED, everything, many
from twin.asset import System
from twin.city import City, Stored
from twin.errors import InputError, UnavailableError, UnknownError
from twin.model import Issue, Joint, Model, Repair, RepairAction
from twin.network import ValveState
from twin.store import history

DAY = timedelta(days=1)
OLD_CITY = Path(__file__).with_name("city_format_1.gpkg.gz")
"""Written by the code of commit 6bcfab0: everything() placed as a.ifc and unplaced as b.ifc, many() as c."""

NOBODY = 65534


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    with City.create(tmp_path / "c.gpkg", "EPSG:4549") as made:
        yield made


def renewed(model: Model) -> Model:
    """Return a later model: a node and the pipe gone, another mesh, a repair, something that no asset holds."""
    snap = Repair(RepairAction.SNAP, model.nodes[0].id, None, 0.02, 0.05, 1.0, 2.0)
    return replace(model, nodes=model.nodes[:1], links=[], mesh=b"glTF renewed", repairs=[snap], remainder=b"[OPTIONS]")


def comparable(model: Model) -> Model:
    """Return the model with lists where it has tuples or lists."""
    tables = ("buildings", "storeys", "spaces", "elements", "nodes", "links", "zones", "repairs", "issues")
    placement = replace(model.placement, contradictions=[], rivals=[])
    return replace(model, placement=placement, **{name: list(getattr(model, name)) for name in tables})


def test_every_revision_comes_back_as_it_was(city: City) -> None:
    first = everything()
    second = renewed(first)
    third = replace(second, mesh=None, account={"products": 3})
    for number, model in enumerate((first, second, third)):
        assert city.replace(model, NOW + number * DAY, sha256=str(number)) == Stored(number + 1, is_new=True)
    for number, model in enumerate((first, second, third)):
        assert comparable(city.model("a.ifc", revision=number + 1)) == comparable(model)
        assert comparable(city.model("a.ifc", at=NOW + number * DAY + DAY / 2)) == comparable(model)
    assert comparable(city.model("a.ifc")) == comparable(third)
    assert [(row.revision, row.loaded, row.sha256) for row in city.revisions("a.ifc")] == [
        (1, NOW, "0"),
        (2, NOW + DAY, "1"),
        (3, NOW + 2 * DAY, "2"),
    ]
    assert city.sources()[0].revision == 3
    assert city.remainder("a.ifc") == b"[OPTIONS]"


def test_same_file_that_brings_the_same_is_no_new_revision(city: City) -> None:
    model = everything()
    city.replace(model, NOW, path="/a", sha256="x")
    before = city.revision()
    doubt = replace(model, issues=[Issue("E_SOURCE", "moved")])
    assert city.replace(doubt, NOW + DAY, path="/b", sha256="x") == Stored(1, is_new=False)
    [row] = city.sources()
    assert (city.revision(), row.loaded, row.path) == (before, NOW, "/b")
    elsewhere = replace(model, placement=replace(PLACED, rotation_deg=31.0))
    assert city.replace(elsewhere, NOW + DAY, sha256="x") == Stored(2, is_new=True)
    assert city.replace(elsewhere, NOW + DAY, sha256="y") == Stored(3, is_new=True)


def test_revision_or_time_that_is_not_there_is_told_with_those_that_are(city: City) -> None:
    city.replace(everything(), NOW)
    with pytest.raises(UnknownError, match=r"no revision 2 .*1 \(2026-01-02 03:04Z\)"):
        city.model("a.ifc", revision=2)
    with pytest.raises(UnknownError, match="no revision at 2026-01-01"):
        city.model("a.ifc", at=NOW - DAY)
    for ask in (city.revisions, city.model, city.remainder):
        with pytest.raises(UnknownError, match=r"no source 'b'.*a\.ifc"):
            ask("b")


def test_city_of_a_time_answers_as_it_did_then(city: City) -> None:
    first = everything()
    node = first.nodes[0].id
    city.replace(first, NOW)
    city.operate(node, ValveState.CLOSED, at=NOW + DAY / 4, by="crew 3")
    then = {name: city.table(name).drop(columns="geometry", errors="ignore") for name in ("nodes", "links", "elements")}
    counts = city.counts()
    city.replace(renewed(first), NOW + DAY)
    city.replace(many("later", 5), NOW + DAY)
    city.operate(node, ValveState.OPEN, at=NOW + DAY, by="crew 3")
    with city.as_of(NOW + DAY / 2) as past:
        assert past.counts() == counts
        for name, table in then.items():
            assert past.table(name).drop(columns="geometry", errors="ignore").equals(table)
        assert past.asset(first.links[0].id) == first.links[0]
        assert past.mesh("a.ifc").glb == b"glTF"
        assert past.valve_states() == {node: ValveState.CLOSED}
        assert [row.source for row in past.sources()] == ["a.ifc"]
        assert past.nodes_named(System.WATER)["N:1"] == node
        assert past.crs == "EPSG:4549"
        with pytest.raises(InputError, match="as it was at 2026-01-02"):
            past.replace(first, NOW)
    assert city.counts()["nodes"] == 6
    with city.as_of(NOW - DAY) as empty:
        assert set(empty.counts().values()) == {0}
        assert empty.sources() == []
    with city.as_of(NOW + DAY) as now:
        assert now.counts() == city.counts()


def test_mesh_that_stays_is_kept_once(city: City, tmp_path: Path) -> None:
    model = replace(everything(), mesh=b"glTF" * 1000)
    for number in range(3):
        city.replace(replace(model, account={"products": number}), NOW + number * DAY)
    with closing(sqlite3.connect(tmp_path / "c.gpkg")) as db:
        assert db.execute("SELECT count(*) FROM former_meshes").fetchone() == (0,)
    assert {len(city.model("a.ifc", revision=number).mesh or b"") for number in (1, 2, 3)} == {4000}
    city.replace(replace(model, mesh=None), NOW + 3 * DAY)
    assert {len(city.model("a.ifc", revision=number).mesh or b"") for number in (1, 2, 3)} == {4000}
    assert city.model("a.ifc").mesh is None


def test_packed_model_of_another_version_is_read_with_what_is_known(city: City) -> None:
    """A later version adds fields and tables, an earlier one lacks them."""
    model = everything()
    said = history.msgspec.msgpack.decode(history.pack(model))
    del said["tables"]["zones"], said["tables"]["nodes"]["basis"]
    said["tables"]["nodes"]["colour"] = ["red", "blue"]
    said["tables"]["trees"] = {"species": ["oak"]}
    back = history.unpack(history.msgspec.msgpack.encode(said))
    assert list(back.nodes) == list(model.nodes)
    assert list(back.zones) == []


def test_load_that_fails_midway_leaves_no_trace(city: City) -> None:
    city.replace(everything(), NOW)
    before = (city.revision(), city.counts(), city.revisions("a.ifc"))
    double = everything()
    with pytest.raises(InputError, match="E_ID"):
        city.replace(replace(double, links=[*double.links, double.links[0]]), NOW + DAY)
    assert (city.revision(), city.counts(), city.revisions("a.ifc")) == before


def test_checks_joints_and_valves_are_kept(city: City) -> None:
    model = everything()
    city.replace(model, NOW)
    revision = city.revision()
    city.put_check("a.ifc", "ids", {"passed": 3, "failed": 1}, NOW)
    city.put_check("a.ifc", "schema", {"errors": 0}, NOW)
    assert set(city.revisions("a.ifc")[0].checks) == {"ids", "schema"}
    assert city.revisions("a.ifc")[0].checks["ids"]["failed"] == 1
    joint = Joint(model.nodes[0].id, model.elements[0].id, 0.25, 0.8, "near")
    city.put_joints([joint, replace(joint, confidence=0.1)])
    city.put_joints([joint])
    assert city.table("joints").to_dict("records") == [
        {"node": joint.node, "element": joint.element, "distance_m": 0.25, "confidence": 0.8, "why": "near"}
    ]
    assert city.revision() > revision
    with pytest.raises(UnknownError):
        city.operate("nobody", ValveState.OPEN, at=NOW, by="crew 3")
    with pytest.raises(UnknownError):
        city.put_check("nobody", "ids", {}, NOW)
    city.replace(renewed(model), NOW + DAY)
    assert city.revisions("a.ifc")[0].checks["schema"] == {"errors": 0, "at": "2026-01-02T03:04:05Z"}
    assert city.revisions("a.ifc")[1].checks == {}
    assert len(city.table("repairs")) == 1


def test_city_of_format_one_is_upgraded_and_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "old.gpkg"
    path.write_bytes(gzip.decompress(OLD_CITY.read_bytes()))
    with City.open(path) as city:
        assert city.counts() == {
            "buildings": 2,
            "storeys": 2,
            "spaces": 2,
            "elements": 4,
            "nodes": 7,
            "links": 2,
            "zones": 2,
        }
        for source, placement in (("a.ifc", PLACED), ("b.ifc", UNPLACED)):
            unzoned = everything(source, placement)
            unzoned = replace(unzoned, nodes=[replace(node, zone=None) for node in unzoned.nodes])
            assert comparable(city.model(source)) == comparable(unzoned)
        assert [(row.source, row.revision, row.path) for row in city.sources()] == [
            ("a.ifc", 1, "/somewhere/a.ifc"),
            ("b.ifc", 1, ""),
            ("c", 1, ""),
        ]
        city.replace(renewed(everything()), datetime(2026, 3, 1, tzinfo=UTC))
        city.operate("a.ifc:node:N:1", ValveState.STUCK, at=NOW, by="crew 3")
        assert len(city.model("a.ifc", revision=1).links) == 1
        assert len(city.table("nodes")) == 6
    with City.open(path) as again, closing(sqlite3.connect(path)) as db:
        assert len(again.revisions("a.ifc")) == 2
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A folder with a city of format 1 and one of today that this process, nobody's if it was root's, cannot write."""
    with TemporaryDirectory() as name:  # anybody may look into it, not so into pytest's
        folder = Path(name)
        (folder / "old.gpkg").write_bytes(gzip.decompress(OLD_CITY.read_bytes()))
        with City.create(folder / "new.gpkg", "4549") as city:
            city.replace(everything(), NOW)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


@pytest.mark.parametrize("name", ["old.gpkg", "new.gpkg"])
def test_city_where_nothing_can_be_written_is_read_whichever_its_format(shelf: Path, name: str) -> None:
    before = (shelf / name).read_bytes()
    with City.open(shelf / name) as city, city.as_of(NOW + DAY) as then:
        assert "a.ifc" in [row.source for row in city.sources()]
        assert then.model("a.ifc") == city.model("a.ifc")
        assert city.valve_states() == {}
        for write in (
            lambda: city.replace(renewed(everything()), NOW + DAY),
            lambda: city.operate("a.ifc:node:N:1", ValveState.STUCK, at=NOW, by="crew 3"),
        ):
            with pytest.raises(UnavailableError, match=r"E_READONLY .* cannot be written"):
                write()
    assert (shelf / name).read_bytes() == before
    assert sorted(each.name for each in shelf.iterdir()) == ["new.gpkg", "old.gpkg"]
