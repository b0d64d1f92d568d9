"""What happens to a model that was read before it is stored: it is placed as decided, joined, repaired; and doubts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import shapely

from twin import placing as placings
from twin.asset import AssetId, System
from twin.city import City
from twin.model import Decision, Issue, Model
from twin.network.repair import repaired
from twin.readers.gis import with_ends
from twin.store.sources import SourceRow


def entering(city: City, model: Model, digest: str, tolerance_m: float | None) -> Model:
    """Return `model` as it enters `city`, with the doubts about it among its issues.

    It stands where a person has placed it; its loose ends are joined to the nodes of other files that they name, and
    repaired within `tolerance_m` (None: not at all). `digest` is the SHA-256 of its file.
    """
    doubts: list[Issue] = []
    ready = _joined(city, _placed(city, model, doubts), doubts)
    if tolerance_m is not None:
        ready = _repaired(city, ready, tolerance_m, doubts)
    rows = city.sources()
    doubts += _displaced(rows, ready)
    doubts += _doubled(rows, model.source, digest)
    return dataclasses.replace(ready, issues=[*model.issues, *doubts])


def _placed(city: City, model: Model, doubts: list[Issue]) -> Model:
    """Put a model where a person has decided, if its file still says of its place what it said then."""
    placing = city.placing(model.source)
    if placing is None or placing.origin is None:
        return model
    if placings.holds(placing, model.placement):
        return placings.placed(model, placing, city.crs or placing.crs)
    when = f"{placing.decided:%Y-%m-%d %H:%M}Z"
    doubts.append(
        Issue(
            "E_PLACEMENT",
            f"the file now says otherwise where it stands: what {placing.by} decided on {when} was not applied",
        )
    )
    return model


def _displaced(rows: Sequence[SourceRow], model: Model) -> Iterator[Issue]:
    """Yield the doubt about a model that has lost its place in the city."""
    earlier = next((row for row in rows if row.source == model.source), None)
    if earlier and earlier.placement.decision is Decision.PLACED and model.placement.decision is not Decision.PLACED:
        stood = f"stood in the city as revision {earlier.revision} and is {model.placement.decision.value} now"
        yield Issue("E_PLACEMENT", f"{stood}: give its --crs, or `chengmai place {model.source}`")


def _doubled(rows: Sequence[SourceRow], source: str, digest: str) -> Iterator[Issue]:
    """Yield a doubt where the city has the same file under another name."""
    twins = [row.source for row in rows if row.sha256 == digest and row.source != source]
    if twins:
        yield Issue("E_DOUBLE", f"the city has this file as {', '.join(twins)} too: what it brings counts twice")


def _repaired(city: City, model: Model, tolerance_m: float, doubts: list[Issue]) -> Model:
    """Join what is loose in a network; where the model is placed, to the city's other nodes too."""
    loose = [link.line for link in model.links if link.start is None or link.end is None]
    if not loose:
        return model
    is_placed = model.placement.decision is Decision.PLACED
    west, south, east, north = shapely.total_bounds(loose)
    if not is_placed and west >= -180 and east <= 180 and south >= -90 and north <= 90:
        doubts.append(Issue("E_REPAIR", "nothing was repaired: not placed, its coordinates may be degrees"))
        return model
    others = city.nodes_beside(model.source, {link.system for link in model.links}) if is_placed else ()
    return repaired(model, tolerance_m=tolerance_m, others=others)


def _joined(city: City, model: Model, doubts: list[Issue]) -> Model:
    """Join links whose ends name nodes of other files to the city's nodes of their system, where one has that name."""
    loose = [
        link
        for link in model.links
        if (link.properties.get("from") and not link.start) or (link.properties.get("to") and not link.end)
    ]
    if not loose:
        return model
    known: dict[System, Mapping[str, AssetId]] = {
        system: city.nodes_named(system) for system in {link.system for link in loose}
    }
    links = [with_ends(link, known[link.system].get) if link.system in known else link for link in model.links]
    open_ends = sum(
        (link.start is None and bool(link.properties.get("from")))
        + (link.end is None and bool(link.properties.get("to")))
        for link in links
    )
    if open_ends:
        doubts.append(
            Issue(
                "E_NODE", f"{open_ends} ends name nodes that the city does not have (load the nodes, then this again)"
            )
        )
    return dataclasses.replace(model, links=links)
