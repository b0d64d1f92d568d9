"""Series as detectors see them: which point each number is, and state kept in arrays by it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Subject
from sensors.device import Device, DeviceId, Point
from sensors.reading import Batch, Quality
from twin.asset import System
from twin.errors import InputError

FAIL = int(Quality.FAIL)
"""Readings flagged so or worse feed no baseline and raise no process alarm."""

MAX_GAP_MS = 600_000
"""A series silent for longer than this and than three of its intervals goes on from a new start."""


@dataclass(frozen=True, slots=True)
class Series:
    """One series that detectors watch: its number, its point, and the device and system of that."""

    number: int
    device: DeviceId
    system: System
    point: Point
    interval_ms: int

    @property
    def subject(self) -> Subject:
        """What a detection on this series is about."""
        return Subject(f"point:{self.device}/{self.point.name}")

    @property
    def gap_ms(self) -> int:
        """The longest pause after which a reading still follows the one before."""
        return max(MAX_GAP_MS, 3 * self.interval_ms)


def series_of(devices: Sequence[Device]) -> list[Series]:
    """Return the numbered series of all devices that are not retired, ordered by number."""
    found = [
        Series(point.series, device.id, device.system, point, round(device.interval.total_seconds() * 1000))
        for device in devices
        if not device.retired
        for point in device.points
        if point.series >= 0
    ]
    return sorted(found, key=lambda each: each.number)


def width(series: Sequence[Series]) -> int:
    """Return the length of an array that every number of `series` indexes."""
    return 1 + max((each.number for each in series), default=-1)


def columns(batch: Batch) -> tuple[NDArray[Any], ...]:
    """Return series, time, value, quality and history of a batch as compiled code wants them.

    One type and layout whatever the batch was cut from, since each other one would be compiled anew.
    """
    wanted = ((batch.series, np.int32), (batch.time, np.int64), (batch.value, np.float64), (batch.quality, np.uint8))
    ready = [np.require(column, dtype, ("C", "W")) for column, dtype in wanted]
    return (*ready, np.require(batch.history, np.bool_, ("C", "W")))


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


def take_over(state: bytes, /, **mine: NDArray[Any]) -> None:
    """Copy the arrays of `pack` into `mine`, row by row; series numbers only grow, so rows keep their places."""
    for name, array in unpack(state, **mine).items():
        rows = min(len(array), len(mine[name]))
        mine[name][:rows] = array[:rows]
