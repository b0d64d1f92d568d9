"""Networks for tests: tables as the city gives them, drawn at random or written by hand."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st
from shapely import LineString, Point

from twin.network.graph import Network

unhurried = settings(deadline=None, max_examples=60)
"""The first call may compile."""


@dataclass(frozen=True)
class Drawn:
    """A network as plain rows; `kind` of a node may be valve, of a link pipe, valve, pump; status open or closed."""

    nodes: list[tuple[str, str, str]]
    links: list[tuple[str, str, str, str, str, float]]
    system: str = "water"

    def tables(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        nodes = pd.DataFrame(self.nodes, columns=["asset", "kind", "status"], dtype="str")
        nodes["geometry"] = pd.Series([Point(i, i % 7, 1.0) for i in range(len(nodes))], dtype=object)
        nodes["feature"] = pd.Series([None] * len(nodes), dtype="str")
        nodes["properties"] = pd.Series(["{}"] * len(nodes), dtype="str")
        columns = ["asset", "start", "end", "kind", "status"]
        links = pd.DataFrame([row[:5] for row in self.links], columns=columns, dtype="str")
        links["length_m"] = pd.Series([row[5] for row in self.links], dtype="float64")
        links["system"] = pd.Series([self.system] * len(links), dtype="str")
        links["basis"] = pd.Series(["stated"] * len(links), dtype="str")
        links["properties"] = pd.Series(["{}"] * len(links), dtype="str")
        links["geometry"] = pd.Series([LineString([(0, 0), (1, 0)])] * len(links), dtype=object)
        return nodes, links

    def network(self) -> Network:
        return Network.of(*self.tables())

    @property
    def assets(self) -> list[str]:
        return [row[0] for row in self.nodes] + [row[0] for row in self.links]

    @property
    def valves(self) -> list[str]:
        return [row[0] for row in (*self.nodes, *self.links) if "valve" in row]


@st.composite
def drawn(draw: st.DrawFn, system: str = "water", largest: int = 9) -> Drawn:
    """Draw a small multigraph: parallel links, loops on one node, lone nodes, valves of both sorts, some of it shut."""
    count = draw(st.integers(1, largest))
    kinds = st.sampled_from(["junction", "junction", "valve", "reservoir"])
    state = st.sampled_from(["open", "open", "open", "closed"])
    nodes = [(f"n{i}", draw(kinds), draw(state)) for i in range(count)]
    node = st.integers(0, count - 1).map(lambda i: f"n{i}")
    link_kind = st.sampled_from(["pipe", "pipe", "pipe", "valve", "pump"])
    row = st.tuples(node, node, link_kind, state, st.integers(1, 5).map(float))
    links = [(f"l{i}", *each) for i, each in enumerate(draw(st.lists(row, max_size=2 * largest)))]
    return Drawn(nodes, links, system)


def chain(*kinds: str, status: str = "open", system: str = "water") -> Drawn:
    """Return a row of links of these kinds from the source n0: l0 joins n0 and n1, and so on, each 10 m."""
    nodes = [("n0", "reservoir", "open"), *((f"n{i + 1}", "junction", "open") for i in range(len(kinds)))]
    links = [(f"l{i}", f"n{i}", f"n{i + 1}", kind, status, 10.0) for i, kind in enumerate(kinds)]
    return Drawn(nodes, links, system)
