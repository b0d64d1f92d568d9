"""What no network model gives: water quality, sewer gas, batteries, rain that does not fall."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime


def _day(local: datetime, peak_hour: float) -> float:
    """Return a cosine over the day: 1 at `peak_hour`, -1 twelve hours away."""
    hour = local.hour + local.minute / 60 + local.second / 3600
    return math.cos((hour - peak_hour) * math.pi / 12)


BACKGROUND: Mapping[str, Callable[[float, datetime], float]] = {
    "combustible_gas": lambda kind, at: (0.004 + 0.016 * kind) * (1 + 0.3 * _day(at, 16)),
    "methane": lambda kind, at: (0.0002 + 0.0008 * kind) * (1 + 0.3 * _day(at, 16)),
    "hydrogen_sulfide": lambda kind, at: (0.8e-6 + 2.4e-6 * kind) * (1 + 0.4 * _day(at, 9)),
    "oxygen": lambda kind, _: 0.209 - 0.002 * kind,
    "free_chlorine": lambda kind, at: (0.45e-3 - 0.25e-3 * kind) * (1 + 0.06 * _day(at, 3)),
    "turbidity": lambda kind, at: (0.18 + 0.2 * kind) * (1 + 0.08 * _day(at, 8)),
    "ph": lambda kind, at: 7.3 + 0.3 * kind + 0.05 * _day(at, 15),
    "conductivity": lambda kind, at: (0.035 + 0.02 * kind) * (1 + 0.03 * _day(at, 12)),
    "temperature": lambda kind, at: 287.15 + 3 * kind + 1.5 * _day(at, 15),
    "battery": lambda kind, _: 3.62 - 0.1 * kind,
    "tilt": lambda kind, _: 0.01 * kind,
    "cover_open": lambda _, __: 0.0,
    "rain_intensity": lambda _, __: 0.0,
}
"""Quantity → value (SI) of a sensor of `kind` (0 to 1, its own for ever) at a local time. Assumed, within the limits of
GB 5749-2022 for drinking water, and of what is usual in drains."""
