"""The drainage as an EPA SWMM 5.2 input file (LPS, dynamic wave)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sample_models.drainage import MANNING, Drainage
from sample_models.epanet_inp import LITRES_A_DAY, PATTERNS
from sample_models.inp import section
from sample_models.pipes import Node
from sample_models.terrain import RIVER_LEVEL_M

RETURNED = 0.88
"""Share of the water drawn that comes back as sewage."""
SHOWER = ((15.0, 0.0), (15.25, 1.2), (15.5, 3.6), (15.75, 7.2), (16.0, 4.8), (16.25, 2.4), (16.5, 1.2), (16.75, 0.0))
"""An afternoon shower: hour, mm/h."""
CLOUDBURST = (6, 9, 13, 20, 34, 78, 122, 70, 44, 30, 22, 17, 13, 11, 9, 8, 7, 6)
"""A two-year storm of 90 minutes, mm/h every 5 minutes (not used unless the gage is set to it)."""
PUMPS = {"LP-1": (1.5, 0.6), "LP-2": (2.0, 0.9)}
"""Depth of the wet well at which a pump starts and stops, metres."""


def write_inp(drainage: Drainage, title: str) -> str:
    """Return the text of the input file."""
    net = drainage.net
    nodes = list(net.nodes.values())
    pipes = [p for p in net.pipes if p.kind == "conduit"]
    parts = [
        section("TITLE", (), [(";;" + title,)]),
        section("OPTIONS", (), _options()),
        section("EVAPORATION", (), [("CONSTANT", 0.0), ("DRY_ONLY", "NO")]),
        section("RAINGAGES", (), [("RG-1", "INTENSITY", "0:15", 1.0, "TIMESERIES", "SHOWER")]),
        *_land(drainage),
        section(
            "JUNCTIONS",
            (";;Name", "Elevation", "MaxDepth", "InitDepth", "SurDepth", "Aponded"),
            [(n.name, n.level_m, _depth(n), 0, 0, 0) for n in nodes if n.kind == "manhole"],
        ),
        section(
            "OUTFALLS",
            (";;Name", "Elevation", "Type", "StageData", "Gated"),
            [_outfall(n) for n in nodes if n.kind == "outfall"],
        ),
        section(
            "STORAGE",
            (";;Name", "Elev", "MaxDepth", "InitDepth", "Shape", "Curve/Params"),
            [(n.name, n.level_m, _depth(n), 1.0, "FUNCTIONAL", 0, 0, 28, 0, 0) for n in nodes if n.kind == "storage"],
        ),
        *_conduits(drainage),
        section(
            "PUMPS",
            (";;Name", "FromNode", "ToNode", "PumpCurve", "Status", "Startup", "Shutoff"),
            [(p.name, p.start, p.end, "LIFT", "ON", *PUMPS[p.name]) for p in net.pipes if p.kind == "pump"],
        ),
        section("INFLOWS", (), _seepage(nodes)),
        section("DWF", (";;Node", "Constituent", "Baseline", "Patterns"), _sewage(nodes)),
        section("CURVES", (), _pump_curve()),
        section("TIMESERIES", (), _series()),
        section("PATTERNS", (), _patterns()),
        section(
            "REPORT",
            (),
            [("INPUT", "NO"), ("CONTROLS", "NO"), ("SUBCATCHMENTS", "NONE"), ("NODES", "ALL"), ("LINKS", "ALL")],
        ),
        section("TAGS", (), _tags(drainage)),
        section("COORDINATES", (";;Node", "X-Coord", "Y-Coord"), [(n.name, *n.xy) for n in nodes]),
        section("VERTICES", (";;Link", "X-Coord", "Y-Coord"), [(p.name, x, y) for p in pipes for x, y in p.line[1:-1]]),
        section("POLYGONS", (";;Subcatchment", "X-Coord", "Y-Coord"), _corners(drainage)),
    ]
    return "\n".join(parts)


def _conduits(drainage: Drainage) -> list[str]:
    """Return the sections of the conduits, their material and year as comments."""
    pipes = [p for p in drainage.net.pipes if p.kind == "conduit"]
    return [
        section(
            "CONDUITS",
            (";;Name", "FromNode", "ToNode", "Length", "Roughness", "InOffset", "OutOffset", "InitFlow", "MaxFlow"),
            [
                (
                    p.name,
                    p.start,
                    p.end,
                    round(p.length, 2),
                    MANNING[p.material],
                    0,
                    drainage.drops[p.name],
                    0,
                    0,
                    f";{p.material} {p.year} {p.place}",
                )
                for p in pipes
            ],
        ),
        section(
            "XSECTIONS",
            (";;Link", "Shape", "Geom1", "Geom2", "Geom3", "Geom4", "Barrels"),
            [(p.name, "CIRCULAR", p.diameter_mm / 1000.0, 0, 0, 0, 1) for p in pipes],
        ),
    ]


def _depth(node: Node) -> float:
    return round(node.ground_m - node.level_m, 3)


def _options() -> list[tuple[str, object]]:
    return [
        ("FLOW_UNITS", "LPS"),
        ("INFILTRATION", "HORTON"),
        ("FLOW_ROUTING", "DYNWAVE"),
        ("LINK_OFFSETS", "DEPTH"),
        ("MIN_SLOPE", 0),
        ("ALLOW_PONDING", "NO"),
        ("SKIP_STEADY_STATE", "NO"),
        ("START_DATE", "06/01/2026"),
        ("START_TIME", "00:00:00"),
        ("REPORT_START_DATE", "06/01/2026"),
        ("REPORT_START_TIME", "00:00:00"),
        ("END_DATE", "06/02/2026"),
        ("END_TIME", "00:00:00"),
        ("REPORT_STEP", "00:05:00"),
        ("WET_STEP", "00:05:00"),
        ("DRY_STEP", "00:15:00"),
        ("ROUTING_STEP", "0:00:10"),
        ("INERTIAL_DAMPING", "PARTIAL"),
        ("NORMAL_FLOW_LIMITED", "BOTH"),
        ("FORCE_MAIN_EQUATION", "H-W"),
        ("VARIABLE_STEP", 0),
        ("LENGTHENING_STEP", 10),
        ("MIN_SURFAREA", 1.167),
        ("MAX_TRIALS", 8),
        ("HEAD_TOLERANCE", 0.0015),
        ("THREADS", 1),
    ]


def _land(drainage: Drainage) -> list[str]:
    catchments = drainage.catchments
    return [
        section(
            "SUBCATCHMENTS",
            (";;Name", "RainGage", "Outlet", "Area", "%Imperv", "Width", "%Slope", "CurbLen"),
            [
                (
                    c.name,
                    "RG-1",
                    c.outlet,
                    round(c.area.area * 1.25 / 1e4, 4),
                    c.paved * 100,
                    round(c.area.area**0.5, 1),
                    c.slope,
                    0,
                )
                for c in catchments
            ],
        ),
        section("SUBAREAS", (), [(c.name, 0.013, 0.15, 1.3, 4.0, 25, "OUTLET") for c in catchments]),
        section("INFILTRATION", (), [(c.name, 65.0, 8.0, 4.0, 7.0, 0) for c in catchments]),
    ]


def _outfall(node: Node) -> tuple[object, ...]:
    if node.grade == "storm":
        return node.name, node.level_m, "FIXED", RIVER_LEVEL_M, "NO"
    return node.name, node.level_m, "FREE", "", "NO"


def _seepage(nodes: Sequence[Node]) -> Iterable[tuple[object, ...]]:
    """Groundwater that seeps into old drains: a little at each street manhole, more for storm drains' depth."""
    for node in nodes:
        if node.kind == "manhole" and node.building is None and node.name != "LS-OUT":
            yield node.name, "FLOW", '""', "FLOW", 1.0, 1.0, 0.012 if node.grade == "sanitary" else 0.02


def _sewage(nodes: Sequence[Node]) -> Iterable[tuple[object, ...]]:
    for node in nodes:
        if node.building is not None:
            litres = node.building.people * LITRES_A_DAY[node.building.usage] * RETURNED
            pattern = "HOME" if node.building.usage == "residential" else "WORK"
            yield node.name, "FLOW", round(litres / 86_400.0, 4), f'"{pattern}"'


def _pump_curve() -> list[tuple[object, ...]]:
    """Lift against head of one pump: metres, litres a second."""
    points = ((2.0, 74.0), (4.0, 66.0), (6.0, 56.0), (8.0, 43.0), (10.0, 25.0), (12.0, 0.0))
    return [("LIFT", "PUMP3" if n == 0 else "", head, flow) for n, (head, flow) in enumerate(points)]


def _series() -> Iterable[tuple[object, ...]]:
    for hour, rain in SHOWER:
        yield "SHOWER", f"{int(hour)}:{round(hour % 1 * 60):02d}", rain
    for n, rain in enumerate(CLOUDBURST):
        yield "CLOUDBURST", f"{15 + n * 5 // 60}:{n * 5 % 60:02d}", rain


def _patterns() -> Iterable[tuple[object, ...]]:
    for name in ("HOME", "WORK"):
        for n in range(0, 24, 6):
            yield name, "HOURLY" if n == 0 else "", *PATTERNS[name][n : n + 6]


def _tags(drainage: Drainage) -> Iterable[tuple[object, ...]]:
    for node in drainage.net.nodes.values():
        yield "Node", node.name, node.grade
    for pipe in drainage.net.pipes:
        yield "Link", pipe.name, pipe.grade


def _corners(drainage: Drainage) -> Iterable[tuple[object, ...]]:
    for c in drainage.catchments:
        for x, y in c.area.exterior.coords[:-1]:
            yield c.name, round(x, 3), round(y, 3)
