"""Readmission: rows of the quarantine, taken in again."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from ingest.admission import Admission, Columns
from ingest.arrival import Arrival, topic_of
from ingest.group import Group
from ingest.payload import WHOLE, Count, Decoder, Format, Message, Refusal
from ingest.payload.formats import SPARKPLUG_PREFIX
from ingest.spool import Quarantined
from ingest.topic import PREFIX
from sensors.reading import Quality
from twin.errors import RefusedError


class _Kept(msgspec.Struct):
    """A reading that the store refused, in SI, as the forwarder quarantines it."""

    ts: Count
    v: float
    q: Quality = Quality.SUSPECT


class Readmission:
    """Takes rows into a group at the city's time `now` (ms), as `admission` finds them now.

    What decoders remember stays as it is. The readings are history. What does not pass is refused anew.
    """

    def __init__(self, admission: Admission, decoders: Mapping[Format, Decoder], now: int) -> None:
        self._admission = admission
        self._decoders = copy.deepcopy(dict(decoders))
        self._now = now
        self._group = Group()
        self._columns = Columns()

    def take(self, row: Quarantined) -> None:
        """Take in one row."""
        ours = row.topic.startswith((f"{PREFIX}/", SPARKPLUG_PREFIX))
        found = self._take_message(row) if ours else self._take_kept(row)
        self._group.received += found - row.readings
        self._group.released.append(row.id)

    def group(self) -> Group:
        """Return the group, ready to be committed."""
        batch = self._columns.batch(self._now)
        if batch is not None:
            self._group.batches.append(batch)
        return self._group

    def _take_message(self, row: Quarantined) -> int:
        """Return how many readings the row turned out to hold."""
        try:
            arrival = Arrival(row.topic, topic_of(row.topic), row.payload, row.time)
            message = _only(arrival.decode(self._decoders), row)
        except RefusedError as error:
            return self._keep(row, Refusal(WHOLE, error.code, str(error)))
        device = self._admission.find(arrival.topic, message.address)
        refusal = self._admission.refusal(device, arrival.topic, message.address)
        if device is None or refusal is not None or not (message.measurements or message.refused):
            return self._keep(row, refusal)
        refused = [*message.refused, *self._admission.admit(device, message, self._now, self._columns)]
        self._group.quarantine += arrival.refused(refused)
        return len(message.measurements) + len(message.refused)

    def _take_kept(self, row: Quarantined) -> int:
        """Take in a reading that the store has refused before."""
        try:
            kept = msgspec.json.decode(row.payload, type=_Kept)
        except msgspec.DecodeError as error:
            return self._keep(row, Refusal(WHOLE, row.code, str(error)))
        device, _, point = row.topic.partition("/")
        series = self._admission.series(device, point)
        if series is None:
            return self._keep(row, Refusal(WHOLE, "E_POINT", f"{row.topic} is not in the registry"))
        self._columns.add(series, kept.ts, kept.v, kept.q, history=True)
        return row.readings

    def _keep(self, row: Quarantined, refusal: Refusal | None) -> int:
        if refusal is not None:
            row = replace(row, code=refusal.code, reason=refusal.reason)
        self._group.quarantine.append(row)
        return row.readings


def _only(message: Message, row: Quarantined) -> Message:
    """Return the readings that a row of the quarantine stands for, as history; without a time, of when they came."""
    places = frozenset(row.places)
    return msgspec.structs.replace(
        message,
        history=True,
        measurements=[
            measured if measured.time is not None else measured._replace(time=row.time, quality=measured.quality or 1)
            for measured in message.measurements
            if not places or measured.place in places
        ],
        refused=[refusal for refusal in message.refused if not places or refusal.place in places],
    )


__all__ = ["Readmission"]
