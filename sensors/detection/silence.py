"""Silence: a device that has stopped reporting.

What counts is time during which the city listened. One update credits at most one interval of quiet to a device, so a
stopped and restarted worker, or a clock that jumps, does not make every device look silent at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Fact, Key, Subject
from sensors.detection.scope import Scope
from sensors.detection.series import SeriesTable, columns, pack, take_over
from sensors.device import Device
from sensors.limits import LEVELS, Silence
from sensors.reading import Batch

_RULE = "silence"
_NEVER = np.iinfo(np.int64).min

_STATE = np.dtype([("newest", "i8"), ("quiet", "i8"), ("heard", "?"), ("silent", "?")])
"""Of each series the newest reading's time; at the first series of a device, which stands for it, how long it has been
quiet (in memory: how far its clock had run when it was last heard), whether it was ever heard live, and whether it was
said to be silent."""

_CLOCK = np.dtype([("interval", "i8"), ("allowed", "i8"), ("ran", "i8"), ("due", "i8")])
"""Devices of one interval hear one clock: how much it may gain in an update, how much quiet is allowed, how far it has
run, and how far at least it must run before any of them can have been quiet for too long (all in ms)."""


class SilenceDetector:
    """Says when a device is silent for more than so many of its intervals, and when it is heard again.

    A device is listened for from its first live reading on; buffered history proves that it lives only afterwards.
    Any of its points counts, whatever the quality of the value. What an update costs follows from its readings, not
    from how many devices there are: all of them are looked through only when one may have been quiet for too long.

    >>> from sensors.detection.checks import START_MS, sample_batch, sample_devices
    >>> from sensors.limits import load
    >>> detector = SilenceDetector.build(Scope(sample_devices(), load()))
    >>> detector.update(sample_batch([0], [0], [3e5]))  # S-00, every five seconds
    []
    >>> passed = [detector.update(Batch.empty(START_MS + 1000 * second)) for second in range(60)]
    >>> [(each.subject, each.active) for said in passed for each in said]
    [('device:S-00', True)]
    """

    def __init__(self, devices: Sequence[Device], silence: Silence) -> None:
        self._series = SeriesTable(devices)
        points, kinds = self._series.points, self._series.kinds
        rows = self._series.watched(range(len(kinds)))
        size = self._series.width(rows)
        number, device = points.series[rows], points.device[rows]
        least = np.full(len(devices), size, np.int32)  # the first series of each device stands for it
        np.minimum.at(least, device, number)
        self._level = LEVELS[silence.level]
        self._owner = np.full(size, -1, np.int32)
        self._owner[number] = least[device]
        intervals = np.array([kind.interval_ms for kind in kinds], np.int64)
        unique, clock = np.unique(intervals, return_inverse=True)
        self._clocks = np.zeros(len(unique), _CLOCK)
        self._clocks["interval"] = unique
        self._clocks["allowed"] = unique * silence.intervals + silence.grace_s * 1000
        self._clock = np.zeros(size, np.int32)
        self._clock[number] = clock[points.kind[rows]]
        self._state = np.zeros(size, _STATE)
        self._state["newest"] = _NEVER
        self._now = np.full(1, _NEVER)
        self._said = np.full(1, _NEVER)

    @classmethod
    def build(cls, scope: Scope) -> SilenceDetector:
        """Listen for all `scope.devices` that are not retired."""
        return cls(scope.devices, scope.limits.silence)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch, or only its time, and say who fell silent and who is back."""
        before = int(self._now[0])
        passed = 0 if before == _NEVER else max(0, batch.now - before)
        self._now[0] = batch.now  # also where the city's clock was set back: time goes on from there
        self._clocks["ran"] += np.minimum(passed, self._clocks["interval"])
        whose = (self._owner, self._clock)
        back = np.empty(len(batch), np.int32)
        back = back[: _hear(whose, self._clocks, self._state, columns(batch), back)]
        fell = self._fell() if (self._clocks["ran"] > self._clocks["due"]).any() else []
        changed = sorted([(int(number), False) for number in back] + [(number, True) for number in fell])
        if changed:  # two changes never bear one time, even where the city's clock has been set back
            self._said[0] = max(batch.now, int(self._said[0]) + 1)
        return [self._detection(number, active=active) for number, active in changed]

    def save(self) -> bytes:
        """Return the whole state."""
        saved = self._state.copy()
        saved["quiet"] = self._quiet()
        return pack(state=saved, now=self._now, said=self._said)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        take_over(state, state=self._state, now=self._now, said=self._said)
        mine = self._owner == np.arange(len(self._owner))
        self._state["heard"] &= mine
        self._state["silent"] &= mine
        self._state["quiet"] = self._clocks["ran"][self._clock] - self._state["quiet"]
        self._clocks["due"] = _NEVER  # whoever is quiet is looked for at the next update
        return {(self._subject(number), _RULE) for number in np.flatnonzero(self._state["silent"]).tolist()}

    def _quiet(self) -> NDArray[np.int64]:
        """Return how long the device of each first series has been quiet, ms."""
        return self._clocks["ran"][self._clock] - self._state["quiet"]

    def _fell(self) -> list[int]:
        """Return the first series of devices that are silent from now on; note when others can be, at the earliest."""
        listened = np.flatnonzero(self._state["heard"] & ~self._state["silent"])
        clock, since = self._clock[listened], self._state["quiet"][listened]
        over = self._clocks["ran"][clock] - since > self._clocks["allowed"][clock]
        oldest = self._clocks["ran"].copy()  # of devices that none has, the next is heard now at the earliest
        np.minimum.at(oldest, clock[~over], since[~over])
        self._clocks["due"] = oldest + self._clocks["allowed"]
        self._state["silent"][listened[over]] = True
        return listened[over].tolist()

    def _detection(self, number: int, *, active: bool) -> Detection:
        interval = max(1, int(self._clocks["interval"][self._clock[number]]))
        quiet = int(self._clocks["ran"][self._clock[number]] - self._state["quiet"][number])
        usual = Fact("interval", interval / 1000)
        return Detection(
            self._subject(number),
            _RULE,
            DetectionKind.SILENCE,
            active=active,
            level=self._level,
            time=int(self._said[0]),
            score=quiet / interval,
            evidence=Evidence("recent", confidence=1.0, facts=(usual,)),
        )

    def _subject(self, number: int) -> Subject:
        return Subject(f"device:{self._series[number].device}")


@numba.njit(cache=True)
def _hear(whose: Any, clocks: Any, state: Any, columns: Any, back: Any) -> int:  # pragma: no cover  # compiled
    """Note who is heard; write down who was silent until now (by first series), and return how many those are."""
    owner, clock = whose
    series, time, _, _, history = columns
    count = 0
    for i in range(len(series)):
        s = series[i]
        if s < 0 or s >= len(owner) or owner[s] < 0 or time[i] <= state[s].newest:
            continue
        state[s].newest = time[i]
        device = state[owner[s]]
        if not device.heard and history[i]:
            continue
        device.heard = True
        device.quiet = clocks[clock[owner[s]]].ran
        if device.silent:
            device.silent = False
            back[count] = owner[s]
            count += 1
    return count
