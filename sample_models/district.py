"""Make the sample district: every file of it, the same bytes for the same seed.

The district 河湾片区 is fictional: its streets, houses, people, pipes and the makers of its devices do not exist.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from sample_models import epanet_inp, swmm_inp
from sample_models.buildings import buildings_of, make_blocks
from sample_models.devices import DISTRICT, make_devices
from sample_models.drainage import make_drainage
from sample_models.gas import make_gas
from sample_models.geojson import (
    building_features,
    collection,
    gas_node_features,
    gas_pipe_features,
    land_features,
    zone_features,
)
from sample_models.ifc_models import make_models
from sample_models.land import land
from sample_models.streets import make_streets
from sample_models.terrain import CRS
from sample_models.water import make_water

TITLE = "河湾片区（虚构示例）"
NOTE = "Hewan, a fictional riverside district; coordinates EPSG:4549, heights 1985 datum"
LAYERS = {
    "land.geojson": "structure",
    "buildings.geojson": None,
    "dma.geojson": "water",
    "water.inp": "water",
    "drainage.inp": "drainage",
    "gas_nodes.geojson": "gas",
    "gas_pipes.geojson": "gas",
    "block-07.ifc": None,
    "school.ifc": None,
    "clinic.ifc": None,
}
"""Files to load, in order, and their system."""


def make(folder: Path, *, seed: int = 7) -> Path:
    """Write the district into `folder` (made where it is missing) and return the path of its district.json."""
    folder.mkdir(parents=True, exist_ok=True)
    streets = make_streets(random.Random(seed))
    blocks = make_blocks(streets, random.Random(seed + 1))
    buildings = buildings_of(blocks)
    water = make_water(streets, blocks, random.Random(seed + 2))
    drainage = make_drainage(streets, blocks)
    gas = make_gas(streets, blocks, random.Random(seed + 3))
    models = make_models(buildings)
    devices = make_devices(water.net, drainage, gas, buildings, models)
    texts = {
        "land.geojson": collection("land", land_features(land(streets))),
        "buildings.geojson": collection("buildings", building_features(buildings)),
        "dma.geojson": collection("dma", zone_features(water.dmas)),
        "water.inp": epanet_inp.write_inp(water.net, NOTE),
        "drainage.inp": swmm_inp.write_inp(drainage, NOTE),
        "gas_nodes.geojson": collection("gas_nodes", gas_node_features(gas)),
        "gas_pipes.geojson": collection("gas_pipes", gas_pipe_features(gas)),
        **{model.path: model.text for model in models},
        "devices.json": "[\n" + ",\n".join(json.dumps(d, ensure_ascii=False) for d in devices) + "\n]\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    corners = [xy for node in (*water.net.nodes.values(), *drainage.net.nodes.values()) for xy in [node.xy]]
    index = _index(seed, corners)
    path = folder / "district.json"
    path.write_text(json.dumps(index, ensure_ascii=False, indent=1) + "\n", encoding="utf-8", newline="\n")
    return path


def _index(seed: int, corners: list[tuple[float, float]]) -> dict[str, object]:
    """Return the content of district.json."""
    eastings, northings = [x for x, _ in corners], [y for _, y in corners]
    bounds = [min(eastings) - 20, min(northings) - 20, max(eastings) + 20, max(northings) + 20]
    return {
        "name": "河湾片区",
        "title": TITLE,
        "district": DISTRICT,
        "crs": CRS,
        "time_zone": "Asia/Shanghai",
        "seed": seed,
        "bounds": [round(value, 1) for value in bounds],
        "load": [{"path": name, "system": system, "crs": CRS, "as": name} for name, system in LAYERS.items()],
        "revisions": [{"path": "block-07-renewed.ifc", "system": None, "crs": CRS, "as": "block-07.ifc"}],
        "files": {
            "land": "land.geojson",
            "buildings": "buildings.geojson",
            "zones": "dma.geojson",
            "water": "water.inp",
            "drainage": "drainage.inp",
            "gas_nodes": "gas_nodes.geojson",
            "gas_pipes": "gas_pipes.geojson",
            "devices": "devices.json",
        },
    }
