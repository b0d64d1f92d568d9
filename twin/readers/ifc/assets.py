"""Buildings, storeys, spaces and elements of an IFC file as the city's assets, in the frame of their placement."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import ifcopenshell
import ifcopenshell.util.placement
import numpy as np
import shapely
from ifcopenshell import entity_instance
from numpy.typing import NDArray
from shapely import MultiPolygon, Point, Polygon

from twin.asset import FREE_PORTS, AssetId, Attribute, Building, Element, Space, Storey, asset_id
from twin.georeference import Frame
from twin.readers.ifc.geometry import Geometry
from twin.readers.ifc.outline import outline
from twin.readers.ifc.properties import Definitions, StepId, guid
from twin.readers.ifc.tree import Connections, Tree
from twin.writers.glb import Surface

ENVELOPE = ("IfcWall", "IfcSlab", "IfcCurtainWall", "IfcColumn", "IfcFooting")
"""Classes whose surfaces outline a building on the ground."""

NOT_ELEMENTS = ("IfcFeatureElement", "IfcVirtualElement")


@dataclass(frozen=True, slots=True)
class IfcContent:
    """Everything read from one file that its assets are made of. `unit_m` is metres a model unit."""

    source: str
    file: ifcopenshell.file
    said: Definitions
    tree: Tree
    connections: Connections
    geometry: Geometry
    frame: Frame
    unit_m: float

    def id(self, table: str, entity: entity_instance | None) -> AssetId | None:
        """Return the asset id of `entity`, None for none."""
        return None if entity is None else asset_id(self.source, table, guid(entity))

    def origin(self, entity: entity_instance) -> NDArray[np.float64] | None:
        """Return where the placement of `entity` puts its origin, in the model's frame, metres."""
        known = self.geometry.origins.get(entity.id())
        if known is not None:
            return known
        placement = entity.ObjectPlacement
        if placement is None or not placement.is_a("IfcLocalPlacement"):
            return None
        return ifcopenshell.util.placement.get_local_placement(placement)[:3, 3] * self.unit_m

    def name(self, entity: entity_instance) -> str:
        """Return the name of `entity`, else its long name, else its class and GlobalId."""
        return entity.Name or getattr(entity, "LongName", None) or f"{entity.is_a()} {guid(entity)}"


def elements(content: IfcContent) -> list[Element]:
    """Return every element of the file but openings and virtual ones, with or without geometry."""
    chosen = [
        entity
        for entity in content.file.by_type("IfcElement")
        if not any(entity.is_a(barred) for barred in NOT_ELEMENTS)
    ]
    guids = {entity.id(): guid(entity) for entity in chosen}
    origins = [content.origin(entity) for entity in chosen]
    placed = content.frame.apply(
        np.array([np.zeros(3) if origin is None else origin for origin in origins]).reshape(-1, 3)
    )
    points = [Point(place) for place in placed]
    return [
        _element(content, entity, guids, None if origin is None else point)
        for entity, origin, point in zip(chosen, origins, points, strict=True)
    ]


def _element(content: IfcContent, entity: entity_instance, guids: Mapping[StepId, str], point: Point | None) -> Element:
    step = entity.id()
    kind = content.said.types.get(step)
    neighbours = content.connections.neighbours.get(step, ())
    return Element(
        id=asset_id(content.source, "element", guids[step]),
        guid=guids[step],
        ifc_class=entity.is_a(),
        name=entity.Name or "",
        predefined_type=_predefined_type(entity, kind),
        type_name=kind.Name if kind else entity.ObjectType,
        building=content.id("building", content.tree.ancestor(entity, "IfcBuilding")),
        storey=content.id("storey", content.tree.ancestor(entity, "IfcBuildingStorey")),
        system=content.said.systems.get(step),
        position=point,
        materials=content.said.materials_of(entity),
        classifications=content.said.classifications_of(entity),
        connects=tuple(asset_id(content.source, "element", guids[other]) for other in neighbours if other in guids),
        properties={**content.said.of(entity), **_free_ports(content, entity)},
        units=content.said.units_of(entity),
    )


def _free_ports(content: IfcContent, entity: entity_instance) -> dict[str, Attribute]:
    """Return the ports of `entity` without a partner as its property FREE_PORTS, where it has any with a place."""
    said: list[str] = []
    for port in content.connections.free.get(entity.id(), ()):
        origin = content.origin(port)
        origin = content.origin(entity) if origin is None else origin
        if origin is not None:
            easting, northing, height = content.frame.apply(origin.reshape(1, 3))[0]
            flow = getattr(port, "FlowDirection", None) or "NOTDEFINED"
            said.append(f"{flow} {easting:.3f} {northing:.3f} {height:.3f}")
    return {FREE_PORTS: "; ".join(said)} if said else {}


def _predefined_type(entity: entity_instance, kind: entity_instance | None) -> str | None:
    """Return the predefined type, the occurrence's own before its type's; USERDEFINED gives way to the user's word."""
    own = getattr(entity, "PredefinedType", None)
    if own == "USERDEFINED":
        return entity.ObjectType or own
    if own and own != "NOTDEFINED":
        return str(own)
    inherited = getattr(kind, "PredefinedType", None)
    if inherited == "USERDEFINED":
        return getattr(kind, "ElementType", None) or inherited
    return inherited or own


def storeys(content: IfcContent) -> list[Storey]:
    """Return the storeys with the level of their placement, else of their Elevation above the building."""
    return [
        Storey(
            id=asset_id(content.source, "storey", guid(entity)),
            name=content.name(entity),
            building=content.id("building", content.tree.ancestor(entity, "IfcBuilding")),
            elevation_m=_level(content, entity),
        )
        for entity in content.file.by_type("IfcBuildingStorey")
    ]


def _level(content: IfcContent, entity: entity_instance) -> float | None:
    origin = content.origin(entity)
    if origin is None:
        if entity.Elevation is None:
            return None
        origin = np.array([0.0, 0.0, entity.Elevation * content.unit_m])
    return float(content.frame.apply(origin.reshape(1, 3))[0, 2])


def spaces(content: IfcContent) -> list[Space]:
    """Return the spaces, with the floor area that their own surfaces cover; quantities stay among the properties."""
    found: list[Space] = []
    for entity in content.file.by_type("IfcSpace"):
        properties = content.said.of(entity)
        found.append(
            Space(
                id=asset_id(content.source, "space", guid(entity)),
                name=content.name(entity),
                storey=content.id("storey", content.tree.ancestor(entity, "IfcBuildingStorey")),
                long_name=entity.LongName,
                area_m2=_floor_area(content.geometry.surfaces.get(entity.id(), ())),
                properties=properties,
            )
        )
    return found


def _floor_area(surfaces: Iterable[Surface]) -> float | None:
    """Return the area (m2) that closed `surfaces` cover seen from below: of their triangles that face down."""
    total = 0.0
    for surface in surfaces:
        corners = surface.positions[surface.triangles]
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
        total += float(-across[across < 0].sum()) / 2
    return round(total, 3) or None


def buildings(content: IfcContent) -> list[Building]:
    """Return the buildings with outline, ground level and height from their own elements."""
    inside: dict[StepId, list[entity_instance]] = {}
    for entity in content.file.by_type("IfcElement"):
        building = content.tree.ancestor(entity, "IfcBuilding")
        if building is not None and content.geometry.surfaces.get(entity.id()):
            inside.setdefault(building.id(), []).append(entity)
    floors: dict[StepId, list[entity_instance]] = {}
    for storey in content.file.by_type("IfcBuildingStorey"):
        building = content.tree.ancestor(storey, "IfcBuilding")
        if building is not None:
            floors.setdefault(building.id(), []).append(storey)
    return [
        _building(content, entity, inside.get(entity.id(), []), floors.get(entity.id(), []))
        for entity in content.file.by_type("IfcBuilding")
    ]


def _building(
    content: IfcContent,
    entity: entity_instance,
    inside: Sequence[entity_instance],
    floors: Sequence[entity_instance],
) -> Building:
    properties = content.said.of(entity)
    ground = _ground_storey(floors)
    level = None if ground is None else _level(content, ground)
    envelope = [part for part in inside if any(part.is_a(kind) for kind in ENVELOPE)]
    on_ground = [
        part for part in envelope if ground is not None and content.tree.ancestor(part, "IfcBuildingStorey") == ground
    ]
    shape = outline(_surfaces(content, on_ground)) or outline(_surfaces(content, envelope))
    top = max((float(s.positions[:, 2].max()) for s in _surfaces(content, inside)), default=None)
    if top is not None:
        top += content.frame.origin[2] - content.frame.anchor[2]
    return Building(
        id=asset_id(content.source, "building", guid(entity)),
        name=content.name(entity),
        footprint=None if shape is None else _moved(content.frame, shape),
        ground_m=level,
        height_m=None if top is None or level is None or top <= level else round(top - level, 3),
        storeys=len(floors) or None,
        usage=_text(properties.get("Pset_BuildingCommon.OccupancyType")),
        year=_year(properties.get("Pset_BuildingCommon.YearOfConstruction")),
        properties=properties,
    )


def _ground_storey(floors: Sequence[entity_instance]) -> entity_instance | None:
    """Return the storey at ±0.00: by convention Elevation counts from the ground floor."""
    return min(floors, key=lambda floor: abs(floor.Elevation or 0.0), default=None)


def _surfaces(content: IfcContent, parts: Iterable[entity_instance]) -> Iterable[Surface]:
    for part in parts:
        yield from content.geometry.surfaces[part.id()]


def _moved(frame: Frame, shape: Polygon | MultiPolygon) -> Polygon | MultiPolygon:
    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return frame.apply(np.column_stack([points, np.zeros(len(points))]))[:, :2]

    return shapely.transform(shape, move)


def _text(value: Attribute) -> str | None:
    return None if value is None else str(value)


def _year(value: Attribute) -> int | None:
    match = re.search(r"\b(1[5-9]|20)\d\d\b", str(value))
    return int(match.group(0)) if match else None
