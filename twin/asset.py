"""Assets: what stands in the city and what lies under it.

All coordinates are in the city's projected CRS, easting then northing, in metres; heights are metres in the city's
height datum (1985 国家高程基准 unless the city says otherwise). All quantities are SI.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, TypeAlias

from shapely import LineString, MultiPolygon, Point, Polygon

AssetId = NewType("AssetId", str)
"""``{source}:{table}:{name}``, for example ``water.inp:link:P-101``: unique in a city, the same after a reload."""

Attribute: TypeAlias = str | int | float | bool | None


class System(StrEnum):
    """The city systems of the field-device contract."""

    GAS = "gas"
    WATER = "water"
    DRAINAGE = "drainage"
    HEAT = "heat"
    RAIN = "rain"
    STRUCTURE = "structure"


class NodeKind(StrEnum):
    """What a network node is; the terms are EPANET's, SWMM's and CJJ 61's."""

    JUNCTION = "junction"
    VALVE = "valve"
    HYDRANT = "hydrant"
    METER = "meter"
    PUMP = "pump"
    REGULATOR = "regulator"
    RESERVOIR = "reservoir"
    TANK = "tank"
    MANHOLE = "manhole"
    INLET = "inlet"
    STORAGE = "storage"
    OUTFALL = "outfall"
    DIVIDER = "divider"
    SOURCE = "source"
    CUSTOMER = "customer"


class LinkKind(StrEnum):
    """What a network link is; the terms are EPANET's and SWMM's."""

    PIPE = "pipe"
    CONDUIT = "conduit"
    VALVE = "valve"
    PUMP = "pump"
    ORIFICE = "orifice"
    WEIR = "weir"
    OUTLET = "outlet"
    REGULATOR = "regulator"
    COMPRESSOR = "compressor"
    SERVICE = "service"


class ZoneKind(StrEnum):
    """What an area is; road and water body are CityGML's terms."""

    DMA = "dma"
    SUBCATCHMENT = "subcatchment"
    DISTRICT = "district"
    ROAD = "road"
    WATER_BODY = "water_body"


class Basis(StrEnum):
    """What a node's or link's place in its network rests on."""

    STATED = "stated"
    """The file names its ends, or it is as the file drew it."""
    INFERRED = "inferred"
    """Its ends were found where they lie: nothing was moved."""
    REPAIRED = "repaired"
    """It was moved, split or merged; the repair log says how far."""


def asset_id(source: str, table: str, name: str) -> AssetId:
    """Return the id of the asset called `name` in `table` (node, link, building, …) of the file `source`.

    >>> asset_id("water.inp", "link", "P-101")
    'water.inp:link:P-101'
    """
    return AssetId(f"{source}:{table}:{name}")


@dataclass(frozen=True, slots=True)
class Building:
    """A building: its footprint, how high it stands and who lives in it."""

    id: AssetId
    name: str
    footprint: Polygon | MultiPolygon | None
    ground_m: float | None = None
    height_m: float | None = None
    storeys: int | None = None
    usage: str | None = None
    year: int | None = None
    residents: int | None = None
    properties: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True, slots=True)
class Storey:
    """A storey of a building; `elevation_m` is in the city's height datum when the model is placed."""

    id: AssetId
    name: str
    building: AssetId | None
    elevation_m: float | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """A room or other space on a storey."""

    id: AssetId
    name: str
    storey: AssetId | None
    long_name: str | None = None
    area_m2: float | None = None
    properties: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True, slots=True)
class Element:
    """A building element or distribution element of an IFC model.

    `position` is the origin of its placement. `materials` and `classifications` are as the file names them
    (``System:Code Name``). `properties` are its property and quantity sets, flattened to ``Set.Property``, in the
    file's own units; `units` gives the unit (UCUM symbol, else the file's name) of those that have one. `connects`
    names the elements joined to it through distribution ports.
    """

    id: AssetId
    guid: str
    ifc_class: str
    name: str
    predefined_type: str | None = None
    type_name: str | None = None
    building: AssetId | None = None
    storey: AssetId | None = None
    system: str | None = None
    position: Point | None = None
    materials: Sequence[str] = ()
    classifications: Sequence[str] = ()
    connects: Sequence[AssetId] = ()
    properties: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])
    units: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Node:
    """A point of a pipe network.

    `ground_m` is the ground or cover level, `invert_m` the level of the lowest pipe's inside bottom (drainage) or of
    the pipe (pressure networks); `depth_m` is how deep a well or manhole is (井深). `service` is the kind of drainage
    (sanitary, storm, combined) or of other supply. `feature` is what the survey calls the point (CJJ 61 特征).
    """

    id: AssetId
    name: str
    system: System
    kind: NodeKind
    point: Point
    ground_m: float | None = None
    invert_m: float | None = None
    depth_m: float | None = None
    service: str | None = None
    feature: str | None = None
    zone: AssetId | None = None
    year: int | None = None
    status: str | None = None
    owner: str | None = None
    basis: Basis = Basis.STATED
    properties: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True, slots=True)
class Link:
    """A pipe, conduit, valve, pump or other connection between two nodes.

    `diameter_m` is the inside diameter, or the height of a section that is not round; `width_m` is its width then.
    `start_level_m` and `end_level_m` are inverts (drainage) or pipe axis levels (pressure networks). `depth_m` is how
    deep it lies under the ground, the mean of its ends as the survey measured them (埋深). `basis` says whether its
    ends are the file's own, found where they lie, or repaired.
    """

    id: AssetId
    name: str
    system: System
    kind: LinkKind
    line: LineString
    start: AssetId | None = None
    end: AssetId | None = None
    diameter_m: float | None = None
    width_m: float | None = None
    length_m: float | None = None
    material: str | None = None
    year: int | None = None
    start_level_m: float | None = None
    end_level_m: float | None = None
    depth_m: float | None = None
    service: str | None = None
    status: str | None = None
    laying: str | None = None
    owner: str | None = None
    basis: Basis = Basis.STATED
    properties: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True, slots=True)
class Zone:
    """An area: a district metered area (DMA 独立计量区), a subcatchment, a district, a road, a river."""

    id: AssetId
    name: str
    system: System
    kind: ZoneKind
    area: Polygon | MultiPolygon
    properties: Mapping[str, Attribute] = field(default_factory=dict[str, Attribute])


FREE_PORTS = "Ports.Free"
"""Property of an element that keeps its ports without a partner: ``SINK 540507.468 3350193.236 6.980``, flow direction,
easting, northing and height where the element has its place; several are parted by ``; ``."""

Asset: TypeAlias = Building | Storey | Space | Element | Node | Link | Zone
"""Whatever has an id in the city."""
