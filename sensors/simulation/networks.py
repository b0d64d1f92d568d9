"""The three networks of a district in one: they go on together, break, and say what is true at a device."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sensors.device import Device, Point
from sensors.simulation.background import BACKGROUND
from sensors.simulation.drain_air import LOWER_EXPLOSIVE_LIMIT, DrainAir
from sensors.simulation.drainage import DrainageModel, DryDay, dry_day
from sensors.simulation.faults import FaultKind
from sensors.simulation.gas_network import GasNetwork
from sensors.simulation.places import blockable, name_of, nearest, source_of
from sensors.simulation.site import Conduit, Site
from sensors.simulation.water import WaterModel
from twin.asset import System
from twin.errors import UnknownError

Probe: TypeAlias = Callable[[], float]

STEP = timedelta(seconds=10)
"""Step of the live networks."""
BURST_LOSS = 0.25
"""A burst is as large as takes this share of its pressure from the nearest pressure device, at most the whole bore. No
standard: large enough to be felt in its DMA, not so large that the whole district falls below its limits."""
LEAK_M3S = 2e-3
"""Methane that a gas leak brings into a manhole: 7 m³/h, a hole of 8 mm in a low-pressure main
(Cd A √(2 Δp / ρ) with 2.6 kPa, 0.72 kg/m³)."""
BLOCKED_SHARE = 0.0005
"""Opening that a blockage leaves, share of the section."""
BUILT_UP_SHARE = 0.79
"""Level at the watched manhole that a blockage has built up before it closes, share of the crown."""

_BURST_SIZES, _BURST_GROWTH, _RUNS = 32, 1.2, 1e-6
_DEFAULT_BORE_M = 0.2


class Networks:
    """Water, drains and gas of `site` from `start` (aware) on.

    The drains are run from the full hour before `drains_from` on; until then they are those of a dry-weather day,
    which is kept in the folder `cache`.
    """

    def __init__(
        self, site: Site, start: datetime, drains_from: datetime, cache: Path, rng: np.random.Generator
    ) -> None:
        self._site = site
        self._at = start
        self._local = start.astimezone(site.time_zone)
        self.water = WaterModel(site.water, start, site.time_zone, rng)
        local = drains_from.astimezone(site.time_zone).replace(minute=0, second=0, microsecond=0)
        self._dry: DryDay = dry_day(site.drainage, local.date(), site.time_zone, cache)
        self._drainage = DrainageModel(
            site.drainage, local.astimezone(UTC), site.time_zone, self._dry.hot_start(local.hour)
        )
        self._gas = GasNetwork(site.gas_nodes, site.gas_pipes)
        self._air = DrainAir(site.depths, [conduit.air for conduit in site.conduits], start)
        self._pipes = {pipe.name: pipe for pipe in site.pipes}
        self._conduits = {conduit.name: conduit for conduit in site.conduits}

    def advance(self, to: datetime) -> None:
        """Move all of them on to `to`."""
        self.water.advance(to)
        self._drainage.advance(to, STEP)
        self._air.advance(to)
        self._at, self._local = to, to.astimezone(self._site.time_zone)

    def close(self) -> None:
        """End the runs."""
        self.water.close()
        self._drainage.close()

    def usual_flow(self, conduit: str, at: datetime) -> float:
        """Return the dry-weather flow of a conduit at the time of day of `at`, m³/s."""
        return self._dry.flow_of(conduit, at.astimezone(self._site.time_zone))

    def require(self, kind: FaultKind, place: str) -> None:
        """Raise UnknownError when `place` is not where a fault of that kind can be."""
        name = name_of(place)
        if kind is FaultKind.BURST:
            self.water.pressure(self._junction(name))
        elif kind is FaultKind.BLOCKAGE:
            self._conduit(name)
        elif kind is FaultKind.GAS_LEAK:
            self._manhole(name)

    def begin(self, kind: FaultKind, place: str) -> None:
        """Break something at the present moment; UnknownError when `place` is not of that kind."""
        name = name_of(place)
        if kind is FaultKind.BURST:
            self._burst(name)
        elif kind is FaultKind.BLOCKAGE:
            self._drainage.block(name, BLOCKED_SHARE * math.pi / 4 * self._conduit(name).air.diameter_m ** 2)
        elif kind is FaultKind.GAS_LEAK:
            self._air.leak(self._manhole(name), LEAK_M3S)

    def build_up(self, place: str) -> None:
        """Let a blockage begin to build up: it lets pass what arrives once the water above stands high."""
        conduit = self._conduit(name_of(place))
        for found in blockable(self._site):
            if found.conduit.name == conduit.name:
                self._drainage.dam(conduit.name, found.rise_m + BUILT_UP_SHARE * found.crown_m)
                return

    def mend(self, kind: FaultKind, place: str) -> None:
        """Put it right again."""
        name = name_of(place)
        if kind is FaultKind.BURST:
            self.water.burst(self._junction(name), 0.0)
        elif kind is FaultKind.BLOCKAGE:
            self._drainage.clear(name)
        elif kind is FaultKind.GAS_LEAK:
            self._air.leak(self._manhole(name), 0.0)

    def probe(self, device: Device, point: Point, kind: float) -> Probe | None:
        """Return how to ask what is true at a point, SI; None where no model knows it.

        `kind` (0 to 1) tells devices apart where only a usual value is known.
        """
        source, name = source_of(device.asset), name_of(device.asset)
        found: Probe | None = None
        if source == self._site.water.name:
            found = self._of_water(name, point.quantity)
        elif source == self._site.drainage.name:
            found = self._of_drains(name, point.quantity, kind)
        elif device.system is System.GAS and ":building:" in str(device.asset):
            found = _nothing  # no gas in a building
        elif device.system is System.GAS:
            found = self._of_gas(name, point.quantity)
        return found or self._usual(point.quantity, kind)

    def _of_water(self, name: str, quantity: str) -> Probe | None:
        water, pipe = self.water, self._pipes.get(name)
        node = pipe.end if pipe else name
        return {
            "pressure": lambda: water.pressure(node),
            "level": lambda: water.level(name),
            "flow": lambda: water.flow(name),
            "velocity": lambda: water.velocity(name),
            "pump_state": lambda: float(water.running(name)),
        }.get(quantity)

    def _of_drains(self, name: str, quantity: str, kind: float) -> Probe | None:
        dry, run, usual = self._dry, self._drainage, self._usual(quantity, kind)
        if quantity in ("combustible_gas", "methane") and name in self._air and usual:
            share = LOWER_EXPLOSIVE_LIMIT if quantity == "combustible_gas" else 1.0
            return lambda: usual() + self._air.methane(name) / share
        return {
            "level": lambda: run.level(name) if self._runs else dry.level(name, self._local),
            "flow": lambda: run.flow(name) if self._runs else dry.flow_of(name, self._local),
            "pump_state": lambda: float(abs(run.flow(name) if self._runs else dry.flow_of(name, self._local)) > _RUNS),
        }.get(quantity)

    def _of_gas(self, name: str, quantity: str) -> Probe | None:
        return {
            "pressure": lambda: self._gas.pressure(name, self._local),
            "flow": lambda: self._gas.flow(name, self._local),
        }.get(quantity)

    def _usual(self, quantity: str, kind: float) -> Probe | None:
        background = BACKGROUND.get(quantity)
        return None if background is None else lambda: background(kind, self._local)

    @property
    def _runs(self) -> bool:
        """Whether the drains are being run, and not yet taken from the dry day."""
        return self._at >= self._drainage.start

    def _burst(self, name: str) -> None:
        """Open a hole, by a fifth larger with every try until the nearest pressure device feels it."""
        node = self._junction(name)
        pressed = {name_of(d.asset) for d in self._site.devices if any(p.quantity == "pressure" for p in d.points)}
        near = nearest(self._site.pipes, pressed & {end for p in self._site.pipes for end in (p.start, p.end)})
        _, watched = near.get(node, (0.0, node))
        bore = self._pipes[name].diameter_m if name in self._pipes else _DEFAULT_BORE_M
        whole = math.pi / 4 * bore**2
        left = (1 - BURST_LOSS) * self.water.pressure(watched)
        for size in range(_BURST_SIZES, -1, -1):
            self.water.burst(node, whole / _BURST_GROWTH**size)
            self.water.resolve()
            if self.water.pressure(watched) < left:
                return

    def _junction(self, name: str) -> str:
        pipe = self._pipes.get(name)
        return pipe.end if pipe else name

    def _conduit(self, name: str) -> Conduit:
        try:
            return self._conduits[name]
        except KeyError:
            raise UnknownError(f"no conduit is called {name!r}", where=str(self._site.drainage)) from None

    def _manhole(self, name: str) -> str:
        if name not in self._air:
            raise UnknownError(f"no manhole is called {name!r}", where=str(self._site.drainage))
        return name


def _nothing() -> float:
    return 0.0
