"""Admission: what the registry and the clock say about a decoded message, and its values in SI."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import lru_cache
from typing import NamedTuple

from ingest.payload import WHOLE, Measurement, Message, Refusal
from ingest.topic import Topic
from sensors.device import Device, DeviceId, Point
from sensors.quantity import scale
from sensors.reading import Quality
from twin.asset import System
from twin.errors import RefusedError


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


class _Place(NamedTuple):
    """What the registry knows of a device, as the hot path needs it."""

    district: str
    system: System
    points: dict[str, Point]


class Admission:
    """Checks messages against the registry as it was when this was made, and against the city's clock."""

    def __init__(self, devices: Iterable[Device], *, future: timedelta, history: timedelta) -> None:
        self._future_ms = round(future.total_seconds() * 1000)
        self._history_ms = round(history.total_seconds() * 1000)
        self._devices: dict[DeviceId, _Place] = {
            device.id: _Place(device.district, device.system, {point.name: point for point in device.points})
            for device in devices
            if not device.retired
        }

    def knows(self, topic: Topic) -> bool:
        """Return whether the registry has the device."""
        return topic.device in self._devices

    def refusal(self, topic: Topic) -> Refusal | None:
        """Return why nothing is taken from this topic (E_DEVICE, E_TOPIC), or None."""
        place = self._devices.get(topic.device)
        if place is None:
            return Refusal(WHOLE, "E_DEVICE", f"device {topic.device} is not in the registry")
        if place.system is not topic.system or place.district != topic.district:
            return Refusal(
                WHOLE, "E_TOPIC", f"device {topic.device} belongs to {place.district}/{place.system} in the registry"
            )
        return None

    def admit(self, topic: Topic, message: Message, now: int, into: Columns) -> list[Refusal]:
        """Append the readings that are taken to `into`, in SI, and return why the others are not.

        `now` is the city's time in ms; a reading without a time gets it, and is flagged SUSPECT. The topic must have
        passed `refusal`.
        """
        points = self._devices[topic.device].points
        refused: list[Refusal] = []
        earliest, latest = now - self._history_ms, now + self._future_ms
        for measured in message.measurements:
            time = measured.time if measured.time is not None else now
            if not earliest <= time <= latest:
                refused.append(_out_of_time(measured.place, time, now))
                continue
            point = points.get(measured.point)
            if point is None:
                reason = f"{topic.device} has no point {measured.point[:64]}"
                refused.append(Refusal(measured.place, "E_POINT", reason))
                continue
            value = _si(measured, point)
            if isinstance(value, Refusal):
                refused.append(value)
                continue
            good = measured.time is not None and measured.quality == 0
            into.series.append(point.series)
            into.time.append(time)
            into.value.append(value)
            into.quality.append(Quality.GOOD if good else Quality.SUSPECT)
            into.history.append(message.history)
        return refused


def _out_of_time(place: int, time: int, now: int) -> Refusal:
    ahead_s = (time - now) / 1000
    if ahead_s > 0:
        return Refusal(place, "E_FUTURE", f"time {time} is {ahead_s:.0f} s ahead of the city's clock")
    return Refusal(place, "E_OLD", f"time {time} is {-ahead_s / 86400:.0f} days old, which is past the history window")


def _si(measured: Measurement, point: Point) -> float | Refusal:
    found = _scale(measured.unit or point.unit, point.quantity)
    if isinstance(found, str):
        return Refusal(measured.place, "E_UNIT", f"{point.name}: {found}")
    value = measured.value * found[0] + found[1]
    if not math.isfinite(value):
        return Refusal(measured.place, "E_NAN", f"{point.name}: {measured.value} is out of range in SI")
    return value


@lru_cache(maxsize=4096)
def _scale(unit: str, quantity: str) -> tuple[float, float] | str:
    """Return factor and offset to SI, or why there are none; bounded, because units come from outside."""
    try:
        return scale(unit, quantity)
    except RefusedError as error:
        return str(error)


__all__ = ["Admission", "Columns"]
