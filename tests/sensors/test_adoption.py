import json
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sensors.adoption import DEFAULT_INTERVAL, propose
from sensors.device import Point
from sensors.device_list import check
from sensors.unknown_device import SeenPoint, Sighting
from twin.asset import AssetId, System
from twin.errors import InputError

from .conftest import NOON


def sighting(name="XX-1", system=System.WATER, seconds=600, messages=11, birth="", **points):
    seen = {sent: SeenPoint(*unit) for sent, unit in points.items()}
    return Sighting(name, "test", system, NOON, NOON + timedelta(seconds=seconds), messages, birth, seen)


def told(proposal):
    return {(p.code or p.name): (p.quantity, p.unit) for p in proposal.device.points}


def test_native_device_is_told_by_its_names_units_and_pace():
    found = propose(sighting(pressure=("MPa",), flow=(None,)), asset=AssetId("water.inp:node:J1"))
    assert told(found) == {"pressure": ("pressure", "MPa"), "flow": ("flow", "m3/h")}
    assert (found.device.id, found.device.interval, found.device.asset) == (
        "XX-1",
        timedelta(minutes=1),
        "water.inp:node:J1",
    )
    assert not found.left_out


def test_birth_tells_model_interval_and_units():
    birth = json.dumps({"v": 1, "online": True, "model": "P1", "interval_s": 5, "points": {"pressure": "kPa"}})
    found = propose(sighting(birth=birth, pressure=(None,)))
    assert told(found) == {"pressure": ("pressure", "kPa")}
    assert (found.device.model, found.device.interval) == ("P1", timedelta(seconds=5))


@pytest.mark.parametrize("birth", ["no JSON", "[1]", '{"interval_s":"often"}', '{"interval_s":1e300}', '{"points":5}'])
def test_birth_that_cannot_be_read_is_no_reason_to_refuse(birth):
    found = propose(sighting(birth=birth, messages=1, pressure=("MPa",)))
    assert found.device.interval == DEFAULT_INTERVAL


@pytest.mark.parametrize(
    ("sent", "unit", "quantity"),
    [
        ("inlet_pressure", "bar", "pressure"),
        ("absolute_pressure", "kPa", "absolute_pressure"),
        ("Inlet Absolute Pressure", "kPa", "absolute_pressure"),
        ("absolute_pressure", None, "absolute_pressure"),
        ("CH4", "%vol", "methane"),
        ("CH4-2", "%vol", "methane"),
        ("H2S", "ppm", "hydrogen_sulfide"),
        ("x", "uS/cm", "conductivity"),
        ("x", "NTU", "turbidity"),
        ("压力", "MPa", "pressure"),
        ("temp1", "℃", "temperature"),
    ],
)
def test_quantity_is_told_by_name_and_unit(sent, unit, quantity):
    found = propose(sighting("spBv1.0/plant/node", **{sent: (unit,)}))
    assert [point.quantity for point in found.device.points] == [quantity]


@pytest.mark.parametrize(
    ("sent", "unit"),
    [
        ("x", None),
        ("x", "m"),
        ("x", "mm/h"),
        ("pressure", "m3/h/s"),
        ("level_or_flow", None),
        ("methane", "MPa"),
        ("inlet_flow", None),
        ("pressure_setpoint", "MPa"),
        ("differential pressure", "kPa"),
        ("dissolved_oxygen", "%"),
    ],
)
def test_what_two_answers_fit_is_left_to_a_person(sent, unit):
    found = propose(sighting(battery=("V",), **{sent: (unit,)}))
    assert told(found) == {"battery": ("battery", "V")}
    assert sent in found.left_out
    with pytest.raises(InputError, match="--point"):
        propose(sighting(**{sent: (unit,)}))


def test_point_that_a_person_gives_stands_in_place_of_the_guess():
    given_points = [Point("level", "water_elevation", "m")]
    found = propose(sighting(level=("m",), flow=("m3/h",)), given=given_points)
    assert told(found) == {"level": ("water_elevation", "m"), "flow": ("flow", "m3/h")}


def test_device_with_an_address_keeps_its_own_words_as_codes():
    metrics = {"Inputs/Pressure": ("kPa",), "Outputs/Pressure": ("kPa",), "flow": ("m3/h",)}
    found = propose(sighting("spBv1.0/plant/node 7", system=None, **metrics), system=System.GAS)
    assert found.device.address == "spBv1.0/plant/node 7"
    assert found.device.id == "node_7"
    assert {p.code: p.name for p in found.device.points} == {
        "Inputs/Pressure": "pressure",
        "Outputs/Pressure": "Pressure",
        "": "flow",
    }


def test_nothing_is_guessed_of_system_or_topic_name():
    with pytest.raises(InputError, match="--system"):
        propose(sighting("hj212/1", system=None, pressure=("MPa",)))
    with pytest.raises(InputError, match="name of its topic"):
        propose(sighting(pressure=("MPa",)), device="OTHER")
    with pytest.raises(InputError, match="--id"):
        propose(sighting("spBv1.0/plant/压", pressure=("MPa",)))


names = st.one_of(st.text(max_size=80), st.sampled_from(["pressure", "flow", "CH4", "Inputs/level", "level"]))
unit_symbols = st.one_of(st.none(), st.text(max_size=10), st.sampled_from(["MPa", "m", "m3/h", "%LEL", ""]))


@example(name="hj212/8888", sent={"": "m3/h", "flow": None}, birth="")
@given(
    st.sampled_from(["XX-1", "hj212/8888", "spBv1.0/a/b c"]),
    st.dictionaries(names, unit_symbols, max_size=8),
    st.text(max_size=60),
)
def test_whatever_it_sends_the_proposal_can_be_registered(name, sent, birth):
    try:
        found = propose(sighting(name, birth=birth, **{each: (unit,) for each, unit in sent.items()}))
    except InputError:
        return
    check(found.device)
