"""Where detections are: in the plan of the city, and in which connected part of its networks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, Subject
from sensors.detection.scope import Scope
from sensors.device import Device
from sensors.device_table import DeviceTable
from twin.asset import AssetId

if TYPE_CHECKING:
    from twin.network.graph import Network

_MOST_PLACES = 200
"""Of one zone: its pipes may be thousands, and a few hundred of them say where it is."""

_NO_PART = -1
"""The part of what is in no network that is known."""


@dataclass(frozen=True, slots=True)
class At:
    """A place, metres in the city's CRS, and the connected part of a network that it is in (-1: none is known)."""

    easting: float
    northing: float
    part: int


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a detection is. `device` is the one that measured it, if it was one; `asset` what it is about."""

    subject: Subject
    system: str = ""
    device: str = ""
    asset: AssetId | None = None
    at: tuple[At, ...] = ()


class Places:
    """Says where detections are, and how far from one another.

    Distances are in the plan between assets that open pipes join; no way through the ground joins others, unless the
    caller allows it. Where the city is not known, a device's own coordinates count.
    """

    def __init__(self, scope: Scope) -> None:
        self._devices = DeviceTable.of(scope.devices)
        self._graph = scope.graph

    def of(self, said: Detection) -> Spot:
        """Return where a detection is: its asset's place, or its zone's pipes and the devices that speak for it."""
        scheme, _, rest = said.subject.partition(":")
        if scheme in {"asset", "zone"}:
            asset = AssetId(rest)
            at = self._of_asset(asset)
            if not at:
                candidates = (each.asset for each in said.evidence.candidates[:_MOST_PLACES])
                at = tuple(place for each in candidates for place in self._of_asset(each))
            seers = [device for each in said.evidence.points if (device := self._device(each)) is not None]
            at = at or tuple(place for device in seers for place in self._of_device(device))
            return Spot(said.subject, self._system(asset) or _first_system(seers), asset=asset, at=at)
        device = self._device(said.subject)
        if device is None:
            return Spot(said.subject, device=_name(said.subject))
        return Spot(said.subject, device.system, device.id, device.asset, self._of_device(device))

    def at(self, asset: AssetId, otherwise: Spot) -> Spot:
        """Return where an asset is; as good as `otherwise` where the city does not know it."""
        at = self._of_asset(asset)
        return replace(otherwise, asset=asset, at=at) if at else otherwise

    def _device(self, subject: Subject) -> Device | None:
        row = self._devices.find(_name(subject))
        return None if row < 0 else self._devices[row]

    def _of_device(self, device: Device) -> tuple[At, ...]:
        found = self._of_asset(device.asset) if device.asset else ()
        if not found and device.easting is not None and device.northing is not None:
            return (At(device.easting, device.northing, _NO_PART),)
        return found

    def _of_asset(self, asset: AssetId) -> tuple[At, ...]:
        graph = self._graph
        if graph is None:
            return ()
        ends = self._ends(graph, asset)
        if not ends:
            return ()
        east, north = graph.xyz[ends, :2].mean(axis=0).tolist()
        if math.isnan(east) or math.isnan(north):
            return ()
        return (At(east, north, int(graph.once(_parts)[ends[0]])),)

    def _ends(self, graph: Network, asset: AssetId) -> list[int]:
        node = graph.nodes.find(asset)
        if node >= 0:
            return [node]
        link = graph.links.find(asset)
        return [] if link < 0 else [int(graph.start[link]), int(graph.end[link])]

    def _system(self, asset: AssetId) -> str:
        """Return the system of a link, or of a node's first link; empty where the city is not known."""
        graph = self._graph
        if graph is None:
            return ""
        from twin.network.graph import SYSTEMS  # noqa: PLC0415  # a worker without a city does not load it

        link, node = graph.links.find(asset), graph.nodes.find(asset)
        if link < 0 and node >= 0 and graph.indptr[node] < graph.indptr[node + 1]:
            link = int(graph.edge[graph.indptr[node]])
        return "" if link < 0 else SYSTEMS[int(graph.system[link])].value


class Spots:
    """Several spots, among which the one that is nearest to another is found at once."""

    def __init__(self, spots: Iterable[Spot]) -> None:
        spots = tuple(spots)
        self._known = {name for spot in spots for name in _names(spot)}
        at = [(place.easting, place.northing, place.part) for spot in spots for place in spot.at]
        self._easting, self._northing, self._part = np.array(at, np.float64).reshape(-1, 3).T

    def apart_m(self, spot: Spot, *, piped: bool) -> float:
        """Return how far a spot is from the nearest of these, metres; infinite where nothing joins them, or nowhere.

        `piped` wants open pipes between them. The same asset or device is no distance away, known or not.
        """
        if not self._known.isdisjoint(_names(spot)):
            return 0.0
        return min((self._nearest_m(place, piped=piped) for place in spot.at), default=math.inf)

    def _nearest_m(self, place: At, *, piped: bool) -> float:
        away = np.hypot(self._easting - place.easting, self._northing - place.northing)
        if piped and place.part != _NO_PART:
            away = away[(self._part == place.part) | (self._part == _NO_PART)]
        return float(away.min(initial=math.inf))


def apart_m(one: Spot, other: Spot, *, piped: bool) -> float:
    """Return how far two spots are from one another, as `Spots` says.

    >>> here, there = Spot(Subject("a"), at=(At(0.0, 0.0, 1),)), Spot(Subject("b"), at=(At(30.0, 40.0, 2),))
    >>> apart_m(here, there, piped=False), apart_m(here, there, piped=True)
    (50.0, inf)
    """
    return Spots((other,)).apart_m(one, piped=piped)


def _names(spot: Spot) -> list[tuple[str, str]]:
    """Return what a spot is known by: its subject, and its asset and device where it has them."""
    names = [("subject", str(spot.subject)), ("asset", str(spot.asset or "")), ("device", spot.device)]
    return [(kind, name) for kind, name in names if name]


def _parts(network: Network) -> NDArray[np.int32]:
    """Return the number of the connected part that each node is in, past nothing that is shut."""
    from scipy.sparse import coo_array  # noqa: PLC0415  # a worker without a city does not load it
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415  # as above

    size = len(network.nodes)
    is_open = ~(network.shut_link | network.shut_node[network.start] | network.shut_node[network.end])
    start, end = network.start[is_open], network.end[is_open]
    joined = coo_array((np.ones(len(start), np.bool_), (start, end)), shape=(size, size))
    return connected_components(joined, directed=False)[1]


def _name(subject: Subject) -> str:
    """Return the device of a subject that is one, or one's point; empty for another."""
    scheme, _, rest = subject.partition(":")
    return rest.partition("/")[0] if scheme in {"point", "device"} else ""


def _first_system(devices: Iterable[Device]) -> str:
    return next((device.system.value for device in devices), "")


__all__ = ["At", "Places", "Spot", "Spots", "apart_m"]
