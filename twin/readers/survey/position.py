"""Where a survey stands: its X is the northing and its Y the easting, and an easting may carry the number of its zone.

In Chinese surveys X points north. Eastings of Gauss-Krüger zones are 500 km at the central meridian; with a zone number
before them (40,540,187 m is zone 40) they tell their zone themselves. Zones 25 to 45 are 3° wide (meridian 3° × zone),
13 to 23 are 6° wide (6° × zone - 3°). The datum is taken for CGCS2000, China's own since 2008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from twin import crs as reference
from twin.errors import CrsError
from twin.model import Issue
from twin.readers.survey.rows import Spot

_ZONE_M = 1e6
_FIRST_NARROW, _LAST_NARROW = 25, 45
_FIRST_WIDE, _LAST_WIDE = 13, 23
_WIDE_EPSG = 4502
"""CGCS2000 Gauss-Krüger of a 6° zone by central meridian 75° E; the next ones follow by 6°."""
_NORTHINGS = (3.3e5, 6.0e6)
"""3° N to 54° N, the extent of China, along a meridian, in metres."""
_EASTINGS = (1e5, 9e5)


@dataclass(frozen=True, slots=True)
class Grid:
    """Corners of the survey's points, easting then northing, None where there is none; and in which CRS they are."""

    corners: Sequence[tuple[float, float] | None]
    crs: reference.CRS | None
    stated: str
    said: dict[str, str]
    issues: Sequence[Issue]


def grid(spots: Sequence[Spot], given: str | None, name: str) -> Grid:
    """Return where the points of a survey stand.

    `given` is the caller's CRS, `name` the file's. Raises CrsError where the zone number of the eastings is another one
    than that of the CRS given.
    """
    pairs = np.array([(s.easting, s.northing) for s in spots], dtype=float).reshape(-1, 2)
    known = np.asarray(np.isfinite(pairs).all(axis=1))
    said, issues = {"axes": "X is the northing, Y the easting"}, list[Issue]()
    if known.any() and _are_swapped(pairs[known]):
        pairs = pairs[:, ::-1].copy()
        said["axes"] = "X is the easting, Y the northing, by their values"
        issues.append(Issue("E_AXES", f"{name}: X has eastings and Y northings, against CJJ 61; taken as they are"))
    crs = reference.parse(given) if given else None
    stated = f"given for {name}" if given else "no CRS in the file and none given"
    zone = int(np.median(pairs[known, 0]) // _ZONE_M) if known.any() else 0
    if _is_zone(zone) and not (crs is not None and _zone_of(crs) == zone):
        said["zone"] = f"eastings begin with zone {zone}, central meridian {_meridian(zone)}° E"
        other = known & (pairs[:, 0] // _ZONE_M != zone)
        if other.any():
            first = spots[int(np.flatnonzero(other)[0])].name
            what = f"{int(other.sum())} points are in another zone than {zone}; they have no place"
            issues.append(Issue("E_ZONE", what, first))
            known &= ~other
        pairs[:, 0] -= zone * _ZONE_M
        if crs is None:
            crs, stated = _of_zone(zone), f"{name} has eastings of zone {zone}; CGCS2000 taken"
        elif crs.is_projected and not math.isclose(
            reference.parameter(crs, "Longitude of natural origin"), _meridian(zone)
        ):
            raise CrsError(
                f"eastings are of zone {zone} (central meridian {_meridian(zone)}° E), but {crs.name} was given",
                where=name,
                expected=reference.label(_of_zone(zone)),
            )
    elif crs is not None and known.any() and (own := _zone_of(crs)) and zone == 0:
        said["zone"] = f"eastings without the zone number {own} of {crs.name}; it was put before them"
        pairs[:, 0] += own * _ZONE_M
    corners = [(float(e), float(n)) if there else None for (e, n), there in zip(pairs, known, strict=True)]
    return Grid(corners, crs, stated, said, issues)


def _are_swapped(pairs: np.ndarray) -> bool:
    east, north = np.median(pairs, axis=0)
    return _is_easting(north) and _is_northing(east) and not (_is_easting(east) and _is_northing(north))


def _is_northing(value: float) -> bool:
    return _NORTHINGS[0] <= value <= _NORTHINGS[1]


def _is_easting(value: float) -> bool:
    zone, rest = divmod(value, _ZONE_M)
    return _EASTINGS[0] <= rest <= _EASTINGS[1] and (zone == 0 or _is_zone(int(zone)))


def _is_zone(zone: int) -> bool:
    return _FIRST_NARROW <= zone <= _LAST_NARROW or _FIRST_WIDE <= zone <= _LAST_WIDE


def _meridian(zone: int) -> int:
    return 3 * zone if zone >= _FIRST_NARROW else 6 * zone - 3


def _of_zone(zone: int) -> reference.CRS:
    if zone >= _FIRST_NARROW:
        return reference.gauss_krueger(_meridian(zone))
    return reference.parse(str(_WIDE_EPSG + zone - _FIRST_WIDE))


def _zone_of(crs: reference.CRS) -> int:
    """Return the zone number in the false easting of a CRS, 0 where it has none."""
    easting = reference.parameter(crs, "False easting")
    return int(easting // _ZONE_M) if crs.is_projected and math.isfinite(easting) else 0
