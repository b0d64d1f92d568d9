"""What a table's columns are taken for, before anything is loaded: meanings, units, samples, what is not understood."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from shapely.geometry.base import BaseGeometry

from twin.errors import InputError
from twin.model import ColumnMapping, LayerColumns, ReadRequest
from twin.readers import columns, reader_for
from twin.readers.layers import Layer, open_layers
from twin.readers.mapping import LENGTHS, MEANINGS, UNITS, mapping_text
from twin.readers.rows import Reading, Rows
from twin.readers.survey.classes import named
from twin.readers.survey.sheets import Sheet, open_sheets, partner

_SAMPLES = 3
_SAMPLE_LENGTH = 40
_LOOKED_AT = 2000


@dataclass(frozen=True, slots=True)
class ColumnGuess:
    """A column: what it is taken for (None: not understood), in which unit and who says so, the first values in it."""

    column: str
    meaning: str | None
    unit: str | None
    unit_from: str | None
    samples: Sequence[str]


@dataclass(frozen=True, slots=True)
class LayerGuess:
    """A layer or sheet: how many rows of what, its system or why nobody knows it, its columns, its fixed values."""

    layer: str
    rows: int
    rows_are: str
    system: str | None
    columns: Sequence[ColumnGuess]
    fixed: Mapping[str, str]
    doubts: Sequence[str]

    @property
    def not_understood(self) -> list[str]:
        """The names of the columns that mean nothing that is known."""
        return [guess.column for guess in self.columns if guess.meaning is None]


def guesses(path: Path, said: ColumnMapping) -> list[LayerGuess]:
    """Return what the columns of a GIS file or survey table would be taken for, with a mapping or without.

    Raises InputError E_FORMAT for a file without columns, and what its reader raises.
    """
    kind, _ = reader_for(path)
    if kind == "gis":
        return [_of_layer(path, layer, said) for layer in open_layers(path)]
    if kind != "survey":
        what = f"is {kind}, which has no columns to understand"
        raise InputError(what, where=str(path), expected="a GIS layer or survey table", code="E_FORMAT")
    sheets, issues = open_sheets(path, said)
    if path.suffix.lower() == ".csv" and (other := partner(path)):
        more, doubts = open_sheets(other, said)
        sheets, issues = [*sheets, *more], [*issues, *doubts]
    return [_of_sheet(sheet, [issue.message for issue in issues]) for sheet in sheets]


def as_mapping(found: Sequence[LayerGuess]) -> str:
    """Return guesses as the text of a mapping file to edit; columns that are not understood stand in comments."""
    layers = {
        layer.layer: LayerColumns(
            {guess.meaning: guess.column for guess in layer.columns if guess.meaning},
            layer.fixed,
            {guess.meaning: guess.unit for guess in layer.columns if guess.meaning in LENGTHS and guess.unit},
        )
        for layer in found
    }
    notes = [f"# {layer.layer}: not understood: {', '.join(layer.not_understood)}" for layer in found]
    head = [
        "# [columns] meaning = column, [units] meaning = unit, [values] meaning = the same value for all rows.",
        f"# Units: {', '.join(UNITS)}. Meanings:",
        *(f"#   {meaning}: {what}" for meaning, what in MEANINGS.items()),
        *(note for note, layer in zip(notes, found, strict=True) if layer.not_understood),
    ]
    return "\n".join(head) + "\n\n" + mapping_text(ColumnMapping(layers=layers))


def _of_layer(path: Path, layer: Layer, said: ColumnMapping) -> LayerGuess:
    frame, own = layer.frame, said.of(layer.name)
    names = [str(column) for column in frame.columns]
    meanings = columns.understood(names, own)
    key = columns.identity(frame, own)
    by_column = {column: meaning for meaning, column in meanings.items()}
    if key and key not in by_column:
        by_column[key] = "id"
    reading = Reading(ReadRequest(path.name, columns=said))
    rows = Rows(
        frame, [], meanings, columns.attributes(frame.head(_LOOKED_AT)), f"{path.stem} {layer.name}", reading, own
    )
    geometry = sorted({g.geom_type for g in layer.geometries.tolist() if isinstance(g, BaseGeometry)})
    system, doubts = None, list[str]()
    try:
        system = rows.system().value
    except InputError as error:
        doubts.append(str(error))
    return LayerGuess(
        layer.name,
        len(frame),
        ", ".join(geometry) or "no geometry",
        system,
        [_column(name, by_column.get(name), frame[name], own.units) for name in names],
        own.fixed,
        doubts,
    )


def _of_sheet(sheet: Sheet, doubts: Sequence[str]) -> LayerGuess:
    by_index = {at: meaning for meaning, at in sheet.meanings.items()}
    of = named(sheet.said.fixed.get("class", "")) or named(sheet.name)
    told = [_cell_values(sheet, at) for at in range(len(sheet.head))]
    found: list[ColumnGuess] = []
    for at, name in enumerate(sheet.head):
        meaning = by_index.get(at)
        if name or meaning:
            guess = _column(name, meaning, pd.Series(told[at], dtype=object), sheet.units)
            if meaning == "diameter" and guess.unit is None:  # CJJ 61 gives sizes in millimetres
                guess = ColumnGuess(name, meaning, "mm", "CJJ 61", guess.samples)
            found.append(guess)
    system = sheet.said.fixed.get("system") or (of.system.value if of and of.system else None)
    why = [*doubts, *([f"class {of.name} is no system of the city; not taken"] if of and not of.system else [])]
    return LayerGuess(sheet.name, len(sheet.rows), sheet.role.value, system, found, sheet.said.fixed, why)


def _cell_values(sheet: Sheet, at: int) -> list[Any]:
    return [cells[at] if at < len(cells) else None for cells in sheet.rows[:_LOOKED_AT]]


def _column(name: str, meaning: str | None, values: pd.Series, units: Mapping[str, str]) -> ColumnGuess:
    unit, unit_from = _unit(meaning, values, units)
    texts = (str(value)[:_SAMPLE_LENGTH] for value in values.dropna().tolist() if str(value).strip())
    return ColumnGuess(name, meaning, unit, unit_from, list(dict.fromkeys(texts))[:_SAMPLES])


def _unit(meaning: str | None, values: pd.Series, units: Mapping[str, str]) -> tuple[str | None, str | None]:
    if meaning is None or (meaning not in LENGTHS and not meaning.startswith("diameter")):
        return None, None
    if meaning in units:
        return units[meaning], "stated"
    if meaning == "diameter":
        found = columns.size_unit(values)
        return (found, "values") if found else (None, None)
    return ("mm", "name") if meaning == "diameter_mm" else ("m", "assumed")
