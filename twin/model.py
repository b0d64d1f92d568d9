"""What a reader returns for one file, before it enters the city: assets, where they stand, and an account of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from twin.asset import AssetId, Building, Element, Link, Node, Space, Storey, System, Zone


class Decision(StrEnum):
    """Whether a model stands in the city."""

    PLACED = "placed"
    QUARANTINED = "quarantined"
    UNPLACED = "unplaced"


@dataclass(frozen=True, slots=True)
class Proposal:
    """Where a model that is not placed would stand if `why` is right, for a person to accept.

    `origin` is easting, northing, height of the mesh's origin in `crs`, metres; `rotation_deg` turns the model's x
    axis counter-clockwise from that CRS's grid east. `why` is one line that says what would be read otherwise than the
    file states it. `crs` is the city's where it has one; a model that this city cannot hold has its own, and `in_city`
    is false: it is right there, and belongs into another city.
    """

    origin: tuple[float, float, float]
    rotation_deg: float
    crs: str
    why: str
    in_city: bool = True


@dataclass(frozen=True, slots=True)
class Placement:
    """Placement receipt: which statement of the file decided where it stands, and which others disagree.

    `level` is LoGeoRef (Clemen & Görne 2019) for IFC files, else None. `origin` is easting, northing, height of the
    model's origin in `crs`, metres; `rotation_deg` turns the model's x axis counter-clockwise from grid east;
    `unit_scale` is metres a model unit. `accuracy_m` is the coordinate operation's, None where PROJ states none.
    `proposal` is the repair that would place a model that is quarantined or unplaced, None where there is none.
    """

    decision: Decision
    source: str
    crs: str | None = None
    level: int | None = None
    origin: tuple[float, float, float] | None = None
    rotation_deg: float = 0.0
    unit_scale: float = 1.0
    accuracy_m: float | None = None
    contradictions: Sequence[str] = ()
    rivals: Sequence[str] = ()
    proposal: Proposal | None = None


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that did not come in, or came in with a doubt: a code, one line, and the id it is about."""

    code: str
    message: str
    guid: str = ""


class RepairAction(StrEnum):
    """What a repair did to a network."""

    JOIN = "join"
    """An end was joined to the node that lies where it ends."""
    NODE = "node"
    """A node was made where ends meet and the file has none."""
    SNAP = "snap"
    """An end was moved onto a node."""
    SPLIT = "split"
    """A link was cut in two where another one's end meets it."""
    MERGE = "merge"
    """Nodes that are one were made one."""


@dataclass(frozen=True, slots=True)
class Repair:
    """One row of the repair log: what was done to `asset`, how far it moved, and where.

    `other` is the asset that it was joined to, split by or merged into; `moved_m` and `tolerance_m` in metres;
    `easting` and `northing` are where it happened, in the coordinates of the model.
    """

    action: RepairAction
    asset: AssetId
    other: AssetId | None
    moved_m: float
    tolerance_m: float
    easting: float
    northing: float


@dataclass(frozen=True, slots=True)
class Joint:
    """An element of a building model that is joined to a network node.

    `distance_m` lies between the element's free port and the node, in three dimensions where both have a height.
    `confidence` is 0 to 1; `why` says what it rests on.
    """

    node: AssetId
    element: AssetId
    distance_m: float
    confidence: float
    why: str


@dataclass(frozen=True, slots=True)
class Model:
    """One file as read. `mesh` is a GLB of the geometry in its local frame, every vertex tagged with its element.

    `remainder` is what the file says and no asset holds (of an EPANET or SWMM file the sections of options, patterns,
    curves, controls, …), as UTF-8 text in the file's own order, zlib-compressed: with it the file can be written back.
    """

    source: str
    kind: str
    placement: Placement
    buildings: Sequence[Building] = ()
    storeys: Sequence[Storey] = ()
    spaces: Sequence[Space] = ()
    elements: Sequence[Element] = ()
    nodes: Sequence[Node] = ()
    links: Sequence[Link] = ()
    zones: Sequence[Zone] = ()
    repairs: Sequence[Repair] = ()
    mesh: bytes | None = None
    remainder: bytes | None = None
    issues: Sequence[Issue] = ()
    account: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What the receipt adds for this kind of file: schema, products, meshed, empty, failed, excluded, …"""


@dataclass(frozen=True, slots=True)
class LayerColumns:
    """What the columns of a layer mean: meaning → column, meaning → fixed value, meaning → unit of its column.

    A column that is named empty (``""``) is taken for nothing, whatever a guess says. The meanings and units are those
    of `twin.readers.mapping`.
    """

    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    fixed: Mapping[str, str] = field(default_factory=dict[str, str])
    units: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """What a person says that columns mean, before any guess: for every layer, and for layers by name."""

    default: LayerColumns = field(default_factory=LayerColumns)
    layers: Mapping[str, LayerColumns] = field(default_factory=dict[str, LayerColumns])

    def of(self, layer: str) -> LayerColumns:
        """Return what is said for the layer of this name: its own words first, else those for every layer."""
        own = self.layers.get(layer, LayerColumns())
        return LayerColumns(
            {**self.default.columns, **own.columns},
            {**self.default.fixed, **own.fixed},
            {**self.default.units, **own.units},
        )


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What the caller knows about a file: the CRS it is in (EPSG, WKT or PROJ), its system, the city's CRS.

    `source` is the name under which the file's assets are kept; a file read again under it makes a new revision.
    `columns` says what the columns of its tables mean, before any guess (`twin.readers.mapping`). `bounds` is the
    city's declared extent, least easting, least northing, greatest easting, greatest northing in `city_crs`; None is no
    extent.
    """

    source: str
    city_crs: str | None = None
    crs: str | None = None
    system: System | None = None
    columns: ColumnMapping = field(default_factory=ColumnMapping)
    bounds: tuple[float, float, float, float] | None = None


class ModelReader(Protocol):
    """A plug-in that reads one kind of file (entry point group ``chengmai.readers``)."""

    def recognises(self, path: Path) -> bool:
        """Say whether this reader is the one for `path`, from its name and first bytes only."""
        ...

    def read(self, path: Path, request: ReadRequest) -> Model:
        """Read `path` whole, or raise `twin.errors.InputError` with a code; never half of it."""
        ...
