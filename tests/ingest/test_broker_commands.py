"""`chengmai broker` and `chengmai credentials` as an operator types them, around a real Mosquitto."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from dashboards.cli import app
from ingest.broker.mosquitto import Door
from sensors.operations import connect
from sensors.registry import Registry
from twin.errors import ChengmaiError, InputError

from .conftest import _mosquitto, free_port, pressure_device, wait_until
from .secured_broker import NOT_AUTHORISED, TAKEN, Party, listens, stop, topic


class Operator:
    """Types commands in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broker = folder / "broker"
        (folder / "chengmai.toml").write_text("[city]\ndistrict = 'hewan'\n")
        engine = connect(f"sqlite:///{folder / 'operations.sqlite'}")
        Registry(engine).put([pressure_device(name) for name in ("A", "B")])
        engine.dispose()

    def types(self, *words: str, status: int = 0) -> str:
        result = CliRunner().invoke(app, ["--settings", str(self.folder / "chengmai.toml"), *words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == status, result.output
        return result.stdout


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


@pytest.fixture
def door(operator: Operator) -> Iterator[Door]:
    """The devices' door of a broker set up and started as its README says, with a login for A and B."""
    if not _mosquitto():
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    door, user = Door("127.0.0.1", free_port()), getpass.getuser()
    operator.types("devices", "credentials", "--write", str(operator.folder / "secrets.csv"))
    services = f"127.0.0.1:{free_port()}"
    asked = ("--devices", str(door), "--services", services, "--name", "127.0.0.1", "--user", user)
    operator.types("broker", "config", str(operator.broker), *asked)
    process = subprocess.Popen([_mosquitto(), "-c", str(operator.broker / "mosquitto.conf")], stderr=subprocess.DEVNULL)
    wait_until(lambda: listens(door))
    yield door
    stop(process)


def secret_of(operator: Operator, login: str) -> str:
    rows = dict(line.split(",") for line in (operator.folder / "secrets.csv").read_text().splitlines())
    return rows[login]


def test_an_impersonator_is_refused_and_audited(operator: Operator, door: Door):
    ca, secret = operator.broker / "tls" / "ca.pem", secret_of(operator, "A")
    with Party(door, ca, "A", secret) as device:
        assert device.say(topic("B")) == NOT_AUTHORISED
    with Party(door, ca, "A", secret) as device:
        device.listen(topic("B", "ack"), topic("A", "ack"))
    with Party(door, ca, "B", secret) as device:
        assert device.refused == NOT_AUTHORISED

    operator.types("broker", "watch", str(operator.broker), "--once")

    told = json.loads(operator.types("trail", "list", "--json"))
    attempts = [(row["action"], row["subject"], row["detail"]["what"]) for row in told if row["by"] == "broker"]
    assert attempts == [
        ("broker.publish_denied", "A", topic("B")),
        ("broker.subscribe_denied", "A", topic("B", "ack")),
        ("broker.login_refused", "127.0.0.1", f"CONNACK {NOT_AUTHORISED}"),
    ]
    assert operator.types("broker", "watch", str(operator.broker), "--once", "--json") == ""
    assert "unbroken" in operator.types("trail", "verify")


def test_a_new_secret_is_good_once_the_broker_is_told(operator: Operator, door: Door):
    ca, fresh = operator.broker / "tls" / "ca.pem", operator.folder / "fresh"
    operator.types("devices", "rotate", "A", "--write", str(fresh))
    operator.types("credentials", "revoke", "B")
    written = json.loads(operator.types("broker", "logins", str(operator.broker), "--reload", "--json"))
    assert (written["devices"], written["services"], written["reloaded"]) == (1, 2, True)

    def taken(login: str, secret: str) -> bool:
        with Party(door, ca, login, secret) as device:
            return device.connected and device.say(topic(login)) in TAKEN

    wait_until(lambda: taken("A", fresh.read_text().strip()))
    assert not taken("A", secret_of(operator, "A"))
    assert not taken("B", secret_of(operator, "B"))
    states = {row["login"]: row["state"] for row in json.loads(operator.types("credentials", "list", "--json"))}
    assert states == {"A": "valid", "B": "revoked", "gateway": "valid", "ingest": "valid"}


def test_secrets_are_in_their_file_and_nowhere_else(operator: Operator):
    said = operator.types("devices", "credentials", "A", "--write", str(operator.folder / "a"))
    secret = (operator.folder / "a").read_text().strip()
    assert (operator.folder / "a").stat().st_mode & 0o777 == 0o600
    assert len(secret) == 43
    said += operator.types("credentials", "list") + operator.types("trail", "list")
    assert secret not in said
    assert secret.encode() not in (operator.folder / "operations.sqlite").read_bytes()
    with pytest.raises(ChengmaiError, match="is there already"):
        operator.types("credentials", "rotate", "A", "--write", str(operator.folder / "a"))
    assert (operator.folder / "a").read_text().strip() == secret


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("broker", "config", "chengmai.toml"), "E_FILE"),
        (("broker", "config", "chengmai.toml/broker"), "E_FILE"),
        (("broker", "config", "broker", "--user", "nobody-here"), "nobody-here: no such user"),
    ],
)
def test_a_folder_or_user_that_cannot_be_is_named_in_one_line(
    operator: Operator, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(operator.folder)
    monkeypatch.setattr(os, "geteuid", lambda: 0)  # only root gives a folder away

    with pytest.raises(InputError) as refused:
        operator.types(*words)

    assert said in str(refused.value)


def test_a_secret_that_has_nowhere_to_be_written_is_not_made(operator: Operator):
    with pytest.raises(InputError, match="no such folder"):
        operator.types("devices", "credentials", "A", "--write", str(operator.folder / "none" / "secret"))

    assert json.loads(operator.types("credentials", "list", "--json")) == []


def test_the_services_certificate_is_good_for_the_url_that_the_readme_gives(operator: Operator):
    operator.types("broker", "config", str(operator.broker), "--name", "city.example.cn")

    server = x509.load_pem_x509_certificate((operator.broker / "tls" / "server.pem").read_bytes())
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["city.example.cn"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_a_station_keeps_the_password_that_it_came_with(operator: Operator):
    (operator.folder / "pw").write_text("123456\n")
    issue = ("credentials", "issue", "hj212/MN1", "--role", "station", "--device", "A")
    made = json.loads(operator.types(*issue, "--secret-file", str(operator.folder / "pw"), "--json"))
    assert made == [{"login": "hj212/MN1", "secret": "123456"}]


def test_a_certificate_is_issued_to_a_login_that_the_broker_takes(operator: Operator, door: Door):
    folder = operator.folder / "for-a"
    operator.types("broker", "certificate", str(operator.broker), "A", "--write", str(folder))
    assert (folder / "A.key").stat().st_mode & 0o777 == 0o600
    for login in ("nobody", "ingest"):
        with pytest.raises(ChengmaiError):
            operator.types("broker", "certificate", str(operator.broker), login, "--write", str(folder))


def test_a_password_ends_even_where_the_key_that_revokes_certificates_is_away(operator: Operator, door: Door):
    operator.types("broker", "certificate", str(operator.broker), "A", "--write", str(operator.folder / "for-a"))
    (operator.broker / "tls" / "ca.key").rename(operator.folder / "ca.key")
    operator.types("credentials", "revoke", "A")
    with Party(door, operator.broker / "tls" / "ca.pem", "A", secret_of(operator, "A")) as device:
        with pytest.raises(ChengmaiError, match=r"ca\.key"):
            operator.types("broker", "logins", str(operator.broker), "--reload")
        wait_until(lambda: device.lost)


def test_a_broken_trail_ends_with_status_1(operator: Operator):
    operator.types("credentials", "issue", "A")
    (operator.folder / "trail.anchor").unlink()
    assert "no anchor" in operator.types("trail", "verify", status=1)
