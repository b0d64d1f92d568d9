"""The set batadal: hours of a SCADA system, the competition's score, and labels that only the truth reads."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from sensors.detection import Subject
from sensors.evaluation import Claim, Options, run
from sensors.evaluation.batadal import Batadal
from sensors.evaluation.truth import batadal as truth
from twin.errors import InputError

START = datetime(2016, 9, 1, tzinfo=UTC)
OPTIONS = {"seed": 0, "train": None, "test": None, "shared": None}


def write(file, rows, label):
    """Write `rows` hours of two tags with what `label` says of each."""
    lines = ["DATETIME, L_T1, S_PU1, ATT_FLAG"]
    for hour in range(rows):
        time = START + timedelta(hours=hour)
        lines.append(f"{time:%d/%m/%y %H}, {2 + np.sin(hour):.2f}, 1, {label(hour)}")
    file.write_text("\n".join(lines) + "\n")


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "dataset03.csv", 10, lambda _: 0)
    write(tmp_path / "dataset04.csv", 100, lambda hour: int(20 <= hour < 30 or 60 <= hour < 80))
    return tmp_path


def claim(first, last):
    ms = round(START.timestamp() * 1000)
    end = None if last is None else ms + last * 3_600_000
    return Claim(Subject("device:x"), "integrity", "integrity", ms + first * 3_600_000, end, 3, 1.0)


def test_score_is_that_of_the_competition(folder):
    score = truth.score(folder, [claim(25, 30), claim(60, 84)], None, **OPTIONS)
    assert score["s_ttd"] == pytest.approx(1 - (0.5 + 0) / 2)
    assert score["tpr"] == pytest.approx(25 / 30, abs=1e-4)
    assert score["tnr"] == pytest.approx(66 / 70, abs=1e-4)
    assert score["s"] == pytest.approx((0.75 + (25 / 30 + 66 / 70) / 2) / 2, abs=1e-4)
    assert score["attacks_found"] == score["attacks"] == 2


def test_alarm_that_always_stands_has_three_quarters_of_the_score(folder):
    assert truth.score(folder, [claim(0, None)], None, **OPTIONS)["s"] == 0.75


def test_nothing_said_finds_no_attack(folder):
    score = truth.score(folder, [], None, **OPTIONS)
    assert (score["s"], score["attacks_found"]) == (0.25, 0)


def test_file_without_labels_has_the_published_attacks(tmp_path):
    write(tmp_path / "dataset04.csv", 24 * 20, lambda _: -999)
    score = truth.score(tmp_path, [claim(0, None)], None, **OPTIONS)
    assert score["attacks"] == 1


def test_readings_come_hour_by_hour_without_their_labels(folder):
    given = Batadal(Options())
    batches = list(given.batches(folder))
    assert [device.id for device in given.scope(folder).devices] == ["L_T1", "S_PU1"]
    assert [scored for scored, _ in batches] == [False] * 10 + [True] * 100
    assert all(batch.history.all() != scored for scored, batch in batches)
    assert batches[0][1].value.tolist() == [2.0, 1.0]


def test_another_file_is_scored_where_it_is_named(folder):
    write(folder / "other.csv", 30, lambda hour: int(hour < 3))
    options = Options(test=folder / "other.csv")
    assert sum(scored for scored, _ in Batadal(options).batches(folder)) == 30
    score = truth.score(folder, [], None, **{**OPTIONS, "test": folder / "other.csv"})
    assert score["attacks"] == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [("a,b\n1,2\n", "DATETIME"), ("DATETIME,L_T1,S_PU1,ATT_FLAG\nlast week,1,1,0\n", "DATETIME")],
)
def test_file_of_another_layout_is_named(folder, text, said):
    (folder / "dataset04.csv").write_text(text)
    with pytest.raises(InputError, match=r"dataset04\.csv") as caught:
        list(Batadal(Options()).batches(folder))
    assert said in str(caught.value)


def test_folder_without_the_files_is_named(tmp_path):
    with pytest.raises(InputError, match=r"dataset03\.csv"):
        Batadal(Options()).scope(tmp_path)


@pytest.mark.slow
@pytest.mark.data
def test_attacks_of_data_set_4_are_found(data):
    result = run.evaluate("batadal", data / "timeseries" / "batadal", Options())
    assert result.score["attacks_found"] == 7
    assert result.score["s"] > result.random_control["s"] + 0.3
    assert msgspec.json.encode(result.score)
