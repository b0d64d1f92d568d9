"""`chengmai diff` and `chengmai place`, and the devices that follow a renewed model."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dashboards.commands import diff, load, place
from dashboards.settings import SettingsSource
from sensors.device import Device, DeviceId, Point
from sensors.operations import connect
from sensors.registry import Registry
from tests.twin.readers.test_epanet import SMALL
from twin.asset import AssetId, Element, System
from twin.city import City
from twin.errors import InputError, UnknownError
from twin.model import Decision, Model, Placement

app = typer.Typer()
app.command("load")(load.load)
app.command("sources")(load.sources)
app.command("diff")(diff.diff)
app.command("place")(place.place)


@app.callback()
def settings(ctx: typer.Context) -> None:
    ctx.obj = SettingsSource(None, lambda logs: None)


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A town in a city of its own, in the folder of the settings."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "town.inp"
    path.write_text(SMALL.format(units="LPS"), "utf-8")
    return path


def registry(folder: Path, *assets: str) -> Registry:
    """Return a registry with a device an asset, named D0, D1 and so on."""
    made = Registry(connect(f"sqlite:///{folder / 'operations.sqlite'}"))
    point = Point("pressure", "pressure", "MPa")
    every = timedelta(seconds=5)
    made.put(
        Device(DeviceId(f"D{n}"), "main", System.WATER, (point,), every, asset=AssetId(asset))
        for n, asset in enumerate(assets)
    )
    return made


def test_devices_follow_what_is_renamed_and_those_that_lost_theirs_are_listed(town: Path, tmp_path: Path) -> None:
    """P1 is called MAIN in the second file, P3 is gone, J1 stays."""
    names = ("town.inp:link:P1", "town.inp:link:P3", "town.inp:node:J1")
    devices = registry(tmp_path, *names)
    run("load", town, "--crs", "4549")
    text = town.read_text("utf-8").replace(" P3 J2 T1 500 6 100 0 Open\n", "")
    town.write_text(text.replace("P1", "MAIN"), "utf-8")
    receipt = json.loads(run("load", town, "--crs", "4549", "--json").stdout)
    assert receipt["revision"] == 2
    assert receipt["devices"] == {
        "rebound": [{"device": "D0", "from": names[0], "to": "town.inp:link:MAIN"}],
        "lost": [{"device": "D1", "asset": names[1]}],
    }
    assert [devices.get(f"D{n}").asset for n in range(3)] == ["town.inp:link:MAIN", *names[1:]]
    again = run("load", town, "--crs", "4549")
    assert "unchanged: revision 2" in again.stdout
    assert "E_BINDING device D1 has lost town.inp:link:P3" in again.stdout
    assert "follows" not in again.stdout
    told = run("diff", "town.inp", "--devices")
    assert "device D0 follows town.inp:link:P1 to town.inp:link:MAIN" in told.stdout
    assert "E_BINDING device D1 has lost town.inp:link:P3" in told.stdout


def test_without_an_operations_database_none_is_made(town: Path, tmp_path: Path) -> None:
    run("load", town, "--crs", "4549")
    town.write_text(town.read_text("utf-8").replace("P1", "MAIN"), "utf-8")
    receipt = json.loads(run("load", town, "--crs", "4549", "--json").stdout)
    assert "devices" not in receipt
    assert "no devices" in run("diff", "town.inp", "--devices").stdout
    assert not (tmp_path / "operations.sqlite").exists()


def test_registry_that_cannot_be_read_stops_no_load_and_is_told(town: Path, tmp_path: Path) -> None:
    run("load", town, "--crs", "4549")
    (tmp_path / "operations.sqlite").write_text("this is no database", "utf-8")
    town.write_text(town.read_text("utf-8").replace("P1", "MAIN"), "utf-8")
    told = run("load", town, "--crs", "4549")
    assert told.exit_code == 1
    assert "revision 2" in told.stdout
    assert "E_BINDING devices did not follow (load the file again): E_" in told.stdout
    assert json.loads(run("load", town, "--crs", "4549", "--json").stdout)["devices"]["error"].startswith("E_")


def test_difference_is_told_to_people_and_to_machines(town: Path) -> None:
    run("load", town, "--crs", "4549")
    town.write_text(town.read_text("utf-8").replace(" P2 J1 J2 500 6", " P2 J1 J2 500 8"), "utf-8")
    assert "revision 2" in run("load", town, "--crs", "4549").stdout
    told = run("diff", "town.inp").stdout
    assert "changed           1: 1 service" in told
    assert "1 × service diameter_m" in told
    found = json.loads(run("diff", "town.inp", "1", "2", "--json").stdout)
    assert (found["from"]["revision"], found["to"]["revision"]) == (1, 2)
    [pair] = found["changed"]
    [change] = [each for each in pair["changes"] if each["field"] == "diameter_m"]
    assert change["to"] / change["from"] == pytest.approx(8 / 6)
    assert "changed           1: 1 service" in run("diff", "town.inp", "2", "1").stdout
    assert "the same" in run("diff", "town.inp", "2", "2").stdout
    assert run("sources", "--source", "town.inp").stdout.count("revision ") == 2


def test_what_changed_alike_is_told_in_one_line_without_the_words_that_stay(tmp_path: Path) -> None:
    """Six windows of two sizes are renewed, eight meters connect to another element each."""

    def elements(stuff: str, made: int) -> list[Element]:
        windows = [f"{stuff} {size}" for size in ("2.4x1.5", "1.2x1") for _ in range(3)]
        return [
            *(
                Element(AssetId(f"b:element:w{n}"), f"w{n}", "IfcWindow", name, type_name=name, materials=(stuff,))
                for n, name in enumerate(windows)
            ),
            *(
                Element(AssetId(f"b:element:m{n}"), f"m{n}", "IfcFlowMeter", "m", connects=(AssetId(f"{made}-{n}"),))
                for n in range(8)
            ),
        ]

    city = tmp_path / "c.gpkg"
    with City.create(city, "4549") as made:
        for number, stuff in enumerate(("钢框", "铝框")):
            model = Model("b", "ifc", Placement(Decision.UNPLACED, "test"), elements=elements(stuff, number))
            made.replace(model, datetime(2026, 1, 1 + number, tzinfo=UTC))
    told = [line.strip() for line in run("diff", "b", "--city", city).stdout.splitlines()]
    assert told[-2:] == [
        "8 × IfcFlowMeter connects: in 8 ways, such as 0-0 → 1-0",
        "6 × IfcWindow name, type_name, materials: 钢框 → 铝框",
    ]


def test_sources_of_a_time_are_those_that_stood_then(town: Path) -> None:
    run("load", town, "--crs", "4549")
    before = datetime.now(UTC).isoformat()
    town.write_text(town.read_text("utf-8").replace("P1", "MAIN"), "utf-8")
    run("load", town, "--crs", "4549")
    assert "revision 1 of" in run("sources", "--as-of", before).stdout
    assert "revision 2 of" in run("sources").stdout
    assert "town.inp" not in run("sources", "--as-of", "2020-01-01T00:00Z").stdout
    assert isinstance(run("sources", "--as-of", "noon").exception, InputError)


def test_revision_that_is_none_is_told(town: Path) -> None:
    run("load", town, "--crs", "4549")
    for words, error in (
        (("town.inp",), InputError),
        (("town.inp", "3"), UnknownError),
        (("town.inp", "2020-01-01T00:00Z"), UnknownError),
        (("town.inp", "yesterday"), InputError),
        (("town.inp", "2020-01-01"), InputError),
        (("nothing",), UnknownError),
    ):
        assert isinstance(run("diff", *words).exception, error), words


def test_place_tells_decides_and_takes_back(town: Path) -> None:
    run("load", town)
    assert "unplaced" in run("place", "town.inp").stdout
    for words in (("--accept",), ("--origin", "1"), ("--origin", "1,x"), ("--accept", "--withdraw"), ("--withdraw",)):
        assert isinstance(run("place", "town.inp", *words).exception, InputError), words
    assert "the city has no CRS yet" in str(run("place", "town.inp", "--origin", "500000,3300000").exception)
    words = ("--origin", "500000,3300000", "--crs", "EPSG:4549", "--by", "li", "--why", "as the plan says", "--json")
    told = json.loads(run("place", "town.inp", *words).stdout)
    assert told["revision"] == 2
    assert told["placement"]["decision"] == "placed"
    assert told["placement"]["origin"] == [500_000.0, 3_300_000.0, 0.0]
    assert (told["decided"]["by"], told["decided"]["why"]) == ("li", "as the plan says")
    assert "decided by li" in run("sources").stdout
    back = run("place", "town.inp", "--withdraw", "--by", "wang").stdout
    assert "unplaced" in back
    assert "wang took the decision back" in back
    assert (
        "placement    unplaced: no CRS in the file and none given → placed: decided by li"
        in run("diff", "town.inp", "1", "2").stdout
    )


def test_bounds_of_the_settings_keep_models_out(town: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("load", town, "--crs", "4549")
    monkeypatch.setenv("CHENGMAI_CITY__BOUNDS", "[500000, 3300000, 501000, 3301000]")
    assert "outside the city's bounds" in run("load", town, "--crs", "4549").stdout
    monkeypatch.setenv("CHENGMAI_CITY__BOUNDS", "[501000, 3300000, 500000, 3301000]")
    assert "encloses nothing" in str(run("load", town, "--crs", "4549").exception)
