"""pandapipes networks saved as JSON (gas, water and heat), decoded without pandapipes.

Such a file is a tree of ``{"_module", "_class", "_object"}``; tables are pandas DataFrames in JSON of their own, with
an index and a row a component (`pandapipes.io.file_io.to_json`). Lengths come in km, diameters in m (newer files:
``inner_diameter_mm``), heights in m. The file names no CRS, so it stands in the caller's or nowhere.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from shapely import LineString, Point

from twin.asset import AssetId, Attribute, Link, LinkKind, Node, NodeKind, System, asset_id
from twin.errors import InputError
from twin.model import Issue, Model, ReadRequest
from twin.readers import layout
from twin.readers.description import described_material
from twin.readers.text import decode

Row: TypeAlias = Mapping[str, Any]

_MARK = b'"pandapipesNet"'
_HEAD = 4096
_LINKS = {
    "pipe": LinkKind.PIPE,
    "valve": LinkKind.VALVE,
    "pump": LinkKind.PUMP,
    "compressor": LinkKind.COMPRESSOR,
    "press_control": LinkKind.REGULATOR,
    "pressure_control": LinkKind.REGULATOR,
    "flow_control": LinkKind.VALVE,
    "circ_pump_pressure": LinkKind.PUMP,
    "circ_pump_mass": LinkKind.PUMP,
    "heat_exchanger": LinkKind.SERVICE,
    "heat_consumer": LinkKind.SERVICE,
}
_HEAT = frozenset(("heat_exchanger", "heat_consumer", "circ_pump_pressure", "circ_pump_mass"))
_ENDS = (("from_junction", "to_junction"), ("junction", "element"), ("return_junction", "flow_junction"))
"""Columns that name a link's ends: the usual ones, those of newer valves, those of circulation pumps."""
_AT_JUNCTIONS = {"ext_grid": "p_bar", "source": "mdot_kg_per_s", "sink": "mdot_kg_per_s"}
_DRAWING = frozenset(("junction", "junction_geodata", "pipe_geodata", "controller"))


@dataclass(frozen=True, slots=True)
class _Draft:
    """A link before it is drawn: its table, its row, the indices of its junctions."""

    table: str
    row: Row
    ends: tuple[Any, Any]


class PandapipesReader:
    """Reads the JSON of pandapipes nets (entry point ``pandapipes``)."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file begins as pandapipes writes it."""
        if path.suffix.lower() != ".json":
            return False
        with path.open("rb") as file:
            return _MARK in file.read(_HEAD)

    def read(self, path: Path, request: ReadRequest) -> Model:
        """Read the network.

        Raises InputError: E_FORMAT no whole net, E_EMPTY no junction, E_NODE a link to a junction that is not there,
        E_SYNTAX a value that cannot be what it should, E_ID an index used twice.
        """
        net = _net(path)
        tables = {name: rows for name, value in net.items() if (rows := _rows(path, name, value)) is not None}
        junctions = {row["index"]: row for row in tables.get("junction", ())}
        if not junctions:
            raise InputError("has no junctions", where=str(path), expected="a pandapipes net", code="E_EMPTY")
        if len(junctions) < len(tables["junction"]):
            raise InputError("has two junctions of one index", where=str(path), code="E_ID")
        return _model(path, request, _fluid(net.get("fluid")), tables, junctions)


def _model(
    path: Path, request: ReadRequest, fluid: Row, tables: Mapping[str, Sequence[Row]], junctions: Mapping[Any, Row]
) -> Model:
    heights = {index: _number(path, row, "height_m") for index, row in junctions.items()}
    corners = _corners(path, tables)
    drafts = _drafts(path, tables, junctions)
    names = dict(zip(junctions, _names(list(junctions.values()), "junction"), strict=True))
    link_names = _names([draft.row for draft in drafts], *(draft.table for draft in drafts))
    points = layout.array([Point(corners[index]) if index in corners else Point() for index in junctions])
    bends = {row["index"]: row.get("coords") for row in tables.get("pipe_geodata", ())}
    shapes = layout.array([_line(path, draft, corners, bends) for draft in drafts])
    place = layout.stand(points, path, request)
    issues = [*layout.undrawn(points, list(names.values()), "nodes"), *layout.undrawn(shapes, link_names, "links")]
    levels = [(heights[draft.ends[0]], heights[draft.ends[1]]) for draft in drafts]
    placed = layout.points_at(place.moved(points), list(heights.values()))
    lines = layout.lines_at(place.moved(shapes), [start for start, _ in levels], [end for _, end in levels])
    system = request.system or _system(fluid, tables)
    ids = {index: asset_id(request.source, "node", name) for index, name in names.items()}
    served = _at_junctions(path, tables)
    taken = {*_LINKS, *_AT_JUNCTIONS, *_DRAWING}
    other = {name: len(rows) for name, rows in tables.items() if rows and name not in taken}
    issues += [Issue("E_TABLE", f"table {name} is not known; {count} rows left out") for name, count in other.items()]
    issues += _valves_at_pipes(tables)
    return Model(
        request.source,
        "pandapipes",
        place.placement,
        nodes=[
            _node(
                ids[index], names[index], row, point, system=system, height=heights[index], served=served.get(index, {})
            )
            for (index, row), point in zip(junctions.items(), placed, strict=True)
        ],
        links=[
            _link(path, asset_id(request.source, "link", name), draft, line, ids=ids, system=system, levels=ends)
            for draft, name, line, ends in zip(drafts, link_names, lines, levels, strict=True)
        ],
        issues=issues,
        account={
            "fluid": str(fluid.get("name", "")),
            "system": system.value,
            "tables": {name: len(rows) for name, rows in tables.items() if rows},
        },
    )


def _net(path: Path) -> Row:
    text, _ = decode(path.read_bytes(), str(path))
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(
            "is no whole JSON", where=str(path), expected="a saved pandapipes net", code="E_TRUNCATED"
        ) from None
    net = whole.get("_object") if isinstance(whole, dict) else None
    if not isinstance(net, dict):
        raise InputError("is no pandapipes net", where=str(path), expected="a saved net", code="E_FORMAT")
    return net


def _rows(path: Path, name: str, value: Any) -> list[Row] | None:
    """Return the rows of a DataFrame with their index under ``index``; None for what is no DataFrame."""
    if not isinstance(value, dict) or value.get("_class") not in ("DataFrame", "GeoDataFrame"):
        return None
    where = f"{path}: table {name}"
    inner = value.get("_object")
    try:
        table = json.loads(inner) if isinstance(inner, str) else inner
    except (ValueError, RecursionError):
        raise InputError("is no whole JSON", where=where, code="E_FORMAT") from None
    parts: list[Any] = [table.get(part) for part in ("columns", "index", "data")] if isinstance(table, dict) else []
    if len(parts) != 3 or not all(isinstance(part, list) for part in parts):
        raise InputError("has no columns, index and data", where=where, expected='orient "split"', code="E_FORMAT")
    columns, index, data = parts
    if len(index) != len(data) or any(not isinstance(row, list) or len(row) != len(columns) for row in data):
        raise InputError("has rows of another length than its columns", where=where, code="E_FORMAT")
    if any(isinstance(item, (list, dict)) for item in (*columns, *index)):
        raise InputError("has an index of lists", where=where, expected="numbers or names", code="E_FORMAT")
    head = [str(column) for column in columns]
    return [{**dict(zip(head, row, strict=True)), "index": at} for at, row in zip(index, data, strict=True)]


def _fluid(value: Any) -> Row:
    inner = value.get("_object") if isinstance(value, dict) else None
    try:
        fluid = json.loads(inner) if isinstance(inner, str) else inner
    except (ValueError, RecursionError):
        return {}  # the network stands without it; the account then names no fluid
    return fluid if isinstance(fluid, dict) else {}


def _system(fluid: Row, tables: Mapping[str, Sequence[Row]]) -> System:
    if any(tables.get(name) for name in _HEAT):
        return System.HEAT
    return System.WATER if fluid.get("is_gas") is False or "water" in str(fluid.get("name", "")) else System.GAS


def _corners(path: Path, tables: Mapping[str, Sequence[Row]]) -> dict[Any, tuple[float, float]]:
    found: dict[Any, tuple[float, float]] = {}
    for row in tables.get("junction_geodata", ()):
        x, y = _number(path, row, "x"), _number(path, row, "y")
        if x is not None and y is not None:
            found[row["index"]] = x, y
    return found


def _drafts(path: Path, tables: Mapping[str, Sequence[Row]], junctions: Mapping[Any, Row]) -> list[_Draft]:
    drafts: list[_Draft] = []
    at_pipes = {row.get("element"): row for row in tables.get("valve", ()) if _is_at_pipe(row)}
    for table in _LINKS:
        for row in tables.get(table, ()):
            if table == "valve" and _is_at_pipe(row):
                continue
            if table == "pipe" and (valve := at_pipes.get(row["index"])):
                row = {**row, "valve": str(valve.get("name")), "opened": valve.get("opened")}  # noqa: PLW2901
            pair = next(((row[a], row[b]) for a, b in _ENDS if a in row and b in row), (None, None))
            for end in pair:
                if isinstance(end, (list, dict)) or end not in junctions:
                    where = f"{path}: {table} {row['index']}"
                    raise InputError(
                        f"names junction {end!r:.40}", where=where, expected="one of the file", code="E_NODE"
                    )
            drafts.append(_Draft(table, row, pair))
    return drafts


def _line(
    path: Path, draft: _Draft, corners: Mapping[Any, tuple[float, float]], bends: Mapping[Any, Any]
) -> LineString:
    """Return a link's line: along the coordinates of its pipe where they are given, else straight."""
    coords = bends.get(draft.row["index"]) if draft.table == "pipe" else None
    if isinstance(coords, list) and len(coords) > 1:
        try:
            return LineString([(float(x), float(y)) for x, y, *_ in coords])
        except (TypeError, ValueError):
            where = f"{path}: pipe_geodata {draft.row['index']}"
            raise InputError("has no coordinates", where=where, expected="[[x, y], …]", code="E_SYNTAX") from None
    known = [corners[end] for end in draft.ends if end in corners]
    return LineString(known) if len(known) == 2 else LineString()


def _names(rows: Sequence[Row], *tables: str) -> list[str]:
    """Return a name a row: its own where nothing else has it, else its table and index."""
    own = [row.get("name") for row in rows]
    times = Counter(str(name) for name in own)
    of = tables if len(tables) == len(rows) else tables * len(rows)
    return [
        str(name) if isinstance(name, str) and name and times[name] == 1 else f"{table} {row['index']}"
        for name, row, table in zip(own, rows, of, strict=True)
    ]


def _at_junctions(path: Path, tables: Mapping[str, Sequence[Row]]) -> dict[Any, dict[str, Attribute]]:
    """Return what feeds and what draws from each junction: ``ext_grid``, ``source``, ``sink`` and their values."""
    served: dict[Any, dict[str, Attribute]] = {}
    for table, value in _AT_JUNCTIONS.items():
        for row in tables.get(table, ()):
            if isinstance(index := row.get("junction"), (list, dict)) or row.get("in_service") is False:
                continue
            at = served.setdefault(index, {})
            number = _number(path, row, value) or 0.0
            if table == "ext_grid":
                at[table] = number * 1e5
            else:
                scale = _number(path, row, "scaling")
                at[table] = _sum(at.get(table), number * (1.0 if scale is None else scale))
            if (name := row.get("name")) and isinstance(name, str):
                at[f"{table}_name"] = name
    return served


def _sum(before: Attribute, more: float) -> float:
    return (before if isinstance(before, float) else 0.0) + more


def _is_at_pipe(row: Row) -> bool:
    """Say whether a valve stands at the end of a pipe instead of between two junctions."""
    return row.get("et") == "pi" and not isinstance(row.get("element"), (list, dict))


def _valves_at_pipes(tables: Mapping[str, Sequence[Row]]) -> list[Issue]:
    count = sum(map(_is_at_pipe, tables.get("valve", ())))
    return [Issue("E_VALVE", f"{count} valves stand at the ends of pipes; in the pipes' properties")] if count else []


def _node(
    asset: AssetId,
    name: str,
    row: Row,
    point: Any,
    *,
    system: System,
    height: float | None,
    served: Mapping[str, Attribute],
) -> Node:
    kind = NodeKind.JUNCTION
    if "sink" in served:
        kind = NodeKind.CUSTOMER
    if "ext_grid" in served or "source" in served:
        kind = NodeKind.SOURCE
    values = {"ext_grid": "pressure_pa", "source": "supply_kg_s", "sink": "demand_kg_s"}
    properties = _properties(row, ("name", "index", "height_m"))
    properties |= {values.get(key, key): value for key, value in served.items()}
    status = "closed" if row.get("in_service") is False else None
    return Node(asset, name, system, kind, point, invert_m=height, status=status, properties=properties)


def _link(
    path: Path,
    asset: AssetId,
    draft: _Draft,
    line: Any,
    *,
    ids: Mapping[Any, AssetId],
    system: System,
    levels: tuple[float | None, float | None],
) -> Link:
    row = draft.row
    length, inner = _number(path, row, "length_km"), _number(path, row, "inner_diameter_mm")
    shut = row.get("in_service") is False or row.get("opened") is False
    types = [text for key in ("stanet_std_type", "std_type") if isinstance(text := row.get(key), str)]
    kind = LinkKind.SERVICE if row.get("type") == "house_connection" else _LINKS[draft.table]
    return Link(
        asset,
        str(row.get("name") or asset.rpartition(":")[2]),
        system,
        kind,
        line,
        start=ids[draft.ends[0]],
        end=ids[draft.ends[1]],
        diameter_m=_number(path, row, "diameter_m") if inner is None else inner / 1e3,
        length_m=None if length is None else length * 1e3,
        material=described_material({"description": " ".join(types)}),
        start_level_m=levels[0],
        end_level_m=levels[1],
        status="closed" if shut else "open",
        properties={**_properties(row, ("name", "index", "from_junction", "to_junction")), "component": draft.table},
    )


def _properties(row: Row, without: Sequence[str]) -> dict[str, Attribute]:
    return {
        key: value
        for key, value in row.items()
        if key not in without and isinstance(value, (str, int, float, bool)) and value == value  # noqa: PLR0124  # NaN
    }


def _number(path: Path, row: Row, key: str) -> float | None:
    value = row.get(key)
    if value is None or (isinstance(value, (int, float)) and not math.isfinite(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        where = f"{path}: row {row['index']}"
        raise InputError(f"{key} is {value!r:.40}", where=where, expected="a number", code="E_SYNTAX")
    return float(value)
