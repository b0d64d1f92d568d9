"""SWMM 5 input files: what a model holds, and what its own file said beyond that, as the engine reads it.

Format: Rossman & Simon, SWMM User's Manual 5.2 (EPA/600/R-22/030), appendix D.2. A model that came from a SWMM file is
written in that file's units with its rain, inflows, curves, controls and options. Any other is written in cubic metres
a second and metres with dynamic-wave routing; what the engine needs and the model lacks gets the defaults below.
"""

from __future__ import annotations

from collections.abc import Sequence

import shapely

from twin.asset import AssetId, Link, LinkKind, Node, NodeKind, ZoneKind
from twin.model import Model
from twin.readers.inp import parse_inp
from twin.readers.swmm import SECTIONS, Units, units_of
from twin.writers import inp
from twin.writers.inp import Remainder, Row, Written, number, numeric, section, word

ROUGHNESS = 0.013
"""Manning's n of a conduit that has none: concrete pipe (User's Manual, table A.7)."""
DIAMETER_M = 0.3
_DEFAULT = """[TITLE]
Written by Chengmai

[OPTIONS]
FLOW_UNITS\tCMS
FLOW_ROUTING\tDYNWAVE
LINK_OFFSETS\tDEPTH
START_DATE\t01/01/2000
START_TIME\t00:00:00
END_DATE\t01/01/2000
END_TIME\t06:00:00
REPORT_STEP\t00:05:00
ROUTING_STEP\t5
"""
_CONDUITS = frozenset((LinkKind.CONDUIT, LinkKind.PIPE, LinkKind.SERVICE))
_SECTIONS = {
    LinkKind.ORIFICE: ("ORIFICES", "SIDE"),
    LinkKind.WEIR: ("WEIRS", "TRANSVERSE"),
    LinkKind.OUTLET: ("OUTLETS", "FUNCTIONAL/DEPTH"),
}
"""Section of a kind of link, and its type where the model has none."""
_KNOWN = frozenset((*_CONDUITS, *_SECTIONS, LinkKind.PUMP))


def write(model: Model) -> Written:
    """Return the input file of a model; its links without both ends, and those SWMM has no kind for, are left out."""
    return _Writer(model).written()


class _Writer:
    """One file under way: the model, its units, the engine's names of its assets, and notes."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.own = inp.has_remainder(model, "swmm")
        self.rest = Remainder.of(model, "swmm", _DEFAULT)
        self.units: Units = units_of(parse_inp(self.rest.text, model.source, SECTIONS), model.source)
        self.notes: list[str] = []
        self.nodes = {node.id: node for node in model.nodes}
        self.links = [
            link
            for link in model.links
            if link.start in self.nodes and link.end in self.nodes and link.kind in _KNOWN
            if not inp.is_out_of_use(link)
        ]
        idle = sum(map(inp.is_out_of_use, model.links))
        self._note(idle, "links left out: out of use, and SWMM has no closed conduit")
        unfit = len(model.links) - len(self.links) - idle
        self._note(unfit, "links left out: without two ends, or of a kind SWMM lacks")
        self.levels = self._levels()
        nodes = inp.names(model.nodes, self._fit, str.upper)
        self.named: dict[AssetId, str] = nodes | inp.names(self.links, self._fit, str.upper)

    def _note(self, count: int, what: str) -> None:
        if count:
            self.notes.append(f"{count} {what}")

    def _fit(self, name: str) -> str:
        """Return a name as its file had it, in quotes where it has blanks; another model's without them."""
        if not self.own:
            return inp.plain_name(name)
        return f'"{name}"' if len(name.split()) > 1 else name

    def _levels(self) -> dict[AssetId, float]:
        """Return each node's invert: its own, or the lowest end of the links that meet there."""
        known = {node.id: inp.level_of(node) for node in self.model.nodes}
        lowest: dict[AssetId, float] = {}
        for link in self.links:
            for end, level in ((link.start, link.start_level_m), (link.end, link.end_level_m)):
                if end is not None and level is not None:
                    lowest[end] = min(level, lowest.get(end, level))
        flat = sum(level is None and node not in lowest for node, level in known.items())
        self._note(flat, "nodes without a level: 0 m taken")
        return {node: lowest.get(node, 0.0) if level is None else level for node, level in known.items()}

    def written(self) -> Written:
        network = [*self._nodes(), *self._links(), *self._sections(), *self._subcatchments(), *self._tags()]
        network += inp.coordinates(self.model.nodes, self.named)
        network += inp.vertices(self.links, self.nodes, self.named)
        counts = {"nodes": len(self.model.nodes), "links": len(self.links)}
        return Written(self.rest.around(self.model, network, self.notes), counts, self.notes)

    def _nodes(self) -> list[str]:
        kinds: dict[NodeKind, list[Node]] = {NodeKind.OUTFALL: [], NodeKind.STORAGE: [], NodeKind.DIVIDER: []}
        junctions: list[Node] = []
        for node in self.model.nodes:
            kinds.get(node.kind, junctions).append(node)
        if not kinds[NodeKind.OUTFALL]:
            self.notes.append("no outfall: SWMM will refuse to run it")
        return [
            *section("JUNCTIONS", "name\tinvert\tdepth\tinitial\tsurcharge\tponded", map(self._junction, junctions)),
            *section("OUTFALLS", "name\tinvert\ttype", map(self._outfall, kinds[NodeKind.OUTFALL])),
            *section("STORAGE", "name\tinvert\tdepth\tinitial\tshape", map(self._storage, kinds[NodeKind.STORAGE])),
            *section("DIVIDERS", "name\tinvert\tdiverts to\ttype", map(self._divider, kinds[NodeKind.DIVIDER])),
        ]

    def _length(self, metres: float | None) -> str:
        return number((metres or 0.0) / self.units.length)

    def _node(self, node: Node) -> Sequence[str]:
        return self.named[node.id], self._length(self.levels[node.id])

    def _depth(self, node: Node) -> str:
        if node.depth_m is None and node.ground_m is not None:
            return self._length(max(node.ground_m - self.levels[node.id], 0.0))
        return self._length(node.depth_m)

    def _junction(self, node: Node) -> Row:
        depths = [self._length(numeric(node, name)) for name in ("initial_depth_m", "surcharge_depth_m")]
        ponded = number(numeric(node, "ponded_area_m2") / self.units.length**2)
        return inp.described((*self._node(node), self._depth(node), *depths, ponded), node)

    def _outfall(self, node: Node) -> Row:
        row = *self._node(node), word(node, "outfall_type", "FREE"), *word(node, "parameters").split()
        return inp.described(row, node)

    def _storage(self, node: Node) -> Row:
        shape = word(node, "storage_shape", "FUNCTIONAL")
        parameters = word(node, "parameters") or ("0 0 10" if shape == "FUNCTIONAL" else "")  # 10 m² at any depth
        row = *self._node(node), self._depth(node), self._length(numeric(node, "initial_depth_m")), shape
        return inp.described((*row, *parameters.split()), node)

    def _divider(self, node: Node) -> Row:
        row = *self._node(node), self._quoted(word(node, "diverts_to", "*")), *word(node, "parameters").split()
        return inp.described(row, node)

    def _quoted(self, name: str) -> str:
        return self._fit(name) if name else "*"

    def _links(self) -> list[str]:
        conduits = [link for link in self.links if link.kind in _CONDUITS]
        pumps = [link for link in self.links if link.kind is LinkKind.PUMP]
        if not self.own:
            rough = sum("roughness" not in link.properties for link in conduits)
            self._note(rough, f"roughnesses taken as {ROUGHNESS:g} (Manning)")
        others = [
            text
            for kind, (name, usual) in _SECTIONS.items()
            for text in section(
                name,
                "name\tfrom\tto\toffset or type",
                [self._regulator(link, usual) for link in self.links if link.kind is kind],
            )
        ]
        columns = "name\tfrom\tto\tlength\troughness\tinlet offset\toutlet offset\tinitial\tmaximum"
        return [
            *section("CONDUITS", columns, map(self._conduit, conduits)),
            *section("PUMPS", "name\tfrom\tto\tcurve\tstatus\tstart-up\tshut-off", map(self._pump, pumps)),
            *others,
        ]

    def _ends(self, link: Link) -> Sequence[str]:
        assert link.start is not None and link.end is not None  # noqa: PT018  # links without were left out
        return self.named[link.id], self.named[link.start], self.named[link.end]

    def _offset(self, node: AssetId | None, level: float | None) -> str:
        """Return a link's level at a node: as a height above its invert, or as it is where the file says levels."""
        invert = self.levels[node] if node is not None else 0.0
        if self.units.offsets_are_levels:
            return self._length(invert if level is None else level)
        offset = 0.0 if level is None else level - invert
        return self._length(offset if self.own else max(offset, 0.0))

    def _conduit(self, link: Link) -> Row:
        length = link.length_m if link.length_m is not None else link.line.length
        offsets = self._offset(link.start, link.start_level_m), self._offset(link.end, link.end_level_m)
        flows = [number(numeric(link, name) / self.units.flow) for name in ("initial_flow_m3s", "maximum_flow_m3s")]
        roughness = number(numeric(link, "roughness", ROUGHNESS))
        return inp.described((*self._ends(link), self._length(length), roughness, *offsets, *flows), link)

    def _pump(self, link: Link) -> Row:
        depths = [self._length(numeric(link, name)) for name in ("startup_depth_m", "shutoff_depth_m")]
        curve = self._quoted(word(link, "curve", "*")) if self.own else "*"  # an ideal pump
        status = "OFF" if inp.is_shut(link) else "ON"
        return inp.described((*self._ends(link), curve, status, *depths), link)

    def _regulator(self, link: Link, usual: str) -> Row:
        kind, offset = word(link, "type", usual), self._offset(link.start, link.start_level_m)
        pair = (offset, kind) if link.kind is LinkKind.OUTLET else (kind, offset)
        return inp.described((*self._ends(link), *pair, *word(link, "parameters").split()), link)

    def _sections(self) -> list[str]:
        rows = [row for link in self.links if link.kind is not LinkKind.PUMP and (row := self._cross_section(link))]
        losses = [
            (
                self.named[link.id],
                *(number(numeric(link, name)) for name in ("entry_loss", "exit_loss", "average_loss")),
                "YES" if link.properties.get("flap_gate") else "NO",
                number(numeric(link, "seepage")),
            )
            for link in self.links
            if "entry_loss" in link.properties
        ]
        unknown = sum(link.diameter_m is None and link.kind in _CONDUITS for link in self.links)
        if not self.own:
            self._note(unknown, f"diameters taken as {DIAMETER_M} m")
        return [
            *section("XSECTIONS", "link\tshape\tgeometry", rows),
            *section("LOSSES", "link\tentry\texit\taverage\tflap gate\tseepage", losses),
        ]

    def _cross_section(self, link: Link) -> Row:
        if shape := word(link, "shape"):
            return self.named[link.id], shape.upper(), *word(link, "section_geometry").split()
        if self.own or link.kind is LinkKind.OUTLET:
            return ()
        height = self._length(DIAMETER_M if link.diameter_m is None else link.diameter_m)
        if link.width_m is not None or link.kind not in _CONDUITS:
            width = self._length(link.width_m) if link.width_m else height
            return self.named[link.id], "RECT_CLOSED", height, width, "0", "0"
        return self.named[link.id], "CIRCULAR", height, "0", "0", "0"

    def _subcatchments(self) -> list[str]:
        areas = [zone for zone in self.model.zones if zone.kind is ZoneKind.SUBCATCHMENT]
        if not self.own:
            self._note(len(areas), "subcatchments left out: their rain and infiltration are not known")
            return []
        rows: list[Row] = []
        corners: list[Row] = []
        for zone in areas:
            name, of = self._fit(zone.name), zone.properties
            size, share, width, slope, curb = (
                float(value) if isinstance(value := of.get(key), int | float) else 0.0
                for key in ("area_m2", "impervious_share", "width_m", "slope", "curb_length_m")
            )
            rain, outlet, snow = (str(of.get(key) or "") for key in ("rain_gage", "outlet", "snow_pack"))
            sizes = number(size / self.units.area), number(share * 100), self._length(width), number(slope * 100)
            rows.append((name, self._quoted(rain), self._quoted(outlet), *sizes, self._length(curb), snow))
            rings = shapely.get_exterior_ring(shapely.get_parts(zone.area))
            corners += [(name, repr(x), repr(y)) for x, y in shapely.get_coordinates(rings[:1])[:-1].tolist()]
        return [
            *section("SUBCATCHMENTS", "name\train gage\toutlet\tarea\t%imperv\twidth\t%slope\tcurb\tsnow pack", rows),
            *section("POLYGONS", "subcatchment\tx\ty", corners),
        ]

    def _tags(self) -> list[str]:
        rows: list[Row] = [
            (what, self.named[asset.id], tag)
            for what, assets in (("Node", self.model.nodes), ("Link", self.links))
            for asset in assets
            if (tag := word(asset, "tag") or ("inlet" if asset.kind == NodeKind.INLET else ""))
        ]
        areas = [zone for zone in self.model.zones if zone.kind is ZoneKind.SUBCATCHMENT and self.own]
        rows += [("Subcatch", self._fit(zone.name), str(tag)) for zone in areas if (tag := zone.properties.get("tag"))]
        return section("TAGS", "object\tname\ttag", rows)
