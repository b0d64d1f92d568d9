"""The pipe networks of a city as one graph: how they hang together, what is wrong with them, what an event touches."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["ValveState"]


class ValveState(StrEnum):
    """How a valve stands now, as crews and permits report it."""

    OPEN = "open"
    CLOSED = "closed"
    STUCK = "stuck"
    """It cannot be moved: it stays as it was surveyed."""
    INACCESSIBLE = "inaccessible"
    """Nobody can get at it (paved over, flooded): it stays as it was surveyed."""
