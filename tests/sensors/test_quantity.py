import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.quantity import CATALOGUE, from_si, quantity, scale, to_si, units, usual_unit
from twin.errors import RefusedError

ALL_UNITS = [(unit, name) for name in CATALOGUE for unit in units(name)]


@given(st.sampled_from(ALL_UNITS), st.floats(-1e6, 1e6))
def test_value_survives_the_way_to_si_and_back(pair, value):
    unit, name = pair
    assert from_si(to_si(value, unit, name), unit, name) == pytest.approx(value, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("name", CATALOGUE)
def test_si_unit_of_every_quantity_is_one_and_usual_unit_is_understood(name):
    assert scale(CATALOGUE[name].si, name) == (1.0, 0.0)
    for system in ("", "gas", "water"):
        scale(usual_unit(name, system), name)


@pytest.mark.parametrize(
    ("value", "unit", "name", "si"),
    [
        (1, "m³/h", "flow", 1 / 3600),
        (1, "L/s", "flow", 0.001),
        (10, "mH2O", "pressure", 98066.5),
        (25, "% LEL", "combustible_gas", 0.25),
        (5, "%vol", "methane", 0.05),
        (10, "mg/m3", "hydrogen_sulfide", 1e-5),
        (0.5, "mg/L", "free_chlorine", 5e-4),
        (20, "℃", "temperature", 293.15),
        (50, "[degF]", "temperature", 283.15),
        (500, "µS/cm", "conductivity", 0.05),
        (180, "deg", "tilt", math.pi),
        (36, "mm/h", "rain_intensity", 1e-5),
    ],
)
def test_known_values_come_out_right(value, unit, name, si):
    assert to_si(value, unit, name) == pytest.approx(si)


def test_unit_of_another_dimension_is_refused_with_its_code():
    with pytest.raises(RefusedError) as error:
        scale("m3/h", "pressure")
    assert error.value.code == "E_UNIT"
    with pytest.raises(RefusedError):
        scale("%vol", "combustible_gas")
    with pytest.raises(RefusedError):
        scale("mPa", "pressure")


def test_unknown_quantity_is_refused_with_its_code():
    with pytest.raises(RefusedError) as error:
        quantity("presure")
    assert error.value.code == "E_POINT"
