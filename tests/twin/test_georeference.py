"""Placement of a model: consistent statements place it, contradictions keep it out, and nothing is guessed."""

import math

import numpy as np
import pytest
from pyproj import Transformer

from twin.georeference import Frame, MapConversion, Statements, place
from twin.model import Decision

GK = "EPSG:4549"
HERE = MapConversion("IfcMapConversion #1", GK, 540_000.0, 3_350_000.0, 6.5, map_unit_m=1.0)


def stated(**changes):
    unit = changes.pop("unit", 1.0)
    anchor = changes.pop("anchor", (0.0, 0.0, 0.0))
    site = changes.pop("site", None)
    fields = {name: getattr(HERE, name) for name in MapConversion.__slots__} | changes
    return Statements(unit, (MapConversion(**fields),), site, anchor=anchor)


def decide(statements, city=GK, file_crs=None, bounds=None):
    return place(statements, city_crs=city, file_crs=file_crs, bounds=bounds)


def test_a_map_conversion_in_the_citys_crs_is_taken_as_written():
    placement, frame = decide(stated(abscissa=math.cos(0.3), ordinate=math.sin(0.3)))
    assert placement.decision is Decision.PLACED
    assert (placement.level, placement.crs) == (50, GK)
    assert placement.origin == pytest.approx((540_000, 3_350_000, 6.5))
    assert placement.rotation_deg == pytest.approx(math.degrees(0.3), abs=1e-6)
    corner = frame.apply(np.array([[10.0, 0.0, 1.0]]))[0]
    assert corner == pytest.approx((540_000 + 10 * math.cos(0.3), 3_350_000 + 10 * math.sin(0.3), 7.5))


def test_into_another_crs_the_origin_is_transformed_and_the_axes_turn_with_the_convergence():
    """Expected: both ends of a 100 m line along the model's x axis, carried over by pyproj itself."""
    placement, frame = decide(stated(), city="EPSG:32651")
    move = Transformer.from_crs(GK, "EPSG:32651", always_xy=True)
    start, end = move.transform(540_000, 3_350_000), move.transform(540_100, 3_350_000)
    assert placement.origin[:2] == pytest.approx(start, abs=1e-3)
    assert abs(placement.rotation_deg) > 1  # from 0.4 degrees east of its meridian to 2.6 west of the other
    assert frame.apply(np.array([[100.0, 0, 0]]))[0, :2] == pytest.approx(end, abs=0.5)  # grid scale is not applied


def test_a_city_without_crs_takes_the_files():
    assert decide(stated(), city=None)[0].crs == GK


def test_map_units_of_millimetres_are_divided_before_projecting():
    placement, _ = decide(stated(easting=540_000_000.0, northing=3_350_000_000.0, height=6500.0, map_unit_m=0.001))
    assert placement.origin == pytest.approx((540_000, 3_350_000, 6.5))


def test_a_missing_map_unit_is_the_one_that_lands_inside_the_crs():
    placement, _ = decide(stated(easting=540_000_000.0, northing=3_350_000_000.0, map_unit_m=None, unit=0.001))
    assert placement.origin[:2] == pytest.approx((540_000, 3_350_000))


def test_millimetres_under_a_map_unit_of_metres_are_quarantined_with_the_repair_named():
    placement, frame = decide(stated(easting=540_000_000.0, northing=3_350_000_000.0))
    assert placement.decision is Decision.QUARANTINED
    assert "outside the area of use" in placement.contradictions[0]
    assert "read in millimetres" in placement.proposal.why
    assert placement.proposal.origin == pytest.approx((540_000, 3_350_000, 0.0065))
    assert frame == Frame()  # its assets keep their own coordinates


def test_a_model_of_another_continent_is_not_placed_in_the_city():
    german = stated(crs="EPSG:25832", easting=458_657.3, northing=5_438_232.25)
    placement, _ = decide(german)
    assert placement.decision is Decision.QUARANTINED
    assert "outside the area of use of the city's" in placement.contradictions[0]


@pytest.mark.parametrize("scale", [None, 1.0, 0.001, 0.001 * 0.9996])
def test_scale_absent_or_near_the_ratio_of_units_places(scale):
    assert decide(stated(unit=0.001, scale=scale))[0].decision is Decision.PLACED


def test_an_inverted_scale_is_quarantined():
    placement, _ = decide(stated(unit=0.001, scale=1000.0))
    assert placement.decision is Decision.QUARANTINED
    assert "its inverse" in placement.contradictions[0]


@pytest.mark.parametrize(("crs", "why"), [("EPSG:999999", "no such"), ("EPSG:4490", "not projected")])
def test_a_crs_that_cannot_carry_metres_is_quarantined(crs, why):
    placement, _ = decide(stated(crs=crs))
    assert placement.decision is Decision.QUARANTINED
    assert why in placement.contradictions[0]


def test_a_site_that_disagrees_is_listed_with_its_distance():
    placement, _ = decide(stated(site=(-71.06, 42.36)))
    assert placement.decision is Decision.PLACED
    assert placement.rivals[0].endswith("m away")


@pytest.mark.parametrize(
    ("statements", "level"),
    [
        (Statements(1.0), None),
        (Statements(1.0, address="Fenggu Road 1"), 10),
        (Statements(1.0, site_lonlat=(120.4, 30.2), address="Fenggu Road 1"), 20),
    ],
)
def test_an_address_or_a_latitude_does_not_place(statements, level):
    placement, _ = decide(statements)
    assert (placement.decision, placement.level) == (Decision.UNPLACED, level)


def test_the_callers_crs_places_a_model_drawn_in_map_coordinates():
    anchor = (540_010.0, 3_350_010.0, 5.0)
    placement, frame = decide(Statements(1.0, anchor=anchor), city=None, file_crs=GK)
    assert (placement.decision, placement.level) == (Decision.PLACED, 30)
    assert placement.origin == pytest.approx(anchor)
    assert frame.apply(np.array([[540_000.0, 3_350_000.0, 4.0]]))[0] == pytest.approx((540_000, 3_350_000, 4), abs=1e-6)


def test_the_callers_crs_does_not_place_a_model_drawn_around_zero():
    assert decide(Statements(1.0), file_crs=GK)[0].decision is Decision.UNPLACED


def test_a_mesh_origin_away_from_zero_moves_with_the_model():
    placement, frame = decide(stated(abscissa=0.0, ordinate=1.0, anchor=(5000.0, 0.0, 2.0)))
    assert placement.origin == pytest.approx((540_000, 3_355_000, 8.5))
    assert frame.apply(np.array([[0.0, 0.0, 0.0]]))[0] == pytest.approx((540_000, 3_350_000, 6.5))
