"""A broker as `chengmai broker config` sets it up, and parties who try what they may and may not."""

from __future__ import annotations

import getpass
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from ingest.broker.certificates import TlsFolder
from ingest.broker.mosquitto import Door, Plan, set_up
from sensors.credentials import Credentials, Role
from sensors.device import DeviceId
from sensors.operations import connect
from sensors.registry import Registry

from .conftest import free_port, pressure_device, wait_until

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
        stop(self.process)

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


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask Mosquitto to stop, again and again: it forgets a signal that comes while it starts."""

    def gone() -> bool:
        process.terminate()
        return process.poll() is not None

    wait_until(gone)


def listens(door: Door) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((door.host, door.port)) == 0


def said(party: Callable[[], Party], topics: Iterable[str]) -> dict[str, int]:
    """Publish to each of `topics`, on a connection of its own: Mosquitto 2.0.11 ends one after a denial (MQTT 5)."""
    codes: dict[str, int] = {}
    for name in topics:
        with party() as one:
            codes[name] = one.say(name)
    return codes


def topic(device: str, channel: str = "data") -> str:
    return f"cim/v1/hewan/water/{device}/{channel}"
