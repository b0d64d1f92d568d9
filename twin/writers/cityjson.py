"""CityJSON 2.0 (https://www.cityjson.org/specs/2.0.1/): buildings with storeys and rooms, networks, roads and waters.

A building is its footprint (LoD 0) and the solid that it makes when raised to its height (LoD 1), its faces outwards
and named ground, wall and roof. Storeys and rooms have no shape of their own. Elements of building models are
constructive elements, furniture or installations; with their meshes (LoD 3) if asked for. CityJSON has no utility
networks: nodes and links are generic objects with points and lines. Coordinates are whole millimetres of the city's.
An object whose height nobody knows stands at 0 and says ``height_known`` false.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import msgspec
import numpy as np
import shapely

from twin.asset import Asset, Building, Element, Link, Node, Zone, ZoneKind
from twin.model import Model
from twin.store import records
from twin.writers import HEIGHTS
from twin.writers.glb import triangles_by_element

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

MILLIMETRE = 0.001
GROUND, WALL, ROOF = 0, 1, 2
_SURFACES = [{"type": "GroundSurface"}, {"type": "WallSurface"}, {"type": "RoofSurface"}]
_FURNITURE = ("IfcFurn", "IfcSystemFurniture")
_CONSTRUCTIVE = (
    *("IfcWall", "IfcSlab", "IfcBeam", "IfcColumn", "IfcMember", "IfcPlate", "IfcRoof", "IfcStair", "IfcRamp"),
    *("IfcFooting", "IfcPile", "IfcDoor", "IfcWindow", "IfcCurtainWall", "IfcCovering", "IfcRailing", "IfcChimney"),
    *("IfcBuildingElement", "IfcBuiltElement", "IfcReinforcing", "IfcTendon", "IfcShadingDevice"),
)
_ZONES = {ZoneKind.ROAD: "Road", ZoneKind.WATER_BODY: "WaterBody"}

Ring: TypeAlias = list[int]
Surface: TypeAlias = list[Ring]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: how many assets of each table, and a line for whatever was left out or assumed."""

    counts: Mapping[str, int]
    notes: Sequence[str]


def write(models: Iterable[Model], stream: BinaryIO, crs: str, *, meshes: bool = False) -> Written:
    """Write the assets of placed `models`, which stand in `crs`; `meshes` with the surfaces of building models."""
    draft = _Draft(meshes=meshes)
    for model in models:
        draft.add(model)
    encode = msgspec.json.Encoder().encode
    metadata: dict[str, Any] = {"title": f"Heights: {HEIGHTS}"}
    if crs.startswith("EPSG:"):
        metadata["referenceSystem"] = f"https://www.opengis.net/def/crs/EPSG/0/{crs.removeprefix('EPSG:')}"
    if draft.vertices.index:
        metadata["geographicalExtent"] = draft.vertices.extent()
    head = {"type": "CityJSON", "version": "2.0", "transform": draft.vertices.transform(), "metadata": metadata}
    stream.write(encode(head)[:-1] + b',"CityObjects":{')
    separator = b"\n"
    for name, thing in draft.objects.items():
        stream.write(separator + encode(name) + b":" + encode(thing))
        separator = b",\n"
    stream.write(b'\n},"vertices":' + encode(list(draft.vertices.index)) + b"}\n")
    return Written(dict(draft.counts), [f"{count} {what}" for what, count in draft.said.items() if count])


@dataclass(slots=True)
class _Vertices:
    """The vertices by their whole millimetres from the origin, each once, in the order of their index."""

    origin: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    index: dict[tuple[int, int, int], int] = field(default_factory=dict[tuple[int, int, int], int])

    def at(self, points: NDArray[np.float64]) -> list[int]:
        """Return the indices of points (n, 3)."""
        if not self.index and len(points):
            self.origin = np.floor(points[0] / 1000) * 1000
        whole = np.round((points - self.origin) / MILLIMETRE).astype(np.int64)
        return [self.index.setdefault((x, y, z), len(self.index)) for x, y, z in whole.tolist()]

    def transform(self) -> dict[str, list[float]]:
        return {"scale": [MILLIMETRE] * 3, "translate": self.origin.tolist()}

    def extent(self) -> list[float]:
        whole = np.array(list(self.index)) * MILLIMETRE + self.origin
        return [round(value, 3) for value in (*whole.min(axis=0).tolist(), *whole.max(axis=0).tolist())]


@dataclass(slots=True)
class _Draft:
    """A city under way."""

    meshes: bool
    vertices: _Vertices = field(default_factory=_Vertices)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    counts: Counter[str] = field(default_factory=Counter[str])
    said: Counter[str] = field(default_factory=Counter[str])

    def add(self, model: Model) -> None:
        for building in model.buildings:
            self._building(building)
        for storey in model.storeys:
            self._child("storeys", "BuildingStorey", storey, storey.building, [])
        for space in model.spaces:
            self._child("spaces", "BuildingRoom", space, space.storey, [])
        drawn = self._meshes(model)
        for element in model.elements:
            shape = drawn.get(element.guid, [])
            self._child("elements", _kind_of(element), element, element.storey or element.building, shape)
        for node in model.nodes:
            self._generic("nodes", node, node.point)
        for link in model.links:
            self._generic("links", link, link.line)
        for zone in model.zones:
            self._generic("zones", zone, zone.area)

    def _building(self, building: Building) -> None:
        attributes = _attributes(building)
        if building.storeys is not None:
            attributes["storeysAboveGround"] = building.storeys
        geometry: list[dict[str, Any]] = []
        if building.footprint is not None and not building.footprint.is_empty:
            bottom = building.ground_m or 0.0
            if building.ground_m is None:
                self.said["buildings at height 0: their ground is not known"] += 1
                attributes["height_known"] = False
            parts = [part for part in _polygons(building.footprint) if len(part[0]) > 2]
            floors = [self._flat(part, bottom) for part in parts]
            geometry.append({"type": "MultiSurface", "lod": "0", "boundaries": floors})
            if building.height_m and building.height_m > MILLIMETRE:
                geometry += [self._solid(part, bottom, bottom + building.height_m) for part in parts]
            else:
                self.said["buildings without a height: no solid"] += 1
        self.objects[building.id] = {"type": "Building", "attributes": attributes, "geometry": geometry}
        self.counts["buildings"] += 1

    def _flat(self, rings: Sequence[NDArray[np.float64]], height: float) -> Surface:
        return [self.vertices.at(np.column_stack([ring, np.full(len(ring), height)])) for ring in rings]

    def _solid(self, rings: Sequence[NDArray[np.float64]], bottom: float, top: float) -> dict[str, Any]:
        low, high = self._flat(rings, bottom), self._flat(rings, top)
        # Outer rings run counter-clockwise and holes clockwise, so that outside is always on the right of an edge.
        walls: list[Surface] = [
            [[below[at - 1], below[at], above[at], above[at - 1]]]
            for below, above in zip(low, high, strict=True)
            for at in range(len(below))
        ]
        ground: Surface = [ring[::-1] for ring in low]
        return {
            "type": "Solid",
            "lod": "1",
            "boundaries": [[ground, *walls, high]],
            "semantics": {"surfaces": _SURFACES, "values": [[GROUND, *[WALL] * len(walls), ROOF]]},
        }

    def _child(self, table: str, kind: str, asset: Asset, parent: str | None, geometry: list[dict[str, Any]]) -> None:
        """Add an object that cannot be without its parent (specification, 2: second-level City Objects)."""
        if parent is None or parent not in self.objects:
            self.said[f"{table} left out: no building that they are in"] += 1
            return
        self.objects[parent].setdefault("children", []).append(asset.id)
        self.objects[asset.id] = {
            "type": kind,
            "parents": [parent],
            "attributes": _attributes(asset),
            "geometry": geometry,
        }
        self.counts[table] += 1

    def _meshes(self, model: Model) -> Mapping[str, list[dict[str, Any]]]:
        """Return the surfaces of each element of a model, by GlobalId."""
        if not self.meshes or model.mesh is None:
            return {}
        place = model.placement
        angle = np.radians(place.rotation_deg)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        drawn: dict[str, list[dict[str, Any]]] = {}
        for guid, triangles in triangles_by_element(model.mesh).items():
            stood = triangles.reshape(-1, 3) @ turn.T + np.array(place.origin or (0.0, 0.0, 0.0))
            corners = np.array(self.vertices.at(stood)).reshape(-1, 3)
            whole = (corners != np.roll(corners, 1, axis=1)).all(axis=1)  # no sliver of less than a millimetre
            if whole.any():
                surfaces = [[triangle] for triangle in corners[whole].tolist()]
                drawn[guid] = [{"type": "MultiSurface", "lod": "3", "boundaries": surfaces}]
        return drawn

    def _generic(self, table: str, asset: Node | Link | Zone, shape: BaseGeometry) -> None:
        kind = _ZONES.get(asset.kind, "GenericCityObject") if isinstance(asset, Zone) else "GenericCityObject"
        attributes = _attributes(asset) | {"class": asset.kind.value, "function": asset.system.value}
        geometry: list[dict[str, Any]] = []
        if not shape.is_empty:
            if not shape.has_z:
                attributes["height_known"] = False
                self.said[f"{table} at height 0: their level is not known"] += 1
            geometry.append(self._shape(asset, shape))
        self.objects[asset.id] = {"type": kind, "attributes": attributes, "geometry": geometry}
        self.counts[table] += 1

    def _shape(self, asset: Node | Link | Zone, shape: BaseGeometry) -> dict[str, Any]:
        if isinstance(asset, Zone):
            surfaces = [self._flat(part, 0.0) for part in _polygons(shape) if len(part[0]) > 2]
            return {"type": "MultiSurface", "lod": "0", "boundaries": surfaces}
        points = self.vertices.at(shapely.get_coordinates(shapely.force_3d(shape), include_z=True))
        if isinstance(asset, Node):
            return {"type": "MultiPoint", "lod": "0", "boundaries": points}
        return {"type": "MultiLineString", "lod": "0", "boundaries": [points]}


def _kind_of(element: Element) -> str:
    if element.ifc_class.startswith(_FURNITURE):
        return "BuildingFurniture"
    return "BuildingConstructiveElement" if element.ifc_class.startswith(_CONSTRUCTIVE) else "BuildingInstallation"


def _attributes(asset: Asset) -> dict[str, Any]:
    """Return the fields of an asset that have a value, but its shape and id."""
    return {name: value for name in _said(type(asset)) if (value := getattr(asset, name)) not in (None, (), {}, [])}


@cache
def _said(kind: type[Asset]) -> Sequence[str]:
    return tuple(part.name for part in fields(kind) if part.name != "id" and part.name not in records.GEOMETRIES)


def _polygons(shape: BaseGeometry) -> list[list[NDArray[np.float64]]]:
    """Return the rings of each polygon, in millimetres' steps, open; outer ones counter-clockwise, holes clockwise."""
    polygons = shapely.get_parts(shapely.orient_polygons(shapely.force_2d(np.array([shape], dtype=object))))
    return [
        [ring for part in shapely.get_rings(polygon) if len(ring := _open_ring(part)) > 2] or [np.empty((0, 2))]
        for polygon in polygons
    ]


def _open_ring(ring: BaseGeometry) -> NDArray[np.float64]:
    points = shapely.get_coordinates(ring)[:-1].round(3)
    return points[(points != points[np.arange(-1, len(points) - 1)]).any(axis=1)]
