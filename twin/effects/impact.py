"""What an event at an asset touches: valves to close, what is then without supply, and the people in it.

In water, gas and heat the asset is isolated (`twin.network.isolation`) and whatever no source reaches then is without
supply. In drains nothing is closed: what flows there goes on downstream to an outfall, and what lies upstream backs up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twin.asset import AssetId, NodeKind, System
from twin.effects.surroundings import Affected, Surroundings, Within, people_of, sensitive_of
from twin.network.closure import NextRing, Valve, closed_off
from twin.network.graph import GRAVITY
from twin.network.isolation import unsupplied
from twin.network.trace import RestsOn, downstream, rests_on, upstream

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.city import City
    from twin.network.graph import Network


@dataclass(frozen=True, slots=True)
class Impact:
    """What an event at `asset` touches; `network_asset` is the node or link that it stands for.

    `valves` are to be closed, `keep_shut` are shut and have to stay so, `next_ring` tells for each of `valves` what to
    close if it sticks; `passed` are the valves inside that do not move. `sources` feed the closed part and have no
    valve before them. `links` and `nodes` are cut off with the asset; `unsupplied_links` and `unsupplied_nodes` are
    all that no source reaches then, hydrants and regulators among them; `was_supplied` is False where no source
    reached the asset before: then only what is cut off is counted. In drains `downstream_links`, to the `outfalls`,
    and `upstream_links` say where it goes and where it comes from, and `buildings` drain there.

    `people` is the sum over `buildings` of those whose file says it (None: no file does), `unknown_people` how many
    buildings say nothing. `rests_on` counts the links of the answer.
    """

    asset: AssetId
    network_asset: AssetId
    system: System
    links: Sequence[AssetId] = ()
    nodes: Sequence[AssetId] = ()
    valves: Sequence[Valve] = ()
    keep_shut: Sequence[Valve] = ()
    passed: Sequence[AssetId] = ()
    next_ring: Sequence[NextRing] = ()
    sources: Sequence[AssetId] = ()
    was_supplied: bool = True
    unsupplied_links: Sequence[AssetId] = ()
    unsupplied_nodes: Sequence[AssetId] = ()
    unsupplied_m: float = 0.0
    hydrants: Sequence[AssetId] = ()
    regulators: Sequence[AssetId] = ()
    downstream_links: Sequence[AssetId] = ()
    upstream_links: Sequence[AssetId] = ()
    outfalls: Sequence[AssetId] = ()
    buildings: Sequence[Affected] = ()
    storeys: Sequence[Within] = ()
    spaces: Sequence[Within] = ()
    people: int | None = None
    unknown_people: int = 0
    sensitive: Sequence[Affected] = ()
    rests_on: RestsOn = RestsOn(0, 0, 0, 0.0)  # noqa: RUF009  # it is frozen


def impact(
    city: City, network: Network, asset: str, *, stuck: Sequence[str] = (), system: System | None = None
) -> Impact:
    """Return what an event at `asset` touches.

    `network` is the city's, its valves as they stand now. `asset` is a node or link, or anything of a building model;
    `system` says which of a building's services is meant. `stuck` are valves that do not move. Raises UnknownError
    where the city has no such asset, or it belongs to no network.
    """
    around = Surroundings.of(city, network)
    network_asset = around.network_asset(asset, system)
    node, link = network.find(network_asset)
    of = System(str((around.nodes if node >= 0 else around.links).loc[network_asset, "system"]))
    told = _Telling(network, around, AssetId(asset), network_asset, of)
    return told.drained(node, link) if of in GRAVITY else told.closed(stuck)


@dataclass(frozen=True, slots=True)
class _Telling:
    """One question: what it is about, and the network to ask."""

    network: Network
    around: Surroundings
    asset: AssetId
    network_asset: AssetId
    system: System

    def closed(self, stuck: Sequence[str]) -> Impact:
        """Answer for a network under pressure: close it off."""
        network = self.network
        cut, how = closed_off(network, self.network_asset, stuck=stuck, name_of=self._name)
        lost = unsupplied(network, cut)
        nodes, links = np.union1d(lost.nodes, cut.nodes), np.union1d(lost.links, cut.links)
        buildings = self.around.served(self._nodes(nodes), [self.system])
        storeys, spaces = self.around.within([each.building for each in buildings])
        return Impact(
            asset=self.asset,
            network_asset=self.network_asset,
            system=self.system,
            links=self._links(cut.links),
            nodes=self._nodes(cut.nodes),
            valves=how.close,
            keep_shut=how.shut,
            passed=how.passed,
            next_ring=how.next_rings,
            sources=how.sources,
            was_supplied=lost.was_supplied,
            unsupplied_links=self._links(links),
            unsupplied_nodes=self._nodes(nodes),
            unsupplied_m=round(float(network.length_m[links].sum()), 1),
            hydrants=self._of_kind(nodes, NodeKind.HYDRANT),
            regulators=self._of_kind(nodes, NodeKind.REGULATOR),
            buildings=buildings,
            storeys=storeys,
            spaces=spaces,
            people=people_of(buildings),
            unknown_people=sum(each.people is None for each in buildings),
            sensitive=sensitive_of(buildings),
            rests_on=rests_on(network, links),
        )

    def drained(self, node: int, link: int) -> Impact:
        """Answer for drains: down to the outfall, and all that comes from above."""
        network = self.network
        upper, lower = (node, node) if node >= 0 else (network.start[link], network.end[link])
        above, below = upstream(network, network.nodes[upper]), downstream(network, network.nodes[lower])
        own = np.array([link] if link >= 0 else [], np.int32)
        down, up = np.union1d(below.links, own), np.union1d(above.links, own)
        buildings = self.around.served(self._nodes(above.nodes), [self.system])
        storeys, spaces = self.around.within([each.building for each in buildings])
        return Impact(
            asset=self.asset,
            network_asset=self.network_asset,
            system=self.system,
            links=self._links(own),
            nodes=self._nodes(np.array([node] if node >= 0 else [], np.int32)),
            downstream_links=self._links(down),
            upstream_links=self._links(up),
            outfalls=self._of_kind(below.nodes, NodeKind.OUTFALL),
            buildings=buildings,
            storeys=storeys,
            spaces=spaces,
            people=people_of(buildings),
            unknown_people=sum(each.people is None for each in buildings),
            sensitive=sensitive_of(buildings),
            rests_on=rests_on(network, np.union1d(down, up)),
        )

    def _name(self, asset: AssetId) -> str:
        around = self.around
        return str((around.nodes if asset in around.nodes.index else around.links).loc[asset, "name"])

    def _of_kind(self, nodes: NDArray[np.int32], kind: NodeKind) -> list[AssetId]:
        return self._nodes(nodes[self.network.nodes_of(kind)[nodes]])

    def _nodes(self, nodes: NDArray[np.int32]) -> list[AssetId]:
        return self.network.nodes[nodes].tolist()

    def _links(self, links: NDArray[np.int32]) -> list[AssetId]:
        return self.network.links[links].tolist()
