"""Subcatchments of a SWMM input file: the areas that rain falls on (SWMM User's Manual 5.2, appendix D.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from shapely import Polygon

from twin.asset import Attribute, System, Zone, ZoneKind, asset_id
from twin.readers.inp import Inp

if TYPE_CHECKING:
    from numpy.typing import NDArray


def areas(inp: Inp) -> tuple[NDArray[np.object_], list[str]]:
    """Return the polygons of the subcatchments, empty where the file draws none, and their names."""
    corners: dict[str, list[tuple[float, float]]] = {}
    for line in inp.lines("POLYGONS"):
        corner = line.number_at(1, "x"), line.number_at(2, "y")
        corners.setdefault(line.text(0, "subcatchment").upper(), []).append(corner)
    names = [line.text(0, "name") for line in inp.lines("SUBCATCHMENTS")]
    drawn = np.empty(len(names), dtype=object)
    for index, name in enumerate(names):
        ring = corners.get(name.upper(), [])
        drawn[index] = Polygon(ring) if len(ring) > 2 else Polygon()
    return drawn, names


def zones(
    inp: Inp,
    drawn: NDArray[np.object_],
    system: System,
    source: str,
    *,
    tags: Mapping[str, str],
    length_m: float,
    area_m2: float,
) -> list[Zone]:
    """Return the subcatchments as areas; `length_m` and `area_m2` are the file's units, `tags` are by upper-case name.

    Raises InputError E_ID where a name is there twice.
    """
    made: dict[str, Zone] = {}
    for line, area in zip(inp.lines("SUBCATCHMENTS"), drawn, strict=True):
        name = line.text(0, "name")
        if name.upper() in made:
            raise line.error(f"{name!r} is there already", "names used once", "E_ID")
        properties: dict[str, Attribute] = {
            "rain_gage": line.maybe(1),
            "outlet": line.maybe(2),
            "area_m2": line.maybe_number(3, "area") * area_m2,
            "impervious_share": line.maybe_number(4, "imperviousness") / 100,
            "width_m": line.maybe_number(5, "width") * length_m,
            "slope": line.maybe_number(6, "slope") / 100,
        }
        if curb := line.maybe_number(7, "curb length") * length_m:
            properties["curb_length_m"] = curb
        if snow_pack := line.maybe(8):
            properties["snow_pack"] = snow_pack
        if tag := tags.get(name.upper()):
            properties["tag"] = tag
        made[name.upper()] = Zone(asset_id(source, "zone", name), name, system, ZoneKind.SUBCATCHMENT, area, properties)
    return list(made.values())
