"""The pipe networks of a city as one graph: how they hang together, what is wrong with them, what an event touches."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["OUT_OF_USE", "SHUT", "ValveState"]

OUT_OF_USE = frozenset(("abandoned", "废弃", "空管"))
"""States of use in which a pipe carries nothing (CJJ 61-2017 annex C; in lower case)."""
SHUT = OUT_OF_USE | {"closed", "shut", "关", "关闭", "常闭"}
"""What a status says, in lower case, of a valve or pipe that lets nothing through."""


class ValveState(StrEnum):
    """How a valve stands now, as crews and permits report it."""

    OPEN = "open"
    CLOSED = "closed"
    STUCK = "stuck"
    """It cannot be moved: it stays as it was surveyed."""
    INACCESSIBLE = "inaccessible"
    """Nobody can get at it (paved over, flooded): it stays as it was surveyed."""
