"""Rows of a GIS layer on their way to assets: what their columns mean, their names, their usable geometries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from twin.asset import Attribute, Building, Link, Node, System, Zone
from twin.errors import InputError
from twin.model import Issue, LayerColumns, ReadRequest
from twin.readers import columns
from twin.readers.layers import Layer
from twin.readers.mapping import UNITS
from twin.readers.survey import classes as survey_class
from twin.readers.survey.classes import Class

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHOWN = 20
"""Rows listed one by one in the issues; the account has the count of all."""
_WHOLE = 2**53
"""From here on floats skip whole numbers, and soon after SQLite has none."""
_SYSTEMS = "--system water, drainage, gas or heat"


@dataclass(slots=True)
class Reading:
    """What has been made of a file so far."""

    request: ReadRequest
    issues: list[Issue] = field(default_factory=list[Issue])
    nodes: list[Node] = field(default_factory=list[Node])
    links: list[Link] = field(default_factory=list[Link])
    buildings: list[Building] = field(default_factory=list[Building])
    zones: list[Zone] = field(default_factory=list[Zone])
    layers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ids: set[str] = field(default_factory=set[str])


@dataclass(frozen=True, slots=True)
class Part:
    """A geometry that becomes one asset: its row, the asset's name, the geometry."""

    row: int
    name: str
    geometry: Any


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a layer, and what their columns mean."""

    frame: pd.DataFrame
    ids: Sequence[str]
    meanings: Mapping[str, str]
    attributes: Sequence[dict[str, Attribute]]
    named: str
    reading: Reading
    said: LayerColumns = field(default_factory=LayerColumns)
    notes: dict[str, Any] = field(default_factory=dict[str, Any])

    def numbers(self, meaning: str) -> list[float | None]:
        """Return a column by its meaning as numbers, lengths in metres, None where missing."""
        if (fixed := self.said.fixed.get(meaning)) is not None:
            return [self._fixed_number(meaning, fixed)] * len(self.frame)
        if meaning not in self.meanings:
            return [None] * len(self.frame)
        factor = UNITS[self.said.units.get(meaning, "m")]
        return optional(columns.numbers(self.frame[self.meanings[meaning]]) * factor)

    def _fixed_number(self, meaning: str, word: str) -> float:
        try:
            return float(word) * UNITS[self.said.units.get(meaning, "m")]
        except ValueError:
            where = f"mapping values.{meaning}"
            raise InputError(f"is {word[:40]!r}", where=where, expected="a number", code="E_MAPPING") from None

    def texts(self, meaning: str) -> list[str | None]:
        """Return a column by its meaning as text, None where missing or blank."""
        if (fixed := self.said.fixed.get(meaning)) is not None:
            return [fixed] * len(self.frame)
        column = self.meanings.get(meaning)
        if column is None:
            return [None] * len(self.frame)
        return [_text(row.get(column)) for row in self.attributes]

    def years(self) -> list[int | None]:
        """Return the column that tells years."""
        if (fixed := self.said.fixed.get("year")) is not None:
            return columns.years(pd.Series([fixed] * len(self.frame)))
        column = self.meanings.get("year")
        return columns.years(self.frame[column]) if column else [None] * len(self.frame)

    def named_by_codes(self, meaning: str, names: Mapping[str, str]) -> list[str | None]:
        """Return a column as text, codes spelled out where the table is a survey's; the properties keep the codes."""
        words = self.texts(meaning)
        if not columns.is_survey([str(column) for column in self.frame.columns]):
            return words
        spelled, coded = columns.spelled(words, names)
        if coded:
            self.notes.setdefault("codes_of_cjj61", []).append(meaning)
        return spelled

    def whole(self, meaning: str) -> list[int | None]:
        """Return a column by its meaning as whole numbers, None where missing or past what a database holds."""
        return [None if value is None or not abs(value) < _WHOLE else round(value) for value in self.numbers(meaning)]

    def sizes(self) -> columns.Sizes:
        """Return pipe sizes from whichever column tells them, and note doubts."""
        for meaning, unit in (("diameter_mm", "mm"), ("diameter_m", "m"), ("diameter", "")):
            column, fixed = self.meanings.get(meaning), self.said.fixed.get(meaning)
            if column or fixed:
                values = self.frame[column] if column else pd.Series([fixed] * len(self.frame))
                found = columns.sizes(values, self.said.units.get(meaning, unit))
                if found.doubt:
                    self.reading.issues.append(Issue("E_UNIT", f"column {column}: {found.doubt}"))
                return found
        nothing = np.full(len(self.frame), np.nan)
        return columns.Sizes(nothing, nothing)

    def pipe_class(self) -> Class | None:
        """Return the class of pipelines that a layer of a survey is named after, as JSPoint is."""
        if not columns.is_survey([str(column) for column in self.frame.columns]):
            return None
        return next((of for word in self.named.split() if (of := survey_class.named(word))), None)

    def services(self) -> list[str | None]:
        """Return sanitary, storm or combined a row: as its columns say, else as the layer is named."""
        of = self.pipe_class()
        usual = of.service if of and of.group == "PS" else None
        words = zip(*(self.texts(meaning) for meaning in ("service", "kind", "appurtenance")), strict=True)
        return [columns.service(" ".join(word for word in row if word)) or usual for row in words]

    def system(self) -> System:
        """Return the system of the layer: the mapping's, the caller's, what names or values say; else InputError."""
        if fixed := self.said.fixed.get("system"):
            return System(fixed)
        if self.reading.request.system:
            return self.reading.request.system
        of = self.pipe_class()
        found = columns.system(self.named) or (of.system if of else None)
        how = "its name"
        if found is None:
            values = [text for meaning in ("service", "kind", "appurtenance") for text in self.texts(meaning) if text]
            found = columns.system(" ".join(dict.fromkeys(values))) or columns.system(
                " ".join(map(_squeezed, self.frame.columns))
            )
            how = "its columns"
        if found is None:
            where = f"{self.reading.request.source}: layer {self.named.split()[-1]}"
            raise InputError("which network is this", where=where, expected=_SYSTEMS, code="E_SYSTEM")
        self.notes["system"] = f"{found.value}, from {how}"
        return found


def row_names(frame: pd.DataFrame, key: str | None, reading: Reading) -> list[str]:
    """Return a name a row, unique in the file: from the id column, or the row's number from 1."""
    names = [str(n) for n in range(1, len(frame) + 1)] if key is None else [_text(v) or "" for v in frame[key].tolist()]
    if reading.ids & set(names):
        names = [f"{len(reading.layers) + 1}.{name}" for name in names]  # a second layer with the same names
    reading.ids.update(names)
    return names


def usable_rows(layer: Layer, names: Sequence[str], reading: Reading) -> tuple[NDArray[np.bool_], int]:
    """Return which rows have finite coordinates, and how many have none; those and invalid ones are listed."""
    geometries = layer.geometries
    empty = shapely.is_missing(geometries) | shapely.is_empty(geometries)
    infinite = ~empty & ~np.isfinite(shapely.bounds(geometries)).all(axis=1)
    invalid = ~empty & ~infinite & ~shapely.is_valid(geometries)
    for code, message, chosen in (
        ("E_GEOMETRY", "has no geometry, or one that is none; left out", empty),
        ("E_GEOMETRY", "has coordinates that are no numbers; left out", infinite),
        ("E_INVALID", "has an invalid geometry; kept as it is", invalid),
    ):
        list_rows(reading, code, message, [names[row] for row in np.flatnonzero(chosen).tolist()])
    return ~(empty | infinite), int((empty | infinite).sum())


def parts_of(chosen: Sequence[int], names: Sequence[str], geometries: Sequence[Any], reading: Reading) -> list[Part]:
    """Return one part an asset: points and lines in several parts become several assets, ``name#1``, ``name#2``."""
    parts: list[Part] = []
    split: list[str] = []
    for row in chosen:
        geometry = geometries[row]
        if geometry.geom_type not in ("MultiPoint", "MultiLineString"):
            parts.append(Part(row, names[row], geometry))
            continue
        merged = shapely.line_merge(geometry) if geometry.geom_type == "MultiLineString" else geometry
        pieces = shapely.get_parts(merged).tolist()
        if len(pieces) == 1:
            parts.append(Part(row, names[row], pieces[0]))
        else:
            split.append(names[row])
            parts += [Part(row, f"{names[row]}#{n}", piece) for n, piece in enumerate(pieces, start=1)]
    list_rows(reading, "E_PARTS", "has several parts; each is an asset of its own", split)
    return parts


def list_rows(reading: Reading, code: str, message: str, names: Sequence[str]) -> None:
    """Add an issue a row, the first few by name, the rest as a count."""
    reading.issues += [Issue(code, f"row {name} {message}", name) for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        reading.issues.append(Issue(code, f"{len(names) - _SHOWN} more rows: {message}"))


def optional(values: NDArray[np.float64]) -> list[float | None]:
    """Return the values with None in the place of NaN."""
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124  # NaN


def _text(value: Any) -> str | None:
    if value is None or value != value:  # noqa: PLR0124  # NaN
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip() or None


def _squeezed(column: Any) -> str:
    return columns.plain(str(column))
