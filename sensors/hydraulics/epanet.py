"""The EPANET 2.2 Programmer's Toolkit: the shared library that wntr ships, with the calls that a live run needs.

wntr's own wrapper would do, were it not for its package: importing it brings in plotting and mapping libraries, six
seconds of processor time (measured, wntr 1.5), at each start of the simulated devices. So the library is found where
wntr is installed, and wntr is not imported. Names are the toolkit's, in Python's spelling; indices start at 1; units
are the input file's.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Sequence
from enum import IntEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from twin.errors import UnavailableError

PA_PER_M = 9806.65
"""Pressure of a metre of water at standard gravity, Pa."""
FOOT_M = 0.3048
"""Heads and lengths of an input file in US flow units are in feet."""

_FIRST_ERROR = 100  # codes below are warnings: low pressures, a pump past its curve
_TRADITIONAL_M3S = (FOOT_M**3, 6.30902e-5, 4.381264e-2, 5.261678e-2, 1.427641e-2)  # CFS, GPM, MGD, IMGD, AFD
_METRIC_M3S = (1e-3, 1e-3 / 60, 1000 / 86_400, 1 / 3600, 1 / 86_400)  # LPS, LPM, MLD, CMH, CMD
_FLOW_M3S = (*_TRADITIONAL_M3S, *_METRIC_M3S)  # by EN_FlowUnits


class Count(IntEnum):
    """EN_CountType."""

    NODES = 0
    LINKS = 2
    PATTERNS = 3


class NodeProperty(IntEnum):
    """EN_NodeProperty."""

    ELEVATION = 0
    EMITTER = 3
    TANK_LEVEL = 8
    DEMAND = 9
    HEAD = 10
    TANK_DIAMETER = 17
    MIN_LEVEL = 20
    MAX_LEVEL = 21


class LinkProperty(IntEnum):
    """EN_LinkProperty."""

    DIAMETER = 0
    LENGTH = 1
    INITIAL_STATUS = 4
    FLOW = 8
    VELOCITY = 9
    STATUS = 11


class NodeType(IntEnum):
    """EN_NodeType."""

    JUNCTION = 0
    RESERVOIR = 1
    TANK = 2


class LinkType(IntEnum):
    """EN_LinkType, as far as it is asked for."""

    CHECK_VALVE = 0
    PIPE = 1
    PUMP = 2


class Time(IntEnum):
    """EN_TimeParameter, seconds."""

    DURATION = 0
    HYDRAULIC_STEP = 1
    PATTERN_STEP = 3
    PATTERN_START = 4


class Option(IntEnum):
    """EN_Option."""

    ACCURACY = 1
    EMITTER_EXPONENT = 3
    DEMAND_MULTIPLIER = 4


class EpanetError(Exception):
    """What EPANET says to a call that it cannot do."""


class Epanet:
    """One EPANET project. Several may be open at once; each belongs to one thread."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(_library()))
        self._project = ctypes.c_void_p()
        self._library.EN_createproject(ctypes.byref(self._project))

    def open(self, inp: Path, report: Path, results: Path) -> None:
        """Read an input file."""
        self._call("EN_open", *(str(path).encode() for path in (inp, report, results)))

    def close(self) -> None:
        """Give the project and its files back; closing twice is no error."""
        if not self._project:
            return  # the library would follow the null pointer
        self._library.EN_closeH(self._project)
        self._library.EN_close(self._project)
        self._library.EN_deleteproject(self._project)
        self._project = ctypes.c_void_p()

    @property
    def flow_m3s(self) -> float:
        """One unit of the file's flows, m³/s."""
        return _FLOW_M3S[self._int("EN_getflowunits")]

    @property
    def metric(self) -> bool:
        """Whether heads are in metres and pressures in metres of water, not in feet and psi."""
        return self._int("EN_getflowunits") >= len(_TRADITIONAL_M3S)

    @property
    def metre(self) -> float:
        """One unit of the file's heads and lengths, m."""
        return 1.0 if self.metric else FOOT_M

    def count(self, what: Count) -> int:
        """Return how many there are."""
        return self._int("EN_getcount", int(what))

    def node_index(self, name: str) -> int:
        """Return the index of a node."""
        return self._int("EN_getnodeindex", name.encode())

    def link_index(self, name: str) -> int:
        """Return the index of a link."""
        return self._int("EN_getlinkindex", name.encode())

    def node_name(self, index: int) -> str:
        """Return what a node is called."""
        return self._text("EN_getnodeid", index)

    def link_name(self, index: int) -> str:
        """Return what a link is called."""
        return self._text("EN_getlinkid", index)

    def node_type(self, index: int) -> int:
        """Return EN_NodeType."""
        return self._int("EN_getnodetype", index)

    def link_type(self, index: int) -> int:
        """Return EN_LinkType."""
        return self._int("EN_getlinktype", index)

    def ends(self, link: int) -> tuple[int, int]:
        """Return the first and the last node of a link."""
        first, last = ctypes.c_int(), ctypes.c_int()
        self._call("EN_getlinknodes", link, ctypes.byref(first), ctypes.byref(last))
        return first.value, last.value

    def node(self, index: int, what: NodeProperty) -> float:
        """Return a property of a node."""
        return self._float("EN_getnodevalue", index, int(what))

    def set_node(self, index: int, what: NodeProperty, value: float) -> None:
        """Set a property of a node, during a run too."""
        self._call("EN_setnodevalue", index, int(what), ctypes.c_double(value))

    def link(self, index: int, what: LinkProperty) -> float:
        """Return a property of a link."""
        return self._float("EN_getlinkvalue", index, int(what))

    def set_link(self, index: int, what: LinkProperty, value: float) -> None:
        """Set a property of a link, during a run too."""
        self._call("EN_setlinkvalue", index, int(what), ctypes.c_double(value))

    def demands(self, node: int) -> list[tuple[float, int]]:
        """Return the base demand and the pattern (0: none) of each demand category of a node."""
        found: list[tuple[float, int]] = []
        for number in range(1, self._int("EN_getnumdemands", node) + 1):
            base = self._float("EN_getbasedemand", node, number)
            found.append((base, self._int("EN_getdemandpattern", node, number)))
        return found

    def set_demand(self, node: int, number: int, base: float, pattern: int) -> None:
        """Set a demand category of a node, counted from 1."""
        self._call("EN_setbasedemand", node, number, ctypes.c_double(base))
        self._call("EN_setdemandpattern", node, number, pattern)

    def add_demand(self, node: int, pattern: int) -> int:
        """Give a node one more demand category, of nothing, and return its number."""
        self._call("EN_adddemand", node, ctypes.c_double(0.0), b"", b"")
        number = self._int("EN_getnumdemands", node)
        self.set_demand(node, number, 0.0, pattern)
        return number

    def time(self, what: Time) -> int:
        """Return a time parameter, s."""
        value = ctypes.c_long()
        self._call("EN_gettimeparam", int(what), ctypes.byref(value))
        return value.value

    def set_time(self, what: Time, seconds: int) -> None:
        """Set a time parameter, s."""
        self._call("EN_settimeparam", int(what), ctypes.c_long(seconds))

    def option(self, what: Option) -> float:
        """Return an option."""
        return self._float("EN_getoption", int(what))

    def set_option(self, what: Option, value: float) -> None:
        """Set an option."""
        self._call("EN_setoption", int(what), ctypes.c_double(value))

    def pattern(self, index: int) -> list[float]:
        """Return the multipliers of a pattern."""
        length = self._int("EN_getpatternlen", index)
        return [self._float("EN_getpatternvalue", index, n) for n in range(1, length + 1)]

    def add_pattern(self, name: str, values: Sequence[float]) -> int:
        """Add a pattern and return its index."""
        self._call("EN_addpattern", name.encode())
        index = self._int("EN_getpatternindex", name.encode())
        self.set_pattern(index, values)
        return index

    def set_pattern(self, index: int, values: Sequence[float]) -> None:
        """Replace the multipliers of a pattern."""
        self._call("EN_setpattern", index, (ctypes.c_double * len(values))(*values), len(values))

    def drive_by_pressure(self, full: float) -> None:
        """Let demand follow the square root of pressure, from none at 0 to all at `full`."""
        self._call("EN_setdemandmodel", 1, ctypes.c_double(0.0), ctypes.c_double(full), ctypes.c_double(0.5))

    def begin(self) -> None:
        """Open the hydraulic solver at time 0, with nothing saved."""
        self._call("EN_openH")
        self._call("EN_initH", 0)

    def solve(self) -> int:
        """Solve the present moment and return it, s."""
        now = ctypes.c_long()
        self._call("EN_runH", ctypes.byref(now))
        return now.value

    def next(self) -> int:
        """Move tanks and time on to the next moment and return the step, s."""
        step = ctypes.c_long()
        self._call("EN_nextH", ctypes.byref(step))
        return step.value

    def _text(self, function: str, index: int) -> str:
        text = ctypes.create_string_buffer(64)
        self._call(function, index, text)
        return text.value.decode("utf-8", "replace")

    def _int(self, function: str, *arguments: Any) -> int:
        value = ctypes.c_int()
        self._call(function, *arguments, ctypes.byref(value))
        return value.value

    def _float(self, function: str, *arguments: Any) -> float:
        value = ctypes.c_double()
        self._call(function, *arguments, ctypes.byref(value))
        return value.value

    def _call(self, function: str, *arguments: Any) -> None:
        code = int(getattr(self._library, function)(self._project, *arguments))
        if code >= _FIRST_ERROR:
            text = ctypes.create_string_buffer(256)
            self._library.EN_geterror(code, text, len(text) - 1)
            raise EpanetError(text.value.decode("latin-1").strip() or f"error {code}")


def _library() -> Path:
    """Return wntr's EPANET library for this machine."""
    spec = find_spec("wntr")
    if sys.platform == "win32":
        name = "windows-x64/epanet22.dll"
    elif sys.platform == "darwin":
        name = "darwin-arm/libepanet2.dylib" if platform.machine() == "arm64" else "darwin-x64/libepanet22.dylib"
    else:
        name = "linux-x64/libepanet22.so"
    for place in (spec.submodule_search_locations if spec else None) or ():
        path = Path(place) / "epanet" / "libepanet" / name
        if path.is_file():
            return path
    raise UnavailableError(f"EPANET ({name}) was not found", where="wntr", expected="wntr for this machine")
