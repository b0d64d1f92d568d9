"""`chengmai config` on a narrow terminal and in a pipe: nothing is cut off."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from dashboards.cli import app


def test_a_long_path_is_shown_to_its_end(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    deep.mkdir(parents=True)
    settings = deep / "chengmai.toml"
    settings.write_text('[city]\ndistrict = "hewan"\n', encoding="utf-8")

    result = CliRunner().invoke(app, ["--settings", str(settings), "config"], env={"COLUMNS": "80"})

    assert result.exit_code == 0
    assert "…" not in result.output
    assert "chengmai.toml" in result.output.replace("\n", "").replace(" ", "")
