"""What detectors are built from: the devices that they watch, and what they may know of the city."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sensors.device import Device
from sensors.limits import Limits

if TYPE_CHECKING:
    from twin.city import City
    from twin.network.graph import Network


@dataclass(frozen=True, slots=True)
class Scope:
    """Devices, the settings that hold for them, and the city's networks, where there are any.

    `graph` is the pipes of all systems as one network, `city` the open city that it was made from (any thread may
    ask). `hydraulics` are EPANET input files by the source name of the assets that they describe
    (``water.inp:link:P-1`` is of the file under ``water.inp``). Labels and scripted faults are never in here.
    """

    devices: Sequence[Device]
    limits: Limits
    graph: Network | None = None
    city: City | None = None
    hydraulics: Mapping[str, Path] = field(default_factory=dict[str, Path])


__all__ = ["Scope"]
