"""Thresholds with hysteresis: from a number that wavers to an alarm level that does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Mark(NamedTuple):
    """From `reach` on a number means `level` (1 worst to 4), until it is below `leave` again."""

    reach: float
    leave: float
    level: int


@dataclass(frozen=True, slots=True)
class Scale:
    """Marks, the mildest first. A level is left for a milder one after `settle_s` seconds of a number below it."""

    marks: tuple[Mark, ...]
    settle_s: float = 10.0


class Threshold:
    """Follows one number along a scale; `level` is where it stands, None for nothing wrong.

    >>> disk = Threshold(Scale((Mark(0.8, 0.78, 3), Mark(0.9, 0.88, 2))))
    >>> [disk.follow(share, at_s) for at_s, share in enumerate([0.7, 0.81, 0.79, 0.95])]
    [None, 3, 3, 2]
    """

    def __init__(self, scale: Scale, level: int | None = None) -> None:
        self.level = level
        self._scale = scale
        self._milder_since: float | None = None

    def follow(self, value: float, at_s: float) -> int | None:
        """Take in the number as it is `at_s` (monotonic seconds), and return the level."""
        wanted = self._wanted(value)
        if wanted == self.level:
            self._milder_since = None
        elif self.level is None or (wanted is not None and wanted < self.level):
            self.level, self._milder_since = wanted, None
        elif self._milder_since is None:
            self._milder_since = at_s
        elif at_s - self._milder_since >= self._scale.settle_s:
            self.level, self._milder_since = wanted, None
        return self.level

    def _wanted(self, value: float) -> int | None:
        reached = [mark.level for mark in self._scale.marks if value >= mark.reach]
        held = [mark.level for mark in self._scale.marks if mark.level == self.level and value >= mark.leave]
        return min(reached + held, default=None)


__all__ = ["Mark", "Scale", "Threshold"]
