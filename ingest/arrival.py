"""Arrivals: a message as it came, which decoder reads it, and how it stands in quarantine if it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import structlog

from ingest.payload import WHOLE, Decoder, Format, Message, Refusal
from ingest.payload.formats import OF_CHANNEL, SPARKPLUG_PREFIX
from ingest.quarantine import Quarantined
from ingest.topic import Topic, parse
from twin.errors import ChengmaiError, RefusedError

logger = structlog.get_logger()


class Identity(NamedTuple):
    """What names a message for ever."""

    topic: Topic
    boot: int
    seq: int


class Arrival(NamedTuple):
    """A message as it came, at the city's time `now` (ms); `topic` is None where the name is not of the contract."""

    name: str
    topic: Topic | None
    payload: bytes
    now: int

    def decode(self, decoders: Mapping[Format, Decoder]) -> Message:
        """Return the message; RefusedError E_TOPIC where its topic holds no readings, and as of the decoder.

        A decoder's own fault is refused too (E_BUG): the broker would bring the message again for ever otherwise.
        """
        kind = Format.SPARKPLUG if self.topic is None else OF_CHANNEL.get(self.topic.channel)
        decoder = None if kind is None else decoders.get(kind)
        if decoder is None:
            raise RefusedError("holds no readings that are heard here", where=self.name, code="E_TOPIC")
        try:
            return decoder.decode(self.name, self.payload)
        except ChengmaiError:
            raise
        except Exception as error:
            logger.exception("decoder_broke", topic=self.name, bytes=len(self.payload))
            what = f"the decoder broke on it ({type(error).__name__})"
            raise RefusedError(what, where=self.name, expected="a bug report with this message", code="E_BUG") from None

    def refused(self, refusals: Sequence[Refusal], readings: int | None = None) -> Iterator[Quarantined]:
        """Yield the message once for each code, however many of its readings have it (or `readings`, where given)."""
        for code in dict.fromkeys(refusal.code for refusal in refusals):
            same = [refusal for refusal in refusals if refusal.code == code]
            places = () if same[0].place == WHOLE else tuple(refusal.place for refusal in same)
            which = f" (readings {', '.join(str(place) for place in places[:20])})" if places else ""
            count = len(same) if readings is None else readings
            yield Quarantined(self.now, self.name, self.payload, code, same[0].reason + which, count, places)

    def identity(self, message: Message) -> Identity | None:
        """Return what names the message, if it has a name that a receipt can be sent to."""
        if self.topic is None or message.boot is None or message.seq is None:
            return None
        return Identity(self.topic, message.boot, message.seq)


def topic_of(name: str) -> Topic | None:
    """Return the contract's topic called `name`, or None for one of Sparkplug's; RefusedError E_TOPIC for others."""
    return None if name.startswith(SPARKPLUG_PREFIX) else parse(name)


__all__ = ["Arrival", "Identity", "topic_of"]
