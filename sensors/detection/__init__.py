"""Detection: the protocol that every detector keeps, and what a detector says.

A detector is causal: its output on the first n batches never depends on a later one. It is built from the series it
watches and its own settings; labels, scenarios and the city's faults never reach it.

An entry point of the group ``chengmai.detectors`` names a class with a class method ``build(scope: Scope) -> Detector``
(`pipeline.DetectorFactory`, `scope.Scope`); its contract suite is `checks`. Where a detector lacks what it works with
(a network without hydraulics), `build` raises UnavailableError with the reason, and the layer is off, aloud. A reading
may come again or late: one not newer than the newest of its series changes no state. Readings of `history` are learnt
from and raise nothing; readings flagged FAIL or MISSING feed no baseline.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NewType, Protocol, TypeAlias

from sensors.reading import Batch
from twin.asset import AssetId

Subject = NewType("Subject", str)
"""What it is about: ``point:{device}/{point}``, ``device:{device}``, ``ingest:{district}``, ``asset:…``, ``zone:…``."""

Key: TypeAlias = tuple[Subject, str]
"""Subject and rule: they name a condition, and an open alarm is unique by them."""


class DetectionKind(StrEnum):
    """What was found; INGEST by ingest about itself (`sensors.ingest_alarm`), everything else by detectors.

    Of single series: LIMIT to SEASONAL. Of a device that cannot be believed: QUALITY (its rule names the test). Of the
    networks: LEAK (pressure residual), BALANCE and NIGHT_FLOW (of a metered zone), BLOCKAGE, INFILTRATION and
    ILLICIT_DISCHARGE (drains), GAS_LEAK, BIOGAS, LINE_PRESSURE (gas). Of many series at once: INTEGRITY (readings that
    contradict one another), WATER_QUALITY. FINDING is what fusion makes of several.
    """

    LIMIT = "limit"
    SILENCE = "silence"
    FLAT_LINE = "flat_line"
    RATE_OF_CHANGE = "rate_of_change"
    SEASONAL = "seasonal"
    QUALITY = "quality"
    LEAK = "leak"
    BALANCE = "balance"
    NIGHT_FLOW = "night_flow"
    BLOCKAGE = "blockage"
    INFILTRATION = "infiltration"
    ILLICIT_DISCHARGE = "illicit_discharge"
    GAS_LEAK = "gas_leak"
    BIOGAS = "biogas"
    LINE_PRESSURE = "line_pressure"
    INTEGRITY = "integrity"
    WATER_QUALITY = "water_quality"
    FINDING = "finding"
    INGEST = "ingest"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An asset that may be the cause: `weight` (0 to 1, all candidates of one detection sum to at most 1).

    `distance_m` is how far along the pipes the asset lies from the place that the detection is about, where known.
    """

    asset: AssetId
    weight: float
    distance_m: float | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A number that a person should read: `value` SI of `quantity` (of the catalogue; "" for a bare number).

    `name` is a word of `sensors.wording.FACTS`: loss, inflow, usual, rain, rise, …
    """

    name: str
    value: float
    quantity: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why a detection was made, for a person who has to believe it.

    `basis` names the baseline that the expectation comes from (limit, profile, recent, model, neighbours, balance,
    rain, calibration); a finding's is that of its strongest sign. `confidence` is 0 to 1, by the detector's stated
    rule. `candidates` are the likeliest causes, best first. `members` are the conditions that were fused into this
    one; `points` the subjects whose readings speak, strongest first.
    """

    basis: str = ""
    confidence: float = 0.5
    candidates: tuple[Candidate, ...] = ()
    facts: tuple[Fact, ...] = ()
    points: tuple[Subject, ...] = ()
    members: tuple[Key, ...] = ()


NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True)
class Detection:
    """A condition that became abnormal (`active`) or normal again.

    One detection stands for a change of condition, never for a sample. `rule` and `subject` together name the
    condition. `time` is the city's time in milliseconds at which the condition changed; `level` 1 (red, worst) to 4
    (blue). `value`, `limit` and the `expected` band are SI; `score` is the detector's own, higher is stranger.
    `evidence` says why.
    """

    subject: Subject
    rule: str
    kind: DetectionKind
    active: bool
    level: int
    time: int
    value: float | None = None
    limit: float | None = None
    expected: tuple[float, float] | None = None
    score: float = 0.0
    quantity: str = ""
    evidence: Evidence = NO_EVIDENCE


def finite(said: Detection) -> Detection:
    """Return a detection without the numbers that are none (NaN, infinite), which nobody could store or read.

    >>> odd = Detection(Subject("point:P-1/flow"), "odd", DetectionKind.SEASONAL, active=True, level=3, time=0,
    ...                 value=float("nan"), score=float("inf"), evidence=Evidence(facts=(Fact("loss", float("nan")),)))
    >>> finite(odd).value, finite(odd).score, finite(odd).evidence.facts
    (None, 0.0, ())
    """
    why, band = said.evidence, said.expected
    numbers = [each for each in (said.value, said.limit, *(band or ())) if each is not None]
    numbers += [said.score, why.confidence, *(fact.value for fact in why.facts)]
    numbers += [each for place in why.candidates for each in (place.weight, place.distance_m or 0.0)]
    if all(map(math.isfinite, numbers)):
        return said
    near = [place for place in why.candidates if math.isfinite(place.weight)]
    return replace(
        said,
        value=_finite(said.value),
        limit=_finite(said.limit),
        expected=band if band and all(map(math.isfinite, band)) else None,
        score=_finite(said.score) or 0.0,
        evidence=replace(
            why,
            confidence=_finite(why.confidence) or 0.0,
            candidates=tuple(replace(place, distance_m=_finite(place.distance_m)) for place in near),
            facts=tuple(fact for fact in why.facts if math.isfinite(fact.value)),
        ),
    )


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


class Detector(Protocol):
    """A plug-in that finds one kind of abnormality (entry point group ``chengmai.detectors``)."""

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch (several readings of one series may be in it, in time order) and say what changed."""
        ...

    def save(self) -> bytes:
        """Return the whole state; a detector that loads it goes on as if nothing had happened."""
        ...

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`, and return the conditions that it now holds to be abnormal.

        Those of a device, point or rule that is gone are not among them: nobody would ever say that they are over.
        """
        ...


__all__ = [
    "NO_EVIDENCE",
    "Candidate",
    "Detection",
    "DetectionKind",
    "Detector",
    "Evidence",
    "Fact",
    "Key",
    "Subject",
    "finite",
]
