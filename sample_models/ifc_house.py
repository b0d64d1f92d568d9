"""The fabric of a building model: storeys of a wing with slabs, façades, inner walls, rooms, doors and stairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from sample_models.ifc_draft import Draft, Entity, Spot

SLAB_M = 0.14
WALL_M = 0.24
INNER_M = 0.12


@dataclass(frozen=True, slots=True)
class Room:
    """A room of a bay: its name and its extent, metres along the wing (within the bay) and across it."""

    name: str
    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bay:
    """A piece of a wing that repeats: width, rooms, windows (x, width, sill, height) and doors on inner walls."""

    width: float
    rooms: tuple[Room, ...]
    south: tuple[tuple[float, float, float, float], ...]
    north: tuple[tuple[float, float, float, float], ...]
    walls: tuple[float, ...]
    """Where inner walls run along the wing, metres from the south face."""
    doors: tuple[tuple[float, float], ...]
    """Doors on inner walls: (x, y)."""
    stair: tuple[float, float] | None = None
    """Where a stair starts, 2.4 m wide: (x, y)."""


@dataclass(frozen=True, slots=True)
class Wing:
    """A straight part of a building: south-west corner and direction in the building's frame, depth and bays."""

    name: str
    corner: tuple[float, float]
    turn: float
    depth: float
    bays: tuple[Bay, ...]
    gables: tuple[bool, bool] = (True, True)
    corridor: float = 0.0
    """Width of the corridor along the north face that walls between bays leave open, metres."""

    @property
    def length(self) -> float:
        """Length along the wing, metres."""
        return sum(b.width for b in self.bays)

    def spot(self, x: float, y: float, z: float) -> Spot:
        """Return a place of the wing in the building's frame."""
        c, s = math.cos(self.turn), math.sin(self.turn)
        return self.corner[0] + x * c - y * s, self.corner[1] + x * s + y * c, z


@dataclass(slots=True)
class Fabric:
    """What has been built, by kind, for property sets and materials."""

    outer: list[Entity] = field(default_factory=list[Entity])
    inner: list[Entity] = field(default_factory=list[Entity])
    slabs: list[Entity] = field(default_factory=list[Entity])
    windows: list[Entity] = field(default_factory=list[Entity])
    doors: list[Entity] = field(default_factory=list[Entity])


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is built: wing, storey, how far along the wing (m), and the key of its names."""

    wing: Wing
    storey: Entity
    x: float
    key: str


@dataclass(frozen=True, slots=True)
class House:
    """A building model: its draft, storeys (from the ground up), their height, and its wings."""

    draft: Draft
    storeys: Sequence[Entity]
    height: float
    wings: Sequence[Wing]


def build(house: House, *, glazing: str, open_ground_floor: bool = False) -> Fabric:
    """Build every wing on every storey; without inner walls on an open ground floor."""
    fabric = Fabric()
    for wing in house.wings:
        for number, storey in enumerate(house.storeys, start=1):
            whole = Place(wing, storey, 0.0, f"{wing.name}/{number}")
            _slab(house, fabric, whole, 0.0)
            x = 0.0
            for n, bay in enumerate(wing.bays):
                place = Place(wing, storey, x, f"{wing.name}/{number}/{n}")
                _facades(house, fabric, place, bay, glazing)
                if not (open_ground_floor and number == 1):
                    _inner(house, fabric, place, bay)
                _rooms(house, place, bay, f"{number}{n + 1:02d}")
                if bay.stair is not None and number < len(house.storeys):
                    _stair(house, place, bay.stair)
                x += bay.width
            _cross_walls(house, fabric, whole)
        _slab(house, fabric, Place(wing, house.storeys[-1], 0.0, f"{wing.name}/roof"), house.height)
    return fabric


def _slab(house: House, fabric: Fabric, place: Place, above: float) -> None:
    wing = place.wing
    name = f"楼板 {wing.length:g}x{wing.depth:g}"
    kind = _type(house, "IfcSlab", name, "slab", (wing.length, wing.depth, SLAB_M), PredefinedType="FLOOR")
    spot = wing.spot(0.0, 0.0, above - SLAB_M)
    made = house.draft.occurrence(
        "IfcSlab", place.key, kind, place.storey, spot, turn=wing.turn, Name=f"楼板 {place.key}"
    )
    fabric.slabs.append(made)


def _type(
    house: House, ifc_class: str, name: str, colour: str, size: tuple[float, float, float], **attributes: str
) -> str:
    return house.draft.type(ifc_class, name, partial(house.draft.box, *size), colour, **attributes)


def _facades(house: House, fabric: Fabric, place: Place, bay: Bay, glazing: str) -> None:
    """Put the two façade walls of a bay, with holes for their windows, and the windows."""
    draft, wing, storey, x, key = house.draft, place.wing, place.storey, place.x, place.key
    height = house.height - SLAB_M
    for side, openings, y in (("S", bay.south, 0.0), ("N", bay.north, wing.depth - WALL_M)):
        holes = [(hx, sill, width, high) for hx, width, sill, high in openings]
        outline = [(0.0, 0.0), (bay.width, 0.0), (bay.width, height), (0.0, height)]
        name = f"外墙240 {bay.width:g}m {side} " + "/".join(f"{h[0]:g}" for h in holes)
        panel = partial(draft.panel, outline, WALL_M, holes)
        kind = draft.type("IfcWall", name, panel, "wall", PredefinedType="SOLIDWALL")
        wall = draft.occurrence(
            "IfcWall", f"{key}/{side}", kind, storey, wing.spot(x, y, 0.0), turn=wing.turn, Name=f"外墙 {key}{side}"
        )
        fabric.outer.append(wall)
        for n, (hx, width, sill, high) in enumerate(openings):
            pane = _type(
                house,
                "IfcWindow",
                f"{glazing} {width:g}x{high:g}",
                "glass",
                (width, 0.08, high),
                PredefinedType="WINDOW",
                PartitioningType="DOUBLE_PANEL_VERTICAL",
            )
            window = draft.occurrence(
                "IfcWindow",
                f"{key}/{side}{n}",
                pane,
                storey,
                wing.spot(x + hx, y + 0.08, sill),
                turn=wing.turn,
                OverallHeight=high,
                OverallWidth=width,
            )
            fabric.windows.append(window)


def _inner(house: House, fabric: Fabric, place: Place, bay: Bay) -> None:
    """Put the inner walls that run along the wing, and the doors in them."""
    draft, wing, storey, x, key = house.draft, place.wing, place.storey, place.x, place.key
    height = house.height - SLAB_M
    for n, y in enumerate(bay.walls):
        gaps = [(dx, 0.0, 0.9, 2.1) for dx, dy in bay.doors if dy == y]
        outline = [(0.0, 0.0), (bay.width - WALL_M, 0.0), (bay.width - WALL_M, height), (0.0, height)]
        for dx, low, width, high in gaps:  # a door is a notch from the floor
            outline[1:1] = [(dx, low), (dx, high), (dx + width, high), (dx + width, low)]
        name = f"内墙120 {bay.width:g}m " + "/".join(f"{g[0]:g}" for g in gaps)
        kind = draft.type(
            "IfcWall", name, partial(draft.panel, outline, INNER_M), "inner", PredefinedType="PARTITIONING"
        )
        fabric.inner.append(
            draft.occurrence(
                "IfcWall",
                f"{key}/I{n}",
                kind,
                storey,
                wing.spot(x + WALL_M, y, 0.0),
                turn=wing.turn,
                Name=f"内墙 {key}/{n}",
            )
        )
        for m, (dx, _, width, high) in enumerate(gaps):
            leaf = _type(
                house,
                "IfcDoor",
                f"木门 {width:g}x{high:g}",
                "door",
                (width, 0.05, high),
                PredefinedType="DOOR",
                OperationType="SINGLE_SWING_LEFT",
            )
            fabric.doors.append(
                draft.occurrence(
                    "IfcDoor",
                    f"{key}/D{n}{m}",
                    leaf,
                    storey,
                    wing.spot(x + WALL_M + dx, y + 0.03, 0.0),
                    turn=wing.turn,
                    OverallHeight=high,
                    OverallWidth=width,
                )
            )


def _cross_walls(house: House, fabric: Fabric, place: Place) -> None:
    """Put the walls across the wing, between bays and at the gables."""
    wing, storey, key = place.wing, place.storey, place.key
    x, last = 0.0, len(wing.bays)
    spans = {True: wing.depth - 2 * WALL_M, False: wing.depth - 2 * WALL_M - wing.corridor}
    height = house.height - SLAB_M
    kinds = {
        gable: _type(house, "IfcWall", f"横墙240 {s:g}m", "wall", (WALL_M, s, height), PredefinedType="SOLIDWALL")
        for gable, s in spans.items()
    }
    for n in range(last + 1):
        gable = n in (0, last)
        if not gable or wing.gables[0 if n == 0 else 1]:
            at = x - (WALL_M if n == last else 0.0)
            wall = house.draft.occurrence(
                "IfcWall",
                f"{key}/X{n}",
                kinds[gable],
                storey,
                wing.spot(at, WALL_M, 0.0),
                turn=wing.turn,
                Name=f"{'山墙' if gable else '横墙'} {key}/{n}",
            )
            (fabric.outer if gable else fabric.inner).append(wall)
        if n < last:
            x += wing.bays[n].width


def _rooms(house: House, place: Place, bay: Bay, door: str) -> None:
    wing, storey, x, key = place.wing, place.storey, place.x, place.key
    for n, room in enumerate(bay.rooms):
        dx, dy = room.x[1] - room.x[0], room.y[1] - room.y[0]
        kind = _type(
            house,
            "IfcSpace",
            f"{room.name} {dx:g}x{dy:g}",
            "space",
            (dx, dy, house.height - SLAB_M - 0.05),
            PredefinedType="INTERNAL",
        )
        space = house.draft.occurrence(
            "IfcSpace",
            f"{key}/R{n}",
            kind,
            storey,
            wing.spot(x + room.x[0], room.y[0], 0.0),
            turn=wing.turn,
            Name=f"{door}-{n + 1}",
            LongName=room.name,
            CompositionType="ELEMENT",
        )
        house.draft.properties("Pset_SpaceCommon", room.name, {"Reference": room.name, "IsExternal": False}, [space])
        area = {"NetFloorArea": dx * dy}
        house.draft.quantities("Qto_SpaceBaseQuantities", f"{dx:g}x{dy:g}", area, [space])


def _stair(house: House, place: Place, start: tuple[float, float]) -> None:
    """Put two flights with nine treads each, side by side, from `start` northwards and back."""
    wing, storey, key = place.wing, place.storey, place.key
    x = place.x + start[0]
    rise, tread = house.height / 18, 0.27
    for n in (0, 1):
        outline = [(0.0, 0.0)]
        for step in range(9):
            outline += [(step * tread, (step + 1) * rise), ((step + 1) * tread, (step + 1) * rise)]
        outline += [(9 * tread, 9 * rise - 0.2)]
        kind = house.draft.type(
            "IfcStairFlight",
            f"梯段 {house.height:g}",
            partial(house.draft.panel, outline, 1.1),
            "slab",
            PredefinedType="STRAIGHT",
        )
        along = math.pi / 2 if n == 0 else -math.pi / 2
        y = start[1] if n == 0 else start[1] + 9 * tread
        spot = wing.spot(x + (1.15 if n == 0 else 1.35), y, n * 9 * rise)
        house.draft.occurrence(
            "IfcStairFlight",
            f"{key}/F{n}",
            kind,
            storey,
            spot,
            turn=wing.turn + along,
            NumberOfRisers=9,
            NumberOfTreads=9,
            RiserHeight=round(rise, 4),
            TreadLength=tread,
        )


def describe(house: House, fabric: Fabric, *, insulated: bool) -> None:
    """Give the fabric its usual property sets and materials."""
    draft = house.draft
    loss = 0.45 if insulated else 1.96
    outer = {
        "Reference": "WQ-240",
        "IsExternal": True,
        "LoadBearing": True,
        "ThermalTransmittance": loss,
        "FireRating": "2h",
    }
    draft.properties("Pset_WallCommon", "outer", outer, fabric.outer)
    inner = {"Reference": "NQ", "IsExternal": False, "LoadBearing": False, "FireRating": "1h"}
    draft.properties("Pset_WallCommon", "inner", inner, fabric.inner)
    slab = {"Reference": "LB-140", "IsExternal": False, "LoadBearing": True, "FireRating": "1.5h"}
    draft.properties("Pset_SlabCommon", "slab", slab, fabric.slabs)
    window = {"Reference": "C", "IsExternal": True, "ThermalTransmittance": 2.2 if insulated else 5.8}
    draft.properties("Pset_WindowCommon", "window", window, fabric.windows)
    draft.properties("Pset_DoorCommon", "door", {"Reference": "M", "IsExternal": False}, fabric.doors)
    draft.material("烧结砖", fabric.outer)
    draft.material("加气混凝土砌块", fabric.inner)
    draft.material("钢筋混凝土", fabric.slabs)
