"""Small networks drawn by hand, and the sample district as one city."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import shapely

from twin.asset import (
    AssetId,
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
from twin.city import City
from twin.load import load
from twin.model import Decision, Model, Placement
from twin.network.graph import Network

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PLACED = Placement(Decision.PLACED, "drawn by hand", "EPSG:4549", origin=(0.0, 0.0, 0.0))


@dataclass
class Drawing:
    """What a test draws, in metres: names are asset names, sources ``net``, ``map`` and ``model``."""

    nodes: list[Node] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    buildings: list[Building] = field(default_factory=list)
    modelled: list[Building] = field(default_factory=list)
    storeys: list[Storey] = field(default_factory=list)
    spaces: list[Space] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)

    def node(self, name: str, system: System, kind: NodeKind, *at: float, **more: Any) -> AssetId:
        asset = asset_id("net", "node", name)
        self.nodes.append(Node(asset, name, system, kind, shapely.Point(at), **more))
        return asset

    def link(self, name: str, kind: LinkKind, start: str, end: str, *, line: Any = None, **more: Any) -> AssetId:
        ends = [next(node for node in self.nodes if node.name == each) for each in (start, end)]
        asset = asset_id("net", "link", name)
        drawn = shapely.LineString(line) if line else shapely.LineString([node.point for node in ends])
        self.links.append(Link(asset, name, ends[0].system, kind, drawn, start=ends[0].id, end=ends[1].id, **more))
        return asset

    def building(self, name: str, box: Sequence[float], *, model: bool = False, **more: Any) -> AssetId:
        source, among = ("model", self.modelled) if model else ("map", self.buildings)
        asset = asset_id(source, "building", name)
        among.append(Building(asset, more.pop("title", name), shapely.MultiPolygon([shapely.box(*box)]), **more))
        return asset

    def city(self, path: Path) -> City:
        made = City.create(path, "EPSG:4549")
        made.replace(Model("net", "test", PLACED, nodes=self.nodes, links=self.links), NOW)
        made.replace(Model("map", "geojson", PLACED, buildings=self.buildings), NOW)
        if self.modelled or self.elements:
            parts = {"storeys": self.storeys, "spaces": self.spaces, "elements": self.elements}
            made.replace(Model("model", "ifc", PLACED, buildings=self.modelled, **parts), NOW)
        return made


@pytest.fixture
def drawing() -> Drawing:
    return Drawing()


@pytest.fixture
def network_of() -> Callable[[City], Network]:
    """Make the network of a city, its valves as they stand now."""
    return lambda city: Network.of(city.table("nodes"), city.table("links")).operated(city.valve_states())


@pytest.fixture(scope="session")
def sample_city(district: Path, tmp_path_factory: pytest.TempPathFactory) -> City:
    """The sample district, its building models among it, loaded once; tests only read it."""
    path = tmp_path_factory.mktemp("sample-city") / "city.gpkg"
    for entry in json.loads((district / "district.json").read_text("utf-8"))["load"]:
        system = System(entry["system"]) if entry["system"] else None
        (receipt,) = load([district / entry["path"]], path, at=NOW, crs=entry["crs"], system=system, source=entry["as"])
        assert not receipt.refused, receipt.errors
    return City.open(path)
