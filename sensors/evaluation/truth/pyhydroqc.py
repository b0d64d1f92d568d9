"""Truth of pyhydroqc: the flags of the technicians who corrected the series, and how flagged readings count.

What is labelled is what the set's own package calls so (github.com/AmberSJones/pyhydroqc, `get_data` and
`add_labels`): a qualifier, a value of -9999 raw or corrected, or no corrected value. As there, labels and flags are
widened by one reading to both sides, and what is then connected is an event (`anomaly_events`).

The package counts all readings of an event as right if any of them is flagged (`compare_events`): a few labels of
weeks, after calibrations, then decide everything, and flagging every reading scores 0.95. Events that count once each
(`event_metrics`) are no better, since one flag over all is one event. So the figure here is the composite F1 of Garg et
al. ("An Evaluation of Anomaly Detection and Diagnosis in Multivariate Time Series", IEEE TNNLS 33, 2022): recall is the
share of labelled events of which any reading is flagged, precision the share of flagged readings that are within a
label. Neither random flags nor flags on everything score in it. `f1_package` and `f1_readings` (single readings,
neither widened nor in events) stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    `recall` is that of events. Names that end in package or readings are by the other rules, `by_column` has the F1 of
    each column. What asks for a choice is left aside: there is none.
    """
    del claims, seed, train, test, shared
    if flagged is None:
        return {}
    total = Counts()
    by_column = {name: Counts() for name in MEASURED}
    for number, (times, labelled) in enumerate(_labels(data)):
        counts = count(labelled, np.isin(times, flagged.time[flagged.series == number]))
        total += counts
        by_column[MEASURED[number % len(MEASURED)]] += counts
    precision, recall, f1 = total.composite
    return {
        "event_recall": recall,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "labelled_events": total.found + total.missed,
        "flagged_readings": total.right + total.wrong,
        **_named("package", _scores(*total.package)),
        **_named("readings", _scores(*total.readings)),
        "by_column": {name: counts.composite[2] for name, counts in by_column.items()},
    }


@dataclass(frozen=True, slots=True)
class Counts:
    """Labelled events found and missed, flagged readings within a label (widened) and outside of all.

    `package` and `readings` are (right, wrong, missed) readings by the package's rule and one by one.
    """

    found: int = 0
    missed: int = 0
    right: int = 0
    wrong: int = 0
    package: tuple[int, int, int] = (0, 0, 0)
    readings: tuple[int, int, int] = (0, 0, 0)

    def __add__(self, other: Counts) -> Counts:
        """Return the counts of both."""
        return Counts(
            self.found + other.found,
            self.missed + other.missed,
            self.right + other.right,
            self.wrong + other.wrong,
            _sum(self.package, other.package),
            _sum(self.readings, other.readings),
        )

    @property
    def composite(self) -> tuple[float, float, float]:
        """Precision of readings, recall of events, and their harmonic mean."""
        precision, recall = _share(self.right, self.wrong), _share(self.found, self.missed)
        both = precision + recall
        return precision, recall, round(2 * precision * recall / both, 4) if both else 0.0


def count(labelled: NDArray[np.bool_], flagged: NDArray[np.bool_]) -> Counts:
    """Return how the flags of one series, (n,), stand to its labels, (n,).

    >>> counts = count(np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 0], bool), np.array([0, 0, 0, 0, 1, 0, 0, 0, 1, 0], bool))
    >>> counts.composite, counts.readings
    ((0.5, 1.0, 0.6667), (1, 1, 2))
    """
    label = _events(_widened(labelled))
    found = len(np.unique(label[flagged & (label > 0)]))
    return Counts(
        found,
        int(label.max(initial=0)) - found,
        int((flagged & (label > 0)).sum()),
        int((flagged & (label == 0)).sum()),
        _package(label, _events(_widened(flagged))),
        (int((labelled & flagged).sum()), int((flagged & ~labelled).sum()), int((labelled & ~flagged).sum())),
    )


def _package(labelled: NDArray[np.int64], flagged: NDArray[np.int64]) -> tuple[int, int, int]:
    """Return right, wrong and missed readings as `compare_events` counts them, of numbered events (0: none).

    Events that overlap are one group, right as a whole, but for the `WIDENED` readings at both ends of it.
    """
    before, now = np.column_stack([labelled, flagged])[:-1], np.column_stack([labelled, flagged])[1:]
    changed = before != now
    begins = (changed.any(axis=1) & (~before.any(axis=1) | ~now.any(axis=1))) | changed.all(axis=1)
    first = np.concatenate([[0], np.flatnonzero(begins) + 1])
    counted = np.maximum(np.diff([*first, len(labelled)]) - 2 * WIDENED, 0)
    has_label, has_flag = np.maximum.reduceat(labelled, first) > 0, np.maximum.reduceat(flagged, first) > 0
    kinds = (has_label & has_flag, has_flag & ~has_label, has_label & ~has_flag)
    right, wrong, missed = (int(counted[kind].sum()) for kind in kinds)
    return right, wrong, missed


def _widened(marked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    wide = marked.copy()
    for shift in range(1, WIDENED + 1):
        wide[shift:] |= marked[:-shift]
        wide[:-shift] |= marked[shift:]
    return wide


def _events(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the number of the run of marked readings that each is in, from 1; 0 outside."""
    begins = np.diff(marked.astype(np.int8), prepend=0) == 1
    return np.where(marked, np.cumsum(begins), 0)


@cache
def _labels(data: Path) -> Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Return the times and labels of the scored part, by series number."""
    found: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = []
    for path in files(data):
        time, columns = read(path, [f"{name}{end}" for name in MEASURED for end in ("", "_cor", "_qual")])
        first = training(len(time))
        found += [(time[first:], labels(columns, name)[first:]) for name in MEASURED]
    return found


def labels(columns: Mapping[str, Sequence[str]], name: str) -> NDArray[np.bool_]:
    """Return which readings of the column `name` the technicians did not leave as they were measured."""
    raw, corrected = numbers(columns[name]), numbers(columns[f"{name}_cor"])
    qualified = np.array([text not in {"", "NULL"} for text in columns[f"{name}_qual"]], np.bool_)
    return qualified | (raw == _NO_DATA) | (corrected == _NO_DATA) | np.isnan(corrected)


def _sum(one: tuple[int, int, int], other: tuple[int, int, int]) -> tuple[int, int, int]:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _share(part: int, rest: int) -> float:
    return round(part / (part + rest), 4) if part + rest else 0.0


def _scores(right: int, wrong: int, missed: int) -> tuple[float, float, float]:
    f1 = round(2 * right / (2 * right + wrong + missed), 4) if right else 0.0
    return _share(right, wrong), _share(right, missed), f1


def _named(rule: str, scores: tuple[float, float, float]) -> dict[str, float]:
    return {f"{name}_{rule}": score for name, score in zip(("precision", "recall", "f1"), scores, strict=True)}


__all__ = ["WIDENED", "Counts", "count", "labels", "score"]
