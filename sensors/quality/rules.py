"""What the quality tests hold a kind of point to: one record a kind, out of the city's limits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sensors.detection.series import gap_ms
from sensors.device_table import PointKind
from sensors.limits import FlatLineRow, Limits, row_of
from sensors.quality.flags import Test
from sensors.quality.gross_range import span
from sensors.quantity import scale
from twin.asset import System

RULE = np.dtype(
    [
        ("low", "f8"),
        ("high", "f8"),
        ("above", "u1"),
        ("least", "f8"),
        ("most", "f8"),
        ("beyond", "u4"),
        ("alarm_low", "f8"),
        ("alarm_high", "f8"),
        ("spike", "f8"),
        ("rate", "f8"),
        ("flat", "?"),
        ("tolerance", "f8"),
        ("readings", "i8"),
        ("flat_ms", "i8"),
        ("zero", "?"),
        ("moves", "?"),
        ("gap_ms", "i8"),
        ("warm", "?"),
        ("wet", "?"),
    ],
    align=True,
)
"""Span of the sensor, and the flag of what lies above it; what operators call plausible, and the test's bit; safety
limits that must not wait; least spike and fastest change (per ms; inf: not tested); flat line,
whether the quantity moves in a working sensor, and may rest at zero; longest pause;
whether it is the temperature of water, and whether it is what ice spoils."""

NEVER = np.inf

_BITS = {"battery": Test.BATTERY, "signal_strength": Test.RADIO}
"""Quantities in which a device speaks of itself: what is not plausible in them has a name of its own."""

_WATERS = frozenset({System.WATER, System.DRAINAGE})
_WET = frozenset({"level", "flow", "velocity", "turbidity", "pressure"})
"""What ice disturbs: weight, movement and clearness of the water. What is dissolved in it, it leaves nearly alone."""


def rules(kinds: Sequence[PointKind], limits: Limits, off: Test) -> NDArray[np.void]:
    """Return a record (`RULE`) for each of `kinds`, without spike and flat line where those are `off`."""
    found = np.zeros(len(kinds), RULE)
    for index, kind in enumerate(kinds):
        rule = found[index]
        rule["low"], rule["high"], rule["above"] = span(kind)
        rule["least"] = _number(limits, "operator_low", kind, -NEVER)
        rule["most"] = _number(limits, "operator_high", kind, NEVER)
        rule["beyond"] = _BITS.get(kind.quantity, Test.OPERATOR_RANGE)
        rule["alarm_low"], rule["alarm_high"] = _urgent(kind, limits)
        rule["spike"] = NEVER if Test.SPIKE in off else _number(limits, "spike", kind, NEVER)
        rule["rate"] = _number(limits, "rate", kind, NEVER) / 60_000
        rule["gap_ms"] = gap_ms(kind)
        flat = row_of(limits.flat_line, kind.quantity, kind.system)
        if flat is not None:
            rule["moves"] = Test.ATTENUATED not in off
            rule["flat"] = Test.FLAT_LINE not in off
            _flat_line(rule, flat)
        in_water = Test.ICE not in off and kind.system in _WATERS
        rule["warm"] = in_water and kind.quantity == "temperature"
        rule["wet"] = in_water and kind.quantity in _WET
    return found


def _flat_line(rule: np.void, row: FlatLineRow) -> None:
    rule["tolerance"] = row.tolerance * scale(row.unit, row.quantity)[0]
    rule["readings"], rule["flat_ms"], rule["zero"] = row.readings, round(row.duration_s * 1000), row.zero_is_normal


def number_of(limits: Limits, layer: str, kind: PointKind) -> float | None:
    """Return the number of `layer` for the quantity in this system, or in any (SI); None where none stands."""
    numbers = limits.numbers.get(layer, {})
    found = numbers.get(f"{kind.system}_{kind.quantity}") or numbers.get(kind.quantity)
    return None if found is None else found.si


def _number(limits: Limits, layer: str, kind: PointKind, missing: float) -> float:
    found = number_of(limits, layer, kind)
    return missing if found is None else found


def _urgent(kind: PointKind, limits: Limits) -> tuple[float, float]:
    """Return the low and high safety limits that must not wait for a second reading, SI; infinite where none stands.

    They are those without a delay whose value is the quantity's own: gas, oxygen. What reaches one is never a spike.
    """
    low, high = -NEVER, NEVER
    for row in limits.limits_of(kind.quantity, kind.system):
        if row.delay_on_s > 0 or row.share_of is not None:
            continue
        factor, offset = scale(row.unit, row.quantity)
        mildest = row.steps[0].at * factor + offset
        low, high = (max(low, mildest), high) if row.side == "low" else (low, min(high, mildest))
    return low, high


__all__ = ["NEVER", "RULE", "number_of", "rules"]
