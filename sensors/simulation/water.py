"""The water network, alive: EPANET solved step by step through its toolkit.

Demands follow the patterns of the input file by local time of day. Patterns are stairs in EPANET; here they are
interpolated between the middles of their steps, because a city does not turn all its taps on the hour. Demand is
pressure-driven (Wagner et al. 1988: none at 0 m, full from 14 m) and fluctuates as one first-order autoregressive
process (3 %, memory of half an hour). A burst is a hole: q = Cd A √(2 g h), an EPANET emitter. Everything that leaves
this module is SI.
"""

from __future__ import annotations

import math
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from sensors.hydraulics.epanet import (
    FOOT_M,
    PA_PER_M,
    Count,
    Epanet,
    EpanetError,
    LinkProperty,
    NodeProperty,
    Option,
    Time,
)
from twin.errors import InputError, UnknownError

GRAVITY = 9.80665
DISCHARGE = 0.6
"""Discharge coefficient of a hole with a sharp edge."""
FULL_DEMAND_M = 14.0
"""Pressure from which customers draw all they want: 10 m for one storey and 4 m (GB 50013-2018, 3.0.9)."""

_PSI_PER_FOOT = 0.4333
_TEN_YEARS_S = 10 * 365 * 86_400
_PATTERN_STEP_S = 300
_REFERENCE_M, _PIN_HOLE = 30.0, 1e-9
_FLUCTUATION, _MEMORY_S = 0.03, 1800.0


class WaterModel:
    """An EPANET network from `start` on; `advance` moves it, the other methods say how it stands at `time`.

    `start` is aware; `step` is the longest hydraulic step and may be changed. InputError when EPANET refuses the file.
    """

    def __init__(
        self,
        inp: Path,
        start: datetime,
        time_zone: ZoneInfo,
        rng: np.random.Generator,
        step: timedelta = timedelta(minutes=5),
    ) -> None:
        self.start = start
        self.step = step
        self._inp = inp
        self._rng = rng
        self._folder = tempfile.TemporaryDirectory(prefix="water-")
        try:
            self._epanet = _open(inp, Path(self._folder.name))
        except InputError:
            self._folder.cleanup()
            raise
        self._flow_m3s = self._epanet.flow_m3s
        self._metre = self._epanet.metre
        self._pressure_per_m = 1.0 if self._epanet.metric else _PSI_PER_FOOT / FOOT_M
        self._indices: dict[tuple[str, str], int] = {}
        self._deviation = 0.0
        self._multiplier = self._epanet.option(Option.DEMAND_MULTIPLIER)
        self._smooth_patterns()
        local = start.astimezone(time_zone)
        self._epanet.set_time(Time.PATTERN_START, local.hour * 3600 + local.minute * 60 + local.second)
        self._epanet.set_time(Time.DURATION, _TEN_YEARS_S)
        self._epanet.drive_by_pressure(FULL_DEMAND_M * self._pressure_per_m)
        self._epanet.begin()
        self._seconds = self._epanet.solve()

    @property
    def time(self) -> datetime:
        """The moment of the present state."""
        return self.start + timedelta(seconds=self._seconds)

    def advance(self, to: datetime) -> None:
        """Move on in hydraulic steps to the last whole second at or before `to`; never back."""
        target = math.floor((to - self.start).total_seconds())
        while self._seconds < target:
            step = min(int(self.step.total_seconds()), target - self._seconds)
            self._epanet.set_time(Time.HYDRAULIC_STEP, step)
            self._fluctuate(step)
            self._epanet.next()
            self._seconds = self._epanet.solve()

    def pressure(self, node: str) -> float:
        """Return the gauge pressure at a node, Pa."""
        head, elevation = self._node(node, NodeProperty.HEAD), self._node(node, NodeProperty.ELEVATION)
        return (head - elevation) * self._metre * PA_PER_M

    def level(self, tank: str) -> float:
        """Return the water level in a tank above its bottom, m."""
        return (self._node(tank, NodeProperty.HEAD) - self._node(tank, NodeProperty.ELEVATION)) * self._metre

    def outflow(self, node: str) -> float:
        """Return what leaves the network at a node, m³/s: demand and burst; into a tank positive too."""
        return self._node(node, NodeProperty.DEMAND) * self._flow_m3s

    def balance(self) -> float:
        """Return the sum of outflows over all nodes, m³/s: 0 when mass is conserved."""
        nodes = range(1, self._epanet.count(Count.NODES) + 1)
        return sum(self._epanet.node(n, NodeProperty.DEMAND) for n in nodes) * self._flow_m3s

    def flow(self, link: str) -> float:
        """Return the flow of a link from its first node to its second, m³/s."""
        return self._link(link, LinkProperty.FLOW) * self._flow_m3s

    def velocity(self, link: str) -> float:
        """Return the mean velocity in a link, m/s."""
        return self._link(link, LinkProperty.VELOCITY) * self._metre

    def running(self, pump: str) -> bool:
        """Say whether a pump delivers."""
        return abs(self.flow(pump)) > 1e-6

    def burst(self, node: str, hole_m2: float) -> None:
        """Open a hole of `hole_m2` at a junction from the next solution on; 0 mends it.

        The emitter's coefficient is such that the orifice equation holds at 30 m whatever exponent the file has.
        """
        discharge = DISCHARGE * hole_m2 * math.sqrt(2 * GRAVITY * _REFERENCE_M)
        exponent = self._epanet.option(Option.EMITTER_EXPONENT)
        coefficient = discharge / self._flow_m3s / (_REFERENCE_M * self._pressure_per_m) ** exponent
        # At a coefficient of 0 EPANET would go on reporting the last outflow: a mended hole is a pin hole.
        self._epanet.set_node(self._index("node", node), NodeProperty.EMITTER, max(coefficient, _PIN_HOLE))

    def resolve(self) -> None:
        """Solve the present moment again: what has been opened or mended takes effect."""
        self._epanet.solve()

    def close(self) -> None:
        """Give EPANET's project and files back."""
        self._epanet.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _fluctuate(self, step: int) -> None:
        """Draw the demand's deviation after `step` seconds (AR(1), stationary)."""
        kept = math.exp(-step / _MEMORY_S)
        self._deviation = kept * self._deviation + math.sqrt(1 - kept**2) * _FLUCTUATION * self._rng.standard_normal()
        self._epanet.set_option(Option.DEMAND_MULTIPLIER, self._multiplier * (1 + self._deviation))

    def _smooth_patterns(self) -> None:
        """Replace every stair of the patterns by a line through the middles of its steps."""
        old = self._epanet.time(Time.PATTERN_STEP)
        if old <= _PATTERN_STEP_S:
            return
        for pattern in range(1, self._epanet.count(Count.PATTERNS) + 1):
            values = np.array(self._epanet.pattern(pattern))
            self._epanet.set_pattern(pattern, smooth(values, old, _PATTERN_STEP_S).tolist())
        self._epanet.set_time(Time.PATTERN_STEP, _PATTERN_STEP_S)

    def _index(self, table: str, name: str) -> int:
        found = self._indices.get((table, name))
        if found is None:
            find = self._epanet.node_index if table == "node" else self._epanet.link_index
            try:
                found = self._indices[table, name] = find(name)
            except EpanetError:
                raise UnknownError(f"no {table} is called {name!r}", where=str(self._inp)) from None
        return found

    def _node(self, name: str, what: NodeProperty) -> float:
        return self._epanet.node(self._index("node", name), what)

    def _link(self, name: str, what: LinkProperty) -> float:
        return self._epanet.link(self._index("link", name), what)


def smooth(values: NDArray[np.float64], step_s: int, fine_s: int) -> NDArray[np.float64]:
    """Return a periodic pattern of steps of `step_s` as steps of `fine_s`, linear between middles, of the same mean.

    >>> smooth(np.array([1.0, 3.0]), 3600, 1800)
    array([1.5, 1.5, 2.5, 2.5])
    """
    period = len(values) * step_s
    middles = (np.arange(len(values)) + 0.5) * step_s
    fine = np.interp((np.arange(period // fine_s) + 0.5) * fine_s, middles, values, period=period)
    mean = fine.mean()
    return fine * (values.mean() / mean) if mean else fine


def _open(inp: Path, folder: Path) -> Epanet:
    epanet = Epanet()
    try:
        epanet.open(inp, folder / "water.rpt", folder / "water.bin")
    except EpanetError as error:
        epanet.close()
        raise InputError(f"EPANET refuses it: {error}", where=str(inp), expected="an EPANET input file") from None
    return epanet
