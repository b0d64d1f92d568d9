"""Every statement of a file is held against the one that decides; a repair is proposed; nothing is guessed."""

import math

import pytest
from pyproj import Geod, Proj, Transformer

from twin.georeference import LocalOrigin, MapConversion, Statements, place
from twin.model import Decision

GK = "EPSG:4549"
EAST, NORTH = 540_000.0, 3_350_000.0


def conversion(entity="IfcMapConversion #1", **changes):
    fields = {"crs": GK, "easting": EAST, "northing": NORTH, "height": 6.5, "map_unit_m": 1.0} | changes
    return MapConversion(entity, **fields)


def decide(*conversions, city=GK, file_crs=None, bounds=None, unit=1.0, **said):
    return place(Statements(unit, conversions, **said), city_crs=city, file_crs=file_crs, bounds=bounds)


def site(origin=(0.0, 0.0, 0.0), turn=0.0):
    return LocalOrigin("IfcSite #5 placement", 30, origin, turn)


def world(origin=(0.0, 0.0, 0.0), turn=0.0):
    return LocalOrigin("IfcGeometricRepresentationContext #7 world coordinate system", 40, origin, turn)


def heading(degrees):
    return {"abscissa": math.cos(math.radians(degrees)), "ordinate": math.sin(math.radians(degrees))}


def true_north(degrees):
    """The direction of true north in a model whose x axis is turned by `degrees` from true east."""
    return math.sin(math.radians(degrees)), math.cos(math.radians(degrees))


def convergence():
    """True north against grid north at the place, from PROJ's own factors."""
    longitude, latitude = Transformer.from_crs(GK, "EPSG:4490", always_xy=True).transform(EAST, NORTH)
    return Proj(GK).get_factors(longitude, latitude).meridian_convergence


def test_two_operations_of_a_file_that_disagree_quarantine_it_with_the_distance():
    placement, _ = decide(conversion(), conversion("IfcMapConversion #2", easting=EAST + 300))
    assert placement.decision is Decision.QUARANTINED
    assert placement.contradictions == ("IfcMapConversion #2 is 300 m away",)
    assert placement.proposal.origin[:2] == (EAST, NORTH)


def test_operations_that_say_the_same_in_two_crss_do_not_contradict():
    east, north = Transformer.from_crs(GK, "EPSG:4510", always_xy=True).transform(EAST, NORTH)
    turn = convergence() - Proj("EPSG:4510").get_factors(*lonlat()).meridian_convergence
    other = conversion("IfcMapConversion #2", crs="EPSG:4510", easting=east, northing=north, **heading(-turn))
    placement, _ = decide(conversion(), other)
    assert (placement.decision, placement.contradictions) == (Decision.PLACED, ())


def lonlat():
    return Transformer.from_crs(GK, "EPSG:4490", always_xy=True).transform(EAST, NORTH)


def test_a_property_set_that_disagrees_is_a_rival_with_distance_turn_and_height():
    other = conversion("ePSet_MapConversion on IfcSite #3", northing=NORTH - 40, height=9.0, **heading(2))
    placement, _ = decide(conversion(), other)
    assert placement.decision is Decision.PLACED
    (line,) = placement.rivals
    assert line == "ePSet_MapConversion on IfcSite #3 is 40 m away, turned by 2.000°, 2.50 m higher"


def test_property_sets_of_two_sites_that_disagree_quarantine_and_one_of_the_project_goes_before_them():
    sites = [conversion(f"ePSet_MapConversion on IfcSite #{n}", easting=EAST + 100 * n) for n in (3, 4)]
    placement, _ = decide(*sites)
    assert placement.decision is Decision.QUARANTINED
    assert placement.contradictions == ("ePSet_MapConversion on IfcSite #4 is 100 m away",)
    placement, _ = decide(conversion("ePSet_MapConversion on IfcProject #1"), *sites)
    assert (placement.decision, len(placement.rivals)) == (Decision.PLACED, 2)


def test_true_north_off_the_map_conversion_is_listed_in_degrees_and_does_not_turn_the_model():
    placement, _ = decide(conversion(**heading(30)), true_north=true_north(10))
    assert placement.rotation_deg == pytest.approx(30, abs=1e-6)
    (line,) = placement.rivals
    assert "by -20.000°" in line
    assert f"(from true north {-20 + convergence():.3f}°)" in line


def test_true_north_that_repeats_grid_north_is_told_by_the_convergence():
    placement, _ = decide(conversion(**heading(30)), true_north=true_north(30))
    (line,) = placement.rivals
    assert line.startswith("TrueNorth repeats the grid north of XAxisAbscissa of IfcMapConversion #1")
    assert line.endswith(f"{convergence():.3f}° off true north")


def test_true_north_that_agrees_with_the_convergence_is_no_rival():
    assert decide(conversion(**heading(30)), true_north=true_north(30 - convergence()))[0].rivals == ()


def test_north_that_the_site_and_the_conversion_both_apply_is_quarantined_and_proposed_once():
    placement, _ = decide(conversion(**heading(35)), site=site(turn=35.0))
    assert placement.decision is Decision.QUARANTINED
    assert "north is applied twice" in placement.contradictions[0]
    assert placement.proposal.rotation_deg == pytest.approx(0)


def test_map_coordinates_in_placements_and_in_the_conversion_are_georeferenced_twice():
    placement, _ = decide(conversion(), site=site((EAST, NORTH, 6.5)), anchor=(EAST + 20, NORTH + 10, 7.0))
    assert placement.decision is Decision.QUARANTINED
    assert any("georeferenced twice" in line for line in placement.contradictions)
    assert placement.proposal.origin == pytest.approx((EAST + 20, NORTH + 10, 7.0))


def test_a_truncated_offset_and_a_site_that_add_up_are_not_twice():
    """Map coordinates with their leading digits cut off: IFC's own example of a rigid operation."""
    placement, _ = decide(
        conversion("IfcRigidOperation #4", easting=500_000, northing=3_300_000, height=0.0),
        site=site((40_000, 50_000, 0.0)),
        anchor=(40_000, 50_000, 0.0),
    )
    assert (placement.decision, placement.origin) == (Decision.PLACED, (EAST, NORTH, 0.0))


def test_a_world_coordinate_system_elsewhere_is_a_rival_with_its_distance():
    placement, _ = decide(conversion(), world=world((EAST + 1000, NORTH, 0.0)))
    assert placement.rivals[0].endswith("is 1000 m away")


def test_a_small_world_coordinate_system_is_told_and_not_applied():
    placement, _ = decide(conversion(), world=world((0.0, 0.0, 4.25), turn=2.0))
    assert placement.origin == pytest.approx((EAST, NORTH, 6.5))
    (line,) = placement.rivals
    assert line.endswith("is moved by (0.00, 0.00, 4.25) m and turned by 2.000°: not applied")


def test_a_model_of_another_country_is_not_proposed_here_by_changing_crs_and_unit_at_once():
    """Karlsruhe in Gauss-Krüger zone 3, its Scale inverted: read in centimetres it would fit Luxembourg's own grid."""
    karlsruhe = conversion(crs="EPSG:31467", easting=3_458_715.92, northing=5_439_966.65, scale=1000.0)
    placement, _ = decide(karlsruhe, city="EPSG:2169", unit=0.001)
    assert placement.decision is Decision.QUARANTINED
    assert placement.proposal.crs == "EPSG:31467"
    assert placement.proposal.origin[:2] == pytest.approx((3_458_715.92, 5_439_966.65), abs=1e-6)
    assert not placement.proposal.in_city


def test_a_sound_model_of_another_country_says_where_it_stands_there():
    karlsruhe = conversion(crs="EPSG:25832", easting=458_657.0, northing=5_438_232.0, **heading(30))
    placement, frame = decide(karlsruhe, city=GK)
    assert placement.decision is Decision.QUARANTINED
    assert placement.proposal.origin == pytest.approx((458_657.0, 5_438_232.0, 6.5))
    assert (placement.proposal.crs, placement.proposal.in_city) == ("EPSG:25832", False)
    assert placement.proposal.rotation_deg == pytest.approx(30)
    assert frame.origin == (0.0, 0.0, 0.0), "and keeps its own coordinates here"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_angles_of_a_rigid_operation_stand_where_the_geographic_crs_says(order):
    """Expected: the same point through PROJ, true north turned by the convergence there."""
    degrees = lonlat()
    rigid = conversion(
        "IfcRigidOperation #4", crs="EPSG:4490", easting=degrees[order[0]], northing=degrees[order[1]], angular=True
    )
    placement, _ = decide(rigid)
    assert placement.decision is Decision.PLACED
    assert placement.origin == pytest.approx((EAST, NORTH, 6.5), abs=1e-3)
    assert placement.rotation_deg == pytest.approx(convergence(), abs=1e-5)
    assert any("above the ellipsoid" in line for line in placement.rivals)


def test_angles_that_fit_either_way_are_not_guessed():
    rigid = conversion("IfcRigidOperation #4", crs="EPSG:4326", easting=10.0, northing=45.0, angular=True)
    placement, _ = decide(rigid, city=None)
    assert placement.decision is Decision.QUARANTINED
    assert "longitude first or latitude first" in placement.contradictions[0]


def test_lengths_in_a_geographic_crs_are_quarantined_and_read_in_degrees_by_the_proposal():
    longitude, latitude = lonlat()
    placement, _ = decide(conversion(crs="EPSG:4490", easting=longitude, northing=latitude))
    assert "metres cannot be added to degrees" in placement.contradictions[0]
    assert placement.proposal.origin[:2] == pytest.approx((EAST, NORTH), abs=1e-3)


def test_factors_of_a_scaled_conversion_move_what_lies_far_from_zero_and_are_told():
    """IFC 4.3, IfcMapConversionScaled: axes are multiplied by Scale × Factor, then turned, then moved."""
    grid = conversion(scale=0.001, factors=(0.9996, 0.9996, 1.0))
    placement, _ = decide(grid, unit=0.001, anchor=(5000.0, 0.0, 0.0))
    assert placement.origin[0] == pytest.approx(EAST + 5000 * 0.9996)
    assert any("combined factor of 0.9996" in line for line in placement.rivals)


def test_factors_that_are_no_surveyors_are_a_contradiction():
    placement, _ = decide(conversion(factors=(1.2, 1.0, 1.0)))
    assert "Scale × FactorX is 1.2" in placement.contradictions[0]


def test_a_model_outside_the_citys_bounds_is_quarantined():
    bounds = (EAST - 900, NORTH - 900, EAST - 100, NORTH + 900)
    assert "outside the city's bounds" in decide(conversion(), bounds=bounds)[0].contradictions[0]
    assert decide(conversion(), bounds=(EAST - 1, NORTH - 1, EAST + 1, NORTH + 1))[0].decision is Decision.PLACED


def test_exchanged_axes_are_proposed_the_right_way_round():
    placement, _ = decide(conversion(easting=NORTH, northing=EAST))
    assert placement.decision is Decision.QUARANTINED
    assert placement.proposal.origin[:2] == (EAST, NORTH)
    assert "exchanged" in placement.proposal.why


def test_an_easting_without_its_zone_number_is_proposed_with_it():
    """EPSG:4528 is zone 40 (120° E) with the zone number before the easting; 4549 the same without."""
    placement, _ = decide(conversion(crs="EPSG:4528"))
    assert placement.decision is Decision.QUARANTINED
    assert placement.proposal.origin[:2] == pytest.approx((EAST, NORTH), abs=1e-6)
    assert "zone number 40" in placement.proposal.why


def test_the_proposal_nearest_to_the_sites_latitude_is_taken():
    """Feet or metres: both land in the zone; the site says which."""
    feet = conversion(crs="EPSG:4549", easting=EAST / 0.3048, northing=NORTH / 0.3048, map_unit_m=None)
    placement, _ = decide(feet, unit=0.3048, site_lonlat=lonlat())
    chosen = placement.proposal.origin if placement.proposal else placement.origin
    assert chosen[:2] == pytest.approx((EAST, NORTH), abs=1e-3)


def test_a_map_unit_that_its_size_denies_is_a_doubt_that_quarantines():
    placement, _ = decide(conversion(doubts=("MapUnit #3 is called METER and is 0.3048 m",)))
    assert placement.decision is Decision.QUARANTINED


def test_a_conversion_without_a_crs_is_proposed_in_the_citys():
    placement, _ = decide(conversion(crs=None))
    assert (placement.decision, placement.level) == (Decision.UNPLACED, 50)
    assert placement.proposal.origin == (EAST, NORTH, 6.5)
    assert placement.proposal.why == "read in EPSG:4549"


def test_a_conversion_without_any_crs_is_proposed_at_the_sites_latitude():
    placement, _ = decide(conversion(crs=None), city=None, site_lonlat=lonlat())
    assert (placement.decision, placement.level) == (Decision.UNPLACED, 50)
    assert placement.proposal.origin[:2] == pytest.approx((EAST, NORTH), abs=0.01)  # GK adopted for this longitude
    assert placement.proposal.why.startswith("IfcSite latitude and longitude taken")


def test_a_latitude_off_the_globe_is_told():
    assert "is not on the globe" in decide(conversion(), site_lonlat=(120.0, 95.0))[0].rivals[0]


def test_coordinates_past_any_map_are_told_in_short():
    placement, _ = decide(conversion(easting=1e300))
    assert placement.contradictions[0].startswith("(1e+300, 3350000) is outside the area of use")


def test_a_site_latitude_proposes_the_place_turned_by_true_north_and_the_convergence():
    placement, _ = decide(
        site_lonlat=lonlat(), site_height_m=7.0, true_north=true_north(15), site=site((100.0, 0.0, 1.0))
    )
    assert (placement.decision, placement.level) == (Decision.UNPLACED, 20)
    turn = math.radians(15 + convergence())
    expected = (EAST - 100 * math.cos(turn), NORTH - 100 * math.sin(turn), 6.0)
    assert placement.proposal.origin == pytest.approx(expected, abs=0.01)
    assert placement.proposal.rotation_deg == pytest.approx(15 + convergence(), abs=1e-5)


def test_geometry_in_map_coordinates_is_named_where_no_statement_is():
    placement, _ = decide(city=None, anchor=(EAST, NORTH, 0.0))
    assert (placement.decision, placement.level, placement.proposal) == (Decision.UNPLACED, None, None)
    assert placement.source == "the geometry stands in map coordinates, without a CRS"


@pytest.mark.parametrize(
    ("said", "level"),
    [({"site": site((EAST, NORTH, 0.0))}, 30), ({"world": world((EAST, NORTH, 0.0))}, 40)],
)
def test_map_coordinates_without_a_crs_are_named_by_their_level(said, level):
    placement, _ = decide(city=None, **said)
    assert (placement.decision, placement.level) == (Decision.UNPLACED, level)


def test_the_callers_crs_places_a_model_by_its_world_coordinate_system():
    placement, _ = decide(file_crs=GK, world=world((EAST, NORTH, 3.0), turn=12.0))
    assert (placement.decision, placement.level) == (Decision.PLACED, 40)
    assert placement.origin == pytest.approx((EAST, NORTH, 3.0))
    assert placement.rotation_deg == pytest.approx(12.0, abs=1e-6)


def test_a_world_coordinate_system_without_a_turn_is_turned_by_true_north_and_the_convergence():
    placement, _ = decide(file_crs=GK, world=world((EAST, NORTH, 3.0)), true_north=true_north(20))
    assert placement.rotation_deg == pytest.approx(20 + convergence(), abs=1e-5)


def test_the_distance_of_a_rival_is_the_geodesic():
    longitude, latitude = lonlat()
    placement, _ = decide(conversion(), site_lonlat=(longitude + 0.01, latitude))
    distance = Geod(ellps="GRS80").inv(longitude, latitude, longitude + 0.01, latitude)[2]
    assert placement.rivals[0].endswith(f"is {distance:.0f} m away")


def test_a_ballpark_operation_claims_no_accuracy_and_says_so():
    placement, _ = decide(conversion(), city="EPSG:32651")
    assert placement.accuracy_m is None
    assert "allpark" in placement.source
