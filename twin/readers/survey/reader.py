"""Survey tables of underground pipelines (CJJ 61-2017 城市地下管线探测技术规程): workbooks and CSV files.

A workbook brings all its sheets. Of CSV files a pair is one network: ``JSPoint.csv`` brings the lines of the
``JSLine.csv`` beside it, and that file then brings nothing of its own, so that a folder may be loaded as it is. Points
become nodes, pipes links; a pipe to a point that is in no table is kept with a loose end and told. Classes that are no
system of the city (power, telecommunication, industry) are counted and told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shapely import LineString, Point

from twin import norms
from twin.asset import AssetId, Attribute, Link, LinkKind, Node, NodeKind, System, asset_id
from twin.errors import InputError
from twin.model import Decision, Issue, Model, Placement, ReadRequest
from twin.readers import columns, layout
from twin.readers.position import bounds_of, position
from twin.readers.survey import sheets as survey_sheets
from twin.readers.survey.classes import Class, classes
from twin.readers.survey.position import grid
from twin.readers.survey.rows import (
    Run,
    Spot,
    Survey,
    against,
    level_of,
    point_word,
    spelled,
    year_of,
)
from twin.readers.survey.sheets import Role, Sheet, open_sheets, partner

_GROUPS: Mapping[System | None, str] = {System.WATER: "JS", System.DRAINAGE: "PS", System.GAS: "RQ", System.HEAT: "RL"}
_TRENCHES = ("管沟", "GG")
_SHOWN = 20
_LEVELS = (
    "CJJ 61: levels and depths of drains and in trenches are to the inside bottom, of other pipes to their top; "
    "start_level_m and end_level_m are the inside bottom of drains and the axis of other pipes"
)


class SurveyReader:
    """Reads CJJ 61 survey tables (entry point ``survey``)."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file is a workbook or CSV with a table of a survey in its first rows."""
        return path.suffix.lower() in survey_sheets.SUFFIXES and survey_sheets.is_survey(path)

    def read(self, path: Path, request: ReadRequest) -> Model:
        """Read the tables, and those of the file that makes a pair with this one.

        Raises InputError: E_TRUNCATED or E_FORMAT no whole workbook, no CSV, no table of a survey, E_ENCODING no text,
        E_PAIR lines without the points that they join, E_SYSTEM nobody says which class it is; CrsError where the CRS
        given does not fit.
        """
        sheets, issues = open_sheets(path, request.columns)
        other = partner(path) if path.suffix.lower() == ".csv" else None
        drawn = {sheet.role for sheet in sheets}
        if drawn == {Role.LINES}:
            if other is None:
                what, wanted = "has lines between points that no table has", "the table of points beside it"
                raise InputError(what, where=str(path), expected=wanted, code="E_PAIR")
            return _companion(request, other)
        if other is not None and drawn == {Role.POINTS}:
            more, doubts = open_sheets(other, request.columns)
            sheets, issues = [*sheets, *more], [*issues, *doubts]
        survey = Survey(issues=issues)
        for sheet in sorted(sheets, key=lambda sheet: sheet.role is Role.LINES):
            group = _GROUPS.get(System(word) if (word := sheet.said.fixed.get("system")) else request.system)
            survey.add(sheet, classes()[group] if group else None)
        if not survey.spots:
            why = f" but {', '.join(survey.not_taken)}" if survey.not_taken else ""
            raise InputError(
                f"has no points{why}", where=str(path), expected="water, drainage, gas, heat", code="E_EMPTY"
            )
        return _model(path, request, survey, sheets, other)


def _companion(request: ReadRequest, other: Path) -> Model:
    told = Issue("E_PAIR", f"its lines come in with {other.name}, which it makes a pair with")
    placement = Placement(Decision.UNPLACED, f"comes in with {other.name}")
    return Model(request.source, "survey", placement, issues=[told], account={"comes_in_with": other.name})


def _model(path: Path, request: ReadRequest, survey: Survey, sheets: Sequence[Sheet], other: Path | None) -> Model:
    where = grid(survey.spots, request.crs, path.name)
    issues = [*survey.issues, *where.issues, *survey.flow_doubts()]
    names, double = _unique([spot.name for spot in survey.spots])
    issues += _told("E_ID", "point {} is there more than once; each is a node of its own", double)
    index = _index(survey.spots)
    ends = [_ends(run, index, survey) for run in survey.runs]
    points = layout.array([Point(at) if at else Point() for at in where.corners])
    shapes = layout.array([_line(pair, where.corners) for pair in ends])
    place = position(where.crs, where.stated, bounds_of(points), request)
    levels = [_levels(run, pair, survey.spots) for run, pair in zip(survey.runs, ends, strict=True)]
    inverts = _inverts(len(survey.spots), ends, levels)
    placed = layout.points_at(place.moved(points), inverts)
    lines = layout.lines_at(place.moved(shapes), [start for start, _ in levels], [end for _, end in levels])
    issues += layout.undrawn(points, names, "points")
    loose = [
        f"{run.ends[0].point}-{run.ends[1].point}" for run, pair in zip(survey.runs, ends, strict=True) if None in pair
    ]
    issues += _told("E_NODE", "pipe {} names a point that no table has; its end is loose", loose)
    ids = [asset_id(request.source, "node", name) for name in names]
    link_names, _ = _unique([f"{run.ends[0].point}-{run.ends[1].point}" for run in survey.runs])
    issues += [
        Issue("E_CLASS", f"{count} rows of {name} not taken: no system of the city")
        for name, count in survey.not_taken.items()
    ]
    return Model(
        request.source,
        "survey",
        place.placement,
        nodes=[
            _node(asset, spot, point, invert)
            for asset, spot, point, invert in zip(ids, survey.spots, placed, inverts, strict=True)
        ],
        links=[
            _link(asset_id(request.source, "link", name), run, line, levels=pair_levels, ids=ids, ends=pair)
            for name, run, line, pair_levels, pair in zip(link_names, survey.runs, lines, levels, ends, strict=True)
        ],
        issues=issues,
        account={
            **where.said,
            "levels": _LEVELS,
            "flows_from_end_to_start": sorted(survey.flow_codes & survey.reversed_flow()),
            "sheets": [_sheet_account(sheet) for sheet in sheets],
            "not_taken": dict(survey.not_taken),
            **({"comes_with": other.name} if other else {}),
        },
    )


def _sheet_account(sheet: Sheet) -> dict[str, Any]:
    return {
        "file": sheet.file,
        "sheet": sheet.name,
        "rows_are": sheet.role.value,
        "rows": len(sheet.rows),
        "understood": {sheet.head[at]: meaning for meaning, at in sheet.meanings.items()},
        "not_understood": sheet.not_understood,
    }


def _unique(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the names with ``#2``, ``#3`` behind those that were there before, and which those are."""
    seen: Counter[str] = Counter()
    unique: list[str] = []
    for name in names:
        seen[name] += 1
        unique.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    taken = Counter(unique)
    while double := [name for name, count in taken.items() if count > 1]:  # a point that is called a#2 itself
        for name in double:
            at = len(unique) - 1 - unique[::-1].index(name)
            unique[at] = f"{name}#"
        taken = Counter(unique)
    return unique, [name for name, count in seen.items() if count > 1]


def _told(code: str, message: str, names: Sequence[str]) -> list[Issue]:
    issues = [Issue(code, message.format(name), name) for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        issues.append(Issue(code, f"{len(names) - _SHOWN} more: {message.format('…')}"))
    return issues


def _index(spots: Sequence[Spot]) -> Mapping[tuple[str, str], int]:
    """Return the first point of each name by its class, its class's group, and (empty) any class."""
    found: dict[tuple[str, str], int] = {}
    for at, spot in enumerate(spots):
        for key in (spot.of.code, spot.of.group, ""):
            found.setdefault((key, spot.name), at)
    return found


def _ends(run: Run, index: Mapping[tuple[str, str], int], survey: Survey) -> tuple[int | None, int | None]:
    """Return the points at both ends, of the pipe's own class first; the pipe is turned where it flows backwards."""
    if against(run, survey.reversed_flow()):
        run.ends = run.ends[1], run.ends[0]
        run.own["reversed"] = True
    start, end = (
        next((index[key, end.point] for key in (run.of.code, run.of.group, "") if (key, end.point) in index), None)
        for end in run.ends
    )
    return start, end


def _line(pair: tuple[int | None, int | None], corners: Sequence[tuple[float, float] | None]) -> LineString:
    known = [at for end in pair if end is not None and (at := corners[end]) is not None]
    return LineString(known) if len(known) == 2 else LineString()


def _levels(run: Run, pair: tuple[int | None, int | None], spots: Sequence[Spot]) -> tuple[float | None, float | None]:
    laying = spelled(run.said, "laying", norms.laying())[0] or ""
    to_bottom = run.of.group == "PS" or any(word in laying for word in _TRENCHES)
    start, end = (
        level_of(end, run, None if at is None else spots[at].ground, to_bottom=to_bottom)
        for end, at in zip(run.ends, pair, strict=True)
    )
    return start, end


def _inverts(
    count: int,
    ends: Sequence[tuple[int | None, int | None]],
    levels: Sequence[tuple[float | None, float | None]],
) -> list[float | None]:
    """Return the lowest level of the pipes at each point."""
    lowest: list[float | None] = [None] * count
    for pair, both in zip(ends, levels, strict=True):
        for at, level in zip(pair, both, strict=True):
            if at is not None and level is not None:
                lowest[at] = level if (known := lowest[at]) is None else min(known, level)
    return lowest


def _node(asset: AssetId, spot: Spot, point: Any, invert: float | None) -> Node:
    feature, appurtenance = point_word(spot.said, "feature"), point_word(spot.said, "appurtenance")
    status, code = spelled(spot.said, "status", norms.status())
    properties: dict[str, Attribute] = {**spot.own, "sheet": spot.sheet, "class": spot.of.code}
    properties |= {"appurtenance": appurtenance} if appurtenance else {}
    properties |= {"status_code": code} if code else {}
    return Node(
        asset,
        spot.name,
        _system(spot.of),
        _kind(spot.of, feature, appurtenance),
        point,
        ground_m=spot.ground,
        invert_m=invert,
        depth_m=spot.depth,
        service=spot.of.service,
        feature=feature,
        year=year_of(spot.said),
        status=status,
        owner=_word(spot.said, "owner"),
        properties=properties,
    )


def _kind(of: Class, feature: str | None, appurtenance: str | None) -> NodeKind:
    """Return what an appurtenance is, else what a drain's feature is: an outfall or inlet; else a junction."""
    if found := columns.node_kind(appurtenance or ""):
        return found
    if of.group == "PS" and feature:
        if "进水" in feature:
            return NodeKind.INLET
        found = columns.node_kind(feature)
        if found is NodeKind.OUTFALL or found is NodeKind.INLET:
            return found
    return NodeKind.JUNCTION


def _link(
    asset: AssetId,
    run: Run,
    line: Any,
    *,
    levels: tuple[float | None, float | None],
    ids: Sequence[AssetId],
    ends: tuple[int | None, int | None],
) -> Link:
    """Return the link; `ids` are those of all nodes, `ends` the indices of its own."""
    start, end = run.ends
    depths = [depth for depth in (start.depth, end.depth) if depth is not None]
    material, material_code = spelled(run.said, "material", norms.materials())
    laying, laying_code = spelled(run.said, "laying", norms.laying())
    status, status_code = spelled(run.said, "status", norms.status())
    properties: dict[str, Attribute] = {**run.own, "from": start.point, "to": end.point}
    properties |= {"sheet": run.sheet, "class": run.of.code}
    codes = (("material_code", material_code), ("laying_code", laying_code), ("status_code", status_code))
    pressure = _word(run.said, "pressure")
    depth_of = (("pressure", pressure), ("start_depth_m", start.depth), ("end_depth_m", end.depth))
    properties |= {name: value for name, value in (*codes, *depth_of) if value is not None}
    return Link(
        asset,
        f"{start.point}-{end.point}",
        _system(run.of),
        LinkKind.CONDUIT if run.of.group == "PS" else LinkKind.PIPE,
        line,
        start=None if ends[0] is None else ids[ends[0]],
        end=None if ends[1] is None else ids[ends[1]],
        diameter_m=run.height,
        width_m=run.width,
        length_m=run.length,
        material=material,
        year=year_of(run.said),
        start_level_m=levels[0],
        end_level_m=levels[1],
        depth_m=sum(depths) / len(depths) if depths else None,
        service=run.of.service,
        status=status,
        laying=laying,
        owner=_word(run.said, "owner"),
        properties=properties,
    )


def _system(of: Class) -> System:
    assert of.system is not None  # rows of other classes are not taken
    return of.system


def _word(said: Mapping[str, Any], meaning: str) -> str | None:
    return str(said[meaning]).strip() or None if meaning in said else None
