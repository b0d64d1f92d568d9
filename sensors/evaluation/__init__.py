"""Evaluation: what detection is worth, on data whose truth is known.

A run (`run.evaluate`) feeds the data of a set to the same `Pipeline` that works live, batch by batch, and gathers what
it says as claims. Truth is read by another process (`truth`), which is given the claims and answers with the score:
nothing of the labels can reach a detector. Two controls are scored by the same truth in the same run: random claims of
the same number and lengths, and alarms that always stand (`controls`).

A set called NAME is two modules: ``sensors.evaluation.NAME`` has a class `SET` made with `Options` that keeps the
protocol `EvaluationSet`; ``sensors.evaluation.truth.NAME`` has the functions that `truth` describes. Neither imports
the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Candidate, DetectionKind, Subject
from sensors.detection.scope import Scope
from sensors.reading import Batch

SETS: Mapping[str, str] = {
    "ltown": "ltown",
    "batadal": "batadal",
    "gecco": "gecco2018",
    "pyhydroqc": "pyhydroqc",
    "bwdf": "bwdf",
    "district": "",
}
"""The sets by name, each with its folder under ``timeseries`` of the shared data ("": made when asked)."""


class Claim(msgspec.Struct, frozen=True):
    """What a run says: a condition that was told at `start` and taken back at `end` (ms, UTC; None: it still stands).

    Both are the time at which the batch was handed over whose detection said so, never a time that the detector dates
    it back to. One that stands when the scored part begins starts there.
    """

    subject: Subject
    rule: str
    kind: str
    start: int
    end: int | None
    level: int
    score: float
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True)
class Flagged:
    """Readings that quality control flagged: series numbers (n,), times (n,) ms, QARTOD flags (n,), test bits (n,).

    In the order of their series, and of their times within one.
    """

    series: NDArray[np.int32]
    time: NDArray[np.int64]
    quality: NDArray[np.uint8]
    flags: NDArray[np.uint32]


class Options(msgspec.Struct, frozen=True):
    """What a run is asked for beside its data; a set takes what it knows.

    `seed` of whatever is drawn (injected faults, random claims); `train` and `test` name files of `batadal` in place of
    its own; `shared` is the folder of shared data (networks).
    """

    seed: int = 0
    train: Path | None = None
    test: Path | None = None
    shared: Path | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What of a run counts: the detectors that run and the kinds that are claims.

    Detectors are named as their entry points are; ``fusion`` among them fuses what they say. Quality always goes first.
    With `flagged`, the readings that quality control flags (SUSPECT or worse) are given to the truth as well. The
    always-alarm control is told anew every `renewed` (None: once, and it stands), so that a truth which counts onsets
    cannot take a single one for cheap.
    """

    detectors: Sequence[str]
    kinds: Sequence[DetectionKind]
    flagged: bool = False
    renewed: timedelta | None = None


class EvaluationSet(Protocol):
    """A data set as devices would have measured it, without its labels; made with `Options`."""

    def scope(self, data: Path) -> Scope:
        """Return the devices of the set and what is known of its network; `data` is the folder that holds it.

        InputError naming the file where the folder is not of the set's layout.
        """
        ...

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        """Yield (whether it is scored, batch) in time order, a batch a time step: the training part first."""
        ...

    def rules(self) -> Rules:
        """Return what runs, and what counts."""
        ...


__all__ = ["SETS", "Claim", "EvaluationSet", "Flagged", "Options", "Rules"]
