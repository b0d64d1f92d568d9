"""Survey tables of CJJ 61-2017 (城市地下管线探测技术规程): a sheet of points and one of lines a class, XLSX or CSV.

X is the northing and Y the easting. Levels and depths are to the inside bottom of drains and of pipes in trenches
(管沟), to the top of other pipes. A table draws a pipe straight from point to point: a point is put in where a link
bends (转折点), where it has no node at an end, and half-way on a valve or pump that is a link. Materials, ways of
laying and states of use are written as the codes of annex C where they have one.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import openpyxl
import shapely
from numpy.typing import NDArray

from twin import norms
from twin.asset import AssetId, Link, LinkKind, Node, NodeKind, System
from twin.model import Model
from twin.readers.survey.classes import classes
from twin.writers import inp

POINT_HEAD = ("Exp_No", "Map_No", "X", "Y", "High", "Feature", "Subsid", "WellDeep", "Belong", "MDate", "UStatus")
LINE_HEAD = (
    *("S_EXP", "E_EXP", "S_DEEP", "E_DEEP", "S_HIGH", "E_HIGH", "MATERIAL", "PSIZE", "PRESSURE", "FLOWDIR", "EMBED"),
    *("MDATE", "BELONG", "USTATUS"),
)
MARK = ".survey-tables"
"""Stands in a folder of tables that was written here, and may be written again."""
BEND = "转折点"
APPURTENANCES: Mapping[NodeKind, str] = {
    NodeKind.MANHOLE: "检查井",
    NodeKind.INLET: "雨水箅",
    NodeKind.HYDRANT: "消防栓",
    NodeKind.VALVE: "阀门",
    NodeKind.METER: "水表",
    NodeKind.REGULATOR: "调压箱",
    NodeKind.PUMP: "泵站",
    NodeKind.TANK: "水塔",
    NodeKind.RESERVOIR: "水库",
    NodeKind.STORAGE: "调蓄池",
    NodeKind.SOURCE: "气源",
    NodeKind.CUSTOMER: "用户",
    NodeKind.OUTFALL: "出水口",
    NodeKind.DIVIDER: "分流井",
}
"""The appurtenance (附属物) of a kind of node, where its survey names none; a junction has none."""
_DEVICES: Mapping[LinkKind, NodeKind] = {
    LinkKind.VALVE: NodeKind.VALVE,
    LinkKind.PUMP: NodeKind.PUMP,
    LinkKind.REGULATOR: NodeKind.REGULATOR,
}
"""Links that a survey has as points on the pipe."""
_PIPES = (LinkKind.PIPE, LinkKind.CONDUIT, LinkKind.SERVICE)
_GROUPS = {System.WATER: "JS", System.DRAINAGE: "PS", System.RAIN: "YS", System.GAS: "RQ", System.HEAT: "RL"}
_DRAINS = frozenset(("PS", "YS", "WS", "HS"))
_OPERATED = frozenset(("open", "closed", "active"))
"""How a link is operated, which is no state of use (使用状态)."""
_FIXED_DATE = (1980, 1, 1, 0, 0, 0)

Cell: TypeAlias = str | float | int | None


@dataclass(frozen=True, slots=True)
class Tables:
    """The rows of points and lines by class code, how many assets they are of, and a line for what was put in."""

    points: Mapping[str, Sequence[Sequence[Cell]]]
    lines: Mapping[str, Sequence[Sequence[Cell]]]
    counts: Mapping[str, int]
    notes: Sequence[str]

    def sheets(self) -> list[tuple[str, list[Sequence[Cell]]]]:
        """Return the name and all rows of each sheet, its head first."""
        codes = sorted({*self.points, *self.lines})
        return [
            sheet
            for code in codes
            for sheet in (
                (f"{code}Point", [POINT_HEAD, *self.points.get(code, ())]),
                (f"{code}Line", [LINE_HEAD, *self.lines.get(code, ())]),
            )
        ]


def tables(models: Sequence[Model]) -> Tables:
    """Return the survey tables of the networks of `models`, all in one system of coordinates."""
    return _Draft(models).tables()


def write_workbook(made: Tables, stream: BinaryIO) -> None:
    """Write the tables as a workbook, the same bytes for the same tables."""
    book = openpyxl.Workbook(write_only=True)
    for name, rows in made.sheets():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    unfixed = io.BytesIO()
    book.save(unfixed)
    with zipfile.ZipFile(unfixed) as written, zipfile.ZipFile(stream, "w") as fixed:
        for info in written.infolist():  # openpyxl notes the time of writing, in the archive and in the document
            data = re.sub(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", b"1980-01-01T00:00:00Z", written.read(info))
            fixed.writestr(zipfile.ZipInfo(info.filename, _FIXED_DATE), data, zipfile.ZIP_DEFLATED)


def write_folder(made: Tables, folder: Path) -> None:
    """Write each table as a CSV file (UTF-8 with a byte order mark, which spreadsheets look for)."""
    for name, rows in made.sheets():
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        (folder / f"{name}.csv").write_bytes(text.getvalue().encode("utf-8-sig"))
    (folder / MARK).write_bytes(b"")


@dataclass(slots=True)
class _Draft:
    """Tables under way."""

    models: Sequence[Model]
    points: dict[str, list[Sequence[Cell]]] = field(default_factory=dict[str, list[Sequence[Cell]]])
    lines: dict[str, list[Sequence[Cell]]] = field(default_factory=dict[str, list[Sequence[Cell]]])
    counts: Counter[str] = field(default_factory=Counter[str])
    said: Counter[str] = field(default_factory=Counter[str])
    taken: set[str] = field(default_factory=set[str])

    def tables(self) -> Tables:
        nodes = [node for model in self.models for node in model.nodes if self._is_written(node)]
        named = inp.names(nodes, str.strip, str)
        self.taken.update(named.values())
        for node in nodes:
            self._point(node, named[node.id])
        by_id = {node.id: node for node in nodes}
        for model in self.models:
            for link in model.links:
                if self._is_written(link):
                    self._link(link, by_id, named)
        notes = [f"{count} {what}" for what, count in self.said.items() if count]
        return Tables(self.points, self.lines, dict(self.counts), notes)

    def _is_written(self, asset: Node | Link) -> bool:
        shape = asset.point if isinstance(asset, Node) else asset.line
        if _code(asset) is None:
            self.said[f"assets of system {asset.system.value} left out: CJJ 61 has no such class"] += 1
        elif shape.is_empty:
            self.said["assets left out: without a place"] += 1
        else:
            return True
        return False

    def _point(self, node: Node, name: str) -> None:
        subsid = inp.word(node, "appurtenance") or APPURTENANCES.get(node.kind)
        place = _metres(node.point.y), _metres(node.point.x), _metres(node.ground_m)
        used = self._used(node)
        row = (name, name, *place, node.feature, subsid, _metres(node.depth_m), node.owner, node.year)
        self.points.setdefault(_code(node) or "", []).append((*row, _coded(used, norms.status())))
        self.counts["nodes"] += 1

    def _link(self, link: Link, nodes: Mapping[AssetId, Node], named: Mapping[AssetId, str]) -> None:
        """Write a link as one line, or as one from each of its corners to the next."""
        corners, along, device = _corners(link)
        if device is None and link.kind not in _PIPES:
            self.said[f"links of kind {link.kind.value} written as pipes: CJJ 61 has no such kind"] += 1
        self._used(link)
        ends = [nodes.get(end) if end is not None else None for end in (link.start, link.end)]
        stops = [self._end(link, node, corner, named) for node, corner in zip(ends, corners[[0, -1]], strict=True)]
        bends = [
            self._added(link, corner, BEND) if at != device else self._device(link, corner)
            for at, corner in enumerate(corners[1:-1], start=1)
        ]
        self.said["points put in where links bend"] += len(bends) - (device is not None)
        names = [stops[0], *bends, stops[1]]
        grounds = [node.ground_m if node else None for node in ends]
        levels = _levels(link, along)
        for at, (start, end) in enumerate(pairwise(names)):
            edge = grounds[0] if at == 0 else None, grounds[1] if at == len(bends) else None
            depths = [
                self._depth(link, which, level, ground)
                for which, level, ground in zip(("start", "end"), levels[at : at + 2], edge, strict=True)
            ]
            self._line(link, (start, end), depths, levels[at : at + 2])
        self.counts["links"] += 1

    def _end(self, link: Link, node: Node | None, corner: Any, named: Mapping[AssetId, str]) -> str:
        if node is not None:
            return named[node.id]
        self.said["points put in where links have no node at an end"] += 1
        return self._added(link, corner, None)

    def _device(self, link: Link, corner: Any) -> str:
        self.said["points put in for valves, pumps and regulators that are links"] += 1
        return self._added(link, corner, None, APPURTENANCES[_DEVICES[link.kind]])

    def _used(self, asset: Node | Link) -> str | None:
        """Return the state of use of an asset; that it is closed is none."""
        self.said["closed valves or pipes: CJJ 61 has no such state of use"] += asset.status == "closed"
        return asset.status if asset.status not in _OPERATED else None

    def _depth(self, link: Link, which: str, level: float | None, ground: float | None) -> Cell:
        """Return the depth at an end: as surveyed there, else from the ground to the level, else the link's mean."""
        surveyed = link.properties.get(f"{which}_depth_m")
        if isinstance(surveyed, int | float):
            return _metres(surveyed)
        if ground is not None and level is not None:
            return _metres(ground - level)
        self.said["depths that are the mean along their link"] += link.depth_m is not None
        return _metres(link.depth_m)

    def _added(self, link: Link, corner: Any, feature: str | None, subsid: str | None = None) -> str:
        """Put in a point of a link's class, with a name of its own."""
        number = 1
        while (name := f"{link.name}-{number}") in self.taken:
            number += 1
        self.taken.add(name)
        row = (
            name,
            name,
            _metres(corner[1]),
            _metres(corner[0]),
            None,
            feature,
            subsid,
            None,
            link.owner,
            link.year,
            None,
        )
        self.points.setdefault(_code(link) or "", []).append(row)
        return name

    def _line(self, link: Link, names: tuple[str, str], depths: Sequence[Cell], levels: Sequence[float | None]) -> None:
        code = _code(link) or ""
        used = link.status if link.status not in _OPERATED else None
        pressure = link.properties.get("pressure", link.properties.get("PRESSURE"))
        row = (
            *names,
            *depths,
            *map(_metres, levels),
            _coded(link.material, norms.materials()),
            _size(link),
            pressure if isinstance(pressure, str | int | float) else None,
            "+" if code in _DRAINS else None,
            _coded(link.laying, norms.laying()),
            *(link.year, link.owner, _coded(used, norms.status())),
        )
        self.lines.setdefault(code, []).append(row)


def _code(asset: Node | Link) -> str | None:
    """Return the class that an asset was surveyed as, else that of its system and service; None where there is none."""
    return _class_of(inp.word(asset, "class"), asset.system, asset.service)


@cache
def _class_of(said: str, system: System, service: str | None) -> str | None:
    if said in classes():
        return said
    group = _GROUPS.get(system)
    named = (of.code for of in classes().values() if service and of.group == group and of.service == service)
    return next(named, group)


def _corners(link: Link) -> tuple[NDArray[np.float64], NDArray[np.float64], int | None]:
    """Return the corners of a link (n, 2), how far along each lies (n,), and which of them a device stands at."""
    corners = shapely.get_coordinates(link.line)
    along = _measure(corners)
    if link.kind not in _DEVICES:
        return corners, along, None
    half = along[-1] / 2
    middle = shapely.get_coordinates(shapely.line_interpolate_point(link.line, half))
    at = max(int(np.searchsorted(along, half)), 1)
    if at < len(along) - 1 and np.isclose(along[at], half):
        return corners, along, at
    return np.insert(corners, at, middle, axis=0), np.insert(along, at, half), at


def _measure(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.hypot(*np.diff(corners[:, :2], axis=0).T).cumsum()])


def _levels(link: Link, along: NDArray[np.float64]) -> list[float | None]:
    """Return the levels of a link at its corners as CJJ 61 measures them.

    They fall evenly from end to end; those of a link that states none are the heights at which it is drawn.
    """
    size = link.diameter_m or 0.0
    in_trench = "管沟" in (link.laying or "")
    rise = 0.0 if _code(link) in _DRAINS else -size / 2 if in_trench else size / 2
    drawn = shapely.get_coordinates(link.line, include_z=True)
    if link.start_level_m is None and link.end_level_m is None and np.isfinite(drawn[:, 2]).all():
        return (np.interp(along, _measure(drawn), drawn[:, 2]) + rise).tolist()
    if link.start_level_m is None or link.end_level_m is None:
        first, last = (None if end is None else end + rise for end in (link.start_level_m, link.end_level_m))
        return [first, *[None] * (len(along) - 2), last]
    share = along / along[-1] if along[-1] > 0 else along
    return (link.start_level_m + rise + (link.end_level_m - link.start_level_m) * share).tolist()


def _size(link: Link) -> str | None:
    """Return a section as 管径或断面: DN and millimetres, or width by height."""
    if link.diameter_m is None:
        return None
    height = f"{link.diameter_m * 1000:.10g}"
    return f"DN{height}" if link.width_m is None else f"{link.width_m * 1000:.10g}X{height}"


def _coded(word: str | None, names: Mapping[str, str]) -> str | None:
    return next((code for code, name in names.items() if name == word), word)


def _metres(value: float | None) -> float | None:
    """Return metres to the tenth of a millimetre."""
    return None if value is None else round(float(value), 4)
