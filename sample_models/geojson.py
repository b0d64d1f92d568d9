"""Layers as GeoJSON with the CRS named in the file (the "crs" member of GeoJSON 2008, which GIS tools still read)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from shapely import MultiPolygon, Polygon

from sample_models.buildings import Building
from sample_models.gas import LOW_COVER_M, LOW_KPA, MEDIUM_COVER_M, MEDIUM_KPA
from sample_models.pipes import Net
from sample_models.terrain import CRS, ground

Feature: TypeAlias = tuple[Mapping[str, object], str, object]
"""Properties, geometry type, coordinates."""

CUBIC_METRES_A_DAY = {"residential": 0.21, "clinic": 0.25, "school": 0.05, "office": 0.03, "market": 0.3, "public": 0.0}
"""Gas per person and day."""


def collection(name: str, features: Iterable[Feature]) -> str:
    """Return a feature collection in the district's CRS, one feature a line."""
    crs = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{CRS.replace(':', '::')}"}}
    lines = [
        json.dumps(
            {"type": "Feature", "properties": dict(properties), "geometry": {"type": kind, "coordinates": coordinates}},
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for properties, kind, coordinates in features
    ]
    head = f'{{"type":"FeatureCollection","name":{json.dumps(name)},"crs":{json.dumps(crs)},"features":[\n'
    return head + ",\n".join(lines) + "\n]}\n"


def polygons(area: Polygon | MultiPolygon) -> tuple[str, object]:
    """Return geometry type and coordinates of an area, holes included, to the millimetre."""
    parts = area.geoms if isinstance(area, MultiPolygon) else [area]
    rings = [
        [[(round(x, 3), round(y, 3)) for x, y in line.coords] for line in (part.exterior, *part.interiors)]
        for part in parts
    ]
    return ("MultiPolygon", rings) if isinstance(area, MultiPolygon) else ("Polygon", rings[0])


def land_features(areas: Iterable[tuple[str, str, Polygon | MultiPolygon]]) -> Iterable[Feature]:
    """Yield what lies on the ground: streets and the river."""
    for name, kind, area in areas:
        yield {"id": name, "name": name, "kind": kind}, *polygons(area)


def building_features(buildings: Sequence[Building]) -> Iterable[Feature]:
    """Yield the footprints."""
    for b in buildings:
        properties = {
            "id": b.id,
            "name": b.name,
            "height_m": b.height_m,
            "storeys": b.storeys,
            "usage": b.usage,
            "year": b.year,
            "residents": b.residents,
            "people": b.people,
            "ground_m": b.ground_m,
            "compound": b.compound,
        }
        yield properties, *polygons(b.footprint)


def zone_features(areas: Mapping[str, Polygon]) -> Iterable[Feature]:
    """Yield the district metered areas."""
    for name, area in areas.items():
        yield {"id": name, "name": f"{name} 独立计量区", "kind": "dma"}, *polygons(area)


def gas_node_features(net: Net) -> Iterable[Feature]:
    """Yield the nodes of the gas network, at the level of the pipe's axis."""
    for n in net.nodes.values():
        people = n.building.people * CUBIC_METRES_A_DAY[n.building.usage] if n.building else 0.0
        properties = {
            "id": n.name,
            "name": n.place,
            "kind": n.kind,
            "pressure_class": n.grade,
            "pressure_kpa": MEDIUM_KPA if n.grade == "medium" else LOW_KPA,
            "ground_m": n.ground_m,
            "depth_m": round(n.ground_m - n.level_m, 3),
            "demand_m3h": round(people / 24.0, 3),
            "building": n.building.id if n.building else None,
        }
        yield properties, "Point", (*n.xy, n.level_m)


def gas_pipe_features(net: Net) -> Iterable[Feature]:
    """Yield the pipes of the gas network, at the level of their axis."""
    for p in net.pipes:
        ends = (net.nodes[p.start], net.nodes[p.end])
        cover = MEDIUM_COVER_M if p.grade == "medium" else LOW_COVER_M
        inner = [(x, y, round(ground(x, y) - cover, 3)) for x, y in p.line[1:-1]]
        properties = {
            "id": p.name,
            "name": p.place,
            "kind": p.kind,
            "from": p.start,
            "to": p.end,
            "diameter_mm": p.diameter_mm,
            "material": p.material,
            "year": p.year,
            "pressure_class": p.grade,
            "pressure_kpa": MEDIUM_KPA if p.grade == "medium" else LOW_KPA,
            "depth_m": round(sum(e.ground_m - e.level_m for e in ends) / 2, 3),
            "length_m": round(p.length, 2),
        }
        coordinates = [(*ends[0].xy, ends[0].level_m), *inner, (*ends[1].xy, ends[1].level_m)]
        yield properties, "LineString", coordinates
