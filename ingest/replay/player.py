"""Plays field devices: each one an MQTT client of its own that keeps the device's side of the contract.

A device has a memory of some messages. It keeps each until a receipt names it, sends it again byte for byte when a
receipt misses it, when the connection returns, or when half a minute has gone by without its receipt; a city that sends
no receipts is served too, without repetition. Its start counter (boot) outlives it in a small file.

A connection a device, since a last will belongs to a connection; paho runs a thread for each, which mostly sleeps. With
297 devices every 5 s that was measured, against amqtt, at 7 % of a core and 125 MB in all, networks
included; so no loop is shared between connections. One thread does everything else.
"""

from __future__ import annotations

import heapq
import queue
import threading
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from ingest.mqtt.connection import Address, Connection, Delivery, Version, Will, negotiate
from ingest.payload import MAX_READINGS
from ingest.sequence import Ranges
from ingest.topic import Channel, Topic
from sensors.clock import Clock, to_ms
from sensors.device import Device, DeviceId
from sensors.quantity import from_si
from twin.errors import ChengmaiError, InputError, UnavailableError

logger = structlog.get_logger()

MEMORY = 600
"""Messages that a device keeps for the city."""
RESEND_S = 30.0
"""A message that no receipt named for so long is sent again, if the city sends receipts at all."""
OFFLINE = b'{"v":1,"online":false}'

_CONNECT_TIMEOUT_S = 5.0
_POLL_S = 0.05
_TIDY_S = 5.0
_CLOSE_S = 2.0
_BURST = 500  # events seen to between two looks at the clock
_MODEL, _FIRMWARE = "CM-SIM", "1.0.0"


class Field(Protocol):
    """What the devices measure; time goes forward only."""

    @property
    def devices(self) -> Sequence[Device]:
        """The devices that are played."""
        ...

    def values(self, at: datetime, devices: Iterable[DeviceId]) -> Mapping[tuple[DeviceId, str], float]:
        """Return (device, point) → SI value at `at`; a device that is not in it sends nothing."""
        ...

    def history(self, device: DeviceId) -> Iterator[tuple[datetime, Mapping[str, float]]]:
        """Yield time and point → SI value of what was measured before the start."""
        ...


class Receipt(msgspec.Struct):
    """The payload of ``/ack``."""

    boot: int
    ok: list[tuple[int, int]] = []
    missing: list[tuple[int, int]] = []


class Order(msgspec.Struct):
    """A message on the control topic: switch a fault on or off, at an asset or where the seed says."""

    fault: str
    on: bool
    asset: str | None = None


def fault_topic(district: str) -> str:
    """Return the control topic of a district's simulation, which ingest never hears.

    >>> fault_topic("hewan")
    'sim/v1/hewan/fault'
    """
    return f"sim/v1/{district}/fault"


class _Event(NamedTuple):
    client: _Client | None
    connected: bool | None
    payload: bytes


@dataclass(slots=True)
class _Kept:
    payload: bytes
    sent: float | None


@dataclass(slots=True, eq=False)
class _Client:
    """A device's side of the contract; all of it runs on the player's thread."""

    device: Device
    boot: int
    interval: timedelta
    history: Callable[[], Iterator[tuple[datetime, Mapping[str, float]]]]
    connection: Connection | None = None
    memory: dict[int, _Kept] = field(default_factory=dict[int, _Kept])
    next_seq: int = 0
    begun: bool = False
    receipted: bool = False
    lost: int = 0

    def topic(self, channel: Channel) -> str:
        return str(Topic(self.device.district, self.device.system, self.device.id, channel))

    def birth(self) -> bytes:
        return msgspec.json.encode(
            {
                "v": 1,
                "online": True,
                "boot": self.boot,
                "model": self.device.model or _MODEL,
                "fw": _FIRMWARE,
                "interval_s": self.interval.total_seconds(),
                "buffer": MEMORY,
                "points": {point.name: point.unit for point in self.device.points},
            }
        )

    def live(self, at: datetime, values: Mapping[str, float]) -> None:
        """Send one message of present values (point → SI)."""
        points = {
            p.name: {"v": self._shown(p.name, values[p.name]), "u": p.unit}
            for p in self.device.points
            if p.name in values
        }
        self._send({"ts": to_ms(at), "m": points})

    def send_history(self) -> None:
        """Send the readings from before the start, as many in a message as the contract allows."""
        rows = [
            [to_ms(at), {name: {"v": self._shown(name, value)} for name, value in values.items()}]
            for at, values in self.history()
            if values
        ]
        size = max(1, MAX_READINGS // max(len(self.device.points), 1))
        for n in range(0, len(rows), size):
            self._send({"hist": True, "r": rows[n : n + size]})

    def connected(self) -> None:
        """Announce the device; the first time send its history, later what no receipt has named."""
        self._publish(Channel.STATUS, self.birth(), retain=True)
        if self.begun:
            self._send_again(list(self.memory))
        else:
            self.begun = True
            self.send_history()

    def receipt(self, payload: bytes) -> None:
        """Forget what the city has, send again what it misses, own up to what is gone."""
        try:
            receipt = msgspec.json.decode(payload, type=Receipt)
        except msgspec.DecodeError as error:
            logger.warning("receipt_unreadable", device=self.device.id, error=str(error))
            return
        missing = [seq for first, last in receipt.missing for seq in range(first, last + 1)]
        if receipt.boot != self.boot:
            self._own_up(receipt.boot, missing)
            return
        self.receipted = True
        for first, last in receipt.ok:
            for seq in [seq for seq in self.memory if first <= seq <= last]:
                del self.memory[seq]
        self._send_again([seq for seq in missing if seq in self.memory])
        self._own_up(self.boot, [seq for seq in missing if seq not in self.memory])

    def tidy(self, now_s: float) -> None:
        """Send again what has waited long for its receipt."""
        if self.receipted:
            waiting = (seq for seq, kept in self.memory.items() if kept.sent is None or now_s - kept.sent > RESEND_S)
            self._send_again(list(waiting))

    def _send(self, body: dict[str, Any]) -> None:
        seq, self.next_seq = self.next_seq, self.next_seq + 1
        payload = msgspec.json.encode({"v": 1, "boot": self.boot, "seq": seq, **body})
        self.memory[seq] = _Kept(payload, None)
        if len(self.memory) > MEMORY:
            del self.memory[next(iter(self.memory))]
            self.lost += 1
        self._send_again([seq])

    def _send_again(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            if not (self.connection and self.connection.connected):
                return  # it stays in memory
            kept = self.memory[seq]
            kept.sent = time.monotonic()
            self._publish(Channel.DATA, kept.payload)

    def _own_up(self, boot: int, seqs: Sequence[int]) -> None:
        if seqs:
            ranges = Ranges()
            for seq in seqs:
                ranges.add(seq)
            self._publish(Channel.STATUS, msgspec.json.encode({"v": 1, "boot": boot, "lost": ranges.pairs()}))

    def leave(self) -> None:
        """Say that the device is switched off; the broker keeps the last will to itself then."""
        if self.connection and self.connection.connected:
            self._publish(Channel.STATUS, OFFLINE, retain=True)

    def _publish(self, channel: Channel, payload: bytes, *, retain: bool = False) -> None:
        try:
            if self.connection:
                self.connection.publish(self.topic(channel), payload, retain=retain)
        except UnavailableError as error:
            logger.warning("device_cannot_send", device=self.device.id, error=str(error))

    def _shown(self, name: str, value: float) -> float:
        point = next(point for point in self.device.points if point.name == name)
        return float(f"{from_si(value, point.unit, point.quantity):.6g}")


class Player:
    """Plays the devices of `field` at the broker `address`, on the city's `clock`, until told to stop.

    A device sends every `interval` of the city's time, or every interval of its own when that is None; the devices
    take turns. `state` is the file of start counters. `order` is called on this thread for each message on
    `fault_topic`. UnavailableError when no broker answers at the start; later it waits for it to return.
    """

    def __init__(
        self,
        field: Field,
        address: Address,
        clock: Clock,
        state: Path,
        *,
        interval: timedelta | None = None,
        order: Callable[[Order], None] | None = None,
    ) -> None:
        self._field = field
        self._address = address
        self._clock = clock
        self._order = order
        self._events: queue.Queue[_Event] = queue.Queue(10_000)
        boots = _next_boots(state, [device.id for device in field.devices])
        self._clients = [
            _Client(d, boots[d.id], interval or d.interval, lambda d=d: field.history(d.id)) for d in field.devices
        ]

    def run(self, stop: threading.Event) -> None:
        """Connect and play until `stop` is set, then say good-bye for every device."""
        connections = self._connect()
        due = self._timetable()
        tidied = time.monotonic()
        try:
            while not stop.is_set():
                self._handle_events()
                self._sample(due)
                if time.monotonic() - tidied > _TIDY_S:
                    tidied = time.monotonic()
                    for client in self._clients:
                        client.tidy(tidied)
        finally:
            self._part(connections)

    def _connect(self) -> list[Connection]:
        version = negotiate(self._address, _CONNECT_TIMEOUT_S)
        for client in self._clients:
            client.connection = self._connection(client, version)
        topics = {fault_topic(client.device.district) for client in self._clients}

        def ordered(delivery: Delivery) -> None:
            if delivery.topic in topics:  # amqtt gives a new client every retained message there is, unasked
                self._events.put(_Event(None, None, delivery.payload))

        orders = Connection(
            self._address,
            f"player-{self._clients[0].device.district}" if self._clients else "player",
            subscribe=sorted(topics),
            on_message=ordered,
            clean=True,
            manual_ack=False,
            version=version,
        )
        connections = [client.connection for client in self._clients if client.connection] + [orders]
        for connection in connections:
            connection.start()
        logger.info("devices_connecting", devices=len(self._clients), broker=str(self._address))
        return connections

    def _connection(self, client: _Client, version: Version) -> Connection:
        receipts = str(client.topic(Channel.ACK))

        def heard(delivery: Delivery) -> None:
            if delivery.topic == receipts:  # amqtt gives a new client every retained message there is, unasked
                self._events.put(_Event(client, None, delivery.payload))

        def changed(connected: bool) -> None:
            self._events.put(_Event(client, connected, b""))

        return Connection(
            self._address,
            f"{client.device.district}-{client.device.id}",
            subscribe=(receipts,),
            on_message=heard,
            on_state=changed,
            will=Will(client.topic(Channel.STATUS), OFFLINE),
            clean=True,
            manual_ack=False,
            version=version,
            quiet=True,
        )

    def _timetable(self) -> list[tuple[datetime, int]]:
        """Return when each device sends next: spread over its interval, in the order of its name's hash."""
        now = self._clock.now()
        due = [
            (now + client.interval * (zlib.crc32(client.device.id.encode()) / 2**32), n)
            for n, client in enumerate(self._clients)
        ]
        heapq.heapify(due)
        return due

    def _handle_events(self) -> None:
        """Wait a moment for what the network threads report, and see to it."""
        try:
            event = self._events.get(timeout=_POLL_S)
            for _ in range(_BURST):
                self._handle(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return

    def _handle(self, event: _Event) -> None:
        if event.client is None:
            self._obey(event.payload)
        elif event.connected:
            event.client.connected()
        elif event.connected is None:
            event.client.receipt(event.payload)

    def _obey(self, payload: bytes) -> None:
        try:
            order = msgspec.json.decode(payload, type=Order)
            if self._order:
                self._order(order)
        except (msgspec.DecodeError, ChengmaiError) as error:
            logger.warning("order_refused", error=str(error))

    def _sample(self, due: list[tuple[datetime, int]]) -> None:
        """Let every device whose time has come measure and send; times that were missed are left out."""
        now = self._clock.now()
        chosen: list[tuple[datetime, _Client]] = []
        while due and due[0][0] <= now:
            at, n = due[0]
            client = self._clients[n]
            heapq.heapreplace(due, (at + client.interval * ((now - at) // client.interval + 1), n))
            if client.begun:
                chosen.append((at, client))
        if not chosen:
            return
        shown: dict[DeviceId, dict[str, float]] = defaultdict(dict)
        for (device, point), value in self._field.values(now, [client.device.id for _, client in chosen]).items():
            shown[device][point] = value
        for at, client in chosen:
            if client.device.id in shown:
                client.live(at, shown[client.device.id])

    def _part(self, connections: Sequence[Connection]) -> None:
        """Take leave as a device does that is switched off on purpose: offline, then disconnect."""
        for client in self._clients:
            client.leave()
        threads = [threading.Thread(target=connection.close, args=(_CLOSE_S,)) for connection in connections]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _next_boots(state: Path, devices: Iterable[DeviceId]) -> dict[DeviceId, int]:
    """Count every device's starts in the file `state`, and return the present ones."""
    try:
        kept = msgspec.json.decode(state.read_bytes(), type=dict[str, int])
    except FileNotFoundError:
        kept = {}
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(str(error), where=str(state), expected="start counters (delete it to begin anew)") from None
    boots = {device: kept.get(device, 0) + 1 for device in devices}
    state.parent.mkdir(parents=True, exist_ok=True)
    work = state.with_suffix(".new")
    work.write_bytes(msgspec.json.encode({**kept, **boots}))
    work.replace(state)
    return boots


__all__ = ["Field", "Order", "Player", "fault_topic"]
