"""`chengmai load` and `chengmai sources`: a receipt a file for people and for machines, exit status 1 for a refusal."""

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from dashboards.commands import load as command
from tests.twin.readers.test_epanet import SMALL

app = typer.Typer()
app.command("load")(command.load)
app.command("sources")(command.sources)


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_receipts_are_lines_for_people_or_machines(tmp_path: Path) -> None:
    town, city = tmp_path / "town.inp", tmp_path / "c.gpkg"
    town.write_text(SMALL.format(units="LPS"), "utf-8")
    told = run("load", town, "--city", city, "--crs", "4549")
    assert told.exit_code == 0
    assert told.stdout.startswith("town.inp  epanet  4 nodes, 5 links  placed: given for town.inp")
    receipt = json.loads(run("load", town, "--city", city, "--json").stdout)
    assert receipt["counts"]["links"] == 5
    listed = run("sources", "--city", city).stdout
    assert "EPSG:4549" in listed
    assert "town.inp  epanet" in listed


def test_refused_file_is_one_line_on_standard_error_and_exit_status_one(tmp_path: Path) -> None:
    told = run("load", tmp_path / "none.inp", "--city", tmp_path / "c.gpkg")
    assert told.exit_code == 1
    assert told.stdout == ""
    assert told.stderr.count("\n") == 1
    assert "E_MISSING" in told.stderr


def test_reason_that_keeps_a_file_out_of_place_is_told(tmp_path: Path) -> None:
    town, city = tmp_path / "town.inp", tmp_path / "c.gpkg"
    town.write_text(SMALL.format(units="LPS"), "utf-8")
    run("load", town, "--city", city, "--crs", "4549")
    told = run("load", town, "--city", city, "--crs", "4547")
    assert "quarantined" in told.stdout
    assert "outside the area of use of the city's" in told.stdout
