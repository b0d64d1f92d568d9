"""Assets as rows: each dataclass of `twin.asset` is one table of the city, its fields the columns."""

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

from twin import geopackage
from twin.asset import Asset, Building, Element, Link, Node, Space, Storey, Zone
from twin.errors import InputError
from twin.geopackage import Table
from twin.model import Decision

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
        if self.json:
            decoded = msgspec.json.decode(value)
            return tuple(decoded) if self.to_tuple else decoded
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
        geometries = None
        if self.geometry:
            geometries = np.array(list(map(attrgetter(self.geometry), assets)), dtype=object)
            if self.table.geometry == "MULTIPOLYGON":
                geometries = _multi(geometries)
        geopackage.insert(db, self.table, rows, geometries, srs)

    def find(self, db: sqlite3.Connection, asset: str) -> Asset | None:
        """Return the asset with this id, None where this table has none."""
        names = ", ".join(f'"{field.column}"' for field in self.fields)
        geometry = f", {geopackage.GEOMETRY}" if self.geometry else ""
        row = db.execute(
            f'SELECT {names}{geometry} FROM "{self.table.name}" WHERE asset = ?',  # noqa: S608  # our own names
            (asset,),
        ).fetchone()
        if row is None:
            return None
        values = {field.name: field.read(value) for field, value in zip(self.fields, row, strict=False)}
        if self.geometry:
            values[self.geometry] = geopackage.decode(row[-1])
        make: Callable[..., Asset] = self.kind
        return make(**values)


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


def _field(name: str, hint: Any) -> _Field:
    column = "asset" if name == "id" else name
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    required = NoneType not in kinds
    kind = next(part for part in kinds if part is not NoneType)
    kind = getattr(kind, "__supertype__", kind)  # a NewType of str
    if get_origin(kind) in (Mapping, Sequence):
        return _Field(name, column, "TEXT NOT NULL", json=True, to_tuple=get_origin(kind) is Sequence)
    enum = kind if issubclass(kind, StrEnum) else None
    sql = "TEXT" if enum else _SQL[kind]
    return _Field(name, column, f"{sql} NOT NULL" if required else sql, enum=enum)


def _is_geometry(hint: Any) -> bool:
    return any(isinstance(part, type) and issubclass(part, BaseGeometry) for part in (get_args(hint) or (hint,)))


def _record(kind: type[Asset], table: str, geometry_type: str | None) -> Record:
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    geometry = next((name for name in names if _is_geometry(hints[name])), None)
    fields = tuple(_field(name, hints[name]) for name in names if name != geometry)
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
TABLES = tuple(record.table for record in RECORDS)
NAMES = tuple(table.name for table in TABLES)
