"""Assets as rows: each dataclass of `twin.asset` is one table of the city, its fields the columns.

Assets that leave the tables are kept as columns of plain values (`Record.pack`), which any later version can read: a
column that it does not know is left out, a field that the columns do not have gets its default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from twin.asset import Asset, Building, Element, Link, Node, Space, Storey, Zone
from twin.errors import InputError
from twin.model import Decision
from twin.store import geopackage
from twin.store.geopackage import Table

if TYPE_CHECKING:
    import sqlite3

_SQL = {str: "TEXT", int: "INTEGER", float: "DOUBLE", bool: "BOOLEAN"}


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of an asset as a column: how a value is written and how it is read back."""

    name: str
    column: str
    sql: str
    enum: type[StrEnum] | None = None
    json: bool = False
    to_tuple: bool = False

    def write(self, value: Any) -> Any:
        return msgspec.json.encode(value).decode() if self.json else value

    def read(self, value: Any) -> Any:
        return self.plain(msgspec.json.decode(value) if self.json else value)

    def plain(self, value: Any) -> Any:
        """Return the field's value of a plain one: enums and tuples are text and lists there."""
        if self.to_tuple:
            return tuple(value)
        return self.enum(value) if self.enum and value is not None else value


@dataclass(frozen=True, slots=True)
class Record:
    """One kind of asset and its table; `geometry` is the field that holds the geometry, None where there is none."""

    kind: type[Asset]
    table: Table
    fields: tuple[_Field, ...]
    geometry: str | None

    def insert(
        self, db: sqlite3.Connection, assets: Sequence[Asset], source: str, decision: Decision, srs: int
    ) -> None:
        """Add `assets` of `source`; InputError E_ID where two have one id."""
        _refuse_doubles(assets, source)
        columns = [_column(field, assets) for field in self.fields]
        count = len(assets)
        rows = list(zip(*columns, [source] * count, [decision.value] * count, strict=True))
        geopackage.insert(db, self.table, rows, self._geometries(assets), srs)

    def read(self, db: sqlite3.Connection, column: str, value: str) -> list[Asset]:
        """Return the assets whose `column` (asset, source) has this value, in the order they came in."""
        names = ", ".join(f'"{field.column}"' for field in self.fields)
        geometry = f", {geopackage.GEOMETRY}" if self.geometry else ""
        query = f'SELECT {names}{geometry} FROM "{self.table.name}" WHERE "{column}" = ? ORDER BY fid'  # noqa: S608  # our own names
        make: Callable[..., Asset] = self.kind
        assets: list[Asset] = []
        for row in db.execute(query, (value,)):
            values = {field.name: field.read(cell) for field, cell in zip(self.fields, row, strict=False)}
            if self.geometry:
                values[self.geometry] = geopackage.decode(row[-1])
            assets.append(make(**values))
        return assets

    def pack(self, assets: Sequence[Asset]) -> dict[str, list[Any]]:
        """Return the assets as columns: a list of plain values a field, geometries as ISO WKB."""
        columns = {field.name: list(map(attrgetter(field.name), assets)) for field in self.fields}
        geometries = self._geometries(assets)
        if self.geometry and geometries is not None:
            columns[self.geometry] = shapely.to_wkb(geometries, flavor="iso", byte_order=1).tolist()
        return columns

    def unpack(self, columns: Mapping[str, Sequence[Any]]) -> list[Asset]:
        """Return the assets of what `pack` returned, also in an earlier version."""
        known = [field for field in self.fields if field.name in columns]
        values = {field.name: [field.plain(value) for value in columns[field.name]] for field in known}
        if self.geometry and self.geometry in columns:
            values[self.geometry] = shapely.from_wkb(np.array(columns[self.geometry], dtype=object)).tolist()
        make: Callable[..., Asset] = self.kind
        return [make(**dict(zip(values, row, strict=True))) for row in zip(*values.values(), strict=True)]

    def _geometries(self, assets: Sequence[Asset]) -> np.ndarray | None:
        if not self.geometry:
            return None
        geometries = np.array(list(map(attrgetter(self.geometry), assets)), dtype=object)
        return _multi(geometries) if self.table.geometry == "MULTIPOLYGON" else geometries


def _column(field: _Field, assets: Sequence[Asset]) -> list[Any]:
    values = list(map(attrgetter(field.name), assets))
    if field.json:
        encode = msgspec.json.Encoder().encode
        return [encode(value).decode() for value in values]
    if field.enum:
        return [None if value is None else value.value for value in values]
    return values


def _refuse_doubles(assets: Sequence[Asset], source: str) -> None:
    seen: set[str] = set()
    for asset in assets:
        if asset.id in seen:
            raise InputError("two assets have this id", where=f"{source}: {asset.id}", code="E_ID")
        seen.add(asset.id)


def _multi(geometries: np.ndarray) -> np.ndarray:
    out = geometries.copy()
    single = shapely.get_type_id(geometries) == shapely.GeometryType.POLYGON
    out[single] = [shapely.MultiPolygon([polygon]) for polygon in geometries[single]]
    return out


def _field(name: str, hint: Any, default: Any) -> _Field:
    column = "asset" if name == "id" else name
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    required = NoneType not in kinds
    kind = next(part for part in kinds if part is not NoneType)
    kind = getattr(kind, "__supertype__", kind)  # a NewType of str
    if get_origin(kind) in (Mapping, Sequence):
        is_sequence = get_origin(kind) is Sequence
        empty = "[]" if is_sequence else "{}"
        return _Field(name, column, f"TEXT NOT NULL DEFAULT '{empty}'", json=True, to_tuple=is_sequence)
    enum = kind if issubclass(kind, StrEnum) else None
    sql = "TEXT" if enum else _SQL[kind]
    if isinstance(default, StrEnum):
        return _Field(name, column, f"{sql} NOT NULL DEFAULT '{default.value}'", enum=enum)
    return _Field(name, column, f"{sql} NOT NULL" if required else sql, enum=enum)


def _is_geometry(hint: Any) -> bool:
    return any(isinstance(part, type) and issubclass(part, BaseGeometry) for part in (get_args(hint) or (hint,)))


def _record(kind: type[Asset], table: str, geometry_type: str | None) -> Record:
    hints = get_type_hints(kind)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    geometry = next((name for name in defaults if _is_geometry(hints[name])), None)
    fields = tuple(_field(name, hints[name], default) for name, default in defaults.items() if name != geometry)
    columns = [(field.column, field.sql) for field in fields]
    columns += [("source", "TEXT NOT NULL"), ("placement", "TEXT NOT NULL")]
    return Record(kind, Table(table, columns, geometry_type, unique=("asset",), indexed=("source",)), fields, geometry)


RECORDS = (
    _record(Building, "buildings", "MULTIPOLYGON"),
    _record(Storey, "storeys", None),
    _record(Space, "spaces", None),
    _record(Element, "elements", "POINT"),
    _record(Node, "nodes", "POINT"),
    _record(Link, "links", "LINESTRING"),
    _record(Zone, "zones", "MULTIPOLYGON"),
)
NODES = next(record for record in RECORDS if record.kind is Node)
TABLES = tuple(record.table for record in RECORDS)
NAMES = tuple(table.name for table in TABLES)
GEOMETRIES = frozenset(record.geometry for record in RECORDS if record.geometry)
"""Fields that hold geometry."""
