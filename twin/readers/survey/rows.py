"""Rows of a survey on their way to assets: points and pipes as the tables state them, lengths in metres.

CJJ 61 measures depths and levels to the inside bottom of drains and of pipes in trenches (管沟), and to the top of
other pipes. A field book has a pipe twice, once at each of its points: the two rows become one pipe with two levels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from twin import norms
from twin.asset import Attribute
from twin.errors import InputError
from twin.model import Issue
from twin.readers import columns
from twin.readers.mapping import UNITS
from twin.readers.rows import optional
from twin.readers.survey import classes as survey_class
from twin.readers.survey.classes import Class
from twin.readers.survey.sheets import Role, Sheet

_AGAINST = frozenset(("-", "-1", "逆", "逆向", "反", "反向", "逆流", "终点到起点", "e-s", "2"))
_ALONG = frozenset(("+", "正", "正向", "顺", "顺向", "顺流", "起点到终点", "s-e"))
_SAME_PLACE_M = 0.01
_BEYOND = 1e9
"""No coordinate, level or size is as large; infinity and what is not a number are not smaller either."""


@dataclass(slots=True)
class Spot:
    """A point of the survey; `northing` and `easting` as in the table, None where it has none."""

    name: str
    of: Class
    sheet: str
    northing: float | None
    easting: float | None
    ground: float | None = None
    depth: float | None = None
    said: dict[str, Any] = field(default_factory=dict[str, Any])
    own: dict[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(slots=True)
class End:
    """What a table says of one end of a pipe: the point's name, depth, level of top, of bottom, or of either."""

    point: str
    depth: float | None = None
    top: float | None = None
    bottom: float | None = None
    level: float | None = None


@dataclass(slots=True)
class Run:
    """A pipe of the survey between two points; `height` and `width` of its section in metres."""

    ends: tuple[End, End]
    of: Class
    sheet: str
    height: float | None
    width: float | None
    said: dict[str, Any]
    own: dict[str, Attribute]
    length: float | None = None


@dataclass(slots=True)
class Survey:
    """What has been read: points, pipes, rows that were not taken (class → count), and doubts."""

    spots: list[Spot] = field(default_factory=list[Spot])
    runs: list[Run] = field(default_factory=list[Run])
    not_taken: dict[str, int] = field(default_factory=dict[str, int])
    issues: list[Issue] = field(default_factory=list[Issue])
    flow_codes: set[str] = field(default_factory=set[str])
    _in_book: dict[tuple[str, str], Spot] = field(default_factory=dict[tuple[str, str], Spot])
    """The last point of each number in field books, by sheet: its later rows tell more of it."""
    _half: dict[tuple[str, str, str], list[Run]] = field(default_factory=dict[tuple[str, str, str], list[Run]])
    """Pipes of field books that were met at one end, by sheet, the point there, the other point."""

    def add(self, sheet: Sheet, usual: Class | None) -> None:
        """Add the rows of a sheet; rows whose class nobody names are of the class `usual`.

        Raises InputError E_SYSTEM where there is no such class.
        """
        fixed = survey_class.named(sheet.said.fixed.get("class", "")) or survey_class.named(sheet.name)
        sizes = self._sizes(sheet)
        carried = ""
        for number, said, own in sheet.records():
            where = f"{sheet.file} {sheet.name} row {number}"
            if sheet.role is Role.BOOK:
                carried = _text(said.get("id")) or carried
                said["id"] = carried
            of = fixed or _class_of(said) or usual
            if of is None:
                raise InputError(
                    "which class of pipelines is this",
                    where=where,
                    expected="a sheet or file named JS…, WS…, RQ…, such point numbers, or --system",
                    code="E_SYSTEM",
                )
            if of.system is None:
                self.not_taken[of.name] = self.not_taken.get(of.name, 0) + 1
                continue
            row = _Row(sheet, said, own, where, self.issues)
            if sheet.role is not Role.LINES:
                self._spot(row, of, book=sheet.role is Role.BOOK)
            if sheet.role is Role.LINES or (sheet.role is Role.BOOK and _text(said.get("to"))):
                self._run(row, of, sizes.get(number, (None, None)))

    def _spot(self, row: _Row, of: Class, *, book: bool) -> None:
        name = _text(row.said.get("id"))
        if not name:
            self.issues.append(Issue("E_ID", f"{row.where} has no point number; left out"))
            return
        spot = Spot(name, of, row.sheet.name, row.number("northing"), row.number("easting"), row.number("ground_m"))
        spot.depth = row.number("well_depth_m")
        spot.said, spot.own = row.said, row.attributes()
        key = spot.sheet, name
        if book and (known := self._in_book.get(key)):
            same = spot.northing is None or (
                known.northing is not None
                and math.dist((known.northing, known.easting or 0), (spot.northing, spot.easting or 0)) <= _SAME_PLACE_M
            )
            if same:
                known.said = {**spot.said, **known.said}
                return
        if book:
            self._in_book[key] = spot
        self.spots.append(spot)

    def _run(self, row: _Row, of: Class, size: tuple[float | None, float | None]) -> None:
        said, own = row.said, row.attributes()
        if row.sheet.role is Role.LINES:
            ends = (
                End(_text(said.get("from")), row.number("start_depth_m"), level=row.number("start_level_m")),
                End(_text(said.get("to")), row.number("end_depth_m"), level=row.number("end_level_m")),
            )
            self.runs.append(Run(ends, of, row.sheet.name, *size, said, own, row.number("length_m")))
            if flow := _text(said.get("flow_direction")):
                self.flow_codes.add(flow.lower())
            return
        here = End(_text(said.get("id")), row.number("depth_m"), row.number("top_m"), row.number("bottom_m"))
        there = End(_text(said.get("to")))
        sheet = row.sheet.name
        if met := self._half.get((sheet, there.point, here.point)):  # at its other end
            known = met.pop(0)
            known.ends = known.ends[0], here
            if None not in (size[0], known.height) and size[0] != known.height:
                pipe = f"{there.point}-{here.point}"
                self.issues.append(Issue("E_CONFLICT", f"{row.where}: {pipe} has two sizes; the first is kept"))
            return
        run = Run((here, there), of, sheet, *size, said, own, row.number("length_m"))
        self._half.setdefault((sheet, here.point, there.point), []).append(run)
        self.runs.append(run)

    def _sizes(self, sheet: Sheet) -> dict[int, tuple[float | None, float | None]]:
        """Return height and width of each row's section in metres: millimetres, unless the table says otherwise."""
        if "diameter" not in sheet.meanings and "diameter" not in sheet.said.fixed:
            return {}
        rows = {number: _text(said.get("diameter")) or None for number, said, _ in sheet.records()}
        words = pd.Series(list(rows.values()), dtype=object)
        unit = sheet.units.get("diameter", "")
        found = columns.sizes(words, unit)
        if not unit and found.doubt.startswith("does not say"):
            found = columns.sizes(words, "mm")  # as CJJ 61 has it
        if found.doubt:
            self.issues.append(Issue("E_UNIT", f"{sheet.file} {sheet.name}: {found.doubt}"))
        height, width = optional(found.height), optional(found.width)
        return dict(zip(rows, zip(height, width, strict=True), strict=True))

    def reversed_flow(self) -> frozenset[str]:
        """Return the codes that mean from end to start: words for it, - and -1, 2, and 1 where neither -1 nor 2 is."""
        if "1" in self.flow_codes and not self.flow_codes & {"-1", "2"}:
            return _AGAINST | {"1"}
        return _AGAINST

    def flow_doubts(self) -> list[Issue]:
        """Return one issue for the flow codes that nobody knows."""
        odd = self.flow_codes - _AGAINST - _ALONG - {"0", "1", ""}
        return [Issue("E_FLOW", f"flow directions not understood: {', '.join(sorted(odd)[:5])}")] if odd else []


@dataclass(frozen=True, slots=True)
class _Row:
    sheet: Sheet
    said: dict[str, Any]
    own: Mapping[str, Any]
    where: str
    issues: list[Issue]

    def number(self, meaning: str) -> float | None:
        """Return a cell in metres; None where it is blank or no number, which is told."""
        cell = self.said.get(meaning)
        if cell is None or isinstance(cell, bool) or (isinstance(cell, str) and cell.strip() in ("", "/", "-", "—")):
            return None
        try:
            value = float(cell)
        except (TypeError, ValueError):
            value = math.nan
        if not abs(value) < _BEYOND:
            self.issues.append(Issue("E_NUMBER", f"{self.where}: {meaning} is {str(cell)[:40]!r}"))
            return None
        return value * UNITS[self.sheet.units.get(meaning, "m")]

    def attributes(self) -> dict[str, Attribute]:
        """Return the row's cells by the names of their columns."""
        return {
            name: cell if isinstance(cell, (str, int, float, bool)) else str(cell) for name, cell in self.own.items()
        }


def spelled(said: Mapping[str, Any], meaning: str, names: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return a cell's word, codes spelled out, and the code if it was one."""
    word = _text(said.get(meaning))
    name = names.get(word.upper())
    return (name, word) if name else (word or None, None)


def point_word(said: Mapping[str, Any], meaning: str) -> str | None:
    """Return a feature (特征) or appurtenance (附属物), an annex F code spelled out."""
    word = _text(said.get(meaning))
    known = norms.codes().get(word)
    return known.name if known else word or None


def year_of(said: Mapping[str, Any]) -> int | None:
    """Return the year of a date, year or text."""
    return columns.year(_text(said.get("year")))


def level_of(end: End, run: Run, ground: float | None, *, to_bottom: bool) -> float | None:
    """Return the level of a pipe at an end in metres: the inside bottom of drains, the axis of others.

    `to_bottom` says that a level or depth without a word is to the inside bottom and not to the top of the pipe. Where
    there is none it is what lies `ground` less the depth.
    """
    size = run.height or 0.0
    level = end.level
    if level is None and end.top is None and end.bottom is None and ground is not None and end.depth is not None:
        level = ground - end.depth
    top, bottom = end.top, end.bottom
    if level is not None:
        top, bottom = (top, level) if to_bottom else (level, bottom)
    if run.of.group == "PS":
        return bottom if bottom is not None else None if top is None else top - size
    if top is not None and bottom is not None:
        return (top + bottom) / 2
    return top - size / 2 if top is not None else None if bottom is None else bottom + size / 2


def against(run: Run, codes: Iterable[str]) -> bool:
    """Say whether the table says that the pipe flows from its end to its start."""
    return _text(run.said.get("flow_direction")).lower() in set(codes)


def _class_of(said: Mapping[str, Any]) -> Class | None:
    for meaning in ("class", "code", "id", "from"):
        word = _text(said.get(meaning))
        if (meaning in ("class", "code") or word[:1].isalpha()) and (found := survey_class.named(word)):
            return found
    return None


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return str(cell).strip()
