"""Which points are judged together, and how the state of such groups is kept."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, Subject
from sensors.detection.series import SeriesTable, decoded, pack, unpack
from sensors.device import Device, DeviceId
from sensors.device_table import DeviceTable, PointKind
from sensors.reading import Batch
from twin.asset import AssetId


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
    series = SeriesTable(devices)
    rows = series.watched(index for index, kind in enumerate(series.kinds) if wanted(kind))
    return members_at(devices, series.points.series[rows], assets=assets)


def members_at(devices: Sequence[Device], numbers: Iterable[int], *, assets: bool = False) -> list[Member]:
    """Return the points whose series have these `numbers`."""
    table = DeviceTable.of(devices)
    points = table.points
    found: list[Member] = []
    for number in map(int, numbers):
        row = int(table.rows[number])
        asset = table[int(points.device[row])].asset if assets else None
        found.append(Member(table.owner(row), table.kinds[points.kind[row]], number, asset))
    return found


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


class Judge(Protocol):
    """What judges one group."""

    def update(self, batch: Batch) -> list[Detection]:
        """Take in the readings of the group; say what changed."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, by name."""
        ...

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` returned."""
        ...


AnyJudge = TypeVar("AnyJudge", bound=Judge)


class Groups(Generic[AnyJudge]):
    """The judges of groups by key, each made by `make` (of the numbers of its series) when its first reading comes.

    `found` are the groups; until they read, they cost four bytes a point.
    """

    def __init__(self, found: Iterable[Sequence[Member]], make: Callable[[list[int]], AnyJudge]) -> None:
        self._keys = [key_of(members) for members in found]
        self._make = make
        self._judges: dict[str, AnyJudge] = {}
        numbers = [np.fromiter(map(int, key.split()), np.int32) for key in self._keys]
        size = 1 + max((int(each.max()) for each in numbers), default=-1)
        self._group = np.full(size, -1, np.int32)
        for index, each in enumerate(numbers):
            self._group[each] = index

    def __iter__(self) -> Iterator[AnyJudge]:
        return iter(self._judges.values())

    def update(self, batch: Batch) -> list[Detection]:
        """Hand each judge the readings of its group."""
        known = np.flatnonzero((batch.series >= 0) & (batch.series < len(self._group)))
        group = self._group[batch.series[known]]
        known, group = known[group >= 0], group[group >= 0]
        together = batch.take(known[np.argsort(group, kind="stable")])
        which, counts = np.unique(group, return_counts=True)
        ends = np.cumsum(counts)
        return [
            said
            for index, start, end in zip(which.tolist(), (ends - counts).tolist(), ends.tolist(), strict=True)
            for said in self._judge(self._keys[index]).update(together.take(slice(start, end)))
        ]

    def save(self) -> bytes:
        """Return the states of all judges as bytes, for `Detector.save`."""
        return msgspec.msgpack.encode({key: pack(**judge.state()) for key, judge in self._judges.items()})

    def load(self, saved: Mapping[str, bytes]) -> None:
        """Take over the states (`saved_groups`) of the groups that there are."""
        for key in self._keys:
            if key in saved:
                judge = self._judge(key)
                judge.restore(unpack(saved[key], **judge.state()))

    def _judge(self, key: str) -> AnyJudge:
        if key not in self._judges:
            self._judges[key] = self._make([int(number) for number in key.split()])
        return self._judges[key]


def saved_groups(state: bytes) -> dict[str, bytes]:
    """Return the packed states of groups by key; InputError E_FORMAT where the bytes are none."""
    return decoded(state, dict[str, bytes])


__all__ = ["Groups", "Judge", "Member", "grouped", "key_of", "members_at", "members_of", "saved_groups", "series_of"]
