"""Truth of the set gecco: the labelled events, and precision, recall and F1 over the minutes of the scored part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.evaluation import Claim, Flagged
from sensors.evaluation.gecco_files import events, training_rows
from twin.errors import InputError


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
    """Return how well the minutes at which a claim stood are those of the events; an event is found by one of them."""
    del flagged, seed, train, test, shared
    time, event = _scored(data)
    alarm = np.zeros(len(time), np.bool_)
    for claim in claims:
        alarm |= (time >= claim.start) & (time < (claim.end if claim.end is not None else np.inf))
    hits = int((alarm & event).sum())
    precision, recall = hits / max(1, int(alarm.sum())), hits / int(event.sum())
    edges = np.flatnonzero(np.diff(np.concatenate([[0], event.astype(np.int8), [0]]))).reshape(-1, 2)
    found = sum(bool(alarm[first:last].any()) for first, last in edges)
    return {
        "event_recall": round(found / len(edges), 4),
        "precision": round(precision, 4),
        "recall": round(recall, 4),
        "f1": round(2 * precision * recall / max(1e-12, precision + recall), 4),
        "events_found": found,
        "events": len(edges),
    }


@cache
def _scored(data: Path) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times and labels of the scored rows."""
    time, event = events(data)
    first = training_rows(len(time))
    if not event[first:].any():
        raise InputError("has no events to find", where=str(data), expected="a labelled part of GECCO 2018")
    return time[first:], event[first:]
