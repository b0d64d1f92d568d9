"""Reading stores: where readings stay. One protocol, one contract suite (`ingest.store.checks`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sensors.reading import Batch
from twin.errors import SettingsError


class Rejected(NamedTuple):
    """A reading, by its position in the batch, that the store takes in no form, and what the store said."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Written:
    """What became of a batch, in readings: new, already there with the same value, already there with another."""

    stored: int
    duplicates: int
    conflicts: NDArray[np.intp]
    """Positions in the batch of the readings that were refused because (series, time) holds another value."""
    rejected: Sequence[Rejected] = ()
    """Readings that the store refuses for good; their neighbours are kept."""


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest reading of each series, by the device's time, in columns of one length, ordered by series."""

    series: NDArray[np.int32]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    quality: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long readings stay, and their minutes and hours where a store keeps such; None is for ever."""

    readings: timedelta | None = None
    rollups: timedelta | None = None


class ReadingStore(Protocol):
    """Keeps readings, each (series, time) once (entry point group ``chengmai.stores``).

    `precision` is the error at most of a value that comes back, as a share of the largest of its series; 0 where it
    comes back bit by bit.
    """

    precision: ClassVar[float]

    def write(self, batch: Batch) -> Written:
        """Keep the batch durably before returning; writing it again changes nothing."""
        ...

    def read(
        self, series: Sequence[int], start: datetime, end: datetime, every: timedelta | None = None
    ) -> pd.DataFrame:
        """Return readings of [start, end).

        Columns `series` (int32), `time` (datetime64[ms, UTC]), `value` (float64, SI), `quality` (uint8), ordered by
        series and time. With `every`: one row a bucket of that length with columns `min`, `mean`, `max`, `count`
        instead of value and quality.
        """
        ...

    def latest(self) -> Latest:
        """Return the newest reading of every series; late readings never move it back."""
        ...


@runtime_checkable
class Audited(Protocol):
    """What a store has besides whose answer says nothing of what it kept: readings count once they are read back.

    `settles_s` is how long after a write (seconds) the store may still forget it, when it is killed, or not show it.
    """

    settles_s: float

    def held(self, batch: Batch) -> NDArray[np.bool_]:
        """Return which readings of the batch the store holds, with their values."""
        ...


def open_store(url: str, token: str = "", retention: Retention | None = None) -> ReadingStore:
    """Return the store at `url` (docs/stores.md: ``sqlite:FILE``, ``influx+http://host:8086/ORG/BUCKET``, …).

    The word before the first ``:`` or ``+`` names the entry point, which is called with url, token and retention.
    Whoever writes gives a retention: with it the store sets itself up (database, bucket) and lets go of what is older;
    None leaves everything as it is. SettingsError for a name that no installed package offers; InputError and
    UnavailableError as the store finds them.
    """
    name = url.partition(":")[0].partition("+")[0]
    offered = entry_points(group="chengmai.stores")
    if name not in offered.names:
        raise SettingsError("no such kind of store", where=url, expected=f"one of {', '.join(sorted(offered.names))}")
    return offered[name].load()(url, token, retention)


def within(retention: Retention, batch: Batch) -> tuple[NDArray[np.intp], list[Rejected]]:
    """Return the positions of the readings that are not past their retention at `batch.now`, and what the others are.

    A store that took what it is about to delete would count a resend as new.
    """
    if retention.readings is None:
        return np.arange(len(batch)), []
    inside = batch.time >= batch.now - round(retention.readings / timedelta(milliseconds=1))
    reason = f"older than the {retention.readings / timedelta(days=1):g} days that readings stay"
    return np.flatnonzero(inside), [Rejected(int(at), reason) for at in np.flatnonzero(~inside)]


def columns(rows: Sequence[Sequence[Any]], names: Sequence[str]) -> pd.DataFrame:
    """Return rows (series, time in ms since 1970 UTC, then `names`) as the data frame that `read` promises."""
    frame = pd.DataFrame(list(rows), columns=pd.Index(["series", "time", *names]))
    kinds = {"series": "int32", "value": "float64", "quality": "uint8", "count": "int64"}
    kinds |= dict.fromkeys(("min", "mean", "max"), "float64")
    frame = frame.astype({name: kinds[name] for name in frame.columns if name in kinds})
    frame["time"] = frame["time"].astype("int64").astype("datetime64[ms]").dt.tz_localize("UTC")
    return frame


__all__ = ["Audited", "Latest", "ReadingStore", "Rejected", "Retention", "Written", "columns", "open_store", "within"]
