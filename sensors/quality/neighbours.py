"""Neighbours: what sensors of one quantity near to each other, or at one asset, say of one another.

Drift: QARTOD test 11 (neighbour). The mean of a day is held against those of the nearest sensors on the same day; where
that difference leaves what it was since the sensor was new or calibrated, and stays away, the sensor drifts, or the
place has changed for good: both are for somebody to look at. It is suspect only, and still reaches every detector.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from sensors.detection.series import SeriesTable
from sensors.device_table import DeviceTable
from sensors.limits import Limits
from sensors.quality.flags import Test
from sensors.quality.rules import number_of

DAY_MS = 86_400_000
PEERS = 4
"""Neighbours that a sensor is held against: one of them may be wrong too."""
LEAST_PEERS = 2
LEARN_DAYS = 7
"""Days after which the usual difference is known."""
MEMORY_DAYS = 180.0
"""Days over which it is forgotten: longer than a drift takes to show."""
SLOW_DAYS = 5.0
"""Time constant of the difference that is judged, days."""
CLIPPED = 9.0
"""Variances that a single day teaches at most: a drift must not make its own room."""
SPREADS = 5.0
"""Deviations of single days by which the slow difference must be away."""

_DAY = np.dtype(
    [
        ("day", "i8"),
        ("sum", "f8"),
        ("count", "i8"),
        ("closed", "i8"),
        ("mean", "f8"),
        ("before", "f8"),
        ("usual", "f8"),
        ("spread", "f8"),
        ("slow", "f8"),
        ("days", "f8"),
        ("drifts", "?"),
    ]
)
"""The day that runs (sum and count), the last one closed with its mean, and the mean of the day before that one; the
usual difference from the neighbours, its variance from day to day, the slow difference, and how many days those are
of; whether it drifts."""


class Neighbours:
    """Which sensors are held against which, and the days that they had; `tables` are what the compiled pass wants."""

    def __init__(self, series: SeriesTable, table: DeviceTable, limits: Limits, off: Test) -> None:
        place = np.full(1, -1, np.int32)
        found: list[tuple[NDArray[np.int32], NDArray[np.int32], float]] = []
        if Test.DRIFT not in off:
            found = list(_neighbours(series, table, limits))
        if found:
            place = np.full(1 + max(int(number.max()) for number, _, _ in found), -1, np.int32)
        first = 0
        for number, _, _ in found:
            place[number] = np.arange(first, first + len(number))
            first += len(number)
        peers = np.concatenate([np.empty((0, PEERS), np.int32), *(near for _, near, _ in found)])
        least = np.concatenate([np.empty(0), *(np.full(len(number), least) for number, _, least in found)])
        self._number = np.concatenate([np.empty(0, np.int32), *(number for number, _, _ in found)])
        self._days = np.zeros(len(place), _DAY)
        self.tables = (place, peers, least, self._days)

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """The days, by number of a series."""
        return {"days": self._days}


def _neighbours(
    series: SeriesTable, table: DeviceTable, limits: Limits
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.int32], float]]:
    """Yield, for each quantity and system that has a number: the series (n,), their neighbours (n, PEERS), the limit.

    Neighbours are series numbers, -1 where there is none within reach.
    """
    reach_m = limits.number("quality", "neighbour_distance")
    kinds: dict[tuple[str, str], list[int]] = {}
    for index, kind in enumerate(series.kinds):
        if number_of(limits, "drift", kind) is not None:
            kinds.setdefault((kind.quantity, kind.system), []).append(index)
    if not kinds:
        return
    places = table.places
    for alike in kinds.values():
        rows = series.watched(alike)
        at = places[series.points.device[rows]]
        placed = np.isfinite(at).all(axis=1)
        rows, at = rows[placed], at[placed]
        if len(rows) <= LEAST_PEERS:
            continue
        number = series.points.series[rows]
        found = KDTree(at).query(at, k=min(PEERS + 1, len(rows)), distance_upper_bound=reach_m)
        distance, near = (np.asarray(part) for part in found)
        mine = near == np.arange(len(rows))[:, None]
        near = np.where(mine | ~np.isfinite(distance), -1, np.append(number, -1)[np.minimum(near, len(rows))])
        near = np.take_along_axis(near, np.argsort(near < 0, axis=1, kind="stable"), axis=1)[:, :PEERS]
        padded = np.full((len(rows), PEERS), -1, np.int32)
        padded[:, : near.shape[1]] = near
        least = number_of(limits, "drift", series.kinds[alike[0]])
        assert least is not None
        yield number, padded, least


@numba.njit(cache=True)
def drifts(tables: Any, s: int, time: int, value: float) -> bool:  # pragma: no cover  # compiled
    """Take a reading that was believed into its day; whether its series drifts."""
    place, peers, least, days = tables
    if s >= len(place) or place[s] < 0:
        return False
    mine = days[s]
    day = time // DAY_MS
    if day != mine.day:
        if mine.count:
            if mine.closed == mine.day - 1:
                _judge(mine, peers[place[s]], least[place[s]], days)
            mine.before = mine.mean
            mine.mean = mine.sum / mine.count
            mine.closed = mine.day
        mine.day = day
        mine.sum = 0.0
        mine.count = 0
    mine.sum += value
    mine.count += 1
    return mine.drifts


@numba.njit(cache=True)
def _judge(mine: Any, near: Any, least: float, days: Any) -> None:  # pragma: no cover  # compiled
    """Hold the last closed day of a series against the same day of its neighbours, wherever those are by now."""
    total, count = 0.0, 0
    for p in near:
        if p < 0:
            break
        other = days[p]
        if other.drifts:
            continue
        if other.closed == mine.closed:
            total += other.mean
            count += 1
        elif other.closed == mine.closed + 1:
            total += other.before
            count += 1
    if count < LEAST_PEERS:
        return
    away = mine.mean - total / count
    if mine.days < LEARN_DAYS:
        mine.days += 1.0
        step = away - mine.usual
        mine.usual += step / mine.days
        mine.spread += (step * (away - mine.usual) - mine.spread) / mine.days
        mine.slow = mine.usual
        return
    mine.slow += (away - mine.slow) / SLOW_DAYS
    limit = max(least, SPREADS * np.sqrt(max(mine.spread, 0.0)))
    left = abs(mine.slow - mine.usual)
    mine.drifts = left > (0.5 * limit if mine.drifts else limit)
    if not mine.drifts:
        mine.usual += (away - mine.usual) / MEMORY_DAYS
        step = away - mine.usual
        mine.spread += (min(step * step, CLIPPED * mine.spread) - mine.spread) / MEMORY_DAYS


def twins(
    series: SeriesTable, table: DeviceTable, limits: Limits, off: Test
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the twin of each series (-1: none; empty where no series has one), and how far twins of a kind may differ.

    Twins are points of one name and quantity that different devices have at one asset: it was built twice to be
    believed.
    """
    kinds = series.kinds
    found = [None if Test.INCONSISTENT in off else number_of(limits, "consistency", kind) for kind in kinds]
    tolerance = np.array([np.inf if each is None else each for each in found])
    rows = series.watched(index for index, each in enumerate(found) if each is not None)
    number, device = series.points.series[rows], series.points.device[rows]
    kind = series.points.kind[rows]
    assets = table.assets
    # Those that share a hash are few; only they are looked at one by one, whatever the size of the city.
    where = np.fromiter((0 if (asset := assets[each]) is None else hash(asset) for each in device.tolist()), np.int64)
    where, place, shared = np.unique(where, return_inverse=True, return_counts=True)
    at: dict[tuple[str, str, str], list[int]] = {}
    for index in np.flatnonzero((shared[place] > 1) & (where[place] != 0)).tolist():
        asset, named = assets[int(device[index])], kinds[int(kind[index])]
        at.setdefault((str(asset), named.name, named.quantity), []).append(int(number[index]))
    together = [sorted(numbers) for numbers in at.values() if len(numbers) > 1]
    if not together:
        return np.empty(0, np.int32), tolerance
    twin = np.full(1 + len(table.rows), -1, np.int32)
    for numbers in together:
        twin[numbers] = [*numbers[1:], numbers[0]]
    return twin, tolerance


__all__ = ["Neighbours", "drifts", "twins"]
