"""The vendor kit: plays the city against one device, over a real broker, to see whether it keeps the contract.

::

    device ──► wire tap ──► broker ◄── this check: receipts (or none), missing, commands

The tap sees every packet as it is on the wire, and cuts the connection; what is seen is judged by `device_clauses`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import msgspec

from ingest.device_check.tap import Seen, WireTap
from ingest.device_check.transcript import Acts, Name, Transcript, read_object
from ingest.mqtt.address import Address
from ingest.mqtt.connection import Connection
from ingest.mqtt.inbox import Delivery
from ingest.receipt import INTERVAL_S, Receipt
from ingest.sequence import Ranges
from ingest.topic import Channel, Topic
from twin.errors import InputError

MAX_SEEN = 20_000
"""Packets of one check that are kept; a device that sends more has been seen enough."""

_LOOK_S = 0.2
_BROKER_S = 10.0
_BIRTH_S = 10.0
_ANSWER_S = 10.0
_COMMAND_S = 60.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the check waits, seconds: for the device to connect, and for what it has to do again.

    `interval_s` is between two of its messages where its birth does not say; `messages` are watched before anything is
    done to it; `away_s` bounds how long the broker is away.
    """

    connect_s: float = 120.0
    again_s: float = 60.0
    interval_s: float = 60.0
    messages: int = 4
    away_s: float = 60.0


class DeviceCheck:
    """One check of the device whose data topic is `topic`, which has to connect to `host` and `port` (0: a free one).

    The device is passed on to the broker's listener `through`, if that is another than the city's own. `say` is told
    what the check does, and what the device is to do now, one line each.
    """

    def __init__(
        self,
        topic: Topic,
        broker: Address,
        *,
        through: Address | None = None,
        host: str,
        port: int,
        patience: Patience | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._topic = topic
        self._patience = patience or Patience()
        self._say = say
        self._seen: list[Seen] = []
        self._changed = threading.Condition()
        self._receipting = True
        self._receipted_at = 0.0
        self._receipts: set[bytes] = set()
        self._named: set[Name] = set()
        self._acts = Acts(time.monotonic(), time.monotonic())
        self._will_at: float | None = None  # of the network thread, as the rest of `acts` is of this one
        self._tap = WireTap(host, port, through or broker, self._note)
        self._city = Connection(
            broker,
            f"device-check-{uuid.uuid4().hex[:12]}",
            subscribe=[self._on(Channel.STATUS)],
            on_message=self._hear,
            clean=True,
            manual_ack=False,
            quiet=True,
        )

    @property
    def port(self) -> int:
        """The port that the device has to connect to."""
        return self._tap.port

    def run(self) -> Transcript:
        """Play the city until everything was tried, and return what was seen.

        UnavailableError where the broker does not answer, BusyError where the tap cannot listen, InputError where
        another city gives receipts on the same broker.
        """
        self._city.start()
        try:
            self._city.wait(min(self._patience.connect_s, _BROKER_S))
            with self._tap:
                self._play()
        finally:
            self._city.close()
        return self._transcript()

    def _play(self) -> None:
        self._say(f"waiting for {self._topic.device} to connect to {self._tap.host}:{self._tap.port}")
        if not self._until(lambda now: now.accepted, self._patience.connect_s):
            return
        self._until(lambda now: bool(now.births), _BIRTH_S)
        wanted = self._patience.messages
        self._say(f"watching {wanted} messages, {self._interval():g} s apart")
        self._await_messages(wanted)
        if self._transcript().receipted:
            self._try_receipts()
            self._try_missing()
        self._try_commands()
        self._until(lambda _: False, INTERVAL_S)  # the last receipts

    def _try_receipts(self) -> None:
        """Hold receipts back, cut the connection, and see whether what had none comes again."""
        self._say("giving no receipts for the next messages")
        self._receipting = False
        self._await_messages(2)
        withheld = frozenset(each.name for each in self._transcript().sent if each.name) - self._named
        away_s = min(max(2.5 * self._interval(), 2.0), self._patience.away_s)
        self._say(f"cutting the connection; the broker is away for {away_s:.0f} s")
        self._tap.shut()
        self._acts = replace(self._acts, cut=time.monotonic(), withheld=withheld)
        self._until(lambda _: False, away_s)
        self._tap.open()
        opened = time.monotonic()
        self._acts = replace(self._acts, opened=opened)
        self._say("the broker is there again; waiting for what had no receipt")
        self._until(lambda now: any(seen.at > opened for seen, _ in now.connects), self._patience.again_s)
        self._until(lambda now: _settled(now, withheld, opened), self._patience.again_s)
        self._receipting = True
        self._until(lambda _: False, 2 * INTERVAL_S)

    def _try_missing(self) -> None:
        """Name a message missing that has come, as if it had been lost on its way."""
        self._receipting = False
        before = {each.name for each in self._transcript().sent}
        self._await_messages(2)
        names = [each.name for each in self._transcript().sent if each.name and each.name not in before]
        if len(names) > 1:
            asked, asked_at = names[0], time.monotonic()
            self._say(f"naming seq {asked.seq} missing")
            self._acts = replace(self._acts, asked=asked, asked_at=asked_at)
            self._receipt(missing=asked)
            self._until(lambda now: _settled(now, {asked}, asked_at), self._patience.again_s)
        self._receipting = True

    def _try_commands(self) -> None:
        """Ask for something whose time is over, and for something that nobody knows: each device can answer that."""
        if self._on(Channel.CMD) not in self._transcript().filters:
            return
        asked, expired = uuid.uuid4().hex, uuid.uuid4().hex
        self._say("sending a command, and one whose time is over")
        self._acts = replace(self._acts, commands=(asked, expired))
        for command, expires_s in ((expired, time.time() - _COMMAND_S), (asked, time.time() + _COMMAND_S)):
            order = {"id": command, "name": "ping", "args": {}, "expires": round(expires_s * 1000)}
            self._city.publish(self._on(Channel.CMD), msgspec.json.encode(order))
        self._until(lambda now: asked in now.answers, _ANSWER_S)

    def _await_messages(self, count: int) -> None:
        """Wait for `count` more messages, two intervals for each."""
        start = len(self._transcript().first_sent)
        timeout_s = 2 * count * self._interval() + _BIRTH_S
        self._until(lambda now: len(now.first_sent) >= start + count, timeout_s)

    def _until(self, done: Callable[[Transcript], bool], timeout_s: float) -> bool:
        """Wait until `done` of what was seen so far, receipting meanwhile; whether it came within `timeout_s`."""
        until, looked = time.monotonic() + timeout_s, -1
        while True:
            with self._changed:
                count = len(self._seen)
            if count != looked:
                now, looked = self._transcript(), count
                self._refuse_other_cities(now)
                if done(now):
                    return True
            if self._receipting and time.monotonic() - self._receipted_at >= INTERVAL_S:
                self._receipt()
            left = until - time.monotonic()
            if left <= 0:
                return False
            with self._changed:
                self._changed.wait(min(left, _LOOK_S))

    def _receipt(self, missing: Name | None = None) -> None:
        """Receipt what has come, but for what is `missing`."""
        names = {each.name for each in self._transcript().sent if each.name} - {missing}
        if names == self._named:
            return
        self._receipted_at = time.monotonic()
        for boot in sorted({name.boot for name in names - self._named}):
            ok = Ranges((name.seq, name.seq) for name in sorted(names) if name.boot == boot)
            hole = [(missing.seq, missing.seq)] if missing is not None and missing.boot == boot else []
            payload = msgspec.json.encode(Receipt(boot, ok.pairs(), hole))
            self._receipts.add(payload)
            self._city.publish(self._on(Channel.ACK), payload)
        self._named = names

    def _refuse_other_cities(self, now: Transcript) -> None:
        given = [seen.publish for seen in now.seen if seen.publish is not None and not seen.from_device]
        ack = now.on(Channel.ACK)
        if any(publish.topic == ack and publish.payload not in self._receipts for publish in given):
            raise InputError("somebody else gives receipts there", where=ack, expected="a broker without ingest")

    def _interval(self) -> float:
        interval = self._transcript().birth.get("interval_s")
        return float(interval) if isinstance(interval, int | float) and interval > 0 else self._patience.interval_s

    def _note(self, seen: Seen) -> None:
        with self._changed:
            if len(self._seen) < MAX_SEEN:
                self._seen.append(seen)
            self._changed.notify_all()

    def _hear(self, delivery: Delivery) -> None:
        """Note the will: what the broker publishes on ``status`` while the device is cut off."""
        if self._acts.cut is not None and read_object(delivery.payload).get("online") is False:
            self._will_at = self._will_at or time.monotonic()

    def _transcript(self) -> Transcript:
        with self._changed:
            acts = replace(self._acts, will_at=self._will_at, ended=time.monotonic())
            return Transcript(self._topic, tuple(self._seen), acts)

    def _on(self, channel: Channel) -> str:
        return str(Topic(self._topic.district, self._topic.system, self._topic.device, channel))


def _settled(now: Transcript, names: Iterable[Name], since: float) -> bool:
    """Return whether each of `names` has come again since then, or was declared lost."""
    again = {each.name for each in now.since(since)}
    return all(name in again or now.declared_lost(name.seq) for name in names)


__all__ = ["DeviceCheck", "Patience"]
