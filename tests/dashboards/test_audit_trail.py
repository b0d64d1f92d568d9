"""What people do with devices, logins, commands and alarms stands in the audit trail, under who really did it."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dashboards.audit_trail import who
from dashboards.cli import app
from sensors.operations import connect
from sensors.trail import AuditTrail

ME = pwd.getpwuid(os.getuid()).pw_name


def types(folder: Path, *words: str) -> None:
    (folder / "chengmai.toml").touch()
    result = CliRunner().invoke(app, ["--settings", str(folder / "chengmai.toml"), *words])
    assert result.exit_code == 0, result.output


def test_what_is_done_to_a_device_is_in_the_trail(tmp_path: Path):
    device = {
        "device": "WP-2",
        "district": "main",
        "system": "water",
        "interval_s": 60,
        "points": [{"name": "pressure", "quantity": "pressure", "unit": "MPa"}],
    }
    (tmp_path / "devices.json").write_text(json.dumps([device]))

    types(tmp_path, "devices", "import", str(tmp_path / "devices.json"))
    types(tmp_path, "devices", "add", "WP-1", "--system", "water", "--point", "pressure=pressure")
    types(tmp_path, "devices", "credentials")
    types(tmp_path, "devices", "rotate", "WP-1")
    types(tmp_path, "devices", "command", "WP-1", "reboot", "--args", '{"seconds": 5}', "--by", "li")
    types(tmp_path, "credentials", "revoke", "WP-1")
    types(tmp_path, "devices", "retire", "WP-1")

    engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    entries = AuditTrail(engine, tmp_path / "trail.anchor").list()
    engine.dispose()
    assert [(entry.action, entry.subject) for entry in entries] == [
        ("device.import", str(tmp_path / "devices.json")),
        ("device.add", "WP-1"),
        ("credential.issue", "2 devices"),
        ("credential.rotate", "WP-1"),
        ("command.order", "WP-1"),
        ("credential.revoke", "WP-1"),
        ("device.retire", "WP-1"),
    ]
    assert {entry.by for entry in entries} == {who()}
    assert json.loads(entries[4].detail)["ordered_by"] == "li"


def test_who_acts_is_asked_of_the_system_and_not_of_variables(monkeypatch: pytest.MonkeyPatch):
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert who() == ME


def test_behind_sudo_who_asked_is_named_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SUDO_USER", "li")
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert who() == "root (for li)"


def test_a_name_that_an_attacker_chose_makes_up_no_entry(tmp_path: Path):
    (tmp_path / "chengmai.toml").touch()
    engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    AuditTrail(engine, tmp_path / "trail.anchor").write("gateway", "gateway.refuse", "\x1b[2J\n2  2026  li  device.add")
    engine.dispose()

    listed = CliRunner().invoke(app, ["--settings", str(tmp_path / "chengmai.toml"), "trail", "list"]).output

    assert listed.count("\n") == 1
    assert "\x1b" not in listed
