"""The statements of a file that did not decide where it stands, each with how far it disagrees."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pyproj import Geod

from twin import crs as crs_of
from twin.georeference.reading import Point, between_deg, convergence_deg, grid_factors, height_m, in_map, unit_m
from twin.georeference.statements import LocalOrigin, MapConversion, Statements, metres
from twin.georeference.verdict import AGREE_DEG, AGREE_M, City, Verdict, judge

FACTOR_TOLERANCE = 1e-7
"""A combined factor nearer to 1 moves nothing by a millimetre in 10 km."""
_GEOD = Geod(ellps="WGS84")


def rivals(statements: Statements, verdict: Verdict, city: City) -> tuple[str, ...]:
    """Return a line for each statement that disagrees with `verdict`; what agrees is left out."""
    conversion = verdict.conversion
    lines: list[str] = list(conversion.notes)
    for other in statements.conversions:
        if other.entity != conversion.entity:
            lines += disagreement(statements, other, verdict, city)
    if statements.site_lonlat is not None:
        lines += _against_site(statements, statements.site_lonlat, verdict)
    for local in (statements.site, statements.world):
        if local is not None:
            lines += _against_local(statements, local, verdict)
    lines += _against_true_north(statements, verdict)
    lines += _grid_scale(statements, verdict)
    if statements.address:
        lines.append(f"IfcPostalAddress {statements.address!r} was not looked up")
    return tuple(lines)


def listed(statements: Statements) -> tuple[str, ...]:
    """Return the statements of a file of which none can decide."""
    lines: list[str] = [note for conversion in statements.conversions for note in conversion.notes]
    lines += [f"{each.entity} in {each.crs or 'no CRS'}" for each in statements.conversions[1:]]
    if statements.site_lonlat is not None:
        lines.append(_site(*statements.site_lonlat))
    for local in (statements.site, statements.world):
        if local is not None and local.large:
            lines.append(f"{local.entity} at ({metres(local.origin[0])}, {metres(local.origin[1])})")
    if statements.true_rotation_deg is not None and abs(statements.true_rotation_deg) > AGREE_DEG:
        lines.append(f"TrueNorth turns the model by {statements.true_rotation_deg:.3f}° from true east")
    if statements.address:
        lines.append(f"IfcPostalAddress {statements.address!r}")
    return tuple(lines)


def disagreement(statements: Statements, other: MapConversion, verdict: Verdict, city: City) -> list[str]:
    """Return how far `other` is from the deciding conversion, in one line; empty where they agree."""
    if not other.crs:
        return [f"{other.entity} names no CRS"]
    judged = judge(statements, other, city)
    here, there = _lonlat(verdict), _lonlat(judged)
    if here is None or there is None:
        return [f"{other.entity}: {judged.contradictions[0]}"] if judged.contradictions else []
    words: list[str] = []
    distance = float(_GEOD.inv(*here, *there)[2])
    if distance > AGREE_M:
        words.append(f"is {metres(distance)} m away")
    turn = between_deg(_true_rotation(judged), _true_rotation(verdict))
    if abs(turn) > AGREE_DEG:
        words.append(f"turned by {turn:.3f}°")
    rise = _height(judged) - _height(verdict)
    if abs(rise) > AGREE_M:
        words.append(f"{abs(rise):.2f} m {'higher' if rise > 0 else 'lower'}")
    return [f"{other.entity} {', '.join(words)}"] if words else []


def _against_site(statements: Statements, lonlat: Point, verdict: Verdict) -> Iterator[str]:
    """Hold latitude, longitude and elevation against where the conversion puts the site's own origin."""
    if abs(lonlat[1]) > 90 or abs(lonlat[0]) > 360:
        yield f"{_site(*lonlat)} is not on the globe"
        return
    local = statements.site.origin if statements.site else (0.0, 0.0, 0.0)
    here = _lonlat(verdict, statements, local)
    if here is None:
        yield _site(*lonlat)
        return
    distance = float(_GEOD.inv(*here, *lonlat)[2])
    if distance > AGREE_M:
        yield f"{_site(*lonlat)} is {metres(distance)} m away"
    if statements.site_height_m and verdict.stated is not None:
        rise = statements.site_height_m - height_m(verdict.conversion, verdict.stated, local[2])
        if abs(rise) > AGREE_M:
            yield f"IfcSite RefElevation is {abs(rise):.2f} m {'higher' if rise > 0 else 'lower'}"


def _against_local(statements: Statements, local: LocalOrigin, verdict: Verdict) -> Iterator[str]:
    """Hold map coordinates in placements against the conversion; ordinary offsets are part of it and no rival."""
    if verdict.stated is None or not local.large:
        if local.level == 40:
            yield from _not_applied(local)
        return
    axis_m = unit_m(verdict.stated)
    inside = local.level == 30 and math.hypot(*statements.anchor[:2]) >= math.hypot(*local.origin[:2]) / 2
    at = in_map(statements, verdict.conversion, verdict.stated, local.origin if inside else (0.0, 0.0))
    distance = math.dist((at[0] * axis_m, at[1] * axis_m), local.origin[:2])
    if distance > AGREE_M:
        yield f"{local.entity} at ({metres(local.origin[0])}, {metres(local.origin[1])}) is {metres(distance)} m away"
    turn = between_deg(local.rotation_deg, verdict.conversion.rotation_deg)
    if local.level == 40 and abs(turn) > AGREE_DEG:
        yield f"{local.entity} is turned by {turn:.3f}° against it"


def _not_applied(world: LocalOrigin) -> Iterator[str]:
    """Say what a world coordinate system adds: the kernel leaves it out, and exporters repeat the conversion in it."""
    words: list[str] = []
    if math.hypot(*world.origin) > AGREE_M:
        words.append("moved by ({:.2f}, {:.2f}, {:.2f}) m".format(*world.origin))
    if abs(world.rotation_deg) > AGREE_DEG:
        words.append(f"turned by {world.rotation_deg:.3f}°")
    if words:
        yield f"{world.entity} is {' and '.join(words)}: not applied"


def _against_true_north(statements: Statements, verdict: Verdict) -> Iterator[str]:
    """Hold TrueNorth against the x axis of the conversion, which wins: it may mean true north, or repeat grid north."""
    true = statements.true_rotation_deg
    if true is None or verdict.stated is None or verdict.point is None or _lonlat(verdict) is None:
        return
    convergence = convergence_deg(verdict.stated, verdict.point)
    from_true = between_deg(true + convergence, verdict.conversion.rotation_deg)
    from_grid = between_deg(true, verdict.conversion.rotation_deg)
    if abs(from_true) <= AGREE_DEG or not math.isfinite(convergence):
        return
    axis = f"XAxisAbscissa of {verdict.conversion.entity}"
    if abs(from_grid) <= AGREE_DEG:
        yield f"TrueNorth repeats the grid north of {axis}: {abs(from_true):.3f}° off true north"
    else:
        yield f"TrueNorth disagrees with {axis} by {from_grid:.3f}° (from true north {from_true:.3f}°)"


def _grid_scale(statements: Statements, verdict: Verdict) -> Iterator[str]:
    """Say what a combined factor would do to the geometry, which is drawn at its own size about the mesh's origin."""
    if verdict.stated is None:
        return
    factors = grid_factors(statements, verdict.conversion, verdict.stated)
    off = max(factors, key=lambda factor: abs(factor - 1))
    if abs(off - 1) > FACTOR_TOLERANCE:
        shown = f"{abs(off - 1) * 100:.4f} m in 100 m"
        yield f"Scale states a combined factor of {off:.7g}: applied to the origin, not to the geometry ({shown})"


def _lonlat(
    verdict: Verdict, statements: Statements | None = None, local: tuple[float, float, float] | None = None
) -> Point | None:
    """Return longitude and latitude of the mesh's origin, or of `local`; None where the CRS does not reach."""
    if verdict.stated is None or verdict.point is None:
        return None
    point = verdict.point
    if not crs_of.in_area_of_use(verdict.stated, *point):  # distances from nowhere tell nothing
        return None
    if statements is not None and local is not None:
        point = in_map(statements, verdict.conversion, verdict.stated, local)
    longitude, latitude = (float(value) for value in crs_of.to_lonlat(verdict.stated, *point))
    return (longitude, latitude) if math.isfinite(longitude) and math.isfinite(latitude) else None


def _true_rotation(verdict: Verdict) -> float:
    assert verdict.stated is not None
    assert verdict.point is not None
    return verdict.conversion.rotation_deg - convergence_deg(verdict.stated, verdict.point)


def _height(verdict: Verdict) -> float:
    assert verdict.stated is not None
    return height_m(verdict.conversion, verdict.stated, 0.0)


def _site(longitude: float, latitude: float) -> str:
    return f"IfcSite latitude {latitude:.6f}, longitude {longitude:.6f}"
