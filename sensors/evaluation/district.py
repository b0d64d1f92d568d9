"""The set `district`: the sample district's devices over a fortnight of history and a day live, with all detectors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib.metadata import entry_points
from itertools import count, groupby
from pathlib import Path
from typing import Any

import numpy as np

from sensors import limits
from sensors.detection import DetectionKind
from sensors.detection.pipeline import FUSION, GROUP
from sensors.detection.scope import Scope
from sensors.device import Device
from sensors.device_list import read_devices
from sensors.evaluation import Options, Rules
from sensors.reading import Batch, Quality
from twin.asset import System
from twin.city import City
from twin.errors import InputError
from twin.load import load
from twin.trace import Tracer

CITY = "city.gpkg"
_STEP_MS = 60_000
_MODELS = ".ifc"


class District:
    """A district's folder with ``readings.npz``, which the truth process simulated."""

    def __init__(self, options: Options) -> None:
        del options  # what is drawn was drawn by the truth

    def scope(self, data: Path) -> Scope:
        """Return its devices, the city of its files, and its water network; InputError naming what is missing."""
        if not (data / CITY).is_file():
            load_city(data)
        city = City.open(data / CITY)
        water = data / _index(data)["files"]["water"]
        return Scope(_devices(data), limits.load(), Tracer(city).network, city, {water.name: water})

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        """Yield a batch a step: every five minutes of history, every minute live."""
        with np.load(data / "readings.npz") as kept:
            series, time, value, history = (kept[name] for name in ("series", "time", "value", "history"))
        order = np.lexsort((series, time))
        series, time, value, history = series[order], time[order], value[order], history[order]
        begins = np.flatnonzero(np.diff(time, prepend=time[0] - 1))
        for first, last in zip(begins, [*begins[1:], len(time)], strict=True):
            part = slice(int(first), int(last))
            good = np.full(part.stop - part.start, Quality.GOOD, np.uint8)
            now = int(time[first])
            yield not history[first], Batch(series[part], time[part], value[part], good, history[part], now)

    def rules(self) -> Rules:
        """Return all that is installed, and everything that would be an alarm."""
        installed = [FUSION, *sorted(point.name for point in entry_points(group=GROUP))]
        kinds = [kind for kind in DetectionKind if kind is not DetectionKind.INGEST]
        return Rules(installed, kinds, renewed=timedelta(hours=1))


SET = District


def load_city(folder: Path) -> None:
    """Make the city of a district's folder in it, but for its building models, which no detector asks for."""
    steps = [step for step in _index(folder)["load"] if not step["path"].endswith(_MODELS)]
    for (system, crs), together in groupby(steps, key=lambda step: (step["system"], step["crs"])):
        paths = [folder / step["path"] for step in together]
        at = datetime.now(UTC)
        for receipt in load(paths, folder / CITY, crs=crs, system=System(system) if system else None, at=at):
            if receipt.errors:
                first = receipt.errors[0]
                raise InputError(first.message, where=receipt.file, code=first.code)


def _devices(data: Path) -> list[Device]:
    """Return the devices in service at the interval that they are played at, their series numbered in the order."""
    numbers = count()
    least = timedelta(milliseconds=_STEP_MS)
    return [
        replace(
            device,
            interval=max(device.interval, least),
            points=tuple(replace(point, series=next(numbers)) for point in device.points),
        )
        for device in read_devices(data / _index(data)["files"]["devices"])
        if not device.retired
    ]


def _index(folder: Path) -> dict[str, Any]:
    try:
        return json.loads((folder / "district.json").read_text("utf-8"))
    except OSError:
        where = str(folder / "district.json")
        raise InputError("no such file", where=where, expected="a sample district", code="E_MISSING") from None
