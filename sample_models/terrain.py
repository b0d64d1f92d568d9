"""Where the sample district lies: its own frame, and the ground that falls to the river.

The frame has u along the river (about east) and v away from it (about north), metres; the map is EPSG:4549
(CGCS2000 / 3-degree Gauss-Krüger CM 120E), easting then northing, with heights in the 1985 datum.
"""

from __future__ import annotations

import math
from typing import TypeAlias

XY: TypeAlias = tuple[float, float]
"""Easting and northing, metres."""

CRS = "EPSG:4549"
ORIGIN: XY = (540_190.0, 3_350_040.0)
TURN = math.radians(11.0)
LENGTH = 1200.0
RIVER_LEVEL_M = 3.4
"""Ordinary water level of the fictional river."""


def to_map(u: float, v: float) -> XY:
    """Return easting and northing of the point (u, v) of the district's frame."""
    c, s = math.cos(TURN), math.sin(TURN)
    return ORIGIN[0] + u * c - v * s, ORIGIN[1] + u * s + v * c


def to_frame(x: float, y: float) -> XY:
    """Return (u, v) of an easting and northing."""
    c, s = math.cos(TURN), math.sin(TURN)
    dx, dy = x - ORIGIN[0], y - ORIGIN[1]
    return dx * c + dy * s, -dx * s + dy * c


def bank(u: float) -> float:
    """Return v of the river bank at u: the river swings into the district at both ends."""
    return 20.0 + 62.0 * math.cos(2 * math.pi * (u / LENGTH)) + 0.015 * u


def ground(x: float, y: float) -> float:
    """Return the ground level, metres above the 1985 datum: 0.7 % towards the river with gentle swells.

    >>> ground(*to_map(600, 900)) - ground(*to_map(600, 0)) > 5
    True
    """
    u, v = to_frame(x, y)
    swell = 0.28 * math.sin(u / 150.0) * math.sin(v / 130.0 + 1.0)
    return round(6.2 + 0.0072 * v + swell, 3)
