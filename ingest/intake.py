"""Intake: deliveries become a committed group, then they are acknowledged, then receipted. In that order, always."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import structlog

from ingest.admission import Admission, Columns
from ingest.mqtt import Delivery
from ingest.payload import WHOLE, Count, Decoder, Message, Refusal, check_size
from ingest.receipt import Receipts
from ingest.sequence import Ranges
from ingest.spool import Group, Quarantined, Spool
from ingest.topic import Channel, Topic, parse
from ingest.traffic import Traffic
from sensors.clock import Clock, ManualClock, from_ms, to_ms
from sensors.reading import Batch
from twin.errors import RefusedError

logger = structlog.get_logger()

MAX_BOOTS = 3
"""Boots of a device whose sequence numbers are remembered; resends of older ones are known by their times."""

MAX_UNKNOWN = 10_000


class _Presence(msgspec.Struct):
    """What is read of a ``status`` message: ranges of seq that the device no longer has."""

    boot: Count | None = None
    lost: list[tuple[Count, Count]] = []


class _Time(msgspec.Struct):
    """A replay's word on the time: it has sent everything up to the last one, and goes on to `now` (ms)."""

    now: int


class Intake:
    """Takes in deliveries of one district. Not thread-safe: it belongs to the worker's intake thread.

    `refresh` is asked for a newer admission when a device is unknown, once a group: whoever was registered before it
    sent anything is known by then. With a recording the clock is a `ManualClock`, which the replay moves.
    """

    def __init__(
        self,
        spool: Spool,
        admission: Admission,
        decoder: Decoder,
        clock: Clock,
        *,
        clock_topic: str,
        refresh: Callable[[], Admission],
    ) -> None:
        self.admission = admission
        self.readings = 0
        self.unknown: Counter[str] = Counter()
        self.receipts = Receipts()
        self.traffic = Traffic()
        self._spool = spool
        self._decoder = decoder
        self._clock = clock
        self._clock_topic = clock_topic
        self._refresh = refresh
        self._seen: dict[str, dict[int, Ranges]] = {}
        self._lost: dict[str, tuple[int, Ranges]] = {}
        self._refreshed = False
        self._group = Group()
        self._columns = Columns()
        self._touched: set[tuple[str, int]] = set()
        self._notes: list[tuple[Topic, int, int, Sequence[Refusal]]] = []

    def take(self, deliveries: Iterable[Delivery]) -> None:
        """Commit the deliveries to the spool; afterwards they may be acknowledged.

        UnavailableError when the spool cannot take them: nothing is taken in then, and the broker still has them.
        """
        self._group, self._columns, self._touched, self._notes = Group(), Columns(), set(), []
        self._refreshed = False
        try:
            now = self._gather(deliveries)
            self._spool.commit(self._group)
        except BaseException:
            for device, _ in self._touched:  # what memory knows is not on disk: read it again
                self._seen.pop(device, None)
            raise
        if isinstance(self._clock, ManualClock):
            self._clock.move_to(from_ms(now))
        self.readings += self._group.received
        self.traffic.note(self._group)
        for note in self._notes:
            self.receipts.note(*note)

    def holes(self, device: str, boot: int) -> list[tuple[int, int]]:
        """Return the ranges of seq that are missing; none of a device that nothing was taken from."""
        seen = self._seen.get(device, {}).get(boot)
        lost = self._lost.get(device)
        if seen is None:
            return []
        return Ranges([*seen.pairs(), *lost[1].pairs()]).holes() if lost and lost[0] == boot else seen.holes()

    def _gather(self, deliveries: Iterable[Delivery]) -> int:
        """Put the deliveries into the group, and return the city's time after them in ms."""
        now = to_ms(self._clock.now())
        for delivery in deliveries:
            if delivery.topic == self._clock_topic:
                now = self._time_after(delivery, now)
                continue
            try:
                self._take(parse(delivery.topic), delivery.payload, now)
            except RefusedError as error:
                self._group.received += 1
                self._refuse(delivery.topic, delivery.payload, now, [Refusal(WHOLE, error.code, str(error))], 1)
        self._close_batch(now)
        self._group.seen = {(device, boot): self._seen[device][boot] for device, boot in self._touched}
        return now

    def _take(self, topic: Topic, payload: bytes, now: int) -> None:
        if topic.channel is Channel.STATUS:
            self._take_status(topic, payload)
            return
        message = self._decoder.decode(str(topic), payload)
        self._group.received += message.readings
        refusal = self.admission.refusal(topic)
        if refusal is not None and not self._refreshed and not self.admission.knows(topic):
            self._refreshed = True
            self.admission = self._refresh()
            refusal = self.admission.refusal(topic)
        if refusal is not None:
            self._refuse_whole(topic, payload, message, refusal, now)
            return
        if message.boot is None or message.seq is None:
            self._admit(topic, payload, message, now)
        elif self._first_time(topic.device, message.boot, message.seq):
            refused = self._admit(topic, payload, message, now)
            self._notes.append((topic, message.boot, message.seq, refused))
        else:
            self._group.duplicates += message.readings
            self._notes.append((topic, message.boot, message.seq, ()))

    def _admit(self, topic: Topic, payload: bytes, message: Message, now: int) -> list[Refusal]:
        refused = [*message.refused, *self.admission.admit(topic, message, now, self._columns)]
        if refused:
            self._refuse(str(topic), payload, now, refused)
        return refused

    def _take_status(self, topic: Topic, payload: bytes) -> None:
        check_size(payload)
        try:
            presence = msgspec.json.decode(payload, type=_Presence)
        except (msgspec.DecodeError, RecursionError) as error:
            raise RefusedError(str(error), where=str(topic), code="E_JSON") from None
        if presence.lost and presence.boot is not None and self.admission.knows(topic):
            # Not asked for again, but not taken for seen either: should it come after all, it is stored.
            boot, lost = self._lost.get(topic.device, (presence.boot, Ranges()))
            lost = lost if boot == presence.boot else Ranges()
            for first, last in presence.lost:
                if first <= last:
                    lost.add(first, last)
            self._lost[topic.device] = presence.boot, lost

    def _first_time(self, device: str, boot: int, seq: int) -> bool:
        boots = self._seen_of(device)
        if boot not in boots:
            boots[boot] = Ranges()
            while len(boots) > MAX_BOOTS:
                oldest = min(boots)
                del boots[oldest]
                self._touched.discard((device, oldest))
                self._group.forgotten.add((device, oldest))
        if boot not in boots:  # older than all that are remembered
            return True
        self._touched.add((device, boot))
        return boots[boot].add(seq)

    def _seen_of(self, device: str) -> dict[int, Ranges]:
        seen = self._seen.get(device)
        if seen is None:
            seen = self._seen[device] = self._spool.seen(device)
        return seen

    def _refuse_whole(self, topic: Topic, payload: bytes, message: Message, refusal: Refusal, now: int) -> None:
        if not self.admission.knows(topic) and (topic.device in self.unknown or len(self.unknown) < MAX_UNKNOWN):
            self.unknown[topic.device] += message.readings
        self._refuse(str(topic), payload, now, [refusal], message.readings)
        if message.boot is not None and message.seq is not None:
            self._notes.append((topic, message.boot, message.seq, [refusal]))

    def _refuse(
        self, topic: str, payload: bytes, now: int, refused: Sequence[Refusal], readings: int | None = None
    ) -> None:
        """Keep the message once for each code, however many of its readings have it."""
        for code in dict.fromkeys(refusal.code for refusal in refused):
            same = [refusal for refusal in refused if refusal.code == code]
            places = "" if same[0].place == WHOLE else f" (readings {', '.join(str(one.place) for one in same[:20])})"
            count = len(same) if readings is None else readings
            self._group.quarantine.append(Quarantined(now, topic, payload, code, same[0].reason + places, count))
            logger.debug("refused", topic=topic, code=code, reason=same[0].reason)

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
        columns, self._columns = self._columns, Columns()
        if len(columns):
            self._group.batches.append(
                Batch(
                    np.array(columns.series, np.int32),
                    np.array(columns.time, np.int64),
                    np.array(columns.value, np.float64),
                    np.array(columns.quality, np.uint8),
                    np.array(columns.history, np.bool_),
                    now,
                )
            )


__all__ = ["Intake"]
