"""Two ways of saying that link ends which name no node are one: in plan, within one system."""

from __future__ import annotations

from enum import StrEnum


class Join(StrEnum):
    """How link ends that name no node are joined.

    On a grid, neighbours on two sides of a cell's edge are missed, as in most tools; a cluster may be long.
    """

    GRID = "grid"
    """Where coordinates are equal after rounding to whole cells of the tolerance (half to even)."""
    CLUSTER = "cluster"
    """Where steps from end to end, none longer than the tolerance, lead from one to the other (single linkage)."""
