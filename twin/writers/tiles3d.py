"""3D Tiles 1.1 (OGC 22-025r4): a `tileset.json` over GLB contents, on the globe.

Models are tiles of their own, as their files drew them; buildings known by footprint and height are raised, pipes are
drawn as tubes, some hundreds a tile. Every tile with content has a rigid frame of its own, so that single precision is
enough, and a box that holds all its vertices; a parent's box holds its children's. What a tile without content leaves
out is at most as large as its box, which is its geometric error; tiles with content leave nothing out. Heights: see
`twin.writers.globe`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import MultiPolygon, Polygon, STRtree

from twin.asset import Building, Link, System
from twin.buildings import COVERED
from twin.model import Model
from twin.writers import HEIGHTS, globe
from twin.writers.features import described
from twin.writers.glb import Colour, Surface, glb, unpacked
from twin.writers.solids import Triangles, extruded, tubes

TILESET = "tileset.json"
MOST_BUILDINGS, MOST_LINKS = 500, 1000
"""Assets of one tile."""
LEAST_RADIUS_M = 0.05
"""A thinner pipe would not be seen; one without a diameter is drawn so."""
BUILDING: Colour = (0.76, 0.76, 0.74, 1.0)
COLOURS: Mapping[System, Colour] = {
    System.WATER: (0.08, 0.35, 0.75, 1.0),
    System.DRAINAGE: (0.35, 0.24, 0.13, 1.0),
    System.RAIN: (0.2, 0.45, 0.5, 1.0),
    System.GAS: (0.85, 0.6, 0.05, 1.0),
    System.HEAT: (0.75, 0.15, 0.1, 1.0),
    System.STRUCTURE: (0.4, 0.4, 0.4, 1.0),
}

_Array: TypeAlias = NDArray[np.float64]
_Draw: TypeAlias = "Callable[[NDArray[np.intp]], tuple[Triangles, Mapping[str, Sequence[str]]]]"
"""Draws the assets of these indices, and says what they are: text by column."""


@dataclass(frozen=True, slots=True)
class Tileset:
    """What was written: how many of each table are drawn, and a line for whatever was left out or assumed."""

    counts: Mapping[str, int]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Tile:
    """A tile with content (`frame` to earth-centred coordinates, box from `low` to `high` in it) or with children."""

    frame: _Array = field(default_factory=lambda: np.eye(4))
    low: _Array = field(default_factory=lambda: np.zeros(3))
    high: _Array = field(default_factory=lambda: np.zeros(3))
    uri: str = ""
    children: Sequence[_Tile] = ()

    def leaves(self) -> Iterable[_Tile]:
        if self.uri:
            yield self
        for child in self.children:
            yield from child.leaves()


def write(models: Iterable[Model], folder: Path, crs: str) -> Tileset:
    """Write the tiles of placed `models`, which stand in `crs`, into `folder`; nothing to draw makes an empty one."""
    writer = _Writer(folder, crs)
    for model in models:
        writer.add(model)
    return writer.finish()


class _Writer:
    """A tileset under way: tiles of models that are written, buildings and links that wait for theirs."""

    def __init__(self, folder: Path, crs: str) -> None:
        self.folder, self.crs = folder, crs
        self.tiles: list[_Tile] = []
        self.buildings: list[Building] = []
        self.modelled: list[Polygon | MultiPolygon] = []
        self.links: dict[System, list[Link]] = {}
        self.counts: Counter[str] = Counter()
        self.said: Counter[str] = Counter()

    def add(self, model: Model) -> None:
        """Write a model's own mesh; keep its links, and the buildings of one without a mesh, for their tiles."""
        if model.mesh is not None:
            self.tiles.append(self._model(model, model.mesh))
            self.modelled += [building.footprint for building in model.buildings if building.footprint]
        else:
            drawn = [one for one in model.buildings if one.footprint and not one.footprint.is_empty and one.height_m]
            self.said["buildings left out: without a footprint or a height"] += len(model.buildings) - len(drawn)
            self.said["buildings at height 0: their ground is not known"] += sum(one.ground_m is None for one in drawn)
            self.buildings += drawn
        for link in model.links:
            if link.line.length:
                self.links.setdefault(link.system, []).append(link)
            else:
                self.said["links left out: without a line"] += 1

    def finish(self) -> Tileset:
        """Write the tiles that wait, and the tileset."""
        self._leave_out_modelled()
        if self.buildings:
            shapes = np.array([one.footprint for one in self.buildings], dtype=object)
            self.tiles.append(self._tree(shapes, MOST_BUILDINGS, "buildings", BUILDING, self._raised))
        for system, links in sorted(self.links.items()):
            shapes = np.array([link.line for link in links], dtype=object)
            self.said["links at height 0: their level is not known"] += int((~shapely.has_z(shapes)).sum())
            tree = self._tree(
                shapes, MOST_LINKS, system.value, COLOURS[system], lambda at, of=links: self._laid(of, at)
            )
            self.tiles.append(tree)
        text = json.dumps(_tileset(self.tiles), separators=(",", ":"), ensure_ascii=False)
        (self.folder / TILESET).write_text(text + "\n", encoding="utf-8")
        return Tileset(dict(self.counts), [f"{count} {what}" for what, count in self.said.items() if count])

    def _model(self, model: Model, mesh: bytes) -> _Tile:
        document, _ = unpacked(mesh)
        elements = document["asset"]["extras"]["elements"]
        columns = {name: [row[at] for row in elements] for at, name in enumerate(("guid", "class", "name"))}
        place = model.placement
        frame = globe.frame(np.array(place.origin or (0.0, 0.0, 0.0)), self.crs) @ globe.turn(place.rotation_deg)
        self.counts["elements"] += len(elements)
        return self._leaf("models", described(mesh, columns, {"heights": HEIGHTS, "source": model.source}), frame)

    def _leave_out_modelled(self) -> None:
        """Raise no building of which a model stands on most of the footprint: one would stand inside the other."""
        shapes = np.array([one.footprint for one in self.buildings], dtype=object)
        models = np.array(self.modelled, dtype=object)
        of, model = STRtree(models).query(shapes, predicate="intersects")
        shared = shapely.area(shapely.intersection(shapes[of], models[model]))
        covered = np.bincount(of, shared, len(shapes)) > COVERED * shapely.area(shapes)
        self.said["buildings not raised: models of them stand there"] += int(covered.sum())
        self.buildings = [one for one, out in zip(self.buildings, covered.tolist(), strict=True) if not out]

    def _tree(self, shapes: NDArray[np.object_], most: int, kind: str, colour: Colour, draw: _Draw) -> _Tile:
        """Return a tile of all `shapes`: halved along the longer side until a tile has few enough (a k-d tree)."""
        boxes = shapely.bounds(shapes)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2

        def tile(chosen: NDArray[np.intp]) -> _Tile:
            if len(chosen) <= most:
                triangles, columns = draw(np.sort(chosen))
                return self._batch(kind, triangles, columns, colour)
            axis = int(np.argmax(np.ptp(middles[chosen], axis=0)))
            ordered = chosen[np.argsort(middles[chosen, axis], kind="stable")]
            half = len(ordered) // 2
            return _Tile(children=(tile(ordered[:half]), tile(ordered[half:])))

        return tile(np.arange(len(shapes)))

    def _raised(self, chosen: NDArray[np.intp]) -> tuple[Triangles, Mapping[str, Sequence[str]]]:
        of = [self.buildings[index] for index in chosen.tolist()]
        self.counts["buildings"] += len(of)
        bottom = np.array([one.ground_m or 0.0 for one in of])
        top = bottom + np.array([one.height_m or 0.0 for one in of])
        shapes = np.array([one.footprint for one in of], dtype=object)
        columns = {"asset": [one.id for one in of], "name": [one.name for one in of]}
        return extruded(shapes, bottom, top), columns | {"usage": [one.usage or "" for one in of]}

    def _laid(self, links: Sequence[Link], chosen: NDArray[np.intp]) -> tuple[Triangles, Mapping[str, Sequence[str]]]:
        of = [links[index] for index in chosen.tolist()]
        self.counts["links"] += len(of)
        radii = np.array([max((link.diameter_m or 0.0) / 2, LEAST_RADIUS_M) for link in of])
        # The level of a drain is its invert, that of a pipe under pressure its axis.
        rise = np.where([link.system in (System.DRAINAGE, System.RAIN) for link in of], radii, 0.0)
        lines = shapely.force_3d(np.array([link.line for link in of], dtype=object))
        tube = tubes(lines, radii)
        tube.positions[:, 2] += rise[tube.owners]
        columns = {"asset": [link.id for link in of], "name": [link.name for link in of]}
        return tube, columns | {
            "kind": [link.kind.value for link in of],
            "material": [link.material or "" for link in of],
        }

    def _batch(self, kind: str, of: Triangles, columns: Mapping[str, Sequence[str]], colour: Colour) -> _Tile:
        middle = (of.positions.min(axis=0) + of.positions.max(axis=0)) / 2
        frame = globe.frame(middle, self.crs)
        # Each vertex is carried to the globe by itself: the grid is not rigid, and the earth is round.
        local = globe.apply(globe.inverse(frame), globe.ecef(of.positions, self.crs))
        data = glb([Surface(of.owners, colour, local, of.normals, of.corners)], [])
        assert data is not None
        return self._leaf(kind, described(data, columns, {"heights": HEIGHTS}), frame)

    def _leaf(self, kind: str, data: bytes, frame: _Array) -> _Tile:
        (self.folder / kind).mkdir(exist_ok=True)
        uri = f"{kind}/{sum(1 for _ in (self.folder / kind).iterdir())}.glb"
        (self.folder / uri).write_bytes(data)
        document, _ = unpacked(data)
        primitives = [primitive for mesh in document["meshes"] for primitive in mesh["primitives"]]
        accessors = [document["accessors"][primitive["attributes"]["POSITION"]] for primitive in primitives]
        low, high = np.min([a["min"] for a in accessors], axis=0), np.max([a["max"] for a in accessors], axis=0)
        # A viewer turns glTF's y up into z up: x, -z, y (OGC 22-025r4, 6.7.1.6.2).
        return _Tile(frame, np.array([low[0], -high[2], low[1]]), np.array([high[0], -low[2], high[1]]), uri)


def _tileset(tiles: Sequence[_Tile]) -> dict[str, Any]:
    leaves = [leaf for tile in tiles for leaf in tile.leaves()]
    frame = leaves[0].frame if leaves else np.eye(4)
    root = _described(_Tile(children=tiles), globe.inverse(frame)) | {"transform": frame.T.ravel().tolist()}
    return {
        "asset": {"version": "1.1", "generator": "Chengmai", "extras": {"heights": HEIGHTS}},
        "geometricError": root["geometricError"],
        "root": root | {"refine": "ADD"},
    }


def _described(tile: _Tile, to_root: _Array) -> dict[str, Any]:
    """Return a tile as the specification writes it; boxes of tiles without content are in the root's frame."""
    if tile.uri:
        return {
            "boundingVolume": {"box": _box(tile.low, tile.high)},
            "geometricError": 0.0,
            "transform": (to_root @ tile.frame).T.ravel().tolist(),
            "content": {"uri": tile.uri},
        }
    corners = [globe.apply(to_root @ leaf.frame, _corners(leaf.low, leaf.high)) for leaf in tile.leaves()]
    every = np.concatenate(corners) if corners else np.zeros((1, 3))
    low, high = every.min(axis=0), every.max(axis=0)
    described_tile: dict[str, Any] = {
        "boundingVolume": {"box": _box(low, high)},
        "geometricError": float(np.linalg.norm(high - low)),
    }
    if tile.children:
        described_tile["children"] = [_described(child, to_root) for child in tile.children]
    return described_tile


def _box(low: _Array, high: _Array) -> list[float]:
    """Return the middle of a box and its three half axes, a millimetre longer than it is for single precision."""
    half = (high - low) / 2 + 1e-3
    return [*((low + high) / 2).tolist(), *np.diag(half).ravel().tolist()]


def _corners(low: _Array, high: _Array) -> _Array:
    half = (high - low) / 2 + 1e-3
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    return (low + high) / 2 + signs * half
