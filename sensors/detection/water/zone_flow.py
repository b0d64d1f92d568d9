"""What zones take in, hour by hour: the net flow of their meters less what their tanks take up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.city_calendar import Calendar, DayKind
from sensors.detection.steps import Step, Steps
from sensors.detection.water.zones import Zone
from sensors.reading import Batch

HOUR_MS = 3_600_000
_HOLIDAY_AS, _WORKED_AS = 6, 2
"""Water is used on a holiday as on a Sunday, on a weekend day that is worked as on a Wednesday."""
_SATURDAY = 5
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class ZoneHour:
    """What n zones took in during the hour number `hour` since 1970 UTC.

    `inflow` (n, m³/s) is NaN where a meter or a tank of the zone gave nothing. `live` is False where all was history.
    """

    hour: int
    inflow: NDArray[np.float64]
    live: bool


class ZoneFlow:
    """Gathers the readings of the meters and tanks of `zones` into hours."""

    def __init__(self, zones: Sequence[Zone]) -> None:
        meters = [(n, meter.series, meter.sign) for n, zone in enumerate(zones) for meter in zone.meters]
        tanks = [(n, tank.series, tank.area_m2) for n, zone in enumerate(zones) for tank in zone.tanks]
        series = np.unique(np.array([each[1] for each in (*meters, *tanks)], np.int32))
        self._size = len(zones)
        self._steps = Steps(series, HOUR_MS)
        self._meters, self._tanks = _columns(meters, series), _columns(tanks, series)
        self._level = np.full(len(series), np.nan)  # of tanks, at the end of the hour before
        self._hour = np.full(1, -1, np.int64)

    def take(self, batch: Batch) -> list[ZoneHour]:
        """Take in a batch and return the hours that are over, in order."""
        return [self._hour_of(step) for step in self._steps.take(batch)]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, for `sensors.detection.series.pack`."""
        return {**self._steps.state(), "flow_level": self._level, "flow_hour": self._hour}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` returned, for these zones or others."""
        self._steps.restore(state)
        _, mine, theirs = np.intersect1d(self._steps.series, state["steps_series"], return_indices=True)
        self._level[mine] = state["flow_level"][theirs]
        self._hour[:] = state["flow_hour"]

    def _hour_of(self, step: Step) -> ZoneHour:
        hour = step.time // HOUR_MS
        inflow = np.zeros(self._size)
        zone, column, sign = self._meters
        np.add.at(inflow, zone, sign * step.mean[column])
        before = self._level if hour == self._hour[0] + 1 else np.full(len(self._level), np.nan)
        zone, column, area_m2 = self._tanks
        np.add.at(inflow, zone, -area_m2 * (step.last[column] - before[column]) / (HOUR_MS / 1000))
        self._level, self._hour[0] = step.last, hour
        return ZoneHour(hour, inflow, step.live)


class CityHours:
    """What the hours since 1970 UTC are in a city.

    >>> from sensors.city_calendar import Calendar
    >>> CityHours(Calendar(8.0)).of(0)  # 1970-01-01 08:00, a Thursday
    (8, 3)
    """

    def __init__(self, calendar: Calendar) -> None:
        self._calendar = calendar
        self._offset_h = round(calendar.offset / timedelta(hours=1))

    def of(self, hour: int) -> tuple[int, int]:
        """Return the hour of the local day, and its weekday from Monday 0 as far as the use of water goes."""
        day, slot = self.day_of(hour)
        local = _EPOCH + timedelta(days=day)
        weekday, kind = local.weekday(), self._calendar.day(local)
        if kind is DayKind.HOLIDAY:
            return slot, _HOLIDAY_AS
        return slot, _WORKED_AS if kind is DayKind.WORKING and weekday >= _SATURDAY else weekday

    def day_of(self, hour: int) -> tuple[int, int]:
        """Return the local day since 1970, and the hour of it."""
        return divmod(hour + self._offset_h, 24)


def _columns(
    rows: Sequence[tuple[int, int, float]], series: NDArray[np.int32]
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return the zones, the columns among `series`, and the factors of (zone, series, factor)."""
    zone, number, factor = zip(*rows, strict=True) if rows else ((), (), ())
    return np.array(zone, np.intp), np.searchsorted(series, np.array(number, np.int32)), np.array(factor, np.float64)


__all__ = ["HOUR_MS", "CityHours", "ZoneFlow", "ZoneHour"]
