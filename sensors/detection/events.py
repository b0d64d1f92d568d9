"""What compiled detectors write down: one row a change of condition, turned into a Detection afterwards."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection import NO_EVIDENCE, Detection, DetectionKind, Evidence, Fact
from sensors.detection.series import Series

COLUMNS = 7
"""Row of the detector (a series number, or a channel), side or step (0: normal again), time in ms since 1970, value,
low and high end of what was expected (NaN: none), score."""


def room(readings: int) -> NDArray[np.float64]:
    """Return room for one change a reading."""
    return np.empty((readings, COLUMNS))


@numba.njit(cache=True)
def note(events: Any, count: int, change: Any) -> int:  # pragma: no cover  # compiled
    """Write one change, a tuple in the order of the columns, after the first `count`; return how many there are now."""
    event = events[count]
    event[0], event[1], event[2], event[3], event[4], event[5], event[6] = change
    return count + 1


def detection(
    event: NDArray[np.float64], series: Series, kind: DetectionKind, level: int, evidence: Evidence = NO_EVIDENCE
) -> Detection:
    """Return the detection of one row about a whole series; its rule bears the name of its kind."""
    low, high = float(event[4]), float(event[5])
    return Detection(
        series.subject,
        kind.value,
        kind,
        active=bool(event[1]),
        level=level,
        time=int(event[2]),
        value=float(event[3]),
        expected=None if np.isnan(low) else (low, high),
        score=float(event[6]),
        quantity=series.quantity,
        evidence=evidence,
    )


def band_evidence(event: NDArray[np.float64], series: Series, basis: str, threshold: float) -> Evidence:
    """Return why a value outside the band of one row was found: the middle of the band is what is usual.

    The score says how far outside; confidence is a half at `threshold`, and each further one halves the doubt.

    >>> from sensors.device import DeviceId
    >>> series = Series(DeviceId("D"), "pressure", "pressure")
    >>> evidence = band_evidence(np.array([0, 1, 0, 4.0, 1.0, 3.0, 12.0]), series, "profile", threshold=6.0)
    >>> evidence.confidence, evidence.facts[0].name, evidence.facts[0].value
    (0.75, 'usual', 2.0)
    """
    usual = Fact("usual", float(event[4] + event[5]) / 2, series.quantity)
    return Evidence(basis, 1.0 - 0.5 ** (float(event[6]) / threshold), facts=(usual,), points=(series.subject,))
