"""Which area a network node lies in: district metered areas and subcatchments of its own system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from twin.asset import ZoneKind
from twin.model import Decision, Model
from twin.store import geopackage

if TYPE_CHECKING:
    import sqlite3

_KINDS = (ZoneKind.DMA.value, ZoneKind.SUBCATCHMENT.value)


def zone_nodes(db: sqlite3.Connection, model: Model) -> None:
    """Write the zone of every node that `model` has changed the answer for, inside the caller's transaction.

    Those are the nodes of `model`, and where it brings or had brought zones, all of the city: a zone reaches the nodes
    of every file. Only what is placed lies in a zone; where zones overlap the smallest counts. Call it within
    `twin.store.geopackage.untriggered`, after the assets were written.
    """
    marks = ", ".join("?" * len(_KINDS))
    zones = db.execute(
        f"SELECT asset, system, geom FROM zones WHERE kind IN ({marks}) AND placement = ?",  # noqa: S608  # marks only
        (*_KINDS, Decision.PLACED.value),
    ).fetchall()
    gone = "SELECT 1 FROM nodes WHERE zone NOT NULL AND zone NOT IN (SELECT asset FROM zones) LIMIT 1"
    everywhere = bool(model.zones) or db.execute(gone).fetchone() is not None
    condition, values = ("1", ()) if everywhere else ("source = ?", (model.source,))
    nodes = db.execute(
        f"SELECT fid, system, zone, geom FROM nodes WHERE {condition} AND placement = ?",  # noqa: S608  # fixed text
        (*values, Decision.PLACED.value),
    ).fetchall()
    found = _covering(nodes, zones)
    changed = [(zone, node[0]) for node, zone in zip(nodes, found, strict=True) if zone != node[2]]
    db.executemany("UPDATE nodes SET zone = ? WHERE fid = ?", changed)


def _covering(nodes: list[tuple[Any, ...]], zones: list[tuple[Any, ...]]) -> list[str | None]:
    """Return the smallest zone of its system that covers each node (fid, system, zone, geometry)."""
    found: list[str | None] = [None] * len(nodes)
    if not zones or not nodes:
        return found
    areas = np.array([geopackage.decode(zone[2]) for zone in zones], dtype=object)
    order = np.argsort(-shapely.area(areas), kind="stable")  # the smallest is written last
    points = np.array([geopackage.decode(node[3]) for node in nodes], dtype=object)
    tree = shapely.STRtree(points)
    for index in order:
        asset, system, _ = zones[index]
        for node in tree.query(areas[index], predicate="intersects"):
            if nodes[node][1] == system:
                found[node] = asset
    return found
