"""Detection: the protocol that every detector keeps, and what a detector says.

A detector is causal: its output on the first n batches never depends on a later one. It is built from the series it
watches and its own settings; labels, scenarios and the city's faults never reach it.

An entry point of the group ``chengmai.detectors`` names a class with a class method
``build(devices: Sequence[Device], limits: Limits) -> Detector`` (`pipeline.DetectorFactory`); its contract suite is
`checks`. A reading may come again or late: one not newer than the newest of its series changes no state. Readings of
`history` are learnt from and raise nothing; readings flagged FAIL or MISSING feed no baseline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, Protocol, TypeAlias

from sensors.reading import Batch

Subject = NewType("Subject", str)
"""What it is about: ``point:{device}/{point}``, ``device:{device}``, ``ingest:{district}``, ``asset:…``, ``zone:…``."""

Key: TypeAlias = tuple[Subject, str]
"""Subject and rule: they name a condition, and an open alarm is unique by them."""


class DetectionKind(StrEnum):
    """What was found; INGEST by ingest about itself (`sensors.ingest_alarm`), everything else by detectors."""

    LIMIT = "limit"
    SILENCE = "silence"
    FLAT_LINE = "flat_line"
    RATE_OF_CHANGE = "rate_of_change"
    SEASONAL = "seasonal"
    INGEST = "ingest"


@dataclass(frozen=True, slots=True)
class Detection:
    """A condition that became abnormal (`active`) or normal again.

    One detection stands for a change of condition, never for a sample. `rule` and `subject` together name the
    condition. `time` is the city's time in milliseconds at which the condition changed; `level` 1 (red, worst) to 4
    (blue). `value`, `limit` and the `expected` band are SI; `score` is the detector's own, higher is stranger.
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


__all__ = ["Detection", "DetectionKind", "Detector", "Key", "Subject"]
