"""The gas network of the sample district, and how near it lies to drains and buildings."""

from pathlib import Path

import geopandas as gpd
import networkx as nx
import pandas as pd
import pytest
from shapely import LineString, STRtree

from sample_models.pipes import between


@pytest.fixture(scope="module")
def nodes(district: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(district / "gas_nodes.geojson")


@pytest.fixture(scope="module")
def pipes(district: Path) -> gpd.GeoDataFrame:
    return gpd.read_file(district / "gas_pipes.geojson")


def inp_lines(path: Path, tables: tuple[str, ...]) -> gpd.GeoSeries:
    """Lines of an INP file's links, by name."""
    rows: dict[str, list[list[str]]] = {}
    name = ""
    for raw in path.read_text("utf-8").splitlines():
        line = raw.split(";")[0].split()
        if line and line[0].startswith("["):
            name = line[0].strip("[]")
        elif line:
            rows.setdefault(name, []).append(line)
    spots = {r[0]: (float(r[1]), float(r[2])) for r in rows["COORDINATES"]}
    bends: dict[str, list[tuple[float, float]]] = {}
    for r in rows["VERTICES"]:
        bends.setdefault(r[0], []).append((float(r[1]), float(r[2])))
    links = [r for table in tables for r in rows[table]]
    return gpd.GeoSeries({r[0]: LineString([spots[r[1]], *bends.get(r[0], []), spots[r[2]]]) for r in links})


def test_network_has_its_parts(nodes: gpd.GeoDataFrame, pipes: gpd.GeoDataFrame) -> None:
    assert len(pipes) >= 300
    assert {"low", "medium"} == set(pipes["pressure_class"])
    assert (nodes["kind"] == "regulator").sum() == 3
    assert (nodes["kind"] == "valve").sum() >= 40
    assert (pipes["kind"] == "service").sum() >= 140
    assert pipes["year"].between(1980, 2025).all()


def test_everything_is_fed_from_the_gate_and_low_pressure_only_through_regulators(
    nodes: gpd.GeoDataFrame, pipes: gpd.GeoDataFrame
) -> None:
    whole = nx.from_pandas_edgelist(pipes, "from", "to")
    assert set(whole) == set(nodes["id"])
    assert nx.is_connected(whole)
    apart = nx.from_pandas_edgelist(pipes[pipes["kind"] != "regulator"], "from", "to")
    assert nx.number_connected_components(apart) == 2
    assert set(nodes.set_index("id").loc[list(nx.node_connected_component(apart, "GATE-1")), "pressure_class"]) == {
        "medium"
    }


def test_gas_lies_beside_drains_and_above_them_at_crossings(pipes: gpd.GeoDataFrame, district: Path) -> None:
    drains = inp_lines(district / "drainage.inp", ("CONDUITS",))
    tree = STRtree(drains.to_numpy())
    mains = pipes[pipes["kind"] == "pipe"]
    beside = sum(
        1
        for line in mains.geometry
        if line.length > 20
        and any(
            line.interpolate(0.5, normalized=True).distance(drains.iloc[i]) < 1.5 for i in tree.query(line.buffer(1.5))
        )
    )
    crossings = sum(len(tree.query(line, predicate="crosses")) for line in mains.geometry)
    assert beside > 30
    assert crossings > 60


@pytest.mark.parametrize(
    ("name", "tables"), [("water.inp", ("PIPES", "VALVES")), ("drainage.inp", ("CONDUITS",)), ("gas_pipes.geojson", ())]
)
def test_no_pipe_runs_through_a_building(district: Path, name: str, tables: tuple[str, ...]) -> None:
    lines = inp_lines(district / name, tables) if tables else gpd.read_file(district / name).set_index("id").geometry
    houses = gpd.read_file(district / "buildings.geojson").geometry.buffer(-0.1)
    tree = STRtree(houses.to_numpy())
    through = pd.Series({k: len(tree.query(line, predicate="intersects")) for k, line in lines.items()})
    assert list(through[through > 0].index) == []


def test_between_gives_only_inner_vertices() -> None:
    line = LineString([(0, 0), (10, 0), (10, 10)])
    assert between(line, 2.0, 15.0) == [(10.0, 0.0)]
    assert between(line, 2.0, 8.0) == []
