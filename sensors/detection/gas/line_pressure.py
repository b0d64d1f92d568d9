"""Pressure lost in the gas mains: all of a section behind its regulators reads less than usual at this hour.

A section is what hangs together between regulators, compressors and whatever is shut. Demand moves its pressure by the
hour, which the profile of the day knows; a broken main takes pressure from the whole section, most where it is. Where
the section that feeds it has lost pressure as well, that one is told of alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, dijkstra

from sensors.detection import Candidate, Detection, DetectionKind, Evidence, Fact, Key, Subject
from sensors.detection.day_profile import DayProfile
from sensors.detection.excess import Excess
from sensors.detection.places import Places
from sensors.detection.scope import Scope
from sensors.detection.series import pack, unpack
from sensors.detection.steps import Step, Steps
from sensors.reading import Batch
from twin.asset import AssetId, LinkKind, System
from twin.network.graph import SYSTEMS, Network

STEP_MS = 60_000
SMOOTH_MS = 180_000
NEEDED_SIGMA = 6.0
"""Deviations of a good half hour by which a pressure must have dropped."""
READINGS = 3
"""Readings, at least, that must show it."""
SHARE = 0.5
"""Share of a section's places that must have dropped, at least half as far as they would need to by themselves."""
MOST, NEAR_M = 10, 300.0
"""Candidates that are named at most, and how far from the lowest place they may lie, along the pipes."""

_RULE = "line_pressure"
_LEVEL = 2
"""Orange: a main that loses pressure lets gas out, or leaves its customers without."""


@dataclass(frozen=True, slots=True)
class _Section:
    """Pipes that hang together; the places measured in it, and the sections that feed it, by index."""

    name: AssetId
    places: NDArray[np.intp]
    fed_by: tuple[int, ...]


class LinePressureDetector:
    """Says which section of gas mains has lost pressure, and which of its pipes may be broken.

    Without a network there is nothing to watch:

    >>> from sensors.detection.checks import sample_devices, sample_stream
    >>> from sensors.limits import load
    >>> detector = LinePressureDetector.build(Scope(sample_devices(), load()))
    >>> [found for batch in sample_stream() for found in detector.update(batch)]
    []
    """

    def __init__(self, scope: Scope, places: Places) -> None:
        self._places, self._limits, self._graph = places, scope.limits, scope.graph
        self._steps = Steps(places.series, STEP_MS)
        size, least_pa = len(places), scope.limits.number(_RULE, "sigma_least")
        self._profile = DayProfile(np.full(size, least_pa), scope.limits.calendar)
        self._drop = Excess(size, SMOOTH_MS)
        self._sections: list[_Section] = []
        self._pipes = csr_array((0, 0))
        if scope.graph is not None and size:
            self._sections, self._pipes = _sections(scope.graph, places)

    @classmethod
    def build(cls, scope: Scope) -> LinePressureDetector:
        """Watch the pressures that `scope.devices` measure in the gas network of the city."""
        places = Places.of(scope, {"pressure"}, {System.GAS}).in_systems(scope, {System.GAS})
        return cls(scope, places)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which sections have lost pressure, and which have it again."""
        return [each for step in self._steps.take(batch) for each in self._step(step)]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(**self._arrays())

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand."""
        saved = unpack(state, **self._arrays())
        self._steps.restore(saved)
        mine, theirs = self._places.restore(saved)
        self._profile.restore(saved, mine, theirs)
        self._drop.restore(saved, mine, theirs)
        return {(_subject(section), _RULE) for section in self._sections if self._lowest_told(section) is not None}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        parts = (self._steps, self._places, self._profile, self._drop)
        return {name: array for part in parts for name, array in part.state().items()}

    def _step(self, step: Step) -> list[Detection]:
        fresh = self._places.read(step.time, step.mean)
        pressure, usual = self._places.now(step.time), self._profile.expected(step.time)
        sigma = np.hypot(self._profile.sigma(), self._profile.noise())
        share = self._limits.number(_RULE, "share")
        need = np.maximum(NEEDED_SIGMA * sigma, np.nan_to_num(share * usual))
        self._drop.take(step.time, np.where(fresh, usual - pressure, np.nan), need)
        seen = (pressure, usual, sigma)
        over = set(self._drop.calmed(step.time, 1000 * self._limits.number(_RULE, "delay_off")).tolist())
        delay_ms = np.full(len(need), 1000 * self._limits.number(_RULE, "delay"))
        waited = self._drop.waited(step.time, delay_ms, READINGS)
        lost = [self._is_lost(section, waited) for section in self._sections]
        found: list[Detection] = []
        for index, section in enumerate(self._sections):
            told = self._lowest_told(section)
            if told is not None and told in over:
                self._drop.end(told)
                found.append(self._detection(step.time, section, told, seen, None))
            elif told is None and step.live and lost[index] and not any(lost[each] for each in section.fed_by):
                share_lost = np.nan_to_num(self._drop.value[section.places] / usual[section.places])
                place = int(section.places[int(np.argmax(share_lost))])
                self._drop.tell(place, _LEVEL)
                found.append(self._detection(step.time, section, place, seen, self._evidence(section, place, seen)))
        standing = [place for section in self._sections if (place := self._lowest_told(section)) is not None]
        spoilt = np.isin(np.arange(len(need)), standing)
        self._profile.drop(spoilt)
        self._profile.learn(step.time, pressure, fresh & ~self._drop.risen)
        return found

    def _is_lost(self, section: _Section, waited: NDArray[np.bool_]) -> bool:
        """Whether a place of a section has dropped for long enough, and as many of the others as it takes."""
        known = np.isfinite(self._drop.value[section.places])
        dropped = self._drop.risen[section.places] & known
        return bool(waited[section.places].any() and dropped.sum() >= SHARE * known.sum())

    def _lowest_told(self, section: _Section) -> int | None:
        """Return the place of a section that was told of."""
        told = section.places[self._drop.told[section.places] > 0]
        return int(told[0]) if len(told) else None

    def _evidence(self, section: _Section, place: int, seen: tuple[NDArray[np.float64], ...]) -> Evidence:
        """Return why a section has lost pressure; confidence: 0.5, and 0.4 times the share of places that dropped.

        The pipes nearest to the place that lost most are the candidates: by e less likely every `spread` metres.
        """
        dropped = [int(each) for each in section.places[self._drop.risen[section.places]]]
        known = int(np.isfinite(self._drop.value[section.places]).sum())
        facts = (
            Fact("fall", float(self._drop.value[place]), "pressure"),
            Fact("usual", float(seen[1][place]), "pressure"),
            Fact("neighbours", float(len(dropped) - 1)),
        )
        ordered = [place, *(each for each in dropped if each != place)]
        points = tuple(subject for each in ordered for subject in self._places.all[each].subjects)
        sure = 0.5 + 0.4 * len(dropped) / max(1, known)
        return Evidence("profile", round(sure, 2), self._near(place), facts, points)

    def _near(self, place: int) -> tuple[Candidate, ...]:
        graph = self._graph
        if graph is None:
            return ()
        top = self._places.all[place].top(graph)
        far = dijkstra(self._pipes, directed=False, indices=top, limit=NEAR_M)
        links = np.flatnonzero(graph.system == SYSTEMS.index(System.GAS))
        away = np.minimum(far[graph.start[links]], far[graph.end[links]]) + graph.length_m[links] / 2
        near = links[np.isfinite(away)]
        away = away[np.isfinite(away)]
        weight = np.exp(-away / self._limits.number(_RULE, "spread"))
        order = np.argsort(away, kind="stable")[:MOST]
        whole = float(weight.sum())
        return tuple(
            Candidate(AssetId(graph.links[int(near[n])]), float(weight[n]) / whole, round(float(away[n]), 1))
            for n in order.tolist()
        )

    def _detection(
        self, time: int, section: _Section, place: int, seen: tuple[NDArray[np.float64], ...], evidence: Evidence | None
    ) -> Detection:
        pressure, usual, sigma = (float(each[place]) for each in seen)
        known = np.isfinite(pressure) and np.isfinite(usual)
        return Detection(
            _subject(section),
            _RULE,
            DetectionKind.LINE_PRESSURE,
            active=evidence is not None,
            level=_LEVEL,
            time=time,
            value=pressure if known else None,
            expected=(usual - 2 * sigma, usual + 2 * sigma) if known else None,
            score=float(self._drop.value[place]) / sigma,
            quantity="pressure",
            evidence=evidence or Evidence(),
        )


def _subject(section: _Section) -> Subject:
    return Subject(f"asset:{section.name}")


def _sections(graph: Network, places: Places) -> tuple[list[_Section], csr_array[Any]]:
    """Return the sections of the gas network that are measured, and its open pipes as a matrix of lengths."""
    gas = graph.system == SYSTEMS.index(System.GAS)
    parting = graph.links_of(LinkKind.REGULATOR, LinkKind.COMPRESSOR)
    shut = graph.shut_link | graph.shut_node[graph.start] | graph.shut_node[graph.end]
    open_ = np.flatnonzero(gas & ~parting & ~shut)
    ends = (graph.start[open_], graph.end[open_])
    size = len(graph.nodes)
    pipes = csr_array((np.maximum(graph.length_m[open_], 0.1), ends), shape=(size, size))
    _, part = connected_components(pipes, directed=False)
    feeding = np.flatnonzero(gas & parting)
    measured = np.array([part[place.top(graph)] for place in places.all])
    numbers = {int(number): index for index, number in enumerate(np.unique(measured).tolist())}
    found: list[_Section] = []
    for number in numbers:
        feeders = feeding[part[graph.end[feeding]] == number]
        above = sorted({numbers[n] for n in part[graph.start[feeders]].tolist() if n in numbers and n != number})
        names = [graph.links[int(each)] for each in feeders] or [places.all[int(np.argmax(measured == number))].asset]
        found.append(_Section(AssetId(min(names)), np.flatnonzero(measured == number), tuple(above)))
    return found, pipes


__all__ = ["LinePressureDetector"]
