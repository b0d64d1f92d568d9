"""Fusion: signs of one cause are one finding, of two causes two, and nothing that was said is lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.detection import Candidate, Detection, DetectionKind, Evidence, Fact, Subject
from sensors.detection.fusion import Fusion
from sensors.detection.fusion.finding import confidence_of
from sensors.detection.fusion.levels import by_matrix
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from twin.asset import AssetId, System
from twin.errors import InputError

LIMITS = load()
MINUTE = 60_000
QUANTITIES = {System.WATER: "pressure", System.DRAINAGE: "level", System.GAS: "combustible_gas"}


def device(name: str, east_m: float, system: System = System.WATER) -> Device:
    quantity = QUANTITIES[system]
    unit = {"pressure": "MPa", "level": "m", "combustible_gas": "%LEL"}[quantity]
    return Device(
        DeviceId(name),
        "test",
        system,
        (Point(quantity, quantity, unit),),
        timedelta(seconds=5),
        asset=AssetId(f"net:node:{name}"),
        easting=east_m,
        northing=0.0,
    )


DEVICES = [
    device("W1", 0.0),
    device("W2", 500.0),
    device("W3", 1000.0),
    device("W9", 9000.0),
    device("D1", 0.0, System.DRAINAGE),
    device("D2", 100.0, System.DRAINAGE),
    device("G1", 0.0, System.GAS),
    device("G2", 60.0, System.GAS),
]


@pytest.fixture
def fusion() -> Fusion:
    return Fusion(Scope(DEVICES, LIMITS))


def said(
    name: str, rule: str, time: int = 0, *, active: bool = True, level: int = 3, low: bool = True, sure: float = 0.5
) -> Detection:
    """Return what a layer says of a device's point: it left a band of 2 to 3 on one side."""
    quantity = next(each.points[0].quantity for each in DEVICES if each.id == name)
    kind = {"rate_of_change": DetectionKind.RATE_OF_CHANGE, "seasonal": DetectionKind.SEASONAL}.get(
        rule, DetectionKind.LIMIT
    )
    point = Subject(f"point:{name}/{quantity}")
    return Detection(
        point,
        rule,
        kind,
        active=active,
        level=level,
        time=time,
        value=1.0 if low else 4.0,
        expected=None if kind is DetectionKind.LIMIT else (2.0, 3.0),
        quantity=quantity,
        evidence=Evidence("recent", sure, points=(point,)),
    )


def leak(asset: str, time: int = 0, *, active: bool = True, seer: str = "W1") -> Detection:
    name = AssetId(f"net:node:{asset}")
    point = Subject(f"point:{seer}/pressure")
    evidence = Evidence("model", 0.7, (Candidate(name, 0.6, 0.0),), (Fact("loss", 0.01, "flow"),), (point,))
    subject = Subject(f"asset:{name}")
    return Detection(subject, "leak", DetectionKind.LEAK, active=active, level=3, time=time, evidence=evidence)


def faulty(name: str, time: int, rule: str = "flat_line", *, active: bool = True) -> Detection:
    return Detection(
        Subject(f"device:{name}"),
        rule,
        DetectionKind.QUALITY,
        active=active,
        level=4,
        time=time,
        evidence=Evidence("recent", 0.9),
    )


def findings(told: list[Detection]) -> list[tuple[str, str, bool]]:
    return [(each.subject, each.rule, each.active) for each in told if each.kind is DetectionKind.FINDING]


BURST = ("asset:net:node:W1", "burst")


def test_pressure_that_falls_at_several_places_at_once_is_one_burst(fusion: Fusion) -> None:
    told = fusion.update([said(name, "rate_of_change", 1000 * n) for n, name in enumerate(("W1", "W2", "W3"))])
    assert {each[:2] for each in findings(told)} == {BURST}
    assert fusion.standing == {BURST}
    assert [subject for subject, _ in told[-1].evidence.members] == [
        f"point:{name}/pressure" for name in ("W1", "W2", "W3")
    ]
    assert told[-1].evidence.confidence == 0.88  # 1 - 0.5 ** 3


def test_pressure_that_falls_far_away_is_another_burst(fusion: Fusion) -> None:
    fusion.update([said("W1", "rate_of_change"), said("W9", "rate_of_change")])
    assert fusion.standing == {BURST, ("asset:net:node:W9", "burst")}


def test_sudden_fall_long_after_the_last_is_another_burst(fusion: Fusion) -> None:
    fusion.update([said("W1", "rate_of_change"), said("W2", "rate_of_change", 60 * MINUTE)])
    assert fusion.standing == {BURST, ("asset:net:node:W2", "burst")}


def test_what_is_felt_slowly_belongs_to_the_burst_however_late(fusion: Fusion) -> None:
    fusion.update([said("W1", "rate_of_change"), said("W2", "seasonal", 300 * MINUTE)])
    assert fusion.standing == {BURST}


def test_safety_limit_is_an_alarm_of_its_own_and_evidence_of_the_finding_that_begins_later(fusion: Fusion) -> None:
    limit = said("W2", "water_pressure_low", 0, level=2)
    assert fusion.update([limit]) == [limit]
    told = fusion.update([said("W1", "rate_of_change", MINUTE)])
    assert (limit.subject, limit.rule) in told[0].evidence.members
    assert told[0].level == 2  # the worst of its members counts
    assert fusion.standing == {(limit.subject, limit.rule), BURST}


def test_finding_is_over_when_its_last_sign_is_and_the_limit_stays(fusion: Fusion) -> None:
    limit = said("W1", "water_pressure_low", level=2)
    fusion.update([limit, said("W1", "rate_of_change"), said("W2", "rate_of_change")])
    assert findings(fusion.update([said("W1", "rate_of_change", MINUTE, active=False)]))[0][2]
    over = fusion.update([said("W2", "rate_of_change", 2 * MINUTE, active=False)])
    assert findings(over) == [(*BURST, False)]
    assert fusion.standing == {(limit.subject, limit.rule)}


def test_what_comes_back_soon_is_the_same_finding_and_later_a_new_one(fusion: Fusion) -> None:
    fusion.update([said("W1", "rate_of_change"), said("W1", "rate_of_change", MINUTE, active=False)])
    again = fusion.update([said("W2", "rate_of_change", 5 * MINUTE)])
    assert findings(again) == [(*BURST, True)]
    fusion.update([said("W2", "rate_of_change", 6 * MINUTE, active=False)])
    late = fusion.update([said("W2", "rate_of_change", 60 * MINUTE)])
    assert findings(late) == [("asset:net:node:W2", "burst", True)]


def test_two_leaks_that_the_network_tells_apart_are_two_findings(fusion: Fusion) -> None:
    fusion.update([leak("W1"), leak("W3", seer="W3")])  # 1,000 m apart
    assert fusion.standing == {("asset:net:node:W1", "leak"), ("asset:net:node:W3", "leak")}


def test_candidates_of_the_network_are_the_findings(fusion: Fusion) -> None:
    told = fusion.update([said("W1", "rate_of_change"), leak("W2", MINUTE)])
    assert findings(told)[-1] == (*BURST, True)
    assert told[-1].evidence.candidates == (Candidate(AssetId("net:node:W2"), 0.6, 0.0),)
    assert told[-1].evidence.facts == (Fact("loss", 0.01, "flow"),)


def test_finding_names_first_who_measured_what_it_says(fusion: Fusion) -> None:
    """A flow may have been strange before the level that a blockage is told by."""
    level = replace(said("D1", "drain_level_high", low=False), expected=None)
    flow = replace(
        said("D2", "rate_of_change", 1), subject=Subject("point:D2/flow"), quantity="flow", evidence=Evidence("recent")
    )
    seen = Evidence("neighbours", 0.9, (Candidate(AssetId("net:node:D1"), 0.9),), points=(level.subject,))
    blocked = replace(flow, subject=Subject("asset:net:node:D1"), rule="blockage", kind=DetectionKind.BLOCKAGE)
    told = fusion.update([level, flow, replace(blocked, time=2, quantity="level", evidence=seen)])[-1]
    assert (told.rule, told.quantity, told.evidence.basis) == ("drain_flow", "level", "neighbours")
    assert told.evidence.points == (level.subject, Subject("point:D2/flow"))


def test_pressure_that_comes_back_is_the_end_of_the_burst_and_no_finding(fusion: Fusion) -> None:
    fusion.update([said("W1", "rate_of_change")])
    fusion.update([said("W2", "rate_of_change", 90 * MINUTE, low=False)])
    assert fusion.standing == {BURST}
    fusion.update([said("W1", "rate_of_change", 91 * MINUTE, active=False)])
    assert fusion.standing == set()  # W2's will pass; it holds nothing
    fusion.update([said("W3", "rate_of_change", 92 * MINUTE, low=False)])
    assert fusion.standing == set()


def test_pressure_that_rises_by_itself_is_a_deviation(fusion: Fusion) -> None:
    fusion.update([said("W1", "rate_of_change", low=False), said("W3", "seasonal", low=False)])
    assert {rule for _, rule in fusion.standing} == {"deviation"}


def test_high_pressure_that_outlasts_the_burst_is_told(fusion: Fusion) -> None:
    fusion.update([said("W1", "rate_of_change"), said("W2", "seasonal", MINUTE, low=False)])
    fusion.update([said("W1", "rate_of_change", 2 * MINUTE, active=False)])
    assert fusion.standing == {("asset:net:node:W2", "deviation")}


def contradiction(name: str, time: int) -> Detection:
    subject = Subject(f"device:{name}")
    evidence = Evidence("neighbours", 0.8, points=(subject,))
    return Detection(subject, "integrity", DetectionKind.INTEGRITY, active=True, level=3, time=time, evidence=evidence)


@pytest.mark.parametrize("first", [True, False])
def test_readings_that_contradict_one_another_are_explained_by_the_burst(fusion: Fusion, first: bool) -> None:
    fusion.update([contradiction("W2", 0 if first else 5 * MINUTE), said("W1", "rate_of_change", 3 * MINUTE)])
    assert fusion.standing == {BURST}


def test_readings_that_contradict_one_another_long_before_are_not(fusion: Fusion) -> None:
    fusion.update([contradiction("W2", 0), said("W1", "rate_of_change", 180 * MINUTE)])
    assert fusion.standing == {BURST, ("asset:net:node:W2", "integrity")}


def test_systems_are_not_mixed(fusion: Fusion) -> None:
    told = fusion.update(
        [said("W1", "rate_of_change"), said("D1", "seasonal", low=False), said("G1", "seasonal", low=False)]
    )
    assert {rule for _, rule, _ in findings(told)} == {"burst", "drain_high", "gas_rise"}


def test_gas_in_two_manholes_side_by_side_is_one_finding(fusion: Fusion) -> None:
    fusion.update([said("G1", "seasonal", low=False), said("G2", "rate_of_change", MINUTE, low=False)])
    assert fusion.standing == {("asset:net:node:G1", "gas_rise")}


def test_faulty_device_speaks_for_its_own_fault_only(fusion: Fusion) -> None:
    fusion.update([said("W1", "seasonal")])
    told = fusion.update([faulty("W1", 10 * MINUTE)])
    assert findings(told) == [("asset:net:node:W1", "leak", False), ("device:W1", "device_fault", True)]
    fusion.update([said("W1", "rate_of_change", 11 * MINUTE)])
    assert fusion.standing == {("device:W1", "device_fault")}
    over = fusion.update([faulty("W1", 20 * MINUTE, active=False)])
    assert ("device:W1", "device_fault", False) in findings(over)
    assert ("device:W1", "device_fault") not in fusion.standing
    assert {subject for subject, _ in fusion.standing} == {"asset:net:node:W1"}  # what it sees now counts again


def test_low_battery_does_not_make_a_device_a_liar(fusion: Fusion) -> None:
    fusion.update([faulty("W1", 0, "battery"), said("W1", "rate_of_change", MINUTE)])
    assert fusion.standing == {("device:W1", "device_fault"), BURST}


def test_silence_is_an_alarm_of_its_own(fusion: Fusion) -> None:
    silent = Detection(Subject("device:W1"), "silence", DetectionKind.SILENCE, active=True, level=4, time=0)
    assert fusion.update([silent]) == [silent]


def test_every_telling_of_a_finding_is_later_than_the_last(fusion: Fusion) -> None:
    told = fusion.update([said(name, "rate_of_change", 0) for name in ("W1", "W2", "W3")])
    times = [each.time for each in told]
    assert len(set(times)) == len(times) == 3
    assert times == sorted(times)


def test_evidence_that_says_nothing_new_is_not_told(fusion: Fusion) -> None:
    fusion.update([said("W1", "rate_of_change")])
    assert fusion.update([said("W1", "rate_of_change", MINUTE)]) == []


def test_level_is_the_matrix_where_no_member_is_worse(fusion: Fusion) -> None:
    (told,) = fusion.update([said("W1", "rate_of_change", level=4)])
    assert told.level == by_matrix(LIMITS, 0.5, 2) == 4
    told = fusion.update([said(name, "rate_of_change", 1, level=4) for name in ("W2", "W3")])[-1]
    assert told.level == by_matrix(LIMITS, told.evidence.confidence, 2) == 2


def test_one_device_is_one_witness_whatever_it_says(fusion: Fusion) -> None:
    told = fusion.update([said("W1", "rate_of_change", sure=0.6), said("W1", "seasonal", 1, sure=0.4)])
    assert told[-1].evidence.confidence == 0.6


def test_flood_is_one_finding_of_bounded_evidence_that_ends_with_its_last_sign() -> None:
    devices = [device(f"W{n:03d}", 10.0 * n) for n in range(130)]
    fusion = Fusion(Scope(devices, LIMITS))
    falls = [
        replace(said("W1", "seasonal", n), subject=Subject(f"point:{d.id}/pressure")) for n, d in enumerate(devices)
    ]
    told = fusion.update(falls)
    assert len(fusion.standing) == 1
    assert len(told[-1].evidence.members) == 50
    over = [replace(each, active=False, time=1000 + each.time) for each in falls]
    assert all(each.active for each in fusion.update(over[:-1]))
    assert [each.active for each in fusion.update(over[-1:])] == [False]
    assert fusion.standing == set()


def test_one_more_in_a_flood_is_told_only_where_it_is_worse_or_knows_the_network() -> None:
    devices = [device(f"W{n:03d}", 10.0 * n) for n in range(130)]
    fusion = Fusion(Scope(devices, LIMITS))
    falls = [
        replace(said("W1", "seasonal", n), subject=Subject(f"point:{d.id}/pressure")) for n, d in enumerate(devices)
    ]
    fusion.update(falls[:128])
    assert fusion.update([falls[128]]) == []
    assert [each.level for each in fusion.update([replace(falls[129], level=1)])] == [1]
    (located,) = fusion.update([leak("W003", 1000, seer="W003")])
    assert located.evidence.candidates == (Candidate(AssetId("net:node:W003"), 0.6, 0.0),)


def test_who_was_not_heard_in_a_flood_is_heard_when_another_goes() -> None:
    devices = [device(f"W{n:03d}", 10.0 * n) for n in range(65)]
    fusion = Fusion(Scope(devices, LIMITS))
    falls = [
        replace(said("W1", "seasonal", n), value=2.4 - n / 50, subject=Subject(f"point:{d.id}/pressure"))
        for n, d in enumerate(devices)
    ]
    before = fusion.update(falls)[-1].evidence.members
    (told,) = fusion.update([replace(falls[0], active=False, time=1000)])
    assert before[0] == (falls[63].subject, "seasonal")
    assert told.evidence.members[0] == (falls[64].subject, "seasonal")


def test_damaged_state_is_refused(fusion: Fusion) -> None:
    with pytest.raises(InputError, match="E_FORMAT"):
        fusion.load(b"nonsense", ())


def test_what_stands_and_fusion_never_saw_ends_as_it_is(fusion: Fusion) -> None:
    key = (said("W1", "seasonal").subject, "seasonal")
    fusion.load(None, {key})
    assert fusion.standing == {key}
    over = said("W1", "seasonal", MINUTE, active=False)
    assert fusion.update([over]) == [over]
    assert fusion.standing == set()


def test_what_a_faulty_device_measured_means_the_same_after_a_restart() -> None:
    """A low level in a drain is nobody's sign until it stands alone; then the device's fault took it in."""
    before, after = Fusion(Scope(DEVICES, LIMITS)), Fusion(Scope(DEVICES, LIMITS))
    before.update([said("D1", "seasonal"), faulty("D1", 1)])
    after.load(before.save(), {(said("D1", "seasonal").subject, "seasonal"), (faulty("D1", 1).subject, "flat_line")})
    more = said("D1", "rate_of_change", 2, low=False)
    assert after.update([more]) == before.update([more])


NAMES = st.sampled_from([str(each.id) for each in DEVICES])
RULES = st.sampled_from(["rate_of_change", "seasonal", "water_pressure_low", "drain_level_high", "flat_line", "leak"])
STEPS = st.lists(st.tuples(NAMES, RULES, st.booleans(), st.integers(0, 30)), max_size=40)


def _stream(steps: list[tuple[str, str, bool, int]]) -> list[Detection]:
    """Return detections as detectors would say them: a condition begins before it ends."""
    stream: list[Detection] = []
    time, stands = 0, set[tuple[str, str]]()
    for name, rule, low, minutes in steps:
        time += minutes * MINUTE + 1
        active = (name, rule) not in stands
        (stands.add if active else stands.discard)((name, rule))
        made = faulty(name, time) if rule == "flat_line" else leak(name, time) if rule == "leak" else None
        stream.append(replace(made or said(name, rule, time, low=low), active=active, time=time))
    return stream


@settings(max_examples=150, deadline=None)
@given(STEPS, st.integers(0, 40))
def test_whatever_comes_findings_stand_as_long_as_their_signs_and_survive_a_restart(
    steps: list[tuple[str, str, bool, int]], cut: int
) -> None:
    stream = _stream(steps)
    whole, first = Fusion(Scope(DEVICES, LIMITS)), Fusion(Scope(DEVICES, LIMITS))
    told: list[Detection] = []
    stands, raw = set[tuple[str, str]](), set[tuple[str, str]]()
    for each in stream:
        told += whole.update([each])
        (raw.add if each.active else raw.discard)((each.subject, each.rule))
    for each in told:
        (stands.add if each.active else stands.discard)((each.subject, each.rule))
    assert stands == whole.standing
    assert bool(stands) <= bool(raw)  # nothing that is over stays
    lasts = {key for key in raw if key[1] != "rate_of_change"}  # what came back suddenly passes without a word
    assert bool(lasts) <= bool(stands)  # nothing that lasts is lost
    first.update(stream[:cut])
    second = Fusion(Scope(DEVICES, LIMITS))
    open_then = {(e.subject, e.rule) for e in stream[:cut]}
    for each in stream[:cut]:
        (open_then.add if each.active else open_then.discard)((each.subject, each.rule))
    second.load(first.save(), open_then)
    assert second.standing == first.standing
    assert second.update(stream[cut:]) == first.update(stream[cut:])
    at_once = Fusion(Scope(DEVICES, LIMITS))
    assert at_once.update(stream) == told


def test_confidence_of_no_signs_is_none() -> None:
    assert confidence_of([]) == 0.0
