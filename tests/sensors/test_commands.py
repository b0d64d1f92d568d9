import json

import pytest
import typer
from typer.testing import CliRunner

from dashboards.commands import alarms, devices, quantities
from dashboards.settings import SettingsSource
from sensors.alarm_log import AlarmLog
from sensors.clock import SystemClock
from sensors.operations import connect
from twin.errors import StaleError

app = typer.Typer()
app.add_typer(devices.app, name="devices")
app.add_typer(alarms.app, name="alarms")
app.command("quantities")(quantities.quantities)


@app.callback()
def _settings(ctx: typer.Context):
    ctx.obj = SettingsSource(None, lambda _: None)


@pytest.fixture
def run(url, engine, monkeypatch, tmp_path):
    monkeypatch.setenv("CHENGMAI_OPERATIONS__URL", url)
    monkeypatch.setenv("CHENGMAI_OPERATIONS__TRAIL_ANCHOR", str(tmp_path / "trail.anchor"))

    def invoke(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, result.output
        return result.output

    return invoke


def test_devices_shown_can_be_imported_again(run, tmp_path):
    shown = json.loads(run("devices", "show", "WP-1", "--json"))
    for point in shown["points"]:
        del point["series"]
    (tmp_path / "d.json").write_text(json.dumps([{**shown, "device": "WP-9"}]), "utf-8")
    receipt = json.loads(run("devices", "import", str(tmp_path / "d.json"), "--json"))
    assert (receipt["devices"], receipt["points"], receipt["registered"]) == (1, 1, 3)
    assert "WP-9" in run("devices", "list", "--system", "water")
    assert "quantity=pressure" in run("devices", "show", "WP-9")


def test_alarm_is_listed_acknowledged_and_its_history_shown(run, engine, seen):
    AlarmLog(engine, SystemClock()).apply([seen(0), seen(0, name="WP-2", level=1)])
    assert [row["level"] for row in json.loads(run("alarms", "list", "--json"))] == [1, 3]
    assert "WP-1" in run("alarms", "list")
    assert "version 2" in run("alarms", "ack", "1", "--by", "li", "--comment", "seen")
    with pytest.raises(StaleError):
        run("alarms", "ack", "1", "--by", "wang", "--version", "1")
    shown = json.loads(run("alarms", "show", "1", "--json"))
    assert [step["by"] for step in shown["transitions"]] == ["city", "li"]
    assert "acknowledged" in run("alarms", "show", "1")


def test_quantities_name_their_units(run):
    rows = {row["quantity"]: row for row in json.loads(run("quantities", "--json"))}
    assert rows["pressure"]["usual"] == "MPa"
    assert "%LEL" in run("quantities")


def test_command_finds_the_database_of_the_settings(run, url):
    connect(url).dispose()
    assert json.loads(run("alarms", "list", "--json")) == []


def test_units_in_brackets_are_printed_as_they_are_written(run):
    assert "[psi]" in run("quantities")
