"""SWMM 5 input files: manholes, outfalls, storage, conduits, pumps, orifices, weirs, outlets, subcatchments, in SI.

Format: Rossman & Simon, SWMM User's Manual 5.2 (EPA/600/R-22/030), appendix D.2. Flow units decide the rest: with CFS,
GPM or MGD lengths are feet and areas acres, else metres and hectares. A junction is taken for a manhole. Names are
compared without regard to case, as the engine does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twin.asset import LinkKind, NodeKind, System
from twin.errors import InputError
from twin.model import Issue, Model, ReadRequest
from twin.readers import layout, subcatchments
from twin.readers.draft import Draft, add, join_ends
from twin.readers.epanet import FLOW_UNITS, FOOT_M
from twin.readers.inp import Inp, Line, read_inp, section_names
from twin.readers.sections import add_sections

_ACRE_M2 = 43_560 * FOOT_M**2
_HECTARE_M2 = 10_000.0
_US_UNITS = frozenset(("CFS", "GPM", "MGD"))
_SI_UNITS = frozenset(("CMS", "LPS", "MLD"))

SECTIONS = frozenset(
    (
        "TITLE",
        "OPTIONS",
        "REPORT",
        "FILES",
        "RAINGAGES",
        "EVAPORATION",
        "TEMPERATURE",
        "ADJUSTMENTS",
        "SUBCATCHMENTS",
        "SUBAREAS",
        "INFILTRATION",
        "LID_CONTROLS",
        "LID_USAGE",
        "AQUIFERS",
        "GROUNDWATER",
        "GWF",
        "SNOWPACKS",
        "JUNCTIONS",
        "OUTFALLS",
        "DIVIDERS",
        "STORAGE",
        "CONDUITS",
        "PUMPS",
        "ORIFICES",
        "WEIRS",
        "OUTLETS",
        "XSECTIONS",
        "TRANSECTS",
        "STREETS",
        "INLETS",
        "INLET_USAGE",
        "LOSSES",
        "CONTROLS",
        "POLLUTANTS",
        "LANDUSES",
        "COVERAGES",
        "LOADINGS",
        "BUILDUP",
        "WASHOFF",
        "TREATMENT",
        "INFLOWS",
        "DWF",
        "RDII",
        "HYDROGRAPHS",
        "CURVES",
        "TIMESERIES",
        "PATTERNS",
        "MAP",
        "POLYGONS",
        "COORDINATES",
        "VERTICES",
        "LABELS",
        "SYMBOLS",
        "BACKDROP",
        "TAGS",
        "PROFILES",
        "EVENTS",
        "END",
    )
)
HELD = frozenset(
    (
        *("JUNCTIONS", "OUTFALLS", "STORAGE", "DIVIDERS", "CONDUITS", "PUMPS", "ORIFICES", "WEIRS", "OUTLETS"),
        *("XSECTIONS", "LOSSES", "SUBCATCHMENTS", "POLYGONS", "TAGS", "COORDINATES", "VERTICES", "END"),
    )
)
"""Sections that the assets hold whole; all others are kept as text in `Model.remainder`."""
_OURS_ALONE = frozenset(("CONDUITS", "OUTFALLS", "SUBCATCHMENTS", "XSECTIONS", "RAINGAGES", "EVAPORATION", "DWF"))
_SERVICES = {
    "sanitary": "sanitary",
    "sewage": "sanitary",
    "污水": "sanitary",
    "storm": "storm",
    "rain": "storm",
    "雨水": "storm",
    "combined": "combined",
    "合流": "combined",
}
_INLET_TAGS = {"inlet", "雨水口", "雨水篦"}
_KEY = str.upper


@dataclass(frozen=True, slots=True)
class Units:
    """Factors to SI: m³/s, m, m²; whether link offsets are levels instead of heights above the node's invert."""

    flow: float
    length: float
    area: float
    offsets_are_levels: bool


class SwmmReader:
    """Reads SWMM 5 input files (entry point ``swmm``)."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file has sections that SWMM knows and EPANET does not."""
        return path.suffix.lower() in (".inp", ".txt") and bool(section_names(path) & _OURS_ALONE)

    def read(self, path: Path, request: ReadRequest) -> Model:
        """Read the network; raises InputError E_SYNTAX, E_NODE, E_ID or E_UNIT with the line."""
        inp = read_inp(path, SECTIONS, held=HELD, described_above=True)
        units = units_of(inp, str(path))
        nodes, links = _nodes(inp, units), _links(inp, units)
        if not nodes and not inp.lines("SUBCATCHMENTS"):
            raise InputError("has no nodes", where=str(path), expected="[JUNCTIONS] with rows", code="E_EMPTY")
        join_ends(nodes, links, _KEY)
        return _model(path, request, inp, units, (nodes, links))


def units_of(inp: Inp, where: str) -> Units:
    """Return the units of an input file, which `where` names in an error; InputError E_UNIT where it has another."""
    flow = inp.option("FLOW_UNITS", "CFS")
    if flow not in _US_UNITS | _SI_UNITS:
        wanted = ", ".join(sorted(_US_UNITS | _SI_UNITS))
        raise InputError(f"flow unit {flow[:20]!r}", where=where, expected=wanted, code="E_UNIT")
    us = flow in _US_UNITS
    levels = inp.option("LINK_OFFSETS", "DEPTH").startswith("ELEV")
    return Units(FLOW_UNITS[flow], FOOT_M if us else 1.0, _ACRE_M2 if us else _HECTARE_M2, levels)


def _nodes(inp: Inp, units: Units) -> dict[str, Draft]:
    nodes: dict[str, Draft] = {}
    for line in inp.lines("JUNCTIONS"):
        draft = _node(line, NodeKind.MANHOLE, units)
        _depth(draft, line.maybe_number(2, "maximum depth") * units.length)
        _noted(draft, "initial_depth_m", line.maybe_number(3, "initial depth") * units.length)
        _noted(draft, "surcharge_depth_m", line.maybe_number(4, "surcharge depth") * units.length)
        _noted(draft, "ponded_area_m2", line.maybe_number(5, "ponded area") * units.length**2)
        add(nodes, draft, _KEY)
    for line in inp.lines("OUTFALLS"):
        draft = _node(line, NodeKind.OUTFALL, units)
        draft.properties["outfall_type"] = line.maybe(2, "FREE").upper()
        _noted(draft, "parameters", " ".join(line.words[3:]))
        add(nodes, draft, _KEY)
    for line in inp.lines("STORAGE"):
        draft = _node(line, NodeKind.STORAGE, units)
        _depth(draft, line.number_at(2, "maximum depth") * units.length)
        _noted(draft, "initial_depth_m", line.maybe_number(3, "initial depth") * units.length)
        draft.properties["storage_shape"] = line.maybe(4).upper()
        _noted(draft, "parameters", " ".join(line.words[5:]))
        add(nodes, draft, _KEY)
    for line in inp.lines("DIVIDERS"):
        draft = _node(line, NodeKind.DIVIDER, units)
        draft.properties["diverts_to"] = line.maybe(2)
        _noted(draft, "parameters", " ".join(line.words[3:]))
        add(nodes, draft, _KEY)
    _add_inflows(inp, units, nodes)
    return nodes


def _node(line: Line, kind: NodeKind, units: Units) -> Draft:
    return Draft(line.text(0, "name"), kind, line, invert=line.maybe_number(1, "elevation") * units.length)


def _noted(draft: Draft, name: str, value: str | float) -> None:
    """Note what the file says beyond a default of nothing; `parameters` are the words of its row, in its units."""
    if value:
        draft.properties[name] = value


def _depth(draft: Draft, depth: float) -> None:
    """Note a depth; zero means that the file does not say where the ground is."""
    if depth > 0 and draft.invert is not None:
        draft.ground = draft.invert + depth
        draft.depth = depth


def _add_inflows(inp: Inp, units: Units, nodes: Mapping[str, Draft]) -> None:
    """Note what flows into a node from outside, in dry weather, and out of a street's inlet."""
    for line in inp.lines("INFLOWS"):
        if (node := nodes.get(line.text(0, "node").upper())) and line.maybe(1).upper() == "FLOW":
            scale = line.maybe_number(5, "scale factor", 1.0)
            _noted(node, "inflow_series", line.maybe(2))
            _noted(node, "inflow_m3s", line.maybe_number(6, "baseline") * scale * units.flow)
    for line in inp.lines("DWF"):
        if (node := nodes.get(line.text(0, "node").upper())) and line.maybe(1).upper() == "FLOW":
            node.properties["dry_weather_flow_m3s"] = line.maybe_number(2, "average") * units.flow
    for line in inp.lines("INLET_USAGE"):  # an inlet of a street drains into this node
        if node := nodes.get(line.maybe(2).upper()):
            node.properties["inlet_of"] = line.text(0, "conduit")


def _links(inp: Inp, units: Units) -> dict[str, Draft]:
    links: dict[str, Draft] = {}
    for line in inp.lines("CONDUITS"):
        draft = _link(line, LinkKind.CONDUIT, units, (5, 6))
        draft.length = line.number_at(3, "length") * units.length
        draft.properties["roughness"] = line.number_at(4, "roughness")
        _noted(draft, "initial_flow_m3s", line.maybe_number(7, "initial flow") * units.flow)
        _noted(draft, "maximum_flow_m3s", line.maybe_number(8, "maximum flow") * units.flow)
        add(links, draft, _KEY)
    for line in inp.lines("PUMPS"):
        draft = _link(line, LinkKind.PUMP, units)
        draft.properties["curve"] = line.maybe(3)
        draft.status = "closed" if line.maybe(4).upper() == "OFF" else "open"
        _noted(draft, "startup_depth_m", line.maybe_number(5, "start-up depth") * units.length)
        _noted(draft, "shutoff_depth_m", line.maybe_number(6, "shut-off depth") * units.length)
        add(links, draft, _KEY)
    for section, kind, offset in (
        ("ORIFICES", LinkKind.ORIFICE, 4),
        ("WEIRS", LinkKind.WEIR, 4),
        ("OUTLETS", LinkKind.OUTLET, 3),
    ):
        for line in inp.lines(section):
            draft = _link(line, kind, units, (offset,))
            draft.properties["type"] = line.maybe(4 if kind is LinkKind.OUTLET else 3).upper()
            _noted(draft, "parameters", " ".join(line.words[5:]))
            add(links, draft, _KEY)
    add_sections(inp, units.length, links)
    _add_losses(inp, links)
    for line in inp.lines("INLET_USAGE"):
        if link := links.get(line.text(0, "conduit").upper()):
            link.properties |= {"inlet": line.maybe(1), "inlet_node": line.maybe(2)}
    return links


def _link(line: Line, kind: LinkKind, units: Units, offsets: Sequence[int] = ()) -> Draft:
    ends = line.text(1, "from node"), line.text(2, "to node")
    levels = [_offset(line, index, units) for index in offsets] + [None, None]
    return Draft(line.text(0, "name"), kind, line, ends, offsets=(levels[0], levels[1]))


def _offset(line: Line, index: int, units: Units) -> float | None:
    """Return an offset in metres; None for ``*`` (at the invert)."""
    word = line.maybe(index, "*" if units.offsets_are_levels else "0")
    return None if word == "*" else line.number_at(index, "offset") * units.length if line.maybe(index) else 0.0


def _add_losses(inp: Inp, links: Mapping[str, Draft]) -> None:
    for line in inp.lines("LOSSES"):
        if link := links.get(line.text(0, "link").upper()):
            for index, name in enumerate(("entry_loss", "exit_loss", "average_loss"), start=1):
                link.properties[name] = line.maybe_number(index, name)
            link.properties["flap_gate"] = line.maybe(4).upper() == "YES"
            _noted(link, "seepage", line.maybe_number(5, "seepage"))


def _level(node: Draft, offset: float | None, units: Units) -> float | None:
    """Return the level of a link's invert at `node`; an offset is a height above the node's invert, or a level."""
    if offset is not None and units.offsets_are_levels:
        return offset
    return None if node.invert is None else node.invert + (offset or 0.0)


def _model(
    path: Path,
    request: ReadRequest,
    inp: Inp,
    units: Units,
    drafts: tuple[dict[str, Draft], dict[str, Draft]],
) -> Model:
    nodes, links = drafts
    drawing = layout.read_layout(inp, _KEY)
    names, link_names = [node.name for node in nodes.values()], [link.name for link in links.values()]
    points = drawing.node_geometry(names)
    lines = drawing.link_geometry((link.name, *link.ends) for link in links.values())
    areas, zone_names = subcatchments.areas(inp)
    place = layout.stand(np.concatenate([points, areas]), path, request)
    issues: list[Issue] = [*inp.issues, *layout.undrawn(points, names, "nodes")]
    issues += [*layout.undrawn(lines, link_names, "links"), *layout.undrawn(areas, zone_names, "subcatchments")]
    starts = [_level(nodes[link.ends[0].upper()], link.offsets[0], units) for link in links.values()]
    ends = [_end_level(nodes[link.ends[1].upper()], link, units) for link in links.values()]
    points = layout.points_at(place.moved(points), [node.invert for node in nodes.values()])
    lines = layout.lines_at(place.moved(lines), starts, ends)
    system = request.system or System.DRAINAGE
    account = {
        "flow_units": inp.option("FLOW_UNITS", "CFS"),
        "link_offsets": "elevation" if units.offsets_are_levels else "depth",
        "encoding": inp.encoding,
        "system": system.value,
    }
    return Model(
        request.source,
        "swmm",
        place.placement,
        nodes=[
            _tagged_node(node, drawing).node(point, system, request.source)
            for node, point in zip(nodes.values(), points, strict=True)
        ],
        links=[
            _tagged_link(link, drawing).link(line, levels, system, request.source)
            for link, line, *levels in zip(links.values(), lines, starts, ends, strict=True)
        ],
        zones=subcatchments.zones(
            inp,
            place.moved(areas),
            system,
            request.source,
            tags=drawing.zone_tags,
            length_m=units.length,
            area_m2=units.area,
        ),
        remainder=inp.remainder,
        issues=issues,
        account=account,
    )


def _end_level(node: Draft, link: Draft, units: Units) -> float | None:
    """Return the level at the downstream end; only conduits name one, pumps, weirs and the like end at the invert."""
    return _level(node, link.offsets[1] if link.kind is LinkKind.CONDUIT else None, units)


def _service(tag: str) -> str | None:
    words = layout.tag_words(tag)
    return next((service for word, service in _SERVICES.items() if word in words), None)


def _tagged_node(draft: Draft, drawing: layout.Layout) -> Draft:
    """Return `draft` with the service that its tag names; a manhole tagged as one is an inlet."""
    tag = draft.tagged(drawing, "node")
    draft.service = _service(tag)
    if draft.kind is NodeKind.MANHOLE and layout.tag_words(tag) & _INLET_TAGS:
        draft.kind = NodeKind.INLET
    return draft


def _tagged_link(draft: Draft, drawing: layout.Layout) -> Draft:
    """Return `draft` with the service that its tag names, else the one that both its ends' tags name."""
    ends = {_service(drawing.tag("node", end)) for end in draft.ends}
    draft.service = _service(draft.tagged(drawing, "link")) or (ends.pop() if len(ends) == 1 else None)
    return draft
