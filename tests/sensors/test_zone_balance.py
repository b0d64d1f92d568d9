"""Balance and night flow of zones: what is told of a burst, a growing leak, a repair, a cold week and a gap."""

from dataclasses import replace

import numpy as np
import pytest

from sensors.detection import DetectionKind
from sensors.detection.scope import Scope
from sensors.detection.water.balance import ZoneBalanceDetector
from sensors.detection.water.inflow_model import advance, skip
from sensors.detection.water.night_flow import NightFlowDetector
from sensors.limits import load
from sensors.reading import Batch, Quality

from .test_water_zones import meter, network

LIMITS = load()
HOUR_MS = 3_600_000
START = 1_782_864_000_000 // HOUR_MS
"""2026-07-01 00:00 UTC: no holidays for twelve weeks."""
LEARNT = 28 * 24
ZONES = 4
MEAN = 0.01


def scope(zones=range(ZONES)):
    """Return as many zones behind meters of a reservoir each; zone k has series k."""
    links = [row for k in zones for row in ((f"M{k}", f"r{k}", f"a{k}"), (f"p{k}", f"a{k}", f"b{k}"))]
    return Scope(
        [meter(f"M{k}", k) for k in zones], LIMITS, graph=network(links, kinds={f"r{k}": "reservoir" for k in zones})
    )


def inflow(hours, seed=1, noise=0.03):
    """Return the inflow of all zones, m³/s (hours, zones): a day's wave, quieter on Sundays, and noise."""
    rng = np.random.default_rng(seed)
    hour = START + 8 + np.arange(hours)
    wave = 1.0 - 0.4 * np.cos(2 * np.pi * hour / 24) - 0.1 * ((hour // 24 + 3) % 7 == 6)
    return MEAN * wave[:, None] * (1 + noise * rng.normal(size=(hours, ZONES)))


def batches(flows):
    """Yield a batch an hour: history first."""
    for number, row in enumerate(flows):
        time = (START + number) * HOUR_MS
        there = np.flatnonzero(np.isfinite(row))
        size = len(there)
        good = np.full(size, Quality.GOOD, np.uint8)
        history = np.full(size, number < LEARNT)
        yield Batch(there.astype(np.int32), np.full(size, time), row[there], good, history, time)


def run(detector, flows):
    return [each for batch in batches(flows) for each in detector.update(batch)]


def burst(flows, zone, first, last, share):
    flows[first:last, zone] += share * MEAN
    return flows


def test_first_hour_waits_for_no_compiler():
    detector = ZoneBalanceDetector.build(scope())
    compiled = [list(kernel.signatures) for kernel in (advance, skip)]
    assert all(compiled)
    run(detector, inflow(4))
    assert [list(kernel.signatures) for kernel in (advance, skip)] == compiled


def test_burst_of_a_tenth_is_told_within_a_day_with_its_size_and_its_end():
    first, mended = LEARNT + 200, LEARNT + 296
    flows = burst(inflow(LEARNT + 400), 2, first, mended, 0.1)
    said = [each for each in run(ZoneBalanceDetector.build(scope()), flows) if each.subject == "zone:M2"]
    began = next(each for each in said if each.active)
    over = next(each for each in said if not each.active)
    assert first < began.time / HOUR_MS - START <= first + 25
    assert mended < over.time / HOUR_MS - START <= mended + 49
    assert began.kind is DetectionKind.BALANCE
    facts = {fact.name: fact.value for fact in over.evidence.facts}
    assert facts["loss"] == pytest.approx(0.1 * MEAN, rel=0.3)
    assert [each.asset for each in began.evidence.candidates] == ["n:link:p2"]


def test_second_burst_is_told_beside_the_first():
    flows = burst(inflow(LEARNT + 400), 0, LEARNT + 100, LEARNT + 400, 0.2)
    flows = burst(flows, 0, LEARNT + 260, LEARNT + 400, 0.2)
    said = run(ZoneBalanceDetector.build(scope()), flows)
    assert {(each.rule, each.active) for each in said if each.subject == "zone:M0"} == {
        ("zone_burst", True),
        ("zone_burst_2", True),
    }


def test_what_all_zones_draw_more_in_a_heat_wave_is_less_strange_than_what_one_does():
    together = inflow(LEARNT + 300)
    rng = np.random.default_rng(5)
    for day in range(0, LEARNT + 300, 24):  # customs: the city as a whole draws more on some days than on others
        together[day : day + 24] *= 1 + 0.05 * rng.normal()
    alone = burst(together.copy(), 1, LEARNT + 200, LEARNT + 300, 0.12)
    together[LEARNT + 200 :] += 0.12 * MEAN
    told = [
        {each.subject for each in run(ZoneBalanceDetector.build(scope()), flows) if each.time / HOUR_MS > START + 700}
        for flows in (alone, together)
    ]
    assert "zone:M1" in told[0]
    assert len(told[1]) < ZONES


def test_hydrant_flushed_for_an_hour_is_no_burst():
    flows = burst(inflow(LEARNT + 300), 1, LEARNT + 100, LEARNT + 101, 3.0)
    said = run(ZoneBalanceDetector.build(scope()), flows)
    assert not [each for each in said if each.subject == "zone:M1"]


def test_history_raises_nothing():
    flows = burst(inflow(LEARNT), 1, 400, LEARNT, 0.5)
    assert run(ZoneBalanceDetector.build(scope()), flows) == []
    assert run(NightFlowDetector.build(scope()), flows) == []


def test_week_without_readings_raises_nothing_at_its_end():
    flows = inflow(LEARNT + 400)
    flows[LEARNT + 50 : LEARNT + 218] = np.nan
    told = [each for each in run(ZoneBalanceDetector.build(scope()), flows) if each.time > (START + 700) * HOUR_MS]
    assert [each for each in told if each.time <= (START + LEARNT + 230) * HOUR_MS] == []


@pytest.mark.parametrize("detector", [ZoneBalanceDetector, NightFlowDetector])
@pytest.mark.parametrize("cut", [300, LEARNT + 130, LEARNT + 180])
def test_saved_and_loaded_it_goes_on_as_if_nothing_had_happened(detector, cut):
    flows = burst(inflow(LEARNT + 300), 2, LEARNT + 100, LEARNT + 250, 0.4)
    given = list(batches(flows))
    whole, first, second = (detector.build(scope()) for _ in range(3))
    said = [whole.update(batch) for batch in given]
    before = [each for batch in given[:cut] for each in first.update(batch)]
    last = {(each.subject, each.rule): each.active for each in before}
    assert second.load(first.save()) == {key for key, active in last.items() if active}
    assert [second.update(batch) for batch in given[cut:]] == said[cut:]


@pytest.mark.parametrize("detector", [ZoneBalanceDetector, NightFlowDetector])
def test_state_loaded_without_its_zone_holds_nothing(detector):
    flows = burst(inflow(LEARNT + 250), 2, LEARNT + 100, LEARNT + 250, 0.4)
    before = detector.build(scope())
    assert [each for each in run(before, flows) if each.active and each.subject == "zone:M2"]
    assert not {key for key in detector.build(scope((0, 1))).load(before.save()) if key[0] == "zone:M2"}
    retired = [replace(device, retired=True) for device in scope().devices]
    assert detector.build(replace(scope(), devices=retired)).load(before.save()) == set()


@pytest.mark.parametrize("detector", [ZoneBalanceDetector, NightFlowDetector])
def test_one_large_batch_says_what_many_small_ones_do(detector):
    flows = burst(inflow(LEARNT + 300), 2, LEARNT + 100, LEARNT + 250, 0.4)
    given = list(batches(flows))
    apart = detector.build(scope())
    at_once = Batch.joined(given, given[-1].now)
    assert detector.build(scope()).update(at_once) == [each for batch in given for each in apart.update(batch)]


def test_leak_that_grew_over_a_week_raises_the_night_flow_until_it_is_mended():
    flows = inflow(LEARNT + 40 * 24)
    grown = np.clip((np.arange(len(flows)) - LEARNT) / (7 * 24), 0, 1)
    grown[LEARNT + 20 * 24 :] = 0
    flows[:, 3] += 0.3 * MEAN * grown
    said = run(NightFlowDetector.build(scope()), flows)
    assert [(each.subject, each.active) for each in said] == [("zone:M3", True), ("zone:M3", False)]
    assert said[0].time < (START + LEARNT + 10 * 24) * HOUR_MS
    assert {fact.name for fact in said[0].evidence.facts} == {"loss", "night_minimum", "usual"}


def test_one_night_with_a_fire_raises_no_night_flow():
    flows = inflow(LEARNT + 240)
    flows[LEARNT + 90 : LEARNT + 108, 1] += MEAN
    assert run(NightFlowDetector.build(scope()), flows) == []


def test_quiet_zones_have_few_false_alarms():
    said = run(ZoneBalanceDetector.build(scope()), inflow(LEARNT + 60 * 24, seed=8))
    assert sum(each.active for each in said) <= 2 * 2 * ZONES  # twice what the limit was chosen for
