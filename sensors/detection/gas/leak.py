"""Gas in the air of the drains: out of a gas pipe beside them, or out of the sewage itself.

Each manhole's gas is compared with its own profile of the day, in which the usual sewer gas is. Gas that comes into one
manhole is met in its neighbours as well, thinner with every drain, so that manholes whose air hangs together make one
finding, told of where there is most. Sewer gas comes slowly, over hours, and brings hydrogen sulfide; gas of a pipe
brings none and fills a manhole within minutes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Fact, Key
from sensors.detection.day_profile import DayProfile
from sensors.detection.drains.sewer import Sewer
from sensors.detection.excess import Excess
from sensors.detection.gas.sources import GasSources
from sensors.detection.places import Places
from sensors.detection.scope import Scope
from sensors.detection.series import pack, unpack
from sensors.detection.steps import Step, Steps
from sensors.limits import Limits
from sensors.reading import Batch
from twin.asset import System
from twin.network.graph import GRAVITY

STEP_MS = 60_000
SMOOTH_MS = 60_000
NEEDED_SIGMA = 6.0
"""Deviations of a good half hour by which gas must differ."""
READINGS = 3
"""Readings, at least, that must show it."""
METHANE_LEL = 0.05
"""Lower explosive limit of methane in air, volume fraction (GB/T 50493-2019, secondary sources)."""

_AIR = (*GRAVITY, System.GAS)
_KINDS = (DetectionKind.GAS_LEAK, DetectionKind.BIOGAS)
_CLEAR_SHARE = 1 / 3
"""Share of what is needed below which a manhole counts as clear: the rise is timed from there."""
_ALIKE = 0.9
"""Share of the gas at one place from which another has as much, as far as detectors tell."""
_NEVER = -(2**62)


class _Air:
    """One gas at its places: profile, excess, and what of a step's columns is its own."""

    def __init__(self, places: Places, limits: Limits, layer: str, factor: NDArray[np.float64]) -> None:
        size = len(places)
        self.places, self._factor = places, factor
        self._least = limits.number(layer, "excess_least")
        self.profile = DayProfile(np.full(size, limits.number(layer, "sigma_least")), limits.calendar)
        self.excess = Excess(size, SMOOTH_MS)
        self.value = self.expected = self.sigma = self.need = np.zeros(size)

    def take(self, time: int, mean: NDArray[np.float64]) -> None:
        """Score a step at `time`, and learn from it."""
        fresh = self.places.read(time, mean)
        self.value = self.places.now(time) * self._factor
        self.expected = self.profile.expected(time)
        self.sigma = np.hypot(self.profile.sigma(), self.profile.noise())
        self.need = np.maximum(NEEDED_SIGMA * self.sigma, self._least)
        self.excess.take(time, np.where(fresh, self.value - self.expected, np.nan), self.need)
        self.profile.learn(time, self.value, fresh & ~self.excess.risen)

    def state(self, prefix: str) -> dict[str, NDArray[Any]]:
        parts = (self.places, self.profile, self.excess)
        return {f"{prefix}_{name}": array for part in parts for name, array in part.state().items()}

    def restore(self, prefix: str, saved: dict[str, NDArray[Any]]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        state = {name.removeprefix(f"{prefix}_"): array for name, array in saved.items()}
        mine, theirs = self.places.restore(state)
        for part in (self.profile, self.excess):
            part.restore(state, mine, theirs)
        return mine, theirs


class GasLeakDetector:
    """Says in which manhole there is gas of a pipe or of the sewage, and which gas pipes may leak.

    Without a network there is nothing to watch:

    >>> from sensors.detection.checks import sample_devices, sample_stream
    >>> from sensors.limits import load
    >>> detector = GasLeakDetector.build(Scope(sample_devices(), load()))
    >>> [found for batch in sample_stream() for found in detector.update(batch)]
    []
    """

    def __init__(self, scope: Scope, gas: Places, sulfide: Places) -> None:
        self._limits = scope.limits
        methane = np.array([place.quantity == "methane" for place in gas.all], np.bool_)
        self._unit = np.where(methane, METHANE_LEL, 1.0)
        self._gas = _Air(gas, scope.limits, "gas_leak", 1 / self._unit)
        self._sulfide = _Air(sulfide, scope.limits, "biogas", np.ones(len(sulfide)))
        self._steps = Steps(np.concatenate([gas.series, sulfide.series]) if len(gas) else [], STEP_MS)
        self._clear, self._kind = np.full(len(gas), _NEVER), np.zeros(len(gas), np.uint8)
        self._sources: GasSources | None = None
        self._sewer: Sewer | None = None
        if scope.graph is not None and scope.city is not None and len(gas):
            tops = np.array([place.top(scope.graph) for place in gas.all], np.int32)
            self._sewer = Sewer(scope.graph, scope.city, tops)
            self._sources = GasSources.of(scope.city, scope.graph)
            self._sources.around(gas.all[0].asset)

    @classmethod
    def build(cls, scope: Scope) -> GasLeakDetector:
        """Watch the gas that `scope.devices` measure in the drains of the city's network."""
        gas = Places.of(scope, {"combustible_gas", "methane"}, _AIR).in_systems(scope, GRAVITY)
        return cls(scope, gas.once_an_asset(), Places.of(scope, {"hydrogen_sulfide"}, _AIR).in_systems(scope, GRAVITY))

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say where there is gas, and where no longer."""
        return [each for step in self._steps.take(batch) for each in self._step(step)]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(**self._arrays())

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        saved = unpack(state, **self._arrays())
        self._steps.restore(saved)
        self._sulfide.restore("sulfide", saved)
        mine, theirs = self._gas.restore("gas", saved)
        self._clear[mine], self._kind[mine] = saved["clear"][theirs], saved["kind"][theirs]
        told = np.flatnonzero(self._gas.excess.told).tolist()
        return {(self._gas.places.all[place].subject, _KINDS[self._kind[place]].value) for place in told}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        own = {"clear": self._clear, "kind": self._kind}
        return {**self._steps.state(), **self._gas.state("gas"), **self._sulfide.state("sulfide"), **own}

    def _step(self, step: Step) -> list[Detection]:
        gas, count = self._gas, len(self._gas.places.series)
        gas.take(step.time, step.mean[:count])
        self._sulfide.take(step.time, step.mean[count:])
        with np.errstate(invalid="ignore"):
            clear = gas.excess.value < _CLEAR_SHARE * gas.need
        self._clear[clear | ((self._clear == _NEVER) & np.isfinite(gas.value))] = step.time
        found: list[Detection] = []
        for place in gas.excess.calmed(step.time, 1000 * self._limits.number("gas_leak", "delay_off")).tolist():
            found.append(self._detection(step.time, place, int(gas.excess.told[place]), None))
            gas.excess.end(place)
        if step.live:
            found += self._begun(step.time)
        gas.profile.drop(gas.excess.told > 0)
        return found

    def _begun(self, time: int) -> list[Detection]:
        """Tell of the manholes with most gas of their surroundings, and again of those that have become worse."""
        number, excess = self._limits.number, self._gas.excess
        delay_ms = np.full(len(excess.told), 1000 * number("gas_leak", "delay"))
        waited = excess.waited(time, delay_ms, READINGS) & ~excess.falls
        reached = [self._gas.value >= number("gas_leak", name) for name in ("red", "orange")]
        worst = np.select(reached, [1, 2], default=3)
        found: list[Detection] = []
        strongest = np.argsort(-np.nan_to_num(excess.value), kind="stable").tolist()
        for place in [each for each in strongest if waited[each]]:
            if excess.told[place] == 0:
                if self._comes_from_another(place):
                    continue
                self._kind[place] = _KINDS.index(self._kind_of(time, place))
            elif worst[place] >= excess.told[place]:
                continue
            level = int(worst[place])
            excess.tell(place, level)
            found.append(self._detection(time, place, level, self._evidence(time, place)))
        return found

    def _beside(self, place: int) -> list[int]:
        """Return the places that gas comes to from `place` and that have risen too, itself among them."""
        risen = np.flatnonzero(self._gas.excess.risen).tolist()
        return [each for each in risen if each == place or self._way_m(place, each) is not None]

    def _way_m(self, place: int, other: int) -> float | None:
        assets = self._gas.places.all
        return None if self._sources is None else self._sources.way_m(assets[place].asset, assets[other].asset)

    def _comes_from_another(self, place: int) -> bool:
        """Whether the gas at a place is explained by more of it at a neighbour, now or within the last hour.

        Downstream of a place with about as much (detectors end at their scale), where the sewage drags it; elsewhere as
        much of it as mixing lets come so far: less by e every `thins` metres.
        """
        amount, lately = self._gas.excess.value[place], self._gas.excess.peak
        thins_m = self._limits.number("gas_leak", "thins")
        for other in np.flatnonzero(lately > _ALIKE * amount).tolist():
            far_m = self._way_m(place, other)
            if other == place or far_m is None:
                continue
            if self._is_below(other, place) or amount <= lately[other] * np.exp(-far_m / thins_m):
                return True
        return False

    def _is_below(self, upper: int, lower: int) -> bool:
        """Whether what flows past the place `upper` comes to `lower`."""
        met: set[int] = set()
        while self._sewer is not None and upper >= 0 and upper not in met:
            met.add(upper)
            upper = self._sewer.below(upper).below
            if upper == lower:
                return True
        return False

    def _rate(self, time: int, place: int) -> float:
        """Return how fast gas has come, share of the LEL a second since the place was clear."""
        return float(self._gas.excess.value[place]) * 1000 / max(time - int(self._clear[place]), STEP_MS)

    def _kind_of(self, time: int, place: int) -> DetectionKind:
        """Return what the gas is: sewer gas comes slowly and with hydrogen sulfide, or where no gas pipe is near."""
        slow = self._rate(time, place) < self._limits.number("biogas", "rate") / 3600
        asset = self._gas.places.all[place].asset
        far = self._sources is not None and not self._sources.around(asset).candidates
        return DetectionKind.BIOGAS if slow and (self._with_sulfide(place) or far) else DetectionKind.GAS_LEAK

    def _with_sulfide(self, place: int) -> bool:
        """Whether hydrogen sulfide has risen at a place, or where its air comes from within `sulfide_near`."""
        near_m = self._limits.number("biogas", "sulfide_near")
        asset = self._gas.places.all[place].asset
        for other in np.flatnonzero(self._sulfide.excess.high).tolist():
            there = self._sulfide.places.all[other].asset
            far_m = None if self._sources is None else self._sources.way_m(asset, there)
            if there == asset or (far_m is not None and far_m <= near_m):
                return True
        return False

    def _evidence(self, time: int, place: int) -> Evidence:
        """Return why there is gas; confidence: 0.5, more by what else is seen (no standard).

        Of a leak +0.2 where it came fast, +0.1 where a gas pipe is near, +0.1 where a neighbour has risen, -0.2 with
        hydrogen sulfide; of sewer gas +0.2 with it, and +0.1 where no gas pipe is near.
        """
        gas, group = self._gas, self._beside(place)
        amount = gas.excess.value
        told = [(gas.places.all[each].asset, float(amount[each])) for each in group]
        candidates = () if self._sources is None else self._sources.ranked(told)
        rate, sulfide = self._rate(time, place), self._with_sulfide(place)
        if _KINDS[self._kind[place]] is DetectionKind.BIOGAS:
            sure = 0.5 + 0.2 * sulfide + 0.1 * (not candidates)
            candidates = ()
        else:
            fast = rate >= self._limits.number("biogas", "rate") / 3600
            sure = 0.5 + 0.2 * fast + 0.1 * bool(candidates) + 0.1 * (len(group) > 1) - 0.2 * sulfide
        facts = (
            Fact("rise", float(amount[place] * self._unit[place]), gas.places.all[place].quantity),
            Fact("usual", float(gas.expected[place] * self._unit[place]), gas.places.all[place].quantity),
            Fact("minutes", (time - int(self._clear[place])) / 60_000),
            Fact("neighbours", float(len(group) - 1)),
        )
        ordered = [place, *(each for each in group if each != place)]
        points = tuple(subject for each in ordered for subject in gas.places.all[each].subjects)
        return Evidence("neighbours" if len(group) > 1 else "profile", round(sure, 2), candidates, facts, points)

    def _detection(self, time: int, place: int, level: int, evidence: Evidence | None) -> Detection:
        gas, unit, kind = self._gas, float(self._unit[place]), _KINDS[self._kind[place]]
        value, usual, sigma = (float(each[place]) for each in (gas.value, gas.expected, gas.sigma))
        known = np.isfinite(value) and np.isfinite(usual)
        return Detection(
            gas.places.all[place].subject,
            kind.value,
            kind,
            active=evidence is not None,
            level=level,
            time=time,
            value=value * unit if known else None,
            expected=((usual - 2 * sigma) * unit, (usual + 2 * sigma) * unit) if known else None,
            score=float(gas.excess.value[place]) / sigma,
            quantity=gas.places.all[place].quantity,
            evidence=evidence or Evidence(),
        )


__all__ = ["GasLeakDetector"]
