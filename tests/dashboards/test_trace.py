"""`chengmai trace` and `chengmai valve` on a small city."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dashboards.commands import trace as command
from tests.twin.test_trace import NOW, model
from twin.asset import LinkKind
from twin.city import City
from twin.errors import InputError, UnknownError

app = typer.Typer()
app.command("trace")(command.trace)
app.command("valve")(command.valve)


@pytest.fixture
def city(tmp_path: Path) -> Path:
    path = tmp_path / "c.gpkg"
    with City.create(path, "EPSG:4549") as opened:
        opened.replace(model(LinkKind.VALVE, LinkKind.PIPE, LinkKind.VALVE, LinkKind.PIPE), NOW)
    return path


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_isolation_is_told_to_people_and_machines(city: Path) -> None:
    told = run("trace", "t:link:l3", "--kind", "isolation", "--city", city)
    assert told.exit_code == 0
    assert "close 1  t:link:l2" in told.stdout
    assert "if it sticks: t:link:l0" in told.stdout
    assert "rests on 1 stated, 0 inferred, 0 repaired" in told.stdout
    words = ("trace", "t:link:l3", "--kind", "isolation", "--stuck", "t:link:l2", "--city", city, "--json")
    answer = json.loads(run(*words).stdout)
    assert [valve["asset"] for valve in answer["detail"]["close"]] == ["t:link:l0"]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("upstream", "direction of flow inferred"),
        ("unsupplied", "customers (1): t:node:n4"),
        ("loops", "it lies on no loop"),
        ("profile", "chainage_m"),
        ("path", "links (4)"),
    ],
)
def test_each_kind_is_told_in_its_own_words(city: Path, kind: str, said: str) -> None:
    assert (
        said
        in run("trace", "t:node:n4" if kind != "unsupplied" else "t:link:l3", "--kind", kind, "--city", city).stdout
    )


def test_a_question_about_a_device_makes_no_operations_database(
    city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert isinstance(run("trace", "WM-1", "--kind", "impact", "--city", city).exception, UnknownError)
    assert set(tmp_path.iterdir()) == before


def test_kind_that_does_not_exist_is_refused_with_those_that_do(city: Path) -> None:
    told = run("trace", "t:link:l3", "--kind", "sideways", "--city", city)
    assert isinstance(told.exception, InputError)
    assert "isolation" in str(told.exception)


def test_valve_operated_is_listed_and_feeds_the_next_trace(city: Path) -> None:
    words = ("valve", "t:link:l2", "--state", "stuck", "--by", "王工", "--note", "permit 7", "--city", city)
    assert "t:link:l2  stuck" in run(*words).stdout
    run("valve", "t:link:l0", "--state", "closed", "--by", "王工", "--city", city)
    (stuck, closed) = json.loads(run("valve", "--city", city, "--json").stdout)
    assert (stuck["asset"], stuck["state"], stuck["by"], stuck["note"]) == ("t:link:l2", "stuck", "王工", "permit 7")
    assert (closed["asset"], closed["state"]) == ("t:link:l0", "closed")
    told = run("trace", "t:link:l3", "--kind", "isolation", "--city", city).stdout
    assert "keep shut  t:link:l0" in told
    assert "does not move (1): t:link:l2" in told


def test_valve_without_a_name_is_refused(city: Path) -> None:
    told = run("valve", "t:link:l2", "--state", "closed", "--city", city)
    assert isinstance(told.exception, InputError)
    assert run("valve", "--city", city, "--json").stdout.strip() == "[]"
