"""The sample district as models, read once."""

import json

import pytest

from twin.asset import System
from twin.model import ReadRequest
from twin.readers import reader_for

CRS = "EPSG:4549"


@pytest.fixture(scope="session")
def models(district):
    """A model of each file of the sample district, in the order of their names, all in EPSG:4549."""
    made = []
    for entry in json.loads((district / "district.json").read_text("utf-8"))["load"]:
        system = System(entry["system"]) if entry["system"] else None
        path = district / entry["path"]
        _, reader = reader_for(path)
        made.append(reader.read(path, ReadRequest(entry["as"], CRS, entry["crs"], system)))
    return sorted(made, key=lambda model: model.source)


@pytest.fixture(scope="session")
def named(models):
    """The models by source."""
    return {model.source: model for model in models}
