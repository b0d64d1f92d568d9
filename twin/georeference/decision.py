"""The placement decided: by the weightiest statement, unless it contradicts itself, its peers or the city."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from twin import crs as crs_of
from twin.georeference.reading import convergence_deg, unit_m
from twin.georeference.repair import proposed, suggested
from twin.georeference.rivals import disagreement, listed, rivals
from twin.georeference.statements import LARGE_M, MapConversion, Statements
from twin.georeference.verdict import City, Verdict, judge
from twin.model import Decision, Placement, Proposal

CALLER = "the CRS given by the caller"


@dataclass(frozen=True, slots=True)
class Frame:
    """The rigid move from a model's own coordinates (metres) to the city's, about the anchor of the mesh."""

    anchor: tuple[float, float, float] = (0.0, 0.0, 0.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation_deg: float = 0.0

    def apply(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return `points` (n, 3) in the city's coordinates: easting, northing, height."""
        angle = math.radians(self.rotation_deg)
        cosine, sine = math.cos(angle), math.sin(angle)
        turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        return (points - np.array(self.anchor)) @ turn.T + np.array(self.origin)


def place(
    statements: Statements,
    *,
    city_crs: str | None,
    file_crs: str | None,
    bounds: tuple[float, float, float, float] | None = None,
) -> tuple[Placement, Frame]:
    """Decide where a model stands.

    `city_crs` is the CRS to place it in (else one adopted from the file's), `bounds` the extent in it that the city
    declares; `file_crs` is what the caller says the file is in, used where the file names no CRS. A model that is not
    placed keeps its own coordinates, and gets a proposal where one of its statements could be read so that it fits.
    """
    city = City(crs_of.parse(city_crs) if city_crs else None, bounds)
    conversion, level = _deciding(statements, file_crs)
    if conversion is None or not conversion.crs:
        return _unplaced(statements, conversion, city)
    verdict = judge(statements, conversion, city)
    contradictions = (*verdict.contradictions, *_peers(statements, verdict, city))
    others = [line for line in rivals(statements, verdict, city) if line not in contradictions]
    if contradictions:
        # A caller's CRS that does not fit is no contradiction of the file's own.
        decision = Decision.UNPLACED if conversion.entity == CALLER else Decision.QUARANTINED
        proposal = proposed(statements, conversion, city)
        return _kept(
            statements, decision, conversion.entity, contradictions, level=level, others=others, proposal=proposal
        )
    return _placed(statements, verdict, conversion, level, others)


def _deciding(statements: Statements, file_crs: str | None) -> tuple[MapConversion | None, int]:
    """Return the statement that decides, and its LoGeoRef level; the caller's word completes it."""
    if statements.conversions:
        conversion = statements.conversions[0]
        return (conversion if conversion.crs or not file_crs else replace(conversion, crs=file_crs)), 50
    if not file_crs:
        return None, 0
    world = statements.world
    if world is not None and world.large and math.hypot(*statements.anchor[:2]) < LARGE_M:
        turn = math.radians(world.rotation_deg or _grid_rotation_deg(statements, file_crs, world.origin))
        return MapConversion(CALLER, file_crs, *world.origin, math.cos(turn), math.sin(turn), map_unit_m=1.0), 40
    # The model's own coordinates are the map's.
    return MapConversion(CALLER, file_crs, 0.0, 0.0, 0.0, map_unit_m=1.0), 30


def _grid_rotation_deg(statements: Statements, file_crs: str, origin: tuple[float, float, float]) -> float:
    """Return the turn that TrueNorth states, from grid east: true north plus the convergence at `origin`."""
    stated = crs_of.horizontal(crs_of.parse(file_crs))
    if statements.true_rotation_deg is None or not stated.is_projected:
        return 0.0
    point = origin[0] / unit_m(stated), origin[1] / unit_m(stated)
    return statements.true_rotation_deg + convergence_deg(stated, point)


def _peers(statements: Statements, verdict: Verdict, city: City) -> list[str]:
    """Return how far conversions of equal weight disagree (buildingSMART GRF001: operations must be identical)."""
    peers = [other for other in statements.conversions[1:] if other.rank == verdict.conversion.rank and other.crs]
    return [line for other in peers for line in disagreement(statements, other, verdict, city)]


def _placed(
    statements: Statements, verdict: Verdict, conversion: MapConversion, level: int, others: Sequence[str]
) -> tuple[Placement, Frame]:
    assert verdict.target is not None
    named = crs_of.label(crs_of.horizontal(crs_of.parse(conversion.crs or "")))
    source = f"{conversion.entity} in {named}"[:200]
    placement = Placement(
        Decision.PLACED,
        f"{source}; {verdict.operation}" if verdict.operation else source,
        crs_of.label(verdict.target),
        level,
        verdict.origin,
        verdict.rotation_deg,
        statements.project_unit_m,
        verdict.accuracy_m,
        (),
        tuple(others),
    )
    return placement, Frame(statements.anchor, verdict.origin, verdict.rotation_deg)


def _unplaced(statements: Statements, conversion: MapConversion | None, city: City) -> tuple[Placement, Frame]:
    source, level = "the file says nothing", None
    if conversion is not None:
        source, level = f"{conversion.entity} without a CRS", 50
    elif statements.world is not None and statements.world.large:
        source, level = f"{statements.world.entity} without a CRS", 40
    elif statements.site is not None and statements.site.large:
        source, level = f"{statements.site.entity} without a CRS", 30
    elif statements.site_lonlat is not None:
        source, level = "IfcSite latitude and longitude only", 20
    elif math.hypot(*statements.anchor[:2]) >= LARGE_M:
        source = "the geometry stands in map coordinates, without a CRS"
    elif statements.address:
        source, level = "an address only", 10
    proposal = suggested(statements, conversion, city)
    return _kept(statements, Decision.UNPLACED, source, (), level=level, others=listed(statements), proposal=proposal)


def _kept(
    statements: Statements,
    decision: Decision,
    source: str,
    contradictions: Sequence[str],
    *,
    level: int | None,
    others: Sequence[str],
    proposal: Proposal | None,
) -> tuple[Placement, Frame]:
    """Leave the model in its own coordinates."""
    placement = Placement(
        decision,
        source,
        level=level,
        origin=statements.anchor,
        unit_scale=statements.project_unit_m,
        contradictions=tuple(contradictions),
        rivals=tuple(others),
        proposal=proposal,
    )
    return placement, Frame(statements.anchor, statements.anchor)
