"""The building models of the sample district: an old block before and after its renewal, a school, a clinic.

Each stands on the footprint of its building in buildings.geojson; model coordinates start at the footprint's
south-west corner on the ground.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from sample_models.buildings import Building
from sample_models.ifc_draft import Draft, Entity
from sample_models.ifc_house import Bay, House, Room, Wing, build, describe
from sample_models.ifc_pipes import PORT_SYSTEM, SYSTEM_NAME, Riser, lay
from sample_models.terrain import XY

BLOCK_ID = "B007"


@dataclass(frozen=True, slots=True)
class Detector:
    """A gas detector in a model: its GlobalId, name and place on the map."""

    guid: str
    name: str
    xy: XY


@dataclass(frozen=True, slots=True)
class HouseModel:
    """A finished file: its name, text, building and gas detectors."""

    path: str
    text: str
    building: Building
    detectors: Sequence[Detector]


def make_models(buildings: Sequence[Building]) -> list[HouseModel]:
    """Return the four models; the last is the renewed block, which replaces the first."""
    block = next(b for b in buildings if b.id == BLOCK_ID)
    school = next(b for b in buildings if b.kind == "school")
    clinic = next(b for b in buildings if b.kind == "clinic")
    return [_block(block, renewed=False), _school(school), _clinic(clinic), _block(block, renewed=True)]


def _house(scope: str, title: str, building: Building, stamp: str, wings: Sequence[Wing]) -> House:
    draft = Draft(scope, title, building, stamp)
    height = round((building.height_m - 1.2) / building.storeys, 3)
    storeys = [draft.storey(n, height) for n in range(1, building.storeys + 1)]
    return House(draft, storeys, height, wings)


def _finish(path: str, house: House, building: Building, pipes: Sequence[tuple[str, Sequence[Entity]]]) -> HouseModel:
    """Put the pipes into their systems and read off the detectors."""
    draft = house.draft
    for system in ("gas", "water", "waste"):
        members = [e for s, elements in pipes for e in elements if s == system]
        draft.system(f"{SYSTEM_NAME[system]}系统", PORT_SYSTEM[system], members)
    detectors: list[Detector] = []
    c, s = math.cos(building.turn), math.sin(building.turn)
    for sensor in draft.file.by_type("IfcSensor"):
        x, y, _ = sensor.ObjectPlacement.RelativePlacement.Location.Coordinates
        xy = (building.corner[0] + x * c - y * s, building.corner[1] + x * s + y * c)
        detectors.append(Detector(sensor.GlobalId, f"{building.name}{sensor.Name}", xy))
    return HouseModel(path, draft.finish(), building, detectors)


_FLAT_WEST = Bay(
    6.2,
    (
        Room("客厅", (0.3, 3.6), (0.3, 5.2)),
        Room("卧室", (3.7, 6.1), (0.3, 5.2)),
        Room("过道", (0.3, 6.1), (5.5, 7.1)),
        Room("卫生间", (0.3, 3.2), (7.4, 11.7)),
        Room("厨房", (3.3, 6.1), (7.4, 11.7)),
    ),
    ((0.7, 2.4, 0.9, 1.5), (4.0, 1.8, 0.9, 1.5)),
    ((1.4, 0.6, 1.5, 0.9), (4.0, 1.2, 1.0, 1.4)),
    (5.3, 7.2),
    ((1.2, 5.3), (4.1, 7.2)),
)
_CORE = Bay(
    2.6,
    (Room("次卧", (0.3, 2.5), (0.3, 7.0)), Room("楼梯间", (0.3, 2.5), (7.4, 11.7))),
    ((0.7, 1.5, 0.9, 1.5),),
    ((0.8, 1.2, 1.6, 1.0),),
    (7.2,),
    (),
    stair=(0.1, 7.5),
)
_FLAT_EAST = Bay(
    6.2,
    (
        Room("客厅", (2.6, 5.9), (0.3, 5.2)),
        Room("卧室", (0.3, 2.5), (0.3, 5.2)),
        Room("过道", (0.3, 5.9), (5.5, 7.1)),
        Room("卫生间", (3.2, 5.9), (7.4, 11.7)),
        Room("厨房", (0.3, 3.1), (7.4, 11.7)),
    ),
    ((0.5, 1.8, 0.9, 1.5), (3.2, 2.4, 0.9, 1.5)),
    ((1.0, 1.2, 1.0, 1.4), (4.2, 0.6, 1.5, 0.9)),
    (5.3, 7.2),
    ((4.0, 5.3), (0.9, 7.2)),
)


def _block(building: Building, *, renewed: bool) -> HouseModel:
    """Return 1988's slab of three stairs with two flats a landing, or the same after the renewal of 2025."""
    bays = (_FLAT_WEST, _CORE, _FLAT_EAST) * 3
    stamp = "2025-11-20T09:00:00" if renewed else "2024-03-12T09:00:00"
    wing = Wing("A", (0.0, 0.0), 0.0, 12.0, bays)
    house = _house("block-07", f"{building.name} 老旧小区改造", building, stamp, [wing])
    glazing = "断桥铝中空窗" if renewed else "钢框单玻窗"
    fabric = build(house, glazing=glazing, open_ground_floor=renewed)
    describe(house, fabric, insulated=renewed)
    pipes = [(r.system, lay(house, r, r.name.removesuffix("-new"))) for r in _block_risers(building, renewed=renewed)]
    if renewed:
        _renewal(house)
    else:
        solid = partial(house.draft.box, 2.0, 1.6, 1.4)
        tank = house.draft.type("IfcTank", "屋顶水箱", solid, "water", PredefinedType="STORAGE")
        for n in range(3):
            spot = (n * 15.0 + 6.5, 5.0, house.height + 0.1)
            house.draft.occurrence("IfcTank", f"roof-{n}", tank, house.storeys[-1], spot, Name=f"屋顶水箱 {n + 1}")
    path = "block-07-renewed.ifc" if renewed else "block-07.ifc"
    return _finish(path, house, building, pipes)


def _block_risers(building: Building, *, renewed: bool) -> Iterator[Riser]:
    """Yield the risers of the block: the renewal put new gas risers outside, and new waste stacks in place."""
    gas_node, water_node = f"gas_nodes.geojson:node:GC-{building.id}", f"water.inp:node:C-{building.id}"
    drain_node = f"drainage.inp:node:WH-{building.id}"
    for unit in range(1, 4):
        west = (unit - 1) * 15.0 + 6.2
        flats = [(dx, -1.0, f"{unit}单元{side}户") for dx, side in ((-2.2, "西"), (4.6, "东"))]
        if renewed:
            yield Riser(f"gas-{unit}-new", "gas", west - 0.35, 12.2, 0.05, "不锈钢", 2025, flats, gas_node)
        else:
            yield Riser(f"gas-{unit}", "gas", west - 0.35, 11.4, 0.05, "镀锌钢管", 1988, flats, gas_node)
        landing = [(dx, 0.0, room) for dx, (_, _, room) in zip((-0.5, 0.5), flats, strict=True)]
        yield Riser(f"water-{unit}", "water", west + 1.3, 11.3, 0.04, "PPR", 2018, landing, water_node)
        material, year = ("PVC-U", 2025) if renewed else ("铸铁", 1988)
        yield Riser(f"waste-{unit}", "waste", west - 3.2, 11.5, 0.11, material, year, node=drain_node)


def _renewal(house: House) -> None:
    """Add what the renewal added: insulation on the façades, and a lift with its shaft at each stair."""
    draft, height = house.draft, house.height
    board = draft.type(
        "IfcCovering",
        "岩棉外保温 80",
        partial(draft.box, 15.0, 0.08, height),
        "insulation",
        PredefinedType="INSULATION",
    )
    gable = draft.type(
        "IfcCovering",
        "岩棉外保温 80 山墙",
        partial(draft.box, 0.08, 12.0, height),
        "insulation",
        PredefinedType="INSULATION",
    )
    boards: list[Entity] = []
    for number, storey in enumerate(house.storeys, start=1):
        for unit in range(3):
            for side, y in (("S", -0.08), ("N", 12.0)):
                spot = (unit * 15.0, y, -0.14)
                boards.append(draft.occurrence("IfcCovering", f"wool-{number}-{unit}{side}", board, storey, spot))
        boards += [
            draft.occurrence("IfcCovering", f"wool-{number}-{side}", gable, storey, (x, 0.0, -0.14))
            for side, x in (("W", -0.08), ("E", 45.0))
        ]
    draft.material("岩棉板", boards)
    draft.properties(
        "Pset_CoveringCommon", "wool", {"Reference": "YM-80", "IsExternal": True, "FireRating": "A1"}, boards
    )
    side_wall = draft.type(
        "IfcWall", "电梯井壁 1.9m", partial(draft.box, 0.2, 1.9, height), "wall", PredefinedType="SHEAR"
    )
    back_wall = draft.type(
        "IfcWall", "电梯井壁 2.2m", partial(draft.box, 2.2, 0.2, height), "wall", PredefinedType="SHEAR"
    )
    car = draft.type(
        "IfcTransportElement", "加装电梯 6人", partial(draft.box, 1.4, 1.3, 2.3), "device", PredefinedType="ELEVATOR"
    )
    shaft: list[Entity] = []
    for unit in range(3):
        x = unit * 15.0 + 6.4
        for number, storey in enumerate(house.storeys, start=1):
            key = f"lift-{unit}-{number}"
            shaft.append(draft.occurrence("IfcWall", f"{key}W", side_wall, storey, (x, 12.1, -0.14)))
            shaft.append(draft.occurrence("IfcWall", f"{key}E", side_wall, storey, (x + 2.0, 12.1, -0.14)))
            shaft.append(draft.occurrence("IfcWall", f"{key}N", back_wall, storey, (x, 14.0, -0.14)))
        draft.occurrence("IfcTransportElement", f"lift-{unit}", car, house.storeys[0], (x + 0.4, 12.5, 0.0))
    draft.material("钢筋混凝土", [*shaft])
    draft.properties("Pset_WallCommon", "shaft", {"Reference": "DTJ", "IsExternal": True, "LoadBearing": True}, shaft)


def _rooms_wing(
    name: str,
    corner: XY,
    turn: float,
    depth: float,
    bays: Sequence[str],
    *,
    width: float,
    gables: tuple[bool, bool] = (True, True),
) -> Wing:
    """Return a wing of rooms along a corridor at its north side; a bay called 楼梯间 has a stair."""
    made: list[Bay] = []
    wall = depth - 3.2
    for room in bays:
        windows = tuple((0.8 + n * (width - 1.2) / 2, (width - 2.4) / 2, 0.9, 1.8) for n in range(2))
        north = ((width / 2 - 1.2, 2.4, 1.1, 1.5),)
        rooms = (
            Room(room, (0.3, width - 0.1), (0.3, wall - 0.1)),
            Room("走廊", (0.0, width), (wall + 0.2, depth - 0.3)),
        )
        doors = ((0.8, wall), (width - 2.2, wall)) if room != "楼梯间" else ((1.0, wall),)
        made.append(Bay(width, rooms, windows, north, (wall,), doors, (0.4, wall - 2.8) if room == "楼梯间" else None))
    return Wing(name, corner, turn, depth, tuple(made), gables, corridor=3.2)


def _school(building: Building) -> HouseModel:
    """Return the teaching building: an L of two wings of classrooms, four storeys."""
    long = ("楼梯间", "教室", "教室", "卫生间", "教室", "教师办公室")
    wings = [
        _rooms_wing("N", (0.0, 16.0), 0.0, 14.0, long, width=58.0 / 6),
        _rooms_wing("W", (14.0, 0.0), math.pi / 2, 14.0, ("实验室", "厨房"), width=8.0, gables=(True, False)),
    ]
    house = _house("school", building.name, building, "2023-08-30T09:00:00", wings)
    fabric = build(house, glazing="塑钢窗")
    describe(house, fabric, insulated=False)
    pipes = [
        (
            "gas",
            lay(
                house,
                Riser(
                    "gas-1",
                    "gas",
                    4.2,
                    15.4,
                    0.065,
                    "镀锌钢管",
                    2008,
                    ((2.0, -1.0, "厨房"),),
                    f"gas_nodes.geojson:node:GC-{building.id}",
                ),
            ),
        ),
    ]
    for n, (x, y) in enumerate(((30.2, 26.2), (33.6, 26.2), (37.0, 26.2)), start=1):
        branch = ((0.8, -0.6, f"卫生间{n}"),)
        water = Riser(f"water-{n}", "water", x, y, 0.05, "PPR", 2010, branch, f"water.inp:node:C-{building.id}")
        waste = Riser(
            f"waste-{n}", "waste", x - 0.4, y, 0.11, "PVC-U", 2010, node=f"drainage.inp:node:WH-{building.id}"
        )
        pipes += [("water", lay(house, water)), ("waste", lay(house, waste))]
    return _finish("school.ifc", house, building, pipes)


def _clinic(building: Building) -> HouseModel:
    """Return the community clinic: one wing of consulting rooms and wards, five storeys."""
    bays = ("楼梯间", "诊室", "诊室", "检验科", "卫生间", "病房", "病房", "供应室")
    house = _house(
        "clinic",
        building.name,
        building,
        "2022-05-16T09:00:00",
        [_rooms_wing("A", (0.0, 0.0), 0.0, 18.0, bays, width=6.0)],
    )
    fabric = build(house, glazing="断桥铝中空窗")
    describe(house, fabric, insulated=True)
    node = f"gas_nodes.geojson:node:GC-{building.id}"
    pipes = [
        ("gas", lay(house, Riser("gas-1", "gas", 47.4, 14.2, 0.05, "不锈钢", 2019, ((-2.0, -1.0, "供应室"),), node)))
    ]
    for n, x in enumerate((25.0, 27.0, 29.0), start=1):
        branch = ((0.8, -0.6, f"卫生间{n}"),)
        water = Riser(f"water-{n}", "water", x, 14.2, 0.05, "不锈钢", 2017, branch, f"water.inp:node:C-{building.id}")
        waste = Riser(
            f"waste-{n}", "waste", x + 0.5, 14.2, 0.11, "PVC-U", 2007, node=f"drainage.inp:node:WH-{building.id}"
        )
        pipes += [("water", lay(house, water)), ("waste", lay(house, waste))]
    return _finish("clinic.ifc", house, building, pipes)
