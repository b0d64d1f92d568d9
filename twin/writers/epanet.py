"""EPANET 2.2 input files: what a model holds, and what its own file said beyond that, as the engine reads it.

Format: Rossman et al., EPANET 2.2 User Manual (EPA/600/R-20/133), appendix C.2. A model that came from an EPANET file
is written in that file's units with its patterns, curves, controls and options. Any other is written in litres a
second and metres with Hazen-Williams losses, and what the engine needs and the model lacks gets the defaults below.
"""

from __future__ import annotations

from collections.abc import Sequence

from twin.asset import AssetId, Link, LinkKind, Node, NodeKind
from twin.model import Model
from twin.readers.epanet import SECTIONS, Units, units_of
from twin.readers.inp import Inp, parse_inp
from twin.writers import inp
from twin.writers.inp import LONGEST_NAME, Remainder, Row, Written, number, numeric, section, word

ROUGHNESS = 130.0
"""Hazen-Williams coefficient of a pipe that has none: new cast iron (User Manual, table 3.2)."""
DIAMETER_M = 0.1
TANK_M = {"initial_level_m": 1.0, "minimum_level_m": 0.0, "maximum_level_m": 2.0, "diameter_m": 10.0}
PUMP_KW = "1"
SHORTEST_M = 0.01
"""The engine refuses a pipe without length."""

_DEFAULT = """[TITLE]
Written by Chengmai

[OPTIONS]
UNITS\tLPS
HEADLOSS\tH-W

[TIMES]
DURATION\t0
"""
_PIPES = frozenset((LinkKind.PIPE, LinkKind.CONDUIT, LinkKind.SERVICE))
_TAGGED_NODES = frozenset((NodeKind.HYDRANT, NodeKind.METER, NodeKind.CUSTOMER, NodeKind.VALVE))
_TAGGED_LINKS = frozenset((LinkKind.SERVICE,))
"""Kinds that EPANET does not have: a tag says them, and the reader takes it."""


def write(model: Model) -> Written:
    """Return the input file of a model; its links without both ends, and those EPANET has no kind for, are left out."""
    return _Writer(model).written()


class _Writer:
    """One file under way: the model, its units, the engine's names of its assets, and notes."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.own = inp.has_remainder(model, "epanet")
        self.rest = Remainder.of(model, "epanet", _DEFAULT)
        self.options: Inp = parse_inp(self.rest.text, model.source, SECTIONS)
        self.units: Units = units_of(self.options, model.source)
        self.notes: list[str] = []
        nodes = {node.id: node for node in model.nodes}
        self.links = [link for link in model.links if link.start in nodes and link.end in nodes and _known(link)]
        self._note(len(model.links) - len(self.links), "links left out: without two ends, or of a kind EPANET lacks")
        joined = {end for link in self.links for end in (link.start, link.end)}
        self.nodes = [node for node in model.nodes if self.own or node.id in joined]
        self._note(len(model.nodes) - len(self.nodes), "nodes left out: no link joins them")
        fit = str if self.own else _fit
        self.named: dict[AssetId, str] = inp.names(self.nodes, fit, str) | inp.names(self.links, fit, str)

    def _note(self, count: int, what: str) -> None:
        if count:
            self.notes.append(f"{count} {what}")

    def written(self) -> Written:
        network = (*self._nodes(), *self._links(), *self._tags())
        by_id = {node.id: node for node in self.nodes}
        drawing = (*inp.coordinates(self.nodes, self.named), *inp.vertices(self.links, by_id, self.named))
        counts = {"nodes": len(self.nodes), "links": len(self.links)}
        return Written(self.rest.around(self.model, (*network, *drawing), self.notes), counts, self.notes)

    def _nodes(self) -> list[str]:
        reservoirs = [node for node in self.nodes if self._is_reservoir(node)]
        tanks = [node for node in self.nodes if node.kind is NodeKind.TANK]
        others = [node for node in self.nodes if node.kind is not NodeKind.TANK and not self._is_reservoir(node)]
        if not reservoirs and not tanks:
            self.notes.append("no reservoir or tank: EPANET will refuse to run it")
        flat = sum(inp.level_of(node) is None and "head_m" not in node.properties for node in self.nodes)
        self._note(flat, "nodes without a level: 0 m taken")
        shut = sum(node.kind is NodeKind.VALVE and inp.is_shut(node) for node in others)
        self._note(shut, "closed valves at nodes: EPANET has valves as links only, so water passes them in the file")
        emitters = [node for node in others if "emitter_coefficient" in node.properties]
        return [
            *section("JUNCTIONS", "name\televation\tdemand\tpattern", map(self._junction, others)),
            *section("RESERVOIRS", "name\thead\tpattern", map(self._reservoir, reservoirs)),
            *section("TANKS", "name\televation\tinitial\tminimum\tmaximum\tdiameter\tvolume", map(self._tank, tanks)),
            *section(
                "EMITTERS",
                "junction\tcoefficient",
                [(self.named[node.id], number(numeric(node, "emitter_coefficient"))) for node in emitters],
            ),
        ]

    def _is_reservoir(self, node: Node) -> bool:
        return node.kind is NodeKind.RESERVOIR or (node.kind is NodeKind.SOURCE and not self.own)

    def _level(self, node: Node) -> float:
        return (inp.level_of(node) or 0.0) / self.units.length

    def _junction(self, node: Node) -> Row:
        multiplier = float(self.options.option("DEMAND MULTIPLIER", "1"))
        demand = numeric(node, "base_demand_m3s") / self.units.flow / multiplier if multiplier else 0.0
        row = self.named[node.id], number(self._level(node)), number(demand), *self._pattern(node)
        return inp.described(row, node)

    def _pattern(self, node: Node) -> Sequence[str]:
        pattern = word(node, "pattern") if self.own else ""
        return (pattern,) if pattern else ()

    def _reservoir(self, node: Node) -> Row:
        head = node.properties.get("head_m")
        level = float(head) / self.units.length if isinstance(head, int | float) else self._level(node)
        return inp.described((self.named[node.id], number(level), *self._pattern(node)), node)

    def _tank(self, node: Node) -> Row:
        levels = [number(numeric(node, name, default) / self.units.length) for name, default in TANK_M.items()]
        volume = number(numeric(node, "minimum_volume_m3") / self.units.length**3)
        curve = word(node, "volume_curve") if self.own else ""
        overflow = bool(node.properties.get("overflow"))
        extra = ((curve or "*", "YES") if overflow else (curve,)) if curve or overflow else ()
        return inp.described((self.named[node.id], number(self._level(node)), *levels, volume, *extra), node)

    def _links(self) -> list[str]:
        pipes = [link for link in self.links if link.kind in _PIPES]
        pumps = [link for link in self.links if link.kind in (LinkKind.PUMP, LinkKind.COMPRESSOR)]
        valves = [link for link in self.links if link.kind in (LinkKind.VALVE, LinkKind.REGULATOR)]
        self._note(sum(map(inp.is_out_of_use, pipes)), "pipes out of use: written as closed")
        self._note(sum(link.diameter_m is None for link in (*pipes, *valves)), f"diameters taken as {DIAMETER_M} m")
        if not self.own:
            rough = sum("roughness" not in link.properties for link in pipes)
            self._note(rough, f"roughnesses taken as {ROUGHNESS:g} (Hazen-Williams)")
        return [
            *section("PIPES", "name\tstart\tend\tlength\tdiameter\troughness\tloss\tstatus", map(self._pipe, pipes)),
            *section("PUMPS", "name\tstart\tend\tparameters", map(self._pump, pumps)),
            *section("VALVES", "name\tstart\tend\tdiameter\ttype\tsetting\tloss", map(self._valve, valves)),
            *section("STATUS", "link\tstatus", [row for link in self.links for row in self._status(link)]),
        ]

    def _ends(self, link: Link) -> Sequence[str]:
        assert link.start is not None and link.end is not None  # noqa: PT018  # links without were left out
        return self.named[link.id], self.named[link.start], self.named[link.end]

    def _diameter(self, link: Link) -> str:
        return number((DIAMETER_M if link.diameter_m is None else link.diameter_m) / self.units.diameter)

    def _pipe(self, link: Link) -> Row:
        length = link.length_m if link.length_m is not None else link.line.length
        length = length if self.own else max(length, SHORTEST_M)
        darcy = self.options.option("HEADLOSS", "H-W") == "D-W"
        metres = link.properties.get("roughness_m")
        if darcy and isinstance(metres, int | float):
            roughness = metres * 1e3 / self.units.length
        else:
            roughness = numeric(link, "roughness", ROUGHNESS)
        closed = "CLOSED" if inp.is_shut(link) else "OPEN"
        loss = (number(numeric(link, "minor_loss")),) if "minor_loss" in link.properties else ()
        status = "CV" if link.properties.get("check_valve") else closed
        sizes = number(length / self.units.length), self._diameter(link), number(roughness)
        return inp.described((*self._ends(link), *sizes, *loss, status), link)

    def _pump(self, link: Link) -> Row:
        keywords = [
            part
            for keyword in ("head", "power", "speed", "pattern")
            if (value := word(link, keyword)) and (self.own or keyword == "power")
            for part in (keyword.upper(), value)
        ]
        parameters = word(link, "parameters") if self.own else ""
        if not parameters and not keywords:
            self.notes.append(f"pump {self.named[link.id]} has no curve: {PUMP_KW} kW taken")
            keywords = ["POWER", PUMP_KW]
        return inp.described((*self._ends(link), *(parameters.split() or keywords)), link)

    def _valve(self, link: Link) -> Row:
        kind = word(link, "valve_type", "TCV")
        kind = "TCV" if kind == "GPV" and not self.own else kind  # its curve is not there
        if kind in ("PRV", "PSV", "PBV"):
            setting = number(numeric(link, "setting_m") / self.units.pressure)
        elif kind == "FCV":
            setting = number(numeric(link, "setting_m3s") / self.units.flow)
        elif kind == "GPV":
            setting = word(link, "head_loss_curve", "*")
        else:
            setting = number(numeric(link, "setting"))
        curve = word(link, "valve_curve")
        loss = numeric(link, "minor_loss")
        extra = (number(loss), curve) if curve else (number(loss),) if loss else ()
        return inp.described((*self._ends(link), self._diameter(link), kind, setting, *extra), link)

    def _status(self, link: Link) -> list[Row]:
        name = self.named[link.id]
        rows: list[Row] = []
        setting = link.properties.get("setting")
        own_column = link.kind is LinkKind.VALVE and word(link, "valve_type", "TCV") not in (
            *("PRV", "PSV", "PBV", "FCV", "GPV"),
        )
        if isinstance(setting, int | float) and not own_column:
            rows.append((name, number(setting)))
        status = "closed" if inp.is_shut(link) else link.status
        stands_in_row = link.kind in _PIPES and not (status == "closed" and link.properties.get("check_valve"))
        usual = "active" if link.kind is LinkKind.VALVE else "open"
        if not stands_in_row and status in ("open", "closed", "active") and status != usual:
            rows.append((name, status.upper()))
        return rows

    def _tags(self) -> list[str]:
        rows: list[Row] = []
        kinds = ("NODE", self.nodes, _TAGGED_NODES), ("LINK", self.links, _TAGGED_LINKS)
        for what, assets, tagged in kinds:
            for asset in assets:
                tag = word(asset, "tag") or (asset.kind.value if asset.kind in tagged else "")
                if tag:
                    rows.append((what, self.named[asset.id], tag))
        return section("TAGS", "object\tname\ttag", rows)


def _known(link: Link) -> bool:
    return link.kind in _PIPES or link.kind in (
        *(LinkKind.PUMP, LinkKind.COMPRESSOR, LinkKind.VALVE, LinkKind.REGULATOR),
    )


def _fit(name: str) -> str:
    """Return a name that EPANET takes: at most 31 bytes, without what would end it."""
    return inp.plain_name(name).encode()[:LONGEST_NAME].decode(errors="ignore")
