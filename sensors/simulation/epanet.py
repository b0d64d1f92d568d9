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

_FIRST_ERROR = 100  # codes below are warnings: low pressures, a pump past its curve


class Count(IntEnum):
    """EN_CountType."""

    NODES = 0
    PATTERNS = 3


class NodeProperty(IntEnum):
    """EN_NodeProperty."""

    ELEVATION = 0
    EMITTER = 3
    DEMAND = 9
    HEAD = 10


class LinkProperty(IntEnum):
    """EN_LinkProperty."""

    FLOW = 8
    VELOCITY = 9


class Time(IntEnum):
    """EN_TimeParameter, seconds."""

    DURATION = 0
    HYDRAULIC_STEP = 1
    PATTERN_STEP = 3
    PATTERN_START = 4


class Option(IntEnum):
    """EN_Option."""

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

    def flow_units(self) -> int:
        """Return EN_FlowUnits."""
        return self._int("EN_getflowunits")

    def count(self, what: Count) -> int:
        """Return how many there are."""
        return self._int("EN_getcount", int(what))

    def node_index(self, name: str) -> int:
        """Return the index of a node."""
        return self._int("EN_getnodeindex", name.encode())

    def link_index(self, name: str) -> int:
        """Return the index of a link."""
        return self._int("EN_getlinkindex", name.encode())

    def node(self, index: int, what: NodeProperty) -> float:
        """Return a property of a node."""
        return self._float("EN_getnodevalue", index, int(what))

    def set_node(self, index: int, what: NodeProperty, value: float) -> None:
        """Set a property of a node, during a run too."""
        self._call("EN_setnodevalue", index, int(what), ctypes.c_double(value))

    def link(self, index: int, what: LinkProperty) -> float:
        """Return a property of a link."""
        return self._float("EN_getlinkvalue", index, int(what))

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
