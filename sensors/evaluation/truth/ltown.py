"""Truth of ltown: the leaks, and BattLeDIM's score in €.

As in the competition (Vrachimis et al., J. Water Resour. Plann. Manage. 148 (2022) 04022068): a claim finds a leak that
runs, and that nobody found before, if its pipe lies within 300 m of the leak's, along the pipes from middle to middle;
of several the nearest. What would have run out afterwards is worth 0.80 €/m³, the search costs 500 € at 300 m and less
in proportion; a claim that finds nothing costs 500 €. The flows are those of ``leak_flows_m3h.parquet``, columns
``leak_<pipe>``. A leak that runs already when the scored part begins counts from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from sensors.evaluation import Claim, Flagged
from sensors.evaluation.ltown_files import SCORED_MS, network_file
from twin.errors import InputError
from twin.readers.inp import read_inp

NEAR_M = 300.0
EUR_PER_M3 = 0.80
SEARCH_EUR = 500.0
_FLOWS = "leak_flows*.parquet"
_PREFIX = "leak_"


@dataclass(frozen=True, slots=True, eq=False)
class _Leak:
    """A leak: its pipe, first and last moment of the scored part at which it runs, ms, and what it loses, m³ a step."""

    pipe: str
    start: int
    end: int
    before: bool
    loss_m3: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Truth:
    leaks: Sequence[_Leak]
    times: NDArray[np.int64]
    pipes: Mapping[str, int]
    apart_m: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Found:
    leak: _Leak
    apart_m: float
    eur: float


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
    """Return the keys of the issue; `in_2019_only` are the same of leaks that begin in the scored part."""
    del flagged, seed, train, test
    truth = _truth(data, shared)
    found: list[_Found] = []
    false = 0
    for claim in sorted(claims, key=lambda each: each.start):
        hit = _hit(claim, truth, {id(each.leak) for each in found})
        if hit is None:
            false += 1
        else:
            found.append(hit)
    return {
        **_figures(found, false, truth.leaks),
        "in_2019_only": _figures(
            [each for each in found if not each.leak.before], false, [leak for leak in truth.leaks if not leak.before]
        ),
        "found": {each.leak.pipe: round(each.apart_m) for each in found},
        "missed": sorted({leak.pipe for leak in truth.leaks} - {each.leak.pipe for each in found}),
    }


def _figures(found: Sequence[_Found], false: int, leaks: Sequence[_Leak]) -> dict[str, Any]:
    perfect = sum(float(leak.loss_m3.sum()) for leak in leaks) * EUR_PER_M3
    gained = sum(each.eur for each in found) - false * SEARCH_EUR
    return {
        "true_positives": len(found),
        "leaks": len(leaks),
        "false_positives": false,
        "score_eur": round(gained),
        "perfect_eur": round(perfect),
        "score_fraction": round(gained / perfect, 4) if perfect else None,
        "median_distance_m": round(median(each.apart_m for each in found), 1) if found else None,
    }


def _hit(claim: Claim, truth: _Truth, taken: set[int]) -> _Found | None:
    """Return the nearest leak that a claim finds, and what that is worth."""
    row = truth.pipes.get(_pipe(claim))
    if row is None:
        return None
    near = [
        (float(truth.apart_m[row, truth.pipes[leak.pipe]]), number)
        for number, leak in enumerate(truth.leaks)
        if id(leak) not in taken and leak.start <= claim.start <= leak.end
    ]
    apart, number = min(near, default=(np.inf, -1))
    if apart > NEAR_M:
        return None
    leak = truth.leaks[number]
    saved = float(leak.loss_m3[truth.times > claim.start].sum()) * EUR_PER_M3
    return _Found(leak, apart, saved - apart / NEAR_M * SEARCH_EUR)


def _pipe(claim: Claim) -> str:
    """Return the pipe that a claim names: its subject, or the first of its candidates."""
    named = claim.subject if claim.subject.startswith("asset:") else ""
    if ":link:" not in named and claim.candidates:
        named = claim.candidates[0].asset
    return named.rpartition(":link:")[2]


@cache
def _truth(data: Path, shared: Path | None) -> _Truth:
    pipes, apart_m = _distances(network_file(data, shared))
    files = sorted(data.glob(_FLOWS))
    if not files:
        raise InputError("no such file", where=str(data / _FLOWS), expected="a folder like ltown", code="E_MISSING")
    table: Any = pd.read_parquet(files[0])
    times = table.index.as_unit("ms").asi8
    scored = times >= SCORED_MS
    hours = float(np.median(np.diff(times))) / 3_600_000
    leaks: list[_Leak] = []
    for name in table.columns:
        flows = np.nan_to_num(table[name].to_numpy(np.float64))
        running = np.flatnonzero((flows > 0) & scored)
        if len(running):
            before = bool((flows[~scored] > 0).any()) and running[0] == int(scored.argmax())
            pipe = re.sub(f"^{_PREFIX}", "", str(name))
            first, last = int(times[running[0]]), int(times[running[-1]])
            leaks.append(_Leak(pipe, first, last, before, flows[scored] * hours))
    strange = [leak.pipe for leak in leaks if leak.pipe not in pipes]
    if strange:
        raise InputError(f"no pipe is called {strange[0]!r}", where=str(files[0]), expected="pipes of the network")
    return _Truth(leaks, times[scored], pipes, apart_m)


def _distances(network: Path) -> tuple[dict[str, int], NDArray[np.float64]]:
    """Return the pipes, and how far each is from each along the network, from middle to middle, m."""
    inp = read_inp(network, ("PIPES", "PUMPS", "VALVES"))
    nodes: dict[str, int] = {}
    rows = [
        (
            line.text(0, "name"),
            nodes.setdefault(line.text(1, "start"), len(nodes)),
            nodes.setdefault(line.text(2, "end"), len(nodes)),
            line.number_at(3, "length") if section == "PIPES" else 0.0,
        )
        for section in ("PIPES", "PUMPS", "VALVES")
        for line in inp.lines(section)
    ]
    shortest = np.full((len(nodes), len(nodes)), np.inf)
    for _, start, end, length in rows:
        shortest[start, end] = shortest[end, start] = min(shortest[start, end], max(length, 1e-3))
    there = np.isfinite(shortest)
    graph = csr_array(np.where(there, shortest, 0.0))
    far = dijkstra(graph, directed=False)
    pipes = rows[: len(inp.lines("PIPES"))]
    start, end = (np.array([pipe[k] for pipe in pipes]) for k in (1, 2))
    length = np.array([pipe[3] for pipe in pipes])
    between = np.minimum.reduce([far[np.ix_(a, b)] for a in (start, end) for b in (start, end)])
    between += (length[:, None] + length[None, :]) / 2
    np.fill_diagonal(between, 0.0)
    return {pipe[0]: row for row, pipe in enumerate(pipes)}, between
