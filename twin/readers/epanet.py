"""EPANET 2.2 input files: junctions, reservoirs, tanks, pipes, pumps and valves, in SI.

Format: Rossman et al., EPANET 2.2 User Manual (EPA/600/R-20/133), appendix C.2. Flow units decide the rest: with CFS,
GPM, MGD, IMGD or AFD lengths are feet, diameters inches and pressures psi whatever PRESSURE says, else metres,
millimetres, and kPa or metres (engine 2.2, adjustdata in input1.c: psi in a metric file are metres). The engine's
topology rules hold (a link to a node that does not exist is refused), what it needs for a run only is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from twin.asset import LinkKind, NodeKind, System
from twin.errors import InputError
from twin.model import Model, ReadRequest
from twin.readers import layout
from twin.readers.draft import Draft, add, join_ends
from twin.readers.inp import Inp, Line, read_inp, section_names

FOOT_M = 0.3048
INCH_M = 0.0254
_GALLON_M3 = 0.003785411784
_IMPERIAL_GALLON_M3 = 0.00454609
_ACRE_FOOT_M3 = 43_560 * FOOT_M**3
_DAY_S = 86_400
_PSI_HEAD_M = 0.3048 / 0.4333
"""Metres of water a psi, with the factor of EPANET's source (0.4333 psi a foot)."""
_KPA_HEAD_M = 1 / 9.80665

FLOW_UNITS = {
    "CFS": FOOT_M**3,
    "GPM": _GALLON_M3 / 60,
    "MGD": 1e6 * _GALLON_M3 / _DAY_S,
    "IMGD": 1e6 * _IMPERIAL_GALLON_M3 / _DAY_S,
    "AFD": _ACRE_FOOT_M3 / _DAY_S,
    "LPS": 1e-3,
    "LPM": 1e-3 / 60,
    "MLD": 1e3 / _DAY_S,
    "CMH": 1 / 3600,
    "CMD": 1 / _DAY_S,
    "CMS": 1.0,
}
"""Cubic metres a second in each flow unit."""
_US_UNITS = frozenset(("CFS", "GPM", "MGD", "IMGD", "AFD"))

SECTIONS = frozenset(
    (
        "TITLE",
        "JUNCTIONS",
        "RESERVOIRS",
        "TANKS",
        "PIPES",
        "PUMPS",
        "VALVES",
        "TAGS",
        "DEMANDS",
        "STATUS",
        "PATTERNS",
        "CURVES",
        "CONTROLS",
        "RULES",
        "ENERGY",
        "EMITTERS",
        "QUALITY",
        "SOURCES",
        "REACTIONS",
        "MIXING",
        "TIMES",
        "REPORT",
        "OPTIONS",
        "COORDINATES",
        "VERTICES",
        "LABELS",
        "BACKDROP",
        "END",
        "ROUGHNESS",
        "LEAKAGE",
    )
)
HELD = frozenset(
    (
        *("JUNCTIONS", "RESERVOIRS", "TANKS", "PIPES", "PUMPS", "VALVES", "STATUS", "EMITTERS"),
        *("TAGS", "COORDINATES", "VERTICES", "END"),
    )
)
"""Sections that the assets hold whole; all others are kept as text in `Model.remainder`. [DEMANDS] are among those:
a junction's categories of demand are more than the sum that its asset has."""
_OURS_ALONE = frozenset(("PIPES", "RESERVOIRS", "TANKS", "EMITTERS", "ENERGY", "DEMANDS", "MIXING"))

_NODE_TAGS = {
    "hydrant": NodeKind.HYDRANT,
    "消火栓": NodeKind.HYDRANT,
    "meter": NodeKind.METER,
    "水表": NodeKind.METER,
    "customer": NodeKind.CUSTOMER,
    "用户": NodeKind.CUSTOMER,
    "valve": NodeKind.VALVE,
    "阀门": NodeKind.VALVE,
    "source": NodeKind.SOURCE,
}
_SERVICE_TAGS = {"service", "接户管", "入户管"}


@dataclass(frozen=True, slots=True)
class Units:
    """Factors to SI: m³/s, m, m, and metres of head a unit of pressure."""

    flow: float
    length: float
    diameter: float
    pressure: float


class EpanetReader:
    """Reads EPANET input files (entry point ``epanet``)."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file has sections that EPANET knows and SWMM does not."""
        return path.suffix.lower() in (".inp", ".txt", ".net") and bool(section_names(path) & _OURS_ALONE)

    def read(self, path: Path, request: ReadRequest) -> Model:
        """Read the network; raises InputError E_SYNTAX, E_NODE, E_ID or E_UNIT with the line."""
        inp = read_inp(path, SECTIONS, held=HELD)
        units = units_of(inp, str(path))
        nodes, links = _nodes(inp, units), _links(inp, units)
        if not nodes:
            raise InputError("has no nodes", where=str(path), expected="[JUNCTIONS] with rows", code="E_EMPTY")
        join_ends(nodes, links)
        return _model(path, request, inp, nodes, links)


def units_of(inp: Inp, where: str) -> Units:
    """Return the units of an input file, which `where` names in an error; InputError E_UNIT where it has another."""
    flow = inp.option("UNITS", "GPM")
    if flow not in FLOW_UNITS:
        raise InputError(f"flow unit {flow[:20]!r}", where=where, expected=", ".join(FLOW_UNITS), code="E_UNIT")
    us = flow in _US_UNITS
    kilopascals = inp.option("PRESSURE", "METERS") == "KPA"
    head = _PSI_HEAD_M if us else _KPA_HEAD_M if kilopascals else 1.0
    return Units(FLOW_UNITS[flow], FOOT_M if us else 1.0, INCH_M if us else 1e-3, head)


def _nodes(inp: Inp, units: Units) -> dict[str, Draft]:
    nodes: dict[str, Draft] = {}
    for line in inp.lines("JUNCTIONS"):
        level = line.maybe_number(1, "elevation") * units.length
        draft = Draft(line.text(0, "name"), NodeKind.JUNCTION, line, invert=level)
        draft.properties["base_demand_m3s"] = line.maybe_number(2, "demand") * units.flow
        if pattern := line.maybe(3):
            draft.properties["pattern"] = pattern
        add(nodes, draft)
    for line in inp.lines("RESERVOIRS"):
        draft = Draft(line.text(0, "name"), NodeKind.RESERVOIR, line)
        draft.properties["head_m"] = line.number_at(1, "head") * units.length
        if pattern := line.maybe(2):
            draft.properties["pattern"] = pattern
        add(nodes, draft)
    for line in inp.lines("TANKS"):
        add(nodes, _tank(line, units))
    _add_demands(inp, units, nodes)
    for line in inp.lines("EMITTERS"):
        if node := nodes.get(line.text(0, "junction")):
            node.properties["emitter_coefficient"] = line.number_at(1, "coefficient")
    return nodes


def _tank(line: Line, units: Units) -> Draft:
    draft = Draft(line.text(0, "name"), NodeKind.TANK, line, invert=line.number_at(1, "elevation") * units.length)
    for index, name in enumerate(("initial_level_m", "minimum_level_m", "maximum_level_m", "diameter_m"), start=2):
        draft.properties[name] = line.maybe_number(index, name) * units.length
    draft.properties["minimum_volume_m3"] = line.maybe_number(6, "volume") * units.length**3
    if (curve := line.maybe(7, "*")) != "*":
        draft.properties["volume_curve"] = curve
    if line.maybe(8).upper() == "YES":
        draft.properties["overflow"] = True
    return draft


def _add_demands(inp: Inp, units: Units, nodes: Mapping[str, Draft]) -> None:
    """[DEMANDS] replace the demand of [JUNCTIONS]; several of a node add up. All are times DEMAND MULTIPLIER."""
    sums: dict[str, float] = {}
    for line in inp.lines("DEMANDS"):
        name = line.text(0, "junction")
        if name.upper() == "MULTIPLY" or name not in nodes:
            continue
        sums[name] = sums.get(name, 0.0) + line.number_at(1, "demand") * units.flow
        if pattern := line.maybe(2):
            nodes[name].properties["pattern"] = pattern
    word = inp.option("DEMAND MULTIPLIER", "1")
    try:
        multiplier = float(word)
    except ValueError:
        raise InputError(f"DEMAND MULTIPLIER is {word[:40]!r}", expected="a number", code="E_SYNTAX") from None
    for name, node in nodes.items():
        base = sums.get(name, node.properties.get("base_demand_m3s"))
        if isinstance(base, float):
            node.properties["base_demand_m3s"] = base * multiplier


def _links(inp: Inp, units: Units) -> dict[str, Draft]:
    links: dict[str, Draft] = {}
    darcy = inp.option("HEADLOSS", "H-W") == "D-W"
    for line in inp.lines("PIPES"):
        add(links, _pipe(line, units, darcy=darcy))
    for line in inp.lines("PUMPS"):
        add(links, _pump(line))
    for line in inp.lines("VALVES"):
        add(links, _valve(line, units))
    for line in inp.lines("STATUS"):
        if link := links.get(line.text(0, "link")):
            word = line.text(1, "status").lower()
            if word in ("open", "closed", "active"):
                link.status = word
            else:
                link.properties["setting"] = line.number_at(1, "setting")
    return links


def _link(line: Line, kind: LinkKind) -> Draft:
    return Draft(line.text(0, "name"), kind, line, ends=(line.text(1, "start node"), line.text(2, "end node")))


def _pipe(line: Line, units: Units, *, darcy: bool) -> Draft:
    draft = _link(line, LinkKind.PIPE)
    draft.length = line.number_at(3, "length") * units.length
    draft.diameter = line.number_at(4, "diameter") * units.diameter
    roughness = line.number_at(5, "roughness")
    if darcy:  # thousandths of a foot, or millimetres
        draft.properties["roughness_m"] = roughness * units.length * 1e-3
    else:
        draft.properties["roughness"] = roughness
    words = [word.upper() for word in line.words[6:8]]
    draft.status = "closed" if "CLOSED" in words else "open"
    draft.properties["check_valve"] = "CV" in words
    if words and words[0] not in ("OPEN", "CLOSED", "CV"):
        draft.properties["minor_loss"] = line.number_at(6, "minor loss")
    return draft


def _pump(line: Line) -> Draft:
    draft = _link(line, LinkKind.PUMP)
    draft.status = "open"
    words = line.words[3:]
    if words and not words[0].isalpha():  # EPANET 1: power, or points of the curve, without keywords
        draft.properties["parameters"] = " ".join(words)
    for keyword, value in zip(words[::2], words[1::2], strict=False):
        if keyword.upper() in ("HEAD", "POWER", "SPEED", "PATTERN"):
            draft.properties[keyword.lower()] = value
    return draft


def _valve(line: Line, units: Units) -> Draft:
    draft = _link(line, LinkKind.VALVE)
    draft.diameter = line.number_at(3, "diameter") * units.diameter
    kind = line.text(4, "valve type").upper()
    draft.status = "active"
    draft.properties["valve_type"] = kind
    if kind in ("PRV", "PSV", "PBV"):
        draft.properties["setting_m"] = line.maybe_number(5, "setting") * units.pressure
    elif kind == "FCV":
        draft.properties["setting_m3s"] = line.maybe_number(5, "setting") * units.flow
    elif kind == "GPV":
        draft.properties["head_loss_curve"] = line.maybe(5)
    else:
        draft.properties["setting"] = line.maybe_number(5, "setting")
    if loss := line.maybe_number(6, "minor loss"):
        draft.properties["minor_loss"] = loss
    if curve := line.maybe(7):  # EPANET 2.3: how a PCV opens
        draft.properties["valve_curve"] = curve
    return draft


def _model(path: Path, request: ReadRequest, inp: Inp, nodes: dict[str, Draft], links: dict[str, Draft]) -> Model:
    drawing = layout.read_layout(inp, str)
    points = drawing.node_geometry(nodes)
    lines = drawing.link_geometry((link.name, *link.ends) for link in links.values())
    place = layout.stand(points, path, request)
    issues = [*inp.issues, *layout.undrawn(points, list(nodes), "nodes"), *layout.undrawn(lines, list(links), "links")]
    levels = {node.name: node.invert for node in nodes.values()}
    starts = [levels[link.ends[0]] for link in links.values()]
    ends = [levels[link.ends[1]] for link in links.values()]
    points = layout.points_at(place.moved(points), list(levels.values()))
    lines = layout.lines_at(place.moved(lines), starts, ends)
    system = request.system or System.WATER
    account = {"flow_units": inp.option("UNITS", "GPM"), "encoding": inp.encoding, "system": system.value}
    return Model(
        request.source,
        "epanet",
        place.placement,
        nodes=[
            _tagged_node(node, drawing).node(point, system, request.source)
            for node, point in zip(nodes.values(), points, strict=True)
        ],
        links=[
            _tagged_link(link, drawing).link(line, levels, system, request.source)
            for link, line, *levels in zip(links.values(), lines, starts, ends, strict=True)
        ],
        remainder=inp.remainder,
        issues=issues,
        account=account,
    )


def _tagged_node(draft: Draft, drawing: layout.Layout) -> Draft:
    """Return `draft`, its kind changed to what its tag says a junction is."""
    words = layout.tag_words(draft.tagged(drawing, "node"))
    if draft.kind is NodeKind.JUNCTION:
        draft.kind = next((named for word, named in _NODE_TAGS.items() if word in words), draft.kind)
    return draft


def _tagged_link(draft: Draft, drawing: layout.Layout) -> Draft:
    """Return `draft`, its kind changed to a service where its tag says so of a pipe."""
    words = layout.tag_words(draft.tagged(drawing, "link"))
    if draft.kind is LinkKind.PIPE and words & _SERVICE_TAGS:
        draft.kind = LinkKind.SERVICE
    return draft
