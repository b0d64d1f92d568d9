"""Truth of pyhydroqc: the flags of the technicians who corrected the series, and how flagged readings count.

What is labelled is what the set's own package calls so (github.com/AmberSJones/pyhydroqc, `get_data` and
`add_labels`): a qualifier, a value of -9999 raw or corrected, or no corrected value. As there, labels are widened by one
reading to both sides, and a labelled event of which any reading is flagged is found with all of its readings
(`anomaly_events`, `compare_events`). The package also counts everything that is flagged in one run with such an event
as right, so that flagging every reading would score 1; here each flagged reading that is not labelled counts against.
`f1_package` is the package's own figure, `f1_readings` that of single readings, without widening or events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.evaluation import Claim, Flagged
from sensors.evaluation.pyhydroqc_files import MEASURED, files, numbers, read, training

_NO_DATA = -9999.0
WIDENED = 1
"""Readings by which labels and flags reach further on both sides (the package's `wf`)."""


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
    """Return precision, recall and F1 of `flagged` over the scored part of all rivers and columns.

    ``event_recall`` is the share of labelled events of which any reading is flagged; `by_column` are F1s of the
    columns. What asks for a choice is left aside: there is none.
    """
    del claims, seed, train, test, shared
    if flagged is None:
        return {}
    totals = _Counts()
    by_column: dict[str, _Counts] = {name: _Counts() for name in MEASURED}
    for number, (times, labelled) in enumerate(_labels(data)):
        mine = flagged.time[flagged.series == number]
        at = np.zeros(len(times), np.bool_)
        place = np.minimum(np.searchsorted(times, mine), len(times) - 1)
        at[place[times[place] == mine]] = True
        counts = _counts(labelled, at)
        totals += counts
        by_column[MEASURED[number % len(MEASURED)]] += counts
    return {
        "event_recall": _share(totals.events_found, totals.events_missed),
        "precision": _share(totals.right, totals.wrong),
        "recall": _share(totals.right, totals.missed),
        "f1": totals.f1,
    }
