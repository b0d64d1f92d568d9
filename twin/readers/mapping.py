"""The mapping file: what a person says that columns mean, before any guess.

::

    [columns]                      # for every layer: meaning = column
    id = "GUANDIAN"
    diameter = "GJ"
    depth_m = ""                   # no column is that, whatever its name suggests

    [units]                        # meaning = unit of its column; else the unit that the meaning ends with, or SI
    diameter = "mm"

    [values]                       # meaning = the same value for every row
    system = "drainage"
    service = "sanitary"

    [layers."雨水管线".columns]    # for one layer or sheet, over the above
    diameter = "断面"

`MEANINGS` are the names that may stand left of a column; `UNITS` the units. `chengmai columns FILE --write MAP.toml`
writes such a file from the guesses.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from twin.asset import LinkKind, NodeKind, System, ZoneKind
from twin.errors import InputError
from twin.model import ColumnMapping, LayerColumns

__all__ = ["LENGTHS", "MEANINGS", "UNITS", "mapping_text", "read_mapping"]

MEANINGS: Mapping[str, str] = {
    "id": "what names each row once",
    "name": "what people call it",
    "kind": "what it is: pipe, valve, manhole, 阀门, 检查井, …",
    "system": "gas, water, drainage or heat (as a fixed value)",
    "service": "sanitary, storm or combined; 污水, 雨水, 合流",
    "status": "state of use",
    "material": "material, in words or as a code of CJJ 61-2017 annex C",
    "year": "year of laying, or a date",
    "diameter": "diameter or section, DN300, 400X600; its unit from the values where none is given",
    "diameter_mm": "diameter or section in millimetres",
    "diameter_m": "diameter in metres",
    "width_m": "width of a section",
    "length_m": "length",
    "from": "node at the start",
    "to": "node at the end",
    "start_level_m": "level of the pipe at its start",
    "end_level_m": "level of the pipe at its end",
    "start_depth_m": "depth under the ground at its start (CJJ 61 S_DEEP)",
    "end_depth_m": "depth under the ground at its end (CJJ 61 E_DEEP)",
    "top_m": "level of the top of the pipe (field books: 管顶)",
    "bottom_m": "level of the bottom of the pipe (field books: 管底)",
    "ground_m": "level of the ground or cover",
    "invert_m": "level of the lowest pipe's inside bottom",
    "elevation": "level, of pipes where they are pressed, else of nobody knows what",
    "depth_m": "depth of a pipe under the ground (埋深)",
    "well_depth_m": "depth of a well or manhole (井深)",
    "laying": "way of laying, in words or as a code of CJJ 61-2017 annex C",
    "owner": "whom it belongs to (权属)",
    "feature": "what the survey calls the point (特征)",
    "appurtenance": "what stands at the point (附属物)",
    "flow_direction": "0 or + from start to end, 1 or - against it (CJJ 61 FLOWDIR)",
    "pressure": "pressure, as written (CJJ 61 PRESSURE)",
    "class": "class of pipeline, JS, WS, RQ, … (CJJ 61-2017 annex B)",
    "code": "eight-digit code of CJJ 61-2017 annex F",
    "northing": "northing (survey tables: X)",
    "easting": "easting (survey tables: Y)",
    "height_m": "height of a building",
    "storeys": "storeys of a building",
    "usage": "use of a building",
    "residents": "people who live there",
}
"""What a column may mean, and how one would say it."""

UNITS: Mapping[str, float] = {
    "m": 1.0,
    "km": 1e3,
    "cm": 1e-2,
    "mm": 1e-3,
    "in": 0.0254,
    "ft": 0.3048,
    "us-ft": 1200 / 3937,
}
"""Metres a unit. The US survey foot is exact by definition: 1200/3937 m."""

LENGTHS = frozenset(name for name in MEANINGS if name.endswith("_m")) | {
    "diameter",
    "elevation",
    "northing",
    "easting",
}
_PARTS = ("columns", "values", "units")
_WORDS = {
    "system": tuple(system.value for system in System),
    "kind": (*(kind.value for kinds in (NodeKind, LinkKind, ZoneKind) for kind in kinds), "building"),
}


def read_mapping(path: Path) -> ColumnMapping:
    """Return what the mapping file at `path` says.

    Raises InputError: E_MISSING no such file, E_FORMAT no TOML, E_MAPPING a part, meaning, unit or value not known.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), expected="a mapping file", code="E_MISSING") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}"[:160], where=str(path), expected="TOML", code="E_FORMAT") from None
    try:
        said = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"is no TOML: {error}"[:160], where=str(path), expected="TOML", code="E_FORMAT") from None
    layers = said.pop("layers", {})
    if not isinstance(layers, dict):
        raise InputError("layers is no table", where=str(path), expected="[layers.NAME.columns]", code="E_MAPPING")
    default = _layer(said, str(path))
    return ColumnMapping(default, {name: _layer(part, f"{path} layers.{name}") for name, part in layers.items()})


def mapping_text(mapping: ColumnMapping) -> str:
    """Return a mapping as the text of a mapping file."""
    said = _parts(mapping.default)
    if mapping.layers:
        said["layers"] = {name: _parts(layer) for name, layer in mapping.layers.items()}
    return tomli_w.dumps(said)


def _parts(layer: LayerColumns) -> dict[str, Any]:
    parts = {"columns": layer.columns, "units": layer.units, "values": layer.fixed}
    return {name: dict(part) for name, part in parts.items() if part}


def _layer(said: Any, where: str) -> LayerColumns:
    if not isinstance(said, dict) or any(name not in _PARTS or not isinstance(said[name], dict) for name in said):
        raise InputError("is not what a mapping says", where=where, expected="columns, values, units", code="E_MAPPING")
    for part in _PARTS:
        for meaning, word in said.get(part, {}).items():
            if meaning not in MEANINGS:
                what = f"{part}.{meaning} is no meaning"
                raise InputError(what, where=where, expected=", ".join(MEANINGS), code="E_MAPPING")
            if not isinstance(word, str):
                raise InputError(f"{part}.{meaning} is {word!r:.40}", where=where, expected="text", code="E_MAPPING")
    for meaning, unit in said.get("units", {}).items():
        if unit not in UNITS or meaning not in LENGTHS:
            what, wanted = f"units.{meaning} is {unit[:20]!r}", f"a length in {', '.join(UNITS)}"
            raise InputError(what, where=where, expected=wanted, code="E_MAPPING")
    for meaning, words in _WORDS.items():
        if (word := said.get("values", {}).get(meaning, words[0])) not in words:
            what = f"values.{meaning} is {word[:20]!r}"
            raise InputError(what, where=where, expected=", ".join(words), code="E_MAPPING")
    return LayerColumns(*(dict(said.get(part, {})) for part in _PARTS))
