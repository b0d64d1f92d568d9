"""Which CIM level each asset of a city reaches, and which data items are there or missing (CJJ/T 315-2022).

Levels, items and holdings stand in an editable table (`cim_levels.toml`), every row with its source and whether it was
held against the text. An asset reaches the highest level whose items, and those of all lower ones, it has; 0: none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import msgspec
import numpy as np
import pandas as pd

from twin.asset import AssetId
from twin.buildings import stands_for
from twin.errors import SettingsError
from twin.model import Decision
from twin.sourced import Sourced, read_sourced
from twin.store import records

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from twin.city import City

_GROUPS: Mapping[str, tuple[str, ...]] = {
    "links": ("system", "kind"),
    "nodes": ("system", "kind"),
    "zones": ("kind",),
    "elements": ("ifc_class",),
}
"""What makes a class within a table: its columns."""
_EMPTY = frozenset(("", "[]", "{}"))
_PROPERTY = "properties."


class LevelRow(Sourced, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A CIM level: its number, its Chinese title and what it means."""

    level: int
    title: str
    meaning: str


class ItemRow(Sourced, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A data item of the assets in a table: the level that needs it, and the columns of which one has to be there."""

    asset: str
    level: int
    name: str
    title: str
    any: tuple[str, ...]


class HoldingRow(Sourced, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Data that a city platform is asked to hold, and the tables in which this city would have it."""

    category: str
    category_title: str
    name: str
    title: str
    tables: tuple[str, ...]
    match: Mapping[str, str] = {}
    devices: bool = False
    """The field devices of the platform are it, which stand in no table of the city."""


class CimTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    level: tuple[LevelRow, ...]
    item: tuple[ItemRow, ...]
    holding: tuple[HoldingRow, ...]


@dataclass(frozen=True, slots=True)
class ItemCount:
    """How many assets of a class have an item, and how many lack it."""

    name: str
    title: str
    level: int
    present: int
    missing: int
    verified: bool


@dataclass(frozen=True, slots=True)
class ClassLevels:
    """The assets of one class: how many, how many of them at each level (0: none reached), and their items."""

    table: str
    asset_class: str
    assets: int
    levels: Mapping[int, int]
    items: Sequence[ItemCount]


@dataclass(frozen=True, slots=True)
class Holding:
    """Data that a city platform is asked to hold: how many rows of it the city has."""

    category: str
    category_title: str
    name: str
    title: str
    rows: int
    present: bool
    verified: bool


@dataclass(frozen=True, slots=True)
class AssetLevel:
    """The level of one asset, the items that it lacks, and the one of them that the next level waits for first."""

    asset: AssetId
    table: str
    asset_class: str
    level: int
    missing: Sequence[str]
    next_needs: Sequence[str]


@dataclass(frozen=True, slots=True)
class CimReport:
    """The report of a city. `replaced` are footprints left out because a building model stands for them.

    `rows` and `verified_rows` count the table's rows and those held against the text of the standard.
    """

    revision: int
    classes: Sequence[ClassLevels]
    holdings: Sequence[Holding]
    replaced: int
    rows: int
    verified_rows: int


def read_table(path: Path | None = None) -> CimTable:
    """Return the table at `path`, else the one that comes with Chengmai; SettingsError where it is wrong."""
    table, where = read_sourced(CimTable, path, "twin", "cim_levels.toml")
    levels = {row.level for row in table.level}
    for row in table.item:
        if row.asset not in records.NAMES or row.level not in levels:
            wrong = f"item {row.name!r} is of {row.asset!r} at level {row.level}"
            raise SettingsError(wrong, where=where, expected=f"one of {', '.join(records.NAMES)}, a level of the table")
    for row in table.holding:
        if unknown := set(row.tables) - set(records.NAMES):
            wrong = f"holding {row.name!r} names the table {min(unknown)!r}"
            raise SettingsError(wrong, where=where, expected=", ".join(records.NAMES))
    return table


def report(city: City, table: CimTable, *, devices: int = 0) -> CimReport:
    """Return how far the assets of `city` come, class by class, and what of the data asked for it holds.

    `devices` is how many field devices are registered with the platform that the city belongs to.
    """
    judged = _Judged(city, table)
    classes: list[ClassLevels] = []
    for name in records.NAMES:
        frame, levels, present = judged.table(name)
        items = [row for row in table.item if row.asset == name]
        for group, rows in _classes(name, frame).items():
            counts = np.bincount(levels[rows], minlength=1)
            told = [
                ItemCount(row.name, row.title, row.level, int(has), int(len(rows) - has), row.verified)
                for row, has in zip(items, present[rows].sum(axis=0), strict=True)
            ]
            reached = {level: int(count) for level, count in enumerate(counts) if count}
            classes.append(ClassLevels(name, group, len(rows), reached, told))
    every = [*table.level, *table.item, *table.holding]
    return CimReport(
        revision=city.revision(),
        classes=classes,
        holdings=[judged.holding(row, devices) for row in table.holding],
        replaced=len(judged.replaced),
        rows=len(every),
        verified_rows=sum(row.verified for row in every),
    )


def asset_levels(city: City, table: CimTable) -> Iterator[AssetLevel]:
    """Yield every asset of `city` with its level and what it lacks, table by table."""
    judged = _Judged(city, table)
    for name in records.NAMES:
        frame, levels, present = judged.table(name)
        items = [row for row in table.item if row.asset == name]
        groups = np.empty(len(frame), object)
        for group, rows in _classes(name, frame).items():
            groups[rows] = group
        for at, asset in enumerate(frame["asset"]):
            lacks = [row for row, has in zip(items, present[at], strict=True) if not has]
            least = min((row.level for row in lacks), default=0)
            yield AssetLevel(
                asset=AssetId(str(asset)),
                table=name,
                asset_class=str(groups[at]),
                level=int(levels[at]),
                missing=[row.name for row in lacks],
                next_needs=[row.name for row in lacks if row.level == least],
            )


class _Judged:
    """The tables of a city, read once, and which items their rows have."""

    def __init__(self, city: City, table: CimTable) -> None:
        self._city, self._table = city, table
        self._sources = city.sources()
        self._frames = {name: city.table(name) for name in records.NAMES}
        self.replaced = self._standing()
        buildings = self._frames["buildings"]
        self._frames["buildings"] = buildings[~buildings["asset"].isin(list(self.replaced))]

    def table(self, name: str) -> tuple[pd.DataFrame, NDArray[np.intp], NDArray[np.bool_]]:
        """Return a table (n rows), the level of each row (n,), and which items it has (n, items)."""
        frame = self._frames[name]
        items = [row for row in self._table.item if row.asset == name]
        present = np.zeros((len(frame), len(items)), bool)
        for at, row in enumerate(items):
            for column in row.any:
                present[:, at] |= self._has(name, frame, column)
        levels = np.zeros(len(frame), np.intp)
        complete = np.ones(len(frame), bool)
        for level in sorted({row.level for row in items}):
            complete &= present[:, [row.level == level for row in items]].all(axis=1)
            levels[complete] = level
        return frame, levels, present

    def holding(self, row: HoldingRow, devices: int) -> Holding:
        """Count the rows of the city (or the field devices) that are what `row` asks for."""
        count = devices if row.devices else 0
        for name in row.tables:
            frame = self._frames[name]
            there = np.ones(len(frame), bool)
            for column, value in row.match.items():
                said = frame[column] if column in frame else pd.Series(index=frame.index, dtype=object)
                there &= (said.notna() if value == "*" else said.eq(value).fillna(value=False)).to_numpy(bool)
            count += int(there.sum())
        return Holding(row.category, row.category_title, row.name, row.title, count, count > 0, row.verified)

    def _standing(self) -> Mapping[AssetId, AssetId]:
        buildings = self._frames["buildings"]
        assert isinstance(buildings, gpd.GeoDataFrame)  # it is a layer
        models = [row.source for row in self._sources if row.kind == "ifc"]
        return stands_for(buildings[buildings["placement"] == Decision.PLACED], models)

    def _has(self, name: str, frame: pd.DataFrame, column: str) -> NDArray[np.bool_]:
        """Say which rows of a table have `column`: one of the table's, a property, or one of the derived ones."""
        if column.startswith(_PROPERTY):
            key = column.removeprefix(_PROPERTY)
            said = frame["properties"].str.extract(rf'[".]{key}":(?P<value>"[^"]+"|[-\d][^,}}]*|true|false)')["value"]
            return said.notna().to_numpy(bool)
        if column in frame:
            said = frame[column]
            return (said.notna() & ~said.astype(str).isin(_EMPTY)).to_numpy(bool)
        return self._derived(name, frame, column)

    def _derived(self, name: str, frame: pd.DataFrame, column: str) -> NDArray[np.bool_]:
        """Say which rows have what no column says; none where the table knows no such thing."""
        found: pd.Series[bool] = pd.Series(data=False, index=frame.index)
        match name, column:
            case _, "placed":
                found = frame["placement"] == Decision.PLACED
            case _, "drawn" | "raised" if isinstance(frame, gpd.GeoDataFrame):
                drawn = frame.geometry.notna() & ~frame.geometry.is_empty
                found = drawn if column == "drawn" else drawn & frame.geometry.has_z
            case _, "meshed":
                found = frame["source"].isin([row.source for row in self._sources if row.account.get("meshed")])
            case "buildings", "storeys_held" | "spaces_held" | "elements_held":
                found = frame["asset"].isin(self._buildings_of(column.removesuffix("_held")))
            case "links", "in_network":
                found = frame["start"].notna() & frame["end"].notna()
            case "nodes", "in_network":
                found = frame["asset"].isin(pd.concat([self._frames["links"][end] for end in ("start", "end")]))
            case "nodes" | "elements", "joined":
                found = frame["asset"].isin(self._city.table("joints")[name.removesuffix("s")])
            case _:
                pass
        return found.to_numpy(bool)

    def _buildings_of(self, name: str) -> pd.Series[str]:
        """Return the buildings that have rows in storeys, spaces or elements."""
        frame = self._frames[name]
        if "building" in frame:
            return frame["building"].dropna()
        storeys = self._frames["storeys"]["building"]
        return storeys.reindex(frame["storey"].dropna()).dropna()


def _classes(name: str, frame: pd.DataFrame) -> dict[str, NDArray[np.intp]]:
    """Return the rows of each class of a table, by the class's name."""
    if frame.empty:
        return {}
    columns = _GROUPS.get(name, ())
    if not columns:
        return {name.removesuffix("s"): np.arange(len(frame))}
    label = frame[columns[0]].astype(str)
    for column in columns[1:]:
        label = label + " " + frame[column].astype(str)
    return {
        str(key): np.sort(rows)
        for key, rows in sorted(label.reset_index(drop=True).groupby(label.to_numpy()).indices.items())
    }
