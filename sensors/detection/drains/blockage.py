"""Blockages of drains: water stands high in a manhole in spite of the weather, and not in the next one below.

The level in a manhole is compared with its profile of the day, corrected for rain. Where it has risen and the next
measured manhole below has not, the drains between the two hold the water back; a manhole further up that has risen as
well stands in the same pool. A rise that goes on below is more water, no blockage.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Fact, Key
from sensors.detection.day_profile import DayProfile
from sensors.detection.drains.sewer import Sewer
from sensors.detection.drains.weather import Rain, Response
from sensors.detection.excess import Excess
from sensors.detection.places import Places
from sensors.detection.scope import Scope
from sensors.detection.series import pack, unpack
from sensors.detection.steps import Step, Steps
from sensors.reading import Batch
from twin.asset import NodeKind, System

STEP_MS = 60_000
SMOOTH_MS = 300_000
"""Time constant of the smoothed rise."""
NEEDED_SIGMA = 6.0
"""Deviations of a good half hour by which a risen level must differ."""
READINGS = 2
"""Readings, at least, that must show it."""
AFTER_MS = 1_800_000
"""Of two places that rise within this time the upper one is not blocked as well: one wave has passed both."""
COMMON, COMMON_LEAST = 0.25, 5
"""Share of the places, and number, that rise together in rain that nobody measured."""

_RULE = "blockage"


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """The manholes at the end of a step, (k,) each.

    Levels, what was expected of them, how wide that is, and by how much they must have risen (m); the water's surface
    (m above datum); where nothing has risen.
    """

    time: int
    level: NDArray[np.float64]
    expected: NDArray[np.float64]
    sigma: NDArray[np.float64]
    need: NDArray[np.float64]
    surface: NDArray[np.float64]
    normal: NDArray[np.bool_]


class BlockageDetector:
    """Says at which manhole water is held back, and which drains below it may be blocked.

    Without a network there is nothing to watch:

    >>> from sensors.detection.checks import sample_devices, sample_stream
    >>> from sensors.limits import load
    >>> detector = BlockageDetector.build(Scope(sample_devices(), load()))
    >>> [found for batch in sample_stream() for found in detector.update(batch)]
    []
    """

    def __init__(self, scope: Scope, places: Places) -> None:
        self._places, self._rain, self._limits = places, Rain.of(scope), scope.limits
        self._steps = Steps(np.concatenate([places.series, self._rain.series]) if len(places) else [], STEP_MS)
        size, least_m = len(places), scope.limits.number(_RULE, "sigma_least")
        self._profile = DayProfile(np.full(size, least_m), scope.limits.calendar)
        self._response, self._rise = Response(size), Excess(size, SMOOTH_MS)
        self._crown_m = np.array([place.points[0].crown_m or np.nan for place in places.all])
        if scope.graph is not None:
            tops = np.array([place.top(scope.graph) for place in places.all], np.int32)
            self._sewer = Sewer(scope.graph, scope.city, tops)
            self._invert_m = scope.graph.xyz[tops, 2]
            self._manhole = ~scope.graph.nodes_of(NodeKind.STORAGE, NodeKind.OUTFALL)[tops]

    @classmethod
    def build(cls, scope: Scope) -> BlockageDetector:
        """Watch the levels that `scope.devices` measure in the drains of the city's network."""
        return cls(scope, Places.of(scope, {"level"}, {System.DRAINAGE, System.RAIN}))

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say where water is held back, and where it runs again."""
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
        for part in (self._profile, self._response, self._rise):
            part.restore(saved, mine, theirs)
        return {(self._places.all[place].subject, _RULE) for place in np.flatnonzero(self._rise.told).tolist()}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        parts = (self._steps, self._rain, self._places, self._profile, self._response, self._rise)
        return {name: array for part in parts for name, array in part.state().items()}

    def _step(self, step: Step) -> list[Detection]:
        count = len(self._places.series)
        fresh = self._places.read(step.time, step.mean[:count])
        self._rain.take(step.time, step.mean[count:])
        level, dry = self._places.now(step.time), self._profile.expected(step.time)
        rain = np.zeros(len(level)) if self._rain.dry else self._response.expected(self._rain)
        wet = 0.0 if self._rain.dry else self._response.sigma() + rain / 2
        sigma = np.sqrt(self._profile.sigma() ** 2 + self._profile.noise() ** 2 + wet**2)
        number = self._limits.number
        share_m = number(_RULE, "rise_of_crown") * np.nan_to_num(self._crown_m)
        need = np.maximum(NEEDED_SIGMA * sigma, np.maximum(number(_RULE, "rise_least"), share_m))
        self._rise.take(step.time, np.where(fresh, level - dry - rain, np.nan), need)
        normal = np.isfinite(level) & np.isfinite(self._rise.value) & ~self._rise.risen
        seen = _Seen(step.time, level, dry + rain, sigma, need, self._invert_m + level, normal)
        told = self._ended(seen)
        if step.live:
            told += self._begun(seen)
        good = fresh & ~self._rise.risen
        self._profile.drop(self._rise.told > 0)
        if self._rain.dry:
            self._profile.learn(step.time, level, good)
        else:
            self._profile.learn(step.time, level, np.zeros_like(good))
            self._response.learn(self._rain, level - dry, fresh & (self._rise.told == 0))
        return told

    def _ended(self, seen: _Seen) -> list[Detection]:
        delay_ms = 1000 * self._limits.number(_RULE, "delay_off")
        over = self._rise.calmed(seen.time, delay_ms).tolist()
        found = [self._detection(seen, place, int(self._rise.told[place]), None) for place in over]
        for place in over:
            self._rise.end(place)
        return found

    def _begun(self, seen: _Seen) -> list[Detection]:
        """Tell of the manholes above a blockage, and again of those where the drain has filled since."""
        number, told = self._limits.number, self._rise.told
        with np.errstate(invalid="ignore"):
            filling = seen.level >= number(_RULE, "full") * self._crown_m
            worst = np.where(seen.level >= self._crown_m, 2, 3)
            stays = (seen.level - seen.expected >= seen.need) & ~self._rise.falls
        delay_ms = 1000 * np.where(filling, number(_RULE, "delay_full"), number(_RULE, "delay"))
        waited = self._rise.waited(seen.time, delay_ms, READINGS) & self._manhole & stays
        found: list[Detection] = []
        for place in np.flatnonzero(waited & ((told == 0) | (worst < told))).tolist():
            level = int(worst[place])
            if told[place] == 0 and (self._is_weather(seen, place) or self._is_flow(seen, place)):
                continue
            evidence = self._evidence(seen, place)
            if evidence.candidates:
                self._rise.tell(place, level)
                found.append(self._detection(seen, place, level, evidence))
        return found

    def _is_weather(self, seen: _Seen, place: int) -> bool:
        """Whether rain may explain a rise: measured, and its effect not known yet, or so many have risen together."""
        if self._rain.measured:
            return not self._rain.dry and not self._response.warm[place]
        risen = int(self._rise.risen.sum())
        return risen >= max(COMMON_LEAST, COMMON * int(np.isfinite(seen.level).sum()))

    def _is_flow(self, seen: _Seen, place: int) -> bool:
        """Whether a rise is more water that passes, or the pool of another blockage."""
        return self._goes_on_below(seen, place) or self._comes_from_above(seen, place)

    def _goes_on_below(self, seen: _Seen, place: int) -> bool:
        """Whether the next measured place below has risen as well, so that this one stands in its pool or its flow.

        So it did where that one falls again: its pool is running off. Not where that one was known to be blocked
        before, and its pool does not come up to here; nor for the wet well of a pumping station, which fills and
        empties all day, unless it stands above this place.
        """
        below, rise = self._sewer.below(place).below, self._rise
        if below < 0:
            return False
        if self._manhole[below] and rise.peak[below] > 0 and rise.falls[below]:
            return True
        if not rise.risen[below]:
            return False
        smoothed_m = self._invert_m[below] + seen.expected[below] + rise.value[below]  # not at once where it falls
        if max(seen.surface[below], smoothed_m) >= self._invert_m[place]:
            return True
        blocked = rise.told[below] > 0 and rise.since[place] - rise.since[below] >= AFTER_MS
        return bool(self._manhole[below] and not blocked)

    def _comes_from_above(self, seen: _Seen, place: int) -> bool:
        """Whether more water comes from a place above, or has come within the last hour.

        It does where a level has risen though the pool does not come up to it, and is not known to be blocked; and
        where one that was high falls: what was held back there is released.
        """
        rise = self._rise
        flows = (rise.peak > 0) & (rise.told == 0) & (self._invert_m >= seen.surface[place])
        released = (rise.peak > 0) & rise.falls
        beside = any(self._sewer.below(each).below == place for each in np.flatnonzero(flows).tolist())
        return beside or any(self._comes_to(each, place) for each in np.flatnonzero(released).tolist())

    def _comes_to(self, upper: int, lower: int) -> bool:
        """Whether a wave from the place `upper` has come to `lower`: all places between the two have risen."""
        met = {upper}
        here = self._sewer.below(upper).below
        while here not in {lower, -1} and here not in met and self._rise.risen[here]:
            met.add(here)
            here = self._sewer.below(here).below
        return here == lower

    def _evidence(self, seen: _Seen, place: int) -> Evidence:
        """Return why water is held back below a place; confidence: 0.5, more by what else is seen (no standard).

        +0.2: the next place below is as usual; +0.1: it has fallen; +0.1: the drain is full; -0.2: after rain.
        """
        below = self._sewer.below(place).below
        crown_m, height_m = self._crown_m[place], seen.level[place]
        scale_m = float(crown_m) if np.isfinite(crown_m) else self._limits.number(_RULE, "crown_unknown")
        candidates = self._sewer.behind(
            place, float(seen.surface[place]), scale_m, np.flatnonzero(seen.normal).tolist()
        )
        rise = self._rise.value
        facts = [Fact("rise", float(rise[place]), "level"), Fact("usual", float(seen.expected[place]), "level")]
        if not self._rain.dry:
            facts.append(Fact("rain_mm", float(self._rain.stored_mm[-1])))
        sure = 0.5 + 0.1 * bool(height_m >= crown_m) - 0.2 * (not self._rain.dry)
        points = self._places.all[place].subjects
        if below >= 0:
            points += self._places.all[below].subjects
            sure += 0.2 * bool(seen.normal[below]) + 0.1 * bool(rise[below] < -2 * seen.sigma[below])
        basis = "profile" if self._rain.dry else "rain"
        return Evidence(basis, round(sure, 2), candidates, tuple(facts), points)

    def _detection(self, seen: _Seen, place: int, level: int, evidence: Evidence | None) -> Detection:
        height_m, usual_m, sigma_m = (float(each[place]) for each in (seen.level, seen.expected, seen.sigma))
        known = np.isfinite(height_m) and np.isfinite(usual_m)
        return Detection(
            self._places.all[place].subject,
            _RULE,
            DetectionKind.BLOCKAGE,
            active=evidence is not None,
            level=level,
            time=seen.time,
            value=height_m if known else None,
            expected=(usual_m - 2 * sigma_m, usual_m + 2 * sigma_m) if known else None,
            score=float(self._rise.value[place]) / sigma_m,
            quantity="level",
            evidence=evidence or Evidence(),
        )


__all__ = ["BlockageDetector"]
