"""The relay: publishes a message for a device, and waits for the receipt that names it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import structlog

from ingest.mqtt.connection import Address, Connection
from ingest.mqtt.inbox import Delivery
from ingest.receipt import Receipt
from ingest.topic import Channel, Topic
from twin.errors import UnavailableError

logger = structlog.get_logger()

ANSWER_S = 10.0
"""How long a receipt may take: one comes each second (contract), an HJ 212 station repeats itself after some."""

RETRY_S = 5.0
MAX_WAITING = 5_000
"""Messages under way at once; half of what the MQTT client queues."""

MAX_HEARD = 20_000
"""Devices whose receipts are listened to; when there are more, it begins anew with those that wait."""


class Relay:
    """One MQTT client for all devices behind the gateway. Its methods belong to one event loop."""

    def __init__(self, address: Address) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, dict[tuple[int, int], list[asyncio.Future[Receipt]]]] = {}
        self._count = 0
        self._heard: set[str] = set()
        self._connection = Connection(
            address,
            f"chengmai-gateway-{random.randrange(2**48):012x}",
            on_message=self._hear,
            clean=True,
            manual_ack=False,
        )

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return self._connection.connected

    @property
    def waiting(self) -> int:
        """How many messages wait for their receipts."""
        return self._count

    def start(self) -> None:
        """Begin to connect, and stay connected; returns at once."""
        self._connection.start()

    async def close(self) -> None:
        """Say good-bye to the broker. What still waits ends without a receipt."""
        await asyncio.to_thread(self._connection.close)

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Publish what has no name, and so no receipt; UnavailableError where the broker is away."""
        self._check()
        self._connection.publish(str(topic), payload)

    async def deliver(
        self, topic: Topic, payload: bytes, name: tuple[int, int], timeout_s: float = ANSWER_S
    ) -> Receipt:
        """Publish a message, and return what its receipt says of it: `name` is (boot, seq).

        UnavailableError, with the time to wait before the next try, when the broker is away, too many messages wait,
        or no receipt comes in time. The message may be on its way then; sent again, it is stored once.
        """
        self._check()
        if self._count >= MAX_WAITING:
            raise UnavailableError(f"{self._count} messages wait for receipts", where=str(topic), retry_s=RETRY_S)
        ack = str(replace(topic, channel=Channel.ACK))
        future: asyncio.Future[Receipt] = self._loop.create_future()
        self._waiting.setdefault(ack, {}).setdefault(name, []).append(future)
        self._count += 1
        try:
            self._listen(ack)
            self._connection.publish(str(topic), payload)
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise UnavailableError(f"no receipt within {timeout_s:g} s", where=str(topic), retry_s=RETRY_S) from None
        finally:
            self._count -= 1
            self._forget(ack, name, future)

    def _check(self) -> None:
        if not self._connection.connected:
            raise UnavailableError("the broker is away", where=str(self._connection.address), retry_s=RETRY_S)

    def _listen(self, ack: str) -> None:
        if ack in self._heard:
            return
        if len(self._heard) >= MAX_HEARD:
            self._heard = set(self._waiting)
        self._heard.add(ack)
        self._connection.subscribe(self._heard)  # reaches the broker before the message does: one connection, in order

    def _forget(self, ack: str, name: tuple[int, int], future: asyncio.Future[Receipt]) -> None:
        futures = self._waiting[ack][name]
        futures.remove(future)
        if not futures:
            del self._waiting[ack][name]
        if not self._waiting[ack]:
            del self._waiting[ack]

    def _hear(self, delivery: Delivery) -> None:
        """Take a receipt on the network's thread."""
        if delivery.topic not in self._heard:  # amqtt gives a new client every retained message there is, unasked
            return
        try:
            receipt = _receipts.decode(delivery.payload)
        except msgspec.DecodeError as error:
            logger.warning("receipt_refused", topic=delivery.topic, error=str(error))
            return
        self._loop.call_soon_threadsafe(self._resolve, delivery.topic, receipt)

    def _resolve(self, ack: str, receipt: Receipt) -> None:
        for (boot, seq), futures in self._waiting.get(ack, {}).items():
            if boot != receipt.boot or not _holds(receipt.ok, seq):
                continue
            refused = [row for row in receipt.rej if row[0] == seq]
            of_one = Receipt(boot, [(seq, seq)], receipt.missing, refused)
            for future in futures:
                if not future.done():
                    future.set_result(of_one)


def _holds(ranges: Sequence[tuple[int, int]], seq: int) -> bool:
    return any(first <= seq <= last for first, last in ranges)


_receipts = msgspec.json.Decoder(Receipt)

__all__ = ["ANSWER_S", "RETRY_S", "Relay"]
