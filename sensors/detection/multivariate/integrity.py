"""Integrity: points of one network whose readings contradict one another, or the way that the network is run.

For signals that are spoofed, replayed or frozen, and for pumps and valves that somebody else commands (the attacks of
BATADAL: Taormina et al., J. Water Resour. Plann. Manage. 144 (2018) 04018048). Each point is held against what the
others say of it (`relation`) and against the bounds that it keeps while a pump runs or rests (`envelope`). The root of
the exponentially weighted mean square of each residual (EWMS: MacGregor and Harris, J. Qual. Technol. 25 (1993)),
in its own standard deviations, is the score; the largest counts. Scored before learnt; learning rests while a group is
contradictory, for at most the time after which that is its new state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Fact, Key, Subject
from sensors.detection.multivariate.envelope import Envelope
from sensors.detection.multivariate.groups import (
    Groups,
    Member,
    grouped,
    members_at,
    members_of,
    saved_groups,
    series_of,
)
from sensors.detection.multivariate.relation import Relation
from sensors.detection.scope import Scope
from sensors.detection.steps import Step, Steps
from sensors.device import Device
from sensors.device_table import PointKind
from sensors.limits import Limits, row_of
from sensors.quantity import CATALOGUE, scale
from sensors.reading import Batch
from twin.asset import System

QUANTITIES = frozenset({"pressure", "flow", "level", "water_elevation", "pump_state", "valve_state"})
"""What hangs together in a network."""
_MOST = 48
"""Points of a group: 3.5 KB of state each where nothing is switched."""
_FEWEST = 3
_SWITCH_ACCURACY = 0.02
_CLIPPED = 6.0
"""Standard deviations that one residual counts for at most: one reading is no contradiction."""
_TOLD = 5
"""Points that evidence names."""
_LEVEL = 3
"""Yellow: somebody has to look, nothing is known to be broken."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of the layer (`limits.toml`, `number.integrity`); times in ms, the others in steps or bare."""

    step_ms: int
    warmup_ms: int
    memory_ms: int
    relearn_ms: int
    limit: float
    half_life: float
    margin: float
    hold: int

    @classmethod
    def of(cls, limits: Limits) -> Settings:
        """Return the settings of a city."""
        step, warmup, memory, relearn = (
            round(1000 * limits.number("integrity", name)) for name in ("step", "warmup", "memory", "relearn")
        )
        limit, half_life, margin, hold = (
            limits.number("integrity", name) for name in ("limit", "half_life", "margin", "hold")
        )
        return cls(step, warmup, memory, relearn, limit, half_life, margin, round(hold))


class IntegrityDetector:
    """Says when the readings of a group contradict one another, about the device that stands out, and when it is over.

    Points of one system and pace are a group, at most 48 of them. Rule: ``integrity``.

    >>> from sensors.detection.checks import sample_batch, sample_devices
    >>> from sensors.limits import load
    >>> detector = IntegrityDetector.build(Scope(sample_devices(), load()))
    >>> detector.update(sample_batch([0, 3, 6, 9], [0, 0, 0, 0], [3e5, 3e5, 3e5, 9e5]))  # nothing learnt yet
    []
    """

    def __init__(self, devices: Sequence[Device], limits: Limits) -> None:
        self._devices, self._limits = devices, limits
        self._settings = Settings.of(limits)
        self._groups = self._made()

    @classmethod
    def build(cls, scope: Scope) -> IntegrityDetector:
        """Watch the hydraulic points of `scope.devices` that `limits.seasonal` gives an accuracy for."""
        return cls(scope.devices, scope.limits)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which groups contradict themselves, and which no longer."""
        return self._groups.update(batch)

    def save(self) -> bytes:
        """Return the whole state."""
        return self._groups.save()

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`, group by group; return the conditions that stand."""
        saved = saved_groups(state)
        self._groups = self._made(saved)
        self._groups.load(saved)
        return {key for group in self._groups for key in group.standing}

    def _made(self, before: Iterable[str] = ()) -> Groups[Group]:
        members = members_of(self._devices, lambda kind: not np.isnan(_accuracy(kind, self._limits)))
        found = grouped(members, self._place, _MOST, before)
        return Groups((each for each in found if len(each) >= _FEWEST), self._group)

    def _group(self, numbers: list[int]) -> Group:
        return Group(members_at(self._devices, numbers), self._limits, self._settings)

    def _place(self, member: Member) -> tuple[System, int]:
        return member.kind.system, max(self._settings.step_ms, member.kind.interval_ms)


class Group:
    """Points that are judged together: `members`, with the settings of their city."""

    def __init__(self, members: Sequence[Member], limits: Limits, settings: Settings) -> None:
        self._members, self._settings = members, settings
        pace_ms = members[0].kind.interval_ms
        step_ms = max(settings.step_ms, pace_ms)
        self._step_ms = step_ms
        self._steps = Steps(series_of(members), step_ms, prompt=step_ms == pace_ms)
        accuracy = np.array([_accuracy(each.kind, limits) for each in members])
        switch = np.array([CATALOGUE[each.kind.quantity].dimension == "state" for each in members])
        self._relation = Relation(
            accuracy, switch, warmup=settings.warmup_ms / step_ms, memory=settings.memory_ms / step_ms
        )
        self._envelope = Envelope(accuracy, switch, settings.margin)
        self._rate = 1.0 - 0.5 ** (1.0 / settings.half_life)
        self._energy = np.zeros(len(members))
        self._before = np.full(len(members), np.nan)
        # time of the newest step; the member that stands accused (-1: none), since when, and calm steps since
        self._now = np.array([-1, -1, 0, 0], np.int64)

    @property
    def standing(self) -> set[Key]:
        """The condition that stands, if any."""
        return {(self._subject(), "integrity")} if self._now[1] >= 0 else set()

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch; say what changed."""
        return [said for step in self._steps.take(batch) for said in self._judge(step)]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, by name."""
        own = {"energy": self._energy, "before": self._before, "now": self._now}
        return {**own, **self._relation.state(), **self._envelope.state(), **self._steps.state()}

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` returned."""
        self._steps.restore(saved)
        for name, array in self.state().items():
            if not name.startswith("steps_"):
                array[...] = saved[name]

    def _judge(self, step: Step) -> list[Detection]:
        """Score, then learn, a step."""
        now = step.mean
        follows = step.time - self._now[0] == self._step_ms
        before = self._before if follows else np.full(len(now), np.nan)
        self._before, self._now[0] = now, step.time
        said: list[Detection] = []
        if self._relation.ready:
            residual = self._relation.residual(now, before)
            deviations = np.nan_to_num(np.abs(residual) / self._relation.sigma)
            self._energy += self._rate * (np.minimum(deviations, _CLIPPED) ** 2 - self._energy)
            out, bound = self._envelope.beyond(now)
            score = np.maximum(np.sqrt(self._energy) / self._settings.limit, out)
            said = self._change(step, score, now - residual, bound)
        if self._now[1] < 0 or step.time - self._now[2] > self._settings.relearn_ms:
            self._relation.learn(now, before)
            self._envelope.learn(now)
        return said

    def _change(
        self, step: Step, score: NDArray[np.float64], expected: NDArray[np.float64], bound: NDArray[np.float64]
    ) -> list[Detection]:
        """Move the condition by the scores of a step (1: at the limit); say where it changed."""
        worst = float(score.max())
        if self._now[1] < 0:
            if not step.live or worst <= 1.0:
                return []
            self._now[1:] = score.argmax(), step.time, 0
            return [self._detection(step, score, expected, bound)]
        self._now[3] = self._now[3] + 1 if worst <= 1.0 else 0
        if self._now[3] <= self._settings.hold:
            return []
        over = self._detection(step, score, expected, bound)
        self._now[1] = -1
        return [over]

    def _detection(
        self, step: Step, score: NDArray[np.float64], expected: NDArray[np.float64], bound: NDArray[np.float64]
    ) -> Detection:
        accused = int(self._now[1])
        quantity = self._members[accused].kind.quantity
        active = self._now[3] == 0
        value, wanted = float(step.mean[accused]), float(expected[accused])
        wide = 3.0 * float(self._relation.sigma[accused])
        top = float(score[accused])
        order = np.argsort(-score, kind="stable")[:_TOLD]
        facts = (Fact("residual", value - wanted, quantity),) if np.isfinite(wanted) else ()
        return Detection(
            self._subject(),
            "integrity",
            DetectionKind.INTEGRITY,
            active=bool(active),
            level=_LEVEL,
            time=step.time,
            value=value if np.isfinite(value) else None,
            limit=float(bound[accused]) if np.isfinite(bound[accused]) else None,
            expected=(wanted - wide, wanted + wide) if np.isfinite(wanted) else None,
            score=top,
            quantity=quantity,
            evidence=Evidence(
                "neighbours",
                top**2 / (1.0 + top**2),
                facts=facts,
                points=tuple(self._members[i].subject for i in order if score[i] > 1.0),
            ),
        )

    def _subject(self) -> Subject:
        return Subject(f"device:{self._members[int(self._now[1])].device}")


def _accuracy(kind: PointKind, limits: Limits) -> float:
    """Return how exact points are at best, SI; NaN for those that are not watched, or that nobody said it of."""
    if kind.quantity not in QUANTITIES:
        return np.nan
    if CATALOGUE[kind.quantity].dimension == "state":
        return _SWITCH_ACCURACY
    row = row_of(limits.seasonal, kind.quantity, kind.system)
    return np.nan if row is None else row.least * scale(row.unit, row.quantity)[0]


__all__ = ["IntegrityDetector"]
