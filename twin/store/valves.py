"""Valves as crews and permits report them: what was operated when, by whom, kept for every trace."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twin.asset import AssetId
from twin.network import ValveState
from twin.store import geopackage
from twin.store.geopackage import Table

if TYPE_CHECKING:
    import sqlite3

VALVE_OPERATIONS = Table(
    "valve_operations",
    (
        ("asset", "TEXT NOT NULL"),
        ("state", "TEXT NOT NULL"),
        ("at", "TEXT NOT NULL"),
        ("by", "TEXT NOT NULL"),
        ("note", "TEXT NOT NULL"),
    ),
    indexed=("asset",),
)


def operate(db: sqlite3.Connection, asset: str, state: ValveState, at: datetime, *, by: str, note: str) -> None:
    """Note that `asset` stands in `state` since `at` (aware)."""
    geopackage.insert(db, VALVE_OPERATIONS, [(asset, state.value, at.astimezone(UTC).isoformat(), by, note)])
    geopackage.note_contents(db, VALVE_OPERATIONS, at)


def states(db: sqlite3.Connection, at: datetime | None) -> dict[AssetId, ValveState]:
    """Return how each operated valve stood at `at`, now without one: by its last operation until then."""
    found: dict[AssetId, tuple[datetime, ValveState]] = {}
    for asset, state, when in db.execute('SELECT asset, state, "at" FROM valve_operations ORDER BY fid'):
        moment = datetime.fromisoformat(when)
        if at is not None and moment > at:
            continue
        known = found.get(asset)
        if known is None or moment >= known[0]:
            found[AssetId(asset)] = moment, ValveState(state)
    return {asset: state for asset, (_, state) in found.items()}
