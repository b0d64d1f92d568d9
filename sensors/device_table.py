"""Many devices in little memory: columns of what each has for itself, and one copy of what they have in common."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from sensors.device import Device, DeviceId, Point
from twin.asset import AssetId, System

_UNSET = float("nan")


class PointKind(NamedTuple):
    """What points have in common that stand at one place of one model of device."""

    system: System
    name: str
    quantity: str
    low: float | None
    high: float | None
    interval_ms: int
    retired: bool


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """All points in the order of their devices: columns of one length.

    `kind` indexes `DeviceTable.kinds`; `crown_m` and `depth_m` are NaN where nobody gave them.
    """

    series: NDArray[np.int32]
    kind: NDArray[np.int32]
    device: NDArray[np.int32]
    crown_m: NDArray[np.float64]
    depth_m: NDArray[np.float64]


class DeviceTable(Sequence[Device]):
    """A sequence of devices, about 100 bytes each beside their names; a `Device` is made when one is asked for.

    `points` are all their points, and `rows` the row there of every series by its number (-1: of no device here).

    >>> from sensors.detection.checks import sample_devices
    >>> table = DeviceTable(sample_devices())
    >>> table[2] == sample_devices()[2], len(table.kinds), table.names[2]
    (True, 3, 'S-02/combustible_gas')
    """

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self._columns = _Columns()
        self._order: array[int] | None = None
        deque(self.fill(devices), maxlen=0)

    @staticmethod
    def of(devices: Sequence[Device]) -> DeviceTable:
        """Return `devices` as a table: itself where it is one."""
        return devices if isinstance(devices, DeviceTable) else DeviceTable(devices)

    def fill(self, devices: Iterable[Device]) -> Iterator[Device]:
        """Yield `devices` on, so that one pass serves others too; after the last, these alone are in the table."""
        columns = _Columns()
        for device in devices:
            columns.add(device)
            yield device
        self._columns, self._order = columns, None
        self.points = Points(
            np.asarray(columns.series, np.int32),  # views: nothing grows any more
            np.asarray(columns.kind, np.int32),
            np.asarray(columns.device, np.int32),
            np.asarray(columns.crown_m, np.float64),
            np.asarray(columns.depth_m, np.float64),
        )
        self.rows = _rows(self.points.series)

    @property
    def kinds(self) -> Sequence[PointKind]:
        """The kinds of points; a city has few."""
        return self._columns.kinds

    @property
    def names(self) -> Mapping[int, str]:
        """What each series is called: ``device/point``."""
        return _Names(self)

    @property
    def addresses(self) -> Iterator[str]:
        """The addresses of the devices, empty where one has none."""
        return iter(self._columns.addresses)

    @property
    def assets(self) -> Sequence[AssetId | None]:
        """The asset that each device is bound to."""
        return self._columns.assets

    @property
    def places(self) -> NDArray[np.float64]:
        """Where the devices stand: (n, 2), easting and northing in the city's CRS, metres; NaN where nobody knows."""
        return np.column_stack([np.asarray(self._columns.easting), np.asarray(self._columns.northing)])

    @property
    def calibration_due(self) -> Sequence[date | None]:
        """The day by which each point is to be calibrated, in the order of `points`."""
        return self._columns.calibration_due

    def owner(self, row: int) -> DeviceId:
        """Return the device of the point in `row`."""
        return self._columns.ids[self.points.device[row]]

    def find(self, device: str) -> int:
        """Return where a device stands in the table, -1 for one that does not; the first call puts their ids in order.

        >>> from sensors.detection.checks import sample_devices
        >>> table = DeviceTable(sample_devices())
        >>> table.find("S-07"), table.find("nobody")
        (7, -1)
        """
        ids = self._columns.ids
        if self._order is None:
            self._order = array("i", sorted(range(len(ids)), key=ids.__getitem__))
        at = bisect_left(self._order, device, key=ids.__getitem__)
        return self._order[at] if at < len(ids) and ids[self._order[at]] == device else -1

    def __len__(self) -> int:
        return len(self._columns.ids)

    @overload
    def __getitem__(self, index: int) -> Device: ...
    @overload
    def __getitem__(self, index: slice) -> list[Device]: ...
    def __getitem__(self, index: int | slice) -> Device | list[Device]:
        if isinstance(index, slice):
            return [self._device(each) for each in range(*index.indices(len(self)))]
        return self._device(range(len(self))[index])

    def _device(self, index: int) -> Device:
        columns = self._columns
        model, first = columns.models[columns.model[index]], columns.first[index]
        return replace(
            model,
            id=columns.ids[index],
            points=tuple(self._point(point, first + position) for position, point in enumerate(model.points)),
            name=columns.names[index],
            asset=columns.assets[index],
            easting=_number(columns.easting[index]),
            northing=_number(columns.northing[index]),
            address=columns.addresses[index],
        )

    def _point(self, point: Point, row: int) -> Point:
        columns = self._columns
        return replace(
            point,
            series=columns.series[row],
            crown_m=_number(columns.crown_m[row]),
            depth_m=_number(columns.depth_m[row]),
            calibrated=columns.calibrated[row],
            calibration_due=columns.calibration_due[row],
        )


@dataclass(slots=True)
class _Columns:
    """A table as it grows. `models` are devices without what is each one's own."""

    models: list[Device] = field(default_factory=list[Device])
    kinds: list[PointKind] = field(default_factory=list[PointKind])
    known: dict[tuple[object, ...], tuple[int, int]] = field(default_factory=dict[tuple[object, ...], tuple[int, int]])
    """The model, and the kind of its first point, by what devices have in common."""
    model: array[int] = field(default_factory=lambda: array("i"))
    first: array[int] = field(default_factory=lambda: array("i"))
    ids: list[DeviceId] = field(default_factory=list[DeviceId])
    names: list[str] = field(default_factory=list[str])
    assets: list[AssetId | None] = field(default_factory=list[AssetId | None])
    addresses: list[str] = field(default_factory=list[str])
    easting: array[float] = field(default_factory=lambda: array("d"))
    northing: array[float] = field(default_factory=lambda: array("d"))
    series: array[int] = field(default_factory=lambda: array("i"))
    kind: array[int] = field(default_factory=lambda: array("i"))
    device: array[int] = field(default_factory=lambda: array("i"))
    crown_m: array[float] = field(default_factory=lambda: array("d"))
    depth_m: array[float] = field(default_factory=lambda: array("d"))
    calibrated: list[date | None] = field(default_factory=list[date | None])
    calibration_due: list[date | None] = field(default_factory=list[date | None])

    def add(self, device: Device) -> None:
        points = tuple([(own.name, own.quantity, own.unit, own.low, own.high, own.code) for own in device.points])
        key = (device.district, device.system, device.interval, device.model, device.retired, points)
        model, kind = self.known.get(key) or self.known.setdefault(key, self._model(device))
        self.model.append(model)
        self.first.append(len(self.series))
        for position, point in enumerate(device.points):
            self.series.append(point.series)
            self.kind.append(kind + position)
            self.device.append(len(self.ids))
            self.crown_m.append(_UNSET if point.crown_m is None else point.crown_m)
            self.depth_m.append(_UNSET if point.depth_m is None else point.depth_m)
            self.calibrated.append(point.calibrated)
            self.calibration_due.append(point.calibration_due)
        self.ids.append(device.id)
        self.names.append(device.name)
        self.assets.append(device.asset)
        self.addresses.append(device.address)
        self.easting.append(_UNSET if device.easting is None else device.easting)
        self.northing.append(_UNSET if device.northing is None else device.northing)

    def _model(self, device: Device) -> tuple[int, int]:
        found = len(self.models), len(self.kinds)
        interval_ms = round(device.interval.total_seconds() * 1000)
        self.models.append(device)
        self.kinds += [
            PointKind(device.system, each.name, each.quantity, each.low, each.high, interval_ms, device.retired)
            for each in device.points
        ]
        return found


class _Names(Mapping[int, str]):
    """The names of all series, each made when it is asked for."""

    def __init__(self, table: DeviceTable) -> None:
        self._table = table

    def __getitem__(self, series: int) -> str:
        rows = self._table.rows
        row = int(rows[series]) if 0 <= series < len(rows) else -1
        if row < 0:
            raise KeyError(series)
        return f"{self._table.owner(row)}/{self._table.kinds[self._table.points.kind[row]].name}"

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self._table.rows >= 0).tolist())

    def __len__(self) -> int:
        return int((self._table.rows >= 0).sum())


def _rows(series: NDArray[np.int32]) -> NDArray[np.int32]:
    rows = np.full(1 + int(series.max(initial=-1)), -1, np.int32)
    known = np.flatnonzero(series >= 0)
    rows[series[known]] = known
    return rows


def _number(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124  # NaN stands for none


__all__ = ["DeviceTable", "PointKind", "Points"]
