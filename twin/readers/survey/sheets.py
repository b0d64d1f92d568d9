"""Tables of a pipeline survey (CJJ 61): workbooks and CSV files as sheets whose columns are understood.

A sheet has points (物探点号, X, Y), lines (S_EXP, E_EXP) or is a field book, which has both in one row: a point, where
it stands, and the point that it is connected to. Heads may take two rows, as field books have them (坐标 over X and Y).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias
from xml.etree.ElementTree import ParseError

from twin.errors import InputError
from twin.model import ColumnMapping, Issue, LayerColumns
from twin.readers import columns
from twin.readers.text import decode

Cells: TypeAlias = Sequence[Any]

SUFFIXES = (".xlsx", ".xlsm", ".csv")
_HEAD_ROWS = 12
"""Titles may stand above the head of a table, no more than these rows."""
_LARGEST = 1 << 30
_UNIT = re.compile(r"[（(【\[/]\s*(mm|cm|m|毫米|厘米|米)\s*[)）】\]]?\s*$")
_UNIT_NAMES = {"毫米": "mm", "厘米": "cm", "米": "m"}
_PAIR = re.compile(r"^(?P<head>.*?)[ _-]*(?P<what>points?|lines?|管?[点线]表?)$", re.IGNORECASE)
_FOOT = re.compile(r"[:：]|^(?:合计|备注|制表|检查|探测|日期)")

ALIASES: Mapping[str, Sequence[str]] = {
    "id": (
        *("expno", "物探点号", "管线点预编号", "管点预编号", "管点编号", "管线点编号", "管线点号", "管点号", "点号"),
        *("预编号", "图上点号", "mapno"),
    ),
    "from": ("sexp", "spoint", "起点物探点号", "起点点号", "起点编号", "起始点号", "起点号", "起点"),
    "to": (
        *("eexp", "epoint", "连接点号", "连接点", "连接点编号", "终点物探点号", "终点点号", "终点编号", "终止点号"),
        *("终点号", "终点"),
    ),
    "northing": ("northing", "x", "x坐标", "坐标x", "平面坐标x", "纵坐标", "纵坐标x", "北坐标"),
    "easting": ("easting", "y", "y坐标", "坐标y", "平面坐标y", "横坐标", "横坐标y", "东坐标"),
    "ground_m": ("high", "surfh", "地面高程", "地面标高", "高程地面", "地面", "ground"),
    "top_m": ("管顶高程", "高程管顶", "管顶", "管顶标高"),
    "bottom_m": ("管底高程", "高程管底", "管底", "管内底", "管底标高"),
    "start_depth_m": ("sdeep", "起点埋深"),
    "end_depth_m": ("edeep", "终点埋深"),
    "depth_m": ("埋深", "depth"),
    "start_level_m": ("shigh", "起点高程", "起点管底高程", "起点管顶高程"),
    "end_level_m": ("ehigh", "终点高程", "终点管底高程", "终点管顶高程"),
    "well_depth_m": ("welldeep", "井深", "井底深"),
    "feature": ("feature", "特征", "管点特征", "点特征"),
    "appurtenance": ("subsid", "附属物", "附属设施", "附属物名称"),
    "material": ("material", "管线材料", "材质", "管材", "材料"),
    "diameter": ("psize", "管径或断面", "管径断面", "管径或断面尺寸", "管径", "断面尺寸", "断面", "dsize", "规格"),
    "pressure": ("pressure", "压力", "压力等级", "压力或电压"),
    "flow_direction": ("flowdir", "flowdirect", "流向"),
    "laying": ("embed", "埋设方式", "敷设方式", "埋设类型"),
    "year": ("mdate", "建设年代", "埋设年代", "建设年份", "埋设日期", "year"),
    "owner": ("belong", "权属单位", "权属", "产权单位", "owner"),
    "status": ("ustatus", "使用状态", "使用状况", "状态"),
    "class": ("ptype", "pipetype", "管线类别", "管线种类", "管线类型", "管类", "类别"),
    "code": ("要素编码", "要素代码", "分类代码", "编码", "代码", "pointcode", "linecode"),
    "length_m": ("length", "管长", "长度"),
}
"""Names of columns, compared as `twin.readers.columns.plain` writes them; a unit in brackets behind one is left off."""


class Role(StrEnum):
    """What the rows of a sheet are."""

    POINTS = "points"
    LINES = "lines"
    BOOK = "field book"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet: what its rows are, what its columns mean (meaning → index), its rows under the head.

    `units` are those that the head or the mapping gives, by meaning. `first` is the number of the first row, from 1.
    """

    file: str
    name: str
    role: Role
    head: Sequence[str]
    meanings: Mapping[str, int]
    units: Mapping[str, str]
    rows: Sequence[Cells]
    first: int
    said: LayerColumns = field(default_factory=LayerColumns)

    def records(self) -> Iterator[tuple[int, dict[str, Any], dict[str, Any]]]:
        """Yield each row that says something: its number, its cells by meaning, and by column name.

        Rows that repeat the head, as at the top of a new page, and signatures under the table are no rows of it.
        """
        key = self.meanings.get("from" if self.role is Role.LINES else "id")
        heads = set[str]() if key is None else {self.head[key], _UNIT.sub("", self.head[key])}
        for number, cells in enumerate(self.rows, start=self.first):
            own = {name: cells[at] for at, name in enumerate(self.head) if at < len(cells) and not _blank(cells[at])}
            said = {
                meaning: cells[at] for meaning, at in self.meanings.items() if at < len(cells) and not _blank(cells[at])
            }
            named = str(cells[key]).strip() if key is not None and key < len(cells) else ""
            foot = len(own) < 3 and "northing" not in said and "to" not in said and _FOOT.search(named)
            if own and not foot and named not in heads:
                yield number, {**said, **self.said.fixed}, own

    @property
    def not_understood(self) -> list[str]:
        """The columns that mean nothing that is known."""
        known = set(self.meanings.values())
        return [name for at, name in enumerate(self.head) if at not in known and name]


def is_survey(path: Path) -> bool:
    """Say whether a file has a sheet of a survey, from its first rows; a broken workbook may have one."""
    try:
        if path.suffix.lower() == ".csv":
            with path.open("rb") as file:
                lines = file.read(65_536).splitlines()[:_HEAD_ROWS]
            return _understood(list(_cells(b"\n".join(lines), str(path))[0]), LayerColumns()) is not None
        return any(_understood(rows, LayerColumns()) is not None for _, rows in _workbook(path, _HEAD_ROWS))
    except InputError as error:
        return error.code == "E_TRUNCATED"


def open_sheets(path: Path, said: ColumnMapping) -> tuple[list[Sheet], list[Issue]]:
    """Return the sheets of a survey in a workbook or CSV file, and what was not one.

    Raises InputError E_TRUNCATED no whole workbook, E_ENCODING no text, E_FORMAT no table of a survey in it.
    """
    issues: list[Issue] = []
    if path.suffix.lower() == ".csv":
        rows, encoding = _cells(path.read_bytes(), str(path))
        if encoding not in ("utf-8", "utf-8-sig"):
            issues.append(Issue("E_ENCODING", f"{path.name} is not UTF-8; read as {encoding}"))
        tables = [(path.stem, rows)]
    else:
        tables = list(_workbook(path, None))
    sheets: list[Sheet] = []
    for name, rows in tables:
        found = _understood(rows, said.of(name))
        if found is None:
            issues.append(Issue("E_SHEET", f"sheet {name} has no table of points or lines; {len(rows)} rows left out"))
            continue
        role, head, meanings, units, first = found
        sheets.append(Sheet(path.name, name, role, head, meanings, units, rows[first:], first + 1, said.of(name)))
    if not sheets:
        raise InputError(
            "has no table of a survey",
            where=str(path),
            expected="columns 物探点号, X, Y or S_EXP, E_EXP or 管线点预编号, 连接点号",
            code="E_FORMAT",
        )
    return sheets, issues


def partner(path: Path) -> Path | None:
    """Return the CSV file that makes a pair with `path` (JSPoint.csv with JSLine.csv) in its folder, None without."""
    if not (own := _PAIR.match(path.stem)):
        return None
    for other in sorted(path.parent.iterdir()):
        its = _PAIR.match(other.stem) if other.suffix.lower() == ".csv" and other.name != path.name else None
        if (
            its
            and its["head"].lower() == own["head"].lower()
            and _draws_lines(its["what"]) != _draws_lines(own["what"])
        ):
            return other
    return None


def _draws_lines(what: str) -> bool:
    return "line" in what.lower() or "线" in what


def _understood(
    rows: Sequence[Cells], said: LayerColumns
) -> tuple[Role, list[str], dict[str, int], dict[str, str], int] | None:
    """Return role, head, meanings, units and the index of the first row under the head; None where there is none."""
    for at in range(min(_HEAD_ROWS, len(rows))):
        single = [_word(cell) for cell in rows[at]]
        double = _double(single, [_word(cell) for cell in rows[at + 1]]) if at + 1 < len(rows) else None
        best: tuple[Role, list[str], dict[str, int], dict[str, str], int] | None = None
        for head, first in ((single, at + 1), (double, at + 2)):
            if head is None:
                continue
            meanings = _meanings(head, said)
            role = _role(meanings)
            if role and (best is None or len(meanings) > len(best[2])):
                units = {m: unit for m, index in meanings.items() if (unit := _unit(head[index]))} | dict(said.units)
                best = role, head, meanings, units, first
        if best:
            return best
    return None


def _double(upper: Sequence[str], lower: Sequence[str]) -> list[str] | None:
    """Return the names of a head of two rows: the lower ones, the upper where nothing stands under it.

    None where the lower row has a number in it: then it is no part of the head.
    """
    if not any(lower) or any(_is_number(word) for word in lower):
        return None
    width = max(len(upper), len(lower))
    above = [*upper, *[""] * (width - len(upper))]
    below = [*lower, *[""] * (width - len(lower))]
    return [low or up for up, low in zip(above, below, strict=True)]


def _meanings(head: Sequence[str], said: LayerColumns) -> dict[str, int]:
    bare = [_UNIT.sub("", name) for name in head]
    found = columns.understood(bare, LayerColumns({m: _UNIT.sub("", c) for m, c in said.columns.items()}), ALIASES)
    if "id" not in found:
        by_name = {columns.plain(name): name for name in reversed(bare)}
        if name := next((by_name[alias] for alias in ALIASES["id"] if alias in by_name), None):
            found["id"] = name
    return {meaning: bare.index(name) for meaning, name in found.items()}


def _role(meanings: Mapping[str, int]) -> Role | None:
    if {"from", "to"} <= set(meanings):
        return Role.LINES
    if {"id", "northing", "easting"} <= set(meanings):
        return Role.BOOK if "to" in meanings else Role.POINTS
    return None


def _workbook(path: Path, most: int | None) -> Iterator[tuple[str, list[Cells]]]:
    """Yield the name and rows of each sheet; `most` rows only where given."""
    import openpyxl  # noqa: PLC0415  # it takes a while to load
    from defusedxml.common import DefusedXmlException  # noqa: PLC0415  # as above
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415  # as above

    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > _LARGEST:
                raise InputError("unpacks to more than 1 GB", where=str(path), expected="a workbook", code="E_FORMAT")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            for sheet in book.worksheets:
                yield sheet.title, [tuple(row) for row in sheet.iter_rows(max_row=most, values_only=True)]
        finally:
            book.close()
    except DefusedXmlException:
        raise InputError("has XML entities", where=str(path), expected="a plain workbook", code="E_FORMAT") from None
    except (
        *(zipfile.BadZipFile, zlib.error, InvalidFileException, ParseError, KeyError, ValueError, TypeError),
        *(AttributeError, IndexError, EOFError, OSError, NotImplementedError, RuntimeError),
    ) as error:
        what = f"is no whole workbook: {error}".splitlines()[0][:160]
        raise InputError(what, where=str(path), expected="XLSX", code="E_TRUNCATED") from None


def _cells(data: bytes, where: str) -> tuple[list[Cells], str]:
    """Return the rows of a CSV file and its encoding; the delimiter is the one that its first lines have most of."""
    text, encoding = decode(data, where)
    start = "\n".join(text.splitlines()[:_HEAD_ROWS])
    delimiter = max(",\t;", key=start.count)
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)), encoding
    except csv.Error as error:
        raise InputError(f"is no CSV: {error}", where=where, expected="CSV", code="E_FORMAT") from None


def _word(cell: Any) -> str:
    return "" if cell is None else re.sub(r"\s+", " ", str(cell)).strip()


def _is_number(word: str) -> bool:
    return re.fullmatch(r"[-+]?\d+(?:\.\d+)?", word) is not None


def _blank(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _unit(name: str) -> str:
    found = _UNIT.search(name)
    return _UNIT_NAMES.get(found[1], found[1]) if found else ""
