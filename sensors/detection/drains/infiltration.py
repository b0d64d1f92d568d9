"""Water from outside in the sewers: groundwater that comes in all night, and rain that comes in with it.

Nobody washes at four in the morning: what flows then in dry weather is mostly groundwater. Dry nights whose least
hourly flow stays above that of the weeks before show a leak into the sewer. What rain brings beyond the dry day,
divided by its depth, is the area that drains into the sewer; a sewer whose area grows takes in storm water.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Candidate, Detection, DetectionKind, Evidence, Fact, Key
from sensors.detection.day_profile import DayProfile
from sensors.detection.drains.nights import Nights
from sensors.detection.drains.record import Judged
from sensors.detection.drains.sewer import Sewer
from sensors.detection.drains.storms import Storms
from sensors.detection.drains.weather import Rain
from sensors.detection.places import Places
from sensors.detection.scope import Scope
from sensors.detection.series import pack, unpack
from sensors.detection.steps import Step, Steps
from sensors.reading import Batch
from twin.asset import AssetId, System

STEP_MS = 3_600_000
MOST, WITHIN_M = 10, 2000.0
"""Drains that are named at most, and how far above the meter they may lie."""
RULES = ("infiltration", "rain_inflow")
SCATTERS = 3.0
"""Times its own scatter by which a figure must have grown, beside the share of the settings."""

_LEVEL = 4


class InfiltrationDetector:
    """Says which metered sewer takes in groundwater, or storm water, more than it used to.

    Without a network there is nothing to watch:

    >>> from sensors.detection.checks import sample_devices, sample_stream
    >>> from sensors.limits import load
    >>> detector = InfiltrationDetector.build(Scope(sample_devices(), load()))
    >>> [found for batch in sample_stream() for found in detector.update(batch)]
    []
    """

    def __init__(self, scope: Scope, places: Places) -> None:
        self._places, self._rain, self._limits = places, Rain.of(scope), scope.limits
        self._steps = Steps(np.concatenate([places.series, self._rain.series]) if len(places) else [], STEP_MS)
        size, least = len(places), scope.limits.number("infiltration", "least")
        self._profile = DayProfile(np.full(size, least), scope.limits.calendar)
        self._nights = Nights(size, round(scope.limits.calendar.offset.total_seconds() * 1000))
        self._storms = Storms(size)
        self._told = np.zeros((size, len(RULES)), np.bool_)
        if scope.graph is not None:
            self._graph = scope.graph
            tops = np.array([place.top(scope.graph) for place in places.all], np.int32)
            self._sewer = Sewer(scope.graph, scope.city, tops)

    @classmethod
    def build(cls, scope: Scope) -> InfiltrationDetector:
        """Watch the flows that `scope.devices` measure in the drains of the city's network."""
        return cls(scope, Places.of(scope, {"flow"}, {System.DRAINAGE, System.RAIN}))

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which sewers take in more than they used to, and which no longer."""
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
        for part in (self._profile, self._nights, self._storms):
            part.restore(saved, mine, theirs)
        self._told[mine] = saved["told"][theirs]
        return {(self._places.all[place].subject, RULES[rule]) for place, rule in np.argwhere(self._told).tolist()}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        parts = (self._steps, self._rain, self._places, self._profile, self._nights, self._storms)
        return {**{name: array for part in parts for name, array in part.state().items()}, "told": self._told}

    def _step(self, step: Step) -> list[Detection]:
        count = len(self._places.series)
        fresh = self._places.read(step.time, step.mean[:count])
        self._rain.take(step.time, step.mean[count:])
        flow = np.where(fresh, self._places.now(step.time), np.nan)
        found: list[Detection] = []
        usual = self._profile.expected(step.time)
        if self._nights.take(step.time, flow, self._told[:, 0], dry=self._rain.dry):
            judged = self._nights.record.judged()
            found += self._judged(step, 0, judged.last, judged)
        if self._storms.take(step.time, flow - usual, self._told[:, 1], self._rain):
            judged = self._storms.record.judged()
            found += self._judged(step, 1, judged.least, judged)
        if self._rain.dry:
            self._profile.learn(step.time, flow, fresh)
        return found

    def _judged(self, step: Step, rule: int, last: NDArray[np.float64], judged: Judged) -> list[Detection]:
        """Say where a figure has grown to `last` (k,), and where it is half way back."""
        usual, scatter = judged.usual, judged.scatter
        share = self._limits.number("infiltration", ("night_share", "area_share")[rule])
        least = self._limits.number("infiltration", ("least", "area_least")[rule])
        need = np.maximum(np.maximum(share * usual, SCATTERS * scatter), least)
        told = self._told[:, rule]
        with np.errstate(invalid="ignore"):
            begins = ~told & (last - usual >= need) & step.live
            ends = told & (last - usual < need / 2)
        self._told[begins, rule] = True
        self._told[ends, rule] = False
        return [
            self._detection(step.time, place, rule, (last, usual, need), active=bool(begins[place]))
            for place in np.flatnonzero(begins | ends).tolist()
        ]

    def _detection(
        self, time: int, place: int, rule: int, figures: tuple[NDArray[np.float64], ...], *, active: bool
    ) -> Detection:
        last, usual, need = (float(each[place]) for each in figures)
        quantity = ("flow", "")[rule]
        names = (("night_minimum", "usual"), ("area", "usual"))[rule]
        facts = (Fact(names[0], last, quantity), Fact(names[1], usual, quantity))
        basis = ("recent", "rain")[rule]
        sure = round(min(0.9, 0.5 + 0.1 * (last - usual) / need), 2)
        points = self._places.all[place].subjects
        return Detection(
            self._places.all[place].subject,
            RULES[rule],
            DetectionKind.INFILTRATION,
            active=active,
            level=_LEVEL,
            time=time,
            value=last,
            expected=(usual - need, usual + need),
            score=(last - usual) / need,
            quantity=quantity,
            evidence=Evidence(basis, sure, self._above(place), facts, points) if active else Evidence(),
        )

    def _above(self, place: int) -> tuple[Candidate, ...]:
        """Return the drains above a meter and below the next ones: each metre of them as likely as another."""
        others = [each for each in range(len(self._places)) if each != place]
        above = self._sewer.above(place, WITHIN_M, others)
        whole = sum(float(self._graph.length_m[link]) for link, _, _ in above)
        length = sorted(above, key=lambda each: (-float(self._graph.length_m[each[0]]), each[2]))[:MOST]
        return tuple(
            Candidate(AssetId(self._graph.links[link]), float(self._graph.length_m[link]) / whole, far)
            for link, _, far in length
        )


__all__ = ["InfiltrationDetector"]
