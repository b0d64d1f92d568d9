"""The files of the set bwdf: the workbook of inflows as published, and the table that a run reads."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from twin.errors import InputError

WORKBOOK = "InflowData.xlsx"
TABLE = "inflow.parquet"
"""What the truth process writes for the run: the workbook with bursts in it, flows in m³/s, times as below."""
TRAINING = 0.5
"""The share of the hours, from the first on, that teaches; the rest is scored."""

_M3S_PER_LPS = 1e-3
_ZONE = re.compile(r"(?P<name>DMA\s+\S+)\s*\(L/s\)")
_TIME_FORMAT = "%d/%m/%Y %H:%M"


def read_workbook(data: Path) -> pd.DataFrame:
    """Return the inflow of every DMA (a column ``DMA-1`` …, m³/s) by hour, NaN where there is none.

    The index is the workbook's clock, that of the wall (CET and CEST), counted as if it were UTC: people's days follow
    it. The hour that autumn has twice is there once. InputError naming the file where it is missing or laid out
    otherwise.
    """
    path = data / WORKBOOK
    try:
        sheet = pd.read_excel(path)
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), expected="the folder of bwdf", code="E_MISSING") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(str(error), where=str(path), expected="an Excel workbook", code="E_FORMAT") from None
    zones = {column: match["name"] for column in sheet.columns if (match := _ZONE.search(str(column)))}
    try:
        times = pd.to_datetime(sheet.iloc[:, 0], format=_TIME_FORMAT, utc=True)
    except (ValueError, IndexError) as error:
        raise InputError(str(error), where=str(path), expected=f"times as {_TIME_FORMAT}", code="E_FORMAT") from None
    if not zones:
        raise InputError("has no inflows", where=str(path), expected="columns DMA … (L/s)", code="E_FORMAT")
    flows = sheet[list(zones)].apply(pd.to_numeric, errors="coerce") * _M3S_PER_LPS
    flows.columns = ["-".join(name.split()) for name in zones.values()]
    flows.index = pd.DatetimeIndex(times)
    return flows[~flows.index.duplicated()].sort_index()


def training_hours(hours: int) -> int:
    """Return how many of `hours` teach."""
    return int(TRAINING * hours)


def to_table(flows: pd.DataFrame, path: Path) -> None:
    """Write the flows of `read_workbook` for a run."""
    flows.to_parquet(path)


def read_table(data: Path) -> pd.DataFrame:
    """Return the flows that the truth process wrote into `data`; InputError naming the file where there are none."""
    path = data / TABLE
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise InputError(str(error), where=str(path), expected="a table of inflows", code="E_FORMAT") from None


def milliseconds(flows: pd.DataFrame) -> np.ndarray:
    """Return the times of `flows`, int64 (n,), ms since 1970 UTC."""
    return flows.index.to_numpy("datetime64[ms]").astype(np.int64)


__all__ = ["TABLE", "TRAINING", "WORKBOOK", "milliseconds", "read_table", "read_workbook", "to_table", "training_hours"]
