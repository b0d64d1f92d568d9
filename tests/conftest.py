"""Fixtures that every package's tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine is no failure
settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parent.parent

CITY_FILES = ("city.gpkg", "operations.sqlite", "readings.sqlite", "spool.sqlite", "trail.anchor", "logs")
"""What a city keeps where its settings name no other place."""


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Forget how a command set up its logs: the standard error that it wrote to is gone after its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Fail the test that leaves a city's files in the folder that the tests run in: it would find them next time."""
    folder = Path.cwd()
    before = {name for name in CITY_FILES if (folder / name).exists()}
    yield
    left = {name for name in CITY_FILES if (folder / name).exists()} - before
    assert not left, f"left in {folder}: {', '.join(sorted(left))}"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real files and series; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("CHENGMAI_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set CHENGMAI_DATA)")
    return folder


@pytest.fixture(scope="session")
def district(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sample district, made once; tests that write into it copy it first."""
    from sample_models.district import make

    return make(tmp_path_factory.mktemp("district")).parent


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's folder as its first start leaves it: settings, the district's city, its devices registered."""
    from datetime import UTC, datetime

    from dashboards.demo import DemoFolder

    demo = DemoFolder(tmp_path_factory.mktemp("demo"))
    settings = demo.configure(port=8350, mqtt_port=1883, seed=7)  # nothing is started on these ports
    demo.prepare(settings, datetime.now(UTC), lambda _: None)
    return demo.folder
