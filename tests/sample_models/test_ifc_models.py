"""The building models of the sample district."""

from pathlib import Path

import geopandas as gpd
import ifcopenshell
import ifcopenshell.geom
import ifcopenshell.util.element
import ifcopenshell.util.geolocation
import ifcopenshell.util.system
import ifcopenshell.validate
import networkx as nx
import numpy as np
import pytest
from shapely import MultiPoint

MODELS = ["block-07.ifc", "block-07-renewed.ifc", "school.ifc", "clinic.ifc"]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_model_is_valid(district: Path, name: str) -> None:
    log = ifcopenshell.validate.json_logger()
    ifcopenshell.validate.validate(ifcopenshell.open(district / name), log, express_rules=True)
    assert [str(s["message"])[:200] for s in log.statements] == []


@pytest.mark.parametrize("name", MODELS)
def test_model_has_its_parts_and_is_small(district: Path, name: str) -> None:
    model = ifcopenshell.open(district / name)
    assert (district / name).stat().st_size < 1.5e6
    assert 300 <= len(model.by_type("IfcElement")) <= 1000
    for kind in (
        "IfcWall",
        "IfcSlab",
        "IfcWindow",
        "IfcDoor",
        "IfcSpace",
        "IfcPipeSegment",
        "IfcFlowMeter",
        "IfcValve",
    ):
        assert model.by_type(kind), kind
    wall = model.by_type("IfcWall")[0]
    assert "ThermalTransmittance" in ifcopenshell.util.element.get_psets(wall)["Pset_WallCommon"]
    assert {s.PredefinedType for s in model.by_type("IfcDistributionSystem")} == {
        "GAS",
        "DOMESTICCOLDWATER",
        "WASTEWATER",
    }


@pytest.mark.parametrize("name", ["block-07.ifc", "school.ifc", "clinic.ifc"])
def test_model_stands_on_the_footprint_of_its_building(district: Path, name: str) -> None:
    model = ifcopenshell.open(district / name)
    building = model.by_type("IfcBuilding")[0]
    number = ifcopenshell.util.element.get_psets(building)["Chengmai_Building"]["BuildingId"]
    rows = gpd.read_file(district / "buildings.geojson").set_index("id")
    footprint = rows.geometry[number]
    settings = ifcopenshell.geom.settings()
    settings.set("use-world-coords", True)  # noqa: FBT003 - the library's own signature
    corners: list[tuple[float, float]] = []
    for slab in model.by_type("IfcSlab"):
        shape = ifcopenshell.geom.create_shape(settings, slab)
        for x, y, z in np.array(shape.geometry.verts).reshape(-1, 3):
            e, n, _ = ifcopenshell.util.geolocation.auto_xyz2enh(model, x, y, z)
            corners.append((e, n))
    hull = MultiPoint(corners).convex_hull
    assert hull.symmetric_difference(footprint.convex_hull).area < 0.2
    origin = ifcopenshell.util.geolocation.auto_xyz2enh(model, 0.0, 0.0, 0.0)
    assert origin[2] == pytest.approx(rows["ground_m"][number])
    assert model.by_type("IfcProjectedCRS")[0].Name == "EPSG:4549"


@pytest.mark.parametrize("name", MODELS)
def test_pipes_of_a_system_are_joined_through_their_ports(district: Path, name: str) -> None:
    model = ifcopenshell.open(district / name)
    graph = nx.Graph()
    for relation in model.by_type("IfcRelConnectsPorts"):
        ends = [ifcopenshell.util.system.get_port_element(p) for p in (relation.RelatingPort, relation.RelatedPort)]
        graph.add_edge(*(e.GlobalId for e in ends))
    for system in model.by_type("IfcDistributionSystem"):
        assert all(e.GlobalId in graph for e in ifcopenshell.util.system.get_system_elements(system))
    entries = [
        e for e in model.by_type("IfcElement") if "Chengmai_Connection" in ifcopenshell.util.element.get_psets(e)
    ]
    reached = set().union(*(nx.node_connected_component(graph, e.GlobalId) for e in entries))
    assert reached == set(graph)


def test_renewal_keeps_most_elements_and_says_what_changed(district: Path) -> None:
    before, after = (ifcopenshell.open(district / n) for n in ("block-07.ifc", "block-07-renewed.ifc"))
    assert before.by_type("IfcProject")[0].GlobalId == after.by_type("IfcProject")[0].GlobalId
    old = {e.GlobalId for e in before.by_type("IfcElement")}
    new = {e.GlobalId for e in after.by_type("IfcElement")}
    assert len(old & new) > 0.8 * len(old)
    assert old - new
    assert new - old
    assert after.by_type("IfcCovering")
    assert after.by_type("IfcTransportElement")
    assert {e.GlobalId for e in before.by_type("IfcSensor")} <= new
