"""An answer on the map: which part each asset plays in it, as GeoJSON in longitude and latitude."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, cast

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from twin import crs as reference

Said: TypeAlias = Mapping[str, str | int | float | bool]
Bounds: TypeAlias = tuple[float, float, float, float]

DIGITS = 7
"""Decimals of a degree: a centimetre."""

UNKNOWN_HEIGHT_M = 9.0
"""What a building of unknown height is drawn with, as on the map without an answer."""


class Role(StrEnum):
    """The part that an asset plays in an answer; the map draws each in its own way."""

    ORIGIN = "origin"
    SEGMENT = "segment"
    UNSUPPLIED = "unsupplied"
    VALVE = "valve"
    NEXT_VALVE = "next_valve"
    HYDRANT = "hydrant"
    BUILDING = "building"
    DRAIN = "drain"
    MANHOLE = "manhole"
    CANDIDATE = "candidate"
    WASHED = "washed"
    RADIUS = "radius"


SIGNS = frozenset({Role.VALVE, Role.NEXT_VALVE, Role.HYDRANT, Role.ORIGIN})
"""Roles that are a sign only: of a line or area its middle."""


_OFTEN_ALIKE = frozenset({"link", "node"})
"""Kinds of assets whose names many of them share."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One asset of an answer: its role, and what is written beside it or drawn from (rank, distance_m, people …).

    `shape` is where it is (city's CRS) where that is not the asset's own geometry. What is not `framed` may lie outside
    of the picture that the answer opens with.
    """

    asset: str
    role: Role
    said: Said = field(default_factory=dict[str, Any])
    shape: BaseGeometry | None = None
    framed: bool = True


class Ground:
    """Where the assets of one revision of a city are; made from the city view's layers."""

    def __init__(self, layers: Mapping[str, gpd.GeoDataFrame], crs: str | None, modelled: Iterable[str] = ()) -> None:
        self._layers = [layers[name] for name in ("links", "nodes", "buildings") if name in layers]
        self._shapes: list[Sequence[BaseGeometry | None]] = [list(layer.geometry) for layer in self._layers]
        self._crs = crs
        self._modelled = frozenset(modelled)

    def said(self, asset: str, column: str) -> Any:
        """Return one column of a link, node or building; None where it is not known."""
        for layer in self._layers:
            if column in layer.columns and asset in layer.index:
                value = layer[column].array[layer.index.get_loc(asset)]
                return None if value is None or value != value else value  # noqa: PLR0124 - NaN
        return None

    def name(self, asset: str) -> str:
        """Return what people call an asset, and its own id where that says more: many pipes are called by their street.

        Its whole id where nothing better is known.
        """
        _, _, rest = asset.partition(":")
        kind, _, own = rest.partition(":")
        name = str(self.said(asset, "name") or asset)
        return f"{name} {own}" if kind in _OFTEN_ALIKE and own not in name else name

    def shape(self, asset: str) -> BaseGeometry | None:
        """Return where an asset is, in the city's CRS; None where it has no place."""
        for layer, shapes in zip(self._layers, self._shapes, strict=True):
            if asset in layer.index:
                return shapes[cast("int", layer.index.get_loc(asset))]  # ids are unique
        return None

    def place(self, asset: str) -> tuple[float, float] | None:
        """Return longitude and latitude (degrees) of an asset's middle; None where it has no place."""
        shape = self.shape(asset)
        if self._crs is None or shape is None or shape.is_empty:
            return None
        middle = _middle(shape)
        longitude, latitude = reference.to_lonlat(self._crs, middle.x, middle.y)
        return round(float(longitude), DIGITS), round(float(latitude), DIGITS)

    def draw(self, marks: Sequence[Mark]) -> tuple[dict[str, Any], Bounds | None]:
        """Return the marks as a GeoJSON FeatureCollection in degrees, and its bounds; west, south, east, north.

        What has no place in the city is left out: an answer lists it all the same.
        """
        shapes: list[BaseGeometry] = []
        described: list[dict[str, Any]] = []
        framed: list[bool] = []
        for mark in marks:
            shape = mark.shape or self.shape(mark.asset)
            if shape is None or shape.is_empty:
                continue
            said = {"asset": mark.asset, "role": mark.role.value, "name": self.name(mark.asset), **mark.said}
            if mark.role is Role.BUILDING:
                height = self.said(mark.asset, "height_m") or UNKNOWN_HEIGHT_M
                said |= {"height_m": float(height), "modelled": mark.asset in self._modelled}
            shapes += (parts := _parts(mark.role, shapely.force_2d(shape)))
            described += [said] * len(parts)
            framed += [mark.framed] * len(parts)
        if not shapes or self._crs is None:
            return {"type": "FeatureCollection", "features": []}, None
        placed = self._to_degrees(np.array(shapes, object))
        features = [
            {"type": "Feature", "geometry": shapely.geometry.mapping(shape), "properties": said}
            for shape, said in zip(placed, described, strict=True)
        ]
        west, south, east, north = (
            round(float(v), DIGITS) for v in shapely.total_bounds(placed[framed] if any(framed) else placed)
        )
        return {"type": "FeatureCollection", "features": features}, (west, south, east, north)

    def _to_degrees(self, shapes: Any) -> Any:
        crs = self._crs
        assert crs is not None  # nothing is drawn in a city without one

        def degrees(points: Any) -> Any:
            return np.round(np.column_stack(reference.to_lonlat(crs, points[:, 0], points[:, 1])), DIGITS)

        return shapely.transform(shapes, degrees)


def _parts(role: Role, shape: BaseGeometry) -> list[BaseGeometry]:
    """Return what is drawn of a shape: a sign stands on a line's middle, a name inside a building."""
    if role is Role.BUILDING and shape.geom_type != "Point":
        return [shape, shape.representative_point()]
    if role in SIGNS:
        return [_middle(shape)]
    return [shape]


def _middle(shape: BaseGeometry) -> shapely.Point:
    if isinstance(shape, shapely.LineString):
        return shape.interpolate(0.5, normalized=True)
    return shape.representative_point()
