"""Readings that contradict one another are told, with the device that stands out; so is water that changes."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from sensors import limits
from sensors.detection import DetectionKind
from sensors.detection.checks import START_MS
from sensors.detection.multivariate.envelope import Envelope
from sensors.detection.multivariate.integrity import IntegrityDetector
from sensors.detection.multivariate.relation import Relation
from sensors.detection.multivariate.water_quality import WaterQualityDetector
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.limits import Number
from sensors.quantity import to_si
from sensors.reading import Batch, Quality
from twin.asset import System
from twin.errors import InputError

HOUR = 3_600_000
MINUTE = 60_000


def shortened(layer, **values):
    """Return the packaged limits with other numbers in a layer."""
    known = limits.load()
    changed = {name: replace_value(known.numbers[layer][name], value) for name, value in values.items()}
    return replace(known, numbers={**known.numbers, layer: {**known.numbers[layer], **changed}})


def replace_value(number, value):
    return Number(value, number.unit, number.source, number.verified)


def device(name, series, quantity, unit, interval):
    return Device(DeviceId(name), "d", System.WATER, (Point(quantity, quantity, unit, series),), interval)


STATION = [
    device("tank", 0, "level", "m", timedelta(hours=1)),
    device("meter", 1, "flow", "m3/h", timedelta(hours=1)),
    device("pump", 2, "pump_state", "1", timedelta(hours=1)),
    device("inlet", 3, "pressure", "kPa", timedelta(hours=1)),
    device("outlet", 4, "pressure", "kPa", timedelta(hours=1)),
]


def operation(hours, seed=1):
    """Return readings (hours, 5) of a tank that a pump fills between 1 and 4 m, in SI, as a float array."""
    rng = np.random.default_rng(seed)
    rows, level, on = [], 2.5, 0.0
    for hour in range(hours):
        demand = 30 + 10 * np.sin(2 * np.pi * hour / 24) + rng.normal(0, 1)
        flow = on * (80 - 4 * level)
        level += (flow - demand) / 100
        on = 1.0 if level < 1 else 0.0 if level > 4 else on
        flow = on * (80 - 4 * level)
        inlet = 300 - 0.5 * flow + rng.normal(0, 1)
        outlet = 10 * level + 250 + 0.02 * flow**2 + rng.normal(0, 1)
        rows.append([level, to_si(flow, "m3/h", "flow"), on, 1e3 * inlet, 1e3 * outlet])
    return np.array(rows)


def feed(detector, values, learn, step=HOUR, start=START_MS):
    """Hand `values` over row by row, the first `learn` as history; return (row, detection) of what is said."""
    said = []
    for row, value in enumerate(values):
        there = np.flatnonzero(np.isfinite(value))
        time = start + row * step
        size = len(there)
        good, past = np.full(size, Quality.GOOD, np.uint8), np.full(size, row < learn)
        batch = Batch(there.astype(np.int32), np.full(size, time), value[there], good, past, time)
        said += [(row, each) for each in detector.update(batch)]
    return said


def test_normal_operation_says_nothing():
    detector = IntegrityDetector.build(Scope(STATION, limits.load()))
    assert not feed(detector, operation(1400), 1000)


@pytest.mark.parametrize(("spoofed", "by"), [(1, 0.01), (4, 60e3)])
def test_reading_that_contradicts_the_others_is_told_of_its_device(spoofed, by):
    values = operation(1400)
    values[1200:1260, spoofed] += by
    detector = IntegrityDetector.build(Scope(STATION, limits.load()))
    (row, first), (end, over), *_ = feed(detector, values, 1000)
    assert 1200 <= row <= 1206
    assert (first.kind, first.active, over.active) == (DetectionKind.INTEGRITY, True, False)
    assert 1260 <= end <= 1290
    assert any(point.startswith(f"point:{STATION[spoofed].id}/") for point in first.evidence.points)


def test_replayed_level_is_told():
    values = operation(1400)
    values[1200:1260, 0] = values[1010:1070, 0]
    detector = IntegrityDetector.build(Scope(STATION, limits.load()))
    said = feed(detector, values, 1000)
    assert said
    assert 1200 <= said[0][0] <= 1212


def test_pump_that_runs_where_it_never_ran_passes_the_bounds_of_its_state():
    values = operation(1000)
    accuracy, switch = np.array([0.02, 3e-4, 0.02, 4e3, 4e3]), np.array([False, False, True, False, False])
    envelope = Envelope(accuracy, switch, margin=0.05)
    for row in values:
        envelope.learn(row)
    inside, _ = envelope.beyond(values[-1])
    assert not inside.any()
    running = values[values[:, 2] == 1][0].copy()
    running[0] = 4.9
    out, bound = envelope.beyond(running)
    assert out[0] > 1
    assert bound[0] == pytest.approx(values[values[:, 2] == 1][:, 0].max())


def test_bounds_that_were_widened_lately_do_not_count():
    envelope = Envelope(np.array([0.1, 0.1]), np.array([False, True]), margin=0.05)
    for step in range(200):
        envelope.learn(np.array([100.0 if step >= 150 else 0.0, 1.0]))
    out, _ = envelope.beyond(np.array([500.0, 1.0]))
    assert out[0] == 0
    for _ in range(200):
        envelope.learn(np.array([50.0, 1.0]))
    out, _ = envelope.beyond(np.array([500.0, 1.0]))
    assert out[0] == pytest.approx(400 / 5)


def test_relation_finds_the_point_that_is_wrong_and_fills_the_one_that_is_missing():
    rng = np.random.default_rng(0)
    cause = rng.normal(size=(4000, 1))
    values = np.hstack([cause, 2 * cause, -cause]) + rng.normal(0, 0.05, (4000, 3))
    relation = Relation(np.full(3, 0.01), np.zeros(3, np.bool_), warmup=200, memory=10_000)
    for now, before in zip(values[1:3000], values[:2999], strict=True):
        relation.learn(now, before)
    wrong = values[3500].copy()
    wrong[1] += 3.0
    residual = relation.residual(wrong, values[3499])
    assert np.argmax(np.abs(residual) / relation.sigma) == 1
    wrong[1] = np.nan
    without = relation.residual(wrong, values[3499])
    assert np.isnan(without[1])
    assert (np.abs(without[[0, 2]]) < 5 * relation.sigma[[0, 2]]).all()


def test_relation_learns_nothing_from_digits_finer_than_the_instruments():
    rng = np.random.default_rng(0)
    exact = rng.normal(size=(2000, 1))
    values = np.hstack([exact, exact])
    relation = Relation(np.full(2, 0.5), np.zeros(2, np.bool_), warmup=200, memory=10_000)
    for now, before in zip(values[1:], values[:-1], strict=True):
        relation.learn(now, before)
    assert (relation.sigma >= 0.5).all()


def test_sensor_that_falls_silent_neither_stops_nor_wakes_the_group():
    values = operation(1500)
    values[1100:, 3] = np.nan
    values[1300:1360, 4] += 60e3
    said = feed(IntegrityDetector.build(Scope(STATION, limits.load())), values, 1000)
    assert said
    assert 1300 <= said[0][0] <= 1306


def test_contradiction_that_stands_becomes_the_new_state():
    values = operation(2200)
    values[1100:, 4] += 60e3
    known = shortened("integrity", relearn=3.0, memory=20.0)
    said = feed(IntegrityDetector.build(Scope(STATION, known)), values, 1000)
    assert not said[-1][1].active


def test_state_of_a_standing_contradiction_survives():
    values = operation(1210)
    values[1200:, 4] += 60e3
    first, second = (IntegrityDetector.build(Scope(STATION, limits.load())) for _ in range(2))
    feed(first, values, 1000)
    assert second.load(first.save()) == {("device:outlet", "integrity")}
    more = operation(1300)[1210:]
    start = START_MS + 1210 * HOUR
    assert feed(first, more, 0, start=start) == feed(second, more, 0, start=start)


def test_device_that_is_added_makes_no_group_learn_anew():
    values = operation(1300)
    values[1200:1260, 4] += 60e3
    before = IntegrityDetector.build(Scope(STATION, limits.load()))
    feed(before, values[:1100], 1000)
    added = [device("another", 5, "pressure", "kPa", timedelta(hours=1)), *STATION]
    after = IntegrityDetector.build(Scope(added, limits.load()))
    after.load(before.save())
    assert feed(after, values[1100:], 0, start=START_MS + 1100 * HOUR)


QUALITIES = [("ph", "pH"), ("redox_potential", "mV"), ("turbidity", "NTU"), ("free_chlorine", "mg/L"), ("flow", "m3/h")]
WELL = Device(
    DeviceId("well"),
    "d",
    System.WATER,
    tuple(Point(name, name, unit, series) for series, (name, unit) in enumerate(QUALITIES)),
    timedelta(minutes=1),
)


def water(minutes, seed=2):
    """Return readings (minutes, 5) of a quiet station, SI; the redox potential follows the flow."""
    rng = np.random.default_rng(seed)
    flow = 100 + 5 * rng.normal(size=minutes).cumsum() / np.sqrt(np.arange(1, minutes + 1))
    noise = rng.normal(size=(minutes, 4)) * [0.01, 1e-3, 0.001, 0.005e-3]
    still = noise + np.array([7.5, 0.7, 0.05, 0.5e-3])
    still[:, 1] += 1e-4 * (flow - 100)
    return np.column_stack([still, flow / 3600])


def station():
    return WaterQualityDetector.build(Scope([WELL], limits.load()))


def test_water_that_changes_in_several_ways_is_told_and_its_end_as_well():
    values = water(7000)
    values[6000:6040, 0] += 0.2
    values[6000:6040, 1] -= 0.03
    (row, event), (end, over) = feed(station(), values, 5000, MINUTE)
    assert (row, event.kind, event.subject) == (6001, DetectionKind.WATER_QUALITY, "device:well")
    assert {point.rpartition("/")[2] for point in event.evidence.points} == {"ph", "redox_potential"}
    assert (end, over.active) == (6041, False)


def test_one_point_alone_is_its_instruments_matter():
    values = water(7000)
    values[6000:6040, 0] += 0.5
    assert not feed(station(), values, 5000, MINUTE)


def test_what_flow_does_to_the_water_is_no_event():
    values = water(7000)
    values[6000:6040, 4] += 100 / 3600
    assert not feed(station(), values, 5000, MINUTE)


def test_change_that_stands_for_hours_is_another_water():
    values = water(7000)
    values[6000:, 0] += 0.2
    values[6000:, 1] -= 0.03
    (_, event), (end, over) = feed(station(), values, 5000, MINUTE)
    assert (event.active, over.active) == (True, False)
    assert end == 6001 + 361


def test_instrument_that_is_missing_leaves_the_others_to_speak():
    values = water(7000)
    values[5500:, 3] = np.nan
    values[6000:6040, 0] += 0.2
    values[6000:6040, 1] -= 0.03
    assert [event.active for _, event in feed(station(), values, 5000, MINUTE)] == [True, False]


def test_station_with_two_qualities_is_not_watched():
    few = replace(WELL, points=WELL.points[:2])
    detector = WaterQualityDetector.build(Scope([few], limits.load()))
    values = water(200)[:, :2]
    values[150:] *= 3
    assert not feed(detector, values, 0, MINUTE)
    assert detector.load(detector.save()) == set()


def test_bytes_that_are_no_state_are_refused():
    for detector in (station(), IntegrityDetector.build(Scope(STATION, limits.load()))):
        with pytest.raises(InputError, match="E_FORMAT"):
            detector.load(b"\x00not a state")
