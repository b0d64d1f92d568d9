"""Evaluation: what detection is worth, on data whose truth is known.

A run feeds the data of a set to the same `Pipeline` that works live, batch by batch, and gathers what it says. Truth is
read by another process (`sensors.evaluation.truth`), which is given the claims and answers with the score: nothing of
the labels can reach a detector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Candidate, Subject
from sensors.detection.scope import Scope
from sensors.reading import Batch


@dataclass(frozen=True, slots=True)
class Claim:
    """What a run says: a condition that stood from `start` to `end` (ms, UTC; end None: still standing at the end)."""

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
    """Readings that quality control flagged: series numbers (n,), times (n,) ms, QARTOD flags (n,), test bits (n,)."""

    series: NDArray[np.int32]
    time: NDArray[np.int64]
    quality: NDArray[np.uint8]
    flags: NDArray[np.uint32]


class EvaluationSet(Protocol):
    """A public data set as devices would have measured it, without its labels."""

    def scope(self, data: Path) -> Scope:
        """Return the devices of the set and what is known of its network; `data` is the folder that holds it."""
        ...

    def batches(self, data: Path) -> Iterator[tuple[bool, Batch]]:
        """Yield (whether it is scored, batch) in time order: the training part first."""
        ...

    def rules(self) -> Mapping[str, Sequence[str]]:
        """Return which detectors run (`detectors`), and which kinds of detections count as claims (`kinds`)."""
        ...
