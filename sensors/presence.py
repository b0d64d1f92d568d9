"""Presence: what field devices last said of themselves on ``status``, and when they were last heard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, bindparam, insert, select, update

from sensors.clock import from_ms, to_ms
from sensors.device import DeviceId
from sensors.operations import devices, presence, reading, writing

MAX_LOST = 100
"""Ranges of lost messages that are kept of a device, the newest."""

_CHUNK = 500
"""Names in one question: databases bound the variables of a statement."""

_ranges = msgspec.json.Decoder(list[tuple[int, int]])


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """What a device said of itself. `since` is when it came or went, `last` when it was last heard, aware UTC.

    `birth` is its birth message as it came (JSON), empty if it never sent one; `lost` are the closed ranges of seq
    that it declared lost in its present `boot`.
    """

    device: DeviceId
    online: bool
    since: datetime
    last: datetime | None = None
    boot: int | None = None
    birth: str = ""
    lost: tuple[tuple[int, int], ...] = ()


class Presence:
    """The status of every device, in the operations database behind `engine` (of `operations.connect`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, rows: Iterable[DeviceStatus]) -> None:
        """Add what devices said to what is known, all or none; several rows of one device in their order.

        `since` stays where `online` and `boot` do, `last` never goes back; a row without boot or birth keeps the
        known one; `lost` is added to what was lost in the same boot.
        """
        given = list(rows)
        if not given:
            return
        with writing(self._engine) as connection:
            known = _known(connection, sorted({row.device for row in given}))
            before = set(known)
            for row in given:
                known[row.device] = _joined(known.get(row.device), row)
            fresh = [_row(status) for device, status in known.items() if device not in before]
            changed = [{**_row(status), "key": device} for device, status in known.items() if device in before]
            if fresh:
                connection.execute(insert(presence), fresh)
            if changed:
                statement = update(presence).where(presence.c.device == bindparam("key"))
                names = [name for name in changed[0] if name != "key"]
                connection.execute(statement.values({name: bindparam(name) for name in names}), changed)

    def get(self, device: str) -> DeviceStatus | None:
        """Return what `device` last said, or None where it never said anything."""
        with reading(self._engine) as connection:
            return _known(connection, [device]).get(DeviceId(device))

    def list(self, district: str | None = None) -> list[DeviceStatus]:
        """Return the status of the registered devices of `district` (None: of all) that ever said one, by device."""
        query = select(presence).join(devices, devices.c.device == presence.c.device).order_by(presence.c.device)
        if district is not None:
            query = query.where(devices.c.district == district)
        with reading(self._engine) as connection:
            return [_status(row) for row in connection.execute(query)]


def _known(connection: Connection, names: Sequence[str]) -> dict[DeviceId, DeviceStatus]:
    found: dict[DeviceId, DeviceStatus] = {}
    for start in range(0, len(names), _CHUNK):
        query = select(presence).where(presence.c.device.in_(names[start : start + _CHUNK]))
        found |= {DeviceId(row.device): _status(row) for row in connection.execute(query)}
    return found


def _joined(known: DeviceStatus | None, new: DeviceStatus) -> DeviceStatus:
    known = known or DeviceStatus(new.device, new.online, new.since, boot=new.boot)
    boot = known.boot if new.boot is None else new.boot
    same_boot = boot == known.boot
    lost = (*known.lost, *(each for each in new.lost if each not in known.lost)) if same_boot else new.lost
    heard = [time for time in (known.last, new.last) if time is not None]
    return DeviceStatus(
        new.device,
        new.online,
        known.since if same_boot and new.online is known.online else new.since,
        max(heard, default=None),
        boot,
        new.birth or known.birth,
        lost[-MAX_LOST:],
    )


def _status(row: Row[Any]) -> DeviceStatus:
    return DeviceStatus(
        DeviceId(row.device),
        bool(row.online),
        from_ms(row.since),
        None if row.last is None else from_ms(row.last),
        row.boot,
        row.birth or "",
        tuple(_ranges.decode(row.lost)) if row.lost else (),
    )


def _row(status: DeviceStatus) -> dict[str, Any]:
    return {
        "device": status.device,
        "online": status.online,
        "since": to_ms(status.since),
        "last": None if status.last is None else to_ms(status.last),
        "boot": status.boot,
        "birth": status.birth or None,
        "lost": msgspec.json.encode(status.lost).decode() if status.lost else None,
    }


__all__ = ["DeviceStatus", "Presence"]
