"""Admission: what the registry and the clock say about a decoded message, and its values in SI."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ingest.payload import WHOLE, Message, Refusal
from ingest.topic import Topic
from sensors.device import Device, DeviceId, Point
from sensors.quantity import scale
from sensors.reading import Batch, Quality
from twin.asset import System
from twin.errors import RefusedError

LIVE, LIVE_INTERVALS = timedelta(hours=2), 3
"""A reading older than this, and than so many of its device's intervals, is history whatever its message says: it
comes too late for an alarm."""


@dataclass(slots=True)
class Columns:
    """Readings on their way into a batch: five lists of one length, as the columns of `sensors.reading.Batch`."""

    series: list[int] = field(default_factory=list[int])
    time: list[int] = field(default_factory=list[int])
    value: list[float] = field(default_factory=list[float])
    quality: list[int] = field(default_factory=list[int])
    history: list[bool] = field(default_factory=list[bool])

    def __len__(self) -> int:
        return len(self.series)

    def add(self, series: int, time: int, value: float, quality: Quality, *, history: bool) -> None:
        """Add one reading."""
        self.series.append(series)
        self.time.append(time)
        self.value.append(value)
        self.quality.append(quality)
        self.history.append(history)

    def batch(self, now: int) -> Batch | None:
        """Return the readings as a batch that is handed over at `now` (ms), or None if there are none."""
        if not self.series:
            return None
        return Batch(
            np.array(self.series, np.int32),
            np.array(self.time, np.int64),
            np.array(self.value, np.float64),
            np.array(self.quality, np.uint8),
            np.array(self.history, np.bool_),
            now,
        )


class _Column(NamedTuple):
    """A point as devices of a kind have it: where its series stands among theirs, and its way to SI (or why none)."""

    position: int
    name: str
    quantity: str
    unit: str
    scaling: tuple[float, float] | str


@dataclass(frozen=True, slots=True)
class _Kind:
    """What devices have in common; a million of them come in a few kinds. `columns` is by name and by code."""

    district: str
    system: System
    columns: dict[str, _Column]
    per_s: float
    live_ms: float


class Admission:
    """Checks messages against the registry as it was when this was made, and against the city's clock.

    Of `devices` it keeps about 300 bytes each, and they may stream. `live` is how old a reading may be and still be
    live (`LIVE_INTERVALS` of its device's intervals, if that is longer); None: any age.
    """

    def __init__(
        self, devices: Iterable[Device], *, future: timedelta, history: timedelta, live: timedelta | None = LIVE
    ) -> None:
        self._future_ms = round(future.total_seconds() * 1000)
        self._history_ms = round(history.total_seconds() * 1000)
        self._devices: dict[str, tuple[_Kind, tuple[int, ...]]] = {}
        self._addresses: dict[str, DeviceId] = {}
        kinds: dict[tuple[object, ...], _Kind] = {}
        for device in devices:
            if device.retired:
                continue
            points = tuple((point.name, point.quantity, point.unit, point.code) for point in device.points)
            key = (device.district, device.system, device.interval, points)
            kind = kinds.get(key) or kinds.setdefault(key, _kind(device, live))
            self._devices[device.id] = kind, tuple([point.series for point in device.points])
            if device.address:
                self._addresses[device.address] = device.id

    def __len__(self) -> int:
        return len(self._devices)

    def knows(self, topic: Topic) -> bool:
        """Return whether the registry has the device."""
        return topic.device in self._devices

    def find(self, topic: Topic | None, address: str = "") -> DeviceId | None:
        """Return the device that speaks: the topic's, or the one at the `address` that its own protocol gives it."""
        if address:
            return self._addresses.get(address)
        return topic.device if topic is not None and topic.device in self._devices else None

    def below(self, address: str) -> list[DeviceId]:
        """Return the devices at an address and below it: of a Sparkplug node, itself and its devices."""
        return [
            device for known, device in self._addresses.items() if known == address or known.startswith(f"{address}/")
        ]

    def refusal(self, device: DeviceId | None, topic: Topic | None, address: str = "") -> Refusal | None:
        """Return why nothing is taken from who speaks (E_DEVICE, E_IDENTITY, E_TOPIC), or None.

        `device` is what `find` returned for the same topic and address.
        """
        if device is None:
            name = address or (topic.device if topic else "")
            return Refusal(WHOLE, "E_DEVICE", f"device {name} is not in the registry")
        if topic is None:
            return None
        if topic.device != device:
            return Refusal(WHOLE, "E_IDENTITY", f"{address} is device {device}, not {topic.device}")
        kind = self._devices[device][0]
        if kind.system is not topic.system or kind.district != topic.district:
            return Refusal(
                WHOLE, "E_TOPIC", f"device {device} belongs to {kind.district}/{kind.system} in the registry"
            )
        return None

    def rate(self, device: DeviceId) -> float:
        """Return the readings a second that the registry expects of a device (of `find`)."""
        return self._devices[device][0].per_s

    def admit(self, device: DeviceId, message: Message, now: int, into: Columns) -> list[Refusal]:
        """Append the readings that are taken to `into`, in SI, and return why the others are not.

        `device` comes from `find`, and has passed `refusal`; `now` is the city's time in ms. A reading without a time
        gets it, and is flagged SUSPECT, as is one that comes too late to be live though its message does not say so.
        """
        kind, series = self._devices[device]
        columns = kind.columns
        refused: list[Refusal] = []
        earliest, latest = now - self._history_ms, now + self._future_ms
        oldest_live = now - kind.live_ms
        for place, time, name, value, unit, quality in message.measurements:
            column = columns.get(name)
            moment = now if time is None else time
            if not earliest <= moment <= latest:
                refused.append(_out_of_time(place, moment, now))
                continue
            if column is None:
                refused.append(Refusal(place, "E_POINT", f"{device} has no point {name[:64]}"))
                continue
            scaling = column.scaling if unit is None or unit == column.unit else _scaling(unit, column.quantity)
            if isinstance(scaling, str):
                refused.append(Refusal(place, "E_UNIT", f"{column.name}: {scaling}"))
                continue
            si = value * scaling[0] + scaling[1]
            if not math.isfinite(si):
                refused.append(Refusal(place, "E_NAN", f"{column.name}: {value} is out of range in SI"))
                continue
            into.series.append(series[column.position])
            into.time.append(moment)
            into.value.append(si)
            in_time = moment >= oldest_live or message.history
            into.quality.append(_GOOD if quality == 0 and time is not None and in_time else _SUSPECT)
            into.history.append(message.history or not in_time)
        return refused

    def series(self, device: str, point: str) -> int | None:
        """Return the series of a device's point, or None."""
        found = self._devices.get(device)
        column = None if found is None else found[0].columns.get(point)
        return None if found is None or column is None else found[1][column.position]

    def names(self, series: Collection[int]) -> dict[int, str]:
        """Return ``device/point`` of the given series; those of no device are left out."""
        wanted = frozenset(series)
        return {
            numbers[column.position]: f"{device}/{column.name}"
            for device, (kind, numbers) in self._devices.items()
            if not wanted.isdisjoint(numbers)
            for column in kind.columns.values()
            if numbers[column.position] in wanted
        }


def _kind(device: Device, live: timedelta | None) -> _Kind:
    columns = {point.name: _column(position, point) for position, point in enumerate(device.points)}
    columns |= {point.code: columns[point.name] for point in device.points if point.code}
    per_s = len(device.points) / device.interval.total_seconds()
    live_s = math.inf if live is None else max(live, LIVE_INTERVALS * device.interval).total_seconds()
    return _Kind(device.district, device.system, columns, per_s, 1000 * live_s)


def _column(position: int, point: Point) -> _Column:
    return _Column(position, point.name, point.quantity, point.unit, _scaling(point.unit, point.quantity))


def _out_of_time(place: int, time: int, now: int) -> Refusal:
    ahead_s = (time - now) / 1000
    if ahead_s > 0:
        return Refusal(place, "E_FUTURE", f"time {time} is {ahead_s:.0f} s ahead of the city's clock")
    return Refusal(place, "E_OLD", f"time {time} is {-ahead_s / 86400:.0f} days old, which is past the history window")


@lru_cache(maxsize=4096)
def _scaling(unit: str, quantity: str) -> tuple[float, float] | str:
    """Return factor and offset to SI, or why there are none; bounded, because units come from outside."""
    try:
        return scale(unit, quantity)
    except RefusedError as error:
        return str(error)


_GOOD, _SUSPECT = int(Quality.GOOD), int(Quality.SUSPECT)

__all__ = ["Admission", "Columns"]
