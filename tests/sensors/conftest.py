"""Fixtures of the sensors' tests: a real operations database with a few devices."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sensors.clock import ManualClock
from sensors.detection import Detection, DetectionKind, Subject
from sensors.device import Device, DeviceId, Point
from sensors.operations import connect
from sensors.registry import Registry
from twin.asset import AssetId, System

from .postgres import PostgreSQL, programs

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'operations.sqlite'}"


@pytest.fixture(scope="session")
def postgres():
    found = programs()
    if found is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    # Not pytest's own folder: another session of it shuts that to the user postgres while this one runs.
    with tempfile.TemporaryDirectory(prefix="chengmai-postgres-") as folder:
        server = PostgreSQL(found, Path(folder))
        yield server
        server.stop()


@pytest.fixture
def engine(url):
    engine = connect(url)
    Registry(engine).put(_device(name) for name in ("WP-1", "WP-2"))
    yield engine
    engine.dispose()


@pytest.fixture
def clock():
    return ManualClock(NOON)


@pytest.fixture
def seen():
    """Make a detection of low pressure at a device, so many seconds after noon."""

    def make(second, *, active=True, level=3, name="WP-1", rule="water_pressure_low"):
        return Detection(
            Subject(f"point:{name}/pressure"),
            rule,
            DetectionKind.LIMIT,
            active=active,
            level=level,
            time=int((NOON.timestamp() + second) * 1000),
            value=130_000.0,
            limit=140_000.0,
            quantity="pressure",
        )

    return make


def _device(name):
    return Device(
        DeviceId(name),
        "test",
        System.WATER,
        (Point("pressure", "pressure", "MPa", low=0.0, high=1e6),),
        timedelta(seconds=5),
        asset=AssetId(f"water.inp:node:{name}"),
        easting=500_001.5,
        northing=3_350_002.5,
    )
