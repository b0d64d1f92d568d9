"""The set gecco: a minute a row of a drinking water station of Thüringer Fernwasserversorgung.

Source: GECCO 2018 Industrial Challenge (Moritz, Rehbach, Chandrasekaran, Rebolledo, Bartz-Beielstein), CC-BY. The
first 30 % of the rows teach, as history; the rest is scored. The column of labels is not read here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np

from sensors.detection import DetectionKind
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.evaluation import Options, Rules
from sensors.evaluation.gecco_files import minutes, training_rows
from sensors.limits import load
from sensors.quantity import scale
from sensors.reading import Batch, Quality
from twin.asset import System

_COLUMNS: Mapping[str, tuple[str, str]] = {
    "Tp": ("temperature", "Cel"),
    "Cl": ("chlorine_dioxide", "mg/L"),
    "pH": ("ph", "pH"),
    "Redox": ("redox_potential", "mV"),
    "Leit": ("conductivity", "uS/cm"),
    "Trueb": ("turbidity", "NTU"),
    "Cl_2": ("chlorine_dioxide", "mg/L"),
    "Fm": ("flow", "m3/h"),
    "Fm_2": ("flow", "m3/h"),
}
"""Quantity and unit of each column (description of the challenge)."""


class Gecco:
    """One station, a batch a minute."""

    def __init__(self, options: Options) -> None:
        del options  # nothing is drawn, and nothing chosen

    def scope(self, data: Path) -> Scope:
        """Return the station, a point a column."""
        del data
        points = tuple(
            Point(name, quantity, unit, series) for series, (name, (quantity, unit)) in enumerate(_COLUMNS.items())
        )
        station = Device(DeviceId("station"), "gecco", System.WATER, points, timedelta(minutes=1))
        return Scope([station], load())

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        """Yield what was measured, minute by minute."""
        time, values = minutes(data, list(_COLUMNS))
        scales = np.array([scale(unit, quantity) for quantity, unit in _COLUMNS.values()])
        values = values * scales[:, 0] + scales[:, 1]
        first = training_rows(len(time))
        for row, (now, value) in enumerate(zip(time.tolist(), values, strict=True)):
            there = np.flatnonzero(np.isfinite(value))
            size = len(there)
            scored = row >= first
            yield (
                scored,
                Batch(
                    there.astype(np.int32),
                    np.full(size, now),
                    value[there],
                    np.full(size, Quality.GOOD, np.uint8),
                    np.full(size, not scored),
                    now,
                ),
            )

    def rules(self) -> Rules:
        """Return that water quality alone runs and counts."""
        return Rules(detectors=("water_quality",), kinds=(DetectionKind.WATER_QUALITY,))


SET = Gecco

__all__ = ["SET", "Gecco"]
