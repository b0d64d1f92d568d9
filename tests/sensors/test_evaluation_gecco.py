"""The set gecco: minutes of a drinking water station, events that only the truth knows, precision and recall."""

from datetime import UTC, datetime, timedelta

import pytest

from sensors.detection import Subject
from sensors.evaluation import Claim, Options, run
from sensors.evaluation.gecco import Gecco
from sensors.evaluation.truth import gecco as truth
from twin.errors import InputError

START = datetime(2016, 8, 3, tzinfo=UTC)
OPTIONS = {"seed": 0, "train": None, "test": None, "shared": None}


@pytest.fixture
def folder(tmp_path):
    lines = ['"","Time","Tp","Cl","pH","Redox","Leit","Trueb","Cl_2","Fm","Fm_2","EVENT"']
    for minute in range(100):
        time = START + timedelta(minutes=minute)
        event = str(minute < 10 or 50 <= minute < 60 or 70 <= minute < 75).upper()
        values = "NA,NA,NA,NA,NA,NA,NA,NA,NA" if minute == 40 else "6.5,0.17,8.36,749,211,0.011,0.118,1677,695"
        lines.append(f'"{minute + 1}",{time:%Y-%m-%d %H:%M:%S},{values},{event}')
    (tmp_path / "some_half.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def claim(first, last):
    ms = round(START.timestamp() * 1000)
    return Claim(Subject("device:x"), "r", "water_quality", ms + first * 60_000, ms + last * 60_000, 2, 1.0)


def test_minutes_and_events_are_counted_in_the_scored_part(folder):
    score = truth.score(folder, [claim(0, 10), claim(52, 64)], None, **OPTIONS)
    assert (score["events"], score["events_found"]) == (2, 1)
    assert score["precision"] == pytest.approx(8 / 12, abs=1e-4)
    assert score["recall"] == pytest.approx(8 / 15, abs=1e-4)
    assert score["f1"] == pytest.approx(2 * 8 / (12 + 15), abs=1e-4)


def test_nothing_said_scores_nothing(folder):
    score = truth.score(folder, [], None, **OPTIONS)
    assert (score["event_recall"], score["f1"]) == (0.0, 0.0)


def test_first_thirty_per_cent_teach_and_gaps_stay_gaps(folder):
    batches = list(Gecco(Options()).batches(folder))
    assert [scored for scored, _ in batches] == [False] * 30 + [True] * 70
    assert len(batches[40][1]) == 0
    assert batches[0][1].value[[0, 3]].tolist() == pytest.approx([279.65, 0.749])


def test_folder_without_one_table_is_named(tmp_path):
    with pytest.raises(InputError, match="0 tables"):
        list(Gecco(Options()).batches(tmp_path))


def test_table_of_another_layout_is_named(tmp_path):
    (tmp_path / "half.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"half\.csv"):
        list(Gecco(Options()).batches(tmp_path))


@pytest.mark.slow
@pytest.mark.data
def test_most_events_of_the_first_half_are_found(data):
    result = run.evaluate("gecco", data / "timeseries" / "gecco2018", Options())
    assert result.score["event_recall"] >= 0.8
    assert result.score["f1"] > 2 * max(result.random_control["f1"], result.always_control["f1"])
