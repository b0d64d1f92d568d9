"""Replay: a recording, published as its devices would, until receipts cover every message.

The recording goes out in rounds. Before each round the city's clock is told how far the round goes (`clock_topic`);
by that the city also knows that everything before is complete. A live city does not listen to it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import msgspec
import numpy as np
import structlog

from ingest.mqtt.connection import Address, Connection, Delivery, negotiate
from ingest.payload import MAX_READINGS
from ingest.receipt import Receipt
from ingest.replay.recording import Recording
from ingest.store import ReadingStore
from ingest.topic import Channel, Topic, clock_topic, parse, subscription
from sensors.clock import from_ms
from sensors.device import Device
from sensors.quantity import scale
from twin.errors import RefusedError, UnavailableError

logger = structlog.get_logger()

WINDOW = 800
"""Messages without a receipt; fewer than the 1,000 that brokers keep by default for a subscriber that is slow."""

RESEND_S = 5.0
PATIENCE_S = 60.0
CONNECT_S = 15.0


_Rows: TypeAlias = list[tuple[int, dict[str, dict[str, float]]]]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of a replay, counted in readings; `refused` by code, from the receipts."""

    messages: int
    readings: int
    receipted: int
    resent: int
    refused: Mapping[str, int]
    seconds: float


@dataclass(slots=True)
class _Sent:
    topic: str
    payload: bytes
    readings: int
    at_s: float


@dataclass(slots=True)
class _Outbox:
    """Messages that no receipt has named yet, by device and sequence number."""

    boot: int
    waiting: dict[tuple[str, int], _Sent] = field(default_factory=dict[tuple[str, int], _Sent])
    receipted: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])
    changed: threading.Condition = field(default_factory=threading.Condition)

    def receipt(self, delivery: Delivery) -> None:
        """Strike out what a receipt names."""
        try:
            device = parse(delivery.topic).device
            receipt = msgspec.json.decode(delivery.payload, type=Receipt)
        except (RefusedError, msgspec.DecodeError) as error:
            logger.warning("receipt_unreadable", topic=delivery.topic, error=str(error))
            return
        if receipt.boot != self.boot:
            return
        with self.changed:
            for first, last in receipt.ok:
                for seq in range(first, last + 1):
                    sent = self.waiting.pop((device, seq), None)
                    self.receipted += sent.readings if sent else 0
            self.refused.update(code for _, _, code in receipt.rej)
            self.changed.notify_all()


class Replay:
    """Publishes `recording` for `devices` (by column) to the broker at `address`; see `run`.

    UnavailableError at once where no broker answers.

    Every message carries up to 500 readings of one device; with a `speed` (recording seconds a second) each row goes
    out at its time, without one as fast as receipts come.
    """

    def __init__(
        self,
        address: Address,
        district: str,
        recording: Recording,
        devices: Mapping[str, Device],
        *,
        speed: float | None = None,
        progress: Callable[[int], None] = lambda _readings: None,
    ) -> None:
        self._recording = recording
        self._district = district
        self._devices = {column: device for column, device in devices.items() if column in recording.columns}
        self._speed = speed
        self._progress = progress
        self._outbox = _Outbox(boot=time.time_ns() // 1_000_000)  # grows with each start, as a device's would
        self._connection = Connection(
            address,
            f"chengmai-replay-{district}-{self._outbox.boot}",
            subscribe=[subscription(district, Channel.ACK)],
            on_message=self._outbox.receipt,
            clean=True,
            manual_ack=False,
            version=negotiate(address, CONNECT_S),
        )
        self._next: Counter[str] = Counter()
        self._resent = 0

    def run(self) -> Replayed:
        """Publish everything and wait for the receipts; UnavailableError when none comes for a minute."""
        started_s = time.monotonic()
        messages = readings = 0
        self._connection.start()
        try:
            self._connection.wait(CONNECT_S)
            rows = len(self._recording.time)
            step = 1 if self._speed else MAX_READINGS
            for first in range(0, rows, step):
                last = min(first + step, rows)
                self._pace(first, started_s)
                self._tell_time(last - 1)
                for device, values in self._round(first, last):
                    self._send(device, values)
                    messages += 1
                    readings += len(values)
                self._progress(readings)
            self._await(0)
            self._tell_time(rows - 1)
            self._connection.drain(PATIENCE_S)
        finally:
            self._connection.close()
        outbox = self._outbox
        return Replayed(
            messages, readings, outbox.receipted, self._resent, dict(outbox.refused), time.monotonic() - started_s
        )

    def _round(self, first: int, last: int) -> Iterator[tuple[Device, _Rows]]:
        """Yield the devices that have values in the rows [first, last), each with them."""
        times = self._recording.time[first:last]
        for column, device in self._devices.items():
            values = self._recording.columns[column][first:last]
            there = np.isfinite(values)
            if there.any():
                point = device.points[0].name
                pairs = zip(times[there].tolist(), values[there].tolist(), strict=True)
                yield device, [(moment, {point: {"v": value}}) for moment, value in pairs]

    def _send(self, device: Device, rows: _Rows) -> None:
        self._await(WINDOW - 1)
        seq = self._next[device.id]
        self._next[device.id] += 1
        payload = msgspec.json.encode({"v": 1, "boot": self._outbox.boot, "seq": seq, "r": rows})
        topic = str(Topic(device.district, device.system, device.id, Channel.DATA))
        with self._outbox.changed:
            self._outbox.waiting[device.id, seq] = _Sent(topic, payload, len(rows), time.monotonic())
        self._connection.publish(topic, payload)

    def _await(self, left: int) -> None:
        """Wait until no more than `left` messages lack a receipt, sending again what waits too long."""
        outbox = self._outbox
        patience_s = time.monotonic() + PATIENCE_S
        receipted = outbox.receipted
        while True:
            with outbox.changed:
                if outbox.changed.wait_for(lambda: len(outbox.waiting) <= left, RESEND_S / 5):
                    return
                if outbox.receipted != receipted:
                    receipted, patience_s = outbox.receipted, time.monotonic() + PATIENCE_S
                now_s = time.monotonic()
                late = [sent for sent in outbox.waiting.values() if now_s - sent.at_s > RESEND_S]
            if now_s > patience_s:
                raise UnavailableError(
                    f"{len(outbox.waiting)} messages have no receipt after {PATIENCE_S:g} s",
                    where=f"district {self._district}",
                    expected="`chengmai ingest` for it (with --clock recording, unless the city is live)",
                )
            for sent in late:
                sent.at_s = now_s
                self._connection.publish(sent.topic, sent.payload)
            self._resent += len(late)

    def _pace(self, row: int, started_s: float) -> None:
        if self._speed:
            due_s = started_s + (self._recording.time[row] - self._recording.time[0]) / 1000 / self._speed
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _tell_time(self, row: int) -> None:
        now = int(self._recording.time[row])
        self._connection.publish(clock_topic(self._district), msgspec.json.encode({"now": now}))


@dataclass(frozen=True, slots=True)
class Kept:
    """What a store holds of a recording, in readings."""

    expected: int
    once: int
    missing: int
    different: int


def compare(recording: Recording, devices: Mapping[str, Device], store: ReadingStore) -> Kept:
    """Compare a recording with what the store has of its devices, in SI and to the last bit."""
    once = missing = different = 0
    start, end = from_ms(int(recording.time[0])), from_ms(int(recording.time[-1]) + 1)
    for column, device in devices.items():
        point = device.points[0]
        factor, offset = scale(point.unit, point.quantity)
        values = recording.columns[column]
        there = np.isfinite(values)
        expected = dict(zip(recording.time[there].tolist(), (values[there] * factor + offset).tolist(), strict=True))
        frame = store.read([point.series], start, end)
        held = dict(zip(frame["time"].dt.as_unit("ms").astype("int64"), frame["value"], strict=True))
        same = sum(held.get(moment) == value for moment, value in expected.items())
        there_now = sum(moment in held for moment in expected)
        once += same
        different += there_now - same
        missing += len(expected) - there_now
    return Kept(once + missing + different, once, missing, different)


__all__ = ["Kept", "Replay", "Replayed", "compare"]
