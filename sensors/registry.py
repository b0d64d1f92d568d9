"""The registry: which field devices there are, where they are bound, and which series their points fill.

A point is given its series number once and keeps it for ever, whatever becomes of its device: stored readings and
detector state are indexed by it. Numbers are dense from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, bindparam, func, insert, select, update

from sensors.device import Device, DeviceId, Point
from sensors.device_list import check, read_devices
from sensors.operations import advance, counter, devices, points, reading, writing
from twin.asset import AssetId, System
from twin.errors import InputError, UnknownError

_CHUNK = 500
"""Names in one question: databases bound the variables of a statement."""

_BLOCK = 5000
"""Rows that are fetched at a time where all are read."""

_ANY = TypeVar("_ANY")


class Registry:
    """The devices of a city, in the operations database behind `engine` (of `operations.connect`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, new: Iterable[Device]) -> None:
        """Add or replace devices, all or none; `Point.series` of what comes in is ignored.

        InputError for a name that no topic can carry, a device without points, a point twice, an interval that is
        not positive; for an unknown quantity or a unit that does not fit; for an address or a point's code twice;
        with the device named.
        """
        given = {device.id: device for device in new}
        for device in given.values():
            check(device)
        with writing(self._engine) as connection:
            advance(connection, "registry")
            _check_addresses(connection, list(given.values()))
            _put_devices(connection, list(given.values()))
            _put_points(connection, list(given.values()))

    def rebind(self, renamed: Mapping[AssetId, AssetId]) -> list[DeviceId]:
        """Bind the devices of each asset of `renamed` to what it is called now, all or none; returns those devices."""
        with writing(self._engine) as connection:
            query = select(devices.c.device, devices.c.asset).where(devices.c.asset.is_not(None))
            bound = [(row.device, renamed[row.asset]) for row in connection.execute(query) if row.asset in renamed]
            if bound:
                advance(connection, "registry")
                statement = update(devices).where(devices.c.device == bindparam("key")).values(asset=bindparam("to"))
                connection.execute(statement, [{"key": device, "to": asset} for device, asset in bound])
        return [DeviceId(device) for device, _ in bound]

    def retire(self, device: str) -> Device:
        """Take `device` out of service and return it: its messages are refused, its series and history stay.

        UnknownError if there is none; one that is retired already stays so.
        """
        with writing(self._engine) as connection:
            retired = update(devices).where(devices.c.device == device, devices.c.retired.is_(False))
            if connection.execute(retired.values(retired=True)).rowcount:
                advance(connection, "registry")
            return _one(connection, device)

    def each(self, district: str | None = None) -> Iterator[Device]:
        """Yield the devices of `district` (None: of all), as `devices` would, a block at a time.

        All in one picture of the database, which stays open until the last. Units, quantities, places in the tree and
        intervals that devices have in common are one object, so that a million devices stay small.
        """
        with reading(self._engine) as connection:
            yield from _read(connection, *(() if district is None else (devices.c.district == district,)))

    def devices(self) -> list[Device]:
        """Return every device with the series numbers of its points, retired ones too, ordered by id."""
        return list(self.each())

    def get(self, device: str) -> Device:
        """Return the device called `device`; UnknownError if there is none."""
        with reading(self._engine) as connection:
            return _one(connection, device)

    def count(self) -> int:
        """Return how many devices there are, retired ones too."""
        with reading(self._engine) as connection:
            return int(connection.execute(select(func.count()).select_from(devices)).scalar_one())

    def version(self) -> int:
        """Return a number that grows with every change: who keeps devices in memory reads them again then."""
        with reading(self._engine) as connection:
            return counter(connection, "registry")


def _check_addresses(connection: Connection, given: Sequence[Device]) -> None:
    """Refuse an address that two devices would have: what comes from it could not be told apart."""
    owners: dict[str, str] = {}
    addressed = [device for device in given if device.address]
    for rows in _chunks([device.address for device in addressed]):
        query = select(devices.c.address, devices.c.device).where(devices.c.address.in_(rows))
        owners |= {row.address: row.device for row in connection.execute(query)}
    replaced = {device.id for device in given}
    owners = {address: owner for address, owner in owners.items() if owner not in replaced}
    for device in addressed:
        owner = owners.setdefault(device.address, device.id)
        if owner != device.id:
            raise InputError(f"address {device.address} is that of {owner}", where=device.id, expected="one of its own")


def _put_devices(connection: Connection, given: Sequence[Device]) -> None:
    known: set[str] = set()
    for ids in _chunks([device.id for device in given]):
        known.update(connection.execute(select(devices.c.device).where(devices.c.device.in_(ids))).scalars())
    rows = [_device_row(device) for device in given]
    fresh = [row for row in rows if row["device"] not in known]
    changed = [{**row, "key": row["device"]} for row in rows if row["device"] in known]
    if changed:
        # An address that goes from one of them to another is free before it is taken.
        free = update(devices).where(devices.c.device == bindparam("key")).values(address=None)
        connection.execute(free, [{"key": row["key"]} for row in changed])
        statement = update(devices).where(devices.c.device == bindparam("key"))
        connection.execute(statement.values({name: bindparam(name) for name in rows[0]}), changed)
    if fresh:
        _insert(connection, devices, devices.c.device, fresh)


def _put_points(connection: Connection, given: Sequence[Device]) -> None:
    """Write the points of `given`; those that a device no longer has lose their position and keep their series."""
    known: dict[tuple[str, str], int] = {}
    for ids in _chunks([device.id for device in given]):
        query = select(points.c.device, points.c.name, points.c.series).where(points.c.device.in_(ids))
        known |= {(row.device, row.name): int(row.series) for row in connection.execute(query)}
    following = int(connection.execute(select(func.coalesce(func.max(points.c.series), -1))).scalar_one()) + 1
    fresh: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    for device in given:
        for position, point in enumerate(device.points):
            row = _point_row(device, point, position)
            series = known.get((device.id, point.name))
            if series is None:
                fresh.append({**row, "series": following + len(fresh)})
            else:
                changed.append({**row, "key": series})
    if known:
        gone = update(points).where(points.c.device == bindparam("owner")).values(position=None)
        connection.execute(gone, [{"owner": device} for device in sorted({device for device, _ in known})])
    if fresh:
        _insert(connection, points, points.c.series, fresh)
    if changed:
        statement = update(points).where(points.c.series == bindparam("key"))
        names = [name for name in changed[0] if name != "key"]
        connection.execute(statement.values({name: bindparam(name) for name in names}), changed)


def _insert(connection: Connection, table: Table, key: Column[Any], rows: Sequence[dict[str, Any]]) -> None:
    """Insert `rows`, a thousand a statement: what is returned makes SQLAlchemy bundle them for every driver."""
    connection.execute(insert(table).returning(key), rows).close()


def _device_row(device: Device) -> dict[str, Any]:
    return {
        "device": device.id,
        "district": device.district,
        "system": device.system.value,
        "interval_ms": round(device.interval / timedelta(milliseconds=1)),
        "name": device.name,
        "asset": device.asset,
        "easting": device.easting,
        "northing": device.northing,
        "model": device.model,
        "retired": device.retired,
        "address": device.address or None,
    }


def _point_row(device: Device, point: Point, position: int) -> dict[str, Any]:
    return {
        "device": device.id,
        "name": point.name,
        "position": position,
        "quantity": point.quantity,
        "unit": point.unit,
        "low": point.low,
        "high": point.high,
        "crown_m": point.crown_m,
        "depth_m": point.depth_m,
        "code": point.code,
        "calibrated": point.calibrated,
        "calibration_due": point.calibration_due,
    }


def _one(connection: Connection, device: str) -> Device:
    for found in _read(connection, devices.c.device == device):
        return found
    raise UnknownError("no such device", where=device, expected="one of `chengmai devices list`")


def _read(connection: Connection, *where: ColumnElement[bool]) -> Iterator[Device]:
    """Yield the devices of `where`: two questions in the order of the devices, read side by side."""
    of_points = select(points).where(points.c.position.is_not(None)).order_by(points.c.device, points.c.position)
    if where:
        of_points = of_points.join(devices, devices.c.device == points.c.device).where(*where)
    of_devices = select(devices).where(*where).order_by(devices.c.device)
    share = dict[Any, Any]().setdefault  # one object of each text and number that many devices have in common
    block = {"yield_per": _BLOCK}
    its_points = _points(connection.execute(of_points, execution_options=block), share)
    owner, point = next(its_points, _NO_MORE)
    for row in connection.execute(of_devices, execution_options=block):
        device, district, system, interval_ms, name, asset, easting, northing, model, retired, address = row
        found: list[Point] = []
        while owner == device and point is not None:
            found.append(point)
            owner, point = next(its_points, _NO_MORE)
        yield Device(
            DeviceId(device),
            share(district, district),
            _SYSTEMS[system],
            tuple(found),
            _interval(interval_ms),
            name,
            None if asset is None else AssetId(asset),
            easting,
            northing,
            share(model, model),
            bool(retired),
            address or "",
        )


def _points(rows: Iterable[Any], share: Callable[[Any, Any], Any]) -> Iterator[tuple[str, Point | None]]:
    """Yield each point after the id of its device. The columns are unpacked: by name they take twice as long."""
    for series, device, name, _, quantity, unit, low, high, crown_m, depth_m, code, calibrated, due in rows:
        yield (
            device,
            Point(
                share(name, name),
                share(quantity, quantity),
                share(unit, unit),
                series,
                share(low, low),
                share(high, high),
                crown_m,
                depth_m,
                code or "",
                share(calibrated, calibrated),
                share(due, due),
            ),
        )


@cache
def _interval(ms: int) -> timedelta:
    return timedelta(milliseconds=ms)


_NO_MORE: tuple[str, Point | None] = ("", None)
_SYSTEMS = {system.value: system for system in System}


def _chunks(names: Sequence[_ANY]) -> Iterator[Sequence[_ANY]]:
    return (names[start : start + _CHUNK] for start in range(0, len(names), _CHUNK))


__all__ = ["Registry", "read_devices"]
