"""Truth of `district`: what a claim is about, and what of a seed's faults counts as found, located or false."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sensors.clock import to_ms
from sensors.detection import Candidate, Subject
from sensors.evaluation import Claim, Options
from sensors.evaluation.district import District
from sensors.evaluation.truth import district as truth
from sensors.evaluation.truth.district import Places, Scripted
from sensors.simulation.faults import FaultKind
from sensors.simulation.site import Site, read_site
from twin.asset import AssetId

HOUR = timedelta(hours=1)
SEED = 3


@pytest.fixture(scope="module")
def site(district: Path) -> Site:
    return read_site(district)


@pytest.fixture(scope="module")
def places(site: Site, district: Path) -> Places:
    return Places(site, district)


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch, site: Site) -> list[Scripted]:
    """One fault of each kind at noon; the burst is mended four hours later."""
    leak = next(d for d in site.devices if d.points[0].quantity == "combustible_gas" and "drainage" in str(d.asset))
    broken = [d for d in site.devices if d.points[0].quantity == "pressure"][:2]
    found = [
        Scripted(FaultKind.BURST, f"water.inp:link:{site.pipes[10].name}", 12 * HOUR, 16 * HOUR),
        Scripted(FaultKind.BLOCKAGE, f"drainage.inp:link:{site.conduits[40].name}", 12 * HOUR, None),
        Scripted(FaultKind.GAS_LEAK, str(leak.asset), 12 * HOUR, None),
        Scripted(FaultKind.STUCK, broken[0].id, 12 * HOUR, None),
        Scripted(FaultKind.SILENT, broken[1].id, 12 * HOUR, None),
    ]
    monkeypatch.setattr(truth, "script", lambda *_: found)
    return found


def claim(subject: str, hours: float, *, kind: str = "finding", rule: str = "x", named: str = "") -> Claim:
    start = to_ms(truth.start_of(SEED)) + round(hours * 3_600_000)
    candidates = (Candidate(AssetId(named), 1.0),) if named else ()
    return Claim(Subject(subject), rule, kind, start, None, 2, 1.0, candidates)


def scored(district: Path, *claims: Claim) -> Any:
    return truth.score(district, claims, None, seed=SEED)


def outcome(found: Any, kind: FaultKind) -> Any:
    return next(each for each in found["outcomes"] if each["kind"] == kind)


def test_claims_that_name_the_places_find_and_locate_every_fault(district: Path, faults: list[Scripted]):
    burst, blockage, leak, stuck, silent = faults
    found = scored(
        district,
        claim("asset:somewhere", 12.5, named=burst.place),
        claim(f"asset:{blockage.place}", 13),
        claim(f"asset:{leak.place}", 12.1, kind="gas_leak"),
        claim(f"device:{stuck.place}", 13, kind="quality"),
        claim(f"device:{silent.place}", 12.2, kind="silence"),
    )

    assert (found["found"], found["located"], found["false_claims"]) == (5, 5, 0)
    assert outcome(found, FaultKind.BURST)["delay_s"] == 1800
    assert outcome(found, FaultKind.BURST)["distance_m"] == 0


def test_what_is_claimed_before_anything_happened_is_false(district: Path, faults: list[Scripted]):
    found = scored(
        district, claim(f"asset:{faults[0].place}", 2), claim(f"device:{faults[4].place}", 2, kind="silence")
    )

    assert found["false_claims"] == 2
    assert found["found"] == 0


def test_what_is_claimed_long_after_the_repair_is_false(district: Path, faults: list[Scripted]):
    assert scored(district, claim(f"asset:{faults[0].place}", 16.5))["false_claims"] == 0
    assert scored(district, claim(f"asset:{faults[0].place}", 17.5))["false_claims"] == 1


def test_a_silence_of_a_device_that_is_well_is_false_whatever_else_is_broken(
    district: Path, faults: list[Scripted], site: Site
):
    well = next(d.id for d in site.devices if d.id not in {fault.place for fault in faults})

    assert scored(district, claim(f"device:{well}", 13, kind="silence"))["false_claims"] == 1


def test_a_gas_claim_far_from_the_leak_is_false_and_a_water_claim_is_the_bursts(
    district: Path, faults: list[Scripted], site: Site, places: Places
):
    def far(device: Any) -> bool:
        return places.plan_m(str(device.asset), faults[2].place) > truth.REACH_M[FaultKind.GAS_LEAK]

    gas = next(d for d in site.devices if d.points[0].quantity == "combustible_gas" and far(d))
    water = next(d for d in site.devices if d.points[0].quantity == "pressure" and d.system == "water")

    found = scored(
        district,
        claim(f"point:{gas.id}/combustible_gas", 13, kind="limit"),
        claim(f"point:{water.id}/pressure", 13, kind="limit"),
    )

    assert found["false_claims"] == 1
    assert outcome(found, FaultKind.BURST)["found"] == (water.id not in {faults[3].place, faults[4].place})


def test_a_leak_is_located_along_the_pipes_and_not_across_the_block(site: Site, places: Places):
    place = f"water.inp:link:{site.pipes[10].name}"
    end = f"water.inp:node:{site.pipes[10].end}"

    assert places.distance(FaultKind.BURST, place, place) == (0.0, None)
    for pipe in site.pipes:
        metres, _ = places.distance(FaultKind.BURST, f"water.inp:link:{pipe.name}", place)
        straight = min(places.plan_m(f"water.inp:node:{node}", end) for node in (pipe.start, pipe.end))
        assert metres is not None
        assert pipe is site.pipes[10] or metres >= 0.9 * straight, pipe.name  # lengths are as drawn, but rounded


def test_manholes_are_counted_between_drains(site: Site, places: Places):
    conduit = site.conduits[40]
    below = next(c for c in site.conduits if c.air.upper == conduit.air.lower)
    here, there = (f"drainage.inp:link:{c.name}" for c in (conduit, below))

    assert places.distance(FaultKind.BLOCKAGE, there, here)[1] == 0
    assert places.distance(FaultKind.BLOCKAGE, f"drainage.inp:node:{below.air.lower}", here)[1] == 1


def test_figures_over_seeds_are_sums_and_medians_and_name_what_was_missed(district: Path, faults: list[Scripted]):
    one = scored(district, claim(f"asset:{faults[0].place}", 12.5))
    none = scored(district, claim(f"asset:{faults[0].place}", 2))

    total = truth.total([one, none])

    assert (total["seeds"], total["faults"], total["found"]) == (2, 10, 1)
    assert total["false_per_1000_sensor_days"] == pytest.approx(1000 * 1 / total["sensor_days"], abs=1e-3)
    assert total["burst_delay_s"] == 1800
    assert len(total["missed"]) == 9


def test_the_set_feeds_history_first_and_scores_what_is_live(tmp_path: Path):
    columns = {"series": [0, 1, 0, 1], "time": [0, 0, 60_000, 60_000], "value": [1.0, 2.0, 3.0, 4.0]}
    kept = {name: np.array(column) for name, column in columns.items()}
    np.savez(tmp_path / "readings.npz", history=np.array([True, True, False, False]), **kept)

    taught, live = District(Options()).batches(tmp_path)

    assert (taught[0], live[0]) == (False, True)
    assert taught[1].value.tolist() == [1.0, 2.0]
    assert live[1].now == 60_000
    assert not live[1].history.any()


def test_the_script_of_a_seed_is_always_the_same_and_its_faults_overlap(
    district: Path, monkeypatch: pytest.MonkeyPatch
):
    class Dry:
        def flow_of(self, *_: Any) -> float:
            return 1.0

    monkeypatch.setattr(truth, "dry_day", lambda *_: Dry())
    for seed in range(6):
        truth.script.cache_clear()
        first = truth.script(district, seed)
        truth.script.cache_clear()
        assert truth.script(district, seed) == first
        latest = max(fault.after for fault in first)
        assert sum(fault.after <= latest and (fault.until or truth.LIVE) > latest for fault in first) >= 2
        assert {fault.kind for fault in first} == set(FaultKind)
    truth.script.cache_clear()
