"""What a process did to the disk and to the broker, in order, as strace saw it.

kill -9 does not test fsync: what was written before is in the page cache, and the kernel still has it. So the order is
traced: a PUBLISH arrives, the spool's log is written and synced (fdatasync(2) or fsync(2)), and only then the PUBACK
and the receipt leave. Packets: MQTT 5.0, 2.1 (fixed header), 3.3 (PUBLISH), 3.4 (PUBACK).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .processes import program

_CALL = re.compile(r"^(\d+) +(\w+)\((\d+)<((?:->|[^>])*)>(.*)$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_RESULT = re.compile(r"= (-?\d+)(?: \S.*)?$")


def traced(output: Path) -> list[str]:
    """Return what to put before a command to have it traced into `output`."""
    calls = "trace=fsync,fdatasync,pwrite64,sendto,recvfrom,recv,send"
    options = ["-f", "-yy", "-xx", "-s", "1048576", "--seccomp-bpf", "-e", calls, "-e", "signal=none"]
    return [program("strace"), *options, "-o", str(output)]


@dataclass(slots=True)
class Order:
    """When things happened, as numbers of lines of the trace."""

    waiting: dict[int, int] = field(default_factory=dict[int, int])
    """Lines at which readings had arrived that are not acknowledged yet, by packet id."""
    acknowledged: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Lines at which readings had arrived, and at which their PUBACK left."""
    receipts: list[int] = field(default_factory=list[int])
    """Lines at which a receipt left."""
    synced: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """First and last line of each sync of the spool's log that succeeded."""
    written: list[int] = field(default_factory=list[int])
    """Lines at which the spool's log was written."""

    def durable(self, arrived: int, left: int) -> bool:
        """Return whether the spool's log was written after line `arrived`, and then synced before line `left`."""
        at = bisect_left(self.written, arrived)
        written = self.written[at] if at < len(self.written) else left
        return any(written < first and last < left for first, last in self.synced)


class Call(NamedTuple):
    """A system call: what it was, on which file or connection, its arguments, and the lines of its begin and end."""

    name: str
    place: str
    rest: str
    first: int
    last: int


def order(trace: Path, port: int, spool: str) -> Order:
    """Read a trace: the broker listens on `port`, and the spool's log is the file called `spool`-wal."""
    found = Order()
    inbound, outbound = defaultdict[str, _Packets](_Packets), defaultdict[str, _Packets](_Packets)
    with trace.open() as lines:
        for call in _calls(lines):
            if call.place.endswith(f"/{spool}-wal"):
                if call.name in {"fsync", "fdatasync"}:
                    found.synced.append((call.first, call.last))
                else:
                    found.written.append(call.last)
            elif f":{port}" in call.place and call.name in {"sendto", "send"}:
                for packet in outbound[call.place].take(_bytes(call.rest)):
                    _left(found, packet, call.first)
            elif f":{port}" in call.place:
                for packet in inbound[call.place].take(_bytes(call.rest)):
                    _arrived(found, packet, call.last)
    return found


def _calls(lines: Iterable[str]) -> Iterator[Call]:
    """Yield the calls that succeeded, as they ended; strace cuts one in two when another thread's comes between."""
    begun: dict[tuple[str, str], tuple[int, str, str]] = {}
    for number, line in enumerate(lines):
        if call := _CALL.match(line):
            thread, name, _, place, rest = call.groups()
            first, place = number, _unescaped(place)
            if "<unfinished ...>" in rest:
                begun[thread, name] = (first, place, rest)
                continue
        elif (resumed := _RESUMED.match(line)) and resumed.groups()[:2] in begun:
            thread, name, rest = resumed.groups()
            first, place, head = begun.pop((thread, name))
            rest = head + rest
        else:
            continue
        result = _RESULT.search(rest.strip())
        if result is not None and int(result.group(1)) >= 0:
            yield Call(name, place, rest, first, number)


def _left(found: Order, packet: bytes, number: int) -> None:
    """Note a PUBACK of readings, or a receipt."""
    body = packet[_head(packet) :]
    if packet[0] == 0x40:
        arrived = found.waiting.pop(int.from_bytes(body[:2], "big"), None)
        if arrived is not None:
            found.acknowledged.append((arrived, number))
    elif packet[0] >> 4 == 3 and body[2 : 2 + int.from_bytes(body[:2], "big")].endswith(b"/ack"):
        found.receipts.append(number)


def _arrived(found: Order, packet: bytes, number: int) -> None:
    """Note a PUBLISH with QoS 1 on a data topic; births and the like need no disk."""
    body = packet[_head(packet) :]
    end = 2 + int.from_bytes(body[:2], "big")
    if packet[0] >> 4 == 3 and packet[0] & 0b110 and body[2:end].endswith(b"/data"):
        found.waiting[int.from_bytes(body[end : end + 2], "big")] = number


def _head(packet: bytes) -> int:
    """Return how long the fixed header is: the type, and one to four bytes of length."""
    return next(nth for nth in range(1, 5) if packet[nth] < 0x80) + 1


class _Packets:
    """Cuts a stream of bytes into MQTT packets; what is not whole yet waits. A new connection begins with none."""

    def __init__(self) -> None:
        self._waiting = b""

    def take(self, more: bytes) -> Iterator[bytes]:
        self._waiting += more
        while len(self._waiting) >= 2:
            length, at = 0, 1
            while at < len(self._waiting) and at < 5:
                length |= (self._waiting[at] & 0x7F) << (7 * (at - 1))
                at += 1
                if self._waiting[at - 1] < 0x80:
                    break
            else:
                return
            if len(self._waiting) < at + length:
                return
            packet, self._waiting = self._waiting[: at + length], self._waiting[at + length :]
            yield packet


def _unescaped(place: str) -> str:
    r"""Return the name of a file, which strace writes as \x2f\x74… like every other string."""
    return bytes.fromhex(place.replace("\\x", "")).decode() if place.startswith("\\x") else place


def _bytes(rest: str) -> bytes:
    found = _BYTES.search(rest)
    return bytes.fromhex(found.group(1).replace("\\x", "")) if found else b""
