"""Signs: what a detection speaks for, before anything is known of its neighbours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from sensors.detection import Detection, DetectionKind, Key
from sensors.detection.fusion.places import Spot
from twin.asset import System


class Family(StrEnum):
    """What may have one cause; signs of different families are never fused."""

    WATER_LOSS = "water_loss"
    DRAIN = "drain"
    INFILTRATION = "infiltration"
    DISCHARGE = "discharge"
    GAS = "gas"
    LINE = "line"
    WATER_QUALITY = "water_quality"
    INTEGRITY = "integrity"
    DEVICE = "device"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Meaning:
    """The family of a sign, and the rule of the finding that it begins where no other takes it in.

    `begins` is False for what only joins a finding: a safety limit, which is an alarm of its own; what happens when a
    fault grows or is mended (a tank that empties, pressure that comes back); readings that contradict one another,
    which a fault explains. Without one to join, the latter are what `otherwise` says; nothing, where it `passes` by
    itself. `locates` says that it was found by a layer that knows the network, `sudden` that it came within minutes.
    `damns` says that nothing its device measures can be believed. `alone` is True for what was another's `otherwise`.
    """

    family: Family
    rule: str
    begins: bool = True
    locates: bool = False
    sudden: bool = False
    damns: bool = False
    otherwise: Meaning | None = None
    passes: bool = False
    alone: bool = False

    @property
    def quiet(self) -> bool:
        """Whether nothing is left to say of it when the finding is over that it joined.

        Readings that a fault set at odds stay so until its network has settled: that is no other fault.
        """
        settles = self.otherwise is not None and self.otherwise.family is Family.INTEGRITY
        return not self.begins and (self.otherwise is None or self.passes or settles)


@dataclass(frozen=True, slots=True)
class Sign:
    """A detection that stands, what it means and where it is."""

    said: Detection
    meaning: Meaning
    spot: Spot

    @property
    def key(self) -> Key:
        """The condition that it is."""
        return self.said.subject, self.said.rule

    def alone(self) -> Sign | None:
        """Return what it is where it finds nothing to join; None: nothing, but for its own alarm."""
        if self.meaning.begins:
            return self
        meaning = self.meaning.otherwise
        return None if meaning is None else replace(self, meaning=replace(meaning, alone=True))


_NETWORK: Mapping[DetectionKind, Meaning] = {
    DetectionKind.LEAK: Meaning(Family.WATER_LOSS, "leak", locates=True),
    DetectionKind.BALANCE: Meaning(Family.WATER_LOSS, "leak", locates=True),
    DetectionKind.NIGHT_FLOW: Meaning(Family.WATER_LOSS, "leak", locates=True),
    DetectionKind.BLOCKAGE: Meaning(Family.DRAIN, "blockage", locates=True),
    DetectionKind.INFILTRATION: Meaning(Family.INFILTRATION, "infiltration", locates=True),
    DetectionKind.ILLICIT_DISCHARGE: Meaning(Family.DISCHARGE, "illicit_discharge", locates=True),
    DetectionKind.GAS_LEAK: Meaning(Family.GAS, "gas_leak", locates=True),
    DetectionKind.BIOGAS: Meaning(Family.GAS, "biogas", locates=True),
    DetectionKind.LINE_PRESSURE: Meaning(Family.LINE, "line_pressure", locates=True),
    DetectionKind.WATER_QUALITY: Meaning(Family.WATER_QUALITY, "water_quality", locates=True),
}

_FAULT: Mapping[str, Family] = {
    System.WATER: Family.WATER_LOSS,
    System.DRAINAGE: Family.DRAIN,
    System.RAIN: Family.DRAIN,
    System.GAS: Family.LINE,
}
"""What makes the readings of a system contradict one another where nobody meddles with them."""

_CONTRADICTION = Meaning(Family.INTEGRITY, "integrity", locates=True)
_DEVIATION = Meaning(Family.OTHER, "deviation")

_DAMNING = frozenset(
    {"flat_line", "attenuated", "gross_range", "operator_range", "drift", "inconsistent", "ice", "companion", "missing"}
)
"""Quality tests (`sensors.quality.Test`) after which a device's other readings are its fault's and not the city's; a
low battery or a weak radio makes no reading wrong."""

_GASES = frozenset({"combustible_gas", "methane", "hydrogen_sulfide"})
_OF_WATER = frozenset(
    {
        "free_chlorine",
        "turbidity",
        "ph",
        "conductivity",
        "temperature",
        "chlorine_dioxide",
        "dissolved_oxygen",
        "redox_potential",
    }
)


def meaning_of(said: Detection, system: str) -> Meaning:
    """Return what a detection on something of `system` speaks for.

    >>> from sensors.detection import Subject
    >>> fall = Detection(Subject("point:WP-1/pressure"), "rate_of_change", DetectionKind.RATE_OF_CHANGE, active=True,
    ...                  level=3, time=0, value=2e5, expected=(2.8e5, 3.2e5), quantity="pressure")
    >>> meaning_of(fall, "water").rule, meaning_of(fall, "gas").rule
    ('burst', 'line_pressure')
    """
    if said.kind in {DetectionKind.QUALITY, DetectionKind.FLAT_LINE, DetectionKind.SILENCE}:
        return Meaning(Family.DEVICE, "device_fault", damns=said.rule in _DAMNING)
    if said.kind is DetectionKind.INTEGRITY:
        family = _FAULT.get(system)
        return Meaning(family, "integrity", begins=False, otherwise=_CONTRADICTION) if family else _CONTRADICTION
    network = _NETWORK.get(said.kind)
    if network is None:
        return _of_series(said, system)
    sudden = network.family is Family.WATER_LOSS and said.rule == "burst"
    return Meaning(network.family, "burst", locates=True, sudden=True) if sudden else network


def _of_series(said: Detection, system: str) -> Meaning:  # noqa: PLR0911  # a row of a table each
    """Return what a series speaks for by its quantity and the side on which it left what was expected."""
    begins, sudden = said.kind is not DetectionKind.LIMIT, said.kind is DetectionKind.RATE_OF_CHANGE
    side = _side(said)
    match system, said.quantity, side:
        case (System.WATER, "pressure", "low") | (System.WATER, "flow", "high"):
            return Meaning(Family.WATER_LOSS, "burst" if sudden else "leak", begins=begins, sudden=sudden)
        case (System.WATER, "pressure", "high") | (System.WATER, "flow" | "level", "low") if begins:
            return Meaning(Family.WATER_LOSS, "leak", begins=False, otherwise=_DEVIATION, passes=sudden)
        case (System.DRAINAGE | System.RAIN, "level", "high"):
            return Meaning(Family.DRAIN, "drain_high", begins=begins)
        case (System.DRAINAGE | System.RAIN, "level", "low") if begins:
            return Meaning(Family.DRAIN, "drain_high", begins=False, otherwise=_DEVIATION, passes=sudden)
        case (System.DRAINAGE | System.RAIN, "flow", _):
            return Meaning(Family.DRAIN, "drain_flow", begins=begins)
        case (System.GAS, "pressure", "low"):
            return Meaning(Family.LINE, "line_pressure", begins=begins)
        case (System.GAS, "pressure", "high") if begins:
            return Meaning(Family.LINE, "line_pressure", begins=False, otherwise=_DEVIATION, passes=sudden)
        case (_, quantity, "high") if quantity in _GASES:
            return Meaning(Family.GAS, "gas_rise", begins=begins)
        case (System.WATER, quantity, _) if quantity in _OF_WATER:
            return Meaning(Family.WATER_QUALITY, "water_quality", begins=begins)
        case _:
            return Meaning(Family.OTHER, "deviation", begins=begins)


def _side(said: Detection) -> str:
    if said.kind is DetectionKind.LIMIT:
        return "low" if said.rule.endswith("_low") else "high"
    if said.value is None or said.expected is None:
        return ""
    return "low" if said.value < sum(said.expected) / 2 else "high"


__all__ = ["Family", "Meaning", "Sign", "meaning_of"]
