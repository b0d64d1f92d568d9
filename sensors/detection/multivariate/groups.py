"""Which points are judged together, and how the state of such groups is kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Subject
from sensors.detection.series import pack
from sensors.device import Device, DeviceId, Point
from twin.errors import InputError


@dataclass(frozen=True, slots=True)
class Member:
    """A point of a group, with its device."""

    device: Device
    point: Point

    @property
    def subject(self) -> Subject:
        """What says of this point are about."""
        return Subject(f"point:{self.device.id}/{self.point.name}")

    @property
    def order(self) -> tuple[DeviceId, str]:
        """What members are sorted by, whatever the numbers of their series."""
        return self.device.id, self.point.name


Place: TypeAlias = Callable[[Device, Point], Hashable | None]
"""Where a point is judged together with others; None: nowhere."""


def grouped(devices: Sequence[Device], place: Place, most: int, before: Iterable[str] = ()) -> Iterator[list[Member]]:
    """Yield the points in use of one `place` together, in parts of at most `most`, even in size.

    Groups of `before` (keys) whose points are all there stay as they are: a device that is added makes none of them
    learn anew.
    """
    found = {
        point.series: (where, Member(device, point))
        for device in devices
        if not device.retired
        for point in device.points
        if (where := place(device, point)) is not None
    }
    for key in before:
        numbers = [int(number) for number in key.split()]
        if all(number in found for number in numbers):
            yield [found.pop(number)[1] for number in numbers]
    left: dict[Hashable, list[Member]] = {}
    for where, member in found.values():
        left.setdefault(where, []).append(member)
    for members in left.values():
        ordered = sorted(members, key=lambda member: member.order)
        parts = -(-len(ordered) // most)
        yield from ([ordered[i] for i in part] for part in np.array_split(np.arange(len(ordered)), parts))


def series_of(members: Sequence[Member]) -> NDArray[np.int32]:
    """Return the numbers of the series of `members`."""
    return np.array([member.point.series for member in members], np.int32)


def key_of(members: Sequence[Member]) -> str:
    """Return what a group is saved under: a changed group learns anew."""
    return " ".join(str(member.point.series) for member in members)


def pack_groups(states: Mapping[str, Mapping[str, NDArray[Any]]]) -> bytes:
    """Return the states of groups as bytes, for `Detector.save`."""
    return msgspec.msgpack.encode({key: pack(**state) for key, state in states.items()})


def saved_groups(state: bytes) -> dict[str, bytes]:
    """Return the packed states of groups by key; InputError E_FORMAT where the bytes are none."""
    try:
        return msgspec.msgpack.decode(state, type=dict[str, bytes])
    except msgspec.MsgspecError as error:
        raise InputError(str(error), where="detector state", expected="bytes of `save`", code="E_FORMAT") from None


__all__ = ["Member", "Place", "grouped", "key_of", "pack_groups", "saved_groups", "series_of"]
