"""Publishes readings of made-up devices at QoS 1 from a bare socket, so that no client is the limit of a benchmark.

    python benchmarks/mqtt_publisher.py PORT DISTRICT DEVICES FIRST_SEQ MESSAGES READINGS START_MS [MESSAGES_PER_S]

Message n is of device n modulo DEVICES; its seq counts from FIRST_SEQ, its readings (of the point ``pressure``) are a
tenth of a second apart, and the messages of a device follow one another from START_MS on. With a rate, readings are of
now.
"""

from __future__ import annotations

import itertools
import socket
import struct
import sys
import time
from collections.abc import Iterator

IN_FLIGHT = 1000
STEP_MS = 100
CHUNK = 50


def main() -> None:
    port, devices, first, messages = (int(sys.argv[at]) for at in (1, 3, 4, 5))
    district, rate = sys.argv[2], float(sys.argv[8]) if len(sys.argv) > 8 else 0.0
    connection = socket.create_connection(("127.0.0.1", port), 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_packet(0x10, _text("MQTT") + b"\x04\x02\x00\x3c" + _text(f"bench-{district}-{first}")))
    _receive(connection, 4)
    unacknowledged, begun_s = 0, time.monotonic()
    payloads = _payloads(devices, first, int(sys.argv[6]), 0 if rate else int(sys.argv[7]))
    packets = (_publish(district, device, number, payload) for number, (device, payload) in enumerate(payloads))
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


def _payloads(devices: int, first: int, readings: int, start: int) -> Iterator[tuple[int, bytes]]:
    for number in itertools.count():
        of_device = number // devices
        at = start + of_device * readings * STEP_MS if start else time.time_ns() // 1_000_000
        head = f'{{"v":1,"boot":1,"seq":{first + of_device},'
        if readings == 1:
            body = f'{head}"ts":{at},"m":{{"pressure":{{"v":0.3}}}}}}'
        else:
            rows = ",".join(f'[{at + STEP_MS * row},{{"pressure":{{"v":0.3}}}}]' for row in range(readings))
            body = f'{head}"r":[{rows}]}}'
        yield number % devices, body.encode()


def _publish(district: str, device: int, number: int, payload: bytes) -> bytes:
    topic = _text(f"cim/v1/{district}/water/{district}-{device:04}/data")
    return _packet(0x32, topic + struct.pack("!H", number % 65535 + 1) + payload)


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
