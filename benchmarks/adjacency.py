"""How fast lines are compared in space: `near` of 100,000 lines with 100,000, against shapely's own join in plan.

The peer finds pairs within the clearance in plan, and no more: no distance in space, no place, no relation. Streets are
straight runs of pipes with bends; heights vary. `python benchmarks/adjacency.py [--json] [--lines N] [--runs N]`
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from twin.effects.adjacency import near

CLEARANCE_M = 5.0
_SPACING_M = 20.0


def lines(count: int, rng: np.random.Generator) -> NDArray[np.object_]:
    """Return `count` lines of three points and 5 to 60 m, scattered as densely as pipes under streets."""
    side = np.sqrt(count) * _SPACING_M
    start = rng.uniform(0, side, (count, 2))
    angle, bend = rng.uniform(0, 2 * np.pi, count), rng.normal(0, 0.2, count)
    half = rng.uniform(2.5, 30, count)[:, None]
    middle = start + half * np.column_stack([np.cos(angle), np.sin(angle)])
    end = middle + half * np.column_stack([np.cos(angle + bend), np.sin(angle + bend)])
    plan = np.stack([start, middle, end], axis=1)
    return np.asarray(shapely.linestrings(np.concatenate([plan, rng.uniform(0, 4, (count, 3, 1))], axis=2)))


def seconds(what: Callable[[], object], runs: int) -> float:
    """Return the median time of `runs` calls, s."""
    taken: list[float] = []
    for _ in range(runs):
        begin = time.perf_counter()
        what()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    gas, drains = lines(options.lines, rng), lines(options.lines, rng)
    near(gas[:2], drains[:2], CLEARANCE_M)  # compiled before the clock runs
    found: dict[str, int] = {}

    def join() -> None:
        tree = shapely.STRtree(drains)
        found["plan"] = tree.query(gas, predicate="dwithin", distance=CLEARANCE_M).shape[1]

    def ours() -> None:
        found["space"] = len(near(gas, drains, CLEARANCE_M))

    join_s, near_s = seconds(join, options.runs), seconds(ours, options.runs)
    result = {
        "lines": options.lines,
        "clearance_m": CLEARANCE_M,
        "near_s": round(near_s, 3),
        "plan_join_s": round(join_s, 3),
        "near_ratio": round(near_s / join_s, 2),
        "pairs_in_plan": found["plan"],
        "pairs_in_space": found["space"],
    }
    if options.json:
        print(json.dumps(result))
        return
    for key, value in result.items():
        print(f"{key:<16} {value}")


if __name__ == "__main__":
    main()
