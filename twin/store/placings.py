"""Decisions where a model stands, as they were taken: none is ever removed, the last one of a source holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from twin.model import Placement
from twin.store import geopackage
from twin.store.geopackage import Table

if TYPE_CHECKING:
    import sqlite3

PLACINGS = Table(
    "placings",
    (
        ("source", "TEXT NOT NULL"),
        ("decided", "TEXT NOT NULL"),
        ("by", "TEXT NOT NULL"),
        ("why", "TEXT NOT NULL"),
        ("origin", "TEXT NOT NULL"),
        ("rotation_deg", "DOUBLE NOT NULL"),
        ("crs", "TEXT NOT NULL"),
        ("stated", "TEXT NOT NULL"),
    ),
    indexed=("source",),
)


@dataclass(frozen=True, slots=True)
class Placing:
    """A person's decision where a source stands; `origin` None takes the one before back.

    `origin` is easting, northing, height in `crs`, metres: of the point that the file's placement gives as its origin
    (of an IFC model the mesh's), else of the file's own zero. `rotation_deg` is what the model's x axis makes with
    grid east then, counter-clockwise. `stated` is the placement that the file brought.
    """

    source: str
    decided: datetime
    by: str
    why: str
    origin: tuple[float, float, float] | None
    rotation_deg: float
    crs: str
    stated: Placement


def find(db: sqlite3.Connection, source: str) -> Placing | None:
    """Return the last decision about `source`, None where there never was one."""
    names = [name for name, _ in PLACINGS.columns]
    listed = ", ".join(f'"{name}"' for name in names)
    query = f"SELECT {listed} FROM placings WHERE source = ? ORDER BY fid DESC LIMIT 1"  # noqa: S608  # our names
    row = db.execute(query, (source,)).fetchone()
    if row is None:
        return None
    values: dict[str, Any] = dict(zip(names, row, strict=True))
    values["origin"] = msgspec.json.decode(values["origin"])
    values["stated"] = msgspec.json.decode(values["stated"])
    return msgspec.convert(values, Placing, strict=False)


def write(db: sqlite3.Connection, placing: Placing) -> None:
    """Add a decision, inside the caller's transaction."""
    origin, stated = (msgspec.json.encode(part).decode() for part in (placing.origin, placing.stated))
    row = (placing.source, placing.decided.isoformat(), placing.by, placing.why, origin, placing.rotation_deg)
    geopackage.insert(db, PLACINGS, [(*row, placing.crs, stated)])
    geopackage.note_contents(db, PLACINGS, placing.decided)
