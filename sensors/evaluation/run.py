"""A run: the data of a set through the live pipeline, what it says as claims, and the score with its controls."""

from __future__ import annotations

import hashlib
import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Key
from sensors.detection.pipeline import FUSION, GROUP, Pipeline
from sensors.detection.scope import Scope
from sensors.evaluation import SETS, Claim, EvaluationSet, Flagged, Options, Rules, controls
from sensors.evaluation.judge import Judge
from sensors.quality import Quality
from sensors.reading import Batch
from twin.errors import InputError, SettingsError

_RANDOM = 5
"""Keeps the draws of the control apart from what a set draws with the same seed."""


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """The score of a run, those of its controls, and what was run.

    `training` and `scored` are hashes of the readings of both parts as the detectors saw them; `degraded` the
    detectors that were off, and why. `readings` were fed in `seconds`. `said` are the claims themselves.
    """

    set: str
    score: dict[str, Any]
    random_control: dict[str, Any]
    always_control: dict[str, Any]
    claims: int
    readings: int
    seconds: float
    training: str
    scored: str
    degraded: dict[str, str]
    said: tuple[Claim, ...] = ()


@dataclass(slots=True)
class _Said:
    """What the pipeline said: conditions that stand, and claims."""

    kinds: frozenset[str]
    standing: dict[Key, Claim] = field(default_factory=dict[Key, Claim])
    over: list[Claim] = field(default_factory=list[Claim])

    def take(self, detections: Sequence[Detection], now: int) -> None:
        """Take in what was said when the batch of `now` was handed over; a change of level goes on with the claim."""
        for each in detections:
            key = (each.subject, each.rule)
            if each.kind not in self.kinds:
                continue
            before = self.standing.pop(key, None)
            if each.active:
                self.standing[key] = _claim(each, now) if before is None else _worse(before, each)
            elif before is not None:
                self.over.append(msgspec.structs.replace(before, end=now))

    def claims(self, start: int) -> list[Claim]:
        """Return the claims of the scored part, which begins at `start`, in time order."""
        found = [claim for claim in self.over if claim.end is None or claim.end > start]
        found += self.standing.values()
        clipped = [msgspec.structs.replace(claim, start=max(start, claim.start)) for claim in found]
        return sorted(clipped, key=lambda claim: (claim.start, claim.subject, claim.rule))


@dataclass(slots=True)
class _Seen:
    """What went by: the hashes of both parts, their times, and the flags of the scored readings where they count."""

    start: int | None = None
    end: int = 0
    readings: int = 0
    parts: tuple[Any, Any] = field(default_factory=lambda: (hashlib.sha256(), hashlib.sha256()))
    flagged: list[Batch] = field(default_factory=list[Batch])

    def take(self, batch: Batch, *, scored: bool) -> None:
        for column in (batch.series, batch.time, batch.value):
            self.parts[scored].update(np.ascontiguousarray(column).data)
        self.readings += len(batch)
        if scored:
            self.start = batch.now if self.start is None else self.start
            self.end = batch.now

    def flags(self) -> Flagged:
        """Return all scored readings with their flags, by series and time."""
        series = np.concatenate([batch.series for batch in self.flagged])
        times = np.concatenate([batch.time for batch in self.flagged])
        order = np.lexsort((times, series))
        quality = np.concatenate([batch.quality for batch in self.flagged])
        return Flagged(
            series[order], times[order], quality[order], np.concatenate([_bits(b) for b in self.flagged])[order]
        )


def evaluate(name: str, data: Path, options: Options) -> Result:
    """Run the set `name` on the folder `data`, and score it.

    InputError for data that is not of the set's layout, or a set that nobody knows; SettingsError where a detector of
    the set is not installed; UnavailableError where the truth process fails.
    """
    found = open_set(name, options)
    rules = found.rules()
    with Judge(name, data, options) as judge:
        scope = found.scope(judge.data)
        began = time.perf_counter()
        said, seen, degraded = _feed(found.batches(judge.data), scope, rules)
        seconds = time.perf_counter() - began
        if seen.start is None:
            raise InputError("holds nothing to score", where=str(data), expected=f"the data of {name}")
        claims = said.claims(seen.start)
        readings = seen.flags() if rules.flagged else None
        where = controls.Field.of(scope, seen.start, seen.end)
        return Result(
            set=name,
            score=judge.score(claims, readings and controls.flagged(readings)),
            random_control=_random(judge, claims, readings, where, options.seed),
            always_control=judge.score(
                controls.always_claims(claims, where, rules.renewed), readings and controls.always_flags(readings)
            ),
            claims=len(claims),
            readings=seen.readings,
            seconds=round(seconds, 1),
            training=seen.parts[0].hexdigest(),
            scored=seen.parts[1].hexdigest(),
            degraded=degraded,
            said=tuple(claims),
        )


def evaluate_seeds(
    name: str,
    data: Path,
    options: Options,
    seeds: int,
    *,
    processes: int = 2,
    begin: Callable[[], None] | None = None,
) -> Result:
    """Run a set over `seeds` seeds from that of `options` on, and return their common result; errors as of `evaluate`.

    Its truth module says how scores add up. `begin` is called in each process first: it sets up the logs there.
    """
    total = import_module(f"sensors.evaluation.truth.{name}").total
    asked = [msgspec.structs.replace(options, seed=options.seed + number) for number in range(seeds)]
    with ProcessPoolExecutor(min(processes, seeds), multiprocessing.get_context("spawn"), begin) as pool:
        results = list(pool.map(partial(evaluate, name, data), asked))
    return Result(
        set=name,
        score=dict(total([result.score for result in results])),
        random_control=dict(total([result.random_control for result in results])),
        always_control=dict(total([result.always_control for result in results])),
        claims=sum(result.claims for result in results),
        readings=sum(result.readings for result in results),
        seconds=round(sum(result.seconds for result in results), 1),
        training=_together(result.training for result in results),
        scored=_together(result.scored for result in results),
        degraded={name: reason for result in results for name, reason in result.degraded.items()},
        said=tuple(claim for result in results for claim in result.said),
    )


def open_set(name: str, options: Options) -> EvaluationSet:
    """Return the set called `name`; InputError for one that nobody knows."""
    if name not in SETS:
        raise InputError(f"no set is called {name!r}", expected=", ".join(SETS))
    return import_module(f"sensors.evaluation.{name}").SET(options)


def _feed(batches: Iterator[tuple[bool, Batch]], scope: Scope, rules: Rules) -> tuple[_Said, _Seen, dict[str, str]]:
    """Hand every batch to the pipeline, as a live worker does, and keep what it says."""
    installed = {FUSION, *(point.name for point in entry_points(group=GROUP))}
    missing = set(rules.detectors) - installed
    if missing:
        raise SettingsError(f"no detector is called {min(missing)!r}", expected=", ".join(sorted(installed)))
    fused = DetectionKind.FINDING in rules.kinds  # else each layer is scored by what it says itself
    off = sorted(installed - set(rules.detectors)) + ([] if fused else [FUSION])
    pipeline = Pipeline.build(scope, disabled=off)
    quality = Quality.build(scope) if rules.flagged else None  # the pipeline's own flags stay inside it
    said, seen = _Said(frozenset(rules.kinds)), _Seen()
    for scored, batch in batches:
        seen.take(batch, scored=scored)
        said.take(pipeline.update(batch), batch.now)
        if quality is not None:
            checked, _ = quality.check(batch)
            seen.flagged += [checked] * scored
    return said, seen, dict(pipeline.degraded)


def _random(
    judge: Judge, claims: Sequence[Claim], readings: Flagged | None, where: controls.Field, seed: int
) -> dict[str, Any]:
    scores: list[dict[str, Any]] = []
    for draw in range(controls.DRAWS):
        rng = np.random.default_rng([seed, _RANDOM, draw])
        drawn = controls.random_claims(claims, where, rng)
        scores.append(judge.score(drawn, readings and controls.flagged(controls.random_flags(readings, rng))))
    return controls.mean(scores)


def _claim(said: Detection, now: int) -> Claim:
    return Claim(said.subject, said.rule, said.kind.value, now, None, said.level, said.score, said.evidence.candidates)


def _worse(before: Claim, said: Detection) -> Claim:
    """Return a claim that goes on: its worst level and highest score; its candidates stay those first named."""
    return msgspec.structs.replace(
        before,
        level=min(before.level, said.level),
        score=max(before.score, said.score),
        candidates=before.candidates or said.evidence.candidates,
    )


def _together(hashes: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _bits(batch: Batch) -> NDArray[np.uint32]:
    return np.zeros(len(batch), np.uint32) if batch.flags is None else batch.flags


__all__ = ["Result", "evaluate", "evaluate_seeds", "open_set"]
