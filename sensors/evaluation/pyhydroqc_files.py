"""The files of pyhydroqc, a year of a river each, as both sides of an evaluation read them: only columns asked for."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sensors.clock import to_ms
from twin.errors import InputError

MEASURED = ("temp", "cond", "ph", "do", "turb", "stage")
"""The raw columns; what the technicians made of ``temp`` are ``temp_cor`` and ``temp_qual``."""

TRAINING = 0.4
"""Share of each file's readings, the first ones, that is not scored."""


def files(data: Path) -> Sequence[Path]:
    """Return the files of the set in the order of their devices; InputError where there are none."""
    found = sorted(data.glob("*.csv.gz"))
    if not found:
        raise InputError("no file of the set", where=str(data), expected="<river><year>.csv.gz", code="E_MISSING")
    return found


def read(path: Path, columns: Iterable[str]) -> tuple[NDArray[np.int64], Mapping[str, Sequence[str]]]:
    """Return times (n,) in ms and `columns` as the file has them; InputError with the line that cannot be read.

    Times are taken as UTC: the file names no zone.
    """
    times: list[int] = []
    kept: dict[str, list[str]] = {name: [] for name in columns}
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                times.append(to_ms(datetime.fromisoformat(line["datetime"]).replace(tzinfo=UTC)))
                for name, column in kept.items():
                    column.append(line[name])
    except KeyError as error:
        raise InputError(f"no column {error}", where=path.name, expected="datetime and " + ", ".join(kept)) from None
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise InputError(str(error), where=f"{path.name}: line {len(times) + 2}", expected="the set's layout") from None
    return np.asarray(times, np.int64), kept


def numbers(column: Sequence[str]) -> NDArray[np.float64]:
    """Return a column as numbers, NaN for NULL and what else is none."""
    return np.array([_number(text) for text in column], np.float64)


def training(size: int) -> int:
    """Return how many of `size` rows are the training part."""
    return round(TRAINING * size)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


__all__ = ["MEASURED", "TRAINING", "files", "numbers", "read", "training"]
