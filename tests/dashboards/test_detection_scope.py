"""What detection knows of the city follows it: none yet, one that is loaded, one that changes, one that breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboards.detection_scope import DetectionScope
from dashboards.settings import Settings, load
from twin.city import City
from twin.load import load as load_files
from twin.network import ValveState


@pytest.fixture
def city(tmp_path: Path, district: Path) -> Callable[[], Settings]:
    """Load the water network of the sample district into a city, and return its settings."""

    def make() -> Settings:
        folder = district / "water.inp"
        receipts = load_files([folder], tmp_path / "city.gpkg", crs="EPSG:4549", at=datetime.now(UTC))
        assert not next(iter(receipts)).errors
        return settings(tmp_path, f'hydraulics = ["{folder}"]')

    return make


def settings(folder: Path, detection: str = "") -> Settings:
    (folder / "city.toml").write_text(f'[city]\nfile = "city.gpkg"\n[detection]\n{detection}\n')
    return load(folder / "city.toml")


@pytest.fixture
def known(city: Callable[[], Settings]) -> Iterator[DetectionScope]:
    with closing(DetectionScope(city())) as scope:
        yield scope


def test_without_a_city_detection_knows_its_devices_only(tmp_path: Path) -> None:
    scope = DetectionScope(settings(tmp_path))
    assert scope.revision() == 0
    assert (scope.of([]).graph, scope.of([]).city, dict(scope.of([]).hydraulics)) == (None, None, {})


def test_networks_and_hydraulics_are_those_of_the_city(known: DetectionScope) -> None:
    scope = known.of([])
    assert scope.graph is not None
    assert len(scope.graph.links) > 100
    assert list(scope.hydraulics) == ["water.inp"]  # as the ids of its assets begin
    assert str(scope.graph.links[0]).startswith("water.inp:")


def test_a_city_that_is_loaded_later_is_noticed(tmp_path: Path, city: Callable[[], Settings]) -> None:
    scope = DetectionScope(settings(tmp_path))
    before = scope.revision()
    city()
    assert scope.revision() > before
    assert scope.of([]).graph is not None
    scope.close()


def test_a_valve_that_is_shut_makes_another_revision_and_another_network(known: DetectionScope) -> None:
    before, graph = known.revision(), known.of([]).graph
    assert graph is not None
    valve = str(graph.links[int(graph.valve_link.nonzero()[0][0])])
    with City.open(known.of([]).city.path) as city:  # pyright: ignore[reportOptionalMemberAccess]  # it has one
        city.operate(valve, ValveState.CLOSED, at=datetime.now(UTC), by="li")
    assert known.revision() > before
    now = known.of([]).graph
    assert now is not None
    assert now.shut_link.sum() == graph.shut_link.sum() + 1


def test_a_file_that_is_no_city_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "city.gpkg").write_bytes(b"not a database at all" * 100)
    scope = DetectionScope(settings(tmp_path))
    assert scope.revision() == 0
    assert scope.of([]).graph is None
