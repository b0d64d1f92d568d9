"""Quantities: what a point can measure, its units, and what its numbers are counted from.

Everything inside Chengmai is in the SI unit of its quantity; units meet the edges only. Unit symbols are those of UCUM
(The Unified Code for Units of Measure, 2.1) and the common ones of Chinese instruments; ``³`` may stand for ``3`` and
``µ`` for ``u``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from twin.errors import RefusedError


class Reference(StrEnum):
    """What a value is counted from."""

    NONE = ""
    GAUGE = "gauge"
    ABSOLUTE = "absolute"
    ABOVE_INVERT = "above invert"
    ABOVE_DATUM = "above datum"
    BELOW_COVER = "below cover"
    LOWER_EXPLOSIVE_LIMIT = "of the lower explosive limit"
    VOLUME = "by volume"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measurable quantity.

    `si` is the unit of every number inside, `usual` the one on the screens. `saturates` says that a sensor which
    reads above its span has still seen something real: gas that drives a detector past its end is worse, not wrong.
    """

    name: str
    zh: str
    en: str
    dimension: str
    si: str
    usual: str
    reference: Reference = Reference.NONE
    saturates: bool = False

    @property
    def least(self) -> float:
        """The least that it can physically be, SI: nothing, for what is an amount; minus infinity for the others."""
        amounts = {"lel", "volume_fraction", "concentration", "turbidity"}
        return 0.0 if self.dimension in amounts or self.reference is Reference.ABOVE_INVERT else -math.inf


_H2S_KG_PER_M3_PER_PPM = 34.08e-9 / 24.055e-3
"""1 ppm of H2S (34.08 g/mol) at 20 °C and 101.325 kPa (24.055 L/mol), the conditions of GBZ 2.1."""

_Scale = tuple[float, float]


def _factors(**factors: float) -> dict[str, _Scale]:
    return {symbol: (factor, 0.0) for symbol, factor in factors.items()}


_UNITS: Mapping[str, Mapping[str, _Scale]] = {
    "pressure": _factors(Pa=1.0, hPa=100.0, kPa=1e3, MPa=1e6, bar=1e5, mbar=100.0)
    | {"m[H2O]": (9806.65, 0.0), "mH2O": (9806.65, 0.0), "mmH2O": (9.80665, 0.0), "[psi]": (6894.757293168, 0.0)}
    | {"psi": (6894.757293168, 0.0)},
    "flow": {
        f"{volume}/{per}": (cubic / seconds, 0.0)
        for volume, cubic in (("m3", 1.0), ("L", 1e-3), ("l", 1e-3))
        for per, seconds in (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86_400.0))
    },
    "length": _factors(m=1.0, dm=0.1, cm=0.01, mm=0.001),
    "lel": {"1": (1.0, 0.0), "%LEL": (0.01, 0.0), "%": (0.01, 0.0)},
    "volume_fraction": {
        "1": (1.0, 0.0),
        "%": (0.01, 0.0),
        "%vol": (0.01, 0.0),
        "%VOL": (0.01, 0.0),
        "ppm": (1e-6, 0.0),
        "[ppm]": (1e-6, 0.0),
    },
    "concentration": {
        f"{mass}/{per}": (kilograms / cubic, 0.0)
        for mass, kilograms in (("kg", 1.0), ("g", 1e-3), ("mg", 1e-6), ("ug", 1e-9))
        for per, cubic in (("m3", 1.0), ("L", 1e-3), ("l", 1e-3))
    },
    "temperature": {"K": (1.0, 0.0), "[degF]": (5 / 9, 459.67 * 5 / 9)}
    | dict.fromkeys(("Cel", "degC", "°C", "℃"), (1.0, 273.15)),
    "speed": {
        f"{length}/{per}": (metres / seconds, 0.0)
        for length, metres in (("m", 1.0), ("cm", 0.01), ("mm", 0.001))
        for per, seconds in (("s", 1.0), ("min", 60.0), ("h", 3600.0), ("d", 86_400.0))
    },
    "conductivity": {"S/m": (1.0, 0.0), "mS/m": (1e-3, 0.0), "mS/cm": (0.1, 0.0), "uS/cm": (1e-4, 0.0)},
    "turbidity": dict.fromkeys(("NTU", "{NTU}", "[NTU]", "FNU", "{FNU}"), (1.0, 0.0)),
    "ph": dict.fromkeys(("pH", "[pH]", "1"), (1.0, 0.0)),
    "state": {"1": (1.0, 0.0)},
    "angle": {"rad": (1.0, 0.0), "deg": (math.pi / 180, 0.0), "°": (math.pi / 180, 0.0)},
    "voltage": _factors(V=1.0, mV=1e-3),
    "signal": dict.fromkeys(("dBm", "dB[mW]"), (1.0, 0.0)),
}

_EXTRA: Mapping[str, Mapping[str, _Scale]] = {"hydrogen_sulfide": _factors(ppm=_H2S_KG_PER_M3_PER_PPM)}
"""Units that one quantity has and its dimension has not: ppm is a concentration only of a known gas."""

_SPELT = str.maketrans({"³": "3", "µ": "u", "μ": "u", " ": None, "^": None, "％": "%"})

CATALOGUE: Mapping[str, Quantity] = {
    q.name: q
    for q in (
        Quantity("pressure", "压力", "pressure", "pressure", "Pa", "MPa", Reference.GAUGE),
        Quantity("absolute_pressure", "绝对压力", "absolute pressure", "pressure", "Pa", "kPa", Reference.ABSOLUTE),
        Quantity("flow", "流量", "flow", "flow", "m3/s", "m3/h"),
        Quantity("level", "液位", "level", "length", "m", "m", Reference.ABOVE_INVERT),
        Quantity("water_elevation", "水位高程", "water elevation", "length", "m", "m", Reference.ABOVE_DATUM),
        Quantity("depth_to_water", "水面埋深", "depth to water", "length", "m", "m", Reference.BELOW_COVER),
        Quantity(
            "combustible_gas",
            "可燃气体浓度",
            "combustible gas",
            "lel",
            "1",
            "%LEL",
            Reference.LOWER_EXPLOSIVE_LIMIT,
            saturates=True,
        ),
        Quantity("methane", "甲烷浓度", "methane", "volume_fraction", "1", "%vol", Reference.VOLUME, saturates=True),
        Quantity(
            "hydrogen_sulfide",
            "硫化氢浓度",
            "hydrogen sulfide",
            "concentration",
            "kg/m3",
            "mg/m3",
            saturates=True,
        ),
        Quantity("oxygen", "氧气浓度", "oxygen", "volume_fraction", "1", "%vol", Reference.VOLUME),
        Quantity("temperature", "温度", "temperature", "temperature", "K", "Cel"),
        Quantity("rain_intensity", "雨强", "rain intensity", "speed", "m/s", "mm/h"),
        Quantity("conductivity", "电导率", "conductivity", "conductivity", "S/m", "uS/cm"),
        Quantity("turbidity", "浊度", "turbidity", "turbidity", "NTU", "NTU"),
        Quantity("free_chlorine", "余氯", "free chlorine", "concentration", "kg/m3", "mg/L"),
        Quantity("chlorine_dioxide", "二氧化氯", "chlorine dioxide", "concentration", "kg/m3", "mg/L"),
        Quantity("dissolved_oxygen", "溶解氧", "dissolved oxygen", "concentration", "kg/m3", "mg/L"),
        Quantity("ph", "酸碱度", "pH", "ph", "1", "pH"),
        Quantity("redox_potential", "氧化还原电位", "redox potential", "voltage", "V", "mV"),
        Quantity("pump_state", "水泵启停", "pump state", "state", "1", "1"),
        Quantity("valve_state", "阀门开闭", "valve state", "state", "1", "1"),
        Quantity("cover_open", "井盖开启", "cover open", "state", "1", "1"),
        Quantity("tilt", "倾角", "tilt", "angle", "rad", "deg"),
        Quantity("battery", "电池电压", "battery", "voltage", "V", "V"),
        Quantity("signal_strength", "信号强度", "signal strength", "signal", "dBm", "dBm"),
        Quantity("velocity", "流速", "velocity", "speed", "m/s", "m/s"),
    )
}
"""Every quantity that Chengmai knows, by name."""

_BY_SYSTEM: Mapping[tuple[str, str], str] = {("pressure", "gas"): "kPa"}


def quantity(name: str) -> Quantity:
    """Return the quantity called `name`; RefusedError E_POINT if the catalogue has none.

    >>> quantity("level").reference.value
    'above invert'
    """
    try:
        return CATALOGUE[name]
    except KeyError:
        raise RefusedError(
            f"no quantity is called {name!r}", expected="one of `chengmai quantities`", code="E_POINT"
        ) from None


def units(name: str) -> list[str]:
    """Return the unit symbols that the quantity `name` may come in."""
    return [*_UNITS[quantity(name).dimension], *_EXTRA.get(name, {})]


@cache
def scale(unit: str, name: str) -> tuple[float, float]:
    """Return (factor, offset) so that ``value * factor + offset`` is the SI value of the quantity `name`.

    The two apply to a whole column at once. RefusedError E_POINT for an unknown quantity, E_UNIT for a unit that is
    unknown or of another dimension.

    >>> scale("m3/h", "flow")[0] * 3600
    1.0
    >>> scale("bar", "flow")
    Traceback (most recent call last):
    twin.errors.RefusedError: E_UNIT 'bar' is no unit of flow (expected m3/h)
    """
    wanted = quantity(name)
    symbol = unit.translate(_SPELT)
    known = _UNITS[wanted.dimension]
    found = known.get(symbol) or _EXTRA.get(name, {}).get(symbol)
    if found is None:
        raise RefusedError(f"{unit!r} is no unit of {name}", expected=wanted.usual, code="E_UNIT")
    return found


def to_si(value: float, unit: str, name: str) -> float:
    """Return `value` in `unit` as the SI value of the quantity `name`; errors as of `scale`.

    >>> round(to_si(0.31, "MPa", "pressure"))
    310000
    """
    factor, offset = scale(unit, name)
    return value * factor + offset


def from_si(value: float, unit: str, name: str) -> float:
    """Return the SI `value` of the quantity `name` in `unit`; errors as of `scale`.

    >>> from_si(293.15, "Cel", "temperature")
    20.0
    """
    factor, offset = scale(unit, name)
    return (value - offset) / factor


def usual_unit(name: str, system: str = "") -> str:
    """Return the unit that people of `system` read the quantity `name` in.

    >>> usual_unit("pressure", "water"), usual_unit("pressure", "gas")
    ('MPa', 'kPa')
    """
    return _BY_SYSTEM.get((name, system), quantity(name).usual)
