"""Water quality: the points of a station that leave their last half hour together.

Contamination moves several qualities of water at once (Hall et al., J. AWWA 99 (2007) 66); a single one that moves is
its instrument's matter: cleaned, calibrated, fouled. Each point's residual is against the exponentially weighted mean
of its recent past, which rests while the station is abnormal. What flow does to the qualities is taken out with the
joint covariance of the residuals (T² of Hotelling, 1947, less that of the flows: T² of the qualities given the flows).
The
station is abnormal where T² is beyond its limit, and what remains of it without the point that says most is beyond one
of its own. Scored before learnt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Key, Subject
from sensors.detection.multivariate.groups import (
    Groups,
    Member,
    grouped,
    members_at,
    members_of,
    saved_groups,
    series_of,
)
from sensors.detection.scope import Scope
from sensors.detection.steps import Step, Steps
from sensors.device import Device
from sensors.device_table import PointKind
from sensors.limits import Limits, row_of
from sensors.quantity import scale
from sensors.reading import Batch
from twin.asset import System

QUALITIES = (
    "temperature",
    "free_chlorine",
    "chlorine_dioxide",
    "dissolved_oxygen",
    "ph",
    "redox_potential",
    "conductivity",
    "turbidity",
)
COVARIATES = ("flow", "pressure")
"""What is done with the water, and moves its quality without any harm."""
_FEWEST = 3
_MOST = 48
_OFTEN = 60
"""Steps after which the covariance is inverted anew."""
_NORMAL = 0.5
"""Share of its limits below which a station is normal again."""
_LEVEL = 2
"""Orange: people drink it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The numbers of the layer (`limits.toml`, `number.water_quality`); times in ms."""

    step_ms: int
    recent_ms: int
    warmup_ms: int
    memory_ms: int
    relearn_ms: int
    limit: float
    others: float
    readings: int

    @classmethod
    def of(cls, limits: Limits) -> Settings:
        """Return the settings of a city."""
        step, recent, warmup, memory, relearn = (
            round(1000 * limits.number("water_quality", name))
            for name in ("step", "recent", "warmup", "memory", "relearn")
        )
        limit, others, readings = (limits.number("water_quality", name) for name in ("limit", "others", "readings"))
        return cls(step, recent, warmup, memory, relearn, limit, others, round(readings))


class WaterQualityDetector:
    """Says when the water at a station is another than just now, and when it is again as before.

    A station is the points of one asset, or of one device without an asset; at least three of them measure qualities.
    Flow and pressure count where a device measures them beside a quality.
    Rule: ``water_quality``.

    >>> from sensors.detection.checks import sample_batch, sample_devices
    >>> from sensors.limits import load
    >>> detector = WaterQualityDetector.build(Scope(sample_devices(), load()))
    >>> detector.update(sample_batch([0], [0], [3e5]))  # nothing there measures the quality of water
    []
    """

    def __init__(self, devices: Sequence[Device], limits: Limits) -> None:
        self._devices, self._limits = devices, limits
        self._settings = Settings.of(limits)
        self._stations = self._made()

    @classmethod
    def build(cls, scope: Scope) -> WaterQualityDetector:
        """Watch the stations among `scope.devices` of the water system."""
        return cls(scope.devices, scope.limits)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which stations became abnormal, and which are normal again."""
        return self._stations.update(batch)

    def save(self) -> bytes:
        """Return the whole state."""
        return self._stations.save()

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`, station by station; return the conditions that stand."""
        saved = saved_groups(state)
        self._stations = self._made(saved)
        self._stations.load(saved)
        return {key for station in self._stations for key in station.standing}

    def _made(self, before: Iterable[str] = ()) -> Groups[Station]:
        qualities = members_of(self._devices, _is_quality, assets=True)
        asset = {member.device: member.asset for member in qualities}
        flows = [each for each in members_of(self._devices, _is_covariate) if each.device in asset]
        members = [*qualities, *(replace(each, asset=asset[each.device]) for each in flows)]
        found = grouped(members, _subject, _MOST, before)
        watched = (each for each in found if sum(m.kind.quantity in QUALITIES for m in each) >= _FEWEST)
        return Groups(watched, self._station)

    def _station(self, numbers: list[int]) -> Station:
        return Station(members_at(self._devices, numbers, assets=True), self._limits, self._settings)


class Station:
    """Points that are judged together: `members`, qualities and covariates, with the settings of their city."""

    def __init__(self, members: Sequence[Member], limits: Limits, settings: Settings) -> None:
        members = sorted(members, key=lambda member: (member.kind.quantity in COVARIATES, member.order))
        self._members, self._settings = members, settings
        self._qualities = sum(member.kind.quantity in QUALITIES for member in members)
        self._digit = np.array([_digit(each, limits) for each in members])
        pace_ms = max(each.kind.interval_ms for each in members)
        self._step_ms = max(settings.step_ms, pace_ms)
        self._steps = Steps(series_of(members), self._step_ms, prompt=self._step_ms == pace_ms)
        size = len(members)
        self._recent = np.full(size, np.nan)
        self._scatter, self._weight = np.zeros((size, size)), np.zeros(1)
        self._precision, self._flows = np.zeros((size, size)), np.zeros((size - self._qualities,) * 2)
        # steps learnt, steps beyond the limit in a row, within it in a row, since when it stands (-1: it does not), who
        self._now = np.array([0, 0, 0, -1, 0], np.int64)

    @property
    def standing(self) -> set[Key]:
        """The condition that stands, if any."""
        return {(_subject(self._members[0]), "water_quality")} if self._now[3] >= 0 else set()

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch; say what changed."""
        return [said for step in self._steps.take(batch) for said in self._judge(step)]

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, by name."""
        return {
            "recent": self._recent,
            "scatter": self._scatter,
            "weight": self._weight,
            "precision": self._precision,
            "flows": self._flows,
            "now": self._now,
            **self._steps.state(),
        }

    def restore(self, saved: dict[str, NDArray[Any]]) -> None:
        """Take over what `state` returned."""
        self._steps.restore(saved)
        for name, array in self.state().items():
            if not name.startswith("steps_"):
                array[...] = saved[name]

    def _judge(self, step: Step) -> list[Detection]:
        """Score, then learn, a step."""
        now, settings = step.mean, self._settings
        known = np.isfinite(now) & np.isfinite(self._recent)
        self._recent = np.where(np.isfinite(self._recent), self._recent, now)
        if known[: self._qualities].sum() < _FEWEST:
            return []
        residual = np.where(known, now - self._recent, 0.0)
        warm = self._now[0] * self._step_ms > settings.warmup_ms
        if self._now[0] % _OFTEN == 0 and self._weight[0] > 0:
            self._invert()
        score, square, own = (
            self._score(residual) if self._weight[0] > _OFTEN else (0.0, 0.0, np.zeros(self._qualities))
        )
        said = self._change(step, score, own) if warm else []
        if self._now[3] >= 0 and step.time - self._now[3] > settings.relearn_ms:
            said += self._end(step, score)
            self._recent = np.where(np.isfinite(now), now, self._recent)
        if self._now[3] < 0:
            self._learn(residual, square)
        return said

    def _score(self, residual: NDArray[np.float64]) -> tuple[float, float, NDArray[np.float64]]:
        """Return how far the station is from its limits (1: at them), T² per quality, and what each point says of T².

        T² is of the qualities given the covariates; without a point it is less by what that point says.
        """
        raised = self._precision @ residual
        flows = residual[self._qualities :]
        whole = max(0.0, float(residual @ raised - flows @ self._flows @ flows))
        own = (raised**2 / np.diagonal(self._precision))[: self._qualities]
        square, others = whole / self._qualities, max(0.0, whole - float(own.max()))
        return min(square / self._settings.limit, others / self._settings.others**2), square, own

    def _change(self, step: Step, score: float, own: NDArray[np.float64]) -> list[Detection]:
        self._now[1] = self._now[1] + 1 if score > 1.0 else 0
        self._now[2] = self._now[2] + 1 if score < _NORMAL else 0
        if self._now[3] < 0:
            if not step.live or self._now[1] < self._settings.readings:
                return []
            self._now[2:] = 0, step.time, own.argmax()
            return [self._detection(step, score, own, active=True)]
        return self._end(step, score) if self._now[2] >= self._settings.readings else []

    def _end(self, step: Step, score: float) -> list[Detection]:
        over = self._detection(step, score, np.zeros(self._qualities), active=False)
        self._now[1:4] = 0, 0, -1
        return [over]

    def _learn(self, residual: NDArray[np.float64], square: float) -> None:
        """Move the recent past and the covariance towards a step; one that is doubtful in any way counts for less."""
        doubt = min(1.0, float(np.sqrt(self._settings.limit / max(square, 1e-12))))
        self._recent += residual * doubt * self._step_ms / self._settings.recent_ms
        keep = 1.0 - self._step_ms / self._settings.memory_ms
        self._weight[0] = keep * self._weight[0] + 1.0
        self._scatter *= keep
        self._scatter += np.outer(residual, residual) * doubt**2
        self._now[0] += 1

    def _invert(self) -> None:
        covariance = self._scatter / self._weight[0] + np.diag(self._digit**2)
        self._precision[:] = np.linalg.inv(covariance)
        self._flows[:] = np.linalg.inv(covariance[self._qualities :, self._qualities :])

    def _detection(self, step: Step, score: float, own: NDArray[np.float64], *, active: bool) -> Detection:
        most = int(self._now[4])
        member = self._members[most]
        value, usual = float(step.mean[most]), float(self._recent[most])
        wide = 3.0 / float(np.sqrt(self._precision[most, most]))
        order = [i for i in np.argsort(-own, kind="stable") if own[i] > self._settings.others**2]
        return Detection(
            _subject(member),
            "water_quality",
            DetectionKind.WATER_QUALITY,
            active=active,
            level=_LEVEL,
            time=step.time,
            value=value if np.isfinite(value) else None,
            expected=(usual - wide, usual + wide),
            score=score,
            quantity=member.kind.quantity,
            evidence=Evidence("recent", score / (1.0 + score), points=tuple(self._members[i].subject for i in order)),
        )


def _is_quality(kind: PointKind) -> bool:
    return kind.system is System.WATER and kind.quantity in QUALITIES


def _is_covariate(kind: PointKind) -> bool:
    return kind.system is System.WATER and kind.quantity in COVARIATES


def _subject(member: Member) -> Subject:
    return Subject(f"device:{member.device}" if member.asset is None else f"asset:{member.asset}")


def _digit(member: Member, limits: Limits) -> float:
    """Return the least scatter of a point that is believed, SI: half a digit, or for a covariate its accuracy."""
    if member.kind.quantity in QUALITIES:
        return limits.number("water_quality", f"digit_{member.kind.quantity}")
    row = row_of(limits.seasonal, member.kind.quantity, member.kind.system)
    return 1.0 if row is None else row.least * scale(row.unit, row.quantity)[0]


__all__ = ["WaterQualityDetector"]
