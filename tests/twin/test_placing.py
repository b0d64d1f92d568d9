"""Placing by a person: models move with their levels, decisions are kept, hold while the file says the same, and go."""

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from tests.twin.readers.test_epanet import SMALL
from tests.twin.test_city import NOW, PLACED, everything
from twin import crs as reference
from twin import placing as placings
from twin.city import City
from twin.errors import InputError
from twin.load import load
from twin.model import Decision, Model, Placement, Proposal, Repair, RepairAction
from twin.placing import Motion, moved, place
from twin.store.placings import Placing

ANCHOR = (10.0, 20.0, 1.0)
QUARANTINED = Placement(
    Decision.QUARANTINED,
    "IfcMapConversion",
    level=50,
    origin=ANCHOR,
    contradictions=("eastings in millimetres",),
    proposal=Proposal((500_100.0, 3_300_200.0, 7.0), 90.0, "EPSG:4549", "read in millimetres"),
)
GEOMETRIES = (
    ("buildings", "footprint"),
    ("elements", "position"),
    ("nodes", "point"),
    ("links", "line"),
    ("zones", "area"),
)


@pytest.fixture
def city(tmp_path: Path) -> Iterator[City]:
    with City.create(tmp_path / "c.gpkg", "EPSG:4549") as made:
        yield made


def decision(stated: Placement, source: str = "a.ifc", **other: object) -> Placing:
    proposal = QUARANTINED.proposal
    assert proposal is not None
    made = Placing(source, NOW, "li", "seen on site", proposal.origin, proposal.rotation_deg, "EPSG:4549", stated)
    return replace(made, **other)


def same_place(one: Model, other: Model, tolerance: float = 1e-6) -> bool:
    for table, field in GEOMETRIES:
        shapes = [[getattr(each, field) for each in getattr(model, table)] for model in (one, other)]
        for a, b in zip(*shapes, strict=True):
            if (a is None) != (b is None):
                return False
            if a is not None and not np.allclose(
                shapely.get_coordinates(a, include_z=True),
                shapely.get_coordinates(b, include_z=True),
                atol=tolerance,
                equal_nan=True,
            ):
                return False
    return True


angles = st.floats(-360, 360)
places = st.tuples(st.floats(-1e6, 1e6), st.floats(-4e6, 4e6), st.floats(-500, 9000))


@settings(deadline=None, max_examples=50)
@given(places, places, angles)
def test_motion_and_its_way_back_leave_everything_where_it_was(about, origin, turn) -> None:
    model = replace(everything(), repairs=[Repair(RepairAction.SNAP, everything().nodes[0].id, None, 0, 0, 3.0, 4.0)])
    motion = Motion(about, origin, turn)
    there = moved(model, motion, PLACED)
    back = moved(there, motion.back, PLACED)
    assert same_place(model, back)
    assert there.nodes[0].ground_m == pytest.approx(4.0 + origin[2] - about[2])
    assert (back.repairs[0].easting, back.repairs[0].northing) == pytest.approx((3.0, 4.0), abs=1e-6)
    distance = [shapely.distance(each.nodes[0].point, each.nodes[1].point) for each in (model, there)]
    assert distance[0] == pytest.approx(distance[1], abs=1e-6)


def test_accepted_place_turns_about_the_anchor_and_lifts(city: City) -> None:
    """By hand: (1, 2) lies (−9, −18) from the anchor; turned by 90° that is (18, −9); 6 m higher."""
    city.replace(everything(placement=QUARANTINED), NOW)
    stored = place(city, "a.ifc", decision(QUARANTINED), NOW + timedelta(days=1), "li")
    assert (stored.revision, stored.is_new) == (2, True)
    placed = city.model("a.ifc")
    point = placed.nodes[0].point
    assert (point.x, point.y, point.z) == pytest.approx((500_118.0, 3_300_191.0, 9.0))
    assert placed.storeys[0].elevation_m == pytest.approx(11.0)
    assert placed.links[0].line.coords[0] == pytest.approx((500_118.0, 3_300_191.0, 9.0))
    mesh = city.mesh("a.ifc")
    assert (mesh.easting, mesh.northing, mesh.height, mesh.rotation_deg) == (500_100.0, 3_300_200.0, 7.0, 90.0)
    receipt = placed.placement
    assert receipt.decision is Decision.PLACED
    assert receipt.source == "decided by li on 2026-01-02 03:04Z: seen on site"
    assert receipt.rivals == ["quarantined by the file: IfcMapConversion; eastings in millimetres"]
    assert len(city.table("nodes", placed_only=True)) == 2
    with city.as_of(NOW) as before:
        assert before.sources()[0].placement.decision is Decision.QUARANTINED


def test_decision_can_be_taken_again_and_taken_back(city: City) -> None:
    first = everything(placement=QUARANTINED)
    city.replace(first, NOW)
    place(city, "a.ifc", decision(QUARANTINED), NOW, "li")
    stated = placings.as_stated(city, "a.ifc").placement
    assert stated.proposal == QUARANTINED.proposal
    second = decision(stated, origin=(500_500.0, 3_300_500.0, 1.0), rotation_deg=0.0, decided=NOW + timedelta(hours=1))
    place(city, "a.ifc", second, NOW, "li")
    point = city.model("a.ifc").nodes[0].point
    assert (point.x, point.y, point.z) == pytest.approx((500_491.0, 3_300_482.0, 3.0))
    place(city, "a.ifc", None, NOW + timedelta(hours=2), "wang")
    assert same_place(city.model("a.ifc"), first)
    assert city.model("a.ifc").placement.decision is Decision.QUARANTINED
    last = city.placing("a.ifc")
    assert last is not None
    assert (last.origin, last.by) == (None, "wang")
    with pytest.raises(InputError, match="nobody has placed it"):
        place(city, "a.ifc", None, NOW, "wang")
    assert [row.revision for row in city.revisions("a.ifc")] == [1, 2, 3, 4]


def test_place_outside_the_citys_zone_is_refused_and_nothing_is_kept(city: City) -> None:
    city.replace(everything(placement=QUARANTINED), NOW)
    with pytest.raises(InputError, match="outside the area of use"):
        place(city, "a.ifc", decision(QUARANTINED, origin=(93_869_354.0, 3_300_000.0, 0.0)), NOW, "li")
    assert city.placing("a.ifc") is None
    assert len(city.revisions("a.ifc")) == 1


def test_origin_in_another_zone_is_carried_with_its_direction(city: City) -> None:
    """Against PROJ: the origin by a transformer of its own, the direction by a point 1 km along it."""
    city.replace(everything(placement=QUARANTINED), NOW)
    east, north, turn = 786_000.0, 3_300_000.0, 30.0
    place(
        city, "a.ifc", decision(QUARANTINED, origin=(east, north, 7.0), rotation_deg=turn, crs="EPSG:4548"), NOW, "li"
    )
    to_city = Transformer.from_crs("EPSG:4548", "EPSG:4549", always_xy=True)
    origin = to_city.transform(east, north)
    tip = to_city.transform(east + 1000 * math.cos(math.radians(turn)), north + 1000 * math.sin(math.radians(turn)))
    mesh = city.mesh("a.ifc")
    assert (mesh.easting, mesh.northing) == pytest.approx(origin, abs=1e-6)
    wanted = math.degrees(math.atan2(tip[1] - origin[1], tip[0] - origin[0]))
    assert mesh.rotation_deg == pytest.approx(wanted, abs=1e-3)
    assert mesh.rotation_deg != pytest.approx(turn, abs=0.1)


def inp(folder: Path) -> Path:
    path = folder / "town.inp"
    path.write_text(SMALL.format(units="LPS"), "utf-8")
    return path


def test_network_is_placed_by_the_crs_of_its_coordinates_and_stays_so_when_loaded_again(tmp_path: Path) -> None:
    """Its zero is at (786000, 3300000) of EPSG:4548; each node is carried over by a transformer of the test's own."""
    path, target = inp(tmp_path), tmp_path / "c.gpkg"
    City.create(target, "EPSG:4549").close()
    [receipt] = load([path], target, at=NOW)
    assert receipt.placement is not None
    assert receipt.placement.decision is Decision.UNPLACED
    with City.open(target) as city:
        own = city.model("town.inp")
        made = Placing(
            "town.inp", NOW, "li", "said the plan", (786_000.0, 3_300_000.0, 0.0), 0.0, "EPSG:4548", own.placement
        )
        place(city, "town.inp", made, NOW, "li")
        to_city = Transformer.from_crs("EPSG:4548", "EPSG:4549", always_xy=True)
        placed = city.model("town.inp")
        for before, after in zip(own.nodes, placed.nodes, strict=True):
            there = to_city.transform(before.point.x + 786_000.0, before.point.y + 3_300_000.0)
            assert (after.point.x, after.point.y) == pytest.approx(there, abs=1e-6)
    path.write_text(path.read_text("utf-8") + "\n; edited\n", "utf-8")
    [receipt] = load([path], target, at=NOW)
    assert receipt.placement is not None
    assert (receipt.revision, receipt.placement.source) == (3, "decided by li on 2026-01-02 03:04Z: said the plan")
    with City.open(target) as city:
        assert same_place(city.model("town.inp"), placed)
        place(city, "town.inp", None, NOW, "li")
        assert same_place(city.model("town.inp"), own, 1e-5)
    [receipt] = load([path], target, at=NOW, crs="EPSG:4549")
    assert receipt.placement is not None
    assert receipt.placement.decision is Decision.PLACED


def test_decision_does_not_hold_for_a_file_that_says_otherwise(tmp_path: Path) -> None:
    path, target = inp(tmp_path), tmp_path / "c.gpkg"
    City.create(target, "EPSG:4549").close()
    load([path], target, at=NOW)
    with City.open(target) as city:
        stated = city.model("town.inp").placement
        place(city, "town.inp", decision(stated, "town.inp", origin=(1000.0, 0.0, 0.0), rotation_deg=0.0), NOW, "li")
    [receipt] = load([path], target, at=NOW, crs="EPSG:4549")
    assert receipt.placement is not None
    assert receipt.placement.source.startswith("given for town.inp")
    assert receipt.errors[-1].code == "E_PLACEMENT"
    assert "what li decided on 2026-01-02 03:04Z was not applied" in receipt.errors[-1].message


def test_anchor_of_a_model_in_its_own_coordinates_is_no_statement_of_its_place(city: City) -> None:
    """A new wing moves the mesh's origin; the move of what stood there before is the same."""
    city.replace(everything(placement=QUARANTINED), NOW)
    made = decision(QUARANTINED)
    place(city, "a.ifc", made, NOW, "li")
    wing = replace(QUARANTINED, origin=(0.0, 0.0, 0.0))
    assert placings.holds(made, wing)
    again = placings.placed(everything(placement=wing), made, "EPSG:4549")
    assert same_place(again, city.model("a.ifc"))
    assert again.placement.origin == pytest.approx((500_120.0, 3_300_190.0, 6.0))
    assert not placings.holds(made, replace(QUARANTINED, contradictions=("something else",)))
    assert not placings.holds(made, PLACED)


@pytest.mark.slow
def test_real_file_in_quarantine_is_placed_by_its_proposal(tmp_path: Path, data: Path) -> None:
    target = tmp_path / "c.gpkg"
    [receipt] = load([data / "ifc/georef_revit_mm_eastings_4.ifc"], target, at=NOW)
    assert receipt.placement is not None
    assert receipt.placement.decision is Decision.QUARANTINED
    proposal = receipt.placement.proposal
    assert proposal is not None
    with City.open(target) as city:
        stated = city.model(receipt.source).placement
        made = Placing(receipt.source, NOW, "li", "", proposal.origin, proposal.rotation_deg, proposal.crs, stated)
        place(city, receipt.source, made, NOW, "li")
        assert city.crs == reference.label(reference.parse(proposal.crs))
        [row] = city.sources()
        assert row.placement.decision is Decision.PLACED
        assert row.placement.origin == pytest.approx(proposal.origin)
    [again] = load([data / "ifc/georef_revit_mm_eastings_4.ifc"], target, at=NOW)
    assert again.placement is not None
    assert (again.placement.decision, again.revision, again.unchanged) == (Decision.PLACED, 2, True)
