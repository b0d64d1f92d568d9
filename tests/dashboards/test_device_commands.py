"""`chengmai devices`: what a person does to the registry, as a person does it."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import typer
from shapely import Point as Place
from typer.testing import CliRunner

from dashboards.commands import devices
from dashboards.settings import SettingsSource
from sensors.command_log import CommandLog
from sensors.device import DeviceId
from sensors.operations import connect
from sensors.presence import DeviceStatus, Presence
from sensors.registry import Registry
from sensors.unknown_device import SeenPoint, Sighting, UnknownDevices
from twin.asset import AssetId, Node, NodeKind, System
from twin.city import City
from twin.errors import InputError, UnknownError
from twin.model import Decision, Model, Placement

app = typer.Typer()
app.add_typer(devices.app, name="devices")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@app.callback()
def _settings(ctx: typer.Context):
    ctx.obj = SettingsSource(None, lambda _: None)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'operations.sqlite'}"
    monkeypatch.setenv("CHENGMAI_OPERATIONS__URL", url)
    monkeypatch.setenv("CHENGMAI_CITY__DISTRICT", "hewan")
    monkeypatch.setenv("CHENGMAI_CITY__FILE", str(tmp_path / "city.gpkg"))
    engine = connect(url)
    yield engine
    engine.dispose()


@pytest.fixture
def run(engine):
    def invoke(*arguments, status=0):
        result = CliRunner().invoke(app, ["devices", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.output

    return invoke


@pytest.fixture
def pressure(run):
    run("add", "WP-1", "--system", "water", "--point", "pressure=pressure,unit=kPa,low=0,high=1e6")
    return "WP-1"


def heard(engine, name="XX-7", **points):
    seen = {sent: SeenPoint(*unit) for sent, unit in points.items()}
    later = NOW + timedelta(minutes=10)
    UnknownDevices(engine).note([Sighting(name, "hewan", System.WATER, NOW, later, 11, points=seen)])


def test_device_is_added_with_the_usual_unit_and_calibration(run):
    given = "pressure=pressure,code=w01,calibrated=2026-03-01,calibration_due=2027-03-01"
    shown = json.loads(
        run("add", "GM-1", "--system", "gas", "--point", given, "--point", "t=temperature", "--interval", "5", "--json")
    )
    assert (shown["device"], shown["district"], shown["interval_s"]) == ("GM-1", "hewan", 5)
    assert [(p["name"], p["unit"], p["code"], p["calibration_due"]) for p in shown["points"]] == [
        ("pressure", "kPa", "w01", "2027-03-01"),
        ("t", "Cel", "", None),
    ]
    assert "GM-1" in run("list", "--calibration-due", "2027-03-01")
    assert "GM-1" not in run("list", "--calibration-due", "2027-02-28")


def test_device_that_is_there_is_replaced_only_when_asked(run, pressure, engine):
    again = ("add", pressure, "--system", "water", "--point", "pressure=pressure,unit=MPa")
    with pytest.raises(InputError, match="registered already"):
        run(*again)
    run(*again, "--replace")
    assert Registry(engine).get(pressure).points[0].unit == "MPa"


@pytest.mark.parametrize(
    "point", ["pressure", "=pressure", "p=pressure,unit", "p=pressure,colour=red", "p=pressure,low=x"]
)
def test_point_that_cannot_be_read_is_refused(run, engine, point):
    with pytest.raises(InputError):
        run("add", "X", "--system", "water", "--point", point)
    assert Registry(engine).count() == 0


def test_device_stands_where_its_asset_does(run, engine, tmp_path):
    node = Node(AssetId("water.inp:node:J1"), "J1", System.WATER, NodeKind.JUNCTION, Place(500_010.0, 3_350_020.0))
    elsewhere = replace(node, id=AssetId("b.inp:node:J1"))
    placed, waits = Placement(Decision.PLACED, "test", "EPSG:4549"), Placement(Decision.UNPLACED, "test")
    with City.create(tmp_path / "city.gpkg", "EPSG:4549") as city:
        city.replace(Model("water.inp", "epanet", placed, nodes=[node]), NOW)
        city.replace(Model("b.inp", "epanet", waits, nodes=[elsewhere]), NOW)
    run("add", "WP-2", "--system", "water", "--point", "p=pressure", "--asset", "water.inp:node:J1")
    assert (Registry(engine).get("WP-2").easting, Registry(engine).get("WP-2").northing) == (500_010.0, 3_350_020.0)
    run("add", "WP-4", "--system", "water", "--point", "p=pressure", "--asset", "b.inp:node:J1")
    assert Registry(engine).get("WP-4").easting is None  # the coordinates of a model that waits are not the city's
    with pytest.raises(UnknownError, match="J9"):
        run("add", "WP-3", "--system", "water", "--point", "p=pressure", "--asset", "water.inp:node:J9")


def test_list_and_show_say_who_is_heard_and_can_be_imported_again(run, engine, pressure, tmp_path):
    assert "never" in run("list")
    Presence(engine).put(
        [DeviceStatus(DeviceId(pressure), online=True, since=NOW, last=NOW, boot=17, birth='{"v":1}', lost=((3, 4),))]
    )
    assert "online 05-01" in run("list", "--district", "hewan")
    assert "lost=3-4" in run("show", pressure)
    shown = run("list", "--json")
    assert json.loads(shown)[0]["heard"]["boot"] == 17
    (tmp_path / "again.json").write_text(shown, "utf-8")
    before = Registry(engine).devices()
    run("import", str(tmp_path / "again.json"))
    assert Registry(engine).devices() == before
    assert run("list", "--district", "elsewhere", "--json").strip() == "[]"


def test_retired_device_is_out_of_service(run, pressure, engine):
    assert json.loads(run("retire", pressure, "--json"))["retired"]
    assert "(retired)" in run("list")
    with pytest.raises(InputError, match="retired"):
        run("command", pressure, "reboot")


def test_unknown_device_is_adopted_in_one_command(run, engine):
    assert "no unknown device" in run("unknown")
    heard(engine, pressure=("MPa",), colour=(None,))
    assert "pressure=pressure,unit=MPa" in run("unknown")
    assert json.loads(run("unknown", "--json"))[0]["messages"] == 11
    tried = json.loads(run("adopt", "XX-7", "--dry-run", "--json"))
    assert (tried["adopted"], list(tried["left_out"]), Registry(engine).count()) == (False, ["colour"], 0)
    assert "colour" in run("adopt", "XX-7")
    adopted = Registry(engine).get("XX-7")
    assert ([point.name for point in adopted.points], adopted.interval) == (["pressure"], timedelta(minutes=1))
    assert UnknownDevices(engine).list() == []


def test_adopted_device_of_another_protocol_has_its_address_and_given_points(run, engine):
    heard(engine, "hj212/88888880000001", w01001=(None,))
    told = run("adopt", "hj212/88888880000001", "--id", "WQ-1", "--point", "ph=ph,code=w01001", "--interval", "30")
    assert "neither answered nor kept" in told  # and so nothing to replay
    adopted = Registry(engine).get("WQ-1")
    assert (adopted.address, adopted.points[0].code, adopted.points[0].unit) == ("hj212/88888880000001", "w01001", "pH")


def test_adoption_never_replaces_a_device(run, engine, pressure):
    heard(engine, "spBv1.0/plant/WP-1", pressure=("MPa",))
    with pytest.raises(InputError, match="registered already"):
        run("adopt", "spBv1.0/plant/WP-1")
    assert len(UnknownDevices(engine).list()) == 1


def test_forgotten_device_leaves_the_list(run, engine):
    heard(engine, pressure=("MPa",))
    run("forget", "XX-7")
    assert "no unknown device" in run("unknown")
    with pytest.raises(UnknownError):
        run("forget", "XX-7")


def test_command_is_ordered_and_its_answer_waited_for(run, engine, pressure):
    log = CommandLog(engine)

    def answer(ok):
        while not (waiting := log.pending("hewan", datetime.now(UTC))):
            pass
        log.sent([waiting[0].id], NOW)
        log.answer(waiting[0].id, device=pressure, ok=ok, code="" if ok else "E_BUSY", at=NOW)

    for ok, status in ((True, 0), (False, 1)):
        device = threading.Thread(target=answer, args=(ok,))
        device.start()
        ordered = ("command", pressure, "set_interval", "--args", '{"seconds": 30}', "--by", "li", "--wait", "60")
        (told,) = json.loads(run(*ordered, "--json", status=status))
        device.join()
        assert (told["by"], told["args"], told["ok"]) == ("li", {"seconds": 30}, ok)
    assert "failed by li" in run("commands", pressure)


def test_command_that_nobody_takes_is_told_after_the_wait(run, pressure):
    assert json.loads(run("command", pressure, "reboot", "--json"))[0]["state"] == "ordered"
    (told,) = json.loads(run("command", pressure, "reboot", "--wait", "0.3", "--json", status=1))
    assert told["state"] == "ordered"
    with pytest.raises(InputError, match="JSON object"):
        run("command", pressure, "reboot", "--args", "[1]")
