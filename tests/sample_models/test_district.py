"""The files of the sample district as a whole."""

import filecmp
import json
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest

from sample_models.district import make

LAYERS = ["buildings.geojson", "dma.geojson", "gas_nodes.geojson", "gas_pipes.geojson"]


def test_same_seed_gives_the_same_bytes(district: Path, tmp_path: Path) -> None:
    again = make(tmp_path).parent
    names = sorted(p.name for p in district.iterdir())
    _, mismatch, errors = filecmp.cmpfiles(district, again, names, shallow=False)
    assert (sorted(p.name for p in again.iterdir()), mismatch, errors) == (names, [], [])


@pytest.mark.parametrize("seed", [1, 2, 11])
@pytest.mark.slow
def test_another_seed_makes_another_whole_district(district: Path, tmp_path: Path, seed: int) -> None:
    other = make(tmp_path, seed=seed).parent
    assert (other / "water.inp").read_bytes() != (district / "water.inp").read_bytes()
    assert len(json.loads((other / "devices.json").read_text("utf-8"))) > 250


def test_district_is_small(district: Path) -> None:
    assert sum(p.stat().st_size for p in district.iterdir()) < 10e6


def test_index_names_files_that_exist(district: Path) -> None:
    index = json.loads((district / "district.json").read_text("utf-8"))
    named = [entry["path"] for entry in index["load"] + index["revisions"]] + list(index["files"].values())
    assert all((district / name).is_file() for name in named)
    assert (index["district"], index["crs"], index["time_zone"]) == ("hewan", "EPSG:4549", "Asia/Shanghai")


@pytest.mark.parametrize("name", LAYERS)
def test_layers_name_their_crs_and_lie_within_the_bounds(district: Path, name: str) -> None:
    assert pyogrio.read_info(district / name)["crs"] == "EPSG:4549"
    west, south, east, north = json.loads((district / "district.json").read_text("utf-8"))["bounds"]
    a, b, c, d = gpd.read_file(district / name).total_bounds
    assert west <= a < c <= east
    assert south <= b < d <= north


def test_buildings_are_lived_in_and_stand_apart(district: Path) -> None:
    buildings = gpd.read_file(district / "buildings.geojson")
    assert 140 <= len(buildings) <= 190
    assert buildings["id"].is_unique
    assert buildings.geometry.is_valid.all()
    assert 10_000 < buildings["residents"].sum() < 30_000
    assert {"residential", "school", "clinic", "market", "office"} <= set(buildings["usage"])
    overlaps = buildings.sjoin(buildings, predicate="intersects")
    assert len(overlaps) == len(buildings)


def test_dmas_do_not_overlap(district: Path) -> None:
    zones = gpd.read_file(district / "dma.geojson")
    assert list(zones["id"]) == ["DMA1", "DMA2", "DMA3"]
    a, b, c = zones.geometry
    assert max(a.intersection(b).area, b.intersection(c).area, a.intersection(c).area) < 1.0
