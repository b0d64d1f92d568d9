"""Where gas in the drains may come from: gas pipes beside drains and manholes, ranked over their adjacency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sensors.detection import Candidate
from twin.asset import AssetId
from twin.effects.adjacency import GasReach, gas_reach

if TYPE_CHECKING:
    from twin.city import City
    from twin.network.graph import Network

MOST = 10
"""Candidates that are named at most."""
_SPEAKING = 3
"""Manholes whose surroundings are looked at for one finding, those with most gas."""


class GasSources:
    """The gas pipes around the manholes of `graph`, as `twin.effects.adjacency` knows them.

    A manhole's surroundings are worked out once, when gas is found there: 20 to 30 ms in a district of 2,000 nodes
    after the first, which prepares the whole city and is asked for when a detector is built.
    """

    def __init__(self, city: City, graph: Network) -> None:
        self._city, self._graph = city, graph
        self._known: dict[AssetId, GasReach] = {}

    @staticmethod
    def of(city: City, graph: Network) -> GasSources:
        """Return the gas pipes around `graph`, made at the first call: they outlive a detector that is built anew."""
        return graph.once(_Making(city))

    def around(self, manhole: AssetId) -> GasReach:
        """Return where gas found at `manhole` comes from and goes to."""
        found = self._known.get(manhole)
        if found is None:
            found = self._known[manhole] = gas_reach(self._city, self._graph, manhole)
        return found

    def way_m(self, manhole: AssetId, other: AssetId) -> float | None:
        """Return how far gas goes through the drains between two manholes, m; None where it does not."""
        return self.around(manhole).along_m.get(other)

    def ranked(self, found: Sequence[tuple[AssetId, float]]) -> tuple[Candidate, ...]:
        """Return the gas pipes that explain gas at manholes, `found` with how much of it, best first.

        A pipe's weight is its adjacency score at each manhole times the manhole's share of the gas; all sum to 1.
        `distance_m` is counted through drain and ground from the manhole with most.
        """
        loudest = sorted(found, key=lambda each: (-each[1], each[0]))[:_SPEAKING]
        score: dict[AssetId, float] = {}
        distance: dict[AssetId, float] = {}
        for manhole, excess in loudest:
            for each in self.around(manhole).candidates:
                score[each.link] = score.get(each.link, 0.0) + excess * each.score
                distance.setdefault(each.link, each.along_m + each.gap_m)
        whole = sum(score.values())
        if not whole > 0:
            return ()
        best = sorted(score, key=lambda link: (-round(score[link] / whole, 9), link))[:MOST]
        return tuple(Candidate(link, score[link] / whole, round(distance[link], 2)) for link in best)


@dataclass(frozen=True)
class _Making:
    city: City

    def __call__(self, network: Network) -> GasSources:
        return GasSources(self.city, network)


__all__ = ["GasSources"]
