"""The CIM report: levels by the items that an asset has, from a table that may be edited."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import shapely
from typer.testing import CliRunner

from dashboards.cli import app
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
    asset_id,
)
from twin.cim_level import CimReport, asset_levels, read_table, report
from twin.city import City
from twin.errors import SettingsError
from twin.model import Decision, Model, Placement

NOW = datetime(2026, 1, 2, tzinfo=UTC)
PLACED = Placement(Decision.PLACED, "drawn by hand", "EPSG:4549", origin=(0.0, 0.0, 0.0))
BOX = shapely.MultiPolygon([shapely.box(0, 0, 10, 10)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two footprints, one of them under a model with storeys, spaces and a wall; two pipes, one well surveyed."""
    path = tmp_path / "city.gpkg"
    building, storey = asset_id("m.ifc", "building", "M"), asset_id("m.ifc", "storey", "1F")
    modelled = Building(building, "一幢", BOX, 5.0, 18.0, 6, "residential", 1996)
    wall = Element(asset_id("m.ifc", "element", "W"), "W", "IfcWall", "墙", building=building, storey=storey)
    ends = [
        Node(asset_id("net", "node", name), name, System.GAS, NodeKind.JUNCTION, shapely.Point(x, 0, 4), invert_m=4.0)
        for name, x in (("A", 0), ("B", 9))
    ]
    pipes = [
        Link(
            asset_id("net", "link", "full"),
            "full",
            System.GAS,
            LinkKind.PIPE,
            shapely.LineString([(0, 0, 4), (9, 0, 4)]),
            ends[0].id,
            ends[1].id,
            diameter_m=0.2,
            material="PE",
            year=2020,
            status="in use",
        ),
        Link(
            asset_id("net", "link", "bare"),
            "bare",
            System.GAS,
            LinkKind.PIPE,
            shapely.LineString([(0, 5), (9, 5)]),
            properties={"manufacturer": "甲厂"},
        ),
    ]
    with City.create(path, "EPSG:4549") as city:
        flat = [
            Building(asset_id("map", "building", "under"), "一幢", BOX, height_m=18.0),
            Building(asset_id("map", "building", "alone"), "二幢", shapely.transform(BOX, lambda xy: xy + 50)),
        ]
        city.replace(Model("map", "geojson", PLACED, buildings=flat), NOW)
        city.replace(
            Model(
                "m.ifc",
                "ifc",
                PLACED,
                buildings=[modelled],
                storeys=[Storey(storey, "1F", building, 5.0)],
                spaces=[Space(asset_id("m.ifc", "space", "101"), "101", storey, "Kitchen")],
                elements=[wall],
                account={"meshed": 1},
            ),
            NOW,
        )
        city.replace(Model("net", "test", PLACED, nodes=ends, links=pipes), NOW)
    return path


@pytest.fixture
def found(path: Path) -> CimReport:
    with City.open(path) as city:
        return report(city, read_table())


def levels(path: Path) -> dict[str, int]:
    with City.open(path) as city:
        return {each.asset: each.level for each in asset_levels(city, read_table())}


def test_an_asset_reaches_the_level_up_to_which_nothing_is_missing(path: Path) -> None:
    found = levels(path)

    assert found["map:building:alone"] == 1  # no height
    assert found["m.ifc:building:M"] == 6  # nobody says who is in it
    assert found["net:link:full"] == 5  # neither owner nor laying
    assert found["net:link:bare"] == 2  # no diameter
    assert found["net:node:A"] == 2  # no ground level
    assert found["m.ifc:element:W"] == 5  # no position


def test_the_footprint_under_a_model_is_left_out(found: CimReport, path: Path) -> None:
    assert found.replaced == 1
    assert "map:building:under" not in levels(path)


def test_items_are_counted_by_class(found: CimReport) -> None:
    pipes = next(each for each in found.classes if each.asset_class == "gas pipe")

    assert (pipes.assets, dict(pipes.levels)) == (2, {2: 1, 5: 1})
    counts = {item.name: (item.present, item.missing) for item in pipes.items}
    assert counts["diameter"] == (1, 1)
    assert counts["owner"] == (0, 2)
    assert counts["maker"] == (1, 1)  # among the properties


def test_what_the_platform_holds_is_named_with_what_it_lacks(path: Path) -> None:
    with City.open(path) as city:
        holdings = {each.name: each for each in report(city, read_table(), devices=4).holdings}

    assert (holdings["gas pipes"].rows, holdings["gas pipes"].present) == (2, True)
    assert not holdings["heat pipes"].present
    assert not holdings["terrain"].present
    assert holdings["sensor readings"].rows == 4


def test_the_table_says_which_rows_were_held_against_the_text(found: CimReport) -> None:
    table = read_table()

    verified = [row for row in (*table.level, *table.item, *table.holding) if row.verified]
    assert found.verified_rows == len(verified)
    assert all("4.3" in row.source for row in verified)  # the only clause that was read


def test_an_edited_table_moves_the_levels(path: Path, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "twin" / "cim_levels.toml").read_text("utf-8")
    edited = tmp_path / "levels.toml"
    edited.write_text(text.replace('any = ["height_m"]', 'any = ["height_m", "name"]'), "utf-8")

    with City.open(path) as city:
        found = {each.asset: each.level for each in asset_levels(city, read_table(edited))}

    assert found["map:building:alone"] == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [('asset = "links"', 'asset = "pipes"'), ("level = 1\n", "level = 9\n"), ("[[item]]", "[item")],
)
def test_a_table_that_is_wrong_is_refused_in_one_line(tmp_path: Path, old: str, new: str) -> None:
    text = (Path(__file__).parents[2] / "twin" / "cim_levels.toml").read_text("utf-8")
    wrong = tmp_path / "levels.toml"
    wrong.write_text(text.replace("[[level]]\nlevel = 1\n", "[[level]]\nlevel = 8\n").replace(old, new), "utf-8")

    with pytest.raises(SettingsError, match=r"levels\.toml") as refused:
        read_table(wrong)
    assert "\n" not in str(refused.value)


def test_the_command_reports_classes_assets_and_rows(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    rows = tmp_path / "assets.csv"

    whole = run(app, ["report", "--city", str(path), "--json", "--csv", str(rows)])
    lines = run(app, ["report", "--city", str(path), "--json", "--assets"])
    people = run(app, ["report", "--city", str(path)])

    assert json.loads(whole.stdout)["replaced"] == 1
    by_asset = {line["asset"]: line for line in map(json.loads, lines.stdout.splitlines())}
    assert by_asset["map:building:alone"]["next_needs"] == ["height"]
    with rows.open(encoding="utf-8-sig", newline="") as file:
        assert {row["asset"]: int(row["level"]) for row in csv.DictReader(file)} == levels(path)
    assert "CIM1 1" in people.stdout
    assert not (tmp_path / "operations.sqlite").exists()  # a report makes no database
