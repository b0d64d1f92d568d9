"""Closing an asset off, as crews are told it: which valves, where they stand, and what instead if one sticks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from twin.asset import AssetId, LinkKind
from twin.network.graph import LINK_KINDS
from twin.network.isolation import isolate, next_ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.network.graph import Network
    from twin.network.ids import Ids
    from twin.network.isolation import Isolation

_STATIONS = (LinkKind.PUMP, LinkKind.COMPRESSOR, LinkKind.REGULATOR)


@dataclass(frozen=True, slots=True)
class Valve:
    """A valve and where it stands: easting and northing in the city's CRS, metres (None: not drawn).

    `kind` is node or link, as the file has it.
    """

    asset: AssetId
    kind: str
    name: str
    easting: float | None
    northing: float | None


@dataclass(frozen=True, slots=True)
class NextRing:
    """What to close besides if the valve `sticks` does not move; `sources` feed it all the same."""

    sticks: AssetId
    close: Sequence[Valve]
    sources: Sequence[AssetId] = ()


@dataclass(frozen=True, slots=True)
class Closure:
    """What isolates an asset.

    `close`: valves to close now. `shut`: shut already, and to stay so. `passed`: valves inside that do not move.
    `next_rings`: one for each valve of `close`. `sources` inside have no valve before them: as long as they run,
    closing is not enough. `stations`: pumps, compressors, regulators and control valves inside; they are no isolating
    valves, but shutting one at its station may make what is cut off smaller.
    """

    close: Sequence[Valve]
    shut: Sequence[Valve]
    passed: Sequence[AssetId]
    next_rings: Sequence[NextRing]
    sources: Sequence[AssetId]
    stations: Sequence[AssetId]


def closed_off(
    network: Network, asset: str, *, stuck: Sequence[str], name_of: Callable[[AssetId], str]
) -> tuple[Isolation, Closure]:
    """Return what closing `asset` off cuts off, and how it is done; `stuck` are valves that do not move.

    `name_of` gives a valve's name. Raises UnknownError where `asset` or a stuck valve is not in the network.
    """
    cut = isolate(network, asset, stuck=stuck)

    def valves(nodes: NDArray[np.int32], links: NDArray[np.int32]) -> list[Valve]:
        middles = network.xyz[network.start[links], :2] / 2 + network.xyz[network.end[links], :2] / 2
        found = [
            *((each, "node", at) for each, at in zip(ids(network.nodes, nodes), network.xyz[nodes, :2], strict=True)),
            *((each, "link", at) for each, at in zip(ids(network.links, links), middles, strict=True)),
        ]
        return [
            Valve(each, kind, name_of(each), *(None if np.isnan(value) else round(float(value), 3) for value in at))
            for each, kind, at in found
        ]

    close = valves(cut.valve_nodes, cut.valve_links)
    rings: list[NextRing] = []
    for valve in close:
        ring = next_ring(network, asset, valve.asset, stuck=stuck)
        besides = valves(ring.valve_nodes, ring.valve_links)
        rings.append(NextRing(valve.asset, besides, ids(network.nodes, ring.sources)))
    return cut, Closure(
        close=close,
        shut=valves(cut.shut_nodes, cut.shut_links),
        passed=[*ids(network.nodes, cut.passed_nodes), *ids(network.links, cut.passed_links)],
        next_rings=rings,
        sources=ids(network.nodes, cut.sources),
        stations=_stations(network, cut),
    )


def ids(among: Ids, at: NDArray[np.int32]) -> list[AssetId]:
    """Return the ids at the positions `at`."""
    return cast("list[AssetId]", among[at].tolist())


def _stations(network: Network, cut: Isolation) -> list[AssetId]:
    inside = cut.links
    controls = (network.link_kind[inside] == LINK_KINDS.index(LinkKind.VALVE)) & ~network.valve_link[inside]
    kinds = [LINK_KINDS.index(kind) for kind in _STATIONS]
    return ids(network.links, inside[np.isin(network.link_kind[inside], kinds) | controls])
