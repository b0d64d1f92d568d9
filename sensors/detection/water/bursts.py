"""Bursts of water mains by what the meters see and by the pressures, minutes after they happen.

What a metered part of the network draws beyond what its customers usually draw at this hour is the loss, by mass: so
its size needs no guess, and a place where it would have to be another is none. Where in the part it is, the pressures
say: the network is solved with the loss at one junction after the other (all the rest as measured: tank levels, pumps,
inflows), and the place whose pressures are those that are read is the likeliest. That is no linear sensitivity; a burst
main takes ten times what its district draws, and loss of head grows with the square of the flow (matching of measured
against simulated pressures: Pudar, Liggett, J. Hydraul. Eng. 118 (1992) 1031-1046; mass balance first: Wu, Sage,
Turtle, J. Water Resour. Plann. Manage. 136 (2010) 116-128).

A burst that stands is part of the model from then on, at the size that the meter says; so the next one shows beside it,
and what tank and pumps do because of it is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection.water.localisation import PipePlaces
from sensors.detection.water.residual import Residual, Residuals
from sensors.limits import Limits

Vector = NDArray[np.float64]

_MEMORY = 2000
"""Steps over which bias and noise of a pressure, and how demand strays, are remembered: a week of five minutes."""
_USUAL = 6
"""Steps over which demand is followed: half an hour, so that a wrong pattern of the input file is no burst."""
_CLIP = 3.0
_STANDS = 0.4
"""Share of a burst that must be left of it, else it was mended."""
_GROWN = 0.3
"""A part that already loses must lose so much more for a second burst in it: the first follows the pressure."""
_FOLLOWED = 0.2
_SETTLED = 288
"""Steps after which a burst that still stands is the usual state, in which demand is learnt again."""
_PLACES = 400
"""Junctions that are tried, at most: those at which the pressures fell most first."""
_ROUNDS = 2
"""Secant steps for a loss that no meter tells."""
_FED = 0.7
"""A part that has less than this share of its usual pressure is short of water."""
_SIGMAS = 5.0
"""Times what demand usually strays by: less is no burst. But customers do not double within minutes."""
_TOGETHER = 0.02
"""Share of a fall that all pressures of a part have in common which the model may be wrong by."""
_GUESS = 0.2
"""Share of all draw that a loss which no meter tells is first tried at."""
_LIKELY, _LEAST_CHANCE, _TINY = 64, 1e-4, 1e-9


@dataclass(frozen=True, slots=True)
class Criteria:
    """When a burst counts; see `sensors/limits.toml`, table ``number.burst``."""

    gain: float
    misfit: float
    model_error: float
    floor: float
    draw_floor: float
    least: float
    near_m: float
    confirmed: int
    warm_up: int

    @classmethod
    def of(cls, limits: Limits) -> Criteria:
        """Return what the city says."""
        gain, misfit, error, floor, draw, least, near, confirmed, warm_up = (
            limits.number("burst", name)
            for name in (
                "gain",
                "misfit",
                "model_error",
                "pressure_floor",
                "draw_floor",
                "least",
                "near",
                "confirmed",
                "warm_up",
            )
        )
        return cls(gain, misfit, error, floor, draw, least, near, round(confirmed), round(warm_up))


@dataclass(frozen=True, slots=True, eq=False)
class Burst:
    """A burst: the pipe named for it (`place`), the junction that it is put at, its part, flow (m³/s) and age, steps.

    `gain` is the log likelihood that it brought, `weights` (place, probability) of the likeliest pipes, `confidence`
    the probability, by the model, that it is near the pipe named; `shift` (n,) how far the pressures moved, Pa.
    """

    place: int
    node: int
    part: int
    flow: float
    age: int
    calm: int
    gain: float
    confidence: float
    weights: tuple[tuple[int, float], ...]
    shift: Vector


@dataclass(frozen=True, slots=True, eq=False)
class _Moment:
    """A step: what parts draw, would by the file, usually do, the excess, m³/s; pressures, Pa, and which are used."""

    draws: Vector
    nominal: Vector
    usual: Vector
    excess: Vector
    measured: Vector
    used: NDArray[np.bool_]


class Bursts:
    """The bursts of one network: `residuals` of its pressures, `pipes` its places."""

    def __init__(self, residuals: Residuals, pipes: PipePlaces, test: Criteria) -> None:
        self._model, self._pipes, self._test = residuals.model, pipes, test
        model = residuals.model
        n, parts = len(residuals.subjects), len(model.demand()[0])
        self._bias, self._variance, self._seen = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
        self._usual, self._stray = np.ones(parts), np.zeros(parts)
        self._count = np.zeros(2, np.int64)  # steps learnt, strange steps in a row
        self._metered = np.isin(np.arange(parts), model.parts)
        self._known_m3s = model.mean_demand()
        self._nodes = np.intersect1d(np.unique(pipes.ends), model.junctions)
        self._nearest = [int((pipes.ends == node).any(axis=0).argmax()) for node in model.sensors]  # a pipe there
        self.standing: list[Burst] = []

    def take(self, step: Residual) -> tuple[list[Burst], list[Burst]]:
        """Take in a step; return the bursts that began with it, and those that are over."""
        now = self._moment(step)
        over = self._follow(now)
        began: list[Burst] = []
        if step.live and self._count[0] >= self._test.warm_up:
            part = self._strange(now)
            self._count[1] = 0 if part is None else self._count[1] + 1
            if part is not None and self._count[1] >= self._test.confirmed:
                began = self._placed(now, part)
                self.standing.extend(began)
                self._count[1] = 0
        if not self._count[1] and all(burst.age > _SETTLED for burst in self.standing):
            self._learn(step.pressure, now)
        return began, over

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state: by pressure, by part, counts, and the bursts, which are without their evidence."""
        return {
            "bias": self._bias,
            "variance": self._variance,
            "seen": self._seen,
            "usual": self._usual,
            "stray": self._stray,
            "count": self._count,
            "bursts": np.array([[b.place, b.node, b.part, b.flow, b.age, b.calm] for b in self.standing]).reshape(
                -1, 6
            ),
        }

    def restore(self, state: Mapping[str, NDArray[Any]], columns: NDArray[np.int64]) -> None:
        """Take over what `state` returned, when the pressures were its `columns` (-1: new)."""
        was = columns >= 0
        for name in ("bias", "variance", "seen"):
            getattr(self, f"_{name}")[was] = state[name][columns[was]]
        self._usual, self._stray, self._count = (state[name].copy() for name in ("usual", "stray", "count"))
        none = np.zeros(len(columns))
        self.standing = [
            Burst(int(b[0]), int(b[1]), int(b[2]), b[3], int(b[4]), int(b[5]), 0.0, 0.5, (), none)
            for b in state["bursts"].tolist()
        ]

    def _moment(self, step: Residual) -> _Moment:
        draws, nominal = (array.copy() for array in self._model.demand())
        usual = self._usual * nominal
        measured = step.pressure + self._model.pressures() - self._bias
        used = np.isfinite(measured) & (self._seen >= self._test.warm_up)
        return _Moment(draws, nominal, usual, np.where(self._metered, draws - usual, 0.0), measured, used)

    def _losses(self) -> tuple[Vector, list[tuple[int, float]]]:
        """Return what the bursts that stand take from each part, and at which junctions."""
        lost = np.zeros(len(self._usual))
        for burst in self.standing:
            lost[burst.part] += burst.flow * self._metered[burst.part]
        return lost, [(burst.node, burst.flow) for burst in self.standing]

    def _follow(self, now: _Moment) -> list[Burst]:
        """Let the bursts that stand be as large as the meters say; return those that are over."""
        over: list[Burst] = []
        for number, burst in enumerate(self.standing):
            others = sum(b.flow for b in self.standing if b.part == burst.part and b is not burst)
            left = float(now.excess[burst.part]) - others
            if not self._metered[burst.part]:
                left = self._still(now, burst)
            calm = burst.calm + 1 if left < _STANDS * burst.flow and not self._starved(now, burst) else 0
            flow = burst.flow if calm else burst.flow + _FOLLOWED * (left - burst.flow)
            self.standing[number] = replace(burst, flow=flow, age=burst.age + 1, calm=calm)
        for burst in [b for b in self.standing if b.calm >= self._test.confirmed]:
            if any(b.part == burst.part for b in over):
                continue  # of two in one part, the loss of one is gone
            over.append(burst)
            self.standing.remove(burst)
        return over

    def _starved(self, now: _Moment, burst: Burst) -> bool:
        """Say whether the part of a burst has so little pressure that what it loses says nothing."""
        there = now.used & (self._model.part[self._model.sensors] == burst.part)
        if not there.any():
            return False
        _, losses = self._losses()
        mended = [loss for loss in losses if loss[0] != burst.node]
        quiet = self._model.what_if(now.usual, mended)
        return float(np.median(now.measured[there])) < _FED * float(np.median(quiet[there]))

    def _still(self, now: _Moment, burst: Burst) -> float:
        """Return what a burst that no meter sees loses, by the pressures."""
        lost, losses = self._losses()
        without = [loss for loss in losses if loss[0] != burst.node]
        dry = self._model.what_if(now.draws - lost, without)
        effect = self._model.what_if(now.draws - lost, [*without, (burst.node, burst.flow)]) - dry
        weight = now.used / (self._variance + self._test.floor**2)
        across = float(effect**2 @ weight)
        return burst.flow * float((effect * np.nan_to_num(now.measured - dry)) @ weight) / across if across else 0.0

    def _strange(self, now: _Moment) -> int | None:
        """Return the part in which something has burst, by its meters; -1 for none that has any, None for nothing."""
        lost, losses = self._losses()
        beyond = now.excess - lost
        least = np.maximum(self._test.least, np.minimum(_SIGMAS * self._stray, 1.0) * now.usual)
        least = np.maximum(least, self._test.draw_floor * np.maximum(now.usual, self._known_m3s))
        ratio = np.where(self._metered, beyond / np.maximum(least, _GROWN * lost), 0.0)
        expected = self._model.what_if(now.draws - lost, losses)
        shift = np.where(now.used, now.measured - expected, 0.0)
        chi = float((shift**2 / (self._variance + self._test.floor**2)).sum())
        if chi - now.used.sum() < 2 * self._test.gain:
            return None
        if ratio.max(initial=0.0) > 1:
            return int(ratio.argmax())
        return None if self.standing or not (~self._metered[self._model.part[self._nodes]]).any() else -1

    def _placed(self, now: _Moment, part: int) -> list[Burst]:
        """Return the burst of a part at its likeliest place; none where no place explains what the pressures read."""
        model, test = self._model, self._test
        lost, losses = self._losses()
        quiet = model.what_if(now.usual, losses)
        spread = model.what_if(now.draws - lost, losses)  # all of it drawn by customers
        drop = np.where(now.used, now.measured - quiet, 0.0)
        contrast = np.where(now.used, now.measured - spread, 0.0)
        error = (test.model_error * contrast) ** 2 + (_TOGETHER * drop) ** 2
        weight = now.used / (self._variance + test.floor**2 + error)
        nodes = self._tried(part, drop)
        size = np.full(len(nodes), float((now.excess - lost)[part]) if part >= 0 else _GUESS * now.draws.sum())
        draws = now.draws - lost
        if part >= 0:
            draws[part] -= size[0]
        chi = np.zeros(len(nodes))
        measured = np.nan_to_num(now.measured)
        for row, node in enumerate(nodes.tolist()):
            read = model.what_if(draws, [*losses, (node, float(size[row]))])
            for _ in range(_ROUNDS if part < 0 else 0):
                effect = read - spread
                across = float(effect**2 @ weight)
                along = float((effect * (measured - spread)) @ weight)
                size[row] *= min(max(along / across if across else 0.0, 0.1), 10.0)
                read = model.what_if(draws, [*losses, (node, float(size[row]))])
            chi[row] = ((measured - read) ** 2) @ weight
        best = int(chi.argmin())
        before = float(drop**2 @ weight)
        gain = (float(contrast**2 @ weight) - float(chi[best])) / 2
        sudden = part >= 0 and size[best] > now.usual[part]  # not by customers, wherever it is
        fits = chi[best] <= max(float(now.used.sum()), test.misfit * before)
        if not fits or size[best] < test.least or (gain < test.gain and not sudden):
            return []
        of = np.full(len(model.nodes), np.inf)
        of[nodes] = chi
        chance = np.exp(-(of[self._pipes.ends] - chi[best]) / 2).mean(axis=0) * self._pipes.length_m
        chance /= chance.sum()
        place, near, weights = self._likeliest(chance)
        node = int(nodes[best])
        return [Burst(place, node, int(model.part[node]), float(size[best]), 0, 0, gain, near, weights, drop)]

    def _tried(self, part: int, drop: Vector) -> NDArray[np.int64]:
        """Return the junctions that it may be at: those of the part, nearest first to where the pressures fell most."""
        parts = self._model.part[self._nodes]
        nodes = self._nodes[parts == part] if part >= 0 else self._nodes[~self._metered[parts]]
        far = self._pipes.distance(self._nearest[int(drop.argmin())])
        to = np.full(len(self._model.nodes), np.inf)
        for ends in self._pipes.ends:
            np.minimum.at(to, ends, far)
        return nodes[np.argsort(to[nodes], kind="stable")][:_PLACES]

    def _likeliest(self, chance: Vector) -> tuple[int, float, tuple[tuple[int, float], ...]]:
        """Return the pipe from which those that it may be are least far, how sure it is to be near, and these."""
        likely = np.argsort(-chance, kind="stable")[:_LIKELY]
        likely = likely[chance[likely] >= _LEAST_CHANCE * chance[likely[0]]]
        far = np.array([np.minimum(self._pipes.distance(int(row)) / self._test.near_m, 1.0) for row in likely])
        place = int(likely[(far[:, likely] @ chance[likely]).argmin()])
        near = float(chance[self._pipes.distance(place) <= self._test.near_m].sum())
        return place, near, tuple((int(row), float(chance[row])) for row in likely)

    def _learn(self, residual: Vector, now: _Moment) -> None:
        """Follow demand, and learn how far pressures and demand are off."""
        self._count[0] += 1
        there = np.isfinite(residual)
        self._seen += there
        rate = 1 / np.minimum(np.maximum(self._seen, 1), _MEMORY)
        off = np.where(there, residual - self._bias, 0.0)
        known = self._seen > self._test.warm_up
        clip = np.where(known, _CLIP * np.sqrt(self._variance) + self._test.floor, np.inf)
        off = np.clip(off, -clip, clip)
        self._bias += rate * off
        self._variance += rate * there * (off**2 - self._variance)
        self._learn_demand(now)

    def _learn_demand(self, now: _Moment) -> None:
        count, settled = int(self._count[0]), self._test.warm_up // 2
        share = np.divide(now.draws, now.nominal, out=self._usual.copy(), where=self._metered & (now.nominal > 0))
        off = share - self._usual
        if count > self._test.warm_up:
            clip = _CLIP * self._stray * self._usual + self._test.draw_floor
            off = np.clip(off, -clip, clip)
        if count > settled:  # before, demand is not followed yet
            rate = 1 / min(count - settled, _MEMORY)
            strayed = (off / np.maximum(self._usual, _TINY)) ** 2
            self._stray = np.sqrt((1 - rate) * self._stray**2 + rate * strayed)
        self._usual = self._usual + off / min(count, _USUAL)


__all__ = ["Burst", "Bursts", "Criteria"]
