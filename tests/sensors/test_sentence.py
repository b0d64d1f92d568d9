from dataclasses import replace

import pytest

from sensors.alarm import AlarmId, Place, raise_
from sensors.detection import DetectionKind, Subject
from sensors.device import DeviceId
from sensors.ingest_alarm import IngestRule, ingest_subject, said_en
from sensors.sentence import sentence
from twin.asset import AssetId

HERE = Place(DeviceId("WP-1"), AssetId("water.inp:node:J1"), 1.0, 2.0, "water")


def alarm(detection, clock, place=HERE):
    return raise_(AlarmId(1), detection, place, clock.now())[0]


def test_limit_is_said_with_value_limit_and_place(seen, clock):
    said = alarm(seen(0), clock)
    assert sentence(said, "zh") == "WP-1（J1）压力 0.13 MPa，低于三级黄限值 0.14 MPa。"
    assert sentence(said, "en") == "WP-1 (J1): pressure 0.13 MPa, below the yellow limit of 0.14 MPa."


def test_gas_pressure_is_said_in_its_own_unit(seen, clock):
    said = alarm(seen(0), clock, replace(HERE, system="gas"))
    assert "130 kPa" in sentence(said, "en")


def test_sudden_fall_is_said_with_what_was_expected(seen, clock):
    found = replace(
        seen(0), rule="rate_of_change", kind=DetectionKind.RATE_OF_CHANGE, limit=None, expected=(280_000.0, 320_000.0)
    )
    assert sentence(alarm(found, clock), "zh") == "WP-1（J1）压力突降至 0.13 MPa（预期 0.28 – 0.32 MPa）。"
    assert sentence(alarm(found, clock), "en") == (
        "WP-1 (J1): pressure fell suddenly to 0.13 MPa (expected 0.28 – 0.32 MPa)."
    )


@pytest.mark.parametrize("kind", DetectionKind)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_kind_is_one_sentence_even_without_values(seen, clock, kind, language):
    bare = replace(seen(0), subject=Subject("device:X"), kind=kind, value=None, limit=None, quantity="")
    said = sentence(alarm(bare, clock, Place()), language)
    assert said.endswith("。" if language == "zh" else ".")
    assert "None" not in said
    assert "  " not in said


def test_an_expected_band_never_promises_less_than_nothing(seen, clock):
    found = replace(
        seen(0), quantity="combustible_gas", kind=DetectionKind.SEASONAL, value=0.62, limit=None, expected=(-0.02, 0.05)
    )
    assert "预期 0 – 5 %LEL" in sentence(alarm(found, clock))


@pytest.mark.parametrize("rule", IngestRule)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_ingest_says_of_itself_what_is_wrong_with_its_value(seen, clock, rule, language):
    found = replace(seen(0), subject=ingest_subject("hewan"), rule=rule, kind=DetectionKind.INGEST, value=4321.0)
    said = sentence(alarm(found, clock, Place()), language)
    assert "hewan" in said
    assert any(digit in said for digit in ("4,321", "72", "432100", "0.0 MB"))
    assert said.endswith("。" if language == "zh" else ".")


@pytest.mark.parametrize(("seconds", "said"), [(42, "42 s"), (300, "5 min"), (7200, "2 h"), (-3600, "60 min")])
def test_spans_are_said_in_the_unit_that_fits(seconds, said):
    assert said in said_en("hewan", IngestRule.CLOCK, float(seconds))
