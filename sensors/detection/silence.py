"""Silence: a device that has stopped reporting.

What counts is time during which the city listened. One update credits at most one interval of quiet to a device, so a
stopped and restarted worker, or a clock that jumps, does not make every device look silent at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Key, Subject
from sensors.detection.scope import Scope
from sensors.detection.series import SeriesTable, pack, take_over
from sensors.device import Device
from sensors.limits import LEVELS, Silence
from sensors.reading import Batch

_RULE = "silence"
_NEVER = np.iinfo(np.int64).min


class SilenceDetector:
    """Says when a device is silent for more than so many of its intervals, and when it is heard again.

    A device is listened for from its first live reading on; buffered history proves that it lives only afterwards.
    Any of its points counts, whatever the quality of the value.
    """

    def __init__(self, devices: Sequence[Device], silence: Silence) -> None:
        self._series = SeriesTable(devices)
        points = self._series.points
        rows = self._series.watched(range(len(self._series.kinds)))
        size = self._series.width(rows)
        number, device = points.series[rows], points.device[rows]
        least = np.full(len(devices), size, np.int32)  # the first series of each device stands for it
        np.minimum.at(least, device, number)
        intervals = np.array([kind.interval_ms for kind in self._series.kinds], np.int64)
        self._level = LEVELS[silence.level]
        self._owner = np.full(size, -1, np.int32)
        self._owner[number] = least[device]
        self._interval = np.zeros(size, np.int64)
        self._interval[number] = intervals[points.kind[rows]]
        self._allowed = self._interval * silence.intervals + silence.grace_s * 1000
        self._newest = np.full(size, _NEVER)
        self._quiet = np.zeros(size, np.int64)
        self._heard = np.zeros(size, np.bool_)
        self._silent = np.zeros(size, np.bool_)
        self._now = np.full(1, _NEVER)
        self._said = np.full(1, _NEVER)
        self._mine = self._owner == np.arange(size)

    @classmethod
    def build(cls, scope: Scope) -> SilenceDetector:
        """Listen for all `scope.devices` that are not retired."""
        return cls(scope.devices, scope.limits.silence)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch, or only its time, and say who fell silent and who is back."""
        before = int(self._now[0])
        now = batch.now
        passed = 0 if before == _NEVER else max(0, now - before)
        self._now[0] = now  # also where the city's clock was set back: time goes on from there
        heard = self._hear(batch)
        self._quiet += np.minimum(passed, self._interval)
        self._quiet[heard] = 0
        back = heard & self._silent
        fell = self._heard & ~self._silent & ~heard & self._mine & (self._quiet > self._allowed)
        self._silent = (self._silent & ~heard) | fell
        changed = np.flatnonzero(back | fell).tolist()
        if changed:  # two changes never bear one time, even where the city's clock has been set back
            self._said[0] = max(now, int(self._said[0]) + 1)
        return [
            Detection(
                self._subject(number),
                _RULE,
                DetectionKind.SILENCE,
                active=bool(fell[number]),
                level=self._level,
                time=int(self._said[0]),
                score=float(self._quiet[number] / max(1, self._interval[number])),
            )
            for number in changed
        ]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(
            newest=self._newest,
            quiet=self._quiet,
            heard=self._heard,
            silent=self._silent,
            now=self._now,
            said=self._said,
        )

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        mine = {"newest": self._newest, "quiet": self._quiet, "heard": self._heard, "silent": self._silent}
        take_over(state, now=self._now, said=self._said, **mine)
        self._heard &= self._mine
        self._silent &= self._mine
        return {(self._subject(number), _RULE) for number in np.flatnonzero(self._silent).tolist()}

    def _subject(self, number: int) -> Subject:
        return Subject(f"device:{self._series[number].device}")

    def _hear(self, batch: Batch) -> NDArray[np.bool_]:
        """Return the mask (by first series) of devices with a reading newer than any before; note them."""
        heard = np.zeros(len(self._owner), np.bool_)
        known = (batch.series >= 0) & (batch.series < len(self._owner))
        series, time, live = batch.series[known], batch.time[known], ~batch.history[known]
        newer = time > self._newest[series]
        owner = self._owner[series]
        heard[owner[newer & live & (owner >= 0)]] = True
        self._heard |= heard
        heard[owner[newer & (owner >= 0)]] = True
        np.maximum.at(self._newest, series, time)
        return heard & self._heard
