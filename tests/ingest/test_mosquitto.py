"""The generated configuration on a real Mosquitto: who gets in, and who may say and hear what."""

from __future__ import annotations

import getpass
import json
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.certificates import TlsFolder
from ingest.mosquitto import Door, Plan, reload, set_up, write_logins
from ingest.mqtt import Address
from sensors.credentials import Credentials, Role
from sensors.device import DeviceId
from sensors.operations import connect
from sensors.registry import Registry
from twin.errors import InputError, UnavailableError

from .conftest import City, free_port, pressure_device, wait_until

NOT_AUTHORISED = 135  # MQTT 5, 2.4
TAKEN = {0, 16}  # taken; taken while nobody listens


@dataclass
class Party:
    """A client of its own; `heard` is what came to it, `answers` the reason codes of its publishes."""

    door: Door
    ca: Path
    login: str = ""
    password: str = ""
    certificate: tuple[str, str] | None = None
    client_id: str = ""
    will: str = ""
    keep: bool = False
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    answers: dict[int, int] = field(default_factory=dict)
    refused: int | None = None
    connected: bool = False
    lost: bool = False

    def __enter__(self) -> Self:
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            self.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,  # a connection that is lost is what is asked about
        )
        context = ssl.create_default_context(cafile=str(self.ca))
        if self.certificate:
            context.load_cert_chain(*self.certificate)
        self._client.tls_set_context(context)
        if self.login:
            self._client.username_pw_set(self.login, self.password)
        if self.will:
            self._client.will_set(self.will, b"gone", 1)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = lambda _client, _data, message: self.heard.append((message.topic, message.payload))
        self._client.on_publish = lambda _client, _data, mid, reason, _p: self.answers.update({mid: reason.value})
        properties = Properties(PacketTypes.CONNECT)
        properties.SessionExpiryInterval = 3600 if self.keep else 0
        try:
            self._client.connect(self.door.host, self.door.port, clean_start=not self.keep, properties=properties)
        except (OSError, ssl.SSLError):
            self.lost = True
            return self
        self._client.loop_start()
        wait_until(lambda: self.connected or self.refused is not None or self.lost)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refused = reason.value
        else:
            self.connected = True

    def _on_disconnect(self, *_: Any) -> None:
        self.lost = True

    def say(self, topic: str, payload: bytes = b"x", *, retain: bool = False) -> int:
        """Publish, and return the broker's reason code."""
        mid = self._client.publish(topic, payload, 1, retain).mid
        wait_until(lambda: mid in self.answers)
        return self.answers[mid]

    def listen(self, *filters: str) -> Party:
        done = threading.Event()
        self._client.on_subscribe = lambda *_: done.set()
        self._client.subscribe([(name, 1) for name in filters])
        assert done.wait(10)
        return self

    def die(self) -> None:
        self._client.socket().shutdown(socket.SHUT_RDWR)


class Broker:
    """A broker as `chengmai broker config` sets it up, for the devices A and B and a Sparkplug node N."""

    def __init__(self, folder: Path, **planned: Any) -> None:
        doors = [Door("127.0.0.1", free_port()) for _ in range(3)]
        self.plan = Plan(folder / "broker", getpass.getuser(), ["hewan"], doors[0], doors[1], doors[2], **planned)
        self.engine = connect(f"sqlite:///{folder / 'operations.sqlite'}")
        Registry(self.engine).put([pressure_device(name) for name in ("A", "B", "C")])
        self.logins = Credentials(self.engine)
        made = self.logins.issue_to_devices([DeviceId(name) for name in ("A", "B", "C")])
        self.secrets = {secret.login: secret.secret for secret in made}
        self.secrets["N"] = self.logins.issue("N", Role.NODE).secret
        self.secrets["telecom"] = self.logins.issue("telecom", Role.PLATFORM, scope="*").secret
        set_up(self.plan, ["127.0.0.1", "localhost"], self.logins)
        for login in ("ingest", "gateway"):
            self.secrets[login] = (self.plan.folder / "secrets" / login).read_text().strip()
        self.tls = TlsFolder(self.plan.folder / "tls")
        self.start()

    def start(self) -> None:
        program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") or ""
        self.process = subprocess.Popen([program, "-c", str(self.plan.configuration)], stderr=subprocess.DEVNULL)
        wait_until(lambda: listens(self.plan.devices) and listens(self.plan.services))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def device(self, login: str, **more: Any) -> Party:
        return Party(self.plan.devices, self.ca, login, self.secrets[login], **more)

    def service(self, login: str, **more: Any) -> Party:
        return Party(self.plan.services, self.ca, login, self.secrets[login], **more)

    def holder(self, certificate: tuple[str, str] | None, **more: Any) -> Party:
        assert self.plan.certificates is not None
        return Party(self.plan.certificates, self.ca, certificate=certificate, **more)

    def certificate(self, folder: Path, login: str) -> tuple[str, str]:
        pem, key = folder / f"{login}.pem", folder / f"{login}.key"
        for path, content in zip((pem, key), self.tls.issue(login, self.logins.clock.now()), strict=True):
            path.write_bytes(content)
        return str(pem), str(key)

    @property
    def ca(self) -> Path:
        return self.plan.folder / "tls" / "ca.pem"


def listens(door: Door) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((door.host, door.port)) == 0


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


def said(party: Callable[[], Party], topics: Iterable[str]) -> dict[str, int]:
    """Publish to each of `topics`, on a connection of its own: Mosquitto 2.0.11 ends one after a denial (MQTT 5)."""
    codes: dict[str, int] = {}
    for name in topics:
        with party() as one:
            codes[name] = one.say(name)
    return codes


def topic(device: str, channel: str = "data") -> str:
    return f"cim/v1/hewan/water/{device}/{channel}"


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
        with own_broker.device("A") as first, own_broker.device("B") as second:
            return first.connected and not second.connected

    wait_until(only_the_first)  # the broker may yet count those who asked whether it listens


def test_nobody_else_can_read_what_is_secret(broker: Broker):
    for path in broker.plan.folder.rglob("*"):
        if path.suffix in {".key", ".passwd"} or path.parent.name == "secrets":
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_of_no_broker_is_refused(tmp_path: Path, broker: Broker):
    with pytest.raises(InputError):
        write_logins(tmp_path, broker.logins)
    with pytest.raises(UnavailableError):
        reload(tmp_path)


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
