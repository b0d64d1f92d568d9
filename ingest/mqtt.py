"""The MQTT client of the city: ingest, replay and the player of simulated devices speak to a broker through it.

MQTT 5 first, 3.1.1 where the broker speaks nothing newer. Deliveries are acknowledged by hand, after the commit. The
session outlives the connection (fixed client id), so that a broker that keeps sessions delivers again what was not
acknowledged. The inbox is bounded: when it is full the network thread waits, and the broker keeps the rest.
"""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from twin.errors import InputError, UnavailableError

logger = structlog.get_logger()

KEEP_ALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
BACK_OFF_S = (0.5, 30)
"""First and longest wait between two attempts; the first is drawn anew each time, so that clients do not return at
once after a broker's restart (they double it, so the jitter stays)."""

SESSION_EXPIRY_S = 7 * 24 * 3600
"""How long a broker keeps the session of a client that is away (MQTT 5, 3.1.2.11.2)."""


class Version(IntEnum):
    """Protocol versions, as the CONNECT packet names them."""

    MQTT_3_1_1 = 4
    MQTT_5 = 5


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker listens, and the login there (no secret ever stands in the URL)."""

    host: str
    port: int
    tls: bool = False
    username: str = ""
    password: str = field(default="", repr=False)

    @staticmethod
    def parse(url: str, username: str = "", password: str = "") -> Address:
        """Return the address of ``mqtt://host[:port]`` or ``mqtts://host[:port]`` (InputError).

        >>> Address.parse("mqtts://broker.example").port
        8883
        """
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname or port == -1 or parts.username:
            raise InputError("is not the address of a broker", where=url, expected="mqtt://host:port or mqtts://…")
        tls = parts.scheme == "mqtts"
        return Address(parts.hostname, port or (8883 if tls else 1883), tls, username, password)

    def __str__(self) -> str:
        return f"mqtt{'s' if self.tls else ''}://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for a client that goes without a word."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


class Delivery(NamedTuple):
    """A message as it came; `connection` counts connections, because message ids mean nothing on another one."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    retain: bool
    connection: int


class Inbox:
    """A bounded queue of deliveries between the network thread and the worker."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, delivery: Delivery) -> None:
        """Add a delivery; wait while the inbox is full, drop it (unacknowledged) once it is closed."""
        with self._changed:
            while len(self._waiting) >= self._limit and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            self._waiting.append(delivery)
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def take(self, limit: int, wait_s: float, linger_s: float = 0.0) -> list[Delivery]:
        """Return up to `limit` deliveries, oldest first: wait `wait_s` for the first, then `linger_s` for more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, wait_s)
            if not self._waiting:
                return []
        until = time.monotonic() + linger_s
        while len(self._waiting) < limit and not self._closed and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.002))
        with self._changed:
            count = min(limit, len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(count)]
            self._changed.notify_all()
        return taken

    def close(self) -> None:
        """Let the network thread go; what comes now stays with the broker."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Connection:
    """One MQTT client, kept connected by a thread of its own until `close`.

    `on_message` and `on_state` run on the network thread and must not raise. With `clean` the broker forgets the
    client when it goes (devices that resend by themselves); without it the session is kept. `window` bounds the
    QoS 1 deliveries that are not yet acknowledged (MQTT 5 Receive Maximum: paho's own setter has no say in it). With
    `quiet`, coming and going are logged for debugging only: one of hundreds of clients in a process is no news.
    """

    def __init__(
        self,
        address: Address,
        client_id: str,
        *,
        subscribe: Sequence[str] = (),
        on_message: Callable[[Delivery], None] | None = None,
        on_state: Callable[[bool], None] | None = None,
        will: Will | None = None,
        clean: bool = False,
        manual_ack: bool = True,
        window: int = 2000,
        version: Version | None = None,
        quiet: bool = False,
    ) -> None:
        self.address = address
        self.client_id = client_id
        self._subscribe = tuple(subscribe)
        self._on_message = on_message
        self._on_state = on_state
        self._will = will
        self._clean = clean
        self._manual_ack = manual_ack
        self._window = window
        self._version = version
        self._quiet = quiet
        self._client: Client | None = None
        self._connections = 0
        self._connected = threading.Event()
        self._closing = threading.Event()
        self._published = threading.Condition()
        self._unacknowledged = 0
        self._starter: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the client and the connection stands."""
        return self._connected.is_set()

    @property
    def version(self) -> Version | None:
        """The protocol version, once it is known."""
        return self._version

    def start(self) -> Connection:
        """Begin to connect, and to stay connected; returns at once."""
        if self._version is not None:
            self._run(self._version)
        else:
            self._starter = threading.Thread(target=self._negotiate, name=f"mqtt-{self.client_id}", daemon=True)
            self._starter.start()
        return self

    def wait(self, timeout_s: float) -> None:
        """Return once connected; UnavailableError when that takes longer than `timeout_s`."""
        if not self._connected.wait(timeout_s):
            raise UnavailableError(f"no answer within {timeout_s:g} s", where=str(self.address), expected="a broker")

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Hand a QoS 1 message to the network thread; it is sent again after a reconnect until the broker has it.

        UnavailableError before the first connection, and when 10,000 messages wait already.
        """
        client = self._client
        if client is None:
            raise UnavailableError("not connected yet", where=str(self.address))
        self._count(1)
        if client.publish(topic, payload, 1, retain).rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._count(-1)
            raise UnavailableError("too many messages wait for the broker", where=str(self.address))

    def drain(self, timeout_s: float, left: int = 0) -> bool:
        """Wait until no more than `left` messages are unacknowledged; whether that came within `timeout_s`."""
        with self._published:
            return self._published.wait_for(lambda: self._unacknowledged <= left, timeout_s)

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge deliveries; those of an earlier connection are skipped, since they will come again."""
        client, current = self._client, self._connections
        if client is None:
            return
        for delivery in deliveries:
            if delivery.qos and delivery.connection == current:
                client.ack(delivery.mid, delivery.qos)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, say good-bye (no will is published) and stop the thread."""
        self._closing.set()
        if self._starter is not None:
            self._starter.join(timeout_s)
        if self._client is not None:
            if self.connected:
                self.drain(timeout_s)
            self._client.disconnect()
            self._client.loop_stop()
        self._connected.clear()

    def _negotiate(self) -> None:
        wait_s = _first_wait()
        while not self._closing.is_set():
            try:
                version = negotiate(self.address, CONNECT_TIMEOUT_S)
            except UnavailableError as error:
                logger.warning("broker_unavailable", error=str(error), retry_s=round(wait_s, 1))
                self._closing.wait(wait_s)
                wait_s = min(2 * wait_s, BACK_OFF_S[1])
            else:
                self._run(version)
                return

    def _run(self, version: Version) -> None:
        self._version = version
        client = _client(self.address, self.client_id, version, clean=self._clean, manual_ack=self._manual_ack)
        client.max_inflight_messages_set(1000)
        client.max_queued_messages_set(10_000)
        client.reconnect_delay_set(_first_wait(), BACK_OFF_S[1])  # type: ignore[arg-type]  # paho takes seconds
        client.on_connect = self._connect
        client.on_disconnect = self._disconnect
        client.on_message = self._message
        client.on_publish = self._publish_done
        if self._will:
            client.will_set(self._will.topic, self._will.payload, self._will.qos, self._will.retain)
        if version is Version.MQTT_5:
            properties = Properties(PacketTypes.CONNECT)
            properties.ReceiveMaximum = self._window
            properties.SessionExpiryInterval = 0 if self._clean else SESSION_EXPIRY_S
            client.connect_async(
                self.address.host, self.address.port, KEEP_ALIVE_S, clean_start=self._clean, properties=properties
            )
        else:
            client.connect_async(self.address.host, self.address.port, KEEP_ALIVE_S)
        self._client = client
        client.loop_start()

    def _connect(
        self, client: Client, _userdata: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            logger.error("broker_refuses", broker=str(self.address), client=self.client_id, reason=str(reason))
            return
        self._connections += 1
        if self._subscribe:
            client.subscribe([(topic, 1) for topic in self._subscribe])
        (logger.debug if self._quiet else logger.info)(
            "broker_connected",
            broker=str(self.address),
            client=self.client_id,
            version=self._version and self._version.name,
            session=flags.session_present,
        )
        self._connected.set()
        if self._on_state:
            self._on_state(self.connected)

    def _disconnect(
        self, client: Client, _userdata: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        client.reconnect_delay_set(_first_wait(), BACK_OFF_S[1])  # type: ignore[arg-type]  # paho takes seconds
        if self._connected.is_set() and not self._closing.is_set():
            log = logger.debug if self._quiet else logger.warning
            log("broker_lost", broker=str(self.address), client=self.client_id, reason=str(reason))
        self._connected.clear()
        if self._on_state:
            self._on_state(self.connected)

    def _message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        if self._on_message is None:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # MQTT forbids it (1.5.4); what cannot be named is refused as E_TOPIC
        self._on_message(
            Delivery(topic, bytes(message.payload), message.mid, message.qos, message.retain, self._connections)
        )

    def _publish_done(
        self, _client: Client, _userdata: Any, _mid: int, _reason: ReasonCode, _properties: Properties
    ) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        # Counted, not listed: paho calls back with its own lock held, so none of ours may be held while publishing.
        with self._published:
            self._unacknowledged += change
            self._published.notify_all()


def negotiate(address: Address, timeout_s: float) -> Version:
    """Return the newest protocol version that the broker speaks; UnavailableError when nobody answers in time."""
    client = _client(address, f"probe-{random.randrange(2**48):012x}", Version.MQTT_5, clean=True, manual_ack=False)
    answer: list[ReasonCode] = []

    def connected(_client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _properties: Any) -> None:
        answer.append(reason)

    client.on_connect = connected
    until = time.monotonic() + timeout_s
    lost = False
    try:
        client.connect(address.host, address.port, KEEP_ALIVE_S, clean_start=True)
        while not answer and not lost and time.monotonic() < until:
            lost = client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS
        client.disconnect()
    except (OSError, UnicodeError) as error:  # a host name that no name service can be asked for is the latter
        raise UnavailableError(str(error), where=str(address), expected="a broker") from None
    if answer:
        unsupported = answer[0].is_failure and answer[0].value in {1, 132}
        return Version.MQTT_3_1_1 if unsupported else Version.MQTT_5
    if lost:  # older brokers close the connection at a version that they do not know
        return Version.MQTT_3_1_1
    raise UnavailableError(f"no answer within {timeout_s:g} s", where=str(address), expected="a broker")


def _client(address: Address, client_id: str, version: Version, *, clean: bool, manual_ack: bool) -> Client:
    old = version is Version.MQTT_3_1_1
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id,
        clean_session=clean if old else None,
        protocol=MQTTProtocolVersion(int(version)),
        manual_ack=manual_ack,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    if address.username:
        client.username_pw_set(address.username, address.password or None)
    if address.tls:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        client.tls_set_context(context)
    return client


def _first_wait() -> float:
    return random.uniform(BACK_OFF_S[0], 3 * BACK_OFF_S[0])


__all__ = ["Address", "Connection", "Delivery", "Inbox", "Version", "Will", "negotiate"]
