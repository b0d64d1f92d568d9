"""Changes: when what a network reads leaves what it read before, and which place explains it.

What is watched is a vector a block of time: residuals of pressures against the hydraulic model, and what each metered
part draws. It hardly moves while the network stays as it is, whatever the hour. For windows of several lengths, the
mean of the newest blocks is held against the mean of those before. A difference d is explained by one of

- a new leak at a place: d along its signature (what one m³/s there does to every reading), of positive size,
- one of the known leaks that grew, shrank or was repaired: d along what that leak has shown so far,
- something that ended and was never known: d along a signature, of negative size,

or by nothing but noise. The explanation with the greatest gain of log likelihood over noise alone is taken, each less
what speaks against it from the outset; this is the generalised likelihood ratio test (Basseville, Nikiforov, Detection
of Abrupt Changes, 1993, chapter 2.4 and 7.2), with sensitivities as signatures (Pudar, Liggett, J. Hydraul. Eng. 118
(1992) 1031-1046; Steffelbauer et al., J. Water Resour. Plann. Manage. 148 (2022) 04022002). The covariance of d is that
of the blocks (learnt from how they differ from one to the next, large steps clipped) over the lengths of both windows,
with a floor, and a share of d itself squared: no model is truer than that.

What was explained is added to the blocks before, so that it stands as the new state of things and the next leak shows
beside it; a leak that was found never is the baseline's own to forget.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

WINDOWS = (1, 2, 4, 8, 16, 32)
"""Lengths of the newest window, blocks."""
BEFORE = 28
"""Blocks before it that it is held against, at most."""
KEPT = 72
"""Blocks kept: the longest window, what it is held against, and a little more."""
MOST_KNOWN = 32
"""Leaks known at a time; beyond, the one that was found first is forgotten."""
_CLIP = 3.0
_MEMORY = 200
_MOST_DRAWS = 2.0
"""A leak is no larger than so many times all that is drawn, itself included: along straight signatures a large one
looks larger than it is."""
_ENDED = 2 / 3
"""Share of the gain for a new leak that must be passed for something that was never known to have ended."""
_GONE = 0.4
"""A known leak of which less than this share is left was repaired."""
_ROUNDS = 3
"""Changes looked for after one block, at most."""
_LEAST_BEFORE = 2
_LIKELY, _LEAST_CHANCE = 64, 1e-4
_TOO_LONG = 8
"""From this window on, what nothing explains is taken for the new state of things."""


class What(StrEnum):
    """What changed."""

    NEW = "new"
    CHANGED = "changed"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Criteria:
    """When a change counts; see `sensors/limits.toml`, tables ``number.leak`` and ``number.burst``.

    `gain` of log likelihood that a new leak must bring; `model_error` as a share of a change; `misfit`: share of the
    evidence that may stay unexplained, beside one for each reading; `floor` (n,) of each reading, of which the last
    `draws` are what whole parts draw; `least` flow of a leak, m³/s, and the `most` that each place can let out, (p,). A
    leak that takes the share `alone` of all that is drawn makes any other a guess: until it is over only that one is
    followed, and then begins a new state of things. That a known leak has `grown`, or `shrunk`, must bring so much. Two
    leaks within `near_m` are one, unless the second brings the further gain `beside`. A new leak must show in
    `confirmed` blocks and have `settled` blocks before it, and waits for the `confidence` to lie within `near_m`,
    `patience` blocks at most. Nothing counts in the first `warm_up` blocks.
    """

    gain: float
    model_error: float
    misfit: float
    alone: float
    grown: float
    shrunk: float
    floor: Vector
    draws: int
    least: float
    most: Vector
    near_m: float
    beside: float
    confirmed: int
    settled: int
    confidence: float
    patience: int
    warm_up: int


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What changed: the place (row of the signatures), its flow now (m³/s), and for a new leak how sure that is.

    `weights` are (place, probability) of the likeliest places, best first, `shift` (n,) how far the readings moved.
    """

    what: What
    place: int
    flow: float
    gain: float
    confidence: float
    weights: tuple[tuple[int, float], ...]
    shift: Vector


@dataclass(slots=True)
class _Known:
    place: int
    flow: float
    shown: Vector


@dataclass(frozen=True, slots=True, eq=False)
class _Explained:
    what: What
    row: int
    gain: float
    size: float
    left: float
    all: float


@dataclass(frozen=True, slots=True, eq=False)
class _Window:
    """One difference: from which of the kept blocks on, how far, the variance of the model, the inverse covariance."""

    since: int
    shift: Vector
    error: Vector
    inverse: NDArray[np.float64]
    chances: Vector
    best: _Explained


class Changes:
    """Follows blocks of n readings of a network with p places: `signatures` (p, n), SI a m³/s.

    `distance` gives the metres along the pipes from a place to all places, (p,), infinite beyond the reach.
    """

    def __init__(self, signatures: NDArray[np.float64], distance: Callable[[int], Vector], test: Criteria) -> None:
        self._signatures, self._distance, self._test = signatures, distance, test
        n = signatures.shape[1]
        self._blocks = np.full((KEPT, n), np.nan)
        self._raw = np.full(n, np.nan)  # the newest block as it came
        self._held = 0  # blocks since the last new start
        self._cov, self._differences = np.zeros((n, n)), 0
        self._waiting = 0
        self._known: list[_Known] = []
        self._doubts: list[tuple[int, Vector]] = []  # block at which the ones before were moved, variance of that

    @property
    def known(self) -> list[int]:
        """The places of the leaks that stand."""
        return [leak.place for leak in self._known]

    def take(self, block: Vector, *, live: bool = True) -> list[Change]:
        """Take in the next block (n,), NaN where nothing was read, and say what changed; not what did in history."""
        self._learn(block)
        self._blocks = np.roll(self._blocks, -1, axis=0)
        self._blocks[-1] = block
        self._held = min(self._held + 1, KEPT)
        self._doubts = [(at - 1, doubt) for at, doubt in self._doubts if at > 1]
        if self._differences < self._test.warm_up:
            return []
        found: list[Change] = []
        for _ in range(_ROUNDS):
            change = self._look(live=live)
            if change is None:
                break
            found.append(change)
        return [change for change in found if change.what is not What.CHANGED]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, its readings along the last axis of each array but `counts` and those of leaks."""
        return {
            "blocks": self._blocks,
            "raw": self._raw,
            "cov": self._cov,
            "counts": np.array([self._held, self._differences, self._waiting], np.int64),
            "place": np.array([leak.place for leak in self._known], np.int64),
            "flow": np.array([leak.flow for leak in self._known]),
            "shown": np.array([leak.shown for leak in self._known]).reshape(-1, len(self._raw)),
            "doubt_at": np.array([at for at, _ in self._doubts], np.int64),
            "doubt": np.array([doubt for _, doubt in self._doubts]).reshape(-1, len(self._raw)),
        }

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` returned, for the same readings and places."""
        self._blocks, self._raw, self._cov = (state[name].copy() for name in ("blocks", "raw", "cov"))
        self._held, self._differences, self._waiting = state["counts"].tolist()
        leaks = zip(state["place"].tolist(), state["flow"].tolist(), state["shown"], strict=True)
        self._known = [_Known(place, flow, shown.copy()) for place, flow, shown in leaks]
        self._doubts = list(zip(state["doubt_at"].tolist(), state["doubt"], strict=True))

    def _learn(self, block: Vector) -> None:
        difference = np.nan_to_num(block - self._raw)
        if np.isfinite(self._raw).any() and difference.any():
            if self._differences >= self._test.warm_up // 2 + 2:
                clip = _CLIP * np.sqrt(2 * np.diag(self._cov) / self._differences)
                difference = np.clip(difference, -clip, clip)
            if self._differences >= _MEMORY:
                self._cov *= 1 - 1 / _MEMORY
            self._cov += np.outer(difference, difference) / 2
            self._differences = min(self._differences + 1, _MEMORY)
        self._raw = np.where(np.isfinite(block), block, self._raw)

    def _noise(self) -> NDArray[np.float64]:
        """Return the covariance of a block; what few differences cannot tell of pairs is left out (shrinkage)."""
        n, seen = len(self._cov), self._differences
        cov = self._cov / max(seen, 1)
        alone = n / (n + seen)
        return (1 - alone) * cov + alone * np.diag(np.diag(cov))

    def _look(self, *, live: bool) -> Change | None:
        """Return what the shortest window says that is explained well; a new leak may wait to be surer of its place."""
        noise = self._noise()
        windows = [
            window for length in WINDOWS if (window := self._window(length, noise)) is not None and window.best.gain > 0
        ]
        waits = False
        for window in windows:
            best = window.best
            if best.left > max(len(noise), self._test.misfit * best.all):
                continue
            if best.what is not What.NEW:
                return self._changed(window)
            if best.size < self._test.least or self._held < self._test.settled:
                continue
            change = self._new(window)
            sure = change.confidence >= self._test.confidence or self._waiting >= self._test.patience
            if sure and self._waiting + 1 >= self._test.confirmed:
                return self._found(window, change, live=live)
            waits = True
        self._waiting = self._waiting + 1 if waits else 0
        if windows and windows[-1].since <= KEPT - _TOO_LONG and not waits:
            self._held, self._doubts = KEPT - windows[-1].since, []
        return None

    def _window(self, length: int, noise: NDArray[np.float64]) -> _Window | None:
        """Return the newest `length` blocks against those before, with the best explanation; None for no change."""
        since = KEPT - length
        first = max(since - BEFORE, KEPT - self._held)
        if since - first < _LEAST_BEFORE:
            return None
        now, count_now = _mean(self._blocks[since:])
        before, count = _mean(self._blocks[first:since])
        used = (count_now > 0) & (count >= _LEAST_BEFORE)
        shift = np.where(used, now - before, 0.0)
        share = 1 / np.maximum(count_now, 1) + 1 / np.maximum(count, 1)
        floor = self._test.floor**2
        for at, doubt in self._doubts:
            weight = max(at - first, 0) / (since - first) if at <= since else (at - since) / length - 1
            floor = floor + weight**2 * doubt
        error = self._test.model_error**2 * shift**2
        cov = noise * np.sqrt(np.outer(share, share)) + np.diag(floor)
        if _strangeness(shift, cov, used) < self._test.shrunk:
            return None
        inverse = _inverse(cov + np.diag(error), used)
        best, chances = self._explain(shift, inverse, self._most())
        return _Window(since, shift, error, inverse, chances, best)

    def _most(self) -> Vector:
        """Return how large a new leak can be at each place: what the pipe lets out, and not far more than is drawn."""
        if not self._test.draws:
            return self._test.most
        drawn = 0.0 if any(map(self._overwhelms, self._known)) else self._draw()
        return np.minimum(self._test.most, _MOST_DRAWS * drawn)

    def _overwhelms(self, leak: _Known) -> bool:
        return 0 < self._test.alone * self._draw() <= leak.flow

    def _draw(self) -> float:
        """Return what all parts draw in the newest block."""
        return float(self._raw[len(self._raw) - self._test.draws :].sum())

    def _explain(self, shift: Vector, inverse: NDArray[np.float64], most: Vector) -> tuple[_Explained, Vector]:
        """Return the best explanation of a shift, and how likely each place is as that of a new leak (log, (p,))."""
        shown = np.array([leak.shown for leak in self._known]).reshape(-1, len(shift))
        ways = np.vstack((self._signatures, shown))
        weighed = ways @ inverse
        along, across = weighed @ shift, np.einsum("ij,ij->i", weighed, ways)
        size = np.divide(along, across, out=np.zeros_like(along), where=across > 0)
        gain = along * size / 2
        places = len(self._signatures)
        chances = np.where((size[:places] > 0) & (size[:places] <= most), gain[:places], 0.0)
        for leak in self._known:
            chances[self._distance(leak.place) <= self._test.near_m] -= self._test.beside
        ended = np.where((size[:places] < 0) & (-size[:places] <= most), gain[:places], 0.0)
        rows = [(What.NEW, int(chances.argmax()), float(chances.max()) - self._test.gain)]
        rows.append((What.OVER, int(ended.argmax()), float(ended.max()) - _ENDED * self._test.gain))
        if self._known:
            changed = gain[places:] - np.where(size[places:] > 0, self._test.grown, self._test.shrunk)
            rows.append((What.CHANGED, places + int(changed.argmax()), float(changed.max())))
        what, row, worth = max(rows, key=lambda each: each[2])
        everything = float(shift @ inverse @ shift) / 2
        return _Explained(what, row, worth, float(size[row]), everything - float(gain[row]), everything), chances

    def _new(self, window: _Window) -> Change:
        """Return a new leak: the place from which the others that may be it are least far, by their probability."""
        chance = np.exp(window.chances - window.chances.max())
        chance /= chance.sum()
        likely = np.argsort(chance, kind="stable")[::-1][:_LIKELY]
        likely = likely[chance[likely] >= _LEAST_CHANCE * chance[likely[0]]]
        far = np.array([np.minimum(self._distance(int(row)) / self._test.near_m, 1.0) for row in likely])
        place = int((chance[likely] @ far).argmin())
        near = self._distance(place) <= self._test.near_m
        weights = tuple((int(row), float(chance[row])) for row in likely)
        best = window.best
        return Change(What.NEW, place, best.size, best.gain, float(chance[near].sum()), weights, window.shift)

    def _found(self, window: _Window, change: Change, *, live: bool) -> Change:
        moved = self._move(window)
        self._waiting = 0
        if not live or change.place in self.known:
            return replace(change, what=What.CHANGED)
        self._known = [*self._known, _Known(change.place, change.flow, moved)][-MOST_KNOWN:]
        return change

    def _changed(self, window: _Window) -> Change:
        """Take in that a known leak changed, or that something ended: a known leak nearby, where there is one."""
        best = window.best
        moved = self._move(window)
        if best.what is What.CHANGED:
            leak = self._known[best.row - len(self._signatures)]
            left = 1 + best.size
        else:
            far = self._distance(best.row)
            leak = min(self._known, key=lambda each: far[each.place], default=None)
            if leak is None or far[leak.place] > self._test.near_m:
                return Change(What.CHANGED, best.row, best.size, best.gain, 0.0, (), window.shift)
            left = 1 + best.size / leak.flow
        overwhelms = self._overwhelms(leak)
        leak.flow, leak.shown = leak.flow * left, leak.shown + moved
        over = left < _GONE
        if over:
            self._known.remove(leak)
            if overwhelms:
                self._held, self._doubts = KEPT - window.since, []
        what = What.OVER if over else What.CHANGED
        return Change(what, leak.place, leak.flow, best.gain, 0.0, (), window.shift)

    def _move(self, window: _Window) -> Vector:
        """Move the blocks before by what was explained, and return that: as modelled, corrected by what was seen."""
        best = window.best
        ways = np.vstack((self._signatures, *(leak.shown for leak in self._known)))
        modelled = best.size * ways[best.row]
        moved = modelled + window.error * (window.inverse @ (window.shift - modelled))
        self._blocks[: window.since] += moved
        self._doubts = [*self._doubts, (window.since, window.error)][-MOST_KNOWN:]
        return moved


def _mean(blocks: NDArray[np.float64]) -> tuple[Vector, NDArray[np.int64]]:
    """Return the mean of each reading and over how many blocks that is."""
    there = np.isfinite(blocks)
    count = there.sum(axis=0)
    return np.where(there, blocks, 0.0).sum(axis=0) / np.maximum(count, 1), count


def _inverse(cov: NDArray[np.float64], used: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the inverse over the readings that are `used`, zero elsewhere: what is not read says nothing."""
    found = np.zeros_like(cov)
    at = np.ix_(used, used)
    found[at] = np.linalg.inv(cov[at])
    return found


def _strangeness(shift: Vector, cov: NDArray[np.float64], used: NDArray[np.bool_]) -> float:
    """Return half the squared Mahalanobis length of a shift, less its mean under noise alone."""
    return float(shift @ _inverse(cov, used) @ shift - used.sum()) / 2


__all__ = ["Change", "Changes", "Criteria", "What"]
