"""What became of alarms in a time, as columns: read from the operations database in one picture, for `performance`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Select, case, func, select, union

from sensors.alarm import Event
from sensors.clock import to_ms
from sensors.operations import alarms, devices, reading, transitions

BEFORE = timedelta(hours=1)
"""So much before the time that is asked for is read too: a flood does not begin anew with a shift."""

_BLOCK = 50_000


class Change(IntEnum):
    """What happens to an alarm, as far as figures go; `OTHER` is all that neither sounds, ends nor answers it."""

    OTHER = 0
    RAISED = 1
    REOPENED = 2
    ESCALATED = 3
    """It asks to be acknowledged anew, as a worse one."""
    CLEARED = 4
    ACKNOWLEDGED = 5


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """Alarms, and their changes in the order of alarm and version; columns of one length each.

    Of alarms: `key` into `keys` (subject, rule), `place` into `places` (system, district; "" where nobody knows). Of
    changes: `alarm`, the row of its alarm here; `at`, ms since 1970 UTC; `change` (`Change`); `level`, 1 to 4, led to.
    """

    keys: Sequence[tuple[str, str]]
    places: Sequence[tuple[str, str]]
    key: NDArray[np.int64]
    place: NDArray[np.int64]
    alarm: NDArray[np.int64]
    at: NDArray[np.int64]
    change: NDArray[np.int64]
    level: NDArray[np.int64]

    def where(self, watched: Callable[[str, str], bool]) -> History:
        """Return the history of the alarms of which `watched` (system, district) is true, such as one desk's."""
        chosen = np.fromiter((watched(*place) for place in self.places), np.bool_, len(self.places))
        kept = chosen[self.place][self.alarm]
        changes = (column[kept] for column in (self.alarm, self.at, self.change, self.level))
        return History(self.keys, self.places, self.key, self.place, *changes)


def read_history(engine: Engine, start: datetime, end: datetime) -> History:
    """Return what became, before `end`, of the alarms that stood or changed from `BEFORE` before `start` on.

    `engine` is of `operations.connect`. Nothing that happened from `end` on is in it: figures of a shift stay as they
    were when it ended.
    """
    since, until = to_ms(start - BEFORE), to_ms(end)
    # what is not open now and did not change since was normal then: nothing is to be told of it
    told = union(
        select(alarms.c.id).where(alarms.c.open), select(transitions.c.alarm).where(transitions.c.at >= since)
    ).subquery()
    wanted = alarms.c.detected < until
    with reading(engine) as connection:
        rows = connection.execute(_alarms().join(told, told.c.id == alarms.c.id).where(wanted)).all()
        of_them = _changes().join(told, told.c.id == alarms.c.id)
        found = _columns(connection, of_them.where(wanted, transitions.c.at < until))
    return history(rows, found)


def history(rows: Iterable[Sequence[Any]], changes: NDArray[np.int64]) -> History:
    """Return the history of alarms (id, subject, rule, system, district) and (n, 5) changes in any order.

    Columns of `changes`: alarm id, version, ms since 1970 UTC, `Change`, level. Each is of one of the alarms.
    """
    keys: dict[tuple[str, str], int] = {}
    places: dict[tuple[str, str], int] = {}
    coded = np.fromiter(
        chain.from_iterable(
            (number, keys.setdefault((subject, rule), len(keys)), places.setdefault((system, district), len(places)))
            for number, subject, rule, system, district in rows
        ),
        np.int64,
    ).reshape(-1, 3)
    coded = coded[np.argsort(coded[:, 0])]
    ordered = changes[np.lexsort((changes[:, 1], changes[:, 0]))]
    alarm = np.searchsorted(coded[:, 0], ordered[:, 0])
    return History(
        list(keys), list(places), coded[:, 1], coded[:, 2], alarm, ordered[:, 2], ordered[:, 3], ordered[:, 4]
    )


def _alarms() -> Select[*tuple[Any, ...]]:
    known = select(alarms.c.id, alarms.c.subject, alarms.c.rule, alarms.c.system, func.coalesce(devices.c.district, ""))
    return known.outerjoin(devices, devices.c.device == alarms.c.device)


_CODES = {
    Event.RAISED: Change.RAISED,
    Event.REOPENED: Change.REOPENED,
    Event.ESCALATED: Change.ESCALATED,
    Event.CLEARED: Change.CLEARED,
    Event.ACKNOWLEDGED: Change.ACKNOWLEDGED,
}


def _changes() -> Select[*tuple[Any, ...]]:
    change = case(
        {event.value: code.value for event, code in _CODES.items()},
        value=transitions.c.event,
        else_=Change.OTHER.value,
    )
    known = select(transitions.c.alarm, transitions.c.version, transitions.c.at, change, transitions.c.level)
    return known.join(alarms, alarms.c.id == transitions.c.alarm)


def _columns(connection: Connection, query: Select[*tuple[Any, ...]]) -> NDArray[np.int64]:
    """Return the rows of five whole numbers that `query` finds, a block at a time."""
    blocks = [
        np.fromiter(chain.from_iterable(block), np.int64, 5 * len(block)).reshape(-1, 5)
        for block in connection.execution_options(yield_per=_BLOCK).execute(query).partitions()
    ]
    return np.concatenate(blocks) if blocks else np.empty((0, 5), np.int64)


__all__ = ["BEFORE", "Change", "History", "history", "read_history"]
