"""Water in the drains that is not sewage: its conductivity, temperature, acidity or turbidity leaves the usual day.

Only in dry weather: rain dilutes and cools whatever flows. The discharge is above the uppermost place that shows it,
and below those further up that do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Candidate, Detection, DetectionKind, Evidence, Fact, Key
from sensors.detection.day_profile import DayProfile
from sensors.detection.drains.sewer import Sewer
from sensors.detection.drains.weather import Rain
from sensors.detection.excess import Excess
from sensors.detection.places import Places
from sensors.detection.scope import Scope
from sensors.detection.series import pack, unpack
from sensors.detection.steps import Step, Steps
from sensors.reading import Batch
from twin.asset import AssetId, System

STEP_MS = 60_000
SMOOTH_MS = 600_000
NEEDED_SIGMA = 6.0
"""Deviations of a good half hour by which the water must differ."""
READINGS = 3
QUANTITIES = ("conductivity", "ph", "temperature", "turbidity")
MOST = 10
"""Manholes that are named at most."""

_RULE = "illicit_discharge"
_LEVEL = 3


class IllicitDischargeDetector:
    """Says where the water in the drains is foreign, and at which manholes it may have come in.

    Without a network there is nothing to watch:

    >>> from sensors.detection.checks import sample_devices, sample_stream
    >>> from sensors.limits import load
    >>> detector = IllicitDischargeDetector.build(Scope(sample_devices(), load()))
    >>> [found for batch in sample_stream() for found in detector.update(batch)]
    []
    """

    def __init__(self, scope: Scope, places: Places) -> None:
        self._places, self._rain, self._limits = places, Rain.of(scope), scope.limits
        self._steps = Steps(np.concatenate([places.series, self._rain.series]) if len(places) else [], STEP_MS)
        self._least = np.array([scope.limits.number(_RULE, place.quantity) for place in places.all], np.float64)
        self._profile = DayProfile(self._least / NEEDED_SIGMA, scope.limits.calendar)
        self._away = Excess(len(places), SMOOTH_MS)
        if scope.graph is not None:
            self._graph = scope.graph
            tops = np.array([place.top(scope.graph) for place in places.all], np.int32)
            self._sewer = Sewer(scope.graph, scope.city, tops)

    @classmethod
    def build(cls, scope: Scope) -> IllicitDischargeDetector:
        """Watch what `scope.devices` measure of the water in the drains of the city's network."""
        return cls(scope, Places.of(scope, set(QUANTITIES), {System.DRAINAGE, System.RAIN}))

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say where the water is foreign, and where it is as usual again."""
        return [each for step in self._steps.take(batch) for each in self._step(step)]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(**self._arrays())

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        saved = unpack(state, **self._arrays())
        self._steps.restore(saved)
        self._rain.restore(saved)
        mine, theirs = self._places.restore(saved)
        for part in (self._profile, self._away):
            part.restore(saved, mine, theirs)
        told = [self._places.all[place] for place in np.flatnonzero(self._away.told).tolist()]
        return {(place.subject, f"{_RULE}_{place.quantity}") for place in told}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        parts = (self._steps, self._rain, self._places, self._profile, self._away)
        return {name: array for part in parts for name, array in part.state().items()}

    def _step(self, step: Step) -> list[Detection]:
        count = len(self._places.series)
        fresh = self._places.read(step.time, step.mean[:count])
        self._rain.take(step.time, step.mean[count:])
        value, usual = self._places.now(step.time), self._profile.expected(step.time)
        sigma = np.hypot(self._profile.sigma(), self._profile.noise())
        need = np.maximum(NEEDED_SIGMA * sigma, self._least)
        judged = fresh & self._rain.dry
        self._away.take(step.time, np.where(judged, np.abs(value - usual), np.nan), need)
        found: list[Detection] = []
        for place in self._away.calmed(step.time, 1000 * self._limits.number(_RULE, "delay_off")).tolist():
            found.append(self._detection(step.time, place, (value, usual, sigma), None))
            self._away.end(place)
        if step.live and self._rain.dry:
            delay_ms = np.full(len(need), 1000 * self._limits.number(_RULE, "delay"))
            waited = self._away.waited(step.time, delay_ms, READINGS) & (self._away.told == 0)
            for place in np.flatnonzero(waited).tolist():
                if not self._comes_from_above(place):
                    self._away.tell(place, _LEVEL)
                    evidence = self._evidence(place, usual)
                    found.append(self._detection(step.time, place, (value, usual, sigma), evidence))
        self._profile.drop(self._away.told > 0)
        self._profile.learn(step.time, value, judged & ~self._away.risen)
        return found

    def _alike(self, place: int, which: NDArray[np.bool_]) -> list[int]:
        """Return the other places of the same quantity that are among `which`."""
        quantity = self._places.all[place].quantity
        return [n for n in np.flatnonzero(which).tolist() if n != place and self._places.all[n].quantity == quantity]

    def _above(self, place: int) -> list[tuple[int, int, float]]:
        normal = self._alike(place, np.isfinite(self._away.value) & ~self._away.risen)
        return self._sewer.above(place, self._limits.number(_RULE, "within"), normal)

    def _comes_from_above(self, place: int) -> bool:
        """Whether a place above shows it as well: the discharge is above that one."""
        tops = {top for _, top, _ in self._above(place)}
        foreign = self._alike(place, self._away.risen)
        return any(self._places.all[other].top(self._graph) in tops for other in foreign)

    def _evidence(self, place: int, usual: NDArray[np.float64]) -> Evidence:
        """Return why the water is foreign; confidence: 0.5, +0.2 where rain is measured, so that it is known to be dry.

        Each manhole above is as likely as another, less by e every `dilutes` metres: sewage thins what comes from far.
        """
        dilutes_m = self._limits.number(_RULE, "dilutes")
        above = [(self._places.all[place].top(self._graph), 0.0), *((top, far) for _, top, far in self._above(place))]
        weight = [float(np.exp(-far / dilutes_m)) for _, far in above]
        whole = sum(weight)
        named = zip(above, weight, strict=True)
        candidates = [Candidate(AssetId(self._graph.nodes[node]), w / whole, far) for (node, far), w in named]
        quantity = self._places.all[place].quantity
        facts = (Fact("usual", float(usual[place]), quantity),)
        sure = 0.5 + 0.2 * self._rain.measured
        return Evidence("profile", sure, tuple(candidates[:MOST]), facts, self._places.all[place].subjects)

    def _detection(
        self, time: int, place: int, seen: tuple[NDArray[np.float64], ...], evidence: Evidence | None
    ) -> Detection:
        value, usual, sigma = (float(each[place]) for each in seen)
        known = np.isfinite(value) and np.isfinite(usual)
        quantity = self._places.all[place].quantity
        return Detection(
            self._places.all[place].subject,
            f"{_RULE}_{quantity}",
            DetectionKind.ILLICIT_DISCHARGE,
            active=evidence is not None,
            level=_LEVEL,
            time=time,
            value=value if known else None,
            expected=(usual - 2 * sigma, usual + 2 * sigma) if known else None,
            score=float(self._away.value[place]) / sigma,
            quantity=quantity,
            evidence=evidence or Evidence(),
        )


__all__ = ["IllicitDischargeDetector"]
