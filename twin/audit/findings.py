"""What an audit finds: one row a finding, with a code, a place and one clear sentence; as CSV and as a layer."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from twin import crs as reference
from twin.errors import InputError
from twin.store import geopackage
from twin.writers.output import whole_copy, whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Severity(StrEnum):
    """How much a finding matters: it contradicts itself, it is likely wrong, or it is good to know."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Check(StrEnum):
    """What an audit looks for; the value is the finding's code, and the key of the count in JSON."""

    COMPONENTS = "components"
    """A group of links that hang together; every group is a row."""
    DANGLING = "dangling"
    """A node where one link ends."""
    NEAR_NO_NODE = "near_no_node"
    """A dangling node near a link that does not end there."""
    CROSSINGS_NO_NODE = "crossings_no_node"
    """Two links of one system whose insides meet in points (OGC Simple Features: crosses)."""
    NEAR_DUPLICATE_NODES = "near_duplicate_nodes"
    """Two nodes with links, near each other, that no link joins."""
    DUPLICATE_EDGES = "duplicate_edges"
    """A link between two nodes that an earlier one joins already, in either direction."""
    START_IS_END = "start_is_end"
    """A link that ends where it starts."""
    ZERO_LENGTH = "zero_length"
    """A pipe without length, drawn or stated."""
    SHORT_SEGMENT = "short_segment"
    """A pipe shorter than 0.05 m."""
    LONG_SEGMENT = "long_segment"
    """A pipe longer than 75 m."""
    STEEP_SEGMENT = "steep_segment"
    """A pipe steeper than 10°."""
    REVERSED_SLOPE = "reversed_slope"
    """A drain that rises from its start to its end."""
    MISSING_DIAMETER = "missing_diameter"
    """A pipe without a diameter."""
    MISSING_MATERIAL = "missing_material"
    """A pipe without a material."""
    GROUND_BELOW_INVERT = "ground_below_invert"
    """A node whose ground lies below its invert."""
    LEVEL_ABOVE_GROUND = "level_above_ground"
    """A link end that lies above the ground of its node."""
    END_BELOW_NODE_INVERT = "end_below_node_invert"
    """A link end that lies below the invert of its node."""
    COVER_DISAGREES = "cover_disagrees"
    """Ground is not pipe level plus cover, or a well is less deep than its pipes."""
    DEPTHS_DIFFER = "depths_differ"
    """A point with several depths, or where pipes under pressure meet in several levels."""
    DUPLICATE_POINT_NUMBER = "duplicate_point_number"
    """A point whose number another point of its class in the same file has."""
    DUPLICATE_XYZ = "duplicate_xyz"
    """A point that stands where another one of its system stands, in plan and height."""
    FEATURE_AND_APPURTENANCE = "feature_and_appurtenance"
    """A point with both a feature (特征) and an appurtenance (附属物)."""
    MISSING_POINT = "missing_point"
    """A link end that names a point which is not there."""
    DEGREE_AGAINST_FEATURE = "degree_against_feature"
    """A point where more or fewer links meet than its feature says: a tee (三通) with two."""
    UNLINKED_NODES = "unlinked_nodes"
    """A point where no link ends."""
    ISOLATED = "isolated"
    """A group of links without a source (drains: an outfall), or a system of which none is known."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: what `asset` it is about, which `other` one is in it, where, the value seen and its limit.

    `easting` and `northing` are in the coordinates of what was audited, None where it is not drawn; `value` and
    `limit` are in the unit that the sentence names.
    """

    code: Check
    severity: Severity
    asset: str
    other: str | None
    easting: float | None
    northing: float | None
    value: float | None
    limit: float | None
    sentence: str


def findings(
    code: Check,
    severities: Severity | Iterable[Severity],
    assets: Sequence[str],
    xy: NDArray[np.float64],
    sentences: Iterable[str],
    *,
    others: Sequence[str | None] | None = None,
    values: Sequence[float] | NDArray[Any] | None = None,
    limit: float | None = None,
) -> list[Finding]:
    """Return a finding a row of `assets` and `xy` (n, 2); a severity for all or one each."""
    count = len(assets)
    every = [severities] * count if isinstance(severities, Severity) else severities
    numbers = [None] * count if values is None else np.asarray(values, dtype=np.float64).tolist()
    places = [(None, None) if x != x else (x, y) for x, y in xy.tolist()]  # noqa: PLR0124  # NaN: it is not drawn
    return [
        Finding(code, severity, asset, other, x, y, value, limit, sentence)
        for severity, asset, other, (x, y), value, sentence in zip(
            every, assets, others or [None] * count, places, numbers, sentences, strict=True
        )
    ]


_COLUMNS = tuple(field.name for field in fields(Finding))
_LAYER = geopackage.Table(
    "findings",
    tuple((name, "DOUBLE" if name in ("easting", "northing", "value", "limit") else "TEXT") for name in _COLUMNS),
    "POINT",
    indexed=("code",),
)


def write_csv(rows: Iterable[Finding], path: Path) -> None:
    """Write the findings to `path` as CSV (RFC 4180, UTF-8 with a byte order mark, which Excel needs for Chinese).

    Raises as `twin.writers.output.whole_file` does.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    with whole_file(path) as stream:
        stream.write(text.getvalue().encode("utf-8-sig"))


def write_layer(rows: Sequence[Finding], path: Path, crs: str | None, at: datetime) -> None:
    """Write the findings to a new GeoPackage at `path`, in the place of one written before: a layer of points.

    `crs` is the coordinates' CRS, None where nobody knows it; `at` is the time noted. A finding without a place is a
    row without geometry. Raises InputError E_EXISTS where something else is at `path` (a city, say), else as
    `twin.writers.output.whole_copy` does.
    """
    if path.exists() and not _is_ours(path):
        raise InputError("is no layer of findings", where=str(path), expected="a new file", code="E_EXISTS")
    xy = np.array([(row.easting, row.northing) for row in rows], dtype=np.float64).reshape(-1, 2)
    points = np.array(shapely.points(xy), dtype=object)
    points[np.isnan(xy).any(axis=1)] = None
    with whole_copy(path) as unfinished:
        _write(unfinished, [astuple(row) for row in rows], points, crs, at)


def _write(
    path: Path, rows: Sequence[tuple[Any, ...]], points: NDArray[np.object_], crs: str | None, at: datetime
) -> None:
    with geopackage.one_line_errors(path):
        db = geopackage.connect(path, busy_timeout_s=0)
        try:
            with geopackage.transaction(db):
                geopackage.create(db, [_LAYER], geopackage.UNDEFINED_CARTESIAN, at)
                srs = geopackage.UNDEFINED_CARTESIAN
                with geopackage.untriggered(db, [_LAYER]):
                    if crs:
                        srs = geopackage.put_srs(db, reference.parse(crs))
                        geopackage.move_to_srs(db, [_LAYER], srs)
                    geopackage.insert(db, _LAYER, rows, points, srs)
                    geopackage.note_contents(db, _LAYER, at)
        finally:
            db.close()


def _is_ours(path: Path) -> bool:
    with geopackage.one_line_errors(path):
        db = geopackage.connect(path, busy_timeout_s=0)
        try:
            return {name for (name,) in db.execute("SELECT table_name FROM gpkg_contents")} == {_LAYER.name}
        finally:
            db.close()
