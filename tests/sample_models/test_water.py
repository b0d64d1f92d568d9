"""The water network of the sample district, as EPANET sees it."""

import warnings
from pathlib import Path

import geopandas as gpd
import networkx as nx
import pytest
import wntr
from shapely import Point


@pytest.fixture(scope="module")
def network(district: Path) -> wntr.network.WaterNetworkModel:
    return wntr.network.WaterNetworkModel(str(district / "water.inp"))


@pytest.fixture(scope="module")
def tags(district: Path) -> dict[str, str]:
    text = (district / "water.inp").read_text("utf-8").split("[TAGS]")[1].split("[")[0]
    return {row.split()[1]: row.split()[2] for row in text.splitlines() if row and row[0] in "NL"}


def test_network_has_its_parts(network: wntr.network.WaterNetworkModel, tags: dict[str, str]) -> None:
    assert network.num_pipes >= 400
    assert (network.num_pumps, network.num_tanks, network.num_reservoirs) == (2, 1, 1)
    assert network.num_valves >= 60
    kinds = list(tags.values())
    assert kinds.count("hydrant") >= 40
    assert kinds.count("service") == kinds.count("customer") >= 140
    assert network.options.hydraulic.emitter_exponent == 0.5


def test_epanet_solves_a_day_without_warning(
    network: wntr.network.WaterNetworkModel, tmp_path: Path, tags: dict[str, str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = wntr.sim.EpanetSimulator(network).run_sim(file_prefix=str(tmp_path / "day"))
    assert "warning" not in (tmp_path / "day.rpt").read_text("utf-8", errors="replace").lower()
    pressure = results.node["pressure"][[n for n in network.junction_name_list if n != "PS-IN"]]
    assert pressure.min().min() > 20.0
    assert pressure.max().max() < 46.0
    assert results.link["velocity"].max().max() < 1.5
    tank = results.node["pressure"]["T-1"]
    assert 0.5 < tank.min() < tank.max() < 6.0
    for meter in ("FM-1", "FM-2", "FM-3"):
        flow = results.link["flowrate"][meter]
        assert flow.min() > 0.001
        assert flow.max() > 2.5 * flow.min()


def test_every_node_is_supplied_and_each_dma_only_through_its_meter(
    network: wntr.network.WaterNetworkModel,
) -> None:
    whole, cut = nx.Graph(), nx.Graph()
    for name, link in network.links():
        whole.add_edge(link.start_node_name, link.end_node_name)
        closed = str(link.initial_status) == "Closed"
        if not closed and not name.startswith("FM-"):
            cut.add_edge(link.start_node_name, link.end_node_name)
    assert set(whole) == set(network.node_name_list)
    assert nx.is_connected(whole)
    assert nx.number_connected_components(cut) == 4
    homes = [nx.node_connected_component(cut, f"J{column}0") for column in (0, 3, 6)]
    assert all(len(home) > 150 for home in homes)
    assert not homes[0] & homes[1]
    assert not homes[1] & homes[2]


def test_customers_lie_in_the_zone_that_feeds_them(network: wntr.network.WaterNetworkModel, district: Path) -> None:
    zones = gpd.read_file(district / "dma.geojson").set_index("id").geometry
    cut = nx.Graph()
    for name, link in network.links():
        if str(link.initial_status) != "Closed" and not name.startswith("FM-"):
            cut.add_edge(link.start_node_name, link.end_node_name)
    for number, column in ((1, 0), (2, 3), (3, 6)):
        fed = nx.node_connected_component(cut, f"J{column}0")
        customers = [n for n in fed if n.startswith("C-")]
        inside = [n for n in customers if zones[f"DMA{number}"].covers(Point(network.get_node(n).coordinates))]
        assert len(inside) == len(customers)
