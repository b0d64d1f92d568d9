"""The truth of ltown counts as BattLeDIM did, and its readings reach detectors in SI, bound to their assets."""

import numpy as np
import pandas as pd
import pytest

from sensors.detection import Candidate, Subject
from sensors.evaluation import Claim, Options
from sensors.evaluation.ltown import LTown
from sensors.evaluation.ltown_files import SCORED_MS
from sensors.evaluation.truth import ltown as truth
from twin.errors import InputError

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NETWORK = """
[JUNCTIONS]
 n1 0 1
 n2 0 1
 n3 0 1
[RESERVOIRS]
 R1 50
[TANKS]
 T1 40 2 0 4 10 0
[PIPES]
 p1 R1 n1 100 200 100
 p2 n1 n2 100 200 100
 p3 n2 n3 400 200 100
 p4 n3 T1 100 200 100
[OPTIONS]
 UNITS CMH
 HEADLOSS H-W
[END]
"""


@pytest.fixture
def shared(tmp_path):
    water, series = tmp_path / "networks" / "water", tmp_path / "timeseries" / "ltown"
    water.mkdir(parents=True)
    series.mkdir(parents=True)
    (water / "L-TOWN.inp").write_text(NETWORK)
    times = pd.date_range("2018-12-31", "2019-01-10", freq="1h", inclusive="left")
    old, new = np.zeros(len(times)), np.zeros(len(times))
    old[12:72] = 10.0  # from 2018 until the end of 2 January
    new[96:] = 5.0  # from 4 January on
    flows = {"leak_p1": old, "leak_p4": new, "leak_p3": np.where(times < "2018-12-31 12:00", 1.0, 0.0)}
    pd.DataFrame(flows, index=times).to_parquet(series / "leak_flows_m3h.parquet")
    readings = {"n1": 40.0, "p1": 36.0, "T1": 2.0}
    pd.DataFrame(readings, index=times).to_parquet(series / "scada_5min_2018_2019.parquet")
    return tmp_path


def claim(pipe, day, **own):
    kept = {"subject": Subject(f"asset:L-TOWN.inp:link:{pipe}"), "rule": "leak", "kind": "leak", "end": None}
    return Claim(**kept | {"start": SCORED_MS + round(day * DAY_MS), "level": 3, "score": 1.0} | own)


def score(shared, *claims):
    data = shared / "timeseries" / "ltown"
    return truth.score(data, claims, None, seed=0, train=None, test=None, shared=shared)


def test_leaks_of_the_year_before_count_from_its_end(shared):
    found = score(shared)
    assert found["leaks"] == 2
    assert found["perfect_eur"] == round((10 * 48 + 5 * 24 * 6) * 0.8, 0)
    assert found["in_2019_only"]["leaks"] == 1
    assert (found["true_positives"], found["score_fraction"], found["median_distance_m"]) == (0, 0.0, None)


def test_a_hit_is_worth_what_has_not_run_out_yet_less_the_search(shared):
    found = score(shared, claim("p2", 1))  # the middle of p1 lies 100 m away
    assert found["true_positives"] == 1
    assert found["median_distance_m"] == 100
    assert found["score_eur"] == round(10 * 23 * 0.8 - 500 * 100 / 300)


def test_what_lies_too_far_away_costs(shared):
    found = score(shared, claim("p3", 1))  # 350 m from p1; p4 does not leak yet
    assert (found["true_positives"], found["false_positives"], found["score_eur"]) == (0, 1, -500)


def test_a_leak_is_found_once(shared):
    found = score(shared, claim("p1", 0), claim("p1", 1))
    assert (found["true_positives"], found["false_positives"]) == (1, 1)


def test_a_claim_before_the_leak_or_after_its_end_is_false(shared):
    found = score(shared, claim("p4", 2.9), claim("p1", 2.1))
    assert (found["true_positives"], found["false_positives"]) == (0, 2)


def test_a_claim_about_a_zone_is_where_its_first_candidate_is(shared):
    candidates = (Candidate("L-TOWN.inp:link:p4", 0.6), Candidate("L-TOWN.inp:link:p1", 0.4))
    found = score(shared, claim("p1", 5, subject=Subject("zone:north"), candidates=candidates))
    assert found["found"] == {"p4": 0}


def test_a_claim_that_names_no_pipe_is_false(shared):
    assert score(shared, claim("p1", 1, subject=Subject("device:n1")))["false_positives"] == 1


def test_readings_are_si_and_the_last_year_is_scored(shared):
    data = shared / "timeseries" / "ltown"
    town = LTown(Options(shared=shared))
    scope = town.scope(data)
    assert [(str(d.asset), d.points[0].quantity) for d in scope.devices] == [
        ("L-TOWN.inp:node:n1", "pressure"),
        ("L-TOWN.inp:link:p1", "flow"),
        ("L-TOWN.inp:node:T1", "level"),
    ]
    batches = list(town.batches(data))
    assert [scored for scored, _ in batches] == [False] * 24 + [True] * (24 * 9)
    assert batches[24][1].now == SCORED_MS
    assert batches[0][1].value == pytest.approx([40 * 9806.65, 0.01, 2.0])


def test_a_missing_file_is_named(shared, tmp_path):
    with pytest.raises(InputError, match=r"scada\*\.parquet"):
        LTown(Options(shared=shared)).scope(tmp_path)
    with pytest.raises(InputError, match=r"L-TOWN\.inp"):
        LTown(Options(shared=tmp_path / "elsewhere")).scope(shared / "timeseries" / "ltown")
