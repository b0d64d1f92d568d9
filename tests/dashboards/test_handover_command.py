"""`chengmai handover` and `chengmai performance` on a real operations database."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from dashboards.cli import app
from sensors.operations import connect
from twin.errors import InputError


@pytest.fixture
def chengmai(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    connect(f"sqlite:///{tmp_path / 'operations.sqlite'}").dispose()

    def run(*words):
        result = CliRunner().invoke(app, words)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    return run


@pytest.mark.parametrize("command", ["handover", "performance"])
def test_reports_in_both_languages_and_every_format(chengmai, command, tmp_path):
    assert "报警绩效" in chengmai(command)
    assert "alarm figures" in chengmai(command, "--language", "en")
    chengmai(command, "--format", "html", "--output", "report.html")
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")
    record = json.loads(chengmai(command, "--format", "json"))
    assert record["performance"]["announced"] == 0


def test_shift_is_named(chengmai):
    assert json.loads(chengmai("handover", "--shift", "last", "--format", "json"))["shift"]["id"]
    with pytest.raises(InputError, match="is no shift"):
        chengmai("handover", "--shift", "brunch")


def test_performance_lists_the_shifts_of_a_day(chengmai):
    parts = json.loads(chengmai("performance", "--from", "2026-01-01", "--format", "json"))["parts"]
    assert [part["part"] for part in parts] == ["2026-01-01/night", "2026-01-01/day", "2026-01-01/evening"]
    with pytest.raises(InputError, match="has not begun"):
        chengmai("performance", "--from", f"{datetime.now(UTC).year + 1}-01-01")


def test_file_that_cannot_be_written_is_refused(chengmai):
    with pytest.raises(InputError, match="E_WRITE"):
        chengmai("handover", "--output", "missing/folder.txt")
