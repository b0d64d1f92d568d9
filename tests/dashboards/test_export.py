"""`chengmai export`: a receipt for people and for machines; a refusal is one line and no file."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dashboards.commands import export as command
from tests.twin.readers.test_epanet import SMALL
from twin.city import City
from twin.errors import InputError
from twin.model import ReadRequest
from twin.readers.epanet import EpanetReader

app = typer.Typer()
app.command("export")(command.export)
app.command("other")(lambda: None)


@pytest.fixture
def city(tmp_path: Path) -> Path:
    town = tmp_path / "town.inp"
    town.write_text(SMALL.format(units="LPS"), "utf-8")
    with City.create(tmp_path / "c.gpkg", "EPSG:4549") as made:
        read = EpanetReader().read(town, ReadRequest("town.inp", "EPSG:4549", "EPSG:4549"))
        made.replace(read, datetime(2026, 3, 1, tzinfo=UTC))
    return tmp_path / "c.gpkg"


def run(*words: object):
    return CliRunner().invoke(app, ["export", *(str(word) for word in words)])


def test_a_receipt_is_a_line_for_people_or_for_machines(city: Path, tmp_path: Path) -> None:
    told = run("geojson", tmp_path / "a.geojson", "--city", city, "--table", "links")
    assert told.exit_code == 0
    assert told.stdout == f"{tmp_path / 'a.geojson'}  geojson  5 links\n"
    receipt = json.loads(run("epanet", tmp_path / "a.inp", "--city", city, "--json").stdout)
    assert receipt == {
        "format": "epanet",
        "path": str(tmp_path / "a.inp"),
        "counts": {"nodes": 4, "links": 5},
        "notes": [],
    }


def test_the_citys_own_coordinates_are_an_option(city: Path, tmp_path: Path) -> None:
    assert run("geojson", tmp_path / "a.geojson", "--city", city, "--crs", "city").exit_code == 0
    assert "EPSG::4549" in (tmp_path / "a.geojson").read_text("utf-8")
    refused = run("geojson", tmp_path / "b.geojson", "--city", city, "--crs", "4326")
    assert isinstance(refused.exception, InputError)
    assert not (tmp_path / "b.geojson").exists()


@pytest.mark.parametrize("time", ["yesterday", "2026-03-01T08:00"])
def test_a_time_needs_its_zone(city: Path, tmp_path: Path, time: str) -> None:
    refused = run("epanet", tmp_path / "a.inp", "--city", city, "--as-of", time)
    assert isinstance(refused.exception, InputError)
    assert "--as-of" in str(refused.exception)


def test_before_the_first_load_there_is_nothing_to_write(city: Path, tmp_path: Path) -> None:
    refused = run("epanet", tmp_path / "a.inp", "--city", city, "--as-of", "2026-02-01T00:00Z")
    assert isinstance(refused.exception, InputError)
    assert refused.exception.code == "E_EMPTY"
    assert not (tmp_path / "a.inp").exists()
    assert run("epanet", tmp_path / "a.inp", "--city", city, "--as-of", "2026-03-02T00:00Z").exit_code == 0
