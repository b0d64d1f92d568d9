"""Zones of nodes: the smallest area of a node's own system that covers it, kept up to date by every load."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.twin.test_city import NOW, PLACED, UNPLACED
from twin.asset import Node, NodeKind, System, Zone, ZoneKind, asset_id
from twin.city import City
from twin.model import Model

SYSTEMS = (System.WATER, System.DRAINAGE)


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    with City.create(tmp_path / "c.gpkg", "EPSG:4549") as made:
        yield made


def zone(name: str, box: tuple[float, float, float, float], system=System.WATER, kind=ZoneKind.DMA) -> Zone:
    return Zone(asset_id("zones", "zone", name), name, system, kind, shapely.box(*box))


def node(name: str, x: float, y: float, system=System.WATER) -> Node:
    return Node(asset_id("nodes", "node", name), name, system, NodeKind.JUNCTION, shapely.Point(x, y))


def zones_of(city: City) -> dict[str, str | None]:
    table = city.table("nodes")
    return {name: None if zone != zone else zone for name, zone in zip(table["name"], table["zone"], strict=True)}  # noqa: PLR0124  # NaN


def test_nodes_get_their_zone_whichever_file_comes_first_and_lose_it_with_the_zone(city: City) -> None:
    nodes = Model("nodes", "t", PLACED, nodes=[node("in", 1, 1), node("out", 50, 1), node("drain", 1, 1, SYSTEMS[1])])
    zones = Model(
        "zones", "t", PLACED, zones=[zone("big", (0, 0, 10, 10)), zone("road", (0, 0, 99, 99), kind=ZoneKind.ROAD)]
    )
    city.replace(nodes, NOW)
    assert zones_of(city) == {"in": None, "out": None, "drain": None}
    city.replace(zones, NOW)
    assert zones_of(city) == {"in": "zones:zone:big", "out": None, "drain": None}
    city.replace(replace(nodes, nodes=[node("new", 2, 2)]), NOW)
    assert zones_of(city) == {"new": "zones:zone:big"}
    city.replace(replace(zones, zones=[], nodes=[]), NOW)
    assert zones_of(city) == {"new": None}
    city.replace(replace(zones, placement=UNPLACED), NOW)
    assert zones_of(city) == {"new": None}


coordinate = st.integers(0, 20).map(lambda value: value + 0.25)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(coordinate, coordinate, st.sampled_from(SYSTEMS)), max_size=12),
    st.lists(
        st.tuples(st.integers(0, 20), st.integers(0, 20), st.integers(1, 9), st.sampled_from(SYSTEMS)), max_size=6
    ),
)
def test_zones_are_what_looking_at_each_node_and_zone_finds(city: City, points: list, squares: list) -> None:
    nodes = [node(str(n), x, y, system) for n, (x, y, system) in enumerate(points)]
    # sides differ, so that no two zones of a node are equally small
    zones = [zone(str(n), (x, y, x + s + n / 100, y + s), system) for n, (x, y, s, system) in enumerate(squares)]
    city.replace(Model("nodes", "t", PLACED, nodes=nodes), NOW)
    city.replace(Model("zones", "t", PLACED, zones=zones), NOW)
    wanted = {
        each.name: min(
            (z for z in zones if z.system is each.system and z.area.intersects(each.point)),
            key=lambda z: z.area.area,
            default=None,
        )
        for each in nodes
    }
    assert zones_of(city) == {name: found and found.id for name, found in wanted.items()}
