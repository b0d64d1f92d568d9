"""Steps: the readings of many series side by side in time, as detectors of networks want them.

Time is that of the readings. A step is closed once a tenth of the series (two at least) have moved past its end by the
lateness that is allowed, so that neither one clock that runs ahead nor the way in which readings were batched changes
what is in it. What comes for a closed step comes too late. A step in which nobody read anything is left out.

Where each series reads once a step, waiting for the next one would cost a step: `prompt` steps are closed with the last
reading that is expected in them, and hold the series that were in the step before as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection.series import FAIL, columns
from sensors.reading import Batch

LATENESS_MS = 60_000
"""How long the readings of a step are waited for."""
AHEAD_MS = 900_000
"""How far ahead of what is waited for a reading is kept: series that are read all at once, each quarter of an hour,
go on one after the other, and the first of them must not be lost before enough have."""
QUORUM = 0.1
"""Share of the series that must have gone on before a step is closed."""

_UNSET = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """The readings of n series in one step of time.

    `time` is its start, ms UTC. `mean` and `last` (n, SI) are of the readings in it, NaN where there were none;
    `count` (n,) says how many. `live` is False where all of them were history: those teach and raise nothing.
    """

    time: int
    mean: NDArray[np.float64]
    last: NDArray[np.float64]
    count: NDArray[np.int64]
    live: bool


class Steps:
    """Gathers the readings of `series` (numbers, (n,)) into steps of `step_ms`; steps begin at multiples of it (UTC).

    Readings that failed their quality tests, are no numbers, or are not newer than the newest of their series are left
    out. `prompt` steps are closed as soon as every series of the step before has read.

    >>> from sensors.detection.checks import sample_batch
    >>> steps = Steps(np.array([4, 7], np.int32), step_ms=60_000, lateness_ms=0)
    >>> steps.take(sample_batch([4, 7, 4], [0, 10, 30], [1.0, 5.0, 3.0]))
    []
    >>> [step] = steps.take(sample_batch([4, 7], [60, 61], [9.0, 9.0]))
    >>> step.mean, step.count
    (array([2., 5.]), array([2, 1]))
    """

    def __init__(
        self,
        series: NDArray[np.int32] | Sequence[int],
        step_ms: int,
        lateness_ms: int = LATENESS_MS,
        *,
        prompt: bool = False,
    ) -> None:
        self.series = np.asarray(series, np.int32)
        size, deep = len(self.series), (lateness_ms + AHEAD_MS) // step_ms + 3
        self._column = np.full(1 + int(self.series.max(initial=-1)), -1, np.int32)
        self._column[self.series] = np.arange(size, dtype=np.int32)
        self._step_ms, self._lateness_ms = step_ms, lateness_ms
        self._quorum = min(size, max(2, int(np.ceil(QUORUM * size))))
        self._newest = np.full(size, _UNSET, np.int64)
        self._count = np.zeros((deep, size), np.int64)
        self._sum, self._last = np.zeros((deep, size)), np.full((deep, size), np.nan)
        self._live = np.zeros(deep, np.bool_)
        self._seen = np.zeros((deep + 1, size), np.bool_)  # who read: in the open steps, and in the one before them
        self._prompt = prompt
        # number of the first open step; series that are past it; series of the step before that are waited for
        self._place = np.array([_UNSET, 0, 0], np.int64)
        # what compiled code is handed with every batch
        self._state = (self._newest, self._seen, self._place, self._count, self._sum, self._last, self._live)
        self._scale = (step_ms, lateness_ms, self._quorum, prompt)

    def take(self, batch: Batch) -> list[Step]:
        """Take in a batch and return the steps that are closed by it, in order."""
        found: list[Step] = []
        if not len(self.series):
            return found
        given, at = columns(batch), 0
        while True:
            at, due = _gather(given, at, self._column, self._state, self._scale)
            if at < 0:
                return found
            column, time = int(self._column[given[0][at]]), int(given[1][at])
            closed = [self._close(column, time)] if due else []
            at += not due
            while self._is_complete():
                closed.append(self._close(column, time, complete=True))
            found += [step for step in closed if step is not None]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, for `sensors.detection.series.pack`."""
        return {
            "steps_series": self.series,
            "steps_newest": self._newest,
            "steps_count": self._count.T.copy(),
            "steps_sum": self._sum.T.copy(),
            "steps_last": self._last.T.copy(),
            "steps_live": self._live,
            "steps_seen": self._seen.T.copy(),
            "steps_place": self._place,
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` returned, for these series or others; those that are new start afresh."""
        if len(state["steps_live"]) != len(self._live):
            return  # steps of another length: what was open is a few minutes at most
        _, mine, theirs = np.intersect1d(self.series, state["steps_series"], return_indices=True)
        self._newest[mine] = state["steps_newest"][theirs]
        self._seen[:, mine] = state["steps_seen"][theirs].T
        for ring, name in ((self._count, "steps_count"), (self._sum, "steps_sum"), (self._last, "steps_last")):
            ring[:, mine] = state[name][theirs].T
        self._live[:] = state["steps_live"]
        self._place[:] = state["steps_place"]
        if self._place[0] != _UNSET:
            self._place[1:] = self._past(), self._waiting()

    def _close(self, column: int, time: int, *, complete: bool = False) -> Step | None:
        """Close the first open step, since `column` has come to `time`; go on to the next that may hold something.

        One that is `complete` holds the series that were in the step before alone: which of the others came before its
        last reading, and which after, would depend on the order of one batch.
        """
        number = int(self._place[0])
        slot = number % len(self._live)
        if complete:
            self._count[slot, ~self._again(number)] = 0
        count = self._count[slot].copy()
        step = None
        if count.any():
            with np.errstate(invalid="ignore", divide="ignore"):
                mean = np.where(count > 0, self._sum[slot] / count, np.nan)
            last = np.where(count > 0, self._last[slot], np.nan)
            step = Step(number * self._step_ms, mean, last, count, live=bool(self._live[slot]))
        self._count[slot], self._sum[slot], self._last[slot], self._live[slot] = 0, 0.0, np.nan, False
        number += 1
        if not self._count.any():  # after a pause nothing is open: go to where the series are now
            newest = self._newest.copy()
            newest[column] = time
            reached = int(np.partition(newest, -self._quorum)[-self._quorum])
            number = max(number, (reached - self._lateness_ms) // self._step_ms)
        before, ring = int(self._place[0]), len(self._seen)
        for passed in range(before - 1, min(number - 1, before - 1 + ring)):
            self._seen[passed % ring] = False
        self._place[0] = number
        self._place[1:] = self._past(), self._waiting()
        return step

    def _is_complete(self) -> bool:
        """Return whether the first open step has all that is expected in it, where that closes it."""
        return self._prompt and self._place[2] == 0 and bool(self._again(int(self._place[0])).any())

    def _again(self, number: int) -> NDArray[np.bool_]:
        """Return which series read in step `number` and in the one before."""
        return self._seen[number % len(self._seen)] & self._seen[(number - 1) % len(self._seen)]

    def _waiting(self) -> int:
        """Return how many series read in the step before the first open one, and not in that."""
        number, ring = int(self._place[0]), len(self._seen)
        return int((self._seen[(number - 1) % ring] & ~self._seen[number % ring]).sum())

    def _past(self) -> int:
        """Return how many series have gone far enough for the first open step to be closed."""
        end = (int(self._place[0]) + 1) * self._step_ms + self._lateness_ms
        return int((self._newest >= end).sum())


@numba.njit(cache=True)
def _gather(given: Any, at: int, column: Any, state: Any, scale: Any) -> Any:  # noqa: C901  # pragma: no cover  # one compiled loop
    """Put readings from `at` on into their steps until one must be closed; return which reading does it, -1 at the end.

    With it whether the step is due: then that reading is looked at again afterwards, since its own step may only then
    be within reach. Otherwise it is in its step, and was the last that was waited for.
    """
    series, time, value, quality, history = given
    newest, seen, place, counts, sums, lasts, live = state
    step_ms, lateness_ms, quorum, prompt = scale
    deep = len(live)
    for i in range(at, len(series)):
        s = series[i]
        if s < 0 or s >= len(column) or column[s] < 0 or quality[i] >= FAIL or not np.isfinite(value[i]):
            continue
        c = column[s]
        if time[i] <= newest[c]:
            continue
        number = time[i] // step_ms
        if place[0] == np.iinfo(np.int64).min:
            place[0] = number
        end = (place[0] + 1) * step_ms + lateness_ms
        if time[i] >= end:
            past = place[1] + (1 if newest[c] < end else 0)
            if past >= quorum:
                return i, True
            place[1] = past
        first = place[0] - 1 <= number < place[0] + deep and not seen[number % (deep + 1), c]
        awaited = first and number == place[0] and seen[(number - 1) % (deep + 1), c]
        newest[c] = time[i]
        if first:
            place[2] += number < place[0] and not seen[place[0] % (deep + 1), c]
            seen[number % (deep + 1), c] = True
        if place[0] <= number < place[0] + deep:
            slot = number % deep
            counts[slot, c] += 1
            sums[slot, c] += value[i]
            lasts[slot, c] = value[i]
            live[slot] = live[slot] or not history[i]
        if awaited:
            place[2] -= 1
            if prompt and place[2] == 0:
                return i, False
    return -1, False


__all__ = ["LATENESS_MS", "Step", "Steps"]
