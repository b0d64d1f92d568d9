"""Lists of devices as files: JSON (a list of devices with points) and CSV (one row a point)."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec

from sensors.device import NAME, Device, DeviceId, Point
from sensors.quantity import scale
from twin.asset import AssetId, System
from twin.errors import ChengmaiError, InputError

_Row: TypeAlias = tuple[str, dict[str, Any]]

_SHORTEST = timedelta(milliseconds=1)
_LONGEST_S = 366 * 86_400.0
"""What an interval may be: whole milliseconds are kept, and silence is counted in intervals."""


_ADDRESS = re.compile(r"spBv1\.0/[^/+#\x00]+/[^/+#\x00]+(/[^/+#\x00]+)?|hj212/[A-Za-z0-9_-]{1,64}")
_ADDRESS_FORMS = "spBv1.0/{group}/{node}, spBv1.0/{group}/{node}/{device} or hj212/{MN}"
"""What an address looks like: Sparkplug 3.0.0 allows its names any UTF-8 but '/', '+' and '#'
(tck-id-topic-structure-namespace-valid-group-id and its like); an MN is held to what the other names here may be."""


class _Point(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    quantity: str
    unit: str
    low: float | None = None
    high: float | None = None
    crown_m: float | None = None
    depth_m: float | None = None
    code: str = ""
    calibrated: date | None = None
    calibration_due: date | None = None
    series: int | None = None  # as `chengmai devices show` gives it; the registry alone says what it is


class _Device(msgspec.Struct, forbid_unknown_fields=True):
    device: str
    district: str
    system: System
    points: list[_Point]
    interval_s: Annotated[float, msgspec.Meta(le=_LONGEST_S)]
    name: str = ""
    asset: str | None = None
    easting: float | None = None
    northing: float | None = None
    model: str = ""
    retired: bool = False
    address: str = ""
    heard: Any = None  # as `chengmai devices show` gives it; what a device said is kept elsewhere


_POINT_COLUMNS = {"point": "name"} | {name: name for name in _Point.__struct_fields__ if name not in {"name", "series"}}
_DEVICE_COLUMNS = tuple(name for name in _Device.__struct_fields__ if name not in {"points", "heard"})


def read_devices(path: Path) -> list[Device]:
    """Return the devices listed in the file at `path`, JSON or CSV by its ending, checked as the registry would.

    JSON: a list of objects with `device`, `district`, `system`, `interval_s`, `points` and optionally `name`,
    `asset`, `easting`, `northing`, `model`, `retired`, `address`; a point has `name`, `quantity`, `unit` and optionally
    `low`, `high` (the sensor's span, SI), `crown_m`, `depth_m`, `code`, `calibrated`, `calibration_due` (days as
    YYYY-MM-DD); `series` and `heard` are not looked at. CSV: the same columns, one row a point with its name in
    `point`; rows of one device stand together or apart. InputError with the row, and E_MISSING, E_ENCODING, E_FORMAT.
    """
    rows = list(_csv(path) if path.suffix.lower() == ".csv" else _json(path))
    found: dict[str, Device] = {}
    for where, row in rows:
        device = device_of(where, row)
        if device.id in found:
            raise InputError(f"device {device.id} stands twice", where=where, expected="each device once")
        found[device.id] = device
    if not found:
        raise InputError("no device in it", where=str(path), expected="at least one", code="E_EMPTY")
    return list(found.values())


def check(device: Device) -> None:
    """Refuse a device that the contract could not name or whose points could not be read; as of `Registry.put`."""
    for what, name in (
        ("device", device.id),
        ("district", device.district),
        *(("point", p.name) for p in device.points),
    ):
        if not NAME.fullmatch(name):
            raise InputError(f"{name!r} is no {what} name", where=device.id, expected=NAME.pattern)
    names = [point.name for point in device.points]
    if not names or len(set(names)) != len(names):
        raise InputError(f"points {names}", where=device.id, expected="at least one, each once")
    codes = [point.code or point.name for point in device.points]
    if len(set(codes)) != len(codes):
        raise InputError(f"codes {codes}", where=device.id, expected="each once: they name points in its protocol")
    if device.address and not _ADDRESS.fullmatch(device.address):
        raise InputError(f"{device.address!r} is no address", where=device.id, expected=_ADDRESS_FORMS)
    if device.interval < _SHORTEST:
        raise InputError(f"interval {device.interval}", where=device.id, expected="1 ms or more")
    for point in device.points:
        _check_point(device, point)


def _check_point(device: Device, point: Point) -> None:
    where = f"device {device.id} point {point.name}"
    try:
        scale(point.unit, point.quantity)
    except ChengmaiError as error:
        raise InputError(error.what, where=where, expected=error.expected, code=error.code) from None
    if point.low is not None and point.high is not None and point.low >= point.high:
        raise InputError(f"span {point.low:g} to {point.high:g}", where=where, expected="low below high")
    if point.calibrated and point.calibration_due and point.calibration_due <= point.calibrated:
        what = f"calibration due {point.calibration_due}, calibrated {point.calibrated}"
        raise InputError(what, where=where, expected="due after it was done")


def _json(path: Path) -> Iterator[_Row]:
    try:
        rows = msgspec.json.decode(_text(path), type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise InputError(str(error), where=str(path), expected="a JSON list of devices", code="E_FORMAT") from None
    for number, row in enumerate(rows, start=1):
        yield f"{path} device {number}", row


def _csv(path: Path) -> Iterator[_Row]:
    """Yield the devices of a CSV file in the form of the JSON one; an empty cell is an absent value."""
    reader = csv.DictReader(_text(path).splitlines())
    known = {*_DEVICE_COLUMNS, *_POINT_COLUMNS}
    for column in reader.fieldnames or ():
        if column not in known:
            raise InputError(f"column {column!r}", where=str(path), expected=f"some of {', '.join(sorted(known))}")
    devices: dict[str, _Row] = {}
    for number, cells in enumerate(reader, start=2):
        where = f"{path} row {number}"
        if None in cells:
            raise InputError("more cells than columns", where=where, expected=f"{len(reader.fieldnames or ())} cells")
        row = {column: cell for column, cell in cells.items() if cell}
        point = {key: row[column] for column, key in _POINT_COLUMNS.items() if column in row}
        head = {column: row[column] for column in _DEVICE_COLUMNS if column in row}
        _, device = devices.setdefault(str(head.get("device", "")), (where, {**head, "points": []}))
        if {**device, "points": None} != {**head, "points": None}:
            raise InputError("differs from the device's first row", where=where, expected="the same device columns")
        device["points"].append(point)
    yield from devices.values()


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), code="E_MISSING") from None
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=str(path)) from None
    except UnicodeDecodeError:
        raise InputError("is not UTF-8", where=str(path), expected="UTF-8", code="E_ENCODING") from None


def device_of(where: str, row: Mapping[str, Any]) -> Device:
    """Return the device that one row of a list says (`read_devices`), its values perhaps as text; InputError."""
    try:
        given = msgspec.convert(row, _Device, strict=False)
    except msgspec.ValidationError as error:
        raise InputError(str(error), where=where, expected="a device (docs/devices.md)") from None
    _check_finite(where, (given.interval_s, given.easting, given.northing), given.points)
    device = Device(
        id=DeviceId(given.device),
        district=given.district,
        system=given.system,
        points=tuple(_point_of(point) for point in given.points),
        interval=timedelta(seconds=given.interval_s),
        name=given.name,
        asset=None if given.asset is None else AssetId(given.asset),
        easting=given.easting,
        northing=given.northing,
        model=given.model,
        retired=given.retired,
        address=given.address,
    )
    try:
        check(device)
    except InputError as error:
        raise InputError(
            error.what, where=f"{where} ({error.where})", expected=error.expected, code=error.code
        ) from None
    return device


def points_of_rows(where: str, rows: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Return points that are said without their device, in the form of a list's; checked with it. InputError."""
    try:
        given = msgspec.convert(list(rows), list[_Point], strict=False)
    except msgspec.ValidationError as error:
        raise InputError(str(error), where=where, expected="points (docs/devices.md)") from None
    _check_finite(where, (), given)
    return [_point_of(point) for point in given]


def _check_finite(where: str, numbers: Iterable[float | None], points: Iterable[_Point]) -> None:
    every = (*numbers, *(n for p in points for n in (p.low, p.high, p.crown_m, p.depth_m)))
    if not all(n is None or math.isfinite(n) for n in every):
        raise InputError("a number is not finite", where=where, expected="finite numbers")


def _point_of(given: _Point) -> Point:
    return Point(
        given.name,
        given.quantity,
        given.unit,
        low=given.low,
        high=given.high,
        crown_m=given.crown_m,
        depth_m=given.depth_m,
        code=given.code,
        calibrated=given.calibrated,
        calibration_due=given.calibration_due,
    )
