"""The sample district as models, read once."""

import json
import shutil
import subprocess
from pathlib import Path

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


@pytest.fixture(scope="session")
def gltf_issues(tmp_path_factory):
    """A function that returns what Khronos' validator says against GLB files: a list of reports."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("validator")
    for path in (Path(__file__).parent / "validator").iterdir():
        shutil.copy(path, folder)
    command = [npm, "ci", "--no-audit", "--no-fund"]
    if subprocess.run(command, cwd=folder, capture_output=True, timeout=240, check=False).returncode:
        pytest.skip("npm ci did not work (no package registry?)")

    def issues(paths):
        command = [node, "validate.cjs", *(str(path.resolve()) for path in paths)]
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=True)
        return json.loads(done.stdout)

    return issues
