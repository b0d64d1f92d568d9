"""The files of the set batadal, which the run and the truth read apart: the one the readings, the other the labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sensors.evaluation import Options
from twin.errors import InputError

LABEL = "ATT_FLAG"
_TIME = "DATETIME"
_FORMAT = "%d/%m/%y %H"


def training_file(data: Path, options: Options) -> Path:
    """Return the file that teaches."""
    return _file(data, options.train, "dataset03.csv")


def test_file(data: Path, options: Options) -> Path:
    """Return the file that is scored."""
    return _file(data, options.test, "dataset04.csv")


def tags(file: Path) -> list[str]:
    """Return the names of the measured columns."""
    names = [name.strip() for name in _read(file, nrows=0).columns]
    return [name for name in names if name not in {_TIME, LABEL}]


def hours(file: Path, names: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the times of the rows (n,), ms UTC, and the columns `names` (n, len(names)), in the file's units."""
    table = _read(file, usecols=lambda name: name.strip() != LABEL)
    table.columns = [name.strip() for name in table.columns]
    missing = {_TIME, *names} - set(table.columns)
    if missing:
        raise InputError(f"has no column {min(missing)}", where=str(file), expected=f"{_TIME} and {len(names)} tags")
    return times(table[_TIME], file), table[names].to_numpy(np.float64)


def labels(file: Path) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the times of the rows (n,), ms UTC, and their labels (n,)."""
    table = _read(file)
    table.columns = [name.strip() for name in table.columns]
    if not {_TIME, LABEL} <= set(table.columns):
        raise InputError(f"has no labels ({LABEL})", where=str(file), expected="a labelled file of BATADAL")
    return times(table[_TIME], file), table[LABEL].to_numpy(np.int64)


def times(column: pd.Series[str], file: Path) -> NDArray[np.int64]:
    """Return the times of a column as ms UTC; InputError for one that is no time."""
    try:
        found = pd.to_datetime(column, format=_FORMAT)
    except ValueError as error:
        raise InputError(str(error), where=f"{file}: {_TIME}", expected="day/month/year hour") from None
    return found.to_numpy("datetime64[ms]").astype(np.int64)


def _file(data: Path, given: Path | None, usual: str) -> Path:
    """Return the file that was asked for, beside the data where it is there, or the usual one."""
    if given is None:
        return data / usual
    return data / given if (data / given).is_file() else given


def _read(file: Path, **options: object) -> pd.DataFrame:
    try:
        return pd.read_csv(file, skipinitialspace=True, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]  # options of pandas
    except FileNotFoundError:
        raise InputError("no such file", where=str(file), expected="a file of BATADAL") from None
    except (OSError, ValueError) as error:
        raise InputError(str(error), where=str(file), expected="a file of BATADAL") from None


__all__ = ["LABEL", "hours", "labels", "tags", "test_file", "times", "training_file"]
