"""The doctor: it names what is wrong and what to type, and one failed check never hides the next."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dashboards.audit_trail import note
from dashboards.commands.doctor import doctor
from dashboards.doctor import Verdict, examine
from dashboards.settings import SettingsSource, load
from ingest.spool import Spool
from ingest.status import Status
from sensors.device import Device, DeviceId, Point
from sensors.operations import connect
from sensors.registry import Registry
from twin.asset import System
from twin.city import City
from twin.errors import SettingsError


def settings_in(folder: Path, text: str = ""):
    file = folder / "chengmai.toml"
    file.write_text("[mqtt]\nurl = 'mqtt://127.0.0.1:1'\n[web]\nport = 1\n" + text, "utf-8")
    return load(file)


def test_an_empty_folder_is_told_what_to_type_for_each_part(tmp_path: Path):
    settings = settings_in(tmp_path)

    found = {finding.subject: finding for finding in examine(lambda: settings)}

    assert found["packages"].verdict is Verdict.GOOD
    assert found["city"].verdict is Verdict.BAD
    assert "chengmai load" in found["city"].remedy
    assert found["broker"].verdict is Verdict.BAD
    assert "nobody listens" in found["broker"].found
    assert found["ingest"].verdict is Verdict.BAD
    assert found["operations"].verdict is Verdict.WARNING
    assert "chengmai devices import" in found["operations"].remedy


def test_broken_settings_are_a_finding_and_not_the_end(tmp_path: Path):
    def broken():
        raise SettingsError("no such setting", where="chengmai.toml: web.prot", expected="perhaps web.port")

    findings = examine(broken)

    assert findings[0].subject == "python"
    assert findings[-1].verdict is Verdict.BAD
    assert "web.prot" in findings[-1].found


def test_a_city_and_its_crs_are_named(tmp_path: Path):
    settings = settings_in(tmp_path)
    City.create(tmp_path / "city.gpkg", "EPSG:4549").close()

    found = {finding.subject: finding for finding in examine(lambda: settings)}

    assert found["city"].verdict is Verdict.GOOD
    assert "EPSG:4549" in found["city"].found


def test_a_city_file_that_is_something_else_is_named(tmp_path: Path):
    settings = settings_in(tmp_path)
    (tmp_path / "city.gpkg").write_text("not a database at all, but long enough to be read as one" * 10)

    found = {finding.subject: finding for finding in examine(lambda: settings)}

    assert found["city"].verdict is Verdict.BAD
    assert "city.gpkg" in found["city"].found


def test_a_dashboard_open_to_the_network_is_warned_of(tmp_path: Path):
    settings = settings_in(tmp_path, "host = '0.0.0.0'\n")

    warnings = [finding for finding in examine(lambda: settings) if finding.verdict is Verdict.WARNING]

    assert any("without a login" in finding.found for finding in warnings)


def test_a_broken_trail_and_logins_in_the_clear_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "chengmai.toml").write_text("[mqtt]\nurl = 'mqtt://broker.example'\nembedded = false\n", "utf-8")
    settings = load(tmp_path / "chengmai.toml")
    monkeypatch.setattr("dashboards.doctor.listens", lambda _host, _port: True)  # as if that broker were there
    note(settings, "device.add", "WP-1")
    assert any(finding.subject == "trail" and "unbroken" in finding.found for finding in examine(lambda: settings))

    (tmp_path / "trail.anchor").unlink()
    told = [finding for finding in examine(lambda: settings) if finding.verdict is not Verdict.GOOD]

    assert any(finding.subject == "trail" and "no anchor" in finding.found for finding in told)
    assert any(finding.subject == "broker" and "in the clear" in finding.found for finding in told)


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_ends_with_status_1_when_something_is_wrong(tmp_path: Path, as_json: bool):
    settings_in(tmp_path)
    connect(f"sqlite:///{tmp_path / 'operations.sqlite'}").dispose()
    app = typer.Typer()
    app.command()(doctor)

    source = SettingsSource(tmp_path / "chengmai.toml", lambda _: None)
    result = CliRunner().invoke(app, ["--json"] if as_json else [], obj=source)

    assert result.exit_code == 1
    if as_json:
        assert {row["verdict"] for row in json.loads(result.stdout)} >= {"✓", "✗"}
    else:
        assert "→ chengmai up" in result.stdout


def test_devices_of_a_district_that_ingest_does_not_listen_to_are_named(tmp_path: Path):
    settings = settings_in(tmp_path, "[city]\ndistrict = 'main'\n")
    point = Point("pressure", "pressure", "MPa")
    device = Device(DeviceId("WP-0001"), "hewan", System.WATER, (point,), timedelta(seconds=60))
    engine = connect(settings.operations_url())
    Registry(engine).put([device])
    engine.dispose()

    found = [finding for finding in examine(lambda: settings) if finding.subject == "operations"]

    assert [finding.verdict for finding in found] == [Verdict.GOOD, Verdict.WARNING]
    assert "1 devices are of hewan; ingest listens to main only" in found[1].found


def beat(settings, district: str, **found):
    now = datetime.now(UTC)
    known = {
        "beat": now,
        "city_time": now,
        "recording": False,
        "connected": True,
        "broker": "mqtt://127.0.0.1:1",
        "district": district,
        "devices": 1,
        "unknown_devices": 0,
        "readings_per_s": 3.0,
        "last_message": now,
        "spooled": 0,
        "undetected": 0,
        "quarantined": 0,
        "store_ok": True,
        "alarms_ok": True,
        "detectors_off": [],
    }
    spool = Spool(settings.spool_of(district))
    spool.beat(Status(**{**known, **found}))
    spool.close()


def test_every_district_of_ingest_is_examined_by_itself(tmp_path: Path):
    settings = settings_in(
        tmp_path, "[ingest]\ndistricts = ['hewan', 'nanshan', 'xishan']\n[city]\ndistrict = 'hewan'\n"
    )
    beat(settings, "hewan")
    beat(settings, "nanshan", store_ok=False, unaccounted=2)

    found = [finding for finding in examine(lambda: settings) if finding.subject in {"ingest", "ledger"}]

    assert [(finding.verdict, finding.found.split(":")[0]) for finding in found] == [
        (Verdict.GOOD, "hewan"),
        (Verdict.GOOD, "hewan"),
        (Verdict.BAD, "nanshan"),
        (Verdict.BAD, "nanshan"),
        (Verdict.BAD, "xishan"),
    ]
    assert "store does not answer" in found[2].found
    assert "2 unaccounted for" in found[3].found
    assert "never run" in found[4].found


def test_a_city_without_a_dead_mans_signal_is_warned_of_and_the_demo_is_not(tmp_path: Path):
    demo, city = settings_in(tmp_path), settings_in(tmp_path, "[monitor]\nmetrics = '127.0.0.1:1'\n")
    assert not [finding for finding in examine(lambda: demo) if finding.subject in {"dead man", "metrics"}]
    found = {finding.subject: finding.verdict for finding in examine(lambda: city)}
    assert found["metrics"] is Verdict.BAD
    real = load(tmp_path / "chengmai.toml", {"mqtt": {"embedded": False}})
    assert {finding.subject: finding.verdict for finding in examine(lambda: real)}["dead man"] is Verdict.WARNING
