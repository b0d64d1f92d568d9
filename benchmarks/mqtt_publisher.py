"""Publishes readings of made-up devices at QoS 1 from a bare socket, so that no client is the limit of a benchmark.

    python benchmarks/mqtt_publisher.py PORT DISTRICT DEVICES FIRST_SEQ MESSAGES READINGS START_MS [MESSAGES_PER_S]

Message n is of device n modulo DEVICES; its seq counts from FIRST_SEQ, its readings (of the point ``pressure``) are a
second apart, and the messages of a device follow one another from START_MS on. With a rate the readings are of now.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from collections.abc import Iterator

IN_FLIGHT = 1000
CHUNK = 50


def main() -> None:
    port, devices, first, messages, readings, start = (int(sys.argv[at]) for at in (1, 3, 4, 5, 6, 7))
    district = sys.argv[2]
    rate = float(sys.argv[8]) if len(sys.argv) > 8 else 0.0
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_packet(0x10, _text("MQTT") + b"\x04\x02\x00\x3c" + _text(f"bench-{district}-{first}")))
    _receive(connection, 4)
    unacknowledged, begun_s = 0, time.monotonic()
    packets = _packets(district, devices, first, messages, readings, 0 if rate else start)
    for number in range(0, messages, CHUNK):
        if rate:
            time.sleep(max(0.0, begun_s + number / rate - time.monotonic()))
        count = min(CHUNK, messages - number)
        connection.sendall(b"".join(next(packets) for _ in range(count)))
        unacknowledged += count
        if unacknowledged > IN_FLIGHT - CHUNK:
            _receive(connection, 4 * CHUNK)
            unacknowledged -= CHUNK
    _receive(connection, 4 * unacknowledged)
    connection.sendall(b"\xe0\x00")


def _packets(
    district: str, devices: int, first: int, messages: int, readings: int, start: int
) -> Iterator[bytes]:
    for number in range(messages):
        device, seq = number % devices, first + number // devices
        at = start + seq * readings * 1000 if start else time.time_ns() // 1_000_000
        if readings == 1:
            body = '{"v":1,"boot":1,"seq":%d,"ts":%d,"m":{"pressure":{"v":0.3}}}' % (seq, at)
        else:
            rows = ",".join('[%d,{"pressure":{"v":0.3}}]' % (at + 1000 * row) for row in range(readings))
            body = '{"v":1,"boot":1,"seq":%d,"r":[%s]}' % (seq, rows)
        topic = _text(f"cim/v1/{district}/water/{district}-{device:04}/data")
        yield _packet(0x32, topic + struct.pack("!H", number % 65535 + 1) + body.encode())


def _packet(kind: int, rest: bytes) -> bytes:
    """Return a control packet: its first byte, the length of the rest in sevens of bits, the rest (MQTT 3.1.1, 2.2)."""
    length, left = bytearray(), len(rest)
    while True:
        left, digit = left >> 7, left & 0x7F
        length.append(digit | (0x80 if left else 0))
        if not left:
            return bytes([kind]) + bytes(length) + rest


def _text(text: str) -> bytes:
    return struct.pack("!H", len(text)) + text.encode()


def _receive(connection: socket.socket, count: int) -> None:
    while count:
        received = len(connection.recv(count))
        if not received:
            sys.exit("the broker has closed the connection")
        count -= received


if __name__ == "__main__":
    main()
