"""What detectors of drains and gas find along a street, and what they leave alone."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from sensors.detection import Detection, Detector
from sensors.detection.day_profile import DayProfile
from sensors.detection.drains.blockage import BlockageDetector
from sensors.detection.drains.illicit import IllicitDischargeDetector
from sensors.detection.drains.infiltration import InfiltrationDetector
from sensors.detection.drains.sewer import Sewer
from sensors.detection.gas.leak import GasLeakDetector
from sensors.detection.gas.line_pressure import LinePressureDetector
from sensors.device import Device
from sensors.limits import load
from sensors.reading import Batch, Quality
from tests.sensors.street import MANHOLES, Street, device, link, make_street, node
from twin.asset import System

START = 1_767_225_600_000
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000

Shown = Callable[[int, str], float]
"""Minutes since the start, and the name of a device's asset → what it shows, SI."""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Street:
    return make_street(Path(tmp_path_factory.mktemp("street")) / "city.gpkg")


def feed(
    detector: Detector,
    devices: Sequence[Device],
    shown: Mapping[str, Shown],
    *,
    days: float = 2,
    live: int = 60,
    step: int = 5,
    seed: int = 1,
) -> list[Detection]:
    """Return what a detector says of `days` of history at `step` minutes, then of `live` minutes, one at a time.

    `shown` is by quantity; minutes count from the beginning of the live part. Noise is a thousandth, at least.
    """
    rng = np.random.default_rng(seed)
    series = np.array([each.points[0].series for each in devices], np.int32)
    said: list[Detection] = []
    past = range(-int(days * 1440), 0, step)
    for minute in (*past, *range(0, live, 1 if step < 60 else step)):
        values = [shown[each.points[0].quantity](minute, str(each.asset).rpartition(":")[2]) for each in devices]
        size = len(values)
        noise = 1 + 0.002 * rng.normal(size=size)
        time = np.full(size, START + minute * MINUTE, np.int64)
        good, history = np.full(size, Quality.GOOD, np.uint8), np.full(size, minute < 0)
        said += detector.update(Batch(series, time, np.array(values) * noise, good, history, int(time[0])))
    return said


def levels(names: Sequence[str] = MANHOLES) -> list[Device]:
    return [device(number, "level", name) for number, name in enumerate(names)]


def wave(minute: int) -> float:
    return float(np.sin(2 * np.pi * minute / 1440))


def usual(minute: int, _: str = "") -> float:
    return 0.06 + 0.02 * wave(minute)


def raised(*names: str, by: float = 0.25, begin: int = 10, end: int = 10_000) -> Shown:
    return lambda minute, name: usual(minute) + by * (name in names and begin <= minute < end)


def begun(said: Sequence[Detection]) -> list[str]:
    return [each.subject.rpartition(":")[2] for each in said if each.active]


def test_blockage_is_told_of_at_the_manhole_above_it_and_the_drains_below_are_named(street: Street):
    devices = levels()
    said = feed(BlockageDetector.build(street.scope(devices)), devices, {"level": raised("M1")})
    (found,) = said
    assert found.subject == f"asset:{node('M1')}"
    assert [each.asset for each in found.evidence.candidates] == [link("D-M1")]
    assert found.evidence.confidence >= 0.7
    assert found.expected is not None
    assert found.value is not None
    assert found.expected[0] < 0.06 < found.expected[1] < found.value


def test_blockage_between_two_measured_manholes_is_looked_for_up_to_the_lower_one(street: Street):
    devices = levels(["M0", "M3"])
    (found,) = feed(BlockageDetector.build(street.scope(devices)), devices, {"level": raised("M0")})
    assert {each.asset for each in found.evidence.candidates} == {link("D-M0"), link("D-M1"), link("D-M2")}
    assert sum(each.weight for each in found.evidence.candidates) == pytest.approx(1.0)
    assert found.evidence.candidates[0].asset == link("D-M1")  # where a crew sees most of what is likely


@pytest.mark.parametrize("drains", range(1, 6))
def test_however_many_drains_lie_below_each_has_its_weight(drains: int, street: Street):
    tops = np.array([street.graph.node_index(node(name)) for name in ("M0", f"M{drains}")], np.int32)
    found = Sewer(street.graph, street.city, tops).behind(0, surface_m=1.0, crown_m=0.3, normal=[1])
    assert {each.asset for each in found} == {link(f"D-M{number}") for number in range(drains)}
    assert sum(each.weight for each in found) == pytest.approx(1.0)
    assert [each.weight for each in found] == sorted((each.weight for each in found), reverse=True)


def test_pool_that_reaches_a_side_branch_puts_the_blockage_below_its_mouth(street: Street):
    devices = levels(["M2", "B1", "M5"])
    (low,) = feed(BlockageDetector.build(street.scope(devices)), devices, {"level": raised("M2", by=0.2)})
    assert {each.asset for each in low.evidence.candidates} == {link("D-M2")}  # B1, as low as M2, is dry


def test_more_water_that_goes_on_below_is_no_blockage(street: Street):
    devices = levels()
    flood = raised("M1", "M2", "M3", "M4", "M5", by=0.12)
    assert "M1" not in begun(feed(BlockageDetector.build(street.scope(devices)), devices, {"level": flood}))


def test_blockage_that_is_cleared_ends_and_its_wave_is_no_blockage(street: Street):
    devices = levels()
    pool, released = raised("M1", begin=10, end=60), raised("M2", "M3", by=0.12, begin=60, end=80)
    both: Shown = lambda minute, name: pool(minute, name) + released(minute, name) - usual(minute)  # noqa: E731  # two of a kind
    said = feed(BlockageDetector.build(street.scope(devices)), devices, {"level": both}, live=120)
    assert [(each.subject.rpartition(":")[2], each.active) for each in said] == [("M1", True), ("M1", False)]


def test_manhole_that_runs_empty_later_than_the_pool_that_it_was_part_of_is_not_blocked(street: Street):
    devices = levels(["M0", "M1", "M2"])
    pool, later = raised("M1", by=0.4, begin=10, end=90), raised("M0", by=0.25, begin=50, end=110)
    both: Shown = lambda minute, name: pool(minute, name) + later(minute, name) - usual(minute)  # noqa: E731  # two of a kind
    said = feed(BlockageDetector.build(street.scope(devices)), devices, {"level": both}, live=150)
    assert begun(said) == ["M1"]


def test_rise_in_rain_whose_effect_is_not_known_yet_is_no_blockage(street: Street):
    devices = [*levels(), device(20, "rain_intensity", "M0")]
    rain: Shown = lambda minute, _: 20e-3 / 3600 * (minute >= 0)  # noqa: E731  # one line
    shown = {"level": raised("M1", by=0.15), "rain_intensity": rain}
    assert not feed(BlockageDetector.build(street.scope(devices)), devices, shown)


def test_rise_that_began_in_history_is_told_of_live_and_has_not_become_usual(street: Street):
    devices = levels()
    said = feed(BlockageDetector.build(street.scope(devices)), devices, {"level": raised("M1", begin=-60)}, days=1)
    (found,) = said
    assert found.expected is not None
    assert found.expected[1] < 0.15


def gas_leak(name: str, far: Mapping[str, float]) -> Shown:
    """Return gas that fills `name` from minute 10 on, and its neighbours with their shares."""
    return lambda minute, at: 0.01 + min(max(minute - 10, 0) * 0.1, 0.5) * (1.0 if at == name else far.get(at, 0.0))


def test_gas_in_adjacent_manholes_is_one_leak_told_of_where_there_is_most(street: Street):
    devices = [device(n, "combustible_gas", name) for n, name in enumerate(["M0", "M1", "M2", "M3"])]
    shown = {"combustible_gas": gas_leak("M1", {"M2": 0.6, "M3": 0.3, "M0": 0.2})}
    said = feed(GasLeakDetector.build(street.scope(devices)), devices, shown, live=40)
    assert {each.subject for each in said} == {f"asset:{node('M1')}"}
    first = said[0]
    assert first.kind.value == "gas_leak"
    assert first.evidence.candidates[0].asset in {link("GP-0"), link("GP-1")}  # the mains on both sides of the manhole
    assert sum(each.weight for each in first.evidence.candidates) == pytest.approx(1.0)
    assert said[-1].level == 1


def test_two_leaks_far_apart_are_two(street: Street):
    devices = [device(n, "combustible_gas", name) for n, name in enumerate(["M0", "B0", "M5"])]
    said = feed(
        GasLeakDetector.build(street.scope(devices)), devices, {"combustible_gas": gas_leak("M5", {"B0": 0.9})}, live=40
    )
    assert set(begun(said)) == {"M5", "B0"}


def test_sewer_gas_comes_slowly_and_with_hydrogen_sulfide(street: Street):
    devices = [
        device(0, "combustible_gas", "M1"),
        device(1, "hydrogen_sulfide", "M1"),
        device(2, "combustible_gas", "M5"),
    ]
    rotting: Shown = lambda minute, name: 0.01 + 0.0005 * max(minute - 10, 0) * (name == "M1")  # noqa: E731  # one line
    sulfide: Shown = lambda minute, _: 1e-6 + 5e-8 * max(minute - 10, 0)  # noqa: E731  # one line
    shown = {"combustible_gas": rotting, "hydrogen_sulfide": sulfide}
    said = feed(GasLeakDetector.build(street.scope(devices)), devices, shown, live=240)
    assert {each.kind.value for each in said} == {"biogas"}
    assert not said[0].evidence.candidates


def test_main_that_loses_pressure_is_told_of_by_its_section_and_where_most_is_lost(street: Street):
    devices = [device(n, "pressure", name, system=System.GAS) for n, name in enumerate(["S", "G0", "G2", "G4"])]
    lost = {"G0": 0.05, "G2": 0.12, "G4": 0.2}
    pressure: Shown = lambda minute, name: (3e5 if name == "S" else 2600.0) * (1 - lost.get(name, 0.0) * (minute >= 10))  # noqa: E731  # one line
    said = feed(LinePressureDetector.build(street.scope(devices)), devices, {"pressure": pressure}, live=40)
    (found,) = said
    assert found.subject == f"asset:{link('REG')}"
    assert found.evidence.candidates[0].asset in {link("GP-3"), link("GP-4")}


def test_section_whose_supply_has_lost_pressure_is_not_told_of_as_well(street: Street):
    devices = [device(n, "pressure", name, system=System.GAS) for n, name in enumerate(["S", "G0", "G2"])]
    pressure: Shown = lambda minute, name: (3e5 if name == "S" else 2600.0) * (1 - 0.3 * (minute >= 10))  # noqa: E731  # one line
    said = feed(LinePressureDetector.build(street.scope(devices)), devices, {"pressure": pressure}, live=40)
    assert begun(said) == ["S"]


def test_warm_water_is_looked_for_above_the_uppermost_place_that_shows_it(street: Street):
    devices = [device(n, "temperature", name) for n, name in enumerate(["M0", "M2", "M5"])]
    warm: Shown = lambda minute, name: 288.0 + 12.0 * (minute >= 10 and name in {"M2", "M5"})  # noqa: E731  # one line
    said = feed(IllicitDischargeDetector.build(street.scope(devices)), devices, {"temperature": warm}, seed=3)
    assert begun(said) == ["M2"]
    named = {each.asset for each in said[0].evidence.candidates}
    assert named == {node("M2"), node("M1")}  # not M0, which is as usual, nor the branch below


def test_sewer_that_carries_more_at_night_is_told_of_and_the_drains_above_it(street: Street):
    devices = [device(0, "flow", "M5", interval_s=3600), device(1, "flow", "M2", interval_s=3600)]
    day = 1440
    more: Shown = lambda minute, name: 0.02 + 0.008 * wave(minute) + 0.01 * (minute >= 14 * day and name == "M5")  # noqa: E731  # one line
    said = feed(
        InfiltrationDetector.build(street.scope(devices)), devices, {"flow": more}, days=1, live=20 * day, step=60
    )
    (found,) = said
    assert (found.rule, found.subject) == ("infiltration", f"asset:{node('M5')}")
    assert found.time < START + 18 * DAY
    assert link("D-M4") in {each.asset for each in found.evidence.candidates}
    assert link("D-M1") not in {each.asset for each in found.evidence.candidates}


def test_day_profile_learns_a_half_hour_only_after_its_probation_and_drops_what_is_a_fault():
    profile = DayProfile(np.array([0.1, 0.1]), load().calendar)
    good = np.array([True, True])
    for half in range(4):
        profile.learn(START + half * 30 * MINUTE, np.array([1.0, 1.0]), good)
    assert np.isnan(profile.expected(START + 15 * MINUTE)).all()
    profile.drop(np.array([False, True]))
    for half in range(4, 9):
        profile.learn(START + half * 30 * MINUTE, np.array([1.0, 1.0]), good)
    known = profile.expected(START + DAY + 15 * MINUTE)
    assert known[0] == pytest.approx(1.0)
    assert np.isnan(known[1])
