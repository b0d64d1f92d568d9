from dataclasses import replace

import pytest

from sensors.alarm import AlarmId, Place, raise_
from sensors.detection import Candidate, DetectionKind, Evidence, Fact, Subject
from sensors.device import DeviceId
from sensors.ingest_alarm import IngestRule, ingest_subject, said_en
from sensors.quality import Test
from sensors.sentence import sentence
from sensors.wording import TESTS
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


LEAK = Evidence(
    basis="model",
    confidence=0.62,
    candidates=(
        Candidate(AssetId("water.inp:link:P-7"), 0.5, 0.0),
        Candidate(AssetId("water.inp:link:P-8"), 0.25, 84.6),
        Candidate(AssetId("water.inp:link:P-9"), 0.125),
        Candidate(AssetId("water.inp:link:P-10"), 0.0625),
    ),
    facts=(Fact("loss", 0.005, "flow"), Fact("usual", 3e5, "pressure")),
    points=(Subject("point:WP-1/pressure"), Subject("point:WP-2/pressure")),
    members=((Subject("asset:water.inp:link:P-7"), "leak"),),
)


def test_finding_says_what_was_seen_and_expected_and_why_how_sure_and_where_to_look(seen, clock):
    found = replace(
        seen(0),
        subject=Subject("asset:water.inp:link:P-7"),
        rule="leak",
        kind=DetectionKind.FINDING,
        limit=None,
        expected=(280_000.0, 320_000.0),
        evidence=LEAK,
    )
    said = alarm(found, clock, replace(HERE, asset=AssetId("water.inp:link:P-7")))
    assert sentence(said, "zh") == (
        "P-7（WP-1 所见）疑似供水漏损：压力 0.13 MPa（预期 0.28 – 0.32 MPa）；依据水力模型；估计漏失 18 m3/h；"
        "2 台设备可见；可信度 62 %；可能位置：P-7（50 %，相距 0 m）、P-8（25 %，相距 85 m）、P-9（12 %）。"
    )
    assert sentence(said, "en") == (
        "P-7 (seen by WP-1): possible water leak, pressure 0.13 MPa (expected 0.28 – 0.32 MPa); judged by the hydraulic"
        " model; loss 18 m3/h; seen by 2 devices; confidence 62 %; likeliest at P-7 (50 %, 0 m away), P-8 (25 %, 85 m"
        " away), P-9 (12 %)."
    )


def test_finding_supposes_the_gravest_cause_of_its_members(seen, clock):
    members = ((Subject("point:DL-1/level"), "seasonal"), (Subject("asset:MH-1"), "blockage"))
    found = replace(
        seen(0), rule="drain_high", kind=DetectionKind.FINDING, evidence=Evidence("profile", 0.9, members=members)
    )
    assert "很可能是管道堵塞" in sentence(alarm(found, clock), "zh")


def test_faulty_device_is_said_with_what_its_readings_show(seen, clock):
    device = Subject("device:WP-1")
    found = replace(
        seen(0),
        subject=device,
        rule="device_fault",
        kind=DetectionKind.FINDING,
        value=None,
        evidence=Evidence("recent", 0.9, members=((device, "flat_line"), (device, "battery"))),
    )
    assert sentence(alarm(found, clock), "en") == (
        "WP-1 (J1): the device is at fault: values stand still, low battery; judged by its own last readings and 1"
        " other sign; confidence 90 %."
    )


def test_facts_are_said_as_people_say_them(seen, clock):
    evidence = Evidence("recent", 0.9, facts=(Fact("minutes", 8.0), Fact("rain", 0.01, "length"), Fact("odd_one", 3.0)))
    found = alarm(replace(seen(0), rule="gas_leak", kind=DetectionKind.FINDING, evidence=evidence), clock)
    assert "历时 8 分钟；" in sentence(found, "zh")
    assert "for 8 min;" in sentence(found, "en")
    assert "odd one 3;" in sentence(found, "en")


@pytest.mark.parametrize("test", Test)
def test_every_quality_test_has_its_words(test):
    assert test.rule in TESTS


@pytest.mark.parametrize("kind", DetectionKind)
@pytest.mark.parametrize("language", ["zh", "en"])
def test_every_kind_with_evidence_is_one_sentence(seen, clock, kind, language):
    said = sentence(alarm(replace(seen(0), kind=kind, rule=kind.value, evidence=LEAK), clock), language)
    assert said.count("。" if language == "zh" else ". ") <= 1
    assert said.endswith("。" if language == "zh" else ".")
    assert "None" not in said
    assert "  " not in said


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
