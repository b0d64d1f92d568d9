"""Truth of bwdf: bursts put into real inflows, drawn by a seed, and how soon they are found.

Each DMA has a burst every fortnight of the scored part (`EVERY`), of 5, 10 or 20 % of its mean inflow, each of them in
turn in a drawn order; it begins at a drawn hour of the fortnight's first nine days and is mended after three. One whose
first day has fewer than `LEAST` of its hours in the data is left out. A burst is found by a claim about its DMA that
begins within 24 hours of it. A claim that begins outside all bursts, and outside the day that follows each, is false;
real bursts that nobody labelled count as false too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sensors.evaluation import Claim, Flagged
from sensors.evaluation.bwdf_files import TABLE, milliseconds, read_workbook, to_table, training_hours

SIZES = (0.05, 0.10, 0.20)
"""Of the DMA's mean inflow over the whole series."""
EVERY = 14 * 24
BEGINS = 9 * 24
LASTS = 3 * 24
FOUND = 24
LEAST = 20
AFTER = 24
"""Hours: see above; `AFTER` is the day after a burst that is nobody's."""
_HOUR_MS = 3_600_000
_MONTH_H = 365.25 * 24 / 12


@dataclass(frozen=True, slots=True)
class Burst:
    """A burst in the column `zone`: its first row, its share of the mean inflow."""

    zone: int
    row: int
    size: float


@dataclass(frozen=True, slots=True, eq=False)
class Bursts:
    """What was put into a table: names of the DMAs, times (n,) ms, what was measured (n, zones), the bursts."""

    names: Sequence[str]
    time: NDArray[np.int64]
    measured: NDArray[np.bool_]
    bursts: Sequence[Burst]


def prepare(data: Path, folder: Path, *, seed: int, train: Path | None, test: Path | None, shared: Path | None) -> None:
    """Write the inflows with the bursts of `seed` into `folder`."""
    del train, test, shared
    flows = read_workbook(data)
    values = flows.to_numpy(np.float64, copy=True)
    mean = np.nanmean(values, axis=0)
    for burst in draw(flows, seed):
        values[burst.row : burst.row + LASTS, burst.zone] += burst.size * mean[burst.zone]
    to_table(pd.DataFrame(values, index=flows.index, columns=flows.columns), folder / TABLE)


def draw(flows: pd.DataFrame, seed: int) -> list[Burst]:
    """Return the bursts of `seed` in the scored part of `flows`."""
    there = np.isfinite(flows.to_numpy(np.float64))
    first, rows = training_hours(len(flows)), len(flows)
    found: list[Burst] = []
    for zone in range(there.shape[1]):
        rng = np.random.default_rng([seed, zone])
        turns = range(first, rows - EVERY + 1, EVERY)
        sizes = np.concatenate([rng.permutation(SIZES) for _ in range(0, len(turns), len(SIZES))])
        for start, size in zip(turns, sizes.tolist(), strict=False):
            row = start + int(rng.integers(BEGINS))
            if there[row : row + FOUND, zone].sum() >= LEAST:
                found.append(Burst(zone, row, size))
    return found


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
    """Return the share of bursts found within 24 h by size, hours until then, and false claims a DMA and month."""
    del flagged, train, test, shared
    truth = _bursts(data, seed)
    starts = _starts(truth, claims)
    scored = np.zeros(truth.measured.shape, np.bool_)
    scored[training_hours(len(truth.time)) :] = True
    quiet = scored & truth.measured
    delays: dict[float, list[float]] = {size: [] for size in SIZES}
    by_zone: dict[str, list[bool]] = {name: [] for name in truth.names}
    for burst in truth.bursts:
        quiet[burst.row : burst.row + LASTS + AFTER, burst.zone] = False
        begun = truth.time[burst.row]
        after = starts[burst.zone] - begun
        within = after[(after >= 0) & (after <= FOUND * _HOUR_MS)]
        delays[burst.size].append(float(within.min() / _HOUR_MS) if len(within) else np.inf)
        if burst.size == SIZES[1]:
            by_zone[truth.names[burst.zone]].append(bool(len(within)))
    false = [_in(quiet[:, zone], truth.time, starts[zone]) for zone in range(len(truth.names))]
    months = quiet.sum(axis=0) / _MONTH_H
    return {
        "found_10pct_24h": _share(delays[0.10]),
        "false_per_dma_month": round(sum(false) / float(months.sum()), 4),
        "found_5pct_24h": _share(delays[0.05]),
        "found_20pct_24h": _share(delays[0.20]),
        "median_hours_10pct": _median(delays[0.10]),
        "bursts": len(truth.bursts),
        "false_alarms": sum(false),
        "dma_months": round(float(months.sum()), 1),
        "found_10pct_by_dma": {name: round(float(np.mean(hits)), 2) for name, hits in by_zone.items() if hits},
        "false_by_dma_month": {
            name: round(count / max(float(month), 1e-9), 2)
            for name, count, month in zip(truth.names, false, months, strict=True)
        },
    }


@cache
def _bursts(data: Path, seed: int) -> Bursts:
    flows = read_workbook(data)
    measured = np.isfinite(flows.to_numpy(np.float64))
    return Bursts(list(map(str, flows.columns)), milliseconds(flows), measured, draw(flows, seed))


def _starts(truth: Bursts, claims: Sequence[Claim]) -> list[NDArray[np.int64]]:
    """Return when claims about each DMA begin."""
    by_subject: dict[str, list[int]] = {f"zone:{name}": [] for name in truth.names}
    for claim in claims:
        by_subject.get(claim.subject, []).append(claim.start)
    return [np.array(starts, np.int64) for starts in by_subject.values()]


def _in(quiet: NDArray[np.bool_], time: NDArray[np.int64], starts: NDArray[np.int64]) -> int:
    """Return how many of `starts` fall into hours that are `quiet`."""
    rows = np.searchsorted(time, starts, side="right") - 1
    return int(quiet[rows[rows >= 0]].sum())


def _share(delays: Sequence[float]) -> float | None:
    return round(float(np.isfinite(delays).mean()), 4) if delays else None


def _median(delays: Sequence[float]) -> float | None:
    found = [delay for delay in delays if np.isfinite(delay)]
    return float(np.median(found)) if found else None
