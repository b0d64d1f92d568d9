"""Controls: what anybody would score who knows nothing, from the same run and by the same truth.

A score without them says little: "always alarm" reaches F1 0.698 on SKAB and S 0.750 on BATADAL, and thirty random
detections 18 to 23 % of the perfect € of L-TOWN.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Candidate, Subject
from sensors.detection.scope import Scope
from sensors.evaluation import Claim, Flagged
from sensors.reading import Quality
from twin.asset import AssetId, asset_id
from twin.readers.inp import read_inp

DRAWS = 20
"""Random runs that the control is the mean of."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a claim could be about: the scored time (ms), the pipes that could be named, and the subjects."""

    start: int
    end: int
    pipes: Sequence[AssetId]
    subjects: Mapping[str, Sequence[Subject]]

    @classmethod
    def of(cls, scope: Scope, start: int, end: int) -> Field:
        """Return the field of a run: pipes of its hydraulics (else assets of its devices), points and devices."""
        pipes = [
            asset_id(source, "link", line.text(0, "name"))
            for source, path in sorted(scope.hydraulics.items())
            for line in read_inp(path, ("PIPES",)).lines("PIPES")
        ]
        devices = [device for device in scope.devices if not device.retired]
        places = pipes or sorted({device.asset for device in devices if device.asset is not None})
        points = [Subject(f"point:{device.id}/{point.name}") for device in devices for point in device.points]
        return cls(
            start,
            end,
            places,
            {
                "asset": [Subject(f"asset:{place}") for place in places],
                "device": [Subject(f"device:{device.id}") for device in devices],
                "point": points,
            },
        )


def random_claims(claims: Sequence[Claim], field: Field, rng: np.random.Generator) -> list[Claim]:
    """Return as many claims of the same lengths, at random times, on random subjects, with random candidates."""
    return [_moved(claim, field, rng, _alike(claim, claims, field)) for claim in claims]


def flagged(readings: Flagged) -> Flagged:
    """Return those of `readings` that are SUSPECT or worse."""
    bad = readings.quality >= Quality.SUSPECT
    return Flagged(readings.series[bad], readings.time[bad], readings.quality[bad], readings.flags[bad])


def random_flags(readings: Flagged, rng: np.random.Generator) -> Flagged:
    """Return all that was scored with the flags of every series turned round it at random: runs stay as long."""
    where = np.arange(len(readings.series))
    for number in np.unique(readings.series):
        own = np.flatnonzero(readings.series == number)
        where[own] = np.roll(own, int(rng.integers(len(own))))
    return replace(readings, quality=readings.quality[where], flags=readings.flags[where])


def always_claims(claims: Sequence[Claim], field: Field, renewed: timedelta | None) -> list[Claim]:
    """Return a claim at everything that a claim of the run could be about, standing all of the scored time.

    It is of the kind that the run claimed most of such subjects; where it claimed nothing, at every device.
    """
    prefixes = Counter(_prefix(claim.subject) for claim in claims) or {"device": 1}
    pipes = {f"asset:{pipe}": pipe for pipe in field.pipes}
    found: list[Claim] = []
    for prefix in sorted(prefixes):
        like = _commonest([claim for claim in claims if _prefix(claim.subject) == prefix])
        for subject in field.subjects.get(prefix) or _pooled(prefix, claims):
            named = _itself(pipes.get(subject))
            found += [
                msgspec.structs.replace(like, subject=subject, start=start, end=end, candidates=named)
                for start, end in _turns(field, renewed)
            ]
    return found


def always_flags(readings: Flagged) -> Flagged:
    """Return every reading as failed."""
    return replace(readings, quality=np.full(len(readings.series), Quality.FAIL, np.uint8))


def mean(scores: Sequence[Mapping[str, object]]) -> dict[str, float | None]:
    """Return the mean of every number that the scores have; None where no score has one."""
    names = [name for name, value in scores[0].items() if value is None or _is_number(value)]
    found: dict[str, float | None] = {}
    for name in names:
        values: NDArray[np.float64] = np.array([s[name] for s in scores if _is_number(s.get(name))], np.float64)
        found[name] = round(float(values.mean()), 4) if len(values) else None
    return found


def _moved(claim: Claim, field: Field, rng: np.random.Generator, subjects: Sequence[Subject]) -> Claim:
    length = (field.end if claim.end is None else claim.end) - claim.start
    start = field.start + int(rng.integers(max(1, field.end - field.start - length)))
    candidates = tuple(
        Candidate(field.pipes[int(rng.integers(len(field.pipes)))], candidate.weight)
        for candidate in claim.candidates
        if field.pipes
    )
    subject = subjects[int(rng.integers(len(subjects)))]
    if candidates and _prefix(subject) == "asset":
        subject = Subject(f"asset:{candidates[0].asset}")
    return msgspec.structs.replace(claim, subject=subject, start=start, end=start + length, candidates=candidates)


def _alike(claim: Claim, claims: Sequence[Claim], field: Field) -> Sequence[Subject]:
    """Return the subjects that the claim could have been about as well: zones and the like only as far as claimed."""
    prefix = _prefix(claim.subject)
    return field.subjects.get(prefix) or _pooled(prefix, claims)


def _commonest(claims: Sequence[Claim]) -> Claim:
    if not claims:
        return Claim(Subject(""), "always", "", 0, None, 1, 0.0)
    kind, _ = Counter(claim.kind for claim in claims).most_common(1)[0]
    return next(claim for claim in claims if claim.kind == kind)


def _pooled(prefix: str, claims: Sequence[Claim]) -> list[Subject]:
    return sorted({claim.subject for claim in claims if _prefix(claim.subject) == prefix})


def _prefix(subject: Subject) -> str:
    return subject.partition(":")[0]


def _itself(pipe: AssetId | None) -> tuple[Candidate, ...]:
    return () if pipe is None else (Candidate(pipe, 1.0, 0.0),)


def _turns(field: Field, renewed: timedelta | None) -> Iterator[tuple[int, int | None]]:
    if renewed is None:
        yield field.start, None
        return
    step = round(renewed.total_seconds() * 1000)
    for start in range(field.start, field.end, step):
        yield start, min(start + step, field.end)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


__all__ = ["DRAWS", "Field", "always_claims", "always_flags", "flagged", "mean", "random_claims", "random_flags"]
