"""Intake: deliveries become a committed group, then they are acknowledged, then receipted. In that order, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec
import structlog

from ingest.admission import Admission, Columns
from ingest.arrival import Arrival, Identity, topic_of
from ingest.group import Group
from ingest.mqtt.inbox import Delivery
from ingest.payload import WHOLE, Count, Decoder, Format, Measurement, Message, Refusal, check_size
from ingest.rate import UNKNOWN_PER_S, Kind, Rates
from ingest.readmission import Readmission
from ingest.receipt import Receipts
from ingest.sequence import Memory, Ranges
from ingest.spool import Spool
from ingest.topic import Channel, Topic
from ingest.watch.traffic import Traffic
from sensors.clock import Clock, ManualClock, from_ms, to_ms
from sensors.device import DeviceId
from sensors.reading import Batch
from twin.asset import System
from twin.errors import BusyError, RefusedError

logger = structlog.get_logger()

MAX_UNKNOWN = 10_000

MAX_LOST = 100_000
"""Devices whose lost messages are remembered; all are forgotten then, and asked again for what is missing."""


See: TypeAlias = Callable[[str, System | None, Sequence[Measurement], datetime], None]


class _Status(msgspec.Struct):
    """What is read of a ``status`` message: ranges of seq that the device no longer has."""

    boot: Count | None = None
    lost: list[tuple[Count, Count]] = []


class _Time(msgspec.Struct):
    """A replay's word on the time: it has sent everything up to the last one, and goes on to `now` (ms)."""

    now: int


class Intake:
    """Takes in deliveries of one district. Not thread-safe: it belongs to the worker's intake thread.

    `refresh` is asked for a newer admission when a device is unknown, once a group: whoever was registered before it
    sent anything is known by then. With a recording the clock is a `ManualClock`, which the replay moves; devices are
    then as fast as the replay, and `rate_factor` (see `ingest.rate`) has no say. `see` is told what unknown devices
    send: name or address, system, measurements, city time. `readings` counts what was received, `unknown` those of
    unknown devices by name.
    """

    def __init__(
        self,
        spool: Spool,
        admission: Admission,
        decoders: Mapping[Format, Decoder],
        clock: Clock,
        *,
        clock_topic: str,
        refresh: Callable[[], Admission],
        rate_factor: float = 0.0,
        see: See = lambda *_: None,
    ) -> None:
        self.admission = admission
        self.readings = 0
        self.unknown: Counter[str] = Counter()
        self.traffic = Traffic()
        self.receipts = Receipts()
        self._spool = spool
        self._decoders = decoders
        self._clock = clock
        self._clock_topic = clock_topic
        self._refresh = refresh
        self._see = see
        self._rates = Rates(0.0 if isinstance(clock, ManualClock) else rate_factor)
        self._seen = Memory(spool.seen)
        self._lost: dict[str, tuple[int, Ranges]] = {}
        self._states: dict[str, bytes] = {}
        self._replies: list[tuple[str, bytes]] = []
        self._begin()
        for format_, decoder in decoders.items():
            memory = spool.state(f"decoder:{format_}")
            if memory is not None:
                decoder.recall(memory)

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """Commit the deliveries to the spool; afterwards they may be acknowledged.

        UnavailableError when the spool cannot take them: nothing is taken in then, and the broker still has them.
        """
        self._begin()
        try:
            now = self._gather(deliveries)
            self._spool.commit(self._group)
        except BaseException:
            self._seen.undo()  # what memory knows is not on disk: read it again
            self._rates.undo()
            raise
        if isinstance(self._clock, ManualClock):
            self._clock.move_to(from_ms(now))
        self._states.clear()
        self.readings += self._group.received
        self.traffic.note(self._group)
        self._replies += self._answers
        for note in self._notes:
            self.receipts.note(*note)

    def readmit(self) -> int:
        """Take in again what an operator asked for (`Spool.ask_replay`), 500 messages at a time; returns how many.

        Sequence numbers and rates do not matter, the readings are history, and what decoders remember stays as it is.
        What does not pass now goes back to quarantine, with its new reason. UnavailableError as of `take`.
        """
        rows = self._spool.asked()
        if not rows:
            return 0
        again = Readmission(self.admission, self._decoders, to_ms(self._clock.now()))
        for row in rows:
            again.take(row)
        group = again.group()
        try:
            self._spool.commit(group)
        except BusyError as error:
            logger.info("replay_again", error=str(error))
            return 0
        logger.info("quarantine_replayed", messages=len(rows), refused=len(group.quarantine))
        return len(rows)

    def replies(self) -> list[tuple[str, bytes]]:
        """Return what is to be published (topic, payload) since the last call: what it answers is on disk."""
        replies, self._replies = self._replies, []
        return replies

    def holes(self, device: str, boot: int) -> list[tuple[int, int]]:
        """Return the ranges of seq that are missing; none of a device that nothing was taken from lately."""
        seen = self._seen.known(device, boot)
        if seen is None:
            return []
        lost = self._lost.get(device)
        return Ranges([*seen.pairs(), *lost[1].pairs()]).holes() if lost and lost[0] == boot else seen.holes()

    def _begin(self) -> None:
        self._group, self._columns = Group(), Columns()
        self._notes: list[tuple[Topic, int, int, Sequence[Refusal], bool]] = []
        self._answers: list[tuple[str, bytes]] = []
        self._seen.begin()
        self._rates.begin()
        self._refreshed = False
        self._now_s = self._clock.seconds()

    def _gather(self, deliveries: Iterable[Delivery]) -> int:
        """Put the deliveries into the group, and return the city's time after them in ms."""
        now = to_ms(self._clock.now())
        for delivery in deliveries:
            if delivery.topic == self._clock_topic:
                now = self._time_after(delivery, now)
                continue
            try:
                self._take(delivery.topic, delivery.payload, now)
            except RefusedError as error:
                came = Arrival(delivery.topic, None, delivery.payload, now)
                self._refuse_whole(came, delivery.topic[:200], Refusal(WHOLE, error.code, str(error)), 1)
        self._close_batch(now)
        self._group.seen, self._group.forgotten = self._seen.changed()
        for format_, decoder in self._decoders.items():
            memory = decoder.memory()
            if memory is not None:
                self._states[f"decoder:{format_}"] = memory  # kept here until a group that holds it is on disk
        self._group.states = self._states
        return now

    def _take(self, name: str, payload: bytes, now: int) -> None:
        topic = topic_of(name)
        if topic is not None and topic.channel is Channel.STATUS:
            self._take_status(topic, payload)
            return
        if topic is not None and topic.channel is Channel.ANSWER:  # it answers a command, and holds no readings
            return
        came = Arrival(name, topic, payload, now)
        message = came.decode(self._decoders)
        self._answers += message.replies
        device, refusal = self._speaker(topic, message)
        if device is None or refusal is not None:
            self._refuse_stranger(came, message, refusal)
            return
        per_s = self.admission.rate(device)
        kind = Kind.HISTORY if message.history else Kind.LIVE
        if not self._rates.admits(kind, device, message.readings, per_s, self._now_s):
            self._throttle(came, device, message, per_s)
            return
        self._group.received += message.readings
        identity = came.identity(message)
        if identity is None:
            self._admit(came, device, message)
        elif self._seen.add(device, identity.boot, identity.seq):
            self._note(identity, message, self._admit(came, device, message))
        else:
            self._group.duplicates += message.readings
            self._note(identity, message, ())

    def _note(self, identity: Identity | None, message: Message, refused: Sequence[Refusal]) -> None:
        """Note that a message is to be receipted, if it has a name."""
        if identity is not None:
            topic, boot, seq = identity
            self._notes.append((topic, boot, seq, refused, message.consecutive))

    def _speaker(self, topic: Topic | None, message: Message) -> tuple[DeviceId | None, Refusal | None]:
        """Return the device that sent a message, and why nothing is taken from it."""
        device = self.admission.find(topic, message.address)
        if device is None and not self._refreshed:
            self._refreshed = True
            self.admission = self._refresh()
            device = self.admission.find(topic, message.address)
        return device, self.admission.refusal(device, topic, message.address)

    def _admit(self, came: Arrival, device: DeviceId, message: Message) -> list[Refusal]:
        refused = [*message.refused, *self.admission.admit(device, message, came.now, self._columns)]
        if refused:
            self._refuse(came, refused)
            self._group.blamed.update((one.code, device) for one in refused)
        return refused

    def _throttle(self, came: Arrival, device: DeviceId, message: Message, per_s: float) -> None:
        """Keep a message that is too much out of the store, unless it was taken in before."""
        identity = came.identity(message)
        if identity is not None and self._seen.knows(device, identity.boot, identity.seq):
            self._group.received += message.readings
            self._group.duplicates += message.readings
            self._note(identity, message, ())
            return
        self._group.blamed["E_RATE", device] += message.readings
        refusal = Refusal(WHOLE, "E_RATE", f"{device} sends more than the rate that it is registered with allows")
        if self._refuse_whole(came, device, refusal, message.readings, per_s):
            self._note(identity, message, [refusal])
            if identity is not None:
                self._seen.add(device, identity.boot, identity.seq)

    def _take_status(self, topic: Topic, payload: bytes) -> None:
        check_size(payload)
        try:
            status = msgspec.json.decode(payload, type=_Status)
        except (msgspec.DecodeError, RecursionError) as error:
            raise RefusedError(str(error), where=str(topic), code="E_JSON") from None
        # The contract's {"lost": …} names no boot: then the newest is meant.
        said = self._seen.newest_boot(topic.device) if status.boot is None else status.boot
        if status.lost and said is not None and self.admission.knows(topic):
            # Not asked for again, but not taken for seen either: should it come after all, it is stored.
            if len(self._lost) >= MAX_LOST:
                self._lost.clear()
            boot, lost = self._lost.get(topic.device, (said, Ranges()))
            lost = lost if boot == said else Ranges()
            for first, last in status.lost:
                if first <= last:
                    lost.add(first, last)
            self._lost[topic.device] = said, lost

    def _refuse_stranger(self, came: Arrival, message: Message, refusal: Refusal | None) -> None:
        """Refuse a message of who is unknown, or is not who its topic says."""
        if refusal is None:
            return
        speaker = message.address or (came.topic.device if came.topic else came.name)
        if refusal.code == "E_DEVICE":
            if speaker in self.unknown or len(self.unknown) < MAX_UNKNOWN:
                self.unknown[speaker] += message.readings
            system = came.topic.system if came.topic else None
            self._see(speaker, system, message.measurements, from_ms(came.now))
        if message.readings and self._refuse_whole(came, speaker, refusal, message.readings):
            self._note(came.identity(message), message, [refusal])

    def _refuse_whole(
        self, came: Arrival, speaker: str, refusal: Refusal, readings: int, per_s: float = UNKNOWN_PER_S
    ) -> bool:
        """Keep a message as it came; or drop it, unreceipted and told, when its sender has filled its share."""
        if not self._rates.admits(Kind.REFUSED, speaker, readings, per_s, self._now_s):
            self._group.dropped += readings
            return False
        self._group.received += readings
        self._refuse(came, [refusal], readings)
        return True

    def _refuse(self, came: Arrival, refused: Sequence[Refusal], readings: int | None = None) -> None:
        """Keep the message once for each code, however many of its readings have it."""
        for one in came.refused(refused, readings):
            self._group.quarantine.append(one)
            logger.debug("refused", topic=one.topic, code=one.code, reason=one.reason)

    def _time_after(self, delivery: Delivery, now: int) -> int:
        """Mark that the readings up to now are complete, and return the time that the replay goes on to."""
        if not isinstance(self._clock, ManualClock):
            return now
        try:
            moved = msgspec.json.decode(delivery.payload, type=_Time)
            from_ms(moved.now)  # a time that no calendar has is refused here
        except (msgspec.DecodeError, OverflowError, OSError, ValueError) as error:
            logger.warning("clock_message_refused", topic=delivery.topic, error=str(error))
            return now
        self._close_batch(now)
        self._group.batches.append(Batch.empty(now))
        return max(now, moved.now)

    def _close_batch(self, now: int) -> None:
        batch, self._columns = self._columns.batch(now), Columns()
        if batch is not None:
            self._group.batches.append(batch)


__all__ = ["Intake"]
