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
    stair: float | None = None
    """West edge of a stair that stands at the north face, 2.6 m wide."""


@dataclass(frozen=True, slots=True)
class Wing:
    """A straight part of a building: south-west corner and direction in the building's frame, depth and bays."""

    name: str
    corner: tuple[float, float]
    turn: float
    depth: float
    bays: tuple[Bay, ...]
    gables: tuple[bool, bool] = (True, True)

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
            _slab(house, fabric, wing, storey, f"{wing.name}/{number}", 0.0)
            x = 0.0
            for n, bay in enumerate(wing.bays):
                key = f"{wing.name}/{number}/{n}"
                _facades(house, fabric, wing, bay, storey, key, x, glazing)
                _inner(house, fabric, wing, bay, storey, key, x, walls=not (open_ground_floor and number == 1))
                _rooms(house, wing, bay, storey, key, x, number)
                if bay.stair is not None and number < len(house.storeys):
                    _stair(house, wing, storey, key, x + bay.stair)
                x += bay.width
            _cross_walls(house, fabric, wing, storey, f"{wing.name}/{number}")
        _slab(house, fabric, wing, house.storeys[-1], f"{wing.name}/roof", house.height)
    return fabric


def _slab(house: House, fabric: Fabric, wing: Wing, storey: Entity, key: str, above: float) -> None:
    solid_name = f"楼板 {wing.length:g}x{wing.depth:g}"
    kind = _type(house, "IfcSlab", solid_name, "slab", (wing.length, wing.depth, SLAB_M), PredefinedType="FLOOR")
    made = house.draft.occurrence(
        "IfcSlab", key, kind, storey, wing.spot(0.0, 0.0, above - SLAB_M), turn=wing.turn, Name=f"楼板 {key}"
    )
    fabric.slabs.append(made)


def _type(
    house: House, ifc_class: str, name: str, colour: str, size: tuple[float, float, float], **attributes: str
) -> str:
    return house.draft.type(ifc_class, name, partial(house.draft.box, *size), colour, **attributes)


def _facades(
    house: House, fabric: Fabric, wing: Wing, bay: Bay, storey: Entity, key: str, x: float, glazing: str
) -> None:
    """Put the two façade walls of a bay, with holes for their windows, and the windows."""
    draft = house.draft
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


def _inner(
    house: House, fabric: Fabric, wing: Wing, bay: Bay, storey: Entity, key: str, x: float, *, walls: bool
) -> None:
    """Put the inner walls that run along the wing, and the doors in them."""
    draft = house.draft
    height = house.height - SLAB_M
    for n, y in enumerate(bay.walls if walls else ()):
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


def _cross_walls(house: House, fabric: Fabric, wing: Wing, storey: Entity, key: str) -> None:
    """Put the walls across the wing, between bays and at the gables."""
    x, last = 0.0, len(wing.bays)
    span = wing.depth - 2 * WALL_M
    kind = _type(
        house,
        "IfcWall",
        f"横墙240 {span:g}m",
        "wall",
        (WALL_M, span, house.height - SLAB_M),
        PredefinedType="SOLIDWALL",
    )
    for n in range(last + 1):
        gable = n in (0, last)
        if not gable or wing.gables[0 if n == 0 else 1]:
            at = x - (WALL_M if n == last else 0.0)
            wall = house.draft.occurrence(
                "IfcWall",
                f"{key}/X{n}",
                kind,
                storey,
                wing.spot(at, WALL_M, 0.0),
                turn=wing.turn,
                Name=f"{'山墙' if gable else '横墙'} {key}/{n}",
            )
            (fabric.outer if gable else fabric.inner).append(wall)
        if n < last:
            x += wing.bays[n].width


def _rooms(house: House, wing: Wing, bay: Bay, storey: Entity, key: str, x: float, number: int) -> None:
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
        door = int(key.rsplit("/", 1)[-1]) + 1
        space = house.draft.occurrence(
            "IfcSpace",
            f"{key}/R{n}",
            kind,
            storey,
            wing.spot(x + room.x[0], room.y[0], 0.0),
            turn=wing.turn,
            Name=f"{number}{door:02d}-{n + 1}",
            LongName=room.name,
            CompositionType="ELEMENT",
        )
        house.draft.properties("Pset_SpaceCommon", room.name, {"Reference": room.name, "IsExternal": False}, [space])
        area = {"NetFloorArea": dx * dy}
        house.draft.quantities("Qto_SpaceBaseQuantities", f"{dx:g}x{dy:g}", area, [space])


def _stair(house: House, wing: Wing, storey: Entity, key: str, x: float) -> None:
    """Put two flights with nine treads each, side by side, at the north face."""
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
        y = wing.depth - 4.6 if n == 0 else wing.depth - 4.6 + 9 * tread
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
