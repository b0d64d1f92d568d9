"""GeoJSON (RFC 7946): one feature an asset, longitude and latitude in WGS 84; or, on request, the city's coordinates.

Coordinates have eight decimals in degrees (a millimetre) or four in metres; rings follow the right-hand rule. RFC 7946
wants a third coordinate to be a height over the ellipsoid, which the city does not have: heights are written where an
asset has them, and the member ``heights`` says which they are. The city's own coordinates need the member ``crs`` of
GeoJSON 2008, which RFC 7946 took out; GDAL and QGIS still read it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import pairwise
from operator import attrgetter
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np
import shapely

from twin import crs as crs_of
from twin.model import Model
from twin.store import records
from twin.writers import HEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEGREE_DECIMALS = 8
METRE_DECIMALS = 4
_NAMES = {
    shapely.GeometryType.POINT: b"Point",
    shapely.GeometryType.LINESTRING: b"LineString",
    shapely.GeometryType.POLYGON: b"Polygon",
    shapely.GeometryType.MULTIPOLYGON: b"MultiPolygon",
}
LAYERS = tuple(record.table.name for record in records.RECORDS if record.geometry)
"""The tables that are written unless others are asked for: those with a geometry."""


def write(
    models: Iterable[Model], stream: BinaryIO, crs: str, *, tables: Collection[str] = LAYERS, lonlat: bool = True
) -> dict[str, int]:
    """Write the assets of placed `models`, one at a time, and return how many of each table.

    `crs` is the city's, in which the models stand; `lonlat` False keeps its coordinates. A feature's properties are
    the asset's fields, and the table and source that it is of; assets without a geometry have a null one.
    """
    head: dict[str, Any] = {"type": "FeatureCollection"}
    if not lonlat:
        head["crs"] = {"type": "name", "properties": {"name": _urn(crs)}}
    head["heights"] = HEIGHTS
    stream.write(msgspec.json.encode(head)[:-1] + b',"features":[')
    counts = dict.fromkeys(tables, 0)
    separator = b"\n"
    for model in models:
        for record in records.RECORDS:
            if record.table.name not in counts:
                continue
            for feature in _features(model, record, crs, lonlat=lonlat):
                stream.write(separator + feature)
                separator = b",\n"
                counts[record.table.name] += 1
    stream.write(b"\n]}\n")
    return counts


def _urn(crs: str) -> str:
    return f"urn:ogc:def:crs:EPSG::{crs.removeprefix('EPSG:')}" if crs.startswith("EPSG:") else crs


def _features(model: Model, record: records.Record, crs: str, *, lonlat: bool) -> Iterable[bytes]:
    assets = getattr(model, record.table.name)
    if not assets:
        return
    names = [field.name for field in record.fields if field.name != "id"]
    columns = [map(attrgetter(name), assets) for name in names]
    encode = msgspec.json.Encoder().encode
    for asset, shape, *values in zip(assets, _geometries(assets, record, crs, lonlat=lonlat), *columns, strict=True):
        properties = {"table": record.table.name, "source": model.source, **dict(zip(names, values, strict=True))}
        yield b"".join(
            (
                *(b'{"type":"Feature","id":', encode(asset.id), b',"geometry":', shape),
                *(b',"properties":', encode(properties), b"}"),
            )
        )


def _geometries(assets: Collection[Any], record: records.Record, crs: str, *, lonlat: bool) -> list[bytes]:
    """Return each asset's geometry as GeoJSON text, ``null`` where it has none."""
    texts = [b"null"] * len(assets)
    if record.geometry is None:
        return texts
    shapes = np.empty(len(assets), dtype=object)
    shapes[:] = list(map(attrgetter(record.geometry), assets))
    kinds, has_z, empty = shapely.get_type_id(shapes), shapely.has_z(shapes), shapely.is_empty(shapes)
    encode = msgspec.json.Encoder().encode
    # One kind at a time, and flat ones apart, so that none gains or loses its height.
    for kind, z in sorted(set(zip(kinds[~empty].tolist(), has_z[~empty].tolist(), strict=True)) - {(-1, False)}):
        chosen = np.flatnonzero((kinds == kind) & (has_z == z) & ~empty)
        moved = shapely.transform(shapes[chosen], lambda points: _moved(points, crs, lonlat), include_z=z)
        name, nested = _nested(shapely.orient_polygons(moved), z=z)
        for index, coordinates in zip(chosen.tolist(), nested, strict=True):
            texts[index] = b'{"type":"%b","coordinates":%b}' % (name, encode(coordinates))
    return texts


def _nested(shapes: NDArray[np.object_], *, z: bool) -> tuple[bytes, list[Any]]:
    """Return the name of the geometries' one type and the nested coordinates of each."""
    kind, points, offsets = shapely.to_ragged_array(shapes, include_z=z)
    nested: list[Any] = points.tolist()
    for offset in offsets:
        nested = [nested[start:end] for start, end in pairwise(offset.tolist())]
    return _NAMES[kind], nested


def _moved(points: NDArray[np.float64], crs: str, lonlat: bool) -> NDArray[np.float64]:
    out = points.round(METRE_DECIMALS)
    if lonlat:
        longitude, latitude = crs_of.to_lonlat(crs, points[:, 0], points[:, 1])
        out[:, 0], out[:, 1] = longitude.round(DEGREE_DECIMALS), latitude.round(DEGREE_DECIMALS)
    return out
