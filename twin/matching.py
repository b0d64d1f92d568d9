"""Who is who in two revisions of one source: by id, else by what an asset is, says and where it stands.

A re-export may give every element a new GlobalId, and a renewal may keep the id of a pipe that is another one now. So
assets are matched in rounds, each on what the ones before have left: by id; by all that the file says of them, at their
place; by class, type and name at their place; by class and type at their place where only one is there; by all that is
said, or the name, wherever they stand, where only one is like that on either side. Matches are one to one and the same
however often they are made. Equal keys are found by hashing and places in a k-d tree: n log n in all.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import KDTree
from shapely.geometry.base import BaseGeometry

from twin.asset import Asset, AssetId, Building, Element, Link, Node, Space, Storey, Zone
from twin.store import records

MATCH_M = 0.5
"""How far apart two things may stand to be one and the same on the word of their class and type: less than
a door leaf."""
_CELL_M = 0.001
_NEIGHBOURS = 8
_GRAIN = 9
"""Significant digits in which numbers are compared: other programs print and convert them."""

Key: TypeAlias = Hashable


class Match(StrEnum):
    """What two assets were matched by."""

    ID = "id"
    CONTENT = "content"
    """All that is said of them, at their place."""
    NAME = "name"
    """Class, type and name at their place."""
    PLACE = "place"
    """Class and type at their place, where only one is."""
    LIKENESS = "likeness"
    """All that is said of them, or class, type and name, wherever they stand: the only ones that are alike."""
    PART = "part"
    """One is the longest part that the other was cut into."""


REFERENCES = ("building", "storey", "start", "end", "zone")
"""Fields that name other assets."""


def matched(
    old: Sequence[Asset], new: Sequence[Asset], known: Mapping[AssetId, AssetId]
) -> list[tuple[int, int, Match]]:
    """Return which of `old` is which of `new`, assets of one kind, as positions in both, in the order of `old`.

    `known` are the matches of what they refer to (buildings of storeys, storeys of spaces).
    """
    matching = _Matching(_Side(old, known), _Side(new, {}))
    matching.take(Match.ID, lambda side: [asset.id for asset in side.assets], placed=False)
    matching.take(Match.CONTENT, lambda side: side.said, placed=True)
    matching.take(Match.NAME, lambda side: side.named, placed=True)
    matching.take_only(Match.PLACE, lambda side: side.typed, placed=True)
    matching.take_only(Match.LIKENESS, lambda side: side.said, placed=False)
    matching.take_only(Match.LIKENESS, lambda side: side.named, placed=False)
    matching.take_parts()
    return sorted(matching.pairs)


class _Side:
    """The assets of one revision as keys and places (NaN where they have none)."""

    def __init__(self, assets: Sequence[Asset], known: Mapping[AssetId, AssetId]) -> None:
        self.assets = assets
        self.places = _places(assets)
        self.kinds: list[Key] = [kind_of(asset) for asset in assets]
        self.typed: list[Key] = [_typed(asset, kind) for asset, kind in zip(assets, self.kinds, strict=True)]
        parents = [_parent(asset, known) for asset in assets]
        names = [asset.name for asset in assets]
        self.named: list[Key] = list(zip(self.typed, names, parents, strict=True))
        self.said: list[Key] = [
            (parent, _said(asset, kind)) for parent, asset, kind in zip(parents, assets, self.kinds, strict=True)
        ]


class _Matching:
    """The pairs found so far and what is left on either side."""

    def __init__(self, old: _Side, new: _Side) -> None:
        self.old, self.new = old, new
        self.pairs: list[tuple[int, int, Match]] = []
        self._left = (dict.fromkeys(range(len(old.assets))), dict.fromkeys(range(len(new.assets))))

    def take(self, by: Match, key: Callable[[_Side], Sequence[Key]], *, placed: bool) -> None:
        """Pair what has one key, in one cell of a millimetre first, then the nearest within MATCH_M.

        What is interchangeable is paired in its order.
        """
        for olds, news in self._groups(key, placed=placed):
            self._pair(zip(olds, news, strict=False), by)
        while placed and (near := self._nearest(key)):
            self._pair(near, by)

    def take_only(self, by: Match, key: Callable[[_Side], Sequence[Key]], *, placed: bool) -> None:
        """Pair what has one key where there is one on either side; where `placed`, one within MATCH_M of the other."""
        if placed:
            self._pair(self._nearest(key, only=True), by)
            return
        for olds, news in self._groups(key, placed=False):
            if len(olds) == len(news) == 1:
                self._pair([(olds[0], news[0])], by)

    def take_parts(self) -> None:
        """Pair a link with the longest of the parts that a repair cut it into, or had cut it into before."""
        self._pair(_longest_parts(self._links(0), self._links(1)), Match.PART)
        back = _longest_parts(self._links(1), self._links(0))
        self._pair([(part, whole) for whole, part in back], Match.PART)

    def _links(self, number: int) -> dict[int, Link]:
        side = (self.old, self.new)[number]
        return {row: link for row in self._left[number] if isinstance(link := side.assets[row], Link)}

    def _groups(self, key: Callable[[_Side], Sequence[Key]], *, placed: bool) -> list[tuple[list[int], list[int]]]:
        groups: dict[Key, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for number, side in enumerate((self.old, self.new)):
            keys = key(side)
            cells = np.round(side.places / _CELL_M) + 0.0 if placed else None  # no negative zero
            for row in self._left[number]:
                cell = () if cells is None else (cells[row].tobytes(),)
                groups[keys[row], *cell][number].append(row)
        return [group for group in groups.values() if group[0] and group[1]]

    def _nearest(self, key: Callable[[_Side], Sequence[Key]], *, only: bool = False) -> list[tuple[int, int]]:
        """Return pairs of one key within MATCH_M, the nearest first taken; `only` those without another choice."""
        numbers: dict[Key, int] = {}
        rows: list[NDArray[np.int64]] = []
        points: list[NDArray[np.float64]] = []
        for number, side in enumerate((self.old, self.new)):
            left = np.array(list(self._left[number]), int)
            there = left[np.isfinite(side.places[left, 0])] if len(left) else left
            keys = key(side)
            group = np.array([numbers.setdefault(keys[row], len(numbers)) for row in there], float)
            rows.append(there)
            points.append(np.column_stack([np.nan_to_num(side.places[there]), group * MATCH_M * 4]))
        if not len(rows[0]) or not len(rows[1]):
            return []
        choice: Any = list(range(1, min(_NEIGHBOURS, len(rows[1])) + 1))  # in a list, a single one has its column too
        found: Any = KDTree(points[1]).query(points[0], k=choice, distance_upper_bound=MATCH_M)
        far, near = found
        first, nth = np.nonzero(np.isfinite(far))
        second = near[first, nth]
        if only:
            alone = (np.bincount(first, minlength=len(rows[0]))[first] == 1) & (
                np.bincount(second, minlength=len(rows[1]))[second] == 1
            )
            return list(zip(rows[0][first[alone]].tolist(), rows[1][second[alone]].tolist(), strict=True))
        order = np.lexsort((second, first, np.round(far[first, nth], _GRAIN)))
        return _one_to_one(rows[0][first[order]].tolist(), rows[1][second[order]].tolist())

    def _pair(self, pairs: Any, by: Match) -> None:
        for old, new in pairs:
            if old in self._left[0] and new in self._left[1]:
                del self._left[0][old], self._left[1][new]
                self.pairs.append((old, new, by))


def _longest_parts(wholes: Mapping[int, Link], parts: Mapping[int, Link]) -> list[tuple[int, int]]:
    longest: dict[str, int] = {}
    for row, link in parts.items():
        whole = str(link.properties.get("part_of", ""))
        if whole and (whole not in longest or link.line.length > parts[longest[whole]].line.length):
            longest[whole] = row
    return [(row, longest[link.id]) for row, link in wholes.items() if link.id in longest]


def _one_to_one(first: Sequence[int], second: Sequence[int]) -> list[tuple[int, int]]:
    taken: tuple[set[int], set[int]] = (set(), set())
    pairs: list[tuple[int, int]] = []
    for old, new in zip(first, second, strict=True):
        if old not in taken[0] and new not in taken[1]:
            taken[0].add(old)
            taken[1].add(new)
            pairs.append((old, new))
    return pairs


def kind_of(asset: Asset) -> str:
    """Return the class of an asset: IFC's for elements, else that of `twin.asset`."""
    if isinstance(asset, Element):
        return asset.ifc_class
    if isinstance(asset, (Node, Link, Zone)):
        return asset.kind.value
    return type(asset).__name__.lower()


def geometry_of(asset: Asset) -> BaseGeometry | None:
    """Return the geometry of an asset, None where its kind has none or it has none."""
    match asset:
        case Building():
            return asset.footprint
        case Element():
            return asset.position
        case Node():
            return asset.point
        case Link():
            return asset.line
        case Zone():
            return asset.area
        case _:
            return None


def _typed(asset: Asset, kind: Key) -> Key:
    if isinstance(asset, Element):
        return kind, asset.predefined_type, asset.type_name
    return (kind, asset.system) if isinstance(asset, (Node, Link, Zone)) else kind


def _parent(asset: Asset, known: Mapping[AssetId, AssetId]) -> AssetId | None:
    """Return what a storey or space is part of: they have no place of their own."""
    match asset:
        case Storey():
            parent = asset.building
        case Space():
            parent = asset.storey
        case _:
            return None
    return parent and known.get(parent, parent)


_UNSAID = frozenset(("id", "guid", "connects", *records.GEOMETRIES, *REFERENCES))


def _said(asset: Asset, kind: Key) -> bytes:
    """Return all that the file says of an asset but its ids, its place and what it refers to."""
    fields = [field.name for field in dataclasses.fields(asset) if field.name not in _UNSAID]
    return msgspec.msgpack.encode([kind, *(_rounded(getattr(asset, name)) for name in fields)], order="sorted")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_GRAIN}g}")
    if isinstance(value, Mapping):
        entries: Mapping[str, Any] = value
        return {name: _rounded(entry) for name, entry in entries.items()}
    return value


def _places(assets: Sequence[Asset]) -> NDArray[np.float64]:
    """Return a point (n, 3) an asset: its own, the middle of its line, the centroid of its area; NaN without one."""
    geometries = np.empty(len(assets), dtype=object)
    geometries[:] = [geometry_of(asset) for asset in assets]
    kinds = shapely.get_type_id(geometries)
    lines, areas = kinds == shapely.GeometryType.LINESTRING, kinds > shapely.GeometryType.LINEARRING
    geometries[lines] = shapely.line_interpolate_point(geometries[lines], 0.5, normalized=True)
    geometries[areas] = shapely.centroid(geometries[areas])
    x, y, z = shapely.get_x(geometries), shapely.get_y(geometries), shapely.get_z(geometries)
    return np.column_stack([x, y, z])
