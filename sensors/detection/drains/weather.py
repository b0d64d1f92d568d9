"""Rain over the drains, and what it does to what is measured in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection.scope import Scope
from sensors.detection.series import SeriesTable
from sensors.limits import Limits

MEMORY_S = np.array([1.0, 6.0, 48.0]) * 3600
"""Time constants of the reservoirs that rain fills: what runs off at once, what follows, what seeps in for days."""
HELD_MS = 900_000
"""A rain gauge's reading holds for so long, or for one and a half of its intervals."""

_FORGET = 0.9995
_START_VARIANCE = 1e4
_WARM_MM, _WET_MM, _MOST_AT_ONCE_MM = 10.0, 0.2, 5.0
_MM = 1000.0


class Rain:
    """How much rain there was lately: the mean of all rain gauges, in reservoirs that run out (`MEMORY_S`).

    `series` (m,) are the gauges' series, and `held_ms` (m,) how long their readings hold. Without gauges it never
    rains, and `measured` is False.
    """

    def __init__(self, series: NDArray[np.int32], held_ms: NDArray[np.int64], limits: Limits) -> None:
        self.series, self._held_ms = series, held_ms
        self._dry_m = (limits.number("rain", "dry_hour"), limits.number("rain", "dry_days"))
        self._rate, self._seen = np.zeros(len(series)), np.full(len(series), -(2**62))
        self._stored_m, self._fallen_m = np.zeros(len(MEMORY_S)), np.zeros(1)
        self._time = np.full(1, -1, np.int64)

    @classmethod
    def of(cls, scope: Scope) -> Rain:
        """Return the rain that the devices of `scope` measure, wherever they stand."""
        table = SeriesTable(scope.devices)
        kinds = [n for n, kind in enumerate(table.kinds) if kind.quantity == "rain_intensity"]
        rows = table.watched(kinds)
        number = table.points.series[rows]
        order = sorted(range(len(rows)), key=lambda each: table[int(number[each])].subject)
        held_ms = [max(HELD_MS, table.kinds[int(table.points.kind[rows[each]])].interval_ms * 3 // 2) for each in order]
        return cls(number[order], np.array(held_ms, np.int64), scope.limits)

    @property
    def measured(self) -> bool:
        """Whether there is a rain gauge."""
        return len(self.series) > 0

    @property
    def dry(self) -> bool:
        """Whether the drains carry no rain: as far as anybody measures it."""
        return bool(self._stored_m[0] < self._dry_m[0] and self._stored_m[-1] < self._dry_m[1])

    @property
    def stored_mm(self) -> NDArray[np.float64]:
        """What is left of the rain in each reservoir, (3,) mm."""
        return self._stored_m * _MM

    @property
    def fallen_mm(self) -> float:
        """All that has fallen since this was made, mm."""
        return float(self._fallen_m[0]) * _MM

    def take(self, time: int, rate: NDArray[np.float64]) -> None:
        """Take in a step at `time` (ms): `rate` (m,) m/s, NaN of gauges that said nothing."""
        fresh = np.isfinite(rate)
        self._rate[fresh], self._seen[fresh] = rate[fresh], time
        before, self._time[0] = int(self._time[0]), time
        if before < 0:
            return
        passed_s = (time - before) / 1000
        held = time - self._seen <= self._held_ms
        falling = float(self._rate[held].mean()) if held.any() else 0.0
        self._stored_m *= np.exp(-passed_s / MEMORY_S)
        fell_m = max(falling, 0.0) * min(passed_s, float(self._held_ms.max(initial=HELD_MS)) / 1000)
        self._stored_m += fell_m
        self._fallen_m += fell_m

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` wants."""
        return {"rain_stored": self._stored_m, "rain_fallen": self._fallen_m, "rain_time": self._time}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` returned; the gauges are heard again within a step or two."""
        self._stored_m[:], self._time[:] = state["rain_stored"], state["rain_time"]
        self._fallen_m[:] = state["rain_fallen"]


class Response:
    """How far rain moves what k places read: a share of each reservoir, learnt by recursive least squares.

    Source: Ljung, System Identification, 2nd ed., 11.2, with forgetting. Learnt in wet weather only.
    """

    def __init__(self, size: int) -> None:
        count = len(MEMORY_S)
        self._share = np.zeros((size, count))
        self._variance = np.broadcast_to(np.eye(count) * _START_VARIANCE, (size, count, count)).copy()
        self._error, self._heard_mm, self._last_mm = np.zeros(size), np.zeros(size), np.zeros(size)

    def expected(self, rain: Rain) -> NDArray[np.float64]:
        """Return what rain adds at present, (k,) SI; nothing where it has not been learnt."""
        return np.maximum(self._share @ rain.stored_mm, 0.0) * self.warm

    def sigma(self) -> NDArray[np.float64]:
        """Return how far the truth lies from `expected` in wet weather, (k,) SI."""
        return np.sqrt(self._error)

    @property
    def warm(self) -> NDArray[np.bool_]:
        """Where enough rain has been seen, (k,)."""
        return self._heard_mm >= _WARM_MM

    def learn(self, rain: Rain, excess: NDArray[np.float64], good: NDArray[np.bool_]) -> None:
        """Take in by how much (k,) the places read more than in dry weather, where `good` (k,)."""
        stored = rain.stored_mm
        rows = np.flatnonzero(good & np.isfinite(excess))
        if stored.sum() < _WET_MM or not len(rows):
            return
        variance = self._variance[rows]
        lever = variance @ stored
        gain = lever / (_FORGET + lever @ stored)[:, None]
        error = excess[rows] - self._share[rows] @ stored
        self._share[rows] += gain * error[:, None]
        variance = (variance - gain[:, :, None] * lever[:, None, :]) / _FORGET
        self._variance[rows] = np.minimum(variance, _START_VARIANCE)
        self._error[rows] += 0.01 * (error**2 - self._error[rows])
        self._heard_mm[rows] += np.clip(rain.fallen_mm - self._last_mm[rows], 0.0, _MOST_AT_ONCE_MM)
        self._last_mm[rows] = rain.fallen_mm

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` wants, rows by place."""
        return {
            "response_share": self._share,
            "response_variance": self._variance,
            "response_seen": np.stack([self._error, self._heard_mm, self._last_mm], axis=1),
        }

    def restore(self, state: Mapping[str, NDArray[Any]], mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> None:
        """Take over the rows `theirs` of what `state` returned as the rows `mine`."""
        self._share[mine] = state["response_share"][theirs]
        self._variance[mine] = state["response_variance"][theirs]
        self._error[mine], self._heard_mm[mine], self._last_mm[mine] = state["response_seen"][theirs].T


__all__ = ["MEMORY_S", "Rain", "Response"]
