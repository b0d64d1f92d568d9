"""What rain brings into the sewers: the area that drains into each, storm by storm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection.drains.record import Record
from sensors.detection.drains.weather import Rain

KEPT, LAST, WARM = 16, 2, 5
"""Storms that are kept, the last of them that are judged, and the least that they are judged against."""
LEAST_MM = 5.0
"""Less rain is no storm: what it brings is lost in the dry day's scatter."""
LONGEST_MS = 3_600_000
"""A flow holds for so long at most between two steps."""


class Storms:
    """The area of k sewers that rain drains from: what flows beyond the dry day, divided by the depth of rain."""

    def __init__(self, size: int) -> None:
        self.record = Record(size, kept=KEPT, last=LAST, warm=WARM)  # m2
        self._volume = np.zeros((size, 2))  # m3 since it is wet; and how many of the steps could not be told
        self._storm = np.array([-1.0, 0.0, 0.0])  # time of the last step (ms), whether it is wet, rain before it (mm)

    def take(self, time: int, beyond: NDArray[np.float64], held: NDArray[np.bool_], rain: Rain) -> bool:
        """Take in a step at `time`: `beyond` (k,) m3/s, NaN where nobody knows; whether a storm is over by it.

        `held` (k,) as of `Record.add`.
        """
        before, was_wet, fallen_mm = self._storm.tolist()
        wet = not rain.dry
        if wet and not was_wet:
            self._volume[:] = 0.0
            fallen_mm = self._storm[2] = rain.fallen_mm - rain.stored_mm[0]
        self._storm[0], self._storm[1] = time, wet
        if wet and before >= 0:
            known = np.isfinite(beyond)
            passed_s = min(time - before, LONGEST_MS) / 1000
            self._volume += np.stack([np.where(known, beyond, 0.0) * passed_s, ~known], axis=1)
        depth_mm = rain.fallen_mm - fallen_mm
        if wet or not was_wet or depth_mm < LEAST_MM:
            return False
        whole = self._volume[:, 1] == 0
        area = np.maximum(self._volume[:, 0], 0.0) / (depth_mm / 1000)
        self.record.add(np.where(whole, area, np.nan), held)
        return True

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` wants; rows by place but for `storms_now`."""
        return {"storms_area": self.record.state(), "storms_volume": self._volume, "storms_now": self._storm}

    def restore(self, state: Mapping[str, NDArray[Any]], mine: NDArray[np.intp], theirs: NDArray[np.intp]) -> None:
        """Take over the rows `theirs` of what `state` returned as the rows `mine`."""
        self.record.restore(state["storms_area"], mine, theirs)
        self._volume[mine] = state["storms_volume"][theirs]
        self._storm[:] = state["storms_now"]


__all__ = ["Storms"]
