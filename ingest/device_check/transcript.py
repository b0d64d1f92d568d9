"""What happened while the city was played against a device: what it sent, and what was done to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from ingest.device_check.tap import Seen
from ingest.device_check.wire import Connect, Publish
from ingest.payload import Decoder, Message
from ingest.payload.native import NativeDecoder
from ingest.payload.senml import SenmlDecoder
from ingest.topic import Channel, Topic
from sensors.clock import ManualClock, from_ms
from twin.errors import RefusedError


class Name(NamedTuple):
    """What names a message of a device for ever."""

    boot: int
    seq: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A message with readings as it passed; where the contract refuses it whole, `refused` says why."""

    seen: Seen
    publish: Publish
    message: Message | None
    refused: str = ""

    @property
    def name(self) -> Name | None:
        """Its boot and seq, None where it has none."""
        if self.message is None or self.message.boot is None or self.message.seq is None:
            return None
        return Name(self.message.boot, self.message.seq)


@dataclass(frozen=True, slots=True)
class Acts:
    """What the city did, in monotonic seconds; None or empty where it did not come to that.

    `withheld` are messages whose receipt was held back before the connection was `cut` (until `opened`); `will_at` is
    when the will came out; `asked` was named missing at `asked_at`. `commands` are the ids of a command and of one
    that had expired.
    """

    started: float
    ended: float
    withheld: frozenset[Name] = frozenset()
    cut: float | None = None
    opened: float | None = None
    will_at: float | None = None
    asked: Name | None = None
    asked_at: float | None = None
    commands: tuple[str, str] | None = None


@dataclass(frozen=True)
class Transcript:
    """Everything seen of one device, whose data topic is `topic`, and everything done to it."""

    topic: Topic
    seen: tuple[Seen, ...]
    acts: Acts
    future: timedelta = timedelta(minutes=5)

    def on(self, channel: Channel) -> str:
        """Return the name of the device's topic of a channel."""
        return str(Topic(self.topic.district, self.topic.system, self.topic.device, channel))

    @cached_property
    def connects(self) -> list[tuple[Seen, Connect]]:
        """Its CONNECT packets."""
        return [(seen, seen.connect) for seen in self.seen if seen.connect is not None and seen.from_device]

    @cached_property
    def refusals(self) -> list[int]:
        """The reason codes with which the broker refused connections."""
        return [seen.reason for seen in self.seen if seen.reason]

    @property
    def accepted(self) -> bool:
        """Whether the broker accepted a connection."""
        return any(seen.reason == 0 for seen in self.seen)

    @cached_property
    def published(self) -> list[tuple[Seen, Publish]]:
        """What it published."""
        return [(seen, seen.publish) for seen in self.seen if seen.publish is not None and seen.from_device]

    @cached_property
    def filters(self) -> set[str]:
        """What it subscribed to."""
        return {each for seen in self.seen if seen.from_device for each in seen.filters}

    @cached_property
    def sent(self) -> list[Sent]:
        """Its messages on ``data`` and ``data/senml``, resent ones too."""
        topics = {self.on(channel): channel for channel in (Channel.DATA, Channel.SENML)}
        return [_sent(seen, each, topics[each.topic]) for seen, each in self.published if each.topic in topics]

    @cached_property
    def first_sent(self) -> list[Sent]:
        """Its messages, each at the first time that it was sent."""
        names: set[Name] = set()
        first: list[Sent] = []
        for each in self.sent:
            if each.name is None or each.name not in names:
                first.append(each)
            if each.name is not None:
                names.add(each.name)
        return first

    @cached_property
    def said(self) -> list[tuple[Seen, Publish, dict[str, Any]]]:
        """What it said on ``status``: the packet, and the JSON object in it (empty where there is none)."""
        status = self.on(Channel.STATUS)
        return [
            (seen, publish, read_object(publish.payload)) for seen, publish in self.published if publish.topic == status
        ]

    @cached_property
    def births(self) -> list[tuple[Seen, Publish, dict[str, Any]]]:
        """Its birth messages."""
        return [each for each in self.said if each[2].get("online") is True]

    @cached_property
    def birth(self) -> dict[str, Any]:
        """Its newest birth message, empty before the first."""
        return self.births[-1][2] if self.births else {}

    @cached_property
    def lost(self) -> list[tuple[int, int]]:
        """The ranges of seq that it declared lost."""
        return [pair for _, _, said in self.said for pair in _ranges(said.get("lost"))]

    def declared_lost(self, seq: int) -> bool:
        """Return whether it said that it has the message `seq` no longer."""
        return any(first <= seq <= last for first, last in self.lost)

    @cached_property
    def answers(self) -> dict[str, list[dict[str, Any]]]:
        """Its answers to commands, by the id that they name."""
        answers: dict[str, list[dict[str, Any]]] = {}
        for _, publish in self.published:
            if publish.topic == self.on(Channel.ANSWER):
                answer = read_object(publish.payload)
                answers.setdefault(str(answer.get("id")), []).append(answer)
        return answers

    @property
    def receipted(self) -> bool:
        """Whether it names its messages, and so may be held to receipts at all."""
        return any(each.name is not None for each in self.sent)

    def since(self, moment: float) -> Iterable[Sent]:
        """Yield its messages that passed after `moment`."""
        return (each for each in self.sent if each.seen.at > moment)


def _sent(seen: Seen, publish: Publish, channel: Channel) -> Sent:
    decoder: Decoder = NativeDecoder()
    if channel is Channel.SENML:
        decoder = SenmlDecoder(ManualClock(from_ms(seen.wall_ms)))
    try:
        return Sent(seen, publish, decoder.decode(publish.topic, publish.payload))
    except RefusedError as error:
        return Sent(seen, publish, None, str(error))


def packets(transcript: Transcript, connection: int) -> list[Seen]:
    """Return what the device sent on one connection, in order."""
    return [seen for seen in transcript.seen if seen.connection == connection and seen.from_device]


def read_object(payload: bytes) -> dict[str, Any]:
    """Return the JSON object in `payload`, empty where there is none."""
    try:
        return msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return {}


def _ranges(value: Any) -> list[tuple[int, int]]:
    try:
        return msgspec.convert(value or [], list[tuple[int, int]])
    except msgspec.ValidationError:
        return []


__all__ = ["Acts", "Name", "Sent", "Transcript", "packets", "read_object"]
