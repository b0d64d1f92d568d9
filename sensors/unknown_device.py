"""Unknown devices: those that send and are in no registry, with what they send, until somebody adopts them.

Anybody whom the broker lets in can make such devices up, so that what is kept of them is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, bindparam, delete, func, insert, select, update

from sensors.clock import from_ms, to_ms
from sensors.operations import reading, unknown_devices, writing
from twin.asset import System
from twin.errors import UnknownError

MAX_DEVICES = 10_000
MAX_POINTS = 100
MAX_TEXT = 256
MAX_BIRTH = 8192
"""What is kept: devices, points of one, characters of a name, unit or address, and of a birth message."""

_CHUNK = 500
"""Names in one question: databases bound the variables of a statement."""


class SeenPoint(msgspec.Struct, frozen=True):
    """What a point was last seen with: the `unit` its payload named (None: none), and the value in it."""

    unit: str | None = None
    value: float | None = None


_points = msgspec.json.Decoder(dict[str, SeenPoint])


@dataclass(frozen=True, slots=True)
class Sighting:
    """One or more messages of a device that the registry does not know.

    `device` is the name in its topic, or its address where its protocol has names of its own (``spBv1.0/…``,
    ``hj212/…``: `system` is then None where nothing tells it). `first` and `last` are when it was heard, aware UTC,
    by the city's clock; `birth` is its birth message (JSON) or empty; `points` are what it sent, by the name that it
    gave them.
    """

    device: str
    district: str
    system: System | None
    first: datetime
    last: datetime
    messages: int = 1
    birth: str = ""
    points: Mapping[str, SeenPoint] = field(default_factory=dict[str, SeenPoint])

    @property
    def interval(self) -> timedelta | None:
        """The mean time between its messages, or None after fewer than two."""
        return (self.last - self.first) / (self.messages - 1) if self.messages > 1 else None


class UnknownDevices:
    """The unknown devices, in the operations database behind `engine` (of `operations.connect`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(self, seen: Iterable[Sighting]) -> None:
        """Add sightings to what is known, all or none; devices past `MAX_DEVICES` and points past `MAX_POINTS` go."""
        gathered: dict[str, Sighting] = {}
        for sighting in seen:
            if len(sighting.device) <= MAX_TEXT:
                gathered[sighting.device] = _joined(gathered.get(sighting.device), sighting)
        if not gathered:
            return
        with writing(self._engine) as connection:
            known = _known(connection, sorted(gathered))
            room = MAX_DEVICES - int(connection.execute(select(func.count()).select_from(unknown_devices)).scalar_one())
            fresh = [_row(sighting) for device, sighting in gathered.items() if device not in known][: max(room, 0)]
            joined = [_joined(known[device], gathered[device]) for device in known]
            if fresh:
                connection.execute(insert(unknown_devices), fresh)
            if joined:
                changed = [{**_row(sighting), "key": sighting.device} for sighting in joined]
                statement = update(unknown_devices).where(unknown_devices.c.device == bindparam("key"))
                names = [name for name in changed[0] if name != "key"]
                connection.execute(statement.values({name: bindparam(name) for name in names}), changed)

    def list(self, district: str | None = None) -> list[Sighting]:
        """Return the unknown devices of `district` (None: of all), the one heard last first."""
        query = select(unknown_devices).order_by(unknown_devices.c.last.desc(), unknown_devices.c.device)
        if district is not None:
            query = query.where(unknown_devices.c.district == district)
        with reading(self._engine) as connection:
            return [_sighting(row) for row in connection.execute(query)]

    def get(self, device: str) -> Sighting:
        """Return what is known of the unknown `device`; UnknownError if nothing of that name was heard."""
        with reading(self._engine) as connection:
            found = _known(connection, [device])
        if device not in found:
            raise UnknownError(
                "no unknown device was heard", where=device, expected="one of `chengmai devices unknown`"
            )
        return found[device]

    def forget(self, device: str) -> None:
        """Drop `device`: it has been adopted, or is of no interest. Nothing happens if it is not there."""
        with writing(self._engine) as connection:
            connection.execute(delete(unknown_devices).where(unknown_devices.c.device == device))


def _known(connection: Connection, names: Sequence[str]) -> dict[str, Sighting]:
    found: dict[str, Sighting] = {}
    for start in range(0, len(names), _CHUNK):
        query = select(unknown_devices).where(unknown_devices.c.device.in_(names[start : start + _CHUNK]))
        found |= {row.device: _sighting(row) for row in connection.execute(query)}
    return found


def _joined(known: Sighting | None, new: Sighting) -> Sighting:
    """Return what both say, within the bounds; a point that names no unit now keeps the one it named before."""
    points = dict(known.points) if known else {}
    for name, point in new.points.items():
        if len(name) > MAX_TEXT or len(point.unit or "") > MAX_TEXT:
            continue
        if name in points or len(points) < MAX_POINTS:
            before = points.get(name, SeenPoint())
            points[name] = SeenPoint(
                before.unit if point.unit is None else point.unit, before.value if point.value is None else point.value
            )
    birth = new.birth if len(new.birth) <= MAX_BIRTH else ""
    if known is None:
        return replace(new, points=points, birth=birth)
    return Sighting(
        new.device,
        new.district,
        new.system or known.system,
        min(known.first, new.first),
        max(known.last, new.last),
        known.messages + new.messages,
        birth or known.birth,
        points,
    )


def _sighting(row: Row[Any]) -> Sighting:
    return Sighting(
        row.device,
        row.district,
        System(row.system) if row.system else None,
        from_ms(row.first),
        from_ms(row.last),
        row.messages,
        row.birth or "",
        _points.decode(row.points),
    )


def _row(sighting: Sighting) -> dict[str, Any]:
    return {
        "device": sighting.device,
        "district": sighting.district,
        "system": "" if sighting.system is None else sighting.system.value,
        "first": to_ms(sighting.first),
        "last": to_ms(sighting.last),
        "messages": sighting.messages,
        "birth": sighting.birth or None,
        "points": msgspec.json.encode(dict(sighting.points)).decode(),
    }


__all__ = ["SeenPoint", "Sighting", "UnknownDevices"]
