"""The set pyhydroqc: what of its files reaches detection, and how flags are held against the technicians'."""

import gzip
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors.evaluation import Flagged, Options
from sensors.evaluation.pyhydroqc import SET
from sensors.evaluation.pyhydroqc_files import MEASURED
from sensors.evaluation.run import evaluate
from sensors.evaluation.truth import pyhydroqc as truth
from twin.errors import InputError

USUAL = {"temp": 10.0, "cond": 300.0, "ph": 8.0, "do": 9.0, "turb": 2.0, "stage": 30.0}
SIZE = 100
NOTHING = {"seed": 0, "train": None, "test": None, "shared": None}


@pytest.fixture
def river(tmp_path):
    """A river of a hundred readings; number 70 of temp is missing, 80 of ph was corrected for four hours."""
    header = ",".join(["datetime", *(f"{name}{end}" for name in MEASURED for end in ("", "_cor", "_qual"))])
    lines = [header]
    for row in range(SIZE):
        time = datetime(2014, 6, 1, tzinfo=UTC) + row * timedelta(minutes=15)
        cells = [f"{time:%Y-%m-%d %H:%M:%S}.000"]
        for name in MEASURED:
            value = USUAL[name] * (1 + 0.0003 * ((row * 7) % 5))
            flag = "NULL"
            if name == "temp" and row == 70:
                value, flag = -9999, "1"
            if name == "ph" and 80 <= row < 96:
                value, flag = 9.0 if row == 80 else value, "2"
            cells += [f"{value:.4f}", "NULL" if value == -9999 else f"{value:.4f}", flag]
        lines.append(",".join(cells))
    with gzip.open(tmp_path / "Brook2014.csv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n\n")
    return tmp_path


def test_batches_are_in_time_order_and_the_first_part_of_a_file_teaches(river):
    batches = list(SET(Options()).batches(river))
    assert len(batches) == SIZE
    assert [scored for scored, _ in batches] == [False] * 40 + [True] * 60
    assert all(len(batch) == len(MEASURED) for _, batch in batches)
    assert (np.diff([batch.now for _, batch in batches]) == 900_000).all()


def test_values_are_si_and_labels_stay_outside(river):
    [device] = SET(Options()).scope(river).devices
    assert [point.name for point in device.points] == list(MEASURED)
    _, first = next(iter(SET(Options()).batches(river)))
    assert first.value == pytest.approx([283.15, 300e-4, 8.0, 9e-3, 2.0, 0.30])
    assert first.flags is None


def test_folder_without_files_and_file_of_another_layout_are_refused(tmp_path):
    with pytest.raises(InputError, match="no file of the set"):
        SET(Options()).scope(tmp_path)
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("datetime,temp\n2014-01-01 00:00:00,1\n")
    with pytest.raises(InputError, match="cond"):
        list(SET(Options()).batches(tmp_path))
    (tmp_path / "a.csv.gz").write_text("no gzip")
    with pytest.raises(InputError, match=r"a\.csv\.gz"):
        list(SET(Options()).batches(tmp_path))


def test_flags_within_labels_score_and_those_outside_count_against(river):
    [(times, _), *_] = truth._labels(river)
    hit = Flagged(
        np.array([0, 2, 3], np.int32), times[[30, 44, 50]], np.full(3, 4, np.uint8), np.ones(3, np.uint32)
    )  # 70 of temp, 84 of ph, and one of do
    score = truth.score(river, [], hit, **NOTHING)
    assert (score["labelled_events"], score["flagged_readings"]) == (2, 3)
    assert (score["event_recall"], score["precision"], score["f1"]) == (1.0, pytest.approx(2 / 3, abs=1e-4), 0.8)
    assert score["recall_readings"] == pytest.approx(2 / 17, abs=1e-4)


def test_nothing_flagged_scores_nothing(river):
    none = Flagged(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint32))
    score = truth.score(river, [], none, **NOTHING)
    assert (score["precision"], score["recall"], score["f1"], score["f1_package"]) == (0.0, 0.0, 0.0, 0.0)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_package_rule_is_that_of_the_package(pairs):
    """Held against its loop (`compare_events`), written out; the last group, which it forgets, counts here."""
    labelled, flagged = (np.array(column) for column in zip(*pairs, strict=True))
    label, flag = (truth._events(truth._widened(marked)) for marked in (labelled, flagged))
    groups, group = [], [0]
    for i in range(1, len(label)):
        quiet_before, quiet_now = label[i - 1] == flag[i - 1] == 0, label[i] == flag[i] == 0
        moved = (label[i] != label[i - 1], flag[i] != flag[i - 1])
        if any(moved) and (quiet_before or quiet_now or all(moved)):
            groups.append(group)
            group = []
        group.append(i)
    counts = [0, 0, 0]
    groups.append(group)
    for each in groups:
        has = label[each].any(), flag[each].any()
        if any(has):
            counts[{(True, True): 0, (False, True): 1, (True, False): 2}[has]] += max(len(each) - 2, 0)
    assert truth.count(labelled, flagged).package == tuple(counts)


def test_run_finds_what_failed_and_both_controls_score_less(river):
    result = evaluate("pyhydroqc", river, Options())
    assert result.score["event_recall"] == 1.0
    assert result.score["f1"] > 2 * max(result.random_control["f1"], result.always_control["f1"])
    assert result.degraded == {}


@pytest.mark.data
def test_real_rivers_have_labels_in_their_scored_part(data):
    folder = data / "timeseries" / "pyhydroqc"
    if not folder.is_dir():
        pytest.skip(f"no pyhydroqc at {folder}")
    labels = truth._labels(folder)
    assert len(labels) == len(list(folder.glob("*.csv.gz"))) * len(MEASURED)
    assert all(len(times) == len(marked) and (np.diff(times) > 0).all() for times, marked in labels)
    assert sum(int(marked.sum()) for _, marked in labels) > 0
