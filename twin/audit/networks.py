"""What there is to audit: the networks of a city, of one of its sources, or of a file that is in no city."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twin import crs as reference
from twin.asset import System
from twin.audit.subject import tables
from twin.errors import InputError, UnknownError
from twin.model import Decision, ReadRequest
from twin.readers import reader_for
from twin.readers.layers import open_layers

if TYPE_CHECKING:
    import pandas as pd

    from twin.city import City

_BUILDINGS = "ifc"


@dataclass(frozen=True, slots=True)
class Audited:
    """A network and what it is called: tables of nodes and links, and the CRS and unit of their coordinates."""

    name: str
    nodes: pd.DataFrame
    links: pd.DataFrame
    crs: str | None
    unit: str = "metre"
    unit_m: float = 1.0


def city_networks(city: City, source: str | None = None) -> list[Audited]:
    """Return the networks of a city: what stands in it as one, and each source that is not placed by itself.

    With `source` only the links of that source, and the nodes that are its own or that its links end at. Raises
    UnknownError where there is no such source, InputError E_EMPTY where there is no link.
    """
    nodes, links = city.table("nodes"), city.table("links")
    if source is not None:
        known = [row.source for row in city.sources()]
        if source not in known:
            raise UnknownError(f"no source {source!r}", where=str(city.path), expected=", ".join(known)[:200])
        links = links[links["source"] == source]
        used = nodes["asset"].isin(links["start"]) | nodes["asset"].isin(links["end"])
        found = [Audited(source, nodes[(nodes["source"] == source) | used], links, city.crs)]
    else:
        placed = Decision.PLACED.value
        loose = links.loc[links["placement"] != placed, "source"].unique().tolist()
        found = [
            Audited(city.path.name, nodes[nodes["placement"] == placed], links[links["placement"] == placed], city.crs),
            *(Audited(name, nodes[nodes["source"] == name], links[links["source"] == name], None) for name in loose),
        ]
    found = [network for network in found if len(network.links)]
    if not found:
        raise InputError("has no links", where=source or str(city.path), expected="a pipe network", code="E_EMPTY")
    return found


def file_network(path: Path, *, crs: str | None = None, system: System | None = None) -> Audited:
    """Read a file as it is found, without repair: in its own coordinates where they are a map's, whatever their unit.

    Degrees become metres of the zone that a new city would get (`twin.crs.adopt`). Raises InputError as the file's
    reader does, and E_EMPTY where the file has no links.
    """
    kind, reader = reader_for(path)
    if kind == _BUILDINGS:
        raise InputError("is a building model", where=str(path), expected="a pipe network", code="E_FORMAT")
    own = _map_crs(path, kind, crs)
    model = reader.read(path, ReadRequest(path.name, own, crs, system))
    if not model.links:
        raise InputError("has no links", where=str(path), expected="a pipe network", code="E_EMPTY")
    nodes, links = tables(model.nodes, model.links)
    placed = model.placement.crs
    axis = reference.horizontal(reference.parse(placed)).axis_info[0] if placed else None
    if axis is None:
        return Audited(path.name, nodes, links, None)
    return Audited(path.name, nodes, links, placed, axis.unit_name, axis.unit_conversion_factor)


def _map_crs(path: Path, kind: str, given: str | None) -> str | None:
    """Return the CRS of the file's own coordinates if it is projected, None: a reader's choice will do."""
    named = next((layer.crs for layer in open_layers(path) if layer.crs), None) if kind == "gis" else None
    crs = named or given
    return crs if crs and reference.horizontal(reference.parse(crs)).is_projected else None
