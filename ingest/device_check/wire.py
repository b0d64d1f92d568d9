"""MQTT control packets as they are on the wire, as far as one has to look into them to see what a device does.

Written from the OASIS standards MQTT 3.1.1 and MQTT 5.0; section numbers are those of 5.0. Passwords are read over and
never kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from twin.errors import RefusedError

MAX_PACKET = 1 << 20
"""Bytes of a packet that are looked into; the contract's largest message is 64 KiB."""

MQTT_5 = 5


class Kind(IntEnum):
    """Types of control packets (2.1.2) that say something about a device."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    PINGREQ = 12
    DISCONNECT = 14
    OTHER = 0


@dataclass(frozen=True, slots=True)
class Connect:
    """A CONNECT packet (3.1); `will_topic` is empty where it carries no will."""

    level: int
    keep_alive_s: int
    client_id: str
    username: str
    will_topic: str
    will_payload: bytes
    will_qos: int
    will_retain: bool


@dataclass(frozen=True, slots=True)
class Publish:
    """A PUBLISH packet (3.3)."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool


class Packets:
    """Cuts one direction of a connection into packets: ``(first byte, body)``."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the packets that `data` completes; RefusedError for what is no MQTT, or longer than `MAX_PACKET`."""
        self._waiting += data
        found: list[tuple[int, bytes]] = []
        while (head := _header(self._waiting)) is not None:
            start, length = head
            if len(self._waiting) < start + length:
                break
            found.append((self._waiting[0], bytes(self._waiting[start : start + length])))
            del self._waiting[: start + length]
        return found


class _Fields:
    """Reads the fields of a packet one after the other (1.5)."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def take(self, length: int) -> bytes:
        if self._at + length > len(self._body):
            raise RefusedError("a packet ends before its fields do", expected="MQTT (1.5)", code="E_FRAME")
        taken = self._body[self._at : self._at + length]
        self._at += length
        return taken

    def number(self, length: int) -> int:
        return int.from_bytes(self.take(length))

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def text(self) -> str:
        try:
            return self.binary().decode()
        except UnicodeDecodeError:
            raise RefusedError("a text is not UTF-8", expected="MQTT (1.5.4)", code="E_UTF8") from None

    def varying(self) -> int:
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 21:
                raise RefusedError("a length takes more than four bytes", expected="MQTT (1.5.5)", code="E_FRAME")

    def properties(self) -> bytes:
        return self.take(self.varying())

    @property
    def left(self) -> bool:
        return self._at < len(self._body)

    def rest(self) -> bytes:
        return self.take(len(self._body) - self._at)


def kind_of(first: int) -> Kind:
    """Return the type that the first byte of a packet names."""
    number = first >> 4
    return Kind(number) if number in set(Kind) else Kind.OTHER


def connect_of(body: bytes) -> Connect:
    """Return the CONNECT packet (3.1) in `body`; RefusedError for one that is none."""
    fields = _Fields(body)
    if fields.text() != "MQTT":
        raise RefusedError("a connection of an unknown protocol", expected="MQTT 3.1.1 or 5", code="E_FRAME")
    level, flags, keep_alive_s = fields.number(1), fields.number(1), fields.number(2)
    if level == MQTT_5:
        fields.properties()
    client_id = fields.text()
    will_topic, will_payload = "", b""
    if flags & 0x04:
        if level == MQTT_5:
            fields.properties()
        will_topic, will_payload = fields.text(), fields.binary()
    username = fields.text() if flags & 0x80 else ""
    return Connect(
        level, keep_alive_s, client_id, username, will_topic, will_payload, flags >> 3 & 3, bool(flags & 0x20)
    )


def publish_of(first: int, body: bytes, level: int, aliases: dict[int, str]) -> Publish:
    """Return the PUBLISH packet (3.3) in `body`; `aliases` are the connection's topic aliases so far, kept up to date.

    RefusedError for one that is none.
    """
    fields = _Fields(body)
    topic, qos = fields.text(), first >> 1 & 3
    if qos:
        fields.take(2)
    if level == MQTT_5:
        alias = _topic_alias(fields.properties())
        if alias is not None and topic:
            aliases[alias] = topic
        elif alias is not None:
            topic = aliases.get(alias, "")
    return Publish(topic, fields.rest(), qos, bool(first & 1), bool(first & 8))


def reason_of(body: bytes) -> int:
    """Return the reason code of the CONNACK packet (3.2) in `body`, 0 for a connection that is accepted."""
    fields = _Fields(body)
    fields.take(1)
    return fields.number(1)


def subscribe_of(body: bytes, level: int) -> list[str]:
    """Return the topic filters of the SUBSCRIBE packet (3.8) in `body`; RefusedError for one that is none."""
    fields = _Fields(body)
    fields.take(2)
    if level == MQTT_5:
        fields.properties()
    filters: list[str] = []
    while fields.left:
        filters.append(fields.text())
        fields.take(1)
    return filters


def _header(waiting: bytearray) -> tuple[int, int] | None:
    """Return where the body of the first packet starts and how long it is (2.1), None until that is known."""
    length = 0
    for place in range(1, 5):
        if len(waiting) <= place:
            return None
        length |= (waiting[place] & 0x7F) << 7 * (place - 1)
        if waiting[place] < 0x80:
            if length > MAX_PACKET:
                raise RefusedError(f"a packet of {length} bytes", expected=f"at most {MAX_PACKET}", code="E_SIZE")
            return place + 1, length
    raise RefusedError("a length takes more than four bytes", expected="MQTT (2.1.4)", code="E_FRAME")


_FIXED: Mapping[int, int] = {0x01: 1, 0x02: 4, 0x23: 2}
_TOPIC_ALIAS = 0x23


def _topic_alias(properties: bytes) -> int | None:
    """Return the topic alias among the properties of a PUBLISH (3.3.2.3), None without one."""
    fields = _Fields(properties)
    while fields.left:
        name = fields.varying()
        if name == _TOPIC_ALIAS:
            return fields.number(2)
        if name in _FIXED:
            fields.take(_FIXED[name])
        elif name == 0x0B:  # subscription identifier
            fields.varying()
        else:
            for _ in range(2 if name == 0x26 else 1):  # a user property is a pair
                fields.binary()
    return None


__all__ = [
    "MQTT_5",
    "Connect",
    "Kind",
    "Packets",
    "Publish",
    "connect_of",
    "kind_of",
    "publish_of",
    "reason_of",
    "subscribe_of",
]
