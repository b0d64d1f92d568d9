"""The water network, alive: EPANET solved step by step through its toolkit (EPANET 2.2, as wntr ships it).

Demands follow the patterns of the input file by local time of day. Patterns are stairs in EPANET; here they are
interpolated between the middles of their steps, because a city does not turn all its taps on the hour. Demand is
pressure-driven (Wagner et al. 1988: none at 0 m, full from 14 m) and fluctuates as one first-order autoregressive
process (3 %, memory of half an hour). A burst is a hole: q = Cd A √(2 g h), an EPANET emitter. Everything that leaves
this module is SI.
"""

from __future__ import annotations

import ctypes
import logging
import math
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from wntr.epanet.exceptions import EpanetException
from wntr.epanet.toolkit import ENepanet
from wntr.epanet.util import EN, FlowUnits

from twin.errors import InputError, UnknownError

PA_PER_M = 9806.65
"""Pressure of a metre of water at standard gravity, Pa."""
GRAVITY = 9.80665
DISCHARGE = 0.6
"""Discharge coefficient of a hole with a sharp edge."""
FULL_DEMAND_M = 14.0
"""Pressure from which customers draw all they want: 10 m for one storey and 4 m (GB 50013-2018, 3.0.9)."""

_FEET, _PSI_PER_FOOT = 0.3048, 0.4333
_TEN_YEARS_S = 10 * 365 * 86_400
_PATTERN_STEP_S = 300
_REFERENCE_M, _PIN_HOLE = 30.0, 1e-9
_FLUCTUATION, _MEMORY_S = 0.03, 1800.0
_NODES, _PATTERNS = 0, 3  # EN_CountType
_EXPONENT, _MULTIPLIER = 3, 4  # EN_Option
_PRESSURE_DRIVEN = 1


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
        self._rng = rng
        self._folder = tempfile.TemporaryDirectory(prefix="water-")
        try:
            self._epanet = _open(inp, Path(self._folder.name))
        except InputError:
            self._folder.cleanup()
            raise
        units = FlowUnits(self._epanet.ENgetflowunits())
        self._flow_m3s = float(units.factor)
        self._metre = 1.0 if units.is_metric else _FEET
        self._pressure_per_m = 1.0 if units.is_metric else _PSI_PER_FOOT / _FEET
        self._indices: dict[tuple[str, str], int] = {}
        self._deviation = 0.0
        self._multiplier = self._option(_MULTIPLIER)
        self._smooth_patterns()
        local = start.astimezone(time_zone)
        self._epanet.ENsettimeparam(EN.PATTERNSTART, local.hour * 3600 + local.minute * 60 + local.second)
        self._epanet.ENsettimeparam(EN.DURATION, _TEN_YEARS_S)
        full = ctypes.c_double(FULL_DEMAND_M * self._pressure_per_m)
        self._call("EN_setdemandmodel", _PRESSURE_DRIVEN, ctypes.c_double(0.0), full, ctypes.c_double(0.5))
        self._epanet.ENopenH()
        self._epanet.ENinitH(0)
        self._seconds = self._solve()

    @property
    def time(self) -> datetime:
        """The moment of the present state."""
        return self.start + timedelta(seconds=self._seconds)

    def advance(self, to: datetime) -> None:
        """Move on in hydraulic steps to the last whole second at or before `to`; never back."""
        target = math.floor((to - self.start).total_seconds())
        while self._seconds < target:
            step = min(int(self.step.total_seconds()), target - self._seconds)
            self._epanet.ENsettimeparam(EN.HYDSTEP, step)
            self._fluctuate(step)
            self._epanet.ENnextH()
            self._seconds = self._solve()

    def pressure(self, node: str) -> float:
        """Return the gauge pressure at a node, Pa."""
        head, elevation = self._node(node, EN.HEAD), self._node(node, EN.ELEVATION)
        return (head - elevation) * self._metre * PA_PER_M

    def level(self, tank: str) -> float:
        """Return the water level in a tank above its bottom, m."""
        return (self._node(tank, EN.HEAD) - self._node(tank, EN.ELEVATION)) * self._metre

    def outflow(self, node: str) -> float:
        """Return what leaves the network at a node, m³/s: demand and burst; into a tank positive too."""
        return self._node(node, EN.DEMAND) * self._flow_m3s

    def balance(self) -> float:
        """Return the sum of outflows over all nodes, m³/s: 0 when mass is conserved."""
        count = self._epanet.ENgetcount(_NODES)
        return sum(self._epanet.ENgetnodevalue(i, EN.DEMAND) for i in range(1, count + 1)) * self._flow_m3s

    def flow(self, link: str) -> float:
        """Return the flow of a link from its first node to its second, m³/s."""
        return self._link(link, EN.FLOW) * self._flow_m3s

    def velocity(self, link: str) -> float:
        """Return the mean velocity in a link, m/s."""
        return self._link(link, EN.VELOCITY) * self._metre

    def running(self, pump: str) -> bool:
        """Say whether a pump delivers."""
        return abs(self.flow(pump)) > 1e-6

    def burst(self, node: str, hole_m2: float) -> None:
        """Open a hole of `hole_m2` at a junction from the next solution on; 0 mends it.

        The emitter's coefficient is such that the orifice equation holds at 30 m whatever exponent the file has.
        """
        discharge = DISCHARGE * hole_m2 * math.sqrt(2 * GRAVITY * _REFERENCE_M)
        exponent = self._option(_EXPONENT)
        coefficient = discharge / self._flow_m3s / (_REFERENCE_M * self._pressure_per_m) ** exponent
        # At a coefficient of 0 EPANET would go on reporting the last outflow: a mended hole is a pin hole.
        self._epanet.ENsetnodevalue(self._index("node", node), EN.EMITTER, max(coefficient, _PIN_HOLE))

    def resolve(self) -> None:
        """Solve the present moment again: what has been opened or mended takes effect."""
        self._solve()

    def close(self) -> None:
        """Give EPANET's project and files back."""
        if self._epanet.isOpen():
            self._epanet.ENcloseH()
            self._epanet.ENclose()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _solve(self) -> int:
        seconds = int(self._epanet.ENrunH())
        self._epanet.errcodelist.clear()  # warnings (low pressure after a burst) would pile up for ever
        return seconds

    def _fluctuate(self, step: int) -> None:
        """Draw the demand's deviation after `step` seconds (AR(1), stationary)."""
        kept = math.exp(-step / _MEMORY_S)
        self._deviation = kept * self._deviation + math.sqrt(1 - kept**2) * _FLUCTUATION * self._rng.standard_normal()
        self._call("EN_setoption", _MULTIPLIER, ctypes.c_double(self._multiplier * (1 + self._deviation)))

    def _smooth_patterns(self) -> None:
        """Replace every stair of the patterns by a line through the middles of its steps."""
        old = self._epanet.ENgettimeparam(EN.PATTERNSTEP)
        if old <= _PATTERN_STEP_S:
            return
        for pattern in range(1, self._epanet.ENgetcount(_PATTERNS) + 1):
            count = ctypes.c_int()
            self._call("EN_getpatternlen", pattern, ctypes.byref(count))
            value = ctypes.c_double()
            values = np.empty(count.value)
            for n in range(count.value):
                self._call("EN_getpatternvalue", pattern, n + 1, ctypes.byref(value))
                values[n] = value.value
            fine = smooth(values, old, _PATTERN_STEP_S)
            self._call("EN_setpattern", pattern, (ctypes.c_double * len(fine))(*fine), len(fine))
        self._epanet.ENsettimeparam(EN.PATTERNSTEP, _PATTERN_STEP_S)

    def _option(self, code: int) -> float:
        value = ctypes.c_double()
        self._call("EN_getoption", code, ctypes.byref(value))
        return value.value

    def _call(self, function: str, *arguments: Any) -> None:
        """Call a toolkit function that wntr does not wrap."""
        project: Any = getattr(self._epanet, "_project")  # noqa: B009  # wntr keeps the handle to itself
        code = getattr(self._epanet.ENlib, function)(project, *arguments)
        if code >= 100:  # below are warnings
            raise EpanetException(code)

    def _index(self, table: str, name: str) -> int:
        found = self._indices.get((table, name))
        if found is None:
            find = self._epanet.ENgetnodeindex if table == "node" else self._epanet.ENgetlinkindex
            try:
                found = self._indices[table, name] = int(find(name))
            except EpanetException:
                raise UnknownError(f"no {table} is called {name!r}", where=str(self._epanet.inpfile)) from None
        return found

    def _node(self, name: str, code: EN) -> float:
        return float(self._epanet.ENgetnodevalue(self._index("node", name), code))

    def _link(self, name: str, code: EN) -> float:
        return float(self._epanet.ENgetlinkvalue(self._index("link", name), code))


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


def _open(inp: Path, folder: Path) -> ENepanet:
    logging.getLogger("wntr.epanet.toolkit").setLevel(logging.CRITICAL)  # one line a warning and step otherwise
    epanet = ENepanet(str(inp), str(folder / "water.rpt"), str(folder / "water.bin"))
    try:
        epanet.ENopen()
    except EpanetException as error:
        raise InputError(f"EPANET refuses it: {error}", where=str(inp), expected="an EPANET input file") from None
    return epanet
