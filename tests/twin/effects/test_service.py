"""Which node serves which building: said by a file, a joint or a name, else inside, else near."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from twin.asset import Basis, LinkKind, NodeKind, System
from twin.buildings import Sensitive, people, sensitive, stands_for
from twin.city import City
from twin.effects.service import REACH_M, Via, services

W = System.WATER
NO_JOINTS = pd.DataFrame(columns=["node", "building", "distance_m", "confidence", "why"])


def asked(city: City, joints: pd.DataFrame = NO_JOINTS) -> dict[tuple[str, str], tuple[str, str, float]]:
    """Return (node, building) → via, basis, confidence, of the services of a city."""
    buildings = city.table("buildings")
    standing = stands_for(buildings, ["model"])
    rows = services(city.table("nodes"), city.table("links"), buildings, joints, standing=standing)
    return {
        (row["node"].rsplit(":", 1)[-1], row["building"].rsplit(":", 1)[-1]): (
            row["via"],
            row["basis"],
            pytest.approx(row["confidence"]),
        )
        for row in rows.to_dict("records")
    }


def test_a_node_that_names_a_building_serves_it_however_far_it_is(drawing, tmp_path: Path) -> None:
    drawing.node("C1", W, NodeKind.CUSTOMER, 500, 0, properties={"building": "B1"})
    drawing.building("B1", (0, 0, 10, 10))
    with drawing.city(tmp_path / "c.gpkg") as city:
        assert asked(city) == {("C1", "B1"): (Via.PROPERTY, Basis.STATED, 1.0)}


def test_a_service_pipe_that_names_a_building_speaks_for_its_end(drawing, tmp_path: Path) -> None:
    drawing.node("A", W, NodeKind.JUNCTION, 0, 50)
    drawing.node("B", W, NodeKind.CUSTOMER, 0, 40)
    drawing.link("S", LinkKind.SERVICE, "A", "B", properties={"建筑编号": "甲"})
    drawing.building("b1", (0, 0, 10, 10), title="甲")
    with drawing.city(tmp_path / "c.gpkg") as city:
        assert asked(city) == {("B", "b1"): (Via.PROPERTY, Basis.STATED, 1.0)}


def test_a_node_called_after_a_building_serves_it_only_within_reach(drawing, tmp_path: Path) -> None:
    drawing.node("C-B1", W, NodeKind.CUSTOMER, 5, -REACH_M + 1)
    drawing.node("C-B2", W, NodeKind.CUSTOMER, 5, 2 * REACH_M)
    drawing.node("J-3", W, NodeKind.JUNCTION, 100, -5)
    drawing.building("B1", (0, 0, 10, 10))
    drawing.building("B2", (0, 1000, 10, 1010))
    drawing.building("3", (2000, 0, 2010, 10))  # known by a digit only: J-3 is not called after it
    with drawing.city(tmp_path / "c.gpkg") as city:
        assert asked(city) == {("C-B1", "B1"): (Via.NAME, Basis.INFERRED, 0.9)}


def test_a_name_that_two_buildings_have_is_no_word(drawing, tmp_path: Path) -> None:
    drawing.node("C1", W, NodeKind.CUSTOMER, 5, 500, properties={"building": "幸福里"})
    for name in ("b1", "b2"):
        drawing.building(name, (0, 0, 10, 10), title="幸福里")
    with drawing.city(tmp_path / "c.gpkg") as city:
        assert asked(city) == {}


def test_inside_goes_before_near_and_nearness_fades(drawing, tmp_path: Path) -> None:
    drawing.node("in", W, NodeKind.CUSTOMER, 5, 5)
    drawing.node("by", W, NodeKind.CUSTOMER, 5, -15)
    drawing.node("main", W, NodeKind.JUNCTION, 105, -30)
    drawing.building("b1", (0, 0, 10, 10))
    drawing.building("b2", (100, 0, 110, 10))
    with drawing.city(tmp_path / "c.gpkg") as city:
        found = asked(city)

    assert found == {
        ("in", "b1"): (Via.INSIDE, Basis.INFERRED, 0.9),
        ("main", "b2"): (Via.NEAR, Basis.INFERRED, 0.6 * (1 - 30 / REACH_M)),
    }


def test_where_most_buildings_say_what_serves_them_the_silent_ones_are_not_served(drawing, tmp_path: Path) -> None:
    for n in range(3):
        drawing.node(f"C{n}", W, NodeKind.CUSTOMER, 100.0 * n, -5, properties={"building": f"B{n}"})
        drawing.building(f"B{n}", (100.0 * n, 0, 100.0 * n + 10, 10))
    drawing.node("main", W, NodeKind.JUNCTION, 305, -10)
    drawing.building("shed", (300, 0, 310, 10))
    with drawing.city(tmp_path / "c.gpkg") as city:
        assert {building for _, building in asked(city)} == {"B0", "B1", "B2"}


def test_storm_drains_take_no_house_water(drawing, tmp_path: Path) -> None:
    drawing.node("Y", System.DRAINAGE, NodeKind.MANHOLE, 5, -5, service="storm")
    drawing.node("S", System.DRAINAGE, NodeKind.MANHOLE, 5, -20, service="sanitary")
    drawing.building("b1", (0, 0, 10, 10))
    with drawing.city(tmp_path / "c.gpkg") as city:
        assert {node for node, _ in asked(city)} == {"S"}


def test_a_joint_of_the_model_goes_before_what_only_lies_near(drawing, tmp_path: Path) -> None:
    drawing.node("C", W, NodeKind.CUSTOMER, 30, 5)
    drawing.node("near", W, NodeKind.CUSTOMER, 5, -2)
    drawing.building("M", (0, 0, 10, 10), model=True)
    with drawing.city(tmp_path / "c.gpkg") as city:
        joint = pd.DataFrame([("net:node:C", "model:building:M", 20.0, 0.4, "nearest end")], columns=NO_JOINTS.columns)
        assert asked(city, joint) == {("C", "M"): (Via.JOINT, Basis.INFERRED, 0.4)}


@pytest.mark.parametrize(("share", "stands"), [(0.4, False), (0.6, True)])
def test_a_model_stands_for_a_footprint_that_it_mostly_covers(
    drawing, tmp_path: Path, share: float, stands: bool
) -> None:
    drawing.building("b1", (0, 0, 10, 10))
    drawing.building("M", (0, 0, 10 * share, 10), model=True)
    with drawing.city(tmp_path / "c.gpkg") as city:
        found = stands_for(city.table("buildings"), ["model"])

    assert found == ({"map:building:b1": "model:building:M"} if stands else {})


def test_what_makes_a_building_sensitive_is_in_its_name_or_usage() -> None:
    assert sensitive("河湾实验学校教学楼", None) is Sensitive.SCHOOL
    assert sensitive("北塘幼儿园", "school") is Sensitive.KINDERGARTEN
    assert sensitive(None, "Hospital") is Sensitive.HOSPITAL
    assert sensitive("公共卫生间", "public") is None


def test_people_are_those_in_the_building_before_those_registered_there() -> None:
    assert people(96.0, {"people": 120}) == 120
    assert people(96.0, {"people": None}) == 96
    assert people(float("nan"), {}) is None
