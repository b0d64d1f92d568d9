"""Truth of the set batadal: the labelled attacks, and the score of the competition.

S = (S_TTD + S_CLF) / 2; S_TTD = 1 − mean over attacks of time to detection by duration; S_CLF = (TPR + TNR) / 2, over
hours (Taormina et al., 2018, equations 1 to 5). The labels are the file's own (1: under attack). Where the file is the
one that the participants had, with its hours unlabelled (−999), the attacks of data set 4 are the hours that the
organiser's labelled copy gives; nobody has held them against the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.evaluation import Claim, Flagged, Options
from sensors.evaluation.batadal_files import labels, test_file
from twin.errors import InputError

_UNLABELLED = -999
_PUBLISHED = (
    ("2016-09-13T23", "2016-09-16T00"),
    ("2016-09-26T11", "2016-09-27T10"),
    ("2016-10-09T09", "2016-10-11T20"),
    ("2016-10-29T19", "2016-11-02T16"),
    ("2016-11-26T17", "2016-11-29T04"),
    ("2016-12-06T07", "2016-12-10T04"),
    ("2016-12-14T15", "2016-12-19T04"),
)
"""First and last hours of the attacks of data set 4."""


def score(
    data: Path,
    claims: Sequence[Claim],
    flagged: Flagged | None,
    *,
    seed: int,
    train: Path | None,
    test: Path | None,
    shared: Path | None,
) -> Mapping[str, Any]:
    """Return the competition's score of the hours at which any claim stood."""
    del flagged, seed, shared
    time, attacked = _labels(test_file(data, Options(train=train, test=test)))
    alarm = np.zeros(len(time), np.bool_)
    for claim in claims:
        alarm |= (time >= claim.start) & (time < (claim.end if claim.end is not None else np.inf))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], attacked.astype(np.int8), [0]])))
    attacks = edges.reshape(-1, 2)
    late = [_late(alarm[first:last]) for first, last in attacks]
    tpr, tnr = float(alarm[attacked].mean()), float((~alarm[~attacked]).mean())
    s_ttd, s_clf = 1.0 - float(np.mean(late)), (tpr + tnr) / 2
    return {
        "s": round((s_ttd + s_clf) / 2, 4),
        "s_ttd": round(s_ttd, 4),
        "s_clf": round(s_clf, 4),
        "tpr": round(tpr, 4),
        "tnr": round(tnr, 4),
        "attacks_found": sum(bool(alarm[first:last].any()) for first, last in attacks),
        "attacks": len(attacks),
    }


def _late(alarm: NDArray[np.bool_]) -> float:
    """Return the share of an attack that went by before the first hour of alarm."""
    return float(alarm.argmax() / len(alarm)) if alarm.any() else 1.0


@cache
def _labels(file: Path) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the times and which of them are under attack."""
    time, label = labels(file)
    attacked = label == 1
    if (label == _UNLABELLED).any():
        attacked = np.zeros(len(time), np.bool_)
        for first, last in _PUBLISHED:
            attacked |= (time >= _ms(first)) & (time <= _ms(last))
    if not attacked.any() or attacked.all():
        raise InputError("has no attacks, or nothing else", where=str(file), expected="a test file of BATADAL")
    return time, attacked


def _ms(hour: str) -> int:
    return round(datetime.fromisoformat(f"{hour}:00").replace(tzinfo=UTC).timestamp() * 1000)
