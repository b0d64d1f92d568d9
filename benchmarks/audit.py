"""The audit of about 5,000 lines against the same counts by plain shapely and networkx, in the same run.

Lines: the Rutland sewers (4,782) where the real data is, else a town of streets made here. Both are warm, alternate,
and the median of each counts; both must find the same. Plain is what one writes first: a graph of rounded ends, an
R-tree asked line by line, the predicate asked pair by pair; it makes no rows and no other checks. Absolute times are
printed with the ratio; only the ratio travels. `cpu_s` is the processor's time, which a busy machine does not stretch.

    python benchmarks/audit.py [--json] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import shapely
from shapely import LineString, Point

from twin.asset import AssetId, Link, LinkKind, System
from twin.audit.audit import audit
from twin.audit.findings import Check
from twin.audit.networks import file_network
from twin.audit.subject import tables
from twin.model import Decision, Model, Placement
from twin.network.repair import repaired

DATA = Path(os.environ.get("CHENGMAI_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SEWERS = DATA / "networks" / "gis" / "RutlandCity_lines.geojson"
CELL, NEAR = 0.05, 0.5
COUNTED = (
    Check.COMPONENTS,
    Check.DANGLING,
    Check.NEAR_NO_NODE,
    Check.CROSSINGS_NO_NODE,
    Check.NEAR_DUPLICATE_NODES,
    Check.DUPLICATE_EDGES,
)


def town(count: int = 5000, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return streets on a 50 m raster, a tenth of their ends off by up to half a metre."""
    rng = np.random.default_rng(seed)
    side = int(np.sqrt(count / 2)) + 1
    corners = [(x, y) for x in range(side) for y in range(side)]
    pairs = [(a, (a[0] + dx, a[1] + dy)) for a in corners for dx, dy in ((1, 0), (0, 1))][:count]
    ends = np.array(pairs, dtype=float) * 50 + 500_000
    off = rng.random(ends.shape[:2]) < 0.1
    ends[off] += rng.uniform(-0.5, 0.5, (int(off.sum()), 2))
    links = [
        Link(AssetId(f"town:link:{n}"), str(n), System.DRAINAGE, LinkKind.CONDUIT, LineString(end))
        for n, end in enumerate(ends)
    ]
    return tables([], links)


def plain(links: pd.DataFrame) -> dict[str, int]:
    """Count with networkx and shapely alone, a line at a time."""
    lines: list[LineString] = links["geometry"].tolist()

    def cell(place: tuple[float, ...]) -> tuple[float, float]:
        return round(place[0] / CELL) * CELL, round(place[1] / CELL) * CELL

    ends = [(cell(line.coords[0]), cell(line.coords[-1])) for line in lines]
    graph = nx.MultiGraph()
    graph.add_edges_from(ends)
    tree = shapely.STRtree(lines)
    dangling = [node for node, degree in graph.degree() if degree == 1]
    near = 0
    for node in dangling:
        point = Point(node)
        found = tree.query(point.buffer(NEAR * 1.01)).tolist()
        near += any(node not in ends[row] and point.distance(lines[row]) <= NEAR for row in found)
    crossings = sum(
        row < other and line.crosses(lines[other])
        for row, line in enumerate(lines)
        for other in tree.query(line).tolist()
    )
    nodes = list(graph)
    points = [Point(node) for node in nodes]
    node_tree = shapely.STRtree(points)
    twins = 0
    for row, point in enumerate(points):
        for other in node_tree.query(point.buffer(NEAR * 1.01)).tolist():
            twins += (
                row < other and point.distance(points[other]) <= NEAR and not graph.has_edge(nodes[row], nodes[other])
            )
    values = (
        nx.number_connected_components(graph),
        len(dangling),
        near,
        crossings,
        twins,
        graph.number_of_edges() - nx.Graph(graph).number_of_edges(),
    )
    return dict(zip(map(str, COUNTED), values, strict=True))


def ours(nodes: pd.DataFrame, links: pd.DataFrame) -> dict[str, int]:
    """Count by the audit, every other check and every finding's sentence with it."""
    found = audit(nodes, links, tolerance=CELL, near=NEAR)
    return {str(check): found.counts[check] for check in COUNTED}


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def repair_seconds(links: pd.DataFrame) -> float:
    """Return the time to repair the same lines."""
    made = [
        Link(AssetId(asset), asset, System.DRAINAGE, LinkKind.CONDUIT, line)
        for asset, line in zip(links["asset"], links["geometry"], strict=True)
    ]
    model = Model("town", "gis", Placement(Decision.PLACED, "benchmark"), links=made)
    return timed(lambda: repaired(model))[0]


def measure(rounds: int) -> dict[str, Any]:
    """Return medians over alternating rounds, their ratio, and whether both counted the same."""
    real = SEWERS.is_file()
    if real:
        network = file_network(SEWERS)
        nodes, links = network.nodes, network.links
    else:
        nodes, links = town()
    ours(nodes, links)
    times, cpu, equal, counts = [], [], True, {}
    for _ in range(rounds):
        before = time.process_time()
        ours_s, counts = timed(lambda: ours(nodes, links))
        cpu.append(time.process_time() - before)
        plain_s, expected = timed(lambda: plain(links))
        times.append((ours_s, plain_s))
        equal &= counts == expected
    audit_s, peer_s = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "lines": len(links),
        "data": SEWERS.name if real else "made here",
        "audit_s": round(audit_s, 3),
        "cpu_s": round(statistics.median(cpu), 3),
        "peer_s": round(peer_s, 3),
        "audit_ratio": round(peer_s / audit_s, 2),
        "oracle_equal": equal,
        "repair_s": round(repair_seconds(links), 3),
        **counts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    result = measure(options.rounds)
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"audit of {result['lines']} lines ({result['data']}): {result['audit_s']:.2f} s, plain shapely and networkx "
        f"{result['peer_s']:.2f} s for six of its counts: {result['audit_ratio']:.1f} × faster, "
        f"{'equal' if result['oracle_equal'] else 'NOT EQUAL'}; repair {result['repair_s']:.2f} s"
    )


if __name__ == "__main__":
    main()
