"""Series as detectors see them: which point each number is, and state kept in arrays by it."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Subject
from sensors.device import Device, DeviceId
from sensors.device_table import DeviceTable, PointKind, Points
from sensors.limits import AnyRow, row_of
from sensors.reading import Batch, Quality
from twin.errors import InputError

FAIL = int(Quality.FAIL)
"""Readings flagged so or worse feed no baseline and raise no process alarm."""

MAX_GAP_MS = 600_000
"""A series silent for longer than this and than three of its intervals goes on from a new start."""


@dataclass(frozen=True, slots=True)
class Series:
    """What detections say of one series: its device, its point, and what that measures."""

    device: DeviceId
    name: str
    quantity: str

    @property
    def subject(self) -> Subject:
        """What a detection on this series is about."""
        return Subject(f"point:{self.device}/{self.name}")


def gap_ms(kind: PointKind) -> int:
    """Return the longest pause after which a reading of a series still follows the one before."""
    return max(MAX_GAP_MS, 3 * kind.interval_ms)


class SeriesTable:
    """The series of `devices` that are not retired.

    Detectors share the table of devices behind it, where that is one; what they keep is arrays indexed by the number of
    a series. A `Series` is made when there is something to say of it.
    """

    def __init__(self, devices: Sequence[Device]) -> None:
        self._table = DeviceTable.of(devices)

    @property
    def kinds(self) -> Sequence[PointKind]:
        """The kinds of points, which settings are looked up for once each."""
        return self._table.kinds

    def watched(self, kinds: Iterable[int]) -> NDArray[np.int32]:
        """Return the rows in `DeviceTable.points` of the series of `kinds`, ordered by number."""
        wanted = np.zeros(len(self.kinds), np.bool_)
        wanted[[index for index in kinds if not self.kinds[index].retired]] = True
        rows = self._table.rows[self._table.rows >= 0]
        return rows[wanted[self._table.points.kind[rows]]]

    def rules(self, kinds: Iterable[int]) -> NDArray[np.int32]:
        """Return by number of a series the rule that holds for it: 1 + its kind, and 0 where that is not in `kinds`."""
        rows = self.watched(kinds)
        found = np.zeros(self.width(rows), np.int32)
        found[self.points.series[rows]] = 1 + self.points.kind[rows]
        return found

    def width(self, rows: NDArray[np.int32]) -> int:
        """Return the length of an array that the number of every series in `rows` (of `watched`) indexes."""
        return 1 + int(self.points.series[rows].max(initial=-1))

    @property
    def points(self) -> Points:
        """The columns that `watched` points into."""
        return self._table.points

    def __getitem__(self, number: int) -> Series:
        row = int(self._table.rows[number])
        kind = self.kinds[self.points.kind[row]]
        return Series(self._table.owner(row), kind.name, kind.quantity)


def rows_of(rows: Sequence[AnyRow], kinds: Sequence[PointKind]) -> dict[int, AnyRow]:
    """Return the row of settings that holds for each of `kinds`, by its index; without those that have none."""
    found = ((index, row_of(rows, kind.quantity, kind.system)) for index, kind in enumerate(kinds))
    return {index: row for index, row in found if row is not None}


def columns(batch: Batch) -> tuple[NDArray[Any], ...]:
    """Return series, time, value, quality and history of a batch as compiled code wants them.

    A reading ahead of the city's time is taken to be of now: a device's clock that runs ahead, or jumps there once,
    would otherwise make its series deaf until the city has caught up. One type and layout whatever the batch was cut
    from, since each other one would be compiled anew.
    """
    return (
        _ready(batch.series, np.int32),
        _ready(np.minimum(batch.time, batch.now), np.int64),
        _ready(batch.value, np.float64),
        _ready(batch.quality, np.uint8),
        _ready(batch.history, np.bool_),
    )


def _ready(column: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    flags = column.flags
    if column.dtype == dtype and flags.c_contiguous and flags.writeable:  # nearly always; `require` costs a microsecond
        return column
    return np.require(column, dtype, ("C", "W"))


def pack(**arrays: NDArray[Any]) -> bytes:
    """Return the arrays as bytes, for `Detector.save`.

    >>> unpack(pack(mean=np.arange(3.0)), mean=np.zeros(3))["mean"]
    array([0., 1., 2.])
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(state: bytes, /, **like: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the arrays of `pack`; InputError E_SCHEMA unless they have the names, types and inner shapes of `like`."""
    try:
        with np.load(io.BytesIO(state), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(str(error), where="detector state", expected="bytes of `save`", code="E_FORMAT") from None
    found = {name: (array.dtype, array.shape[1:]) for name, array in arrays.items()}
    wanted = {name: (array.dtype, array.shape[1:]) for name, array in like.items()}
    if found != wanted:
        raise InputError(
            "laid out otherwise", where="detector state", expected="this version's layout", code="E_SCHEMA"
        )
    return arrays


T = TypeVar("T")


def decoded(state: bytes, kind: type[T], where: str = "detector state") -> T:
    """Return a state of MessagePack as `kind`; InputError E_FORMAT, about `where`, unless the bytes are one.

    >>> decoded(msgspec.msgpack.encode({"a": b"1"}), dict[str, bytes])
    {'a': b'1'}
    """
    try:
        return msgspec.msgpack.decode(state, type=kind)
    except msgspec.MsgspecError as error:
        raise InputError(str(error), where=where, expected="bytes of `save`", code="E_FORMAT") from None


def take_over(state: bytes, /, **mine: NDArray[Any]) -> None:
    """Copy the arrays of `pack` into `mine`, row by row; series numbers only grow, so rows keep their places."""
    for name, array in unpack(state, **mine).items():
        rows = min(len(array), len(mine[name]))
        mine[name][:rows] = array[:rows]
