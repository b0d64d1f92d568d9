"""Vector layers as GDAL reads them, and which encoding a Shapefile's table is in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from twin.errors import InputError
from twin.readers.text import decode

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DBF_SAMPLE = 4 * 1024 * 1024
_DBF_HEADER_LENGTH = slice(8, 10)
_OWN_TABLES = frozenset(("buildings", "elements", "nodes", "links", "zones", "sources", "meshes", "city"))


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its rows without geometry, the geometries (None where a row has none), its CRS as text."""

    name: str
    frame: pd.DataFrame
    geometries: NDArray[np.object_]
    crs: str | None
    encoding: str


def open_layers(path: Path) -> list[Layer]:
    """Return every layer of `path` that has geometry.

    Raises InputError E_FORMAT what GDAL cannot read, E_TRUNCATED fewer rows than the file declares, E_EMPTY no row.
    """
    import pyogrio  # noqa: PLC0415  # GDAL takes half a second to load
    from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError  # noqa: PLC0415

    encoding = _table_encoding(path)
    try:
        names = [name for name, geometry in pyogrio.list_layers(path) if geometry is not None]
        every = {name for name, _ in pyogrio.list_layers(path)}
        if every >= _OWN_TABLES:
            raise InputError("is a city, not a layer", where=str(path), expected="a file to load", code="E_FORMAT")
        layers = [_open(path, name, encoding) for name in names]
    except (DataSourceError, DataLayerError, FeatureError, GeometryError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].partition("; It might help")[0].replace(str(path), path.name)[:160]
        raise InputError(
            f"GDAL cannot read it: {reason}", where=str(path), expected="a whole vector file", code="E_FORMAT"
        ) from None
    if not any(len(layer.frame) for layer in layers):
        raise InputError("has no features", where=str(path), expected="points, lines or polygons", code="E_EMPTY")
    return layers


def _open(path: Path, name: str, encoding: str | None) -> Layer:
    import pyogrio  # noqa: PLC0415  # as above

    info = pyogrio.read_info(path, layer=name, encoding=encoding)
    # A line of one point is no geometry: the row comes without one, and is told like any other of those.
    frame = pyogrio.read_dataframe(path, layer=name, encoding=encoding, on_invalid="ignore")
    declared = int(info["features"])
    if declared >= 0 and len(frame) != declared:
        raise InputError(
            f"has {len(frame)} of {declared} features", where=str(path), expected="a whole file", code="E_TRUNCATED"
        )
    geometries = np.asarray(frame.geometry.to_numpy(), dtype=object)
    rows = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    for column in [name for name, kind in rows.dtypes.items() if kind.kind == "O" and kind != "str"]:
        rows[column] = [_plain(value) for value in rows[column].tolist()]
    crs = info["crs"]
    return Layer(str(name), rows, geometries, str(crs) if crs else None, str(info["encoding"]))


def _plain(value: Any) -> Any:
    """Return a list, which GeoJSON may hold, as text; anything else as it is."""
    return ", ".join(map(str, value)) if isinstance(value, np.ndarray) else value


def _table_encoding(path: Path) -> str | None:
    """Return the encoding of a .dbf that does not say it (no .cpg, language id 0); None leaves it to GDAL."""
    table = path.with_suffix(".dbf")
    if path.suffix.lower() != ".shp" or path.with_suffix(".cpg").exists() or not table.exists():
        return None
    with table.open("rb") as file:
        data = file.read(_DBF_SAMPLE)
    if len(data) < 32 or data[29] != 0:
        return None
    header = int.from_bytes(data[_DBF_HEADER_LENGTH], "little")
    names = data[32:header:1].replace(b"\x00", b" ")
    _, encoding = decode(names + data[header:].replace(b"\x00", b" "), str(table))
    return {"utf-8": "UTF-8", "gb18030": "GB18030", "latin-1": "ISO-8859-1"}.get(encoding)
