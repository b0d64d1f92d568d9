"""Field devices and their points: what is out there, where it is bound, and what it measures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NewType

from twin.asset import AssetId, System

DeviceId = NewType("DeviceId", str)

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What a district, device or point may be called (contract, section Topics)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One quantity that a device measures. Its readings form the series numbered `series`.

    `unit` is the unit that its payloads are in where they name none; `low` and `high` are the sensor's span in SI.
    `crown_m` and `depth_m` are the pipe's crown and the ground above the zero of a level, for limits that are shares
    of them. `code` is what the device's own protocol calls the point (a Sparkplug metric, an HJ 212 factor) where
    that is not its name. `calibrated` and `calibration_due` are days.
    """

    name: str
    quantity: str
    unit: str
    series: int = -1
    low: float | None = None
    high: float | None = None
    crown_m: float | None = None
    depth_m: float | None = None
    code: str = ""
    calibrated: date | None = None
    calibration_due: date | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A field device, bound to the asset it watches. `easting` and `northing` are in the city's CRS, metres.

    `address` is its name in a protocol that has names of its own: ``spBv1.0/{group}/{node}[/{device}]`` of Sparkplug,
    ``hj212/{MN}`` of HJ 212. It is unique among the devices.
    """

    id: DeviceId
    district: str
    system: System
    points: tuple[Point, ...]
    interval: timedelta
    name: str = ""
    asset: AssetId | None = None
    easting: float | None = None
    northing: float | None = None
    model: str = ""
    retired: bool = False
    address: str = ""
