"""The set ltown: two years of a town's water network with 33 pressures, three meters and a tank, and 33 leaks.

Source: BattLeDIM (Vrachimis et al., J. Water Resour. Plann. Manage. 148 (2022) 04022068), network L-TOWN; the
series were made anew with EPANET from the official network and schedule of leaks. 2018 may be learnt from, 2019 is
scored. The network is ``networks/water/L-TOWN.inp`` of the shared data. Readings are handed over an hour at a time, as
live from the first on: what was found in 2018 and stands is a claim from 1 January 2019 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sensors.city_calendar import Calendar
from sensors.detection import DetectionKind
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.evaluation import Options, Rules
from sensors.evaluation.ltown_files import SCORED_MS, network_file
from sensors.limits import load
from sensors.quantity import to_si
from sensors.reading import Batch, Quality
from twin.asset import System, asset_id
from twin.errors import InputError
from twin.readers.inp import read_inp

_SERIES = "scada*.parquet"
_INTERVAL = timedelta(minutes=5)
_UNITS = {"pressure": "m[H2O]", "flow": "m3/h", "level": "m"}


class LTown:
    """A device a column; `options.shared` names the folder of shared data, else the one that `data` lies in."""

    def __init__(self, options: Options) -> None:
        self._shared = options.shared

    def scope(self, data: Path) -> Scope:
        """Return the devices and the network's hydraulics; InputError naming the file that is missing."""
        network = network_file(data, self._shared)
        limits = replace(load(), calendar=Calendar(0.0))
        return Scope(_devices(_read(data), network), limits, hydraulics={network.name: network})

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        """Yield the readings of an hour together."""
        table = _read(data)
        quantities = _quantities(table, network_file(data, self._shared))
        factors = [to_si(1.0, _UNITS[quantity], quantity) for quantity, _ in quantities]
        values = table.to_numpy(np.float64) * factors
        times = table.index.as_unit("ms").asi8
        hours = times // 3_600_000
        begins = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
        for first, last in zip(begins.tolist(), [*begins[1:].tolist(), len(times)], strict=True):
            yield int(times[first]) >= SCORED_MS, _batch(times[first:last], values[first:last])

    def rules(self) -> Rules:
        """Return the detector of leaks: bursts by the minute are its matter too, a day later, and would count twice."""
        return Rules(["leak"], [DetectionKind.LEAK], renewed=timedelta(days=1))


SET = LTown


def _read(data: Path) -> Any:
    """Return the series, indexed by time."""
    files = sorted(data.glob(_SERIES))
    if not files:
        raise InputError("no such file", where=str(data / _SERIES), expected="a folder like ltown", code="E_MISSING")
    table = pd.read_parquet(files[0])
    if not isinstance(table.index, pd.DatetimeIndex):
        raise InputError("is not indexed by time", where=str(files[0]), expected="the layout of ltown", code="E_SCHEMA")
    return table


def _quantities(table: Any, network: Path) -> list[tuple[str, str]]:
    """Return what each column measures, and the table of the asset that it is called after."""
    inp = read_inp(network, ("JUNCTIONS", "TANKS", "PIPES", "PUMPS", "VALVES"))
    kinds = {"JUNCTIONS": ("pressure", "node"), "TANKS": ("level", "node")}
    known = {
        line.text(0, "name"): kinds.get(section, ("flow", "link"))
        for section in ("JUNCTIONS", "TANKS", "PIPES", "PUMPS", "VALVES")
        for line in inp.lines(section)
    }
    strange = [column for column in table.columns if column not in known]
    if strange:
        raise InputError(f"has no {strange[0]!r}", where=str(network), expected="the columns of the series")
    return [known[column] for column in table.columns]


def _devices(table: Any, network: Path) -> list[Device]:
    return [
        Device(
            DeviceId(str(name)),
            "ltown",
            System.WATER,
            (Point(quantity, quantity, _UNITS[quantity], series),),
            _INTERVAL,
            asset=asset_id(network.name, kind, str(name)),
        )
        for series, (name, (quantity, kind)) in enumerate(zip(table.columns, _quantities(table, network), strict=True))
    ]


def _batch(times: Any, values: Any) -> Batch:
    """Return rows of readings as one batch, time by time, handed over at the last of them."""
    steps, series = values.shape
    size = steps * series
    return Batch(
        np.tile(np.arange(series, dtype=np.int32), steps),
        np.repeat(times, series),
        values.ravel(),
        np.full(size, Quality.GOOD, np.uint8),
        np.zeros(size, np.bool_),
        int(times[-1]),
    )
