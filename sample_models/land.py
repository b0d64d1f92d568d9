"""What lies on the ground of the sample district: its streets as areas, and the river."""

from __future__ import annotations

from collections.abc import Iterator

import shapely
from shapely import LineString, MultiPolygon, Polygon

from sample_models.streets import Segment, Streets
from sample_models.terrain import LENGTH, bank, to_map

RIVER_WIDTH_M = 150.0
_BEYOND_M = 260.0
"""How far the river is drawn up- and downstream of the district."""
_STEP_M = 20.0


def roads(streets: Streets) -> dict[str, Polygon | MultiPolygon]:
    """Return the area of each street between its building lines, by name."""
    pieces: dict[str, list[Segment]] = {}
    for segment in streets.segments:
        pieces.setdefault(segment.street.name, []).append(segment)
    return {
        name: shapely.union_all([LineString(s.axis).buffer(s.street.width_m / 2, join_style="mitre") for s in its])
        for name, its in pieces.items()
    }


def river() -> Polygon:
    """Return the river along the southern bank."""
    steps = [-_BEYOND_M + n * _STEP_M for n in range(round((LENGTH + 2 * _BEYOND_M) / _STEP_M) + 1)]
    near = [to_map(u, bank(u)) for u in steps]
    far = [to_map(u, bank(u) - RIVER_WIDTH_M - 20.0 * u / LENGTH) for u in steps]
    return Polygon([*near, *reversed(far)])


def land(streets: Streets) -> Iterator[tuple[str, str, Polygon | MultiPolygon]]:
    """Yield name, kind (road, water_body) and area of everything that lies on the ground."""
    yield "青衣河", "water_body", river()
    for name, area in roads(streets).items():
        yield name, "road", area
