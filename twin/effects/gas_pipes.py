"""What is known of gas pipes that bears on a leak: pressure, grade, material, age."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from twin.asset import Attribute, LinkKind

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from twin.effects.clearances import Clearances, GasScoreRow

_UNITS: Mapping[str, float] = {"pa": 1.0, "kpa": 1e3, "mpa": 1e6, "bar": 1e5, "mbar": 1e2}
_CLASSES: Mapping[str, float] = {  # GB 50028-2006, 6.1.6: the upper end of each grade, Pa; the longer words first
    "次高压a": 1.6e6,
    "次高压": 0.8e6,
    "高压": 4.0e6,
    "中压b": 0.2e6,
    "中压": 0.4e6,
    "低压": 1e4,
    "sub_high": 0.8e6,
    "high": 4.0e6,
    "medium": 0.4e6,
    "low": 1e4,
}


def pressure_pa(properties: Mapping[str, Attribute]) -> float | None:
    """Return the gauge pressure that a pipe's properties state (``pressure_kpa``, ``pressure_class``), Pa, or None.

    >>> pressure_pa({"pressure_kpa": 2.6})
    2600.0
    >>> pressure_pa({"压力级别": "中压A"})
    400000.0
    """
    spoken: list[str] = []
    for key, value in properties.items():
        name = key.casefold()
        if "pressure" not in name and "压力" not in name:
            continue
        factor = _UNITS.get(name.rsplit("_", 1)[-1])
        if factor and isinstance(value, (int, float)) and np.isfinite(value):
            return float(value) * factor
        spoken.append(str(value).casefold())
    return next((value for word, value in _CLASSES.items() if any(word in said for said in spoken)), None)


def pressures(links: pd.DataFrame) -> NDArray[np.float64]:
    """Return the gauge pressure of each of `links`, Pa, nan where none is stated."""
    said = (pressure_pa(msgspec.json.decode(text)) for text in links["properties"])
    return np.array([np.nan if value is None else value for value in said], np.float64)


def leakiness(links: pd.DataFrame, pressure: NDArray[np.float64], year: int, table: Clearances) -> NDArray[np.float64]:
    """Return how much likelier than a young steel pipe at low pressure each of `links` leaks, by `table`."""
    score = table.gas_score
    material = links["material"].map({said: score.of_material(said) for said in links["material"].dropna().unique()})
    old = (year - links["year"]) >= score.old_years
    service = links["kind"] == LinkKind.SERVICE
    weight = np.array([score.pressures.get(table.grade(value).grade, 1.0) for value in pressure], np.float64)
    return weight * (
        material.fillna(1.0).to_numpy(float)
        * np.where(old.to_numpy(bool), score.old, 1.0)
        * np.where(service.to_numpy(bool), score.service, 1.0)
    )


def reasons(link: pd.Series[Any], grade: str, year: int, score: GasScoreRow) -> list[str]:
    """Return what of a gas pipe itself raised or lowered its score: codes such as ``material:灰口铸铁``."""
    found = [f"pressure:{grade}"]
    material, laid = link["material"], link["year"]
    if isinstance(material, str) and score.of_material(material) != 1.0:
        found.append(f"material:{material}")
    if isinstance(laid, (int, float)) and year - laid >= score.old_years:
        found.append(f"laid:{laid:.0f}")
    if link["kind"] == LinkKind.SERVICE:
        found.append("service")
    return found
