"""Risers of a building model: segments, tees, valves, meters and detectors, joined through their ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from zlib import crc32

from sample_models.ifc_draft import Entity
from sample_models.ifc_house import House

SEGMENT_M = 0.12
"""Length of a tee along the riser, metres."""


@dataclass(frozen=True, slots=True)
class Riser:
    """A riser: its system, place in the building's frame, size, material, and its branches (dx, dy, room) a storey."""

    name: str
    system: str
    """gas, water or waste."""
    x: float
    y: float
    diameter: float
    material: str
    year: int
    branches: Sequence[tuple[float, float, str]] = ()
    node: str = ""
    """Asset id of the city's network node that it is fed from, or drains to."""


PORT_SYSTEM = {"gas": "GAS", "water": "DOMESTICCOLDWATER", "waste": "WASTEWATER"}
SYSTEM_NAME = {"gas": "燃气", "water": "给水", "waste": "排水"}
METER = {"gas": ("GASMETER", "膜式燃气表 G2.5"), "water": ("WATERMETER", "旋翼水表 DN20")}
VALVE = {"gas": ("GASCOCK", "燃气球阀"), "water": ("ISOLATING", "截止阀"), "waste": ("", "")}


@dataclass(slots=True)
class _Run:
    """A riser while it is laid: its elements, and the port that the next piece is joined to."""

    house: House
    riser: Riser
    keep: str
    elements: list[Entity]

    def piece(
        self, ifc_class: str, key: str, kind: str, storey: Entity, at: tuple[float, float, float], *, name: str
    ) -> Entity:
        made = self.house.draft.occurrence(ifc_class, f"{self.riser.name}/{key}", kind, storey, at, Name=name)
        self.elements.append(made)
        return made

    def ports(self, element: Entity, key: str, outs: int) -> tuple[Entity, list[Entity]]:
        """Give an element one port in and `outs` ports out."""
        draft, system = self.house.draft, PORT_SYSTEM[self.riser.system]
        key = f"{self.riser.name}/{key}"
        return draft.port(element, f"{key}/in", "SINK", system), [
            draft.port(element, f"{key}/out{n}", "SOURCE", system) for n in range(outs)
        ]


def lay(house: House, riser: Riser, keep: str = "") -> list[Entity]:
    """Lay a riser through all storeys and return its elements; meters and detectors keep the keys of riser `keep`."""
    run = _Run(house, riser, keep or riser.name, [])
    if riser.system == "waste":
        _waste(run)
    else:
        _supply(run)
    draft = house.draft
    pipes = [e for e in run.elements if e.is_a("IfcPipeSegment")]
    values = {"NominalDiameter": riser.diameter, "YearOfConstruction": riser.year, "Status": "EXISTING"}
    draft.properties("Chengmai_Pipe", riser.name, values, pipes)
    draft.material(riser.material, pipes)
    return run.elements


def _entry(run: _Run) -> Entity:
    """Put the valve where the riser enters the building, and name the city's node that feeds it."""
    riser, draft = run.riser, run.house.draft
    predefined, name = VALVE[riser.system]
    solid = partial(draft.box, 0.14, 0.14, 0.16)
    kind = draft.type("IfcValve", f"引入{name}", solid, riser.system, PredefinedType=predefined)
    valve = run.piece(
        "IfcValve", "entry", kind, run.house.storeys[0], (riser.x - 0.07, riser.y - 0.07, 0.0), name=f"引入{name}"
    )
    _, (out,) = run.ports(valve, "entry", 1)
    if riser.node:
        draft.properties("Chengmai_Connection", riser.name, {"Node": riser.node}, [valve])
    return out


def _supply(run: _Run) -> None:
    """Lay a gas or water riser upwards: valve, then on each storey a pipe and a tee with a meter for each branch."""
    riser, house, draft = run.riser, run.house, run.house.draft
    below: Entity | None = _entry(run)
    size = f"{SYSTEM_NAME[riser.system]} DN{riser.diameter * 1000:g} {riser.material}"
    length = house.height - SEGMENT_M
    pipe = draft.type(
        "IfcPipeSegment",
        f"{size} 立管",
        partial(draft.cylinder, riser.diameter, length),
        riser.system,
        PredefinedType="RIGIDSEGMENT",
    )
    tee_solid = partial(draft.cylinder, riser.diameter * 1.4, SEGMENT_M)
    tee = draft.type("IfcPipeFitting", f"{size} 三通", tee_solid, riser.system, PredefinedType="JUNCTION")
    for number, storey in enumerate(house.storeys, start=1):
        start = 1.2 - length  # the tee stands 1.2 m above the floor
        z = 0.16 if number == 1 else start
        kind = pipe
        if number == 1:
            foot = partial(draft.cylinder, riser.diameter, 1.2 - 0.16)
            kind = draft.type("IfcPipeSegment", f"{size} 底段", foot, riser.system, PredefinedType="RIGIDSEGMENT")
        segment = run.piece(
            "IfcPipeSegment", f"{number}", kind, storey, (riser.x, riser.y, z), name=f"{size} {number}F"
        )
        into, (out,) = run.ports(segment, f"{number}", 1)
        if below is not None:
            draft.connect(below, into)
        joint = run.piece(
            "IfcPipeFitting", f"{number}T", tee, storey, (riser.x, riser.y, 1.2), name=f"{size} 三通 {number}F"
        )
        last = number == len(house.storeys)
        tee_in, outs = run.ports(joint, f"{number}T", len(riser.branches) + (0 if last else 1))
        draft.connect(out, tee_in)
        below = None if last else outs[-1]
        for n, (branch, source) in enumerate(zip(riser.branches, outs, strict=False)):
            _branch(run, storey, f"{number}/{n}", branch, source)


def _branch(run: _Run, storey: Entity, key: str, branch: tuple[float, float, str], source: Entity) -> None:
    """Put the valve and meter of a branch, and for gas a detector in the room."""
    riser, draft, keep = run.riser, run.house.draft, run.keep
    dx, dy, room = branch
    predefined, name = VALVE[riser.system]
    cock = draft.type(
        "IfcValve", f"户内{name}", partial(draft.box, 0.08, 0.08, 0.1), riser.system, PredefinedType=predefined
    )
    side = 0.3 if dx > 0 else -0.3
    meter_at = riser.x + (dx - 4 * side if abs(dx) > 1.5 else side * 1.8)
    valve = run.piece("IfcValve", f"{key}V", cock, storey, (riser.x + side, riser.y, 1.2), name=f"{name} {room}")
    into, (out,) = run.ports(valve, f"{key}V", 1)
    draft.connect(source, into)
    predefined, name = METER[riser.system]
    kind = draft.type(
        "IfcFlowMeter", name, partial(draft.box, 0.2, 0.16, 0.24), riser.system, PredefinedType=predefined
    )
    serial = f"{riser.system[0].upper()}{crc32(f'{draft.scope}/{keep}/{key}'.encode()) % 10**7:07d}"
    meter = draft.occurrence(
        "IfcFlowMeter",
        f"{keep}/{key}M",
        kind,
        storey,
        (meter_at, riser.y - 0.08, 1.2),
        Name=f"{name} {room}",
        Tag=serial,
    )
    run.elements.append(meter)
    meter_in = draft.port(meter, f"{keep}/{key}M/in", "SINK", PORT_SYSTEM[riser.system])
    draft.connect(out, meter_in)
    if riser.system == "gas":
        solid = partial(draft.box, 0.12, 0.05, 0.12)
        sensor = draft.type("IfcSensor", "家用可燃气体探测器", solid, "device", PredefinedType="GASSENSOR")
        spot = (riser.x + dx, riser.y + dy, run.house.height - 0.55)
        draft.occurrence("IfcSensor", f"{keep}/{key}S", sensor, storey, spot, Name=f"可燃气体探测器 {room}")


def _waste(run: _Run) -> None:
    """Lay a waste stack: a pipe on each storey with a branch fitting, draining downwards."""
    riser, house, draft = run.riser, run.house, run.house.draft
    size = f"排水 DN{riser.diameter * 1000:g} {riser.material}"
    solid = partial(draft.cylinder, riser.diameter, house.height - SEGMENT_M)
    pipe = draft.type("IfcPipeSegment", f"{size} 立管", solid, "waste", PredefinedType="RIGIDSEGMENT")
    joint_solid = partial(draft.cylinder, riser.diameter * 1.3, SEGMENT_M)
    joint = draft.type("IfcPipeFitting", f"{size} 三通", joint_solid, "waste", PredefinedType="JUNCTION")
    above: Entity | None = None
    for number in range(len(house.storeys), 0, -1):
        storey = house.storeys[number - 1]
        at = (riser.x, riser.y, house.height - SEGMENT_M)
        fitting = run.piece("IfcPipeFitting", f"{number}T", joint, storey, at, name=f"{size} 三通 {number}F")
        into, (out,) = run.ports(fitting, f"{number}T", 1)
        if above is not None:
            draft.connect(above, into)
        segment = run.piece(
            "IfcPipeSegment", f"{number}", pipe, storey, (riser.x, riser.y, 0.0), name=f"{size} {number}F"
        )
        below_in, (above,) = run.ports(segment, f"{number}", 1)
        draft.connect(out, below_in)
    if riser.node:
        foot = [e for e in run.elements if e.is_a("IfcPipeSegment")][-1]
        draft.properties("Chengmai_Connection", riser.name, {"Node": riser.node}, [foot])
