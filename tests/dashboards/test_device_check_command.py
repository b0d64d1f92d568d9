"""`chengmai device-check` as a vendor calls it, with the small broker in place of a bench's."""

import json
import socket
from datetime import timedelta

import pytest
import typer
from typer.testing import CliRunner

from dashboards.commands.device_check import device_check
from dashboards.settings import SettingsSource
from ingest.broker.embedded import EmbeddedBroker
from ingest.device_check.clauses import CLAUSES
from sensors.device import Device, DeviceId, Point
from sensors.operations import connect
from sensors.registry import Registry
from twin.asset import System
from twin.errors import BusyError, InputError

app = typer.Typer()
app.command("device-check")(device_check)


@app.callback()
def _settings(ctx: typer.Context):
    ctx.obj = SettingsSource(None, lambda _: None)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("CHENGMAI_OPERATIONS__URL", f"sqlite:///{tmp_path / 'operations.sqlite'}")
    monkeypatch.setenv("CHENGMAI_CITY__DISTRICT", "hewan")

    def invoke(*arguments):
        result = CliRunner().invoke(app, ["device-check", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke


@pytest.fixture
def broker(monkeypatch):
    with EmbeddedBroker() as broker:
        monkeypatch.setenv("CHENGMAI_MQTT__URL", broker.url)
        yield broker


def answer(result):
    """Return the JSON answer, behind what the broker in this process logs."""
    return json.loads(result.stdout[result.stdout.index("{\n") :])


@pytest.mark.usefixtures("broker")
def test_device_that_never_comes_fails_the_check(run):
    missed = ("WP-1", "--system", "water", "--listen", "127.0.0.1:0", "--connect", "1")
    result = run(*missed, "--json")
    assert result.exit_code == 1
    told = answer(result)
    assert told["device"] == "WP-1"
    assert [each["clause"] for each in told["clauses"]] == [clause for clause, _ in CLAUSES]
    assert told["clauses"][0] == {"clause": CLAUSES[0][0], "verdict": "FAIL", "detail": "no device connected"}
    assert run(*missed).stdout.rstrip().endswith("0 pass, 3 fail, 14 not seen")


@pytest.mark.usefixtures("broker")
def test_registered_device_needs_no_system(run, tmp_path):
    engine = connect(f"sqlite:///{tmp_path / 'operations.sqlite'}")
    point = Point("pressure", "pressure", "kPa")
    Registry(engine).put([Device(DeviceId("GM-1"), "east", System.GAS, (point,), timedelta(seconds=5))])
    engine.dispose()
    told = answer(run("GM-1", "--listen", "127.0.0.1:0", "--connect", "1", "--json"))
    birth = next(each for each in told["clauses"] if each["clause"] == "birth")
    assert "cim/v1/east/gas/GM-1/status" in birth["detail"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("WP-1",), "--system"),
        (("WP 1", "--system", "water"), "no device name"),
        (("WP-1", "--system", "water", "--district", "a/b"), "no district name"),
        (("WP-1", "--system", "water", "--listen", "1884"), "host:port"),
        (("WP-1", "--system", "water", "--listen", "127.0.0.1:99999"), "host:port"),
    ],
)
def test_what_cannot_be_checked_is_said_before_anything_starts(run, arguments, says):
    with pytest.raises(InputError, match=says):
        run(*arguments)


@pytest.mark.usefixtures("broker")
def test_port_that_somebody_has_is_said(run):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(BusyError, match=str(taken.getsockname()[1])):
            run("WP-1", "--system", "water", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
