"""The committed bundle is what its sources make."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

COMPONENT = Path(__file__).resolve().parents[2] / "dashboards" / "component"


@pytest.mark.slow
def test_bundle_is_what_the_sources_make(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: the committed bundle is used as it is")
    for name in ("src", "build.mjs", "package.json", "package-lock.json"):
        source = COMPONENT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    installed = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund"], cwd=tmp_path, capture_output=True, timeout=240, check=False
    )
    if installed.returncode:
        pytest.skip("npm ci did not work (no package registry?)")
    subprocess.run([npm, "run", "build", "--", "fresh"], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "fresh").iterdir()}
    committed = {path.name: path.read_bytes() for path in (COMPONENT / "dist").iterdir()}
    assert fresh.keys() == committed.keys()
    assert [name for name in fresh if fresh[name] != committed[name]] == []


def test_lock_names_no_registry() -> None:
    assert '"resolved"' not in (COMPONENT / "package-lock.json").read_text("utf-8")
