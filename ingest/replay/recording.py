"""Recordings: tables of measured values (time index, one column a sensor), and the devices that would send them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from sensors.device import Device, DeviceId, Point
from sensors.quantity import quantity, scale
from twin.asset import System
from twin.errors import ChengmaiError, InputError


@dataclass(frozen=True, slots=True)
class Recording:
    """A table of values as they were recorded.

    `time` (n, int64) is ms since 1970 UTC, growing; `columns` maps the file's column names to values (n, float64) in
    the recorded unit, NaN where nothing was recorded. `left_out` are columns without numbers.
    """

    time: NDArray[np.int64]
    columns: Mapping[str, NDArray[np.float64]]
    left_out: Sequence[str] = ()

    @property
    def readings(self) -> int:
        """How many values there are."""
        return int(sum(np.isfinite(values).sum() for values in self.columns.values()))

    @property
    def interval(self) -> timedelta:
        """The usual time between two rows."""
        if len(self.time) < 2:
            return timedelta(minutes=1)
        return timedelta(milliseconds=int(np.median(np.diff(self.time))))

    def shifted(self, start: int) -> Recording:
        """Return the recording as if it had begun at `start` (ms since 1970 UTC)."""
        return Recording(self.time - self.time[0] + start, self.columns, self.left_out)


@dataclass(frozen=True, slots=True)
class Measure:
    """What the columns that match `pattern` (shell wildcards) measure: a quantity, and the unit of the values."""

    pattern: str
    quantity: str
    unit: str

    @staticmethod
    def parse(text: str) -> Measure:
        """Return the measure of ``[COLUMNS=]QUANTITY[:UNIT]``; InputError for a quantity or unit that is unknown.

        >>> Measure.parse("PUMP*=flow:L/s")
        Measure(pattern='PUMP*', quantity='flow', unit='L/s')
        """
        pattern, _, what = text.rpartition("=")
        name, _, unit = what.partition(":")
        try:
            unit = unit or quantity(name).usual
            scale(unit, name)
        except ChengmaiError as error:
            raise InputError(
                error.what, where=f"--unit {text}", expected=error.expected or "[COLUMNS=]QUANTITY[:UNIT]"
            ) from None
        return Measure(pattern or "*", name, unit)


def read_recording(
    path: Path, *, zone: str | None = None, start: datetime | None = None, end: datetime | None = None
) -> Recording:
    """Read a CSV or parquet table from `path`, rows of [start, end) only.

    `zone` (IANA name) is the zone of an index that names none; aware `start` and `end` are optional. InputError:
    E_MISSING, E_EMPTY, E_FORMAT, E_ENCODING, with the file and what was expected.
    """
    frame = _table(path)
    time = _times(path, frame, zone)
    frame = frame.set_axis(time, axis=0).sort_index()
    kept = ~frame.index.duplicated() & frame.index.notna()
    if start is not None:
        kept &= frame.index >= start
    if end is not None:
        kept &= frame.index < end
    frame = frame[kept]
    numbers = frame.select_dtypes("number")
    if not len(numbers) or not len(numbers.columns):
        raise InputError(
            "no values in it", where=str(path), expected="rows of numbers in the time given", code="E_EMPTY"
        )
    left_out = [str(name) for name in frame.columns if name not in numbers.columns]
    values = numbers.to_numpy(np.float64, na_value=np.nan)
    values = np.where(np.isfinite(values), values, np.nan)
    index = pd.DatetimeIndex(numbers.index).as_unit("ms").asi8
    return Recording(index, {str(name): values[:, at] for at, name in enumerate(numbers.columns)}, left_out)


def devices_of(
    recording: Recording,
    measures: Sequence[Measure],
    *,
    district: str,
    system: System,
    place: tuple[float, float] | None,
) -> dict[str, Device]:
    """Return a device for each column, by column name: one point, called as its quantity.

    A column's name becomes a device name by writing ``_`` for what topics do not allow; InputError for a column that
    no measure names. The last measure that matches holds, so that exceptions follow the rule.
    """
    devices: dict[str, Device] = {}
    taken: set[str] = set()
    for column in recording.columns:
        measure = next((m for m in reversed(measures) if fnmatchcase(column, m.pattern)), None)
        if measure is None:
            raise InputError(
                f"column {column} has no quantity", where="--register", expected="--unit COLUMNS=QUANTITY:UNIT"
            )
        name = device_name(column, taken)
        taken.add(name)
        devices[column] = Device(
            DeviceId(name),
            district,
            system,
            (Point(measure.quantity, measure.quantity, measure.unit),),
            recording.interval,
            name=column,
            easting=place and place[0],
            northing=place and place[1],
            model="recording",
        )
    return devices


def device_name(column: str, taken: set[str]) -> str:
    """Return a name for the device of a column that a topic can carry and that is not `taken`.

    >>> device_name("Tank 1 (m)", set()), device_name("泵", {"_"})
    ('Tank_1__m_', '_-2')
    """
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", column)[:58] or "_"
    name, number = plain, 1
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return name


def _table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError("no such file", where=str(path), expected="a CSV or parquet table", code="E_MISSING")
    if not path.stat().st_size:
        raise InputError("is empty", where=str(path), expected="a CSV or parquet table", code="E_EMPTY")
    try:
        if path.suffix.lower() in {".parquet", ".pq"}:
            return pd.read_parquet(path)
        return pd.read_csv(path, index_col=0)
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start} is not UTF-8", where=str(path), code="E_ENCODING") from None
    except (ValueError, OSError, pa.ArrowException) as error:
        what = str(error).splitlines()[0]
        raise InputError(what, where=str(path), expected="a CSV or parquet table", code="E_FORMAT") from None


def _times(path: Path, frame: pd.DataFrame, zone: str | None) -> pd.DatetimeIndex:
    index = frame.index
    try:
        if not isinstance(index, pd.DatetimeIndex):
            if pd.api.types.is_numeric_dtype(index.dtype):
                raise ValueError("its first column holds no times")  # noqa: TRY301  # told as all others are
            index = pd.DatetimeIndex(pd.to_datetime(index, format="mixed"))
        if index.tz is not None:
            return index.tz_convert(UTC)
        if zone is None:
            raise InputError("its times name no zone", where=str(path), expected="--tz, such as --tz Asia/Shanghai")
        return index.tz_localize(ZoneInfo(zone), ambiguous="infer").tz_convert(UTC)
    except (ZoneInfoNotFoundError, IsADirectoryError):
        raise InputError(f"no time zone {zone}", where="--tz", expected="an IANA name, such as Asia/Shanghai") from None
    except ValueError as error:
        raise InputError(str(error), where=str(path), expected="times in the first column", code="E_FORMAT") from None


__all__ = ["Measure", "Recording", "device_name", "devices_of", "read_recording"]
