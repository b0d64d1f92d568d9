"""Bursts and leaks of a small network, as EPANET's own run with a hole in it shows them to its devices."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sensors.detection import DetectionKind
from sensors.detection.scope import Scope
from sensors.detection.water.burst import BurstDetector
from sensors.detection.water.leak import LeakDetector
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.reading import Batch, Quality
from sensors.simulation.water import WaterModel
from twin.asset import AssetId, System
from twin.errors import InputError, UnavailableError

SIDE, BLOCK_M = 5, 120
START = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(minutes=5)
WATCHED = ("N00", "N04", "N22", "N40", "N44", "N13")
NOISE_PA = 200.0
BEGIN, MEND, STEPS = 100, 140, 170


def grid():
    """Return a grid of streets, fed at one corner through a meter."""
    nodes = [f"N{x}{y}" for x in range(SIDE) for y in range(SIDE)]
    east = [(f"N{x}{y}", f"N{x + 1}{y}") for x in range(SIDE - 1) for y in range(SIDE)]
    north = [(f"N{x}{y}", f"N{x}{y + 1}") for x in range(SIDE) for y in range(SIDE - 1)]
    pipes = [f" P-{a}-{b} {a} {b} {BLOCK_M} 100 110 0 OPEN" for a, b in east + north]
    return "\n".join(
        [
            "[JUNCTIONS]",
            *(f" {node} 10 0.3 DAY" for node in nodes),
            "[RESERVOIRS]",
            " R 55",
            "[PIPES]",
            " M-1 R N00 300 300 120 0 OPEN",
            *pipes,
            "[PATTERNS]",
            " DAY 0.4 0.4 0.8 1.2 1.5 1.2 1.0 1.0 1.2 1.4 1.2 0.7",
            "[TIMES]",
            " DURATION 24:00",
            " PATTERN TIMESTEP 2:00",
            "[OPTIONS]",
            " UNITS LPS",
            " HEADLOSS H-W",
            "[END]",
        ]
    )


def device(name, table, quantity, series):
    unit, high = {"pressure": ("MPa", 1e6), "flow": ("m3/h", 0.5)}[quantity]
    point = Point(quantity, quantity, unit, series, 0.0, high)
    return Device(
        DeviceId(f"D-{name}"), "grid", System.WATER, (point,), STEP, asset=AssetId(f"grid.inp:{table}:{name}")
    )


DEVICES = [device(name, "node", "pressure", k) for k, name in enumerate(WATCHED)]
DEVICES.append(device("M-1", "link", "flow", len(WATCHED)))


@pytest.fixture(scope="module")
def inp(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "grid.inp"
    path.write_text(grid())
    return path


@pytest.fixture(scope="module")
def stream(inp):
    """Batches of fourteen hours; for three of them there is a hole near the north-east corner."""
    rng = np.random.default_rng(11)
    batches = []
    with WaterModel(inp, START, ZoneInfo("UTC"), rng) as water:
        for step in range(STEPS):
            now = START + step * STEP
            water.advance(now)
            if step in {BEGIN, MEND}:
                water.burst("N33", 6e-4 if step == BEGIN else 0.0)
                water.resolve()
            values = [water.pressure(name) + NOISE_PA * rng.standard_normal() for name in WATCHED]
            values.append(water.flow("M-1") * (1 + 0.005 * rng.standard_normal()))
            size, ms = len(values), round(now.timestamp() * 1000)
            batches.append(
                Batch(
                    np.arange(size, dtype=np.int32),
                    np.full(size, ms),
                    np.array(values),
                    np.full(size, Quality.GOOD, np.uint8),
                    np.zeros(size, np.bool_),
                    ms,
                )
            )
    return batches


@pytest.fixture
def scope(inp):
    limits = load()
    return Scope(DEVICES, limits, hydraulics={"grid.inp": inp})


def said(detector, batches):
    return [each for batch in batches for each in detector.update(batch)]


def shown(detections):
    return [(each.subject, each.active, each.time) for each in detections]


def test_a_burst_is_found_within_minutes_near_the_hole_and_is_over_when_mended(scope, stream):
    began, over = said(BurstDetector.build(scope), stream)
    hole, mended = (round((START + k * STEP).timestamp() * 1000) for k in (BEGIN, MEND))
    assert (began.kind, began.active, over.active) == (DetectionKind.LEAK, True, False)
    assert hole < began.time <= hole + 1_800_000
    assert mended < over.time <= mended + 1_800_000
    assert over.subject == began.subject
    ends = began.subject.removeprefix("asset:grid.inp:link:P-").split("-")
    apart = min(abs(int(end[1]) - 3) + abs(int(end[2]) - 3) for end in ends)
    assert apart * BLOCK_M <= 150
    assert began.value == pytest.approx(0.6 * 6e-4 * np.sqrt(2 * 9.81 * 40), rel=0.4)


def test_a_burst_says_why(scope, stream):
    began, _ = said(BurstDetector.build(scope), stream)
    evidence = began.evidence
    assert evidence.basis == "model"
    assert 0.6 <= evidence.confidence <= 1
    assert evidence.candidates[0].distance_m == 0
    assert began.subject == f"asset:{evidence.candidates[0].asset}"
    assert sum(candidate.weight for candidate in evidence.candidates) <= 1
    assert evidence.facts[0].name == "loss"
    assert evidence.points[0] in {"point:D-N44/pressure", "point:D-N22/pressure"}


def test_the_future_changes_nothing(scope, stream):
    whole = shown(said(BurstDetector.build(scope), stream))
    assert shown(said(BurstDetector.build(scope), stream[:120])) == whole[:1]


def test_state_goes_on_in_another_process(scope, stream):
    expected = shown(said(BurstDetector.build(scope), stream))
    for half in (60, 120):
        first, second = BurstDetector.build(scope), BurstDetector.build(scope)
        before = shown(said(first, stream[:half]))
        standing = second.load(first.save())
        assert standing == ({(before[0][0], "burst")} if before else set())
        assert before + shown(said(second, stream[half:])) == expected


def test_batches_may_be_cut_anywhere(scope, stream):
    expected = shown(said(BurstDetector.build(scope), stream))
    joined = [Batch.joined(stream[k : k + 7], stream[min(k + 6, STEPS - 1)].now) for k in range(0, STEPS, 7)]
    assert shown(said(BurstDetector.build(scope), joined)) == expected


def test_a_device_more_does_not_begin_anew(inp, scope, stream):
    first = BurstDetector.build(scope)
    said(first, stream[:120])
    more = device("N31", "node", "pressure", len(DEVICES))
    second = BurstDetector.build(replace(scope, devices=[more, *DEVICES]))
    [(subject, _)] = second.load(first.save())
    assert (subject, False) in {(each.subject, each.active) for each in said(second, stream[120:])}


def test_a_leak_by_the_day_needs_days(scope, stream):
    assert not said(LeakDetector.build(scope), stream)


def test_without_hydraulics_nothing_is_watched(stream):
    assert not said(BurstDetector.build(Scope(DEVICES, load())), stream)


def test_hydraulics_that_epanet_refuses_are_told(tmp_path):
    broken = tmp_path / "grid.inp"
    broken.write_text("[JUNCTIONS]\n N00 x\n[END]\n")
    with pytest.raises(UnavailableError, match=r"grid\.inp"):
        BurstDetector.build(Scope(DEVICES, load(), hydraulics={"grid.inp": broken}))


def test_a_foreign_state_is_refused(scope):
    with pytest.raises(InputError):
        BurstDetector.build(scope).load(b"nothing of mine")
