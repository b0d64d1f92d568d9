"""What a renewal changed: which assets came, went, moved or say something else from one revision to another."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from twin.asset import Asset, AssetId, Element
from twin.matching import MATCH_M, REFERENCES, Match, geometry_of, kind_of, matched
from twin.model import Model
from twin.shape import Shape, shapes
from twin.store import records

__all__ = ["MATCH_M", "MOVED_M", "Change", "Difference", "Item", "Pair", "difference"]

MOVED_M = 0.001
"""Less than this is no move: files print coordinates to a millimetre."""
_NOT_COMPARED = frozenset(("id", "guid", "zone"))
"""Ids, which are told apart, and what the city fills, not the file."""


@dataclass(frozen=True, slots=True)
class Change:
    """One field that says something else; of a property ``properties.{Set.Property}``. None: it was not there.

    ``shape`` is that of the element's mesh, wherever it stands (`twin.shape.Shape`).
    """

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Item:
    """An asset that came or went: its table, id, class and name."""

    table: str
    asset: AssetId
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Pair:
    """An asset that is in both: its id in either, what they were matched by, how far it moved, what it says else.

    `moved_m` is the distance of points, three-dimensional where both have a height; of lines and areas the greatest
    distance of one to the other (Hausdorff, in plan); 0 below MOVED_M.
    """

    table: str
    old: AssetId
    new: AssetId
    kind: str
    name: str
    by: Match
    moved_m: float
    changes: Sequence[Change]


@dataclass(frozen=True, slots=True)
class Difference:
    """From one revision of a source to another: what was added and removed, and every asset that is in both."""

    source: str
    added: Sequence[Item]
    removed: Sequence[Item]
    pairs: Sequence[Pair] = field(repr=False)

    @property
    def moved(self) -> list[Pair]:
        """Those that stand elsewhere."""
        return [pair for pair in self.pairs if pair.moved_m]

    @property
    def changed(self) -> list[Pair]:
        """Those that say something else."""
        return [pair for pair in self.pairs if pair.changes]

    @property
    def reidentified(self) -> dict[AssetId, AssetId]:
        """The new id of each asset that has another one now."""
        return {pair.old: pair.new for pair in self.pairs if pair.old != pair.new}

    @property
    def is_empty(self) -> bool:
        """Whether nothing came, went, moved or changed; new ids are no difference."""
        return not (self.added or self.removed or self.moved or self.changed)

    def summary(self) -> dict[str, dict[str, int]]:
        """Return how many were added, removed, moved, changed and reidentified, by class."""
        counts = {
            "added": Counter(item.kind for item in self.added),
            "removed": Counter(item.kind for item in self.removed),
            "moved": Counter(pair.kind for pair in self.moved),
            "changed": Counter(pair.kind for pair in self.changed),
            "reidentified": Counter(pair.kind for pair in self.pairs if pair.old != pair.new),
        }
        return {name: dict(sorted(counter.items())) for name, counter in counts.items()}

    def json(self) -> dict[str, Any]:
        """Return the difference as plain values; a change as field, from, to."""
        return {
            "source": self.source,
            "summary": self.summary(),
            "same": len(self.pairs) - sum(bool(pair.moved_m or pair.changes) for pair in self.pairs),
            "added": msgspec.to_builtins(self.added),
            "removed": msgspec.to_builtins(self.removed),
            "moved": [_plain(pair) for pair in self.moved],
            "changed": [_plain(pair) for pair in self.changed],
            "reidentified": self.reidentified,
            "match_m": MATCH_M,
            "moved_m": MOVED_M,
        }


def difference(old: Model, new: Model) -> Difference:
    """Return what is different in `new`, a later revision of `old`; see `twin.matching` for who is who."""
    known: dict[AssetId, AssetId] = {}
    found: list[tuple[str, Asset, Asset, Match]] = []
    added: list[Item] = []
    removed: list[Item] = []
    for table in records.NAMES:  # buildings before storeys before spaces: each refers to the one before
        before: Sequence[Asset] = getattr(old, table)
        after: Sequence[Asset] = getattr(new, table)
        matches = matched(before, after, known)
        known |= {before[first].id: after[second].id for first, second, _ in matches}
        found += [(table, before[first], after[second], by) for first, second, by in matches]
        olds, news = {first for first, _, _ in matches}, {second for _, second, _ in matches}
        removed += [_item(table, asset) for row, asset in enumerate(before) if row not in olds]
        added += [_item(table, asset) for row, asset in enumerate(after) if row not in news]
    moves = _moves([(was, now) for _, was, now, _ in found])
    meshes = ({}, {}) if old.mesh == new.mesh else (shapes(old.mesh), shapes(new.mesh))
    pairs = [
        Pair(
            *(table, was.id, now.id, kind_of(now), now.name, by, moved_m),
            (*_changes(was, now, known), *_reshaped(was, now, meshes)),
        )
        for (table, was, now, by), moved_m in zip(found, moves, strict=True)
    ]
    return Difference(new.source, added, removed, pairs)


def _item(table: str, asset: Asset) -> Item:
    return Item(table, asset.id, kind_of(asset), asset.name)


def _plain(pair: Pair) -> dict[str, Any]:
    changes = [{"field": each.field, "from": each.before, "to": each.after} for each in pair.changes]
    return {**msgspec.to_builtins(pair), "changes": changes}


def _moves(pairs: Sequence[tuple[Asset, Asset]]) -> list[float]:
    """Return how far each asset moved, 0 where it did not or has no place in one of the two."""
    sides = [np.empty(len(pairs), dtype=object) for _ in range(2)]
    for number, side in enumerate(sides):
        side[:] = [geometry_of(pair[number]) for pair in pairs]
    old, new = sides
    there = ~(shapely.is_missing(old) | shapely.is_missing(new) | shapely.is_empty(old) | shapely.is_empty(new))
    far = np.zeros(len(pairs))
    points = there & (shapely.get_type_id(old) == shapely.GeometryType.POINT)
    shapes = there & ~points
    shapes[shapes] = ~shapely.equals_exact(old[shapes], new[shapes], MOVED_M / 2)
    far[points] = shapely.distance(old[points], new[points])
    rise = np.nan_to_num(shapely.get_z(new[points]) - shapely.get_z(old[points]))
    far[points] = np.hypot(far[points], rise)
    far[shapes] = shapely.hausdorff_distance(old[shapes], new[shapes])
    return [round(value, 6) if value >= MOVED_M else 0.0 for value in far.tolist()]


def _changes(old: Asset, new: Asset, known: Mapping[AssetId, AssetId]) -> Iterator[Change]:
    """Yield the fields that say something else; what they refer to is the same where it was matched."""
    for name in (each.name for each in dataclasses.fields(new) if each.name not in _NOT_COMPARED):
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(after, Mapping):
            yield from _entries(name, before, after)
        elif not _is_same(name, before, after, known):
            yield Change(name, _value(before), _value(after))


def _is_same(name: str, before: Any, after: Any, known: Mapping[AssetId, AssetId]) -> bool:
    if name in records.GEOMETRIES:  # how far it moved is told apart
        return (before is None) == (after is None)
    if name in REFERENCES:
        return bool(known.get(before, before) == after)
    if name == "connects":
        return {known.get(each, each) for each in before} == set(after)
    return _equal(before, after)


def _reshaped(old: Asset, new: Asset, meshes: tuple[Mapping[str, Shape], Mapping[str, Shape]]) -> Iterator[Change]:
    """Yield how the mesh of an element changed beyond its place: the fields of `twin.shape.Shape`."""
    if not (isinstance(old, Element) and isinstance(new, Element)):
        return
    before, after = meshes[0].get(old.guid), meshes[1].get(new.guid)
    if before is None and after is None:
        return
    if before is None or after is None or not before.is_like(after):
        yield Change("shape", before and dataclasses.asdict(before), after and dataclasses.asdict(after))


def _entries(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys((*before, *after)):
        was, now = before.get(key), after.get(key)
        if not _equal(was, now):
            yield Change(f"{name}.{key}", was, now)


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, float) and isinstance(after, (int, float)):
        return math.isclose(before, after, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(before) and math.isnan(after))
    return bool(_value(before) == _value(after))


def _value(value: Any) -> Any:
    if isinstance(value, BaseGeometry):
        return value.geom_type
    return list(value) if isinstance(value, tuple) else value
