"""The command line: what is wrong is one line with status 1, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def chengmai(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dashboards", *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["load", "missing.ifc"], "E_MISSING missing.ifc"),
        (["load", "empty.inp"], "E_EMPTY"),
        (["load", "notes.txt"], "E_FORMAT"),
        (["load", "net.inp", "--crs", "EPSG:99999"], "E_CRS"),
        (["--settings", "typo.toml", "config"], "perhaps web.port"),
        (["--settings", "missing.toml", "config"], "E_MISSING missing.toml"),
        (["sources", "--city", "missing.gpkg"], "E_MISSING"),
        (["restore", "missing"], "E_MISSING"),
        (["backup", "new"], "nothing to back up"),
        (["replay", "missing.csv"], "E_MISSING"),
        (["fault", "earthquake", "on"], "is no fault"),
        (["devices", "import", "missing.json"], "E_MISSING"),
        (["alarms", "ack", "1", "--by", "op"], "E_UNKNOWN"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_1(tmp_path: Path, words: list[str], said: str):
    (tmp_path / "empty.inp").touch()
    (tmp_path / "notes.txt").write_text("shopping list\n")
    (tmp_path / "net.inp").write_text(
        "[JUNCTIONS]\n J1 10 0\n[RESERVOIRS]\n R1 50\n[PIPES]\n P1 R1 J1 10 100 100 0 Open\n"
    )
    (tmp_path / "typo.toml").write_text("[web]\nprot = 1\n")

    assert said in one_line(chengmai(tmp_path, *words))


def test_a_misspelt_variable_is_refused(tmp_path: Path):
    assert "CHENGMAI_WEB__PORT" in one_line(chengmai(tmp_path, "config", CHENGMAI_WEB__PROT="1"))


def test_help_names_every_command(tmp_path: Path):
    result = chengmai(tmp_path, "--help")

    assert result.returncode == 0
    for word in ("load", "simulate", "ingest", "replay", "serve", "up", "demo", "doctor", "backup", "restore"):
        assert word in result.stdout


def test_ids_stand_in_the_help_as_they_are_typed(tmp_path: Path):
    told = chengmai(tmp_path, "trace", "--help")
    assert "water.inp:link:P-101" in told.stdout  # and no emoji for :link:
