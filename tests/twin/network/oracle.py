"""What traces and isolations should answer, by networkx on a graph where every node and every link is a vertex.

Written without the arrays of `twin.network`: a link is a vertex between its two ends, a shut thing a vertex that
nothing goes on from, a closed valve a vertex taken out.
"""

from __future__ import annotations

import networkx as nx

from tests.twin.network.networks import Drawn


class Oracle:
    def __init__(self, drawn: Drawn) -> None:
        self.drawn = drawn
        self.kind = {row[0]: row[1] for row in drawn.nodes} | {row[0]: row[3] for row in drawn.links}
        status = {row[0]: row[2] for row in drawn.nodes} | {row[0]: row[4] for row in drawn.links}
        self.is_link = {row[0] for row in drawn.links}
        # a junction that is "closed" means nothing; a link or a valve does
        self.shut = {a for a, s in status.items() if s == "closed" and (a in self.is_link or self.kind[a] == "valve")}
        self.ends = {row[0]: (row[1], row[2]) for row in drawn.links}
        self.length = {row[0]: row[5] for row in drawn.links}
        self.touching = nx.Graph()
        self.touching.add_nodes_from(self.kind)
        self.touching.add_edges_from((link, end) for link, ends in self.ends.items() for end in ends)

    def reachable(self, asset: str, ways: dict[str, set[tuple[str, str]]]) -> set[str]:
        """Return what a walk meets; `ways` gives for each link from which end to which it is taken."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.kind)
        for link, pairs in ways.items():
            if link in self.shut and link != asset:
                continue
            for one, other in pairs:
                if one not in self.shut or one == asset:
                    graph.add_edge(one, link)
                graph.add_edge(link, other)
        return nx.descendants(graph, asset) | {asset}

    def both_ways(self) -> dict[str, set[tuple[str, str]]]:
        return {link: {(a, b), (b, a)} for link, (a, b) in self.ends.items()}

    def flow(self) -> dict[str, set[tuple[str, str]]]:
        """Return each link's direction: its own in drainage and of a pump, else away from the nearest source."""
        if self.drawn.system == "drainage":
            return {link: {ends} for link, ends in self.ends.items()}
        graph = nx.MultiDiGraph()
        graph.add_nodes_from(self.kind)
        for link, (start, end) in self.ends.items():
            for one, other in {(start, end)} | (set() if self.kind[link] == "pump" else {(end, start)}):
                if link not in self.shut and one not in self.shut:
                    graph.add_edge(one, other, weight=self.length[link])
        sources = {asset for asset, kind in self.kind.items() if kind == "reservoir"}
        far = nx.multi_source_dijkstra_path_length(graph, sources) if sources else {}
        ways: dict[str, set[tuple[str, str]]] = {}
        for link, (start, end) in self.ends.items():
            if self.kind[link] == "pump":
                ways[link] = {(start, end)}
            elif start in far and end in far and far[start] != far[end]:
                ways[link] = {(start, end) if far[start] < far[end] else (end, start)}
            else:
                ways[link] = set()
        return ways

    def upstream(self, asset: str) -> set[str]:
        turned = {link: {(b, a) for a, b in pairs} for link, pairs in self.flow().items()}
        if asset in self.is_link and not turned[asset]:  # fed by both its ends, if at all
            turned[asset] = {(end, end) for end in self.ends[asset]}
        return self.reachable(asset, turned)

    def downstream(self, asset: str) -> set[str]:
        return self.reachable(asset, self.flow())

    def path_length(self, asset: str, to: str) -> float:
        graph = nx.DiGraph()
        graph.add_nodes_from(self.kind)
        for link, ends in self.ends.items():
            if link in self.shut:
                continue
            for one, other in (ends, ends[::-1]):
                if one not in self.shut or one == asset:
                    known = graph.get_edge_data(one, other, {"weight": float("inf")})["weight"]
                    graph.add_edge(one, other, weight=min(known, self.length[link]))
        first, last = (self.ends.get(each, (each,)) for each in (asset, to))
        far = nx.multi_source_dijkstra_path_length(graph, set(first))
        return min((far[each] for each in last if each in far), default=float("inf"))

    def isolated(self, asset: str, stuck: set[str]) -> tuple[set[str], set[str], set[str]]:
        """Return what is cut off, the valves to close, and what is shut at the edge already."""
        valves = {each for each, kind in self.kind.items() if kind == "valve"}
        edge = ((valves - stuck) | self.shut) - {asset}
        inside = set(nx.node_connected_component(self.touching.subgraph(set(self.kind) - edge), asset))
        met = {each for each in edge if inside & set(self.touching[each])}
        inner = {each for each in met if inside >= set(self.touching[each]) - {each}}
        met -= inner
        return inside | inner, met - self.shut, met & self.shut

    def supplied(self, gone: set[str], closed: set[str]) -> set[str]:
        """Return what a source reaches; what is closed or shut is reached and not passed."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.kind)
        stop = self.shut | closed
        for link, (start, end) in self.ends.items():
            for node in (start, end):
                if node not in stop:
                    graph.add_edge(node, link)
                if link not in stop and (self.kind[link] != "pump" or node == end):
                    graph.add_edge(link, node)
        graph.remove_nodes_from(gone)
        found: set[str] = set()
        for source in (each for each in graph if self.kind[each] == "reservoir"):
            found |= nx.descendants(graph, source) | {source}
        return found

    def looped(self, asset: str) -> set[str]:
        """Return what hangs together with `asset` by loops: bridges, and links to a shut node, taken out."""
        cut = self.shut | {link for link, ends in self.ends.items() if self.shut & set(ends)}
        graph = nx.Graph(self.touching.subgraph(set(self.kind) - cut))
        if asset not in graph:
            return set()
        bridges = {frozenset(pair) for pair in nx.bridges(graph)}
        own = {link for link, (a, b) in self.ends.items() if a == b}
        keep = [pair for pair in graph.edges if frozenset(pair) not in bridges or own & set(pair)]
        graph = nx.Graph(keep)
        if asset not in graph:
            return set()
        return set(nx.node_connected_component(graph, asset))
