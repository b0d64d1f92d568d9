"""The water network as an EPANET 2.2 input file (LPS, metres, Hazen-Williams)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sample_models.inp import section
from sample_models.pipes import Net, Node, Pipe


def _shares(text: str) -> tuple[float, ...]:
    return tuple(float(share) for share in text.split())


PATTERNS = {  # hourly shares of the mean, from midnight
    "HOME": _shares(
        "0.36 0.28 0.25 0.25 0.34 0.66 1.28 1.72 1.55 1.22 1.06 1.10"
        " 1.26 1.10 0.88 0.84 0.96 1.26 1.62 1.80 1.66 1.34 0.88 0.53"
    ),
    "WORK": _shares(
        "0.15 0.12 0.12 0.12 0.15 0.25 0.60 1.20 1.90 2.05 2.00 2.05"
        " 1.85 1.70 1.95 1.95 1.80 1.55 0.90 0.60 0.40 0.30 0.20 0.18"
    ),
    "LOSS": _shares(
        "1.06 1.07 1.07 1.07 1.06 1.03 0.98 0.95 0.95 0.97 0.98 0.98"
        " 0.97 0.98 0.99 0.99 0.99 0.97 0.95 0.94 0.95 0.98 1.02 1.04"
    ),
}
LITRES_A_DAY = {"residential": 175.0, "school": 35.0, "clinic": 140.0, "office": 45.0, "market": 90.0, "public": 300.0}
"""Per person of `Building.people` (GB 50015-2019 table 3.2.1 and 3.2.2, rounded)."""
LOSS_LPS_PER_KM = 0.45
"""Leakage that does not follow demand, litres a second and kilometre of main."""
TOWER_BOTTOM_M = 41.0
"""Water tower: level of the tank's bottom, 1985 datum."""
ROUGHNESS = {"PE": 145.0, "球墨铸铁": 128.0, "灰口铸铁": 92.0, "镀锌钢": 88.0, "钢": 120.0}


def write_inp(net: Net, title: str) -> str:
    """Return the text of the input file."""
    parts = [
        section("TITLE", (), [(title,)]),
        section("JUNCTIONS", (";ID", "Elev", "Demand", "Pattern"), _junctions(net)),
        section("RESERVOIRS", (";ID", "Head", "Pattern"), [("WW-1", 12.0, "")]),
        section(
            "TANKS",
            (";ID", "Elevation", "InitLevel", "MinLevel", "MaxLevel", "Diameter", "MinVol"),
            [("T-1", TOWER_BOTTOM_M, 3.6, 0.5, 6.0, 18.0, 0.0)],
        ),
        section(
            "PIPES",
            (";ID", "Node1", "Node2", "Length", "Diameter", "Roughness", "MinorLoss", "Status"),
            [_pipe(p) for p in net.pipes if p.kind in {"pipe", "service", "meter"}],
        ),
        section(
            "PUMPS",
            (";ID", "Node1", "Node2", "Parameters"),
            [(p.name, p.start, p.end, "HEAD PUMP") for p in net.pipes if p.kind == "pump"],
        ),
        section(
            "VALVES",
            (";ID", "Node1", "Node2", "Diameter", "Type", "Setting", "MinorLoss"),
            [(p.name, p.start, p.end, p.diameter_mm, "TCV", 0.2, 0.2) for p in net.pipes if p.kind == "valve"],
        ),
        section("STATUS", (";ID", "Status"), [(p.name, "CLOSED") for p in net.pipes if p.closed]),
        section("DEMANDS", (";Junction", "Demand", "Pattern"), []),
        section("PATTERNS", (";ID", "Multipliers"), _patterns()),
        section("CURVES", (";ID", "X-Value", "Y-Value"), [("PUMP", 48.0, 37.0)]),
        *_run(),
        section("TAGS", (";Object", "ID", "Tag"), _tags(net)),
        section("COORDINATES", (";Node", "X-Coord", "Y-Coord"), [(n.name, *n.xy) for n in net.nodes.values()]),
        section(
            "VERTICES", (";Link", "X-Coord", "Y-Coord"), [(p.name, x, y) for p in net.pipes for x, y in p.line[1:-1]]
        ),
    ]
    return "\n".join(parts) + "\n[END]\n"


def _run() -> list[str]:
    """Return the sections that say how the day is run."""
    return [
        section("CONTROLS", (), _controls()),
        section(
            "TIMES",
            (),
            [
                ("DURATION", "24:00"),
                ("HYDRAULIC TIMESTEP", "0:15"),
                ("PATTERN TIMESTEP", "1:00"),
                ("PATTERN START", "0:00"),
                ("REPORT TIMESTEP", "0:15"),
                ("REPORT START", "0:00"),
                ("START CLOCKTIME", "12 AM"),
            ],
        ),
        section(
            "OPTIONS",
            (),
            [
                ("UNITS", "LPS"),
                ("HEADLOSS", "H-W"),
                ("SPECIFIC GRAVITY", 1.0),
                ("VISCOSITY", 1.0),
                ("TRIALS", 100),
                ("ACCURACY", 0.0001),
                ("UNBALANCED", "CONTINUE 10"),
                ("PATTERN", "HOME"),
                ("DEMAND MULTIPLIER", 1.0),
                ("EMITTER EXPONENT", 0.5),
                ("QUALITY", "NONE"),
            ],
        ),
        section("REPORT", (), [("STATUS", "NO"), ("SUMMARY", "NO")]),
    ]


def _junctions(net: Net) -> Iterable[Sequence[object]]:
    """Demand of customers by their people, and leakage at the nodes of the street mains."""
    share: dict[str, float] = {}
    for pipe in net.pipes:
        if pipe.kind == "pipe" and pipe.diameter_mm < 500:
            for end in (pipe.start, pipe.end):
                share[end] = share.get(end, 0.0) + pipe.length / 2000.0 * LOSS_LPS_PER_KM
    for node in net.nodes.values():
        if node.kind in {"reservoir", "tank"}:
            continue
        demand, pattern = _demand(node)
        if node.building is None and node.kind == "junction":
            demand, pattern = share.get(node.name, 0.0), "LOSS"
        yield node.name, node.level_m, round(demand, 4), pattern, f";{node.place}"


def _demand(node: Node) -> tuple[float, str]:
    if node.building is None:
        return 0.0, "LOSS"
    usage = node.building.usage
    litres = node.building.people * LITRES_A_DAY[usage]
    return litres / 86_400.0, "HOME" if usage == "residential" else "WORK"


def _pipe(pipe: Pipe) -> Sequence[object]:
    old = max(0, 2000 - pipe.year) * 0.8
    rough = round(ROUGHNESS[pipe.material] - old, 1)
    note = f";{pipe.material} {pipe.year} {pipe.place}"
    return pipe.name, pipe.start, pipe.end, round(max(pipe.length, 0.5), 2), pipe.diameter_mm, rough, 0, "OPEN", note


def _patterns() -> Iterable[Sequence[object]]:
    for name, values in PATTERNS.items():
        for n in range(0, 24, 6):
            yield name, *values[n : n + 6]


def _controls() -> list[Sequence[object]]:
    return [
        ("LINK PU-2 OPEN IF NODE T-1 BELOW 2.4",),
        ("LINK PU-2 CLOSED IF NODE T-1 ABOVE 4.4",),
        ("LINK PU-1 OPEN IF NODE T-1 BELOW 4.8",),
        ("LINK PU-1 CLOSED IF NODE T-1 ABOVE 5.5",),
    ]


def _tags(net: Net) -> Iterable[Sequence[object]]:
    for node in net.nodes.values():
        if node.kind != "junction":
            yield "NODE", node.name, node.kind
    for pipe in net.pipes:
        if pipe.kind != "pipe":
            yield "LINK", pipe.name, pipe.kind
