"""Which points are judged together, and how the state of such groups is kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Subject
from sensors.detection.series import SeriesTable, pack
from sensors.device import Device, DeviceId
from sensors.device_table import DeviceTable, PointKind
from twin.asset import AssetId
from twin.errors import InputError


@dataclass(frozen=True, slots=True)
class Member:
    """A point of a group: what is said of it, and the number of its series. `asset` only where it was asked for."""

    device: DeviceId
    kind: PointKind
    series: int
    asset: AssetId | None = None

    @property
    def subject(self) -> Subject:
        """What says of this point are about."""
        return Subject(f"point:{self.device}/{self.kind.name}")

    @property
    def order(self) -> tuple[DeviceId, str]:
        """What members are sorted by, whatever the numbers of their series."""
        return self.device, self.kind.name


def members_of(devices: Sequence[Device], wanted: Callable[[PointKind], bool], *, assets: bool = False) -> list[Member]:
    """Return the points in use of the kinds that are `wanted`, with the assets of their devices where those matter."""
    table, series = DeviceTable.of(devices), SeriesTable(devices)
    rows = series.watched(index for index, kind in enumerate(series.kinds) if wanted(kind))
    points = series.points
    return [
        Member(
            table.owner(row),
            series.kinds[points.kind[row]],
            int(points.series[row]),
            table[int(points.device[row])].asset if assets else None,
        )
        for row in map(int, rows)
    ]


def grouped(
    members: Iterable[Member], place: Callable[[Member], Hashable], most: int, before: Iterable[str] = ()
) -> Iterator[list[Member]]:
    """Yield the members of one `place` together, in parts of at most `most`, even in size.

    Groups of `before` (keys) whose points are all there stay as they are: a device that is added makes none of them
    learn anew.
    """
    found = {member.series: member for member in members}
    for key in before:
        numbers = [int(number) for number in key.split()]
        if all(number in found for number in numbers):
            yield [found.pop(number) for number in numbers]
    left: dict[Hashable, list[Member]] = {}
    for member in found.values():
        left.setdefault(place(member), []).append(member)
    for together in left.values():
        ordered = sorted(together, key=lambda member: member.order)
        parts = -(-len(ordered) // most)
        yield from ([ordered[i] for i in part] for part in np.array_split(np.arange(len(ordered)), parts))


def series_of(members: Sequence[Member]) -> NDArray[np.int32]:
    """Return the numbers of the series of `members`."""
    return np.array([member.series for member in members], np.int32)


def key_of(members: Sequence[Member]) -> str:
    """Return what a group is saved under: a changed group learns anew."""
    return " ".join(str(member.series) for member in members)


def pack_groups(states: Mapping[str, Mapping[str, NDArray[Any]]]) -> bytes:
    """Return the states of groups as bytes, for `Detector.save`."""
    return msgspec.msgpack.encode({key: pack(**state) for key, state in states.items()})


def saved_groups(state: bytes) -> dict[str, bytes]:
    """Return the packed states of groups by key; InputError E_FORMAT where the bytes are none."""
    try:
        return msgspec.msgpack.decode(state, type=dict[str, bytes])
    except msgspec.MsgspecError as error:
        raise InputError(str(error), where="detector state", expected="bytes of `save`", code="E_FORMAT") from None


__all__ = ["Member", "grouped", "key_of", "members_of", "pack_groups", "saved_groups", "series_of"]
