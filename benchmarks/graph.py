"""The network against networkx, in one run: ``python benchmarks/graph.py [--json] [--edges 1000000]``.

Two real networks (CHENGMAI_DATA: MICROPOLIS with its 196 valves, and the storm sewers CoS-Reduced-Inlets), or those of
the sample district where there is no such folder, are tiled side by side to at least `--edges` links each, the copies
joined: a water network in which every copy hangs on the one before, and a sewer whose copies all drain through the
last. Compared, always from the same tables and for the same answer:

- ``build``: `Network.of` against a `networkx.MultiGraph` filled in bulk with the id, the length, the kind and the
  status of each link and the kind of each node, every string once. Memory is what stays of each build by the operating
  system's count (resident set, after a garbage collection and malloc_trim), in a process of its own, the tables not
  counted, the ids counted on both sides. ``memory_ratio`` is networkx / ours, and so is every other ratio.
- ``upstream``: all that drains to the outfall, against `networkx.ancestors`.
- ``isolation``: the valves to close around pipes all over the network, and all that no source reaches then, against a
  search to the next valves and one from the sources.
- ``local_trace``: what drains to manholes that 100 to 1,000 links lie above (those of the first ten copies, which all
  others lie below), in the whole network, against the same search.

Compiled code is warm and times are the best of a few repeats (what takes networkx seconds is asked once).
``oracle_equal`` says whether every answer that was timed was the same on both sides. The goals are build 20, memory 8,
upstream 50, isolation 40, local trace 10.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pyarrow as pa

from twin.asset import Basis, LinkKind, NodeKind, System
from twin.model import ReadRequest

ROOT = Path(__file__).resolve().parent.parent
GOALS = {"build": 20, "memory": 8, "upstream": 50, "isolation": 40, "local_trace": 10}
PIPES_ASKED = 4
MANHOLES_ASKED = 200
LITTLE = (100, 1000)
"""Links above a manhole whose trace is called local."""
FIRST_COPIES = 10
SOURCES = (NodeKind.RESERVOIR, NodeKind.TANK, NodeKind.SOURCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--edges", type=int, default=1_000_000, help="links of each network")
    parser.add_argument("--memory-of", choices=("ours", "networkx"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(_memory_of(options.memory_of, options.edges))
        return
    result = measure(options.edges)
    if options.json:
        print(json.dumps(result))
    else:
        print("\n".join(f"{key:24} {value}" for key, value in result.items()))


def measure(edges: int) -> dict[str, Any]:
    water, sewer = tiled(System.WATER, edges), tiled(System.DRAINAGE, edges)
    result: dict[str, Any] = {
        "networks": [water.name, sewer.name],
        "edges": len(water.links),
        "nodes": len(water.nodes),
    }
    result |= _build(water)
    result |= _memory(edges)
    upstream = _upstream(sewer)
    isolation = _isolation(water)
    equal = [part.pop("equal") for part in (upstream, isolation)]
    result |= upstream | isolation
    return result | {"oracle_equal": all(equal), "goals": GOALS, "cores": os.cpu_count()}


class Tiled:
    """A network as the city's tables hold it: many copies of one file's, joined."""

    def __init__(self, name: str, nodes: pd.DataFrame, links: pd.DataFrame, nodes_a_copy: int) -> None:
        self.name, self.nodes, self.links, self.nodes_a_copy = name, nodes, links, nodes_a_copy


def tiled(system: System, edges: int) -> Tiled:
    name, nodes, links = _one(system)
    copies = math.ceil(edges / len(links))
    where = {asset: at for at, asset in enumerate(nodes["asset"])}
    start, end = (links[side].map(where).to_numpy() for side in ("start", "end"))
    joined = _joints(nodes, links, system)
    shift = np.repeat(np.arange(copies), len(links)) * len(nodes)
    ids = np.array([f"{copy}/{asset}" for copy in range(copies) for asset in nodes["asset"]], dtype=object)
    first = np.concatenate(
        (np.tile(start, copies) + shift, *((np.arange(copies - 1)) * len(nodes) + a for a, _ in joined))
    )
    last = np.concatenate((np.tile(end, copies) + shift, *((np.arange(1, copies)) * len(nodes) + b for _, b in joined)))
    many = pd.concat([nodes.drop(columns="asset")] * copies, ignore_index=True)
    many.insert(0, "asset", ids)
    names = [f"{copy}/{asset}" for copy in range(copies) for asset in links["asset"]]
    names += [f"join/{a}/{copy}" for a, _ in joined for copy in range(copies - 1)]
    joint = links[links["kind"].isin((LinkKind.PIPE, LinkKind.CONDUIT))].iloc[[0]]
    rest = pd.concat([links] * copies + [joint] * (len(joined) * (copies - 1)), ignore_index=True)
    rest["asset"], rest["start"], rest["end"] = np.array(names, dtype=object), ids[first], ids[last]
    return Tiled(f"{name} x {copies}", _as_stored(many), _as_stored(rest), len(nodes))


def _as_stored(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with its columns of the types that `City.table` gives."""
    return table.astype({name: "str" for name in table if name not in ("length_m", "geometry")})


def _joints(nodes: pd.DataFrame, links: pd.DataFrame, system: System) -> list[tuple[int, int]]:
    """Return which node of a copy is joined to which of the next: ends of sewers to the outfall, or one junction."""
    if system is System.WATER:
        at = int(np.flatnonzero(nodes["asset"] == links["start"][links["kind"] == LinkKind.PIPE].iloc[0])[0])
        return [(at, at)]
    last = nodes.index[~nodes["asset"].isin(links["start"])]
    outfall = np.flatnonzero(nodes["kind"] == NodeKind.OUTFALL)[-1]
    return [(int(at), int(outfall)) for at in last]


def _one(system: System) -> tuple[str, pd.DataFrame, pd.DataFrame]:
    """Return the tables of one file, with the columns that a network is made of."""
    from twin.readers.epanet import EpanetReader
    from twin.readers.swmm import SwmmReader

    water = system is System.WATER
    reader = EpanetReader() if water else SwmmReader()
    model = reader.read(
        _file("water/MICROPOLIS_v1.inp" if water else "drainage/CoS-Reduced-Inlets.inp", water), ReadRequest("t")
    )
    nodes = pd.DataFrame(
        {
            "asset": [node.id for node in model.nodes],
            **{name: [getattr(node, name) for node in model.nodes] for name in ("kind", "status", "feature")},
            "properties": [json.dumps(dict(node.properties), separators=(",", ":")) for node in model.nodes],
            "geometry": [node.point for node in model.nodes],
        },
        dtype=object,
    )
    links = pd.DataFrame(
        {
            "asset": [link.id for link in model.links],
            **{
                name: [getattr(link, name) for link in model.links]
                for name in ("system", "kind", "start", "end", "status", "length_m")
            },
            "basis": Basis.STATED,
            "properties": [json.dumps(dict(link.properties), separators=(",", ":")) for link in model.links],
            "geometry": [link.line for link in model.links],
        },
        dtype=object,
    )
    links["length_m"] = links["length_m"].astype("float64")
    return Path(model.source).stem if model.source != "t" else ("MICROPOLIS" if water else "CoS"), nodes, links


def _file(name: str, water: bool) -> Path:
    """Return the file of the folder of real data, or where there is none that of the sample district."""
    real = Path(os.environ.get("CHENGMAI_DATA", ROOT.parent / "shared" / "data")) / "networks" / name
    if real.is_file():
        return real
    import tempfile

    from sample_models.district import make

    return make(Path(tempfile.mkdtemp())).parent / ("water.inp" if water else "drainage.inp")


def _built(water: Tiled) -> nx.MultiGraph:
    """Return the water network as networkx would hold it."""
    graph = nx.MultiGraph()
    names = {name: name for name in water.nodes["asset"].tolist()}
    words = {word: word for word in (*LinkKind, *NodeKind, "open", "closed")}
    graph.add_nodes_from(
        (name, {"kind": words[kind]}) for name, kind in zip(names, water.nodes["kind"].tolist(), strict=True)
    )
    columns = (water.links[name].tolist() for name in ("start", "end", "asset", "length_m", "kind", "status"))
    graph.add_edges_from(
        (names[start], names[end], asset, {"length": length, "kind": words[kind], "status": words.get(status)})
        for start, end, asset, length, kind, status in zip(*columns, strict=True)
    )
    return graph


def _build(water: Tiled) -> dict[str, Any]:
    from twin.network.graph import Network

    Network.of(water.nodes[:100], water.links[:0])
    ours, _ = _timed(lambda: Network.of(water.nodes, water.links), 5)
    theirs, _ = _timed(lambda: _built(water), 1)
    return {"build_s": round(ours, 3), "build_networkx_s": round(theirs, 2), "build_ratio": round(theirs / ours, 1)}


def _memory(edges: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--edges", str(edges), "--memory-of"]
    ours, theirs = (
        float(subprocess.run([*command, which], check=True, capture_output=True, text=True).stdout)
        for which in ("ours", "networkx")
    )
    return {"memory_mb": ours, "memory_networkx_mb": theirs, "memory_ratio": round(theirs / ours, 1)}


def _memory_of(which: str, edges: int) -> float:
    """Return the megabytes that one network takes, in this process, which does nothing else."""
    from twin.network.graph import Network

    water = tiled(System.WATER, edges)
    Network.of(water.nodes[:100], water.links[:0])  # what it needs is loaded and compiled
    before = _resident_mb()
    held = Network.of(water.nodes, water.links) if which == "ours" else _built(water)
    after = _resident_mb()
    del held
    return round(after - before, 1)


def _resident_mb() -> float:
    gc.collect()
    pa.default_memory_pool().release_unused()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _upstream(sewer: Tiled) -> dict[str, Any]:
    from twin.network import trace
    from twin.network.graph import Network

    network = Network.of(sewer.nodes, sewer.links)
    graph = nx.MultiDiGraph()
    graph.add_nodes_from(sewer.nodes["asset"].tolist())
    graph.add_edges_from(zip(*(sewer.links[name].tolist() for name in ("start", "end", "asset")), strict=True))
    outfall = str(sewer.nodes["asset"][sewer.nodes["kind"] == NodeKind.OUTFALL].iloc[-1])
    ours, found = _timed(lambda: trace.upstream(network, outfall), 5)
    theirs, expected = _timed(lambda: nx.ancestors(graph, outfall), 1)
    equal = set(network.nodes[found.nodes].tolist()) == expected | {outfall}
    equal &= set(network.links[found.links].tolist()) == {
        key for *_, key in graph.in_edges(expected | {outfall}, keys=True)
    }
    local = _local(network, graph, sewer.nodes_a_copy * FIRST_COPIES)
    return {
        "upstream_links": len(found.links),
        "upstream_s": round(ours, 4),
        "upstream_networkx_s": round(theirs, 3),
        "upstream_ratio": round(theirs / ours, 1),
        **local,
        "equal": equal and local.pop("equal"),
    }


def _local(network: Any, graph: nx.MultiDiGraph, among: int) -> dict[str, Any]:
    from twin.network import trace

    rng = np.random.default_rng(3)
    manholes: list[str] = []
    while len(manholes) < MANHOLES_ASKED:
        name = str(network.nodes[int(rng.integers(among))])
        if LITTLE[0] <= len(trace.upstream(network, name).links) <= LITTLE[1]:
            manholes.append(name)
    ours, found = _timed(lambda: [trace.upstream(network, name) for name in manholes], 5)
    theirs, expected = _timed(lambda: [nx.ancestors(graph, name) for name in manholes], 5)
    equal = all(
        set(network.nodes[one.nodes].tolist()) == other | {name}
        for name, one, other in zip(manholes, found, expected, strict=True)
    )
    return {
        "local_links": round(float(np.mean([len(one.links) for one in found])), 1),
        "local_trace_us": round(ours / MANHOLES_ASKED * 1e6, 2),
        "local_trace_networkx_us": round(theirs / MANHOLES_ASKED * 1e6, 1),
        "local_trace_ratio": round(theirs / ours, 1),
        "equal": equal,
    }


def _isolation(water: Tiled) -> dict[str, Any]:
    from twin.network.graph import Network
    from twin.network.isolation import Cells, isolate, unsupplied

    network = Network.of(water.nodes, water.links)
    start = time.perf_counter()
    network.once(Cells.of)
    prepared = time.perf_counter() - start
    peer = _Peer(_built(water), water)
    rng = np.random.default_rng(7)
    pipes = water.links["asset"][water.links["kind"] == LinkKind.PIPE].to_numpy(object)
    asked = rng.choice(pipes, PIPES_ASKED, replace=False).tolist()

    def answered(pipe: str) -> Any:
        cut = isolate(network, pipe)
        return cut, unsupplied(network, cut)

    ours, found = _timed(lambda: [answered(pipe) for pipe in asked], 5)
    theirs, expected = _timed(lambda: [peer.answered(pipe) for pipe in asked], 1)
    equal = all(
        (set(network.links[cut.valve_links].tolist()), set(network.nodes[lost.nodes].tolist())) == other
        for (cut, lost), other in zip(found, expected, strict=True)
    )
    return {
        "isolation_prepared_s": round(prepared, 3),
        "isolation_ms": round(ours / PIPES_ASKED * 1e3, 3),
        "isolation_networkx_ms": round(theirs / PIPES_ASKED * 1e3, 1),
        "isolation_ratio": round(theirs / ours, 1),
        "equal": equal,
    }


class _Peer:
    """Isolation and supply over a networkx graph, as one would write them there; a pump lets nothing back."""

    def __init__(self, graph: nx.MultiGraph, water: Tiled) -> None:
        self.graph = graph
        kinds = zip(water.nodes["asset"], water.nodes["kind"], strict=True)
        self.sources = [name for name, kind in kinds if kind in SOURCES]
        pumps = water.links[water.links["kind"] == LinkKind.PUMP]
        self.pump_from = dict(zip(pumps["asset"], pumps["start"], strict=True))
        ends = zip(water.links["asset"], water.links["start"], water.links["end"], strict=True)
        self.ends = {asset: (start, end) for asset, start, end in ends}
        self.supplied = self.reached(self.sources, set(), set())

    def answered(self, pipe: str) -> tuple[set[str], set[str]]:
        valves, inside = set(), set(self.ends[pipe])
        queue = list(inside)
        for node in queue:
            for other, links in self.graph.adj[node].items():
                for link, told in links.items():
                    if told["status"] == "closed":
                        continue
                    if told["kind"] == "valve":
                        valves.add(link)
                    elif other not in inside:
                        inside.add(other)
                        queue.append(other)
        valves = {valve for valve in valves if not inside.issuperset(self.ends[valve])}
        return valves, self.supplied - self.reached(self.sources, valves, inside)

    def reached(self, sources: Iterable[str], closed: set[str], gone: set[str]) -> set[str]:
        found = set(sources) - gone
        queue = list(found)
        for node in queue:
            for other, links in self.graph.adj[node].items():
                if other in found or other in gone:
                    continue
                for link, told in links.items():
                    if told["status"] == "closed" or link in closed:
                        continue
                    if told["kind"] != "pump" or self.pump_from[link] == node:
                        found.add(other)
                        queue.append(other)
                        break
        return found


def _timed(work: Callable[[], Any], repeats: int) -> tuple[float, Any]:
    """Return the best time of a few calls, in seconds, and what the last one returned; compiled code is warm."""
    best, answer = math.inf, None
    for _ in range(repeats):
        gc.collect()
        start = time.perf_counter()
        answer = work()
        best = min(best, time.perf_counter() - start)
    return best, answer


if __name__ == "__main__":
    main()
