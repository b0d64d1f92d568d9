"""Real network files as plain rows."""

from __future__ import annotations

from pathlib import Path

import shapely

from tests.twin.network.networks import Drawn
from twin.city import City
from twin.model import Model, ReadRequest
from twin.readers.epanet import EpanetReader
from twin.readers.swmm import SwmmReader


def epanet(path: Path) -> Drawn:
    return rows(EpanetReader().read(path, ReadRequest("t")), "water")


def swmm(path: Path) -> Drawn:
    return rows(SwmmReader().read(path, ReadRequest("t")), "drainage")


def of_city(city: City, system: str) -> Drawn:
    """Return one system of a city's tables as rows."""
    nodes, links = (table[table["system"] == system] for table in (city.table("nodes"), city.table("links")))
    kinds = {"tank": "reservoir", "source": "reservoir"}
    statuses = nodes["status"].fillna("open")
    node_rows = [
        (asset, kinds.get(kind, kind), status)
        for asset, kind, status in zip(nodes["asset"], nodes["kind"], statuses, strict=True)
    ]
    lengths = links["length_m"].fillna(links.geometry.length)
    ways = links["kind"].replace("regulator", "pump")
    columns = (links["asset"], links["start"], links["end"], ways, links["status"].fillna("open"), lengths)
    return Drawn(node_rows, list(zip(*columns, strict=True)), system)


def rows(model: Model, system: str) -> Drawn:
    """Return a model's networks as rows.

    A tank is a source. What lets nothing back (check valve, PRV, PSV) is written as a pump, a control valve that does
    as a pipe; a valve is what crews close.
    """
    kinds = {"tank": "reservoir", "source": "reservoir"}
    nodes = [(node.id, kinds.get(node.kind.value, node.kind.value), node.status or "open") for node in model.nodes]
    links: list[tuple[str, str, str, str, str, float]] = []
    for link in model.links:
        kind = link.kind.value
        said = link.properties.get("valve_type")
        if (kind == "valve" and said in {"PRV", "PSV"}) or link.properties.get("check_valve"):
            kind = "pump"
        elif kind == "valve" and said in {"FCV", "PBV"}:
            kind = "pipe"
        length = link.length_m if link.length_m is not None else shapely.length(link.line)
        assert link.start is not None
        assert link.end is not None
        links.append((link.id, link.start, link.end, kind, link.status or "open", length))
    return Drawn(nodes, links, system)
