"""The MQTT client of the city: ingest, replay and the player of simulated devices speak to a broker through it.

MQTT 5 first, 3.1.1 where the broker speaks nothing newer. Deliveries are acknowledged by hand, after the commit. The
session outlives the connection (fixed client id), so that a broker that keeps sessions delivers again what was not
acknowledged. The inbox is bounded: when it is full the network thread waits, and the broker keeps the rest.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ingest.mqtt.address import Address
from ingest.mqtt.client import BufferedClient
from ingest.mqtt.inbox import Delivery, Inbox
from twin.errors import UnavailableError

logger = structlog.get_logger()

KEEP_ALIVE_S = 30
CONNECT_TIMEOUT_S = 5.0
BACK_OFF_S = (0.5, 30)
"""First and longest wait between two attempts; the first is drawn anew each time, so that clients do not return at
once after a broker's restart (they double it, so the jitter stays)."""

BRIEF_S, AFTER_BRIEF_S = 5.0, 10.0
"""After a connection that stood so briefly, or was refused, the first wait is twice the one before, up to this: two
clients under one id (a successor, and an owner that only seems dead) push each other out ever more slowly. Mosquitto
2.0 does not say that it is for another one that it closes a connection (MQTT 5, 4.13.1, reason 0x8E)."""

SESSION_EXPIRY_S = 7 * 24 * 3600
"""How long a broker keeps the session of a client that is away (MQTT 5, 3.1.2.11.2)."""


class Version(IntEnum):
    """Protocol versions, as the CONNECT packet names them."""

    MQTT_3_1_1 = 4
    MQTT_5 = 5


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for a client that goes without a word.

    `birth` is its counterpart: the client publishes it, retained, on the same topic whenever it has connected and
    hears what it asked to hear, and the will itself before it leaves.
    """

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True
    birth: bytes = b""


class Connection:
    """One MQTT client, kept connected by a thread of its own until `close`.

    `on_message` and `on_state` run on the network thread and must not raise. With `clean` the broker forgets the
    client when it goes (devices that resend by themselves); without it the session is kept. `window` bounds the
    QoS 1 deliveries that are not yet acknowledged (MQTT 5 Receive Maximum: paho's own setter has no say in it). With
    `quiet`, coming and going are logged for debugging only: one of hundreds of clients in a process is no news.
    `will` may be a function: it is asked for a fresh one before each attempt to connect.
    """

    def __init__(
        self,
        address: Address,
        client_id: str,
        *,
        subscribe: Sequence[str] = (),
        on_message: Callable[[Delivery], None] | None = None,
        on_state: Callable[[bool], None] | None = None,
        will: Will | Callable[[], Will] | None = None,
        clean: bool = False,
        manual_ack: bool = True,
        window: int = 2000,
        version: Version | None = None,
        quiet: bool = False,
    ) -> None:
        self.address = address
        self.client_id = client_id
        self._subscribe = frozenset(subscribe)
        self._on_message = on_message
        self._on_state = on_state
        self._new_will = (lambda: will) if isinstance(will, Will) else will
        self._will: Will | None = None
        self._clean = clean
        self._manual_ack = manual_ack
        self._window = window
        self._version = version
        self._quiet = quiet
        self._client: BufferedClient | None = None
        self._acking = threading.Lock()
        self._connections = 0
        self._connected = threading.Event()
        self._closing = threading.Event()
        self._published = threading.Condition()
        self._unacknowledged = 0
        self._refused = False
        self._born = False
        self._wait_s = _first_wait()
        self._since_s = 0.0
        self._starter: threading.Thread | None = None
        self._starting = threading.Lock()
        self._subscribing = threading.Lock()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the client and the connection stands."""
        return self._connected.is_set()

    @property
    def version(self) -> Version | None:
        """The protocol version, once it is known."""
        return self._version

    def start(self) -> Connection:
        """Begin to connect, and to stay connected; returns at once. InputError as of `Address.context`."""
        if self._version is not None:
            self._run(self._version)
        else:
            self.address.context()  # a certificate that cannot be used is told here, and not on a thread of its own
            self._starter = threading.Thread(target=self._negotiate, name=f"mqtt-{self.client_id}", daemon=True)
            self._starter.start()
        return self

    def wait(self, timeout_s: float) -> None:
        """Return once connected; UnavailableError when that takes longer than `timeout_s`."""
        if not self._connected.wait(timeout_s):
            raise UnavailableError(f"no answer within {timeout_s:g} s", where=str(self.address), expected="a broker")

    def subscribe(self, topics: Iterable[str]) -> None:
        """Hear these filters from now on, instead of those before."""
        wanted = frozenset(topics)
        with self._subscribing:
            fresh, gone, self._subscribe = wanted - self._subscribe, self._subscribe - wanted, wanted
            if self._client is not None and self.connected:
                if fresh:
                    self._client.subscribe([(topic, 1) for topic in sorted(fresh)])
                if gone:
                    self._client.unsubscribe(sorted(gone))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, wait_s: float | None = None) -> None:
        """Hand a QoS 1 message to the network thread; it is sent again after a reconnect until the broker has it.

        With `wait_s`, return once the broker has it. UnavailableError before the first connection, when 10,000
        messages wait already, and when the broker does not answer in that time (it may still get the message then).
        """
        client = self._client
        if client is None:
            raise UnavailableError("not connected yet", where=str(self.address))
        self._count(1)
        handed = client.publish(topic, payload, 1, retain)
        if handed.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._count(-1)
            raise UnavailableError("too many messages wait for the broker", where=str(self.address))
        if wait_s is not None:
            handed.wait_for_publish(wait_s)
            if not handed.is_published():
                raise UnavailableError(f"has not taken {topic} within {wait_s:g} s", where=str(self.address))

    def drain(self, timeout_s: float, left: int = 0) -> bool:
        """Wait until no more than `left` messages are unacknowledged; whether that came within `timeout_s`."""
        with self._published:
            return self._published.wait_for(lambda: self._unacknowledged <= left, timeout_s)

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge deliveries; those of an earlier connection are skipped, since they will come again."""
        client = self._client
        if client is None:
            return
        with self._acking:  # paho forgets before it connects anew what is handed to it under the old number
            client.acknowledge(one.mid for one in deliveries if one.qos and one.connection == self._connections)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, say good-bye (no will is published) and stop the thread."""
        with self._starting:  # who has not begun by now never does: it would push a successor out
            self._closing.set()
        if self._client is not None:
            if self.connected:
                self._say_death()
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
                with self._starting:
                    if not self._closing.is_set():
                        self._run(version)
                return

    def _run(self, version: Version) -> None:
        self._version = version
        client = _client(self.address, self.client_id, version, clean=self._clean, manual_ack=self._manual_ack)
        client.max_inflight_messages_set(1000)
        client.max_queued_messages_set(10_000)
        client.reconnect_delay_set(self._wait_s, BACK_OFF_S[1])  # type: ignore[arg-type]  # paho takes seconds
        client.on_pre_connect = self._before_connect
        client.on_connect = self._connect
        client.on_connect_fail = self._connect_failed
        client.on_subscribe = self._subscribed
        client.on_disconnect = self._disconnect
        client.deliver = self._message
        client.on_publish = self._publish_done
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

    def _before_connect(self, client: Client, _userdata: Any) -> None:
        self._refused = False
        if self._new_will is not None:
            self._will = will = self._new_will()
            client.will_set(will.topic, will.payload, will.qos, will.retain)

    def _connect(
        self, client: Client, _userdata: Any, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._refused = True
            logger.error("broker_refuses", broker=str(self.address), client=self.client_id, reason=str(reason))
            return
        with self._acking:
            self._connections += 1
        self._since_s = time.monotonic()
        self._born = False
        with self._subscribing:
            if self._subscribe:
                client.subscribe([(topic, 1) for topic in sorted(self._subscribe)])
            self._connected.set()
        if not self._subscribe:
            self._say_birth()
        version = self._version and self._version.name
        self._log(logger.info, "broker_connected", version=version, session=flags.session_present)
        if self._on_state:
            self._on_state(self.connected)

    def _connect_failed(self, _client: Client, _userdata: Any) -> None:
        error = sys.exc_info()[1]  # paho calls from within its `except`, and hands the error to nobody
        self._log(logger.warning, "broker_unavailable", error=str(error) if error else "")

    def _subscribed(
        self, _client: Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._log(logger.error, "subscription_refused", reason=refused[0], topics=sorted(self._subscribe))
        if not self._born:
            self._say_birth()

    def _disconnect(
        self, client: Client, _userdata: Any, _flags: DisconnectFlags, reason: ReasonCode, _properties: Any
    ) -> None:
        with self._acking:
            self._connections += 1  # already here: on the next connection a message id may be another message's
        steady = self._connected.is_set() and time.monotonic() - self._since_s >= BRIEF_S
        self._wait_s = _first_wait() if steady else min(2 * self._wait_s, AFTER_BRIEF_S)
        client.reconnect_delay_set(self._wait_s, BACK_OFF_S[1])  # type: ignore[arg-type]  # paho takes seconds
        if self._connected.is_set() and not self._closing.is_set():
            self._log(logger.warning, "broker_lost", reason=str(reason))
        elif not self._refused and not self._closing.is_set():
            self._log(logger.warning, "broker_unavailable", error=str(reason))
        self._connected.clear()
        if self._on_state:
            self._on_state(self.connected)

    def _log(self, log: Callable[..., object], event: str, **values: object) -> None:
        log = logger.debug if self._quiet else log
        log(event, broker=str(self.address), client=self.client_id, **values)

    def _say_birth(self) -> None:
        self._born = True
        if self._will is None or not self._will.birth:
            return
        try:
            self.publish(self._will.topic, self._will.birth, retain=True)
        except UnavailableError as error:
            self._log(logger.warning, "birth_not_sent", error=str(error))

    def _message(self, topic: str, payload: bytes, mid: int, qos: int, retain: bool) -> None:
        delivery = Delivery(topic, payload, mid, qos, retain, self._connections)
        will = self._will
        if will is not None and will.birth and topic == will.topic:
            self._hear_of_itself(will, delivery)
        elif self._on_message is not None:
            self._on_message(delivery)

    def _say_death(self) -> None:
        """Publish the will before the good-bye, after which the broker would not; who has no birth does it himself."""
        if self._will is not None and self._will.birth:
            try:
                self.publish(self._will.topic, self._will.payload, retain=self._will.retain)
            except UnavailableError as error:
                self._log(logger.warning, "death_not_sent", error=str(error))

    def _hear_of_itself(self, will: Will, delivery: Delivery) -> None:
        """Say that this client lives where the broker says the contrary: a predecessor's will may come late."""
        if delivery.payload != will.birth and not self._closing.is_set():
            self._say_birth()
        if self._manual_ack:
            self.ack([delivery])

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


def _client(address: Address, client_id: str, version: Version, *, clean: bool, manual_ack: bool) -> BufferedClient:
    old = version is Version.MQTT_3_1_1
    client = BufferedClient(
        CallbackAPIVersion.VERSION2,
        client_id,
        clean_session=clean if old else None,
        protocol=MQTTProtocolVersion(int(version)),
        manual_ack=manual_ack,
    )
    client.connect_timeout = CONNECT_TIMEOUT_S
    if address.username:
        client.username_pw_set(address.username, address.password or None)
    context = address.context()
    if context is not None:
        client.tls_set_context(context)
    return client


def _first_wait() -> float:
    return random.uniform(BACK_OFF_S[0], 3 * BACK_OFF_S[0])


__all__ = ["Address", "Connection", "Delivery", "Inbox", "Version", "Will", "negotiate"]
