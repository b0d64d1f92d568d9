"""Paho's client, made to take in many messages: read from the network by the buffer, acknowledged by the group.

As it comes, paho 2.2 reads a message in four calls to the system and waits for the next with a fifth, makes an object
of 27 possible properties of each, and wakes its thread for every acknowledgement: 40 µs a message on a machine where
the rest of ingest takes 30. Three of its inner methods are replaced here (those of 2.1 and 2.2 are alike in this);
connecting, pinging, publishing and everything else are paho's. A later paho that calls one of them no more reads or
delivers in its own way, slower, and nothing is lost.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

from paho.mqtt.client import PUBACK, Client, MQTTMessage
from paho.mqtt.enums import MQTTErrorCode, MQTTProtocolVersion

BUFFER_BYTES = 64 * 1024
MAX_PACKETS = 200
"""Packets handled before the thread looks whether it has something to write; a stream would never let it otherwise."""


class BufferedSocket:
    """A socket that is read by the buffer; paho asks for one byte, then another, then the rest.

    It has what paho expects of a socket of its own kinds (TLS, WebSocket): `pending` tells what needs no waiting.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._buffer = b""
        self._at = 0

    def recv(self, size: int) -> bytes:
        """Return up to `size` bytes; BlockingIOError and the like as of the socket."""
        if self._at >= len(self._buffer):
            self._buffer, self._at = self._connection.recv(max(size, BUFFER_BYTES)), 0
        part = self._buffer[self._at : self._at + size]
        self._at += len(part)
        return part

    def pending(self) -> int:
        """Return how many bytes can be read at once."""
        return self.buffered or (self._connection.pending() if hasattr(self._connection, "pending") else 0)

    @property
    def buffered(self) -> int:
        """How many bytes are in the buffer."""
        return len(self._buffer) - self._at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class BufferedClient(Client):
    """A client whose messages go to `deliver` as topic, payload, message id, QoS and whether they were retained.

    `deliver` runs on the network thread, and must not raise; a topic that is not UTF-8 (forbidden by MQTT 1.5.4) is
    delivered as an empty one. Subscriptions are of QoS 0 or 1.
    """

    deliver: Callable[[str, bytes, int, int, bool], None]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.on_message = _deliver

    def acknowledge(self, mids: Iterable[int]) -> None:
        """Acknowledge the messages `mids` of the present connection, in one write (PUBACK, MQTT 5 3.4)."""
        packets = b"".join([_PUBACK.pack(PUBACK, 2, mid) for mid in mids])
        if packets:
            self._packet_queue(PUBACK, packets, 0, 1)

    def loop_read(self, max_packets: int = 1) -> MQTTErrorCode:
        """Handle what the buffer holds, after one look at the network."""
        del max_packets  # paho does not heed it either
        result = super().loop_read()
        for _ in range(MAX_PACKETS):
            connection: Any = self._sock
            if result != MQTTErrorCode.MQTT_ERR_SUCCESS or not getattr(connection, "buffered", 0):
                break
            result = super().loop_read()
        return result

    def _create_socket(self) -> Any:
        return BufferedSocket(super()._create_socket())

    def _handle_publish(self) -> MQTTErrorCode:
        """Take a PUBLISH apart (MQTT 5, 3.3); its properties have no say in ingest, and are skipped."""
        packet, header = self._in_packet["packet"], self._in_packet["command"]
        qos = header >> 1 & 3
        try:
            end = 2 + (packet[0] << 8 | packet[1])
            name, at, mid = packet[2:end], end, 0
            if qos:
                mid, at = packet[at] << 8 | packet[at + 1], at + 2
            if self._protocol == MQTTProtocolVersion.MQTTv5:
                at = _after_properties(packet, at)
        except IndexError:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if len(name) != end - 2 or at > len(packet) or qos > 1:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        try:
            topic = name.decode()
        except UnicodeDecodeError:
            topic = ""
        self.deliver(topic, bytes(packet[at:]), mid, qos, bool(header & 1))
        return MQTTErrorCode.MQTT_ERR_SUCCESS if self._manual_ack or not qos else self._send_puback(mid)


def _deliver(client: Client, _userdata: Any, message: MQTTMessage) -> None:
    """Deliver what paho has taken apart itself."""
    assert isinstance(client, BufferedClient)
    client.deliver(message.topic, bytes(message.payload), message.mid, message.qos, message.retain)


def _after_properties(packet: bytes | bytearray, at: int) -> int:
    """Return where the properties end that begin at `at` with their length in sevens of bits (MQTT 5, 1.5.5)."""
    length = shift = 0
    while True:
        digit = packet[at]
        length |= (digit & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if digit < 0x80:
            return at + length


_PUBACK = struct.Struct("!BBH")

__all__ = ["BufferedClient", "BufferedSocket"]
