"""Registering a device: its points as a person types them, the place of what it stands on, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dashboards.settings import Settings
from sensors.device import Device, Point
from sensors.operations import connect
from sensors.presence import DeviceStatus
from sensors.quantity import usual_unit
from sensors.registry import Registry
from twin.asset import System
from twin.city import City
from twin.errors import InputError, UnknownError
from twin.matching import geometry_of
from twin.model import Decision


def registry_of(settings: Settings) -> Registry:
    """Return the registry that the settings name."""
    return Registry(connect(settings.operations_url()))


def points_of(texts: Iterable[str], system: System | None) -> list[dict[str, str]]:
    """Return points typed as ``NAME=QUANTITY[,KEY=VALUE…]`` in the form of a device list; InputError for another form.

    A point without a unit has the one that people of `system` read its quantity in.
    """
    rows: list[dict[str, str]] = []
    for text in texts:
        parts = [part.partition("=") for part in text.split(",")]
        if not all(key and equals and value for key, equals, value in parts):
            raise InputError(f"{text!r} is no point", where="--point", expected="NAME=QUANTITY[,KEY=VALUE…]")
        name, _, quantity = parts[0]
        row = {"name": name, "quantity": quantity} | {key: value for key, _, value in parts[1:]}
        rows.append(row if "unit" in row else {**row, "unit": usual_unit(quantity, system or "")})
    return rows


def place_of(settings: Settings, asset: str | None) -> tuple[float | None, float | None]:
    """Return easting and northing (the city's CRS, metres) of a point on `asset`; UnknownError where it has none such.

    Nothing is known of the place without an asset, or as long as there is no city database.
    """
    path = settings.resolve(settings.city.file)
    if asset is None or not path.is_file():
        return None, None
    with City.open(path) as city:
        shape = geometry_of(city.asset(asset))
        placed = {row.source for row in city.sources() if row.placement.decision is Decision.PLACED}
    if asset.partition(":")[0] not in placed:  # its model's coordinates are not the city's
        return None, None
    if shape is None or shape.is_empty:
        return None, None
    point = shape.representative_point()
    return float(point.x), float(point.y)


def refuse_known(registry: Registry, device: str) -> None:
    """Refuse to register `device` where there is one of that name."""
    try:
        known = registry.get(device)
    except UnknownError:
        return
    where = f"{device} ({known.district}/{known.system})"
    raise InputError("is registered already", where=where, expected="another name, or --replace")


def record(device: Device, heard: DeviceStatus | None = None) -> dict[str, Any]:
    """Return a device in the form that `devices import` reads, with the series of its points and what it said."""
    return {
        "device": device.id,
        "district": device.district,
        "system": device.system.value,
        "asset": device.asset,
        "easting": device.easting,
        "northing": device.northing,
        "interval_s": device.interval.total_seconds(),
        "name": device.name,
        "model": device.model,
        "address": device.address,
        "retired": device.retired,
        "heard": None if heard is None else _said(heard),
        "points": [_point(point) for point in device.points],
    }


def lines(shown: dict[str, Any]) -> list[str]:
    """Return what `record` gave as lines for a person."""
    plain = [f"{key:<11} {value}" for key, value in shown.items() if _said_plainly(key, value)]
    heard: dict[str, Any] = shown["heard"] or {}
    plain += [f"heard       {key}={value}" for key, value in heard.items() if value not in {None, ""}]
    for point in shown["points"]:
        said = " ".join(f"{key}={value}" for key, value in point.items() if key != "name" and value not in {None, ""})
        plain.append(f"point       {point['name']}: {said}")
    return plain


def heard_in_words(status: DeviceStatus | None) -> str:
    """Return in a few words whether a device is there."""
    if status is None:
        return "never"
    return f"{'online' if status.online else 'offline'} {status.since:%m-%d %H:%M}Z"


def _said_plainly(key: str, value: object) -> bool:
    return key not in {"points", "heard"} and value is not None and value not in {"", False}


def _said(status: DeviceStatus) -> dict[str, Any]:
    return {
        "online": status.online,
        "since": status.since.isoformat(timespec="milliseconds"),
        "last": None if status.last is None else status.last.isoformat(timespec="milliseconds"),
        "boot": status.boot,
        "birth": status.birth,
        "lost": " ".join(f"{first}-{last}" for first, last in status.lost),
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "name": point.name,
        "series": point.series,
        "quantity": point.quantity,
        "unit": point.unit,
        "low": point.low,
        "high": point.high,
        "crown_m": point.crown_m,
        "depth_m": point.depth_m,
        "code": point.code,
        "calibrated": None if point.calibrated is None else point.calibrated.isoformat(),
        "calibration_due": None if point.calibration_due is None else point.calibration_due.isoformat(),
    }


__all__ = ["heard_in_words", "lines", "place_of", "points_of", "record", "refuse_known", "registry_of"]
