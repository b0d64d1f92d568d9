"""`chengmai ledger` and `chengmai quarantine`, on real spools."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dashboards.cli import app
from dashboards.settings import load
from ingest.group import Group
from ingest.spool import Quarantined, Spool
from ingest.store.checks import readings
from sensors.operations import connect
from sensors.trail import AuditTrail

DEEP = b'{"v":1,"boot":1,"seq":2,\x07"m":' + b"[" * 100
TOPICS = ("cim/v1/hewan/water/WP-1/data", "cim/v1/hewan/water/WP-2/data")


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """Settings of two districts; the first has refused three messages, the second has readings that wait."""
    path = tmp_path / "city.toml"
    path.write_text("[city]\ndistrict = 'hewan'\n[ingest]\ndistricts = ['hewan', 'nanshan']\n", "utf-8")
    settings = load(path)
    spool = Spool(settings.spool_of("hewan"))
    refused = [
        Quarantined(1_767_225_600_000, TOPICS[0], DEEP, "E_DEPTH", "deeper than 8"),
        Quarantined(1_767_225_601_000, TOPICS[0], b"{", "E_JSON", "no JSON"),
        Quarantined(1_767_225_602_000, TOPICS[1], b"}", "E_JSON", "no JSON", 2, (0, 4)),
    ]
    spool.commit(Group(received=4, quarantine=refused))
    spool.close()
    spool = Spool(settings.spool_of("nanshan"))
    spool.commit(Group(received=2, batches=[readings((1, 0, 0.3), (1, 1, 0.3))]))
    spool.close()
    return path


def run(city: Path, *words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["--settings", str(city), *words], input=stdin)


def rows(city: Path, *words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run(city, "quarantine", "list", "--json", *words).stdout.splitlines()]


def test_the_ledger_is_that_of_all_districts_and_of_each(city: Path):
    told = json.loads(run(city, "ledger", "--json").stdout)
    assert (told["received"], told["quarantined"], told["spooled"], told["balance"]) == (6, 4, 2, 0)
    assert told["districts"]["hewan"]["received"] == 4
    assert json.loads(run(city, "ledger", "--json", "--district", "nanshan").stdout)["received"] == 2
    assert "hewan" in run(city, "ledger").stdout


def test_a_ledger_that_does_not_balance_is_status_1_even_if_its_counters_agree(city: Path):
    spool = Spool(load(city).spool_of("nanshan"))
    with spool._transaction(spool._durable) as connection:
        connection.execute("DELETE FROM batches")  # what no code of ours does: rows gone, counters as they were
    assert spool.ledger().balance == 0
    spool.close()
    told = run(city, "ledger", "--json")
    assert told.exit_code == 1
    assert json.loads(told.stdout)["districts"]["nanshan"]["balance"] == 2


def test_refused_messages_are_listed_by_code_and_by_device(city: Path):
    assert [row["code"] for row in rows(city)] == ["E_JSON", "E_JSON", "E_DEPTH"]
    assert [row["topic"] for row in rows(city, "--code", "E_JSON", "--device", "WP-2")] == [TOPICS[1]]
    assert rows(city, "--device", "WP-3") == []
    assert "nothing was refused" in run(city, "quarantine", "list", "--district", "nanshan").stdout


def test_a_row_is_shown_whole_and_harmless_to_a_terminal(city: Path):
    shown = run(city, "quarantine", "show", "1").stdout
    assert "deeper than 8" in shown
    assert "\x07" not in shown
    assert r"\x07" in shown
    raw = run(city, "quarantine", "show", "1", "--payload")
    assert raw.stdout_bytes == DEEP
    assert bytes.fromhex(json.loads(run(city, "quarantine", "show", "1", "--json").stdout)["hex"]) == DEEP


def test_what_a_device_calls_its_unit_moves_no_cursor_and_makes_up_no_row(city: Path):
    spool = Spool(load(city).spool_of("nanshan"))
    refused = Quarantined(1_767_225_602_000, TOPICS[1], b"}", "E_UNIT", "unit \x1b[2J\n7  2026", 1)
    spool.commit(Group(received=1, quarantine=[refused]))
    spool.close()
    listed = run(city, "quarantine", "list", "--district", "nanshan").stdout
    assert listed.endswith("unit \\x1b[2J\\n7  2026\n")
    assert listed.count("\n") == 1
    assert "\x1b" not in run(city, "quarantine", "show", "1", "--district", "nanshan").stdout


def test_a_row_that_is_not_there_is_one_clear_line(city: Path):
    assert "no such row" in str(run(city, "quarantine", "show", "99").exception)


def test_replay_asks_ingest_and_leaves_a_trail(city: Path):
    told = run(city, "quarantine", "replay", "--code", "E_JSON", "--json")
    assert json.loads(told.stdout) == {"rows": 2, "missing": 0}
    settings = load(city)
    spool = Spool(settings.spool_of("hewan"))
    assert [one.code for one in spool.asked()] == ["E_JSON", "E_JSON"]
    spool.close()
    trail = AuditTrail(connect(settings.operations_url()), settings.trail_anchor())
    (entry,) = trail.list(action="quarantine")
    assert (entry.action, entry.subject) == ("quarantine.replay", "quarantine:hewan")
    assert json.loads(entry.detail)["rows"] == 2


def test_purge_asks_first_and_the_ledger_goes_on_counting(city: Path):
    assert run(city, "quarantine", "purge", "1", stdin="n\n").exit_code == 1
    assert len(rows(city)) == 3
    assert run(city, "quarantine", "purge", "3", stdin="y\n").exit_code == 0
    assert [row["id"] for row in rows(city)] == [2, 1]
    told = json.loads(run(city, "ledger", "--json", "--district", "hewan").stdout)
    assert (told["quarantined"], told["purged"], told["balance"]) == (4, 2, 0)


def test_purging_what_is_not_there_is_told(city: Path):
    told = run(city, "quarantine", "purge", "1", "77", "--yes", "--json")
    assert (told.exit_code, json.loads(told.stdout)) == (1, {"rows": 1, "missing": 1})


@pytest.mark.parametrize("words", [["purge", "--yes"], ["replay"], ["replay", "1", "--code", "E_JSON"]])
def test_nothing_is_chosen_by_accident(city: Path, words: list[str]):
    refused = run(city, "quarantine", *words)
    assert refused.exit_code == 1
    assert len(rows(city)) == 3
