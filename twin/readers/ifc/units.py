"""Units of properties and quantities as UCUM symbols: the property's own, else the project's for its measure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import ifcopenshell
from ifcopenshell import entity_instance

PREFIXES = {
    "EXA": "E",
    "PETA": "P",
    "TERA": "T",
    "GIGA": "G",
    "MEGA": "M",
    "KILO": "k",
    "HECTO": "h",
    "DECA": "da",
    "DECI": "d",
    "CENTI": "c",
    "MILLI": "m",
    "MICRO": "u",
    "NANO": "n",
    "PICO": "p",
    "FEMTO": "f",
    "ATTO": "a",
}
SI = {
    "AMPERE": "A",
    "BECQUEREL": "Bq",
    "CANDELA": "cd",
    "COULOMB": "C",
    "CUBIC_METRE": "m3",
    "DEGREE_CELSIUS": "Cel",
    "FARAD": "F",
    "GRAM": "g",
    "GRAY": "Gy",
    "HENRY": "H",
    "HERTZ": "Hz",
    "JOULE": "J",
    "KELVIN": "K",
    "LUMEN": "lm",
    "LUX": "lx",
    "METRE": "m",
    "MOLE": "mol",
    "NEWTON": "N",
    "OHM": "Ohm",
    "PASCAL": "Pa",
    "RADIAN": "rad",
    "SECOND": "s",
    "SIEMENS": "S",
    "SIEVERT": "Sv",
    "SQUARE_METRE": "m2",
    "STERADIAN": "sr",
    "TESLA": "T",
    "VOLT": "V",
    "WATT": "W",
    "WEBER": "Wb",
}
CONVERSION_BASED = {
    "acre": "[acr_us]",
    "bar": "bar",
    "btu": "[Btu]",
    "cubic foot": "[cft_i]",
    "cubic inch": "[cin_i]",
    "cubic yard": "[cyd_i]",
    "day": "d",
    "degree": "deg",
    "fahrenheit": "[degF]",
    "foot": "[ft_i]",
    "gallon us": "[gal_us]",
    "hour": "h",
    "inch": "[in_i]",
    "litre": "L",
    "mile": "[mi_i]",
    "minute": "min",
    "ounce": "[oz_av]",
    "pound": "[lb_av]",
    "psi": "[psi]",
    "square foot": "[sft_i]",
    "square inch": "[sin_i]",
    "square yard": "[syd_i]",
    "tonne": "t",
    "us survey foot": "[ft_us]",
    "yard": "[yd_i]",
    "year": "a",
}
"""Names of IfcConversionBasedUnit (IFC 4.3, clause of that name) and their UCUM symbols."""
_QUANTITIES = {
    "IfcQuantityLength": "LENGTHUNIT",
    "IfcQuantityArea": "AREAUNIT",
    "IfcQuantityVolume": "VOLUMEUNIT",
    "IfcQuantityWeight": "MASSUNIT",
    "IfcQuantityTime": "TIMEUNIT",
}
_MONEY = "MONETARYUNIT"


@dataclass(slots=True)
class Units:
    """The units of one file, each named once."""

    project: dict[str, str]
    """Symbol by IfcUnitEnum or IfcDerivedUnitEnum."""
    named: dict[int, str] = field(default_factory=dict[int, str])

    def of_measure(self, measure: str) -> str | None:
        """Return the project's unit for values of the class `measure`; None for one without a unit, as a ratio."""
        return self.project.get(unit_type(measure))

    def of_quantity(self, quantity: str) -> str | None:
        """Return the project's unit for an IfcQuantity… class; None for counts."""
        return self.project.get(_QUANTITIES.get(quantity, ""))

    def of_unit(self, unit: entity_instance) -> str:
        """Return the symbol of a unit that a property names itself."""
        step = unit.id()
        if step not in self.named:
            self.named[step] = symbol(unit)
        return self.named[step]


def units(file: ifcopenshell.file) -> Units:
    """Read the unit assignment of the project of `file`."""
    project: dict[str, str] = {}
    for assignment in file.by_type("IfcUnitAssignment")[:1]:
        for unit in assignment.Units or ():
            kind = _MONEY if unit.is_a("IfcMonetaryUnit") else unit.UnitType
            project.setdefault(kind, symbol(unit))
    return Units(project)


@cache
def unit_type(measure: str) -> str:
    """Return the unit type that values of the class `measure` have.

    >>> unit_type("IfcPositiveLengthMeasure"), unit_type("IfcMassDensityMeasure")
    ('LENGTHUNIT', 'MASSDENSITYUNIT')
    """
    plain = measure.removeprefix("Ifc").removesuffix("Measure")
    for sign in ("NonNegative", "Positive"):
        plain = plain.removeprefix(sign)
    return plain.upper() + "UNIT"


def symbol(unit: entity_instance) -> str:
    """Return the UCUM symbol of `unit`, else the file's own name of it."""
    if unit.is_a("IfcMonetaryUnit"):
        return str(unit.Currency)
    if unit.is_a("IfcDerivedUnit"):
        return ".".join(_power(symbol(part.Unit), part.Exponent) for part in unit.Elements)
    if unit.is_a("IfcSIUnit"):
        name = str(unit.Name)
        return PREFIXES.get(unit.Prefix or "", "") + SI.get(name, name)
    name = str(unit.Name or "")
    return CONVERSION_BASED.get(name.casefold().replace("_", " "), name)


def _power(base: str, exponent: int) -> str:
    if exponent == 1:
        return base
    return f"({base}){exponent}" if base[-1:].isdigit() else f"{base}{exponent}"
