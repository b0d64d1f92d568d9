"""Writing an IFC4 file: products that share the shape of their type, property sets, ports, and where it stands.

GlobalIds come from names (UUID 5), and the header's time is given, so that the same calls write the same bytes.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import ifcopenshell
import ifcopenshell.guid

from sample_models.buildings import Building

Entity: TypeAlias = Any
Spot: TypeAlias = tuple[float, float, float]
"""Metres in the building's frame (x along the front, y to the back); z above the storey."""
Value: TypeAlias = str | int | float | bool

NAMESPACE = uuid.UUID("6f0d7f2e-5f0c-5d0e-9a63-2c1b7f6d4b10")
COLOURS = {
    "wall": (0.80, 0.76, 0.70, 0.0),
    "inner": (0.90, 0.89, 0.86, 0.0),
    "slab": (0.60, 0.61, 0.62, 0.0),
    "glass": (0.50, 0.68, 0.80, 0.4),
    "door": (0.50, 0.36, 0.25, 0.0),
    "space": (0.75, 0.85, 0.75, 0.85),
    "gas": (0.92, 0.72, 0.10, 0.0),
    "water": (0.15, 0.45, 0.85, 0.0),
    "waste": (0.45, 0.35, 0.25, 0.0),
    "insulation": (0.88, 0.80, 0.62, 0.0),
    "device": (0.85, 0.20, 0.15, 0.0),
}
MEASURES = {
    "FireRating": "IfcLabel",
    "Reference": "IfcIdentifier",
    "ThermalTransmittance": "IfcThermalTransmittanceMeasure",
}


class Draft:
    """One IFC4 file in the making: `scope` names it in its GlobalIds, `stamp` is the time in its header."""

    def __init__(self, scope: str, title: str, building: Building, stamp: str) -> None:
        self.file = ifcopenshell.file(schema="IFC4")
        self.scope = scope
        self._types: dict[str, Entity] = {}
        self._styles: dict[str, Entity] = {}
        self._groups: dict[tuple[str, str], tuple[Entity, list[Entity]]] = {}
        self._zero = self.new("IfcAxis2Placement3D", Location=self.point(0.0, 0.0, 0.0))
        self._up = self.new("IfcDirection", DirectionRatios=(0.0, 0.0, 1.0))
        self._move = self.new("IfcCartesianTransformationOperator3D", LocalOrigin=self._zero.Location)
        header = self.file.header
        header.file_name.time_stamp = stamp
        header.file_name.preprocessor_version = "sample_models"
        header.file_name.originating_system = "Chengmai sample district"
        header.file_name.name = f"{scope}.ifc"
        self._start(title, building)

    def new(self, ifc_class: str, *values: Any, **attributes: Any) -> Entity:
        """Add an entity."""
        return self.file.create_entity(ifc_class, *values, **attributes)

    def rooted(self, ifc_class: str, key: str, **attributes: Any) -> Entity:
        """Add an entity with the GlobalId that its key has in this scope."""
        return self.new(ifc_class, GlobalId=self.guid(f"{ifc_class}/{key}"), **attributes)

    def guid(self, key: str) -> str:
        """Return the GlobalId of a key."""
        return ifcopenshell.guid.compress(uuid.uuid5(NAMESPACE, f"{self.scope}/{key}").hex)

    def point(self, *xyz: float) -> Entity:
        """Add a point, to the tenth of a millimetre."""
        return self.new("IfcCartesianPoint", Coordinates=tuple(round(float(v), 4) for v in xyz))

    def _start(self, title: str, building: Building) -> None:
        units = [
            self.new("IfcSIUnit", UnitType=kind, Name=name)
            for kind, name in (
                ("LENGTHUNIT", "METRE"),
                ("AREAUNIT", "SQUARE_METRE"),
                ("VOLUMEUNIT", "CUBIC_METRE"),
                ("PLANEANGLEUNIT", "RADIAN"),
            )
        ]
        context = self.new(
            "IfcGeometricRepresentationContext",
            ContextType="Model",
            CoordinateSpaceDimension=3,
            Precision=1e-5,
            WorldCoordinateSystem=self._zero,
        )
        self.body = self.new(
            "IfcGeometricRepresentationSubContext",
            ContextIdentifier="Body",
            ContextType="Model",
            ParentContext=context,
            TargetView="MODEL_VIEW",
        )
        self._stand(context, units[0], building)
        self.project = self.rooted(
            "IfcProject",
            "project",
            Name=title,
            RepresentationContexts=[context],
            UnitsInContext=self.new("IfcUnitAssignment", Units=units),
        )
        self._begin(building)

    def _stand(self, context: Entity, metre: Entity, building: Building) -> None:
        """Add the map conversion: the model's zero is the building's corner, its x axis the front."""
        crs = self.new(
            "IfcProjectedCRS",
            Name="EPSG:4549",
            Description="CGCS2000 / 3-degree Gauss-Kruger CM 120E",
            GeodeticDatum="CGCS2000",
            VerticalDatum="1985国家高程基准",
            MapProjection="Gauss-Kruger",
            MapZone="CM 120E",
            MapUnit=metre,
        )
        self.new(
            "IfcMapConversion",
            SourceCRS=context,
            TargetCRS=crs,
            Eastings=building.corner[0],
            Northings=building.corner[1],
            OrthogonalHeight=building.ground_m,
            XAxisAbscissa=round(math.cos(building.turn), 12),
            XAxisOrdinate=round(math.sin(building.turn), 12),
            Scale=1.0,
        )

    def _begin(self, building: Building) -> None:
        """Add site and building."""
        self.site = self.rooted("IfcSite", "site", Name=building.compound, ObjectPlacement=self.place(None))
        self.building = self.rooted(
            "IfcBuilding",
            "building",
            Name=building.name,
            LongName=building.id,
            ObjectPlacement=self.place(self.site),
            CompositionType="ELEMENT",
        )
        self.part("site", self.project, [self.site])
        self.part("building", self.site, [self.building])
        self.properties("Chengmai_Building", "building", {"BuildingId": building.id}, [self.building])
        common = {
            "NumberOfStoreys": building.storeys,
            "YearOfConstruction": str(building.year),
            "OccupancyType": building.usage,
        }
        self.properties("Pset_BuildingCommon", "building", common, [self.building])

    def place(self, inside: Entity | None, spot: Spot = (0.0, 0.0, 0.0), turn: float = 0.0) -> Entity:
        """Add a placement inside another product's, turned by `turn` radians about z."""
        axis = self._zero
        if turn:
            along = self.new("IfcDirection", DirectionRatios=(round(math.cos(turn), 9), round(math.sin(turn), 9), 0.0))
            axis = self.new("IfcAxis2Placement3D", Location=self.point(*spot), Axis=self._up, RefDirection=along)
        elif spot != (0.0, 0.0, 0.0):
            axis = self.new("IfcAxis2Placement3D", Location=self.point(*spot))
        above = inside.ObjectPlacement if inside is not None else None
        return self.new("IfcLocalPlacement", PlacementRelTo=above, RelativePlacement=axis)

    def part(self, key: str, whole: Entity, parts: Sequence[Entity]) -> None:
        """State that `parts` make up `whole`."""
        self.rooted("IfcRelAggregates", key, RelatingObject=whole, RelatedObjects=list(parts))

    def storey(self, number: int, height: float) -> Entity:
        """Add a storey at its level above the ground floor."""
        level = (number - 1) * height
        made = self.rooted(
            "IfcBuildingStorey",
            f"{number}",
            Name=f"{number}F",
            LongName=f"{number}层",
            ObjectPlacement=self.place(self.building, (0.0, 0.0, level)),
            CompositionType="ELEMENT",
            Elevation=round(level, 3),
        )
        self._gather("IfcRelAggregates", "storeys", {"RelatingObject": self.building}, made)
        return made

    def type(self, ifc_class: str, name: str, shape: Callable[[], Entity], colour: str, **attributes: Any) -> str:
        """Add a type with its shape once; its occurrences share it. Return its key."""
        key = f"{ifc_class}Type/{name}"
        if key not in self._types:
            solid = shape()
            self.new("IfcStyledItem", Item=solid, Styles=[self._style(colour)])
            body = self.new(
                "IfcShapeRepresentation",
                ContextOfItems=self.body,
                RepresentationIdentifier="Body",
                RepresentationType="SweptSolid",
                Items=[solid],
            )
            shared = self.new("IfcRepresentationMap", MappingOrigin=self._zero, MappedRepresentation=body)
            made = self.rooted(f"{ifc_class}Type", name, Name=name, RepresentationMaps=[shared], **attributes)
            self._types[key] = made
        return key

    def occurrence(
        self,
        ifc_class: str,
        key: str,
        type_key: str,
        storey: Entity,
        spot: Spot,
        *,
        turn: float = 0.0,
        **attributes: Any,
    ) -> Entity:
        """Add an occurrence of a type on a storey."""
        kind = self._types[type_key]
        (shared,) = kind.RepresentationMaps
        item = self.new("IfcMappedItem", MappingSource=shared, MappingTarget=self._move)
        shape = self.new(
            "IfcShapeRepresentation",
            ContextOfItems=self.body,
            RepresentationIdentifier="Body",
            RepresentationType="MappedRepresentation",
            Items=[item],
        )
        attributes.setdefault("Name", kind.Name)
        made = self.rooted(
            ifc_class,
            key,
            ObjectPlacement=self.place(storey, spot, turn),
            Representation=self.new("IfcProductDefinitionShape", Representations=[shape]),
            **attributes,
        )
        self._gather("IfcRelDefinesByType", type_key, {"RelatingType": kind}, made)
        if ifc_class == "IfcSpace":
            self._gather("IfcRelAggregates", f"rooms/{storey.Name}", {"RelatingObject": storey}, made)
        else:
            self._gather("IfcRelContainedInSpatialStructure", storey.Name, {"RelatingStructure": storey}, made)
        return made

    def _style(self, colour: str) -> Entity:
        if colour not in self._styles:
            red, green, blue, clear = COLOURS[colour]
            rgb = self.new("IfcColourRgb", Red=red, Green=green, Blue=blue)
            shading = self.new("IfcSurfaceStyleShading", SurfaceColour=rgb, Transparency=clear)
            self._styles[colour] = self.new("IfcSurfaceStyle", Name=colour, Side="BOTH", Styles=[shading])
        return self._styles[colour]

    def box(self, dx: float, dy: float, dz: float) -> Entity:
        """Add a box from the origin to (dx, dy, dz)."""
        outline = [(0.0, 0.0), (dx, 0.0), (dx, dy), (0.0, dy)]
        profile = self.new("IfcArbitraryClosedProfileDef", ProfileType="AREA", OuterCurve=self._ring(outline))
        return self._extrude(profile, self._zero, dz)

    def panel(
        self,
        outline: Sequence[tuple[float, float]],
        thick: float,
        holes: Sequence[tuple[float, float, float, float]] = (),
    ) -> Entity:
        """Add an upright panel: outline in x and z, from y = 0 to `thick`, with holes (x, z, width, height)."""
        rings = [self._ring([(x, z), (x + w, z), (x + w, z + h), (x, z + h)]) for x, z, w, h in holes]
        outer = self._ring(outline)
        if rings:
            profile = self.new(
                "IfcArbitraryProfileDefWithVoids", ProfileType="AREA", OuterCurve=outer, InnerCurves=rings
            )
        else:
            profile = self.new("IfcArbitraryClosedProfileDef", ProfileType="AREA", OuterCurve=outer)
        upright = self.new(
            "IfcAxis2Placement3D",
            Location=self.point(0.0, thick, 0.0),
            Axis=self.new("IfcDirection", DirectionRatios=(0.0, -1.0, 0.0)),
            RefDirection=self.new("IfcDirection", DirectionRatios=(1.0, 0.0, 0.0)),
        )
        return self._extrude(profile, upright, thick)

    def cylinder(self, diameter: float, length: float) -> Entity:
        """Add an upright cylinder on the origin."""
        profile = self.new("IfcCircleProfileDef", ProfileType="AREA", Radius=diameter / 2)
        return self._extrude(profile, self._zero, length)

    def _ring(self, outline: Sequence[tuple[float, float]]) -> Entity:
        points = [self.point(*p) for p in outline]
        return self.new("IfcPolyline", Points=[*points, points[0]])

    def _extrude(self, profile: Entity, position: Entity, depth: float) -> Entity:
        return self.new(
            "IfcExtrudedAreaSolid", SweptArea=profile, Position=position, ExtrudedDirection=self._up, Depth=float(depth)
        )

    def properties(self, name: str, key: str, values: Mapping[str, Value], objects: Sequence[Entity]) -> None:
        """Give objects a property set; a set of the same name and key is shared."""
        group = ("IfcRelDefinesByProperties", f"{name}/{key}")
        if group not in self._groups:
            single = [
                self.new("IfcPropertySingleValue", Name=k, NominalValue=self._value(k, v)) for k, v in values.items()
            ]
            made = self.rooted("IfcPropertySet", f"{name}/{key}", Name=name, HasProperties=single)
            self._groups[group] = (made, [])
        self._groups[group][1].extend(objects)

    def quantities(self, name: str, key: str, areas: Mapping[str, float], objects: Sequence[Entity]) -> None:
        """Give objects a quantity set of areas, m²; a set of the same name and key is shared."""
        group = ("IfcRelDefinesByProperties", f"{name}/{key}")
        if group not in self._groups:
            items = [self.new("IfcQuantityArea", Name=k, AreaValue=round(v, 3)) for k, v in areas.items()]
            made = self.rooted("IfcElementQuantity", f"{name}/{key}", Name=name, Quantities=items)
            self._groups[group] = (made, [])
        self._groups[group][1].extend(objects)

    def _value(self, name: str, value: Value) -> Entity:
        if name in MEASURES:
            return self.new(MEASURES[name], value)
        if isinstance(value, bool):
            return self.new("IfcBoolean", value)
        if isinstance(value, int):
            return self.new("IfcInteger", value)
        return self.new("IfcReal", value) if isinstance(value, float) else self.new("IfcLabel", value)

    def material(self, name: str, objects: Sequence[Entity]) -> None:
        """State what objects are made of."""
        group = ("IfcRelAssociatesMaterial", name)
        if group not in self._groups:
            self._groups[group] = (self.new("IfcMaterial", Name=name), [])
        self._groups[group][1].extend(objects)

    def system(self, name: str, predefined: str, objects: Sequence[Entity]) -> None:
        """Put elements into a distribution system that serves the building."""
        system = self.rooted("IfcDistributionSystem", name, Name=name, LongName=name, PredefinedType=predefined)
        self.rooted("IfcRelAssignsToGroup", name, RelatedObjects=list(objects), RelatingGroup=system)
        self.rooted("IfcRelServicesBuildings", name, RelatingSystem=system, RelatedBuildings=[self.building])

    def port(self, element: Entity, key: str, flow: str, system: str) -> Entity:
        """Give an element a port for pipes."""
        made = self.rooted(
            "IfcDistributionPort",
            key,
            Name=key.rsplit("/", 1)[-1],
            FlowDirection=flow,
            PredefinedType="PIPE",
            SystemType=system,
        )
        self._gather("IfcRelNests", element.GlobalId, {"RelatingObject": element}, made)
        return made

    def connect(self, source: Entity, sink: Entity) -> None:
        """Join two ports."""
        key = f"{source.GlobalId}/{sink.GlobalId}"
        self.rooted("IfcRelConnectsPorts", key, RelatingPort=source, RelatedPort=sink)

    def _gather(self, relation: str, key: str, fixed: Mapping[str, Entity], member: Entity) -> None:
        (attribute, owner) = next(iter(fixed.items()))
        group = (relation, f"{attribute}/{key}")
        self._groups.setdefault(group, (owner, []))[1].append(member)

    def finish(self) -> str:
        """Write the relations that were gathered, and return the file's text."""
        ends = {
            "IfcRelDefinesByType": ("RelatingType", "RelatedObjects"),
            "IfcRelContainedInSpatialStructure": ("RelatingStructure", "RelatedElements"),
            "IfcRelAggregates": ("RelatingObject", "RelatedObjects"),
            "IfcRelNests": ("RelatingObject", "RelatedObjects"),
            "IfcRelDefinesByProperties": ("RelatingPropertyDefinition", "RelatedObjects"),
            "IfcRelAssociatesMaterial": ("RelatingMaterial", "RelatedObjects"),
        }
        for (relation, key), (owner, members) in self._groups.items():
            one, many = ends[relation]
            self.rooted(relation, f"gathered/{key}", **{one: owner, many: members})
        self._groups.clear()
        return self.file.to_string()
