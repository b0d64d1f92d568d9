"""Coordinate reference systems: what exists, axis order, accuracy told as PROJ tells it."""

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from twin import crs
from twin.errors import CrsError


@pytest.mark.parametrize("text", ["4549", "EPSG:4549", "epsg:4549", " urn:ogc:def:crs:EPSG::4549 "])
def test_every_way_to_write_an_epsg_code_is_understood(text: str) -> None:
    assert crs.label(crs.parse(text)) == "EPSG:4549"


@pytest.mark.parametrize("text", ["EPSG:999999", "", "nonsense", "99999999999999999999", "+proj=nothing", "PROJCS["])
def test_crs_that_does_not_exist_is_one_clear_line(text: str) -> None:
    with pytest.raises(CrsError, match=r"E_CRS .*there is no such coordinate reference system") as error:
        crs.parse(text)
    assert "\n" not in str(error.value)


def test_wkt_and_proj_strings_are_understood() -> None:
    assert crs.label(crs.parse(crs.parse("EPSG:4549").to_wkt())) == "EPSG:4549"
    assert crs.parse("+proj=utm +zone=32 +datum=WGS84").is_projected


def test_gauss_krueger_axes_are_east_then_north_whatever_the_definition_says() -> None:
    longitude, latitude = crs.to_lonlat("EPSG:4549", 500_000, 3_320_113.398)
    assert longitude == pytest.approx(120, abs=1e-9)
    assert latitude == pytest.approx(30.0, abs=1e-6)


def test_zone_prefixed_easting_is_another_crs() -> None:
    longitude, _ = crs.to_lonlat("EPSG:4528", 40_500_000, 3_320_113)
    assert longitude == pytest.approx(120, abs=1e-9)


@pytest.mark.parametrize(
    ("longitude", "epsg"), [(75, 4534), (118.6, 4549), (121.4, 4549), (121.6, 4550), (135.9, 4554)]
)
def test_gauss_krueger_zone_is_the_nearest_meridian_of_three(longitude: float, epsg: int) -> None:
    assert crs.gauss_krueger(longitude).to_epsg() == epsg


@given(st.floats(118.5, 121.5), st.floats(20, 45))
def test_points_come_back_from_the_citys_crs(longitude: float, latitude: float) -> None:
    there = crs.transformation(crs.parse("4490"), crs.parse("4549"))
    back = crs.transformation(crs.parse("4549"), crs.parse("4490"))
    assert there.accuracy_m == 0
    result = back.points(*there.points(longitude, latitude))
    np.testing.assert_allclose(np.ravel(result), [longitude, latitude], atol=1e-9)


def test_ballpark_operation_states_no_accuracy() -> None:
    assert crs.transformation(crs.parse("4547"), crs.parse("4326")).accuracy_m is None
    assert crs.transformation(crs.parse("3826"), crs.parse("4326")).accuracy_m == 1


def test_heights_pass_through_a_transformation_and_flat_stays_flat() -> None:
    operation = crs.transformation(crs.parse("4490"), crs.parse("4549"))
    out = operation.geometries(np.array([shapely.Point(120, 30, 7.5), shapely.Point(120, 30), None, shapely.Point()]))
    assert (out[0].x, out[0].z) == (pytest.approx(500_000), 7.5)
    assert not out[1].has_z
    assert out[2] is None
    assert out[3].is_empty


def test_coordinates_that_do_not_fit_are_refused() -> None:
    operation = crs.transformation(crs.parse("4490"), crs.parse("4549"))
    with pytest.raises(CrsError, match="cannot be brought to"):
        operation.geometries(np.array([shapely.Point(500_000, 3_300_000)]))


@pytest.mark.parametrize(
    ("source", "easting", "northing", "epsg"),
    [
        ("EPSG:4549", 500_000, 3_300_000, 4549),  # projected, metres: as it is
        ("EPSG:4490", 120.3, 30.1, 4549),  # China: Gauss-Krüger
        ("EPSG:4326", -72.9, 43.6, 32618),  # elsewhere: UTM
        ("EPSG:4326", 18.4, -33.9, 32734),
        ("EPSG:3547", 4_971_350, 3_905_604, 32616),  # feet: UTM in metres
    ],
)
def test_city_adopts_a_projected_crs_in_metres(source: str, easting: float, northing: float, epsg: int) -> None:
    assert crs.adopt(crs.parse(source), easting, northing).to_epsg() == epsg


def test_compound_crs_gives_its_horizontal_part() -> None:
    assert crs.horizontal(crs.parse("EPSG:4549+5737")).to_epsg() == 4549


def test_missing_grid_is_said_in_the_description_and_nowhere_else(recwarn: pytest.WarningsRecorder) -> None:
    operation = crs.transformation(crs.parse("27700"), crs.parse("4326"))
    assert not recwarn.list
    if "OSTN15" not in operation.description.partition(" (a better")[0]:  # the grid may be installed
        assert operation.description.endswith(
            "(a better operation needs uk_os_OSTN15_NTv2_OSGBtoETRS.tif, which is not installed)"
        )
        assert operation.accuracy_m is not None
        assert operation.accuracy_m > 1


def test_proj_4_way_to_name_an_epsg_code_is_understood_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert crs.label(crs.parse("+init=epsg:4549")) == "EPSG:4549"
    assert not recwarn.list


@pytest.mark.parametrize(
    ("code", "longitude", "latitude", "inside"),
    [
        ("4549", 120.0, 30.0, True),
        ("4549", 118.2, 30.0, True),  # just past the zone's edge
        ("4549", -72.9, 43.6, False),
        ("2193", -177.0, -44.0, False),
        ("3832", -170.0, 10.0, True),  # an area across the date line
    ],
)
def test_area_of_use_has_a_margin_and_may_cross_the_date_line(
    code: str, longitude: float, latitude: float, *, inside: bool
) -> None:
    flat = crs.parse(code)
    east, north = crs.transformation(crs.parse("4326"), flat).points(longitude, latitude)
    assert crs.in_area_of_use(flat, float(east), float(north)) is inside
