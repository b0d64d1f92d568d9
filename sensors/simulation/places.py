"""Where faults happen: places that the seed may choose, each with a device near enough to notice."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sensors.device import Device, DeviceId
from sensors.simulation.faults import FaultKind
from sensors.simulation.site import Conduit, Pipe, Site
from twin.asset import AssetId, asset_id
from twin.errors import UnknownError

MAINS_M = (0.15, 0.35)
"""Diameters of the mains that burst: street mains, neither services nor transmission mains."""
NEAR_M = 150.0
STEPS_ABOVE = 2
"""At most this many conduits between a blockage and the level device above it."""
LEAST_SHARE = 0.5
"""Of the fastest filling (flow by crown squared) behind a conduit that can be blocked: slower ones are not watched."""


@dataclass(frozen=True, slots=True)
class Blockable:
    """A conduit that may be blocked, the manhole above it that a level device watches, and that device's crown.

    `rise_m` is the invert of the watched manhole above that of the conduit's upper end.
    """

    conduit: Conduit
    watched: str
    crown_m: float
    rise_m: float


def choose(
    kind: FaultKind, site: Site, flow: Callable[[str], float], rng: np.random.Generator, taken: Iterable[str] = ()
) -> str:
    """Return a place for a fault: an asset id, or a device id for faults of devices.

    `flow` gives the flow of a conduit (m³/s); `taken` are places already chosen. UnknownError when there is none.
    """
    if kind is FaultKind.BURST:
        places = [asset_id(site.water.name, "link", pipe.name) for pipe in burstable(site)]
    elif kind is FaultKind.BLOCKAGE:
        filling = {b.conduit.name: flow(b.conduit.name) / b.crown_m**2 for b in blockable(site)}
        enough = LEAST_SHARE * max(filling.values(), default=0.0)
        places = [asset_id(site.drainage.name, "link", name) for name in filling if filling[name] >= enough]
    elif kind is FaultKind.GAS_LEAK:
        places = [d.asset for d in _measuring(site, {"combustible_gas", "methane"}) if _at_manhole(site, d)]
    else:
        quantities = {"pressure"} if kind is FaultKind.STUCK else {"pressure", "level", "flow"}
        places = [d.id for d in _measuring(site, quantities) if d.asset is not None]
    free = [place for place in places if place not in set(taken)]
    if not free:
        raise UnknownError(f"the district has no place for a {kind}", where=site.district)
    return str(free[int(rng.integers(len(free)))])


def burstable(site: Site) -> list[Pipe]:
    """Return the mains with a pressure device within reach."""
    near = nearest(site.pipes, _watched(site, "pressure"))
    return [
        pipe
        for pipe in site.pipes
        if MAINS_M[0] <= pipe.diameter_m <= MAINS_M[1] and near.get(pipe.end, (NEAR_M + 1, ""))[0] <= NEAR_M
    ]


def nearest(pipes: Sequence[Pipe], watched: Iterable[str]) -> Mapping[str, tuple[float, str]]:
    """Return for each node the distance along pipes (m) to the nearest watched node, and that node (Dijkstra)."""
    beside: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for pipe in pipes:
        beside[pipe.start].append((pipe.end, pipe.length_m))
        beside[pipe.end].append((pipe.start, pipe.length_m))
    found: dict[str, tuple[float, str]] = {}
    queue = [(0.0, name, name) for name in sorted(watched)]
    while queue:
        distance, here, origin = heapq.heappop(queue)
        if here in found:
            continue
        found[here] = (distance, origin)
        for there, length in beside[here]:
            if there not in found:
                heapq.heappush(queue, (distance + length, there, origin))
    return found


def blockable(site: Site) -> list[Blockable]:
    """Return the sanitary conduits below a level device whose pool reaches it before the street."""
    below: dict[str, list[Conduit]] = defaultdict(list)
    for conduit in site.conduits:
        if conduit.service != "storm":
            below[conduit.air.upper].append(conduit)
    found: list[Blockable] = []
    for device in _measuring(site, {"level"}):
        crown = next((p.crown_m for p in device.points if p.crown_m), None)
        manhole = name_of(device.asset)
        here = manhole if crown and _at_manhole(site, device) else ""
        for _ in range(STEPS_ABOVE + 1):
            if not here or crown is None:
                break
            for conduit in below[here]:
                rise = site.inverts[manhole] - site.inverts[here]
                if rise < crown / 2 and rise + 1.2 * crown < site.depths[here]:
                    found.append(Blockable(conduit, manhole, crown, rise))
            here = next((c.air.lower for c in below[here]), "")
    return found


def name_of(asset: AssetId | str | None) -> str:
    """Return the last part of an asset id, the name in its file."""
    return str(asset).split(":", 2)[-1] if asset else ""


def source_of(asset: AssetId | str | None) -> str:
    """Return the first part of an asset id, the file."""
    return str(asset).split(":", 1)[0] if asset else ""


def device_of(site: Site, place: str) -> DeviceId:
    """Return the device called `place`, or one bound to the asset `place`; UnknownError for neither."""
    for device in site.devices:
        if place in (device.id, device.asset):
            return device.id
    raise UnknownError(f"no device is called {place!r} or bound to it", where=site.district)


def _measuring(site: Site, quantities: set[str]) -> list[Device]:
    return [d for d in site.devices if not d.retired and any(p.quantity in quantities for p in d.points)]


def _watched(site: Site, quantity: str) -> set[str]:
    return {name_of(d.asset) for d in _measuring(site, {quantity}) if source_of(d.asset) == site.water.name}


def _at_manhole(site: Site, device: Device) -> bool:
    return source_of(device.asset) == site.drainage.name and name_of(device.asset) in site.depths
