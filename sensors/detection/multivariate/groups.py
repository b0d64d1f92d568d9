"""Which points are judged together, and how the state of such groups is kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Subject
from sensors.detection.series import pack, unpack
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


def grouped(
    devices: Sequence[Device], place: Callable[[Device, Point], Hashable | None], most: int
) -> Iterator[list[Member]]:
    """Yield the points in use of one `place` together (None: in no group), in parts of at most `most`, even in size."""
    found: dict[Hashable, list[Member]] = {}
    for device in devices:
        if device.retired:
            continue
        for point in device.points:
            where = place(device, point)
            if where is not None:
                found.setdefault(where, []).append(Member(device, point))
    for members in found.values():
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


def unpack_groups(state: bytes, like: Mapping[str, Mapping[str, NDArray[Any]]]) -> dict[str, dict[str, NDArray[Any]]]:
    """Return the states of those groups that are in `like`; InputError where the bytes or a state are none."""
    try:
        saved = msgspec.msgpack.decode(state, type=dict[str, bytes])
    except msgspec.MsgspecError as error:
        raise InputError(str(error), where="detector state", expected="bytes of `save`", code="E_FORMAT") from None
    return {key: unpack(saved[key], **arrays) for key, arrays in like.items() if key in saved}


__all__ = ["Member", "grouped", "key_of", "pack_groups", "series_of", "unpack_groups"]
