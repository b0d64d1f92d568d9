"""Evaluation: a run tells what the live pipeline said, truth stays in its own process, controls are its size."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensors import limits
from sensors.detection import Candidate, DetectionKind, Subject
from sensors.detection.checks import START_MS, sample_devices
from sensors.detection.scope import Scope
from sensors.evaluation import SETS, Claim, Flagged, Options, Rules, controls, log, run, thresholds
from sensors.evaluation.judge import Judge
from sensors.evaluation.truth import Asked, FlaggedColumns, decode, encode
from sensors.evaluation.truth.__main__ import converse
from sensors.reading import Batch, Quality
from twin.asset import AssetId
from twin.errors import InputError, SettingsError, UnavailableError

HOUR = 3_600_000
FIELD = controls.Field(
    0,
    100 * HOUR,
    [AssetId(f"n.inp:link:P{n}") for n in range(9)],
    {"point": [Subject(f"point:D{n}/p") for n in range(5)], "device": [], "asset": []},
)


def claim(start: int = 0, end: int | None = HOUR, subject: str = "point:D1/p", **changes: Any) -> Claim:
    return msgspec.structs.replace(Claim(Subject(subject), "r", "limit", start, end, 2, 1.0), **changes)


class Drawn:
    """A set of the contract's devices: two quiet hours to learn, then gas above both set points for twenty minutes."""

    def __init__(self, **rules: Any) -> None:
        self.kept = Rules(["limits"], [DetectionKind.LIMIT], **rules)

    def scope(self, data: Path) -> Scope:
        return Scope(sample_devices(), limits.load())

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        for minute in range(240):
            value = 0.6 if 150 <= minute < 170 else 0.01
            yield minute >= 120, one_reading(minute, value)

    def rules(self) -> Rules:
        return self.kept


def one_reading(minute: int, value: float) -> Batch:
    time = START_MS + minute * 60_000
    column = np.array([2], np.int32), np.array([time], np.int64), np.array([value])
    return Batch(*column, np.array([Quality.GOOD], np.uint8), np.array([False]), time)


class Witness:
    """Stands for the truth process: keeps what it was asked."""

    asked: list[tuple[list[Claim], Flagged | None]]

    def __init__(self, name: str, data: Path, options: Options) -> None:
        self.data = data
        self.asked = Witness.asked = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def score(self, claims: Any, flagged: Flagged | None = None) -> dict[str, Any]:
        self.asked.append((list(claims), flagged))
        return {"claims": len(claims), "flagged": None if flagged is None else len(flagged.series), "list": []}


@pytest.fixture
def witnessed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a set without a truth process; return a function that does."""
    monkeypatch.setattr(run, "Judge", Witness)

    def evaluated(found: Any, data: Path = Path()) -> run.Result:
        monkeypatch.setattr(run, "open_set", lambda *_: found)
        return run.evaluate("ltown", data, Options())

    return evaluated


# -- a run -------------------------------------------------------------------------------------------------------------


def test_a_claim_stands_from_the_batch_that_said_it_to_the_one_that_took_it_back(witnessed: Any):
    result = witnessed(Drawn())

    (said,) = result.said
    assert said.rule == "combustible_gas_high"
    assert said.level == 1
    assert said.start == START_MS + 150 * 60_000
    assert said.end is not None
    assert said.end >= START_MS + 170 * 60_000


def test_the_run_is_scored_beside_twenty_random_draws_and_alarms_that_always_stand(witnessed: Any):
    result = witnessed(Drawn())

    real, *drawn, always = [claims for claims, _ in Witness.asked]
    assert len(drawn) == controls.DRAWS
    assert [len(each) for each in drawn] == [len(real)] * controls.DRAWS
    assert result.random_control == {"claims": 1.0, "flagged": None}
    assert {each.start for each in always} == {START_MS + 120 * 60_000}


def test_a_condition_that_stood_before_the_scored_part_counts_from_its_start(witnessed: Any):
    class Early(Drawn):
        def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
            for minute in range(240):
                yield minute >= 120, one_reading(minute, 0.6 if 100 <= minute < 130 else 0.01)

    (said,) = witnessed(Early()).said

    assert said.start == START_MS + 120 * 60_000


def test_what_was_over_before_the_scored_part_is_no_claim(witnessed: Any):
    class Over(Drawn):
        def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
            for minute in range(240):
                yield minute >= 120, one_reading(minute, 0.6 if 30 <= minute < 50 else 0.01)

    assert witnessed(Over()).said == ()


def test_flagged_readings_reach_the_truth_where_the_set_scores_them(witnessed: Any):
    class Broken(Drawn):
        def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
            for minute in range(240):
                yield minute >= 120, one_reading(minute, np.nan if minute in {60, 200} else 0.01)

    witnessed(Broken(flagged=True))

    _, flagged = Witness.asked[0]
    assert flagged is not None
    assert flagged.time.tolist() == [START_MS + 200 * 60_000]


def test_the_hashes_tell_the_two_parts_apart_and_follow_what_is_in_them(witnessed: Any):
    class Other(Drawn):
        def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
            for minute in range(240):
                yield minute >= 120, one_reading(minute, 0.02 if minute == 200 else 0.01)

    first, second = witnessed(Drawn()), witnessed(Other())

    assert first.training == second.training
    assert first.scored != second.scored


def test_data_without_a_scored_part_is_refused(witnessed: Any):
    class Short(Drawn):
        def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
            yield False, one_reading(0, 0.01)

    with pytest.raises(InputError, match="nothing to score"):
        witnessed(Short())


def test_a_set_that_wants_a_detector_which_is_not_installed_is_refused(witnessed: Any):
    found = Drawn()
    found.kept = Rules(["crystal_ball"], [DetectionKind.LIMIT])

    with pytest.raises(SettingsError, match="crystal_ball"):
        witnessed(found)


def test_an_unknown_set_is_refused_with_those_that_there_are():
    with pytest.raises(InputError, match="ltown, batadal"):
        run.open_set("nix", Options())


def test_opening_the_sets_brings_no_truth_into_the_process():
    code = (
        "import sys\nfrom sensors.evaluation import SETS, Options\nfrom sensors.evaluation.run import open_set\n"
        "for name in SETS: open_set(name, Options())\n"
        "assert not [name for name in SETS if f'sensors.evaluation.truth.{name}' in sys.modules]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)

    assert done.returncode == 0, done.stderr


# -- the truth process -------------------------------------------------------------------------------------------------


def conversation(monkeypatch: pytest.MonkeyPatch, truth: Any, *asked: Asked) -> list[dict[str, Any]]:
    monkeypatch.setitem(sys.modules, "sensors.evaluation.truth.bwdf", truth)
    said: list[bytes] = []
    converse([encode(each) for each in asked], said.append)
    return [json.loads(line) for line in said]


def test_truth_answers_a_line_for_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def score(data: Path, claims: Any, flagged: Any, *, seed: int, **_: Any) -> dict[str, Any]:
        return {"data": data.name, "claims": [each.start for each in claims], "seed": seed, "flagged": flagged is None}

    begun, scored = conversation(
        monkeypatch,
        SimpleNamespace(score=score),
        Asked("bwdf", tmp_path, Options(seed=3), tmp_path / "made"),
        Asked(claims=[claim(7)]),
    )

    assert begun["data"] == str(tmp_path)
    assert scored["score"] == {"data": tmp_path.name, "claims": [7], "seed": 3, "flagged": True}


def test_truth_that_prepares_lets_the_run_read_what_it_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def prepare(data: Path, folder: Path, **_: Any) -> None:
        (folder / "injected").write_text(data.name)

    truth = SimpleNamespace(prepare=prepare)
    made = tmp_path / "made"
    made.mkdir()
    (begun,) = conversation(monkeypatch, truth, Asked("bwdf", tmp_path, Options(), made))

    assert begun["data"] == str(made)
    assert (made / "injected").read_text() == tmp_path.name


def test_an_error_of_the_truth_process_is_the_runs_own(tmp_path: Path):
    with pytest.raises(InputError, match=r"district\.json"):
        Judge("district", tmp_path, Options())


def test_a_truth_process_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UnavailableError, match="truth of district"):
        Judge("district", tmp_path, Options())


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**50), st.integers(1, 9), st.integers(0, 2**32 - 1))))
def test_flagged_readings_cross_the_pipe_unchanged(rows: list[tuple[int, int, int, int]]):
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    flagged = FlaggedColumns(*columns).arrays()

    back = decode(encode(FlaggedColumns.of(flagged)), FlaggedColumns).arrays()

    for name in ("series", "time", "quality", "flags"):
        assert getattr(back, name).tolist() == getattr(flagged, name).tolist()
        assert getattr(back, name).dtype == getattr(flagged, name).dtype


# -- controls ----------------------------------------------------------------------------------------------------------

spans = st.tuples(st.integers(0, 99 * HOUR), st.none() | st.integers(1, 5 * HOUR)).map(
    lambda span: claim(span[0], None if span[1] is None else min(span[0] + span[1], 100 * HOUR))
)


@given(st.lists(spans, max_size=20), st.integers(0, 2**32))
def test_random_claims_are_as_many_as_long_and_within_the_scored_time(claims: list[Claim], seed: int):
    drawn = controls.random_claims(claims, FIELD, np.random.default_rng(seed))

    lengths = [(FIELD.end if each.end is None else each.end) - each.start for each in claims]
    assert [each.end - each.start for each in drawn if each.end is not None] == lengths
    assert all(FIELD.start <= each.start and each.end is not None and each.end <= FIELD.end for each in drawn)
    assert all(each.subject in FIELD.subjects["point"] for each in drawn)


def test_random_claims_name_as_many_pipes_as_the_claims_did():
    named = (Candidate(AssetId("n.inp:link:P3"), 0.5), Candidate(AssetId("n.inp:link:P4"), 0.2))

    (drawn,) = controls.random_claims([claim(candidates=named)], FIELD, np.random.default_rng(1))

    assert [each.weight for each in drawn.candidates] == [0.5, 0.2]
    assert all(each.asset in FIELD.pipes for each in drawn.candidates)


def test_always_alarms_stand_everywhere_all_the_time():
    always = controls.always_claims([claim()], FIELD, None)

    assert {each.subject for each in always} == set(FIELD.subjects["point"])
    assert {(each.start, each.end) for each in always} == {(FIELD.start, None)}


def test_always_alarms_are_told_anew_as_often_as_the_set_says():
    always = controls.always_claims([claim()], FIELD, timedelta(hours=10))

    assert len(always) == 10 * len(FIELD.subjects["point"])
    assert {each.end for each in always if each.start == 0} == {10 * HOUR}


def readings(flags: dict[int, list[int]]) -> Flagged:
    quality = np.array([flag for own in flags.values() for flag in own], np.uint8)
    series = np.repeat(np.array(list(flags), np.int32), [len(own) for own in flags.values()])
    time = np.concatenate([np.arange(len(own)) for own in flags.values()])
    return Flagged(series, time, quality, quality.astype(np.uint32))


@given(
    st.dictionaries(st.integers(0, 5), st.lists(st.sampled_from([1, 3, 4, 9]), min_size=1), min_size=1), st.integers(0)
)
def test_random_flags_keep_their_number_in_every_series(flags: dict[int, list[int]], seed: int):
    before = readings(flags)

    after = controls.random_flags(before, np.random.default_rng(seed))

    for number, own in flags.items():
        assert sorted(after.quality[after.series == number].tolist()) == sorted(own)
    assert np.array_equal(after.time, before.time)


def test_means_are_of_numbers_alone():
    scores = [{"f1": 0.5, "delay": None, "by": {}}, {"f1": 1.0, "delay": 4, "by": {}}]

    assert controls.mean(scores) == {"f1": 0.75, "delay": 4.0}


def test_the_pipes_of_the_network_are_what_a_random_claim_may_name(tmp_path: Path):
    inp = tmp_path / "net.inp"
    inp.write_text("[PIPES]\n P1 A B 10 100 100 0 Open\n P2 B C 10 100 100 0 Open\n")

    field = controls.Field.of(Scope(sample_devices(), limits.load(), hydraulics={"net.inp": inp}), 0, 1)

    assert field.pipes == ["net.inp:link:P1", "net.inp:link:P2"]
    assert len(field.subjects["device"]) == len(sample_devices())


# -- the log and the thresholds ----------------------------------------------------------------------------------------


def test_every_run_is_a_line_of_the_log_with_its_commit_versions_and_thresholds(tmp_path: Path, witnessed: Any):
    path = tmp_path / "runs.jsonl"
    state = thresholds.state("ltown", "abc")
    entry = log.Entry(datetime.now(UTC), log.commit(), log.versions(), state, "data", [], 0, witnessed(Drawn()))

    log.append(path, entry)
    log.append(path, entry)

    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert first == second
    assert first["versions"]["chengmai"]
    assert first["thresholds"]["numbers"] == state.numbers
    assert first["result"]["training"] == entry.result.training


def test_a_log_that_cannot_be_written_is_told_before_the_run(tmp_path: Path):
    with pytest.raises(InputError, match="E_WRITE"):
        log.ready(tmp_path)


def test_numbers_are_hashed_by_value_and_unit_and_not_by_their_source():
    settings = limits.load()
    layer = next(iter(settings.numbers))
    name, row = next(iter(settings.numbers[layer].items()))

    def changed(**what: Any) -> str:
        numbers = {layer: {**settings.numbers[layer], name: msgspec.structs.replace(row, **what)}}
        return thresholds.numbers_hash(replace(settings, numbers=numbers), [layer])

    assert changed(source="a better one") == thresholds.numbers_hash(settings, [layer])
    assert changed(value=row.value + 1) != thresholds.numbers_hash(settings, [layer])


@pytest.mark.parametrize("name", list(thresholds.record()))
def test_thresholds_in_force_are_those_recorded_with_their_training_part(name: str):
    chosen = thresholds.record()[name]

    assert name in SETS
    assert thresholds.numbers_hash(limits.load(), chosen.layers) == chosen.numbers, (
        f"numbers of {', '.join(chosen.layers)} changed: say in thresholds.toml on what they were chosen"
    )
