"""The set pyhydroqc: three rivers of the Logan River Observatory, a season each, as their stations measured them.

Source: A. S. Jones, T. L. Jones, J. S. Horsburgh, "Toward automating post processing of aquatic sensor data",
Environmental Modelling & Software 151 (2022); data of github.com/AmberSJones/pyhydroqc (BSD-3). Only the raw columns
are read here. The first part of each file (`pyhydroqc_files.TRAINING`) teaches, the rest is scored: nothing else is
known of a river.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.evaluation import Options, Rules
from sensors.evaluation.pyhydroqc_files import files, numbers, read, training
from sensors.limits import load
from sensors.quantity import scale
from sensors.reading import Batch, Quality
from twin.asset import System

INTERVAL = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Column:
    """A measured column: quantity, unit of the file, and the span of the instrument in that unit (its data sheet)."""

    quantity: str
    unit: str
    low: float
    high: float


COLUMNS: Mapping[str, Column] = {
    "temp": Column("temperature", "Cel", -5.0, 50.0),
    "cond": Column("conductivity", "uS/cm", 0.0, 100_000.0),
    "ph": Column("ph", "pH", 0.0, 14.0),
    "do": Column("dissolved_oxygen", "mg/L", 0.0, 50.0),
    "turb": Column("turbidity", "NTU", 0.0, 1600.0),
    "stage": Column("level", "cm", 0.0, 1000.0),
}
"""Spans: multiparameter sonde (Hydrolab MS5, YSI EXO2), turbidity meter FTS DTS-12, pressure transducer of 10 m."""


class PyHydroQC:
    """A device a file, a point a column; a batch a quarter of an hour."""

    def __init__(self, options: Options) -> None:
        del options  # nothing is drawn, and nothing chosen

    def scope(self, data: Path) -> Scope:
        """Return the stations; InputError where the folder holds none."""
        return Scope([_device(path, len(COLUMNS) * index) for index, path in enumerate(files(data))], load())

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        """Yield the readings of all rivers in time order, those of one time together."""
        parts = [_readings(path, len(COLUMNS) * index) for index, path in enumerate(files(data))]
        time = np.concatenate([part[0] for part in parts])
        series = np.concatenate([part[1] for part in parts])
        value = np.concatenate([part[2] for part in parts])
        scored = np.concatenate([part[3] for part in parts])
        order = np.lexsort((series, scored, time))
        time, series, value, scored = time[order], series[order], value[order], scored[order]
        changes = np.flatnonzero((np.diff(time) != 0) | (np.diff(scored) != 0)) + 1
        for first, last in zip(np.append(0, changes), np.append(changes, len(time)), strict=True):
            size = last - first
            yield (
                bool(scored[first]),
                Batch(
                    series[first:last],
                    time[first:last],
                    value[first:last],
                    np.full(size, Quality.GOOD, np.uint8),
                    np.zeros(size, np.bool_),
                    int(time[first]),
                ),
            )

    def rules(self) -> Rules:
        """Return that quality alone runs, and that the flags count."""
        return Rules(detectors=(), kinds=(), flagged=True)


def _device(path: Path, first: int) -> Device:
    name = path.name.removesuffix(".csv.gz")
    points: list[Point] = []
    for position, (key, column) in enumerate(COLUMNS.items()):
        factor, offset = scale(column.unit, column.quantity)
        low, high = column.low * factor + offset, column.high * factor + offset
        points.append(Point(key, column.quantity, column.unit, first + position, low, high))
    return Device(DeviceId(name), "pyhydroqc", System.WATER, tuple(points), INTERVAL)


def _readings(
    path: Path, first: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]:
    time, columns = read(path, COLUMNS)
    values: list[NDArray[np.float64]] = []
    for key, column in COLUMNS.items():
        factor, offset = scale(column.unit, column.quantity)
        values.append(numbers(columns[key]) * factor + offset)
    size = len(time)
    scored = np.arange(size) >= training(size)
    series = np.repeat(np.arange(first, first + len(COLUMNS), dtype=np.int32), size)
    return np.tile(time, len(COLUMNS)), series, np.concatenate(values), np.tile(scored, len(COLUMNS))


SET = PyHydroQC
