"""The file of the set gecco, which the run and the truth read apart: the one the readings, the other the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from twin.errors import InputError

_TIME = "Time"
_LABEL = "EVENT"
TRAINING = 0.3
"""Share of the rows that teach, from the first on."""


def training_rows(rows: int) -> int:
    """Return how many of the rows teach."""
    return int(TRAINING * rows)


def minutes(data: Path, names: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the times of the rows (n,), ms, and the columns `names` (n, len(names)) in the file's units."""
    table = _read(data, [_TIME, *names])
    return _times(table, data), table[names].to_numpy(np.float64)


def events(data: Path) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the times of the rows (n,), ms, and which of them are labelled as an event."""
    table = _read(data, [_TIME, _LABEL])
    return _times(table, data), table[_LABEL].astype(str).str.upper().isin(["TRUE", "1"]).to_numpy()


def _times(table: pd.DataFrame, data: Path) -> NDArray[np.int64]:
    try:
        return pd.to_datetime(table[_TIME]).to_numpy("datetime64[ms]").astype(np.int64)
    except ValueError as error:
        raise InputError(str(error), where=f"{data}: {_TIME}", expected="times") from None


def _read(data: Path, names: list[str]) -> pd.DataFrame:
    """Return the columns `names` of the one table in the folder; InputError where there is none, or more."""
    files = sorted([*data.glob("*.csv"), *data.glob("*.csv.gz")])
    if len(files) != 1:
        raise InputError(f"holds {len(files)} tables", where=str(data), expected="one .csv or .csv.gz of GECCO 2018")
    try:
        return pd.read_csv(files[0], usecols=names)[names]
    except (OSError, ValueError) as error:
        raise InputError(str(error), where=str(files[0]), expected=", ".join(names)) from None


__all__ = ["TRAINING", "events", "minutes", "training_rows"]
