"""The outbox: what is to be told to whom, what was, and what nobody would take; in the operations database.

A delivery is one message to one recipient over one channel. It waits, is claimed by a sender, and ends as sent or as a
dead letter, from which a person may send it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, Row, insert, select, update

from sensors.clock import Clock, from_ms, to_ms
from sensors.notify.message import Message, Purpose, decode, encode
from sensors.notify.routing import Route
from sensors.operations import deliveries, reading, writing
from sensors.trail import AuditTrail
from twin.errors import InputError, UnknownError

CLAIMED = timedelta(seconds=60)
"""A sender that has had a delivery in hand for so long is taken for dead, and another sends it: channels wait no longer
than half of it for an answer. One that lives all the same makes two of it, as a kill does."""


class DeliveryState(StrEnum):
    """What became of a delivery."""

    WAITING = "waiting"
    SENT = "sent"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one recipient over one channel; times are aware UTC, `error` is what the last attempt said."""

    id: int
    message: Message
    channel: str
    to: str
    state: DeliveryState
    created: datetime
    due: datetime
    attempts: int
    ended: datetime | None
    error: str


def put(connection: Connection, message: Message, route: Route) -> int:
    """Put a message to every recipient of `route` into the outbox, in the caller's transaction; return how many.

    A reminder is left out where something of its group still waits for the same recipient: that will remind too.
    """
    body, at = encode(message).decode(), to_ms(message.at)
    wanted = {(channel, to) for channel in route.channels for to in route.to or ("",)}
    if message.purpose is Purpose.REPEAT:
        wanted -= _waiting(connection, route.name, message.group)
    rows = [
        {
            "message": message.id,
            "route": route.name,
            "group": message.group,
            "channel": channel,
            "to": to,
            "purpose": message.purpose.value,
            "level": message.level,
            "created": at,
            "state": DeliveryState.WAITING.value,
            "due": at,
            "attempts": 0,
            "error": "",
            "body": body,
        }
        for channel, to in sorted(wanted)
    ]
    if rows:
        connection.execute(insert(deliveries), rows)
    return len(rows)


class Outbox:
    """The deliveries of a city, in the operations database behind `engine`; people's acts go into `trail`."""

    def __init__(self, engine: Engine, clock: Clock, trail: AuditTrail | None = None) -> None:
        self._engine = engine
        self._clock = clock
        self._trail = trail

    def claim(self, channel: str) -> Delivery | None:
        """Return the next delivery that a channel owes, claimed for `CLAIMED`; None where none is due.

        The worst level first, then the oldest. Of two senders one gets it; the attempt is counted before it is made.
        """
        now = to_ms(self._clock.now())
        due = (deliveries.c.channel == channel, deliveries.c.state == "waiting", deliveries.c.due <= now)
        query = select(deliveries).where(*due).order_by(deliveries.c.level, deliveries.c.id).limit(1)
        with reading(self._engine) as connection:  # an idle sender takes no lock
            row = connection.execute(query).first()
        while row is not None:
            mine = (deliveries.c.id == row.id, deliveries.c.state == "waiting", deliveries.c.due == row.due)
            taken = {"due": now + round(CLAIMED / timedelta(milliseconds=1)), "attempts": row.attempts + 1}
            with writing(self._engine) as connection:
                claimed = connection.execute(update(deliveries).where(*mine).values(taken)).rowcount
                if claimed:
                    return _delivery(connection.execute(select(deliveries).where(deliveries.c.id == row.id)).one())
                row = connection.execute(query).first()
        return None

    def sent(self, delivery: Delivery) -> None:
        """Note that the channel has taken a delivery."""
        self._end(delivery, DeliveryState.SENT, "")

    def later(self, delivery: Delivery, after: timedelta, error: str) -> None:
        """Note that the channel has not taken a delivery, and try again `after` that time."""
        with writing(self._engine) as connection:
            due = to_ms(self._clock.now() + after)
            connection.execute(_of(delivery.id).values(due=due, error=error))

    def dead(self, delivery: Delivery, error: str) -> None:
        """Give a delivery up."""
        self._end(delivery, DeliveryState.DEAD, error)

    def again(self, delivery_id: int, *, by: str, reason: str = "") -> Delivery:
        """Send a dead letter once more, as the person `by` says; return it as it waits now.

        UnknownError for no such delivery, InputError for one that is no dead letter and for nobody.
        """
        if not by.strip():
            raise InputError("nobody sends it again", where=f"delivery {delivery_id}", expected="a name")
        with writing(self._engine) as connection:
            delivery = _one(connection, delivery_id)
            if delivery.state is not DeliveryState.DEAD:
                raise InputError(
                    f"is {delivery.state.value}", where=f"delivery {delivery_id}", expected="a dead letter"
                )
            now = to_ms(self._clock.now())
            fresh = {"state": DeliveryState.WAITING.value, "due": now, "created": now, "ended": None}
            connection.execute(_of(delivery_id).values(fresh))
            waiting = _one(connection, delivery_id)
        if self._trail is not None:
            said = {"message": delivery.message.id, "channel": delivery.channel, "to": delivery.to, "reason": reason}
            self._trail.write(by, "delivery.again", f"delivery {delivery_id}", said)
        return waiting

    def get(self, delivery_id: int) -> Delivery:
        """Return one delivery; UnknownError if there is none of that id."""
        with reading(self._engine) as connection:
            return _one(connection, delivery_id)

    def list(self, *, state: DeliveryState | None = None, channel: str = "", limit: int = 100) -> Sequence[Delivery]:
        """Return the newest deliveries, newest first: the dead letters, those that wait, of one channel."""
        wanted: list[Any] = [] if state is None else [deliveries.c.state == state.value]
        if channel:
            wanted.append(deliveries.c.channel == channel)
        with reading(self._engine) as connection:
            rows = connection.execute(select(deliveries).where(*wanted).order_by(deliveries.c.id.desc()).limit(limit))
            return [_delivery(row) for row in rows]

    def _end(self, delivery: Delivery, state: DeliveryState, error: str) -> None:
        with writing(self._engine) as connection:
            ended = {"state": state.value, "ended": to_ms(self._clock.now()), "error": error}
            connection.execute(_of(delivery.id).values(ended))


def _of(delivery_id: int) -> Any:
    return update(deliveries).where(deliveries.c.id == delivery_id)


def _waiting(connection: Connection, route: str, group: str) -> set[tuple[str, str]]:
    same = (deliveries.c.route == route, deliveries.c.group == group, deliveries.c.state == "waiting")
    rows = connection.execute(select(deliveries.c.channel, deliveries.c.to).where(*same))
    return {(row.channel, row.to) for row in rows}


def _one(connection: Connection, delivery_id: int) -> Delivery:
    row = connection.execute(select(deliveries).where(deliveries.c.id == delivery_id)).first()
    if row is None:
        raise UnknownError("no such delivery", where=f"delivery {delivery_id}", expected="one of the outbox")
    return _delivery(row)


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        row.id,
        decode(row.body),
        row.channel,
        row.to,
        DeliveryState(row.state),
        from_ms(row.created),
        from_ms(row.due),
        row.attempts,
        None if row.ended is None else from_ms(row.ended),
        row.error,
    )


__all__ = ["CLAIMED", "Delivery", "DeliveryState", "Outbox", "put"]
