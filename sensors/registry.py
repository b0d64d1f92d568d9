"""The registry: which field devices there are, where they are bound, and which series their points fill.

A point is given its series number once and keeps it for ever, whatever becomes of its device: stored readings and
detector state are indexed by it. Numbers are dense from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, bindparam, func, insert, select, update

from sensors.device import Device, DeviceId, Point
from sensors.device_list import check, read_devices
from sensors.operations import advance, counter, devices, points, reading, writing
from twin.asset import AssetId, System
from twin.errors import UnknownError


class Registry:
    """The devices of a city, in the operations database behind `engine` (of `operations.connect`)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, new: Iterable[Device]) -> None:
        """Add or replace devices, all or none; `Point.series` of what comes in is ignored.

        InputError for a name that no topic can carry, a device without points, a point twice, an interval that is
        not positive; for an unknown quantity or a unit that does not fit, with the device named.
        """
        given = {device.id: device for device in new}
        for device in given.values():
            check(device)
        with writing(self._engine) as connection:
            advance(connection, "registry")
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

    def devices(self) -> list[Device]:
        """Return every device with the series numbers of its points, retired ones too, ordered by id."""
        with reading(self._engine) as connection:
            return _read(connection, None)

    def get(self, device: str) -> Device:
        """Return the device called `device`; UnknownError if there is none."""
        with reading(self._engine) as connection:
            found = _read(connection, device)
        if not found:
            raise UnknownError("no such device", where=device, expected="one of `chengmai devices list`")
        return found[0]

    def version(self) -> int:
        """Return a number that grows with every change: who keeps devices in memory reads them again then."""
        with reading(self._engine) as connection:
            return counter(connection, "registry")


def _put_devices(connection: Connection, given: Sequence[Device]) -> None:
    known = set(connection.execute(select(devices.c.device)).scalars())
    rows = [_device_row(device) for device in given]
    fresh = [row for row in rows if row["device"] not in known]
    changed = [{**row, "key": row["device"]} for row in rows if row["device"] in known]
    if fresh:
        connection.execute(insert(devices), fresh)
    if changed:
        statement = update(devices).where(devices.c.device == bindparam("key"))
        connection.execute(statement.values({name: bindparam(name) for name in rows[0]}), changed)


def _put_points(connection: Connection, given: Sequence[Device]) -> None:
    """Write the points of `given`; those that a device no longer has lose their position and keep their series."""
    query = select(points.c.device, points.c.name, points.c.series)
    known = {(row.device, row.name): int(row.series) for row in connection.execute(query)}
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
    if given:
        gone = update(points).where(points.c.device == bindparam("owner")).values(position=None)
        connection.execute(gone, [{"owner": device.id} for device in given])
    if fresh:
        connection.execute(insert(points), fresh)
    if changed:
        statement = update(points).where(points.c.series == bindparam("key"))
        names = [name for name in changed[0] if name != "key"]
        connection.execute(statement.values({name: bindparam(name) for name in names}), changed)


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


def _read(connection: Connection, device: str | None) -> list[Device]:
    of_points = select(points).where(points.c.position.is_not(None)).order_by(points.c.device, points.c.position)
    of_devices = select(devices).order_by(devices.c.device)
    if device is not None:
        of_points = of_points.where(points.c.device == device)
        of_devices = of_devices.where(devices.c.device == device)
    grouped: dict[str, list[Point]] = {}
    for row in connection.execute(of_points):
        point = Point(
            row.name,
            row.quantity,
            row.unit,
            row.series,
            row.low,
            row.high,
            crown_m=row.crown_m,
            depth_m=row.depth_m,
            code=row.code or "",
            calibrated=row.calibrated,
            calibration_due=row.calibration_due,
        )
        grouped.setdefault(row.device, []).append(point)
    return [_device(row, tuple(grouped.get(row.device, ()))) for row in connection.execute(of_devices)]


def _device(row: Row[Any], its_points: tuple[Point, ...]) -> Device:
    return Device(
        id=DeviceId(row.device),
        district=row.district,
        system=System(row.system),
        points=its_points,
        interval=timedelta(milliseconds=row.interval_ms),
        name=row.name,
        asset=None if row.asset is None else AssetId(row.asset),
        easting=row.easting,
        northing=row.northing,
        model=row.model,
        retired=bool(row.retired),
        address=row.address or "",
    )


__all__ = ["Registry", "read_devices"]
