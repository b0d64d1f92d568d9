"""Metered zones: parts of the water network that every drop enters and leaves through a meter.

A zone (district metered area, DMA, 独立计量区) is what hangs together once the network is cut at its flow meters and at
whatever is shut. What flows in, less what flows out and less what its tanks take up, is what its customers draw and
its pipes lose. A part with a supply that nobody measures (a reservoir, a tank without a level) has no balance.

Source: IWA, District Metered Areas Guidance Notes (2007), chapter 2 (zones, meters, boundaries); water balance as in
Lambert, Hirner, Losses from Water Supply Systems (IWA, 2000).
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import structlog
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sensors.detection import Candidate, Subject
from sensors.device import Device
from sensors.device_table import DeviceTable
from twin.asset import AssetId, LinkKind, Node, NodeKind, System
from twin.errors import UnavailableError, UnknownError
from twin.network.graph import SYSTEMS, Network

if TYPE_CHECKING:
    from sensors.detection.scope import Scope
    from twin.city import City
    from twin.network.ids import Ids

_SUPPLIES = (NodeKind.RESERVOIR, NodeKind.SOURCE)
MOST_CANDIDATES = 20
"""Pipes named with a finding about a zone, the longest first."""

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Meter:
    """A flow series at the edge of a zone; `sign` 1 where its positive flow enters the zone, -1 where it leaves."""

    series: int
    sign: float


@dataclass(frozen=True, slots=True)
class Tank:
    """A tank in a zone: the series of its level, and its plan area in m²."""

    series: int
    area_m2: float


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """A part of the network with a balance.

    `name` is made of the devices that let water in (``WF-DMA1``, several joined by ``+``). `pipes` are the ids of its
    pipes and `length_m` their lengths, longest first. `centre` is the mean easting and northing of their ends in the
    city's CRS, metres; NaN where nobody knows.
    """

    name: str
    meters: tuple[Meter, ...]
    tanks: tuple[Tank, ...]
    pipes: Sequence[AssetId]
    length_m: NDArray[np.float64]
    centre: tuple[float, float]

    @property
    def subject(self) -> Subject:
        """What a detection about this zone is about."""
        return Subject(f"zone:{self.name}")

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The longest pipes, weighted by their share of the zone's length: bursts per kilometre taken as equal."""
        share = self.length_m[:MOST_CANDIDATES] / (float(self.length_m.sum()) or 1.0)
        return tuple(map(Candidate, self.pipes[:MOST_CANDIDATES], share.tolist()))


@dataclass(frozen=True, slots=True)
class _Gauge:
    """The device that measures a link or node of the network, and the series of that."""

    device: Device
    series: int


def zones_of(scope: Scope) -> list[Zone]:
    """Return the zones of `scope`, by name; UnavailableError where flow is measured but no network is known.

    Parts without a balance are left out, and the log says why.
    """
    devices = DeviceTable.of(scope.devices)
    flows = list(_gauges(devices, "flow"))
    if not flows:
        return []
    if scope.graph is None:
        raise UnavailableError(
            "water flow is measured, but no network is known", expected="a city with the water network"
        )
    graph = scope.graph
    meters = _by_index(flows, graph.links)
    part = _parts(graph, np.fromiter(meters, np.int64, len(meters)))
    edges: dict[int, list[tuple[_Gauge, float]]] = defaultdict(list)
    for link, gauge in meters.items():
        upper, lower = int(part[graph.start[link]]), int(part[graph.end[link]])
        if upper != lower:  # else water can pass beside the meter, within the part
            edges[upper].append((gauge, -1.0))
            edges[lower].append((gauge, 1.0))
    inside = _Inside(graph, part, scope.city, _by_index(_gauges(devices, "level"), graph.nodes))
    zones: list[Zone] = []
    for number, gauges in edges.items():
        pipes = inside.pipes(number)
        if not len(pipes):
            continue  # a supply with its meter, or a customer's
        name = _name(gauges)
        try:
            tanks = inside.tanks(number)
        except UnknownError as error:
            logger.info("zone_without_balance", zone=name, reason=error.what)
            continue
        edge = tuple(Meter(gauge.series, sign) for gauge, sign in gauges)
        centre = graph.xyz[graph.start[pipes], :2].mean(axis=0)
        lengths = graph.length_m[pipes]
        zones.append(Zone(name, edge, tanks, list(graph.links[pipes]), lengths, (float(centre[0]), float(centre[1]))))
    return sorted(zones, key=lambda zone: zone.name)


def hashes_of(zones: Sequence[Zone]) -> NDArray[np.int64]:
    """Return a number for the name of each zone, the same in every process: what saved state knows it by."""
    digests = [hashlib.blake2b(zone.name.encode(), digest_size=8).digest() for zone in zones]
    return np.array([int.from_bytes(digest, "big", signed=True) for digest in digests], np.int64)


def _name(gauges: Sequence[tuple[_Gauge, float]]) -> str:
    """Return the devices that let water in, or all of them where none does by its sign, joined by ``+``."""
    entering = sorted(gauge.device.id for gauge, sign in gauges if sign > 0)
    return "+".join(entering or sorted(gauge.device.id for gauge, _ in gauges))


class _Inside:
    """What is in the parts of a network that was cut: their pipes, and their tanks."""

    def __init__(self, graph: Network, part: NDArray[np.int32], city: City | None, levels: dict[int, _Gauge]) -> None:
        self._graph, self._city, self._levels = graph, city, levels
        self._part = part
        pipes = np.flatnonzero(graph.links_of(LinkKind.PIPE) & _is_water(graph))
        start, end = graph.start[pipes], graph.end[pipes]
        of = np.where(graph.shut_node[start], part[end], part[start])
        within = (part[start] == part[end]) | graph.shut_node[start] | graph.shut_node[end]
        pipes, of = pipes[within], of[within]
        order = np.lexsort((-graph.length_m[pipes], of))
        self._pipes, self._of = pipes[order], of[order]
        self._supplies = np.flatnonzero(graph.nodes_of(*_SUPPLIES))
        self._tanks = np.flatnonzero(graph.nodes_of(NodeKind.TANK))

    def pipes(self, number: int) -> NDArray[np.intp]:
        """Return the pipes of a part, the longest first."""
        return self._pipes[slice(*np.searchsorted(self._of, (number, number + 1)))]

    def tanks(self, number: int) -> tuple[Tank, ...]:
        """Return the tanks of a part; UnknownError where water comes in or is kept unmeasured."""
        supplies = self._supplies[self._part[self._supplies] == number]
        if len(supplies):
            raise UnknownError(f"{self._graph.nodes[supplies[0]]} supplies it without a meter")
        return tuple(self._tank(node) for node in self._tanks[self._part[self._tanks] == number].tolist())

    def _tank(self, node: int) -> Tank:
        asset, gauge = self._graph.nodes[node], self._levels.get(node)
        if gauge is None:
            raise UnknownError(f"nobody measures the level of {asset}")
        found = self._city.asset(asset) if self._city is not None else None
        diameter_m = found.properties.get("diameter_m") if isinstance(found, Node) else None
        if not isinstance(diameter_m, int | float) or diameter_m <= 0:
            raise UnknownError(f"{asset} has no diameter")
        return Tank(gauge.series, math.pi / 4 * diameter_m**2)


def _gauges(devices: DeviceTable, quantity: str) -> Iterator[_Gauge]:
    """Yield the water devices in service that are bound to an asset and measure `quantity`: its first series."""
    wanted = [kind.quantity == quantity and kind.system is System.WATER and not kind.retired for kind in devices.kinds]
    points = devices.points
    for number in np.unique(points.device[np.array(wanted, np.bool_)[points.kind]]).tolist():
        device = devices[number]
        if device.asset is not None:
            yield _Gauge(device, next(point.series for point in device.points if point.quantity == quantity))


def _by_index(gauges: Iterable[_Gauge], ids: Ids) -> dict[int, _Gauge]:
    """Return the gauges by the index of what they measure in `ids`; by name the first where one has several."""
    found: dict[int, _Gauge] = {}
    for gauge in sorted(gauges, key=lambda gauge: gauge.device.id):
        index = ids.find(str(gauge.device.asset))
        if index >= 0:
            found.setdefault(index, gauge)
    return found


def _is_water(graph: Network) -> NDArray[np.bool_]:
    return graph.system == SYSTEMS.index(System.WATER)


def _parts(graph: Network, metered: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return by node the number of its part once the water network is cut at `metered` links and what is shut."""
    joins = _is_water(graph) & ~graph.shut_link
    joins[metered] = False
    joins &= ~graph.shut_node[graph.start] & ~graph.shut_node[graph.end]
    ends = (graph.start[joins], graph.end[joins])
    size = len(graph.nodes)
    beside = coo_array((np.ones(len(ends[0]), np.bool_), ends), shape=(size, size))
    return connected_components(beside, directed=False)[1]


__all__ = ["Meter", "Tank", "Zone", "hashes_of", "zones_of"]
