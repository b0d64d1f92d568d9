"""The questions that the networks answer, each about one asset, with what the answer rests on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from twin.asset import AssetId, Basis, Link, Node, NodeKind
from twin.errors import InputError
from twin.network import isolation, trace
from twin.network.closure import closed_off, ids
from twin.network.graph import NODE_KINDS, Network
from twin.network.profile import Profile, profile
from twin.network.trace import RestsOn

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.city import City

__all__ = ["Answer", "Loss", "Question", "Ring", "Tracer"]


class Question(StrEnum):
    """What can be asked about an asset."""

    CONNECTED = "connected"
    UPSTREAM = "upstream"
    DOWNSTREAM = "downstream"
    PATH = "path"
    LOOPS = "loops"
    PROFILE = "profile"
    ISOLATION = "isolation"
    UNSUPPLIED = "unsupplied"
    IMPACT = "impact"
    ADJACENCY = "adjacency"
    CASCADE = "cascade"


@dataclass(frozen=True, slots=True)
class Loss:
    """What a closure takes the supply from. Where no source reached it before, `was_supplied` is False."""

    was_supplied: bool
    hydrants: Sequence[AssetId]
    customers: Sequence[AssetId]


@dataclass(frozen=True, slots=True)
class Ring:
    """The loops of an asset: how many independent ones hang together there, and the shortest through it, in order."""

    independent: int
    shortest: Sequence[AssetId]
    shortest_m: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer about `asset`: the nodes and links that it names, of a path in order.

    `length_m` is the length of `links`, None where there is no path. `direction` says whether the flow that the answer
    follows is the files' own (stated) or by the way from the nearest source (inferred); None: it follows none.
    `detail` is the question's own: Closure, Loss, Ring, Profile, or what `twin.effects.impact`, `adjacency` and
    `cascade` return.
    """

    question: Question
    asset: AssetId
    nodes: Sequence[AssetId]
    links: Sequence[AssetId]
    length_m: float | None
    rests_on: RestsOn
    direction: Basis | None = None
    detail: Any = None


class Tracer:
    """Answers questions about the networks of an open city, as loaded and as its valves stand now. Any thread may ask.

    The network is made at the first question, and again when the city has changed; a valve that was operated only
    changes how it stands.
    """

    def __init__(self, city: City) -> None:
        self._city = city
        self._lock = threading.Lock()
        self._surveyed: tuple[object, Network] | None = None
        self._standing: tuple[object, Network] | None = None

    @property
    def network(self) -> Network:
        """The network of the city as it is now."""
        states = self._city.valve_states()
        now = self._city.revision(), frozenset(states.items())
        with self._lock:
            if self._standing is None or self._standing[0] != now:
                self._standing = now, self._as_surveyed().operated(states)
            return self._standing[1]

    def _as_surveyed(self) -> Network:
        loaded = tuple((row.source, row.revision, row.loaded, row.placement.decision) for row in self._city.sources())
        if self._surveyed is None or self._surveyed[0] != loaded:
            self._surveyed = loaded, Network.of(self._city.table("nodes"), self._city.table("links"))
        return self._surveyed[1]

    def ask(
        self,
        asset: str,
        question: Question,
        *,
        to: str | None = None,
        stuck: Sequence[str] = (),
        **more: Any,
    ) -> Answer:
        """Return the answer to `question` about the node or link `asset`.

        `to` is where a path or profile ends; without it, at the outfall that `asset` drains to or the source that
        feeds it. `stuck` are valves that do not move. `more` goes on to impact, adjacency and cascade, which also take
        other assets. The unsupplied of a valve are those behind it once it alone is closed; of anything else, those
        without supply once it is isolated. Raises UnknownError; InputError where a question has no such argument.
        """
        network = self.network
        if to is not None and question not in {Question.PATH, Question.PROFILE}:
            raise InputError(f"{question} goes nowhere", where=f"to {to}", expected="path or profile with it")
        if stuck and question not in {Question.ISOLATION, Question.UNSUPPLIED, Question.IMPACT}:
            raise InputError(f"{question} closes no valves", where="stuck", expected="isolation, unsupplied or impact")
        told = _Telling(self._city, network, AssetId(asset), question)
        match question:
            case Question.CONNECTED | Question.UPSTREAM | Question.DOWNSTREAM:
                return told.traced()
            case Question.PATH | Question.PROFILE:
                return told.way(to)
            case Question.LOOPS:
                return told.loops()
            case Question.ISOLATION:
                return told.closed(stuck)
            case Question.UNSUPPLIED:
                return told.unsupplied(stuck)
            case _:
                return told.touched(stuck, more)


@dataclass(frozen=True, slots=True)
class _Telling:
    """One question: what it is about, and the network to ask."""

    city: City
    network: Network
    asset: AssetId
    question: Question

    def traced(self) -> Answer:
        asked = {
            Question.CONNECTED: trace.connected,
            Question.UPSTREAM: trace.upstream,
            Question.DOWNSTREAM: trace.downstream,
        }
        found = asked[self.question](self.network, self.asset)
        follows = None if self.question is Question.CONNECTED else self._direction(found.links)
        return self._answer(found.nodes, found.links, direction=follows)

    def way(self, to: str | None) -> Answer:
        network = self.network
        found = trace.path(network, self.asset, to) if to else trace.path_to_end(network, self.asset)
        follows = None if to else self._direction(found.links)
        if not np.isfinite(found.length_m):
            return self._answer(found.nodes, found.links, direction=follows, is_path=False)
        detail = self._profile(found) if self.question is Question.PROFILE else None
        return self._answer(found.nodes, found.links, direction=follows, detail=detail)

    def loops(self) -> Answer:
        found = trace.loops(self.network, self.asset)
        length = found.shortest.length_m
        shortest_m = round(length, 3) if np.isfinite(length) else None
        ring = Ring(found.independent, ids(self.network.links, found.shortest.links), shortest_m)
        return self._answer(found.nodes, found.links, detail=ring)

    def closed(self, stuck: Sequence[str]) -> Answer:
        cut, detail = closed_off(self.network, self.asset, stuck=stuck, name_of=self._name)
        return self._answer(cut.nodes, cut.links, detail=detail)

    def unsupplied(self, stuck: Sequence[str]) -> Answer:
        network = self.network
        node, link = network.find(self.asset)
        if network.valve_node[node] if node >= 0 else network.valve_link[link]:
            lost = isolation.unsupplied_behind(network, [self.asset])
        else:
            lost = isolation.unsupplied(network, isolation.isolate(network, self.asset, stuck=stuck))
        hydrants, customers = (
            ids(network.nodes, lost.nodes[network.node_kind[lost.nodes] == NODE_KINDS.index(kind)])
            for kind in (NodeKind.HYDRANT, NodeKind.CUSTOMER)
        )
        return self._answer(lost.nodes, lost.links, detail=Loss(lost.was_supplied, hydrants, customers))

    def touched(self, stuck: Sequence[str], more: dict[str, Any]) -> Answer:
        """Ask the questions that look beyond the network, at buildings and neighbours; loaded when first asked."""
        if self.question is Question.IMPACT:
            from twin.effects.impact import impact  # noqa: PLC0415  # they need every layer of the city

            detail: Any = impact(self.city, self.network, self.asset, stuck=stuck, **more)
            return self._named(detail.unsupplied_nodes, detail.unsupplied_links, detail)
        if self.question is Question.ADJACENCY:
            from twin.effects.adjacency import gas_reach  # noqa: PLC0415  # as above

            detail = gas_reach(self.city, self.network, self.asset, **more)
            return self._named(detail.reach_manholes, detail.reach_links, detail)
        from twin.effects.cascade import cascade  # noqa: PLC0415  # as above

        detail = cascade(self.city, self.network, self.asset, **more)
        return self._named((), [each.link for each in detail.links], detail)

    def _answer(
        self,
        nodes: NDArray[np.int32],
        links: NDArray[np.int32],
        *,
        direction: Basis | None = None,
        detail: Any = None,
        is_path: bool = True,
    ) -> Answer:
        network = self.network
        return Answer(
            self.question,
            self.asset,
            ids(network.nodes, nodes),
            ids(network.links, links),
            round(float(network.length_m[links].sum()), 3) if is_path else None,
            trace.rests_on(network, links),
            direction,
            detail,
        )

    def _named(self, nodes: Sequence[AssetId], links: Sequence[AssetId], detail: Any) -> Answer:
        network = self.network
        at = np.array([network.link_index(link) for link in links], np.int32)
        length_m = round(float(network.length_m[at].sum()), 3)
        return Answer(self.question, self.asset, tuple(nodes), tuple(links), length_m, detail.rests_on, detail=detail)

    def _direction(self, links: NDArray[np.int32]) -> Basis:
        return Basis.STATED if trace.gravity(self.network)[links].all() else Basis.INFERRED

    def _name(self, asset: AssetId) -> str:
        return str(getattr(self.city.asset(asset), "name", ""))

    def _profile(self, found: trace.Path) -> Profile:
        network, city = self.network, self.city
        nodes = [cast("Node", city.asset(asset)) for asset in ids(network.nodes, found.nodes)]
        links = [cast("Link", city.asset(asset)) for asset in ids(network.links, found.links)]
        stated = bool(trace.gravity(network)[found.links].all())
        return profile(nodes, links, network.length_m[found.links].tolist(), gravity=stated)
