"""The generated configuration on a real Mosquitto: who gets in, and who may say and hear what."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.broker.certificates import TlsFolder
from ingest.broker.mosquitto import Door, reload, set_up, write_logins
from ingest.mqtt.connection import Address
from twin.errors import InputError, UnavailableError

from .conftest import City, wait_until
from .secured_broker import NOT_AUTHORISED, TAKEN, Broker, Party, said, topic


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    yield from _running(tmp_path_factory.mktemp("city"))


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    yield from _running(tmp_path)


def _running(folder: Path) -> Iterator[Broker]:
    if not shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin"):
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    broker = Broker(folder)
    yield broker
    broker.stop()
    broker.engine.dispose()


def test_a_device_speaks_under_its_own_name_only(broker: Broker):
    own = ("data", "data/senml", "status", "cmd/ans")
    assert set(said(lambda: broker.device("A"), (topic("A", channel) for channel in own)).values()) <= TAKEN
    others = [
        *(topic("B", channel) for channel in own),
        *(topic("A", channel) for channel in ("ack", "cmd", "data/hj212", "data/x")),
        "cim/v2/hewan/water/A/data",
        "cim/v1/hewan/water/A",
        "cim/v1/hewan/water/x/A/data",
        "cim/v1/elsewhere/water/A/data",
        "cim/v1/hewan/anything/A/data",
        "spBv1.0/g/NDATA/B",
        "spBv1.0/STATE/city",
        "sim/v1/hewan/clock",
        "$SYS/broker/uptime",
    ]
    assert said(lambda: broker.device("A"), others) == dict.fromkeys(others, NOT_AUTHORISED)


def test_what_is_denied_reaches_nobody(broker: Broker):
    with broker.service("ingest") as ingest:
        ingest.listen("cim/v1/#")
        with broker.device("A") as device:
            device.say(topic("B"), b"forged")
        with broker.device("A") as device:
            device.say(topic("A"), b"own")
        wait_until(lambda: ingest.heard)
        assert ingest.heard == [(topic("A"), b"own")]


def test_a_device_hears_under_its_own_name_only(broker: Broker):
    with broker.device("A") as device, broker.service("ingest") as ingest, broker.device("B") as other:
        device.listen("#", "cim/v1/+/+/+/ack", topic("B", "ack"), topic("B", "cmd"), "$share/g/cim/v1/#", "$SYS/#")
        ingest.say(topic("B", "ack"), b"for B")
        ingest.say(topic("B", "cmd"), b"for B")
        other.say(topic("B"), b"of B")
        ingest.say(topic("A", "cmd"), b"for A")
        wait_until(lambda: device.heard)
        assert set(device.heard) == {(topic("A", "cmd"), b"for A")}


def test_a_will_in_anothers_name_is_not_published(broker: Broker):
    with broker.service("ingest") as ingest:
        ingest.listen("cim/v1/#")
        for name in ("B", "A"):
            with broker.device("A", will=topic(name, "status")) as device:
                if device.connected:
                    device.die()
        wait_until(lambda: ingest.heard)
        assert ingest.heard == [(topic("A", "status"), b"gone")]


def test_a_device_cannot_end_anothers_session(broker: Broker):
    with broker.device("A") as device, broker.device("B", client_id="A") as other:
        assert other.connected
        assert device.say(topic("A")) in TAKEN
        assert not device.lost


def test_a_sparkplug_node_speaks_for_its_own_node(broker: Broker):
    own = ("spBv1.0/g/NBIRTH/N", "spBv1.0/g/NDATA/N", "spBv1.0/g/DBIRTH/N/d", "spBv1.0/g/DDATA/N/d")
    assert set(said(lambda: broker.device("N"), own).values()) <= TAKEN
    forged = ("spBv1.0/g/NDATA/A", "spBv1.0/g/DDATA/A/d", "spBv1.0/g/NCMD/N", "spBv1.0/STATE/city")
    assert said(lambda: broker.device("N"), forged) == dict.fromkeys(forged, NOT_AUTHORISED)
    with broker.device("N") as node, broker.service("ingest") as ingest:
        node.listen("spBv1.0/#")
        for name in ("spBv1.0/g/NCMD/A", "spBv1.0/g/NCMD/N", "spBv1.0/STATE/city"):
            assert ingest.say(name) in TAKEN
        wait_until(lambda: len(node.heard) >= 2)
        assert [name for name, _ in node.heard] == ["spBv1.0/g/NCMD/N", "spBv1.0/STATE/city"]


def test_services_do_what_they_are_for_and_no_more(broker: Broker):
    assert said(lambda: broker.service("ingest"), [topic("A")]) == {topic("A"): NOT_AUTHORISED}
    own = [topic("A", channel) for channel in ("data", "data/senml", "data/hj212")]
    assert set(said(lambda: broker.service("gateway"), own).values()) <= TAKEN
    others = [topic("A", channel) for channel in ("ack", "cmd", "status")]
    assert said(lambda: broker.service("gateway"), others) == dict.fromkeys(others, NOT_AUTHORISED)
    with broker.service("ingest") as ingest, broker.service("gateway") as gateway:
        gateway.listen("cim/v1/+/+/+/ack", "cim/v1/+/+/+/cmd")
        ingest.say(topic("A", "cmd"), b"not for it")
        ingest.say(topic("A", "ack"), b"receipt")
        wait_until(lambda: gateway.heard)
        assert gateway.heard == [(topic("A", "ack"), b"receipt")]


@pytest.mark.parametrize(
    ("door", "login", "password"),
    [
        ("devices", "", ""),
        ("services", "", ""),
        ("devices", "A", "wrong"),
        ("devices", "A", ""),
        ("devices", "nobody", "x"),
        ("devices", "ingest", "its own"),
        ("services", "A", "its own"),
        ("devices", "telecom", "its own"),
        ("services", "telecom", "its own"),
    ],
)
def test_who_does_not_belong_at_a_door_stays_outside(broker: Broker, door: str, login: str, password: str):
    secret = broker.secrets[login] if password == "its own" else password
    with Party(getattr(broker.plan, door), broker.ca, login, secret) as party:
        assert party.refused == NOT_AUTHORISED
        assert not party.connected


@pytest.mark.parametrize("door", ["devices", "services"])
@pytest.mark.parametrize(
    ("version", "taken"),
    [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)],
)
def test_tls_older_than_1_2_is_refused(broker: Broker, door: str, version: ssl.TLSVersion, *, taken: bool):
    context = ssl.create_default_context(cafile=str(broker.ca))
    context.set_ciphers("ALL:@SECLEVEL=0")  # this side would take TLS 1.1, so that it is the broker that refuses
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = version
        context.maximum_version = version
    at: Door = getattr(broker.plan, door)

    def shake() -> str | None:
        with (
            socket.create_connection((at.host, at.port), 10) as plain,
            context.wrap_socket(plain, server_hostname=at.host) as tls,
        ):
            return tls.version()

    if taken:
        assert shake() == version.name.replace("_", ".")
    else:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
            shake()


def test_without_tls_nobody_is_heard(broker: Broker):
    with socket.create_connection((broker.plan.devices.host, broker.plan.devices.port), 10) as plain:
        plain.sendall(b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01A")
        plain.settimeout(10)
        try:
            answer = plain.recv(100)
        except ConnectionResetError:
            answer = b""
        assert not answer.startswith(b"\x20")  # no CONNACK: a TLS alert, or the end


def test_a_server_that_another_authority_signed_is_not_believed(broker: Broker, tmp_path: Path):
    other = TlsFolder(tmp_path)
    other.prepare(["127.0.0.1"], broker.logins.clock.now())
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    with (
        socket.create_connection(("127.0.0.1", broker.plan.devices.port), 10) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_certificate_is_a_login(broker: Broker, tmp_path: Path):
    mine = broker.certificate(tmp_path, "A")
    with broker.holder(mine) as device:
        assert device.say(topic("A")) in TAKEN
        assert device.say(topic("B")) == NOT_AUTHORISED
    with broker.holder(None) as nobody:
        assert not nobody.connected
    foreign = TlsFolder(tmp_path)
    foreign.prepare(["x"], broker.logins.clock.now())
    forged = tmp_path / "forged.pem", tmp_path / "forged.key"
    for path, content in zip(forged, foreign.issue("A", broker.logins.clock.now()), strict=True):
        path.write_bytes(content)
    with broker.holder((str(forged[0]), str(forged[1]))) as forger:
        assert not forger.connected


def test_a_login_that_is_rotated_or_revoked_ends_at_once(own_broker: Broker):
    with own_broker.device("A") as rotated, own_broker.device("B") as revoked, own_broker.device("C") as untouched:
        old = own_broker.secrets["A"]
        own_broker.secrets["A"] = own_broker.logins.rotate("A").secret
        own_broker.logins.revoke("B")
        write_logins(own_broker.plan.folder, own_broker.logins)
        reload(own_broker.plan.folder)
        wait_until(lambda: rotated.lost and revoked.lost)
        assert untouched.say(topic("C")) in TAKEN
        assert not untouched.lost
    with own_broker.device("A") as device:
        assert device.connected
    for login, secret in (("A", old), ("B", own_broker.secrets["B"])):
        with Party(own_broker.plan.devices, own_broker.ca, login, secret) as party:
            assert party.refused == NOT_AUTHORISED


def test_a_certificate_is_revoked_with_its_login_or_by_its_replacement(own_broker: Broker, tmp_path: Path):
    certificates = {login: own_broker.certificate(tmp_path, login) for login in ("A", "B", "C")}
    own_broker.logins.revoke("A")
    own_broker.tls.issue("B", own_broker.logins.clock.now(), replace=True)
    assert write_logins(own_broker.plan.folder, own_broker.logins).revoked == 2
    reload(own_broker.plan.folder)

    def taken(login: str) -> bool:
        with own_broker.holder(certificates[login]) as holder:
            return holder.connected

    wait_until(lambda: not taken("A"))
    assert not taken("B")
    assert taken("C")


def test_what_came_in_survives_a_kill(own_broker: Broker):
    with own_broker.service("ingest", client_id="ingest-hewan", keep=True) as ingest:
        ingest.listen("cim/v1/#")
    with own_broker.device("A") as device:
        assert device.say(topic("A"), b"kept") == 0
        assert device.say(topic("A", "status"), b"birth", retain=True) == 0
    saved = own_broker.plan.folder / "data" / "mosquitto.db"
    wait_until(lambda: saved.is_file() and b"kept" in saved.read_bytes() and b"birth" in saved.read_bytes())
    own_broker.process.send_signal(signal.SIGKILL)
    own_broker.process.wait(10)
    own_broker.start()
    with own_broker.service("ingest", client_id="ingest-hewan", keep=True) as ingest:
        wait_until(lambda: len(ingest.heard) >= 2)
        assert ingest.heard[:2] == [(topic("A"), b"kept"), (topic("A", "status"), b"birth")]


def test_a_broker_set_up_again_keeps_its_certificates_and_passwords(own_broker: Broker):
    folder = own_broker.plan.folder
    before = [(folder / name).read_bytes() for name in ("tls/ca.pem", "tls/server.pem", "secrets/ingest")]
    again = set_up(replace(own_broker.plan, save_s=0), ["127.0.0.1"], own_broker.logins)
    assert (list(again.made), list(again.issued)) == ([], [])
    assert [(folder / name).read_bytes() for name in ("tls/ca.pem", "tls/server.pem", "secrets/ingest")] == before
    assert "autosave_on_changes true" in own_broker.plan.configuration.read_text()


def test_a_door_lets_in_as_many_as_it_is_told(own_broker: Broker):
    own_broker.stop()
    own_broker.plan = replace(own_broker.plan, devices=replace(own_broker.plan.devices, most=1))
    set_up(own_broker.plan, ["127.0.0.1"], own_broker.logins)
    own_broker.start()

    def only_the_first() -> bool:
        with own_broker.device("A") as first:
            return first.connected and _turned_away(own_broker.plan.devices)

    wait_until(only_the_first)  # the broker may yet count those who asked whether it listens


def _turned_away(door: Door) -> bool:
    """Return whether a connection is ended by the broker before a word is said."""
    with socket.create_connection((door.host, door.port), 10) as plain:
        plain.settimeout(2)
        try:
            return not plain.recv(1)
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


def test_nobody_else_can_read_what_is_secret(broker: Broker):
    for path in broker.plan.folder.rglob("*"):
        if path.suffix in {".key", ".passwd"} or path.parent.name == "secrets":
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_of_no_broker_is_refused(tmp_path: Path, broker: Broker):
    with pytest.raises(InputError):
        write_logins(tmp_path, broker.logins)
    with pytest.raises(UnavailableError):
        reload(tmp_path)


def test_a_process_that_took_over_a_dead_brokers_number_is_left_alone(tmp_path: Path):
    with subprocess.Popen(["sleep", "60"]) as other:
        (tmp_path / "mosquitto.pid").write_text(f"{other.pid}\n")
        try:
            with pytest.raises(UnavailableError, match="another program"):
                reload(tmp_path)
            assert other.poll() is None
        finally:
            other.kill()


def test_readings_come_in_and_are_receipted_behind_the_generated_configuration(broker: Broker, tmp_path: Path):
    services = broker.plan.services
    password = broker.secrets["ingest"]
    address = Address(services.host, services.port, tls=True, username="ingest", password=password, ca=broker.ca)
    city = City(tmp_path, address)
    try:
        city.register("A", "B")
        with city.worker(), broker.device("A") as device:
            device.listen(topic("A", "ack"))
            reading = {"v": 1, "boot": 1, "seq": 1, "m": {"pressure": {"v": 0.31, "u": "MPa"}}}
            assert device.say(topic("A"), json.dumps(reading).encode()) == 0
            wait_until(lambda: device.heard)
            assert json.loads(device.heard[0][1])["ok"] == [[1, 1]]
        city.settled(1)
    finally:
        city.close()
    _, came, then = broker.plan.log.read_text("utf-8", "replace").partition(f"as chengmai-ingest-{city.district}")
    assert came
    assert "Denied" not in then
