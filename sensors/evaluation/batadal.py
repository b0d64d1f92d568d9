"""The set batadal: an hour a row of the SCADA system of C-Town, a year without attacks and half a year with seven.

Source: R. Taormina et al., "Battle of the Attack Detection Algorithms: Disclosing Cyber Attacks on Water Distribution
Networks", J. Water Resour. Plann. Manage. 144 (2018) 04018048. The training file teaches, as history; the test file is
scored. The column of labels is not read here.
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
from sensors.evaluation.batadal_files import hours, tags, test_file, training_file
from sensors.limits import load
from sensors.quantity import scale
from sensors.reading import Batch, Quality
from twin.asset import System

_KINDS: Mapping[str, tuple[str, str]] = {
    "L": ("level", "m"),
    "F": ("flow", "L/s"),
    "P": ("pressure", "mH2O"),
    "S": ("pump_state", "1"),
}
"""Quantity and unit by the first letter of a tag (the set's own description)."""


class Batadal:
    """A device a tag, a batch an hour."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def scope(self, data: Path) -> Scope:
        """Return the tags of the training file as devices."""
        return Scope([_device(tag, series) for series, tag in enumerate(self._tags(data))], load())

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        """Yield the training hours as history, then those of the test file."""
        names = self._tags(data)
        scales = np.array([scale(_kind(tag)[1], _kind(tag)[0]) for tag in names])
        series = np.arange(len(names), dtype=np.int32)
        quality = np.full(len(names), Quality.GOOD, np.uint8)
        for file, scored in ((training_file(data, self._options), False), (test_file(data, self._options), True)):
            time, values = hours(file, names)
            values = values * scales[:, 0] + scales[:, 1]
            history = np.full(len(names), not scored)
            for now, row in zip(time.tolist(), values, strict=True):
                yield scored, Batch(series, np.full(len(names), now), row, quality, history, now)

    def rules(self) -> Rules:
        """Return that integrity alone runs and counts."""
        return Rules(detectors=("integrity",), kinds=(DetectionKind.INTEGRITY,))

    def _tags(self, data: Path) -> list[str]:
        return [tag for tag in tags(training_file(data, self._options)) if tag[0] in _KINDS]


def _device(tag: str, series: int) -> Device:
    quantity, unit = _kind(tag)
    point = Point(quantity, quantity, unit, series)
    return Device(DeviceId(tag), "c-town", System.WATER, (point,), timedelta(hours=1))


def _kind(tag: str) -> tuple[str, str]:
    quantity, unit = _KINDS[tag[0]]
    return ("valve_state" if tag.startswith("S_V") else quantity), unit


SET = Batadal

__all__ = ["SET", "Batadal"]
