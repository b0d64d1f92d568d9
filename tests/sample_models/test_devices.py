"""The devices of the sample district and what they are bound to."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import geopandas as gpd
import ifcopenshell
import pytest
import wntr

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@pytest.fixture(scope="module")
def devices(district: Path) -> list[dict[str, Any]]:
    return json.loads((district / "devices.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def assets(district: Path) -> set[str]:
    """Ids of all assets that loading the district gives."""
    network = wntr.network.WaterNetworkModel(str(district / "water.inp"))
    found = {f"water.inp:node:{n}" for n in network.node_name_list}
    found |= {f"water.inp:link:{n}" for n in network.link_name_list}
    for line in (district / "drainage.inp").read_text("utf-8").split("[TAGS]")[1].split("[")[0].split("\n"):
        if line.strip():
            found.add(f"drainage.inp:{line.split()[0].lower()}:{line.split()[1]}")
    for layer, table in (("gas_nodes", "node"), ("gas_pipes", "link"), ("buildings", "building")):
        found |= {f"{layer}.geojson:{table}:{n}" for n in gpd.read_file(district / f"{layer}.geojson")["id"]}
    for name in ("block-07.ifc", "school.ifc", "clinic.ifc"):
        model = ifcopenshell.open(district / name)
        found |= {f"{name}:element:{e.GlobalId}" for e in model.by_type("IfcElement")}
    return found


def test_every_device_is_bound_to_an_asset_that_exists(devices: list[dict[str, Any]], assets: set[str]) -> None:
    assert [d["device"] for d in devices if d["asset"] not in assets] == []


def test_there_are_about_three_hundred_of_every_kind(devices: list[dict[str, Any]]) -> None:
    names = [d["device"] for d in devices]
    assert len(set(names)) == len(names)
    assert all(NAME.fullmatch(n) for n in names)
    assert 270 <= len(devices) <= 330
    kinds = Counter(n.split("-")[0] for n in names)
    assert {"WP", "WF", "WL", "WQ", "DP", "DL", "DF", "GM", "GP", "GF", "GB", "HS", "RG"} == set(kinds)
    assert min(kinds["WP"], kinds["DL"]) > 60
    assert kinds["GM"] > 40


def test_levels_know_crown_and_ground(devices: list[dict[str, Any]]) -> None:
    points = [p for d in devices if d["device"].startswith("DL-") for p in d["points"]]
    assert all(0.2 <= p["crown_m"] < p["depth_m"] for p in points)


def test_devices_stand_inside_the_bounds(devices: list[dict[str, Any]], district: Path) -> None:
    west, south, east, north = json.loads((district / "district.json").read_text("utf-8"))["bounds"]
    assert all(west < d["easting"] < east and south < d["northing"] < north for d in devices)
