"""`chengmai evaluate`: data found or refused, figures beside their controls, every run in the log."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dashboards.cli import app
from sensors.detection import Subject
from sensors.evaluation import SETS, Claim, Options, run
from twin.errors import InputError

RESULT = run.Result(
    set="gecco",
    score={"f1": 0.6123, "event_recall": 1.0, "missed": ["one"]},
    random_control={"f1": 0.1},
    always_control={"f1": 0.05},
    claims=1,
    readings=1000,
    seconds=1.5,
    training="a" * 64,
    scored="b" * 64,
    degraded={"leak": "no hydraulics"},
    said=(Claim(Subject("device:D"), "r", "limit", 0, None, 2, 1.0),),
)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path, Options]]:
    """Answer every run with the same result, and keep what was asked for."""
    found: list[tuple[str, Path, Options]] = []

    def evaluate(name: str, data: Path, options: Options) -> run.Result:
        found.append((name, data, options))
        return RESULT

    monkeypatch.setattr(run, "evaluate", evaluate)
    return found


def chengmai(*words: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, words)], catch_exceptions=True)


def test_the_figures_stand_beside_their_controls(asked: Any, tmp_path: Path):
    done = chengmai("gecco", "--data", tmp_path, "--log", tmp_path / "log")

    line = next(line.split() for line in done.stdout.splitlines() if line.startswith("f1"))
    assert line == ["f1", "0.6123", "0.1", "0.05"]
    assert "off: leak: no hydraulics" in done.stdout


def test_json_has_the_keys_of_the_set_at_the_top(asked: Any, tmp_path: Path):
    done = chengmai("gecco", "--data", tmp_path, "--log", tmp_path / "log", "--json")

    found = json.loads(done.stdout)
    assert found["f1"] == 0.6123
    assert found["random_control"] == {"f1": 0.1}
    assert found["always_control"] == {"f1": 0.05}
    assert found["training"] == RESULT.training


def test_every_run_is_appended_to_the_log(asked: Any, tmp_path: Path):
    for seed in (1, 2):
        chengmai("gecco", "--data", tmp_path, "--log", tmp_path / "log", "--seed", seed)

    entries = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [entry["seed"] for entry in entries] == [1, 2]
    assert all("said" not in entry["result"] for entry in entries)


def test_what_was_claimed_can_be_kept(asked: Any, tmp_path: Path):
    chengmai("gecco", "--data", tmp_path, "--log", tmp_path / "log", "--claims", tmp_path / "claims")

    assert json.loads((tmp_path / "claims").read_text())["subject"] == "device:D"


def test_the_shared_data_is_where_a_set_is_unless_it_is_told(
    asked: list[tuple[str, Path, Options]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "timeseries" / SETS["gecco"]).mkdir(parents=True)
    monkeypatch.setenv("CHENGMAI_DATA", str(tmp_path))

    chengmai("gecco", "--log", tmp_path / "log")

    ((_, data, options),) = asked
    assert data == tmp_path / "timeseries" / "gecco2018"
    assert options.shared == tmp_path


def test_a_set_without_data_an_unknown_set_and_a_log_that_cannot_be_are_refused(
    asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("CHENGMAI_DATA", raising=False)
    log = tmp_path / "log"

    for words, expected in (
        (("gecco", "--log", log), "--data DIR"),
        (("gecco", "--data", tmp_path / "nowhere", "--log", log), "nowhere"),
        (("nix", "--data", tmp_path, "--log", log), "nix"),
        (("gecco", "--data", tmp_path, "--log", tmp_path), "E_WRITE"),
    ):
        error = chengmai(*words).exception
        assert isinstance(error, InputError)
        assert expected in str(error)
    assert asked == []
