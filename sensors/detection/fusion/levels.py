"""How bad a finding is: a matrix of evidence and consequence, and the levels of its members.

ALARMS of the design: the lowest number counts. The numbers are the city's (limits.toml, number.fusion).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import shapely
import structlog

from sensors.detection.fusion.finding import Finding, confidence_of
from sensors.detection.fusion.places import At, Spot
from sensors.detection.scope import Scope
from sensors.limits import Limits
from twin.asset import AssetId, Link
from twin.errors import ChengmaiError

if TYPE_CHECKING:
    from twin.city import City

logger = structlog.get_logger()

_EVIDENCE = ("weak", "fair", "strong")
_REMEMBERED = 1000
"""Places whose consequence is not asked of the city again."""
_GREATEST = 3
"""Consequences are 0 (none but for whoever keeps the devices) to 3 (great)."""


class Levels:
    """Judges findings by the numbers of a city, and by what the city says of the place."""

    def __init__(self, scope: Scope) -> None:
        self._limits = scope.limits
        self._main_m = scope.limits.number("fusion", "main")
        self._near_m = scope.limits.number("fusion", "sensitive")
        self._city = scope.city
        self._graph = scope.graph
        self.consequence = lru_cache(_REMEMBERED)(self._consequence)

    def of(self, finding: Finding, place: Spot) -> int:
        """Return the level (1 worst to 4) of a finding whose likeliest place is `place`: of the matrix, or its own."""
        confidence = confidence_of(finding.speaking)
        matrix = by_matrix(self._limits, confidence, self.consequence(finding.rule, place.asset, place.at))
        return min(matrix, finding.level)

    def _consequence(self, rule: str, asset: AssetId | None, at: tuple[At, ...]) -> int:
        """Return what `rule` may lead to there: its own, one more on a main, one more near a sensitive building.

        What leads to nothing (a faulty device) does so everywhere.
        """
        own = round(self._limits.number("fusion", f"consequence_{rule}"))
        return min(_GREATEST, own + self._on_main(asset) + self._near_sensitive(at)) if own else 0

    def _on_main(self, asset: AssetId | None) -> bool:
        if self._city is None or self._graph is None or asset is None:
            return False
        node = self._graph.nodes.find(asset)
        links = [asset]
        if node >= 0:
            beside = self._graph.edge[self._graph.indptr[node] : self._graph.indptr[node + 1]]
            links = [AssetId(self._graph.links[int(link)]) for link in beside]
        return any(_bore_m(self._city, link) >= self._main_m for link in links)

    def _near_sensitive(self, at: Iterable[At]) -> bool:
        if self._city is None or self._graph is None:
            return False
        tree = self._graph.once(_Sensitive(self._city))
        return any(_nearest_m(tree, place) <= self._near_m for place in at)


def by_matrix(limits: Limits, confidence: float, consequence: int) -> int:
    """Return the level that the matrix has for evidence and consequence (0 to 3).

    >>> from sensors.limits import load
    >>> by_matrix(load(), 0.3, 1), by_matrix(load(), 0.95, 3)
    (4, 1)
    """
    evidence = (confidence >= limits.number("fusion", "fair")) + (confidence >= limits.number("fusion", "strong"))
    return round(limits.number("fusion", f"level_{_EVIDENCE[evidence]}_{consequence}"))


def _bore_m(city: City, asset: AssetId) -> float:
    try:
        found = city.asset(asset)
    except ChengmaiError as error:  # gone since, or a database that is held: the level does without
        logger.info("consequence_unknown", asset=asset, error=str(error))
        return 0.0
    return (found.diameter_m or 0.0) if isinstance(found, Link) else 0.0


def _nearest_m(tree: shapely.STRtree, place: At) -> float:
    found = tree.query_nearest(shapely.Point(place.easting, place.northing), return_distance=True)[1]
    return float(found[0]) if len(found) else math.inf


@dataclass(frozen=True)
class _Sensitive:
    """Finds the sensitive buildings of a city, once for each of its networks."""

    city: City

    def __call__(self, _: object) -> shapely.STRtree:
        from twin.buildings import sensitive  # noqa: PLC0415  # it brings pandas; a worker without a city goes without

        buildings = self.city.table("buildings", placed_only=True)
        named = zip(buildings["name"], buildings["usage"], strict=True)
        told = [sensitive(name, usage if isinstance(usage, str) else None) is not None for name, usage in named]
        return shapely.STRtree(np.asarray(buildings["geometry"], object)[np.array(told, np.bool_)])


__all__ = ["Levels", "by_matrix"]
