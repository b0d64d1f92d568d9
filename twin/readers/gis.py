"""GIS layers (GeoJSON, GeoPackage, Shapefile): points become nodes, lines links, polygons buildings or areas.

Nothing is repaired here: ends are joined only where the file names its nodes; rows without a geometry are counted and
listed. The account says which column was taken for what, and which were not understood.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from twin import crs as reference
from twin import norms
from twin.asset import (
    AssetId,
    Building,
    Link,
    LinkKind,
    Node,
    NodeKind,
    System,
    Zone,
    ZoneKind,
    asset_id,
)
from twin.errors import InputError
from twin.model import Issue, Model, ReadRequest
from twin.readers import columns
from twin.readers.layers import Layer, open_layers
from twin.readers.position import Position, bounds_of, position
from twin.readers.rows import Part, Reading, Rows, list_rows, optional, parts_of, row_names, usable_rows

_POINT, _LINE, _AREA = (0, 4), (1, 2, 5), (3, 6)


class GisReader:
    """Reads vector layers through GDAL (entry point ``gis``)."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file is GeoJSON, a GeoPackage or a Shapefile by its name and first bytes."""
        suffix = path.suffix.lower()
        with path.open("rb") as file:
            head = file.read(4096)
        if suffix == ".json":
            return b'"FeatureCollection"' in head or (b'"Feature"' in head and b'"geometry"' in head)
        if suffix == ".shp":
            return head.startswith(b"\x00\x00\x27\x0a")
        if suffix == ".gpkg":
            return head.startswith(b"SQLite format 3\x00")
        return suffix == ".geojson"

    def read(self, path: Path, request: ReadRequest) -> Model:
        """Read every layer with geometry.

        Raises InputError: E_FORMAT or E_TRUNCATED what GDAL cannot read, E_EMPTY no feature, E_SYSTEM nobody can say
        which network it is, E_KIND polygons that may be anything; CrsError where the CRS does not fit.
        """
        layers = open_layers(path)
        crs, stated, doubts = _crs_of(path, layers, request)
        place = position(crs, stated, bounds_of(np.concatenate([layer.geometries for layer in layers])), request)
        reading = Reading(request, issues=list(doubts))
        for layer in layers:
            _read_layer(path, layer, place, reading)
        links = _joined(reading)
        account = {
            "features": sum(len(layer.frame) for layer in layers),
            "empty": sum(int(part["empty"]) for part in reading.layers),
            "layers": reading.layers,
            "encoding": layers[0].encoding,
        }
        return Model(
            request.source,
            "gis",
            place.placement,
            buildings=reading.buildings,
            nodes=reading.nodes,
            links=links,
            zones=reading.zones,
            issues=reading.issues,
            account=account,
        )


def _crs_of(
    path: Path, layers: Sequence[Layer], request: ReadRequest
) -> tuple[reference.CRS | None, str, Sequence[Issue]]:
    """Return the CRS of the data, who says so, and doubts: the file's own if it can be, else the caller's."""
    named = {layer.crs for layer in layers if layer.crs}
    if len(named) > 1:
        raise InputError(f"has layers in {len(named)} CRSs", where=str(path), expected="one CRS", code="E_CRS")
    doubts: list[Issue] = []
    if named:
        crs = reference.parse(named.pop())
        box = bounds_of(np.concatenate([layer.geometries for layer in layers]))
        beyond = max(abs(box[0]), abs(box[2])) > 360 or max(abs(box[1]), abs(box[3])) > 90
        if not (crs.is_geographic and beyond):
            return crs, f"{path.name} says {crs.name}", ()
        doubts.append(Issue("E_CRS", f"says {crs.name}, but its coordinates are no degrees; not believed"))
    if request.crs:
        return reference.parse(request.crs), f"given for {path.name}", doubts
    return None, "no CRS in the file and none given", doubts


def _read_layer(path: Path, layer: Layer, place: Position, reading: Reading) -> None:
    frame = layer.frame
    said = reading.request.columns.of(layer.name)
    meanings = columns.understood([str(column) for column in frame.columns], said)
    named = f"{path.stem} {layer.name}"
    key = columns.identity(frame, said)
    ids = row_names(frame, key, reading)
    usable, empty = usable_rows(layer, ids, reading)
    kinds = shapely.get_type_id(layer.geometries)
    table = Rows(frame, ids, meanings, columns.attributes(frame), named, reading, said)
    made = 0
    for types, make in ((_POINT, _nodes), (_LINE, _links), (_AREA, _areas)):
        chosen = np.flatnonzero(usable & np.isin(kinds, types))
        if len(chosen):
            parts = parts_of(chosen.tolist(), ids, layer.geometries.tolist(), reading)
            moved = place.moved(np.array([part.geometry for part in parts], dtype=object))
            make(table, [Part(p.row, p.name, g) for p, g in zip(parts, moved, strict=True)])
            made += len(chosen)
    odd = np.flatnonzero(usable & ~np.isin(kinds, (*_POINT, *_LINE, *_AREA)))
    missing = [word for word in said.columns.values() if word and word not in (*meanings.values(), key)]
    reading.issues += [Issue("E_MAPPING", f"layer {layer.name} has no usable column {word!r}") for word in missing]
    list_rows(reading, "E_GEOMETRY", "is a collection of geometries; left out", [ids[row] for row in odd.tolist()])
    reading.layers.append(
        {
            "layer": layer.name,
            "features": len(frame),
            "taken": made,
            "empty": empty + len(odd),
            "id": key or "row number",
            "understood": {column: meaning for meaning, column in meanings.items()},
            "taken_as_metres": [
                c
                for m, c in meanings.items()
                if m.endswith("_m") and m not in said.units and not c.lower().endswith("m")
            ],
            "not_understood": [str(c) for c in frame.columns if c not in meanings.values() and c != key],
            **table.notes,
        }
    )


def _nodes(rows: Rows, parts: Sequence[Part]) -> None:
    system = rows.system()
    kinds, names, services = _kind_words(rows), rows.texts("name"), rows.services()
    feature, owner = rows.texts("feature"), rows.texts("owner")
    depth = rows.numbers("well_depth_m" if "well_depth_m" in rows.meanings else "depth_m")
    ground, invert = rows.numbers("ground_m"), rows.numbers("invert_m")
    if system is not System.DRAINAGE and "invert_m" not in rows.meanings:
        invert = rows.numbers("elevation")
    year, status = rows.years(), rows.named_by_codes("status", norms.status())
    usual = columns.node_kind(rows.named) or (NodeKind.MANHOLE if system is System.DRAINAGE else NodeKind.JUNCTION)
    for part in parts:
        row = part.row
        rows.reading.nodes.append(
            Node(
                asset_id(rows.reading.request.source, "node", part.name),
                names[row] or part.name,
                system,
                _enum(NodeKind, kinds[row]) or columns.node_kind(kinds[row] or "") or usual,
                part.geometry,
                ground_m=ground[row],
                invert_m=invert[row],
                depth_m=depth[row],
                service=services[row],
                feature=feature[row],
                year=year[row],
                status=status[row],
                owner=owner[row],
                properties=rows.attributes[row],
            )
        )


def _links(rows: Rows, parts: Sequence[Part]) -> None:
    system = rows.system()
    kinds, names, services = rows.texts("kind"), rows.texts("name"), rows.services()
    start, end, length = rows.numbers("start_level_m"), rows.numbers("end_level_m"), rows.numbers("length_m")
    material = rows.named_by_codes("material", norms.materials())
    laying, status = rows.named_by_codes("laying", norms.laying()), rows.named_by_codes("status", norms.status())
    sizes, year, froms, tos = rows.sizes(), rows.years(), rows.texts("from"), rows.texts("to")
    height, width, depth, owner = optional(sizes.height), _widths(rows, sizes), _depths(rows), rows.texts("owner")
    usual = columns.link_kind(rows.named) or (LinkKind.CONDUIT if system is System.DRAINAGE else LinkKind.PIPE)
    for part in parts:
        row = part.row
        properties = dict(rows.attributes[row])
        properties |= {"from": froms[row], "to": tos[row]} if froms[row] or tos[row] else {}
        rows.reading.links.append(
            Link(
                asset_id(rows.reading.request.source, "link", part.name),
                names[row] or part.name,
                system,
                _enum(LinkKind, kinds[row]) or columns.link_kind(kinds[row] or "") or usual,
                part.geometry,
                diameter_m=height[row],
                width_m=width[row],
                length_m=length[row],
                material=material[row],
                year=year[row],
                start_level_m=start[row],
                end_level_m=end[row],
                depth_m=depth[row],
                service=services[row],
                status=status[row],
                laying=laying[row],
                owner=owner[row],
                properties=properties,
            )
        )


def _kind_words(rows: Rows) -> list[str | None]:
    """Return what each row says it is: its kind, else what stands there (附属物), else its feature (特征)."""
    said = zip(*(rows.texts(meaning) for meaning in ("kind", "appurtenance", "feature")), strict=True)
    return [next((word for word in words if word), None) for words in said]


def _widths(rows: Rows, sizes: columns.Sizes) -> list[float | None]:
    """Return widths from a column of their own, else out of the sections."""
    own = rows.numbers("width_m")
    return [ours if ours is not None else theirs for ours, theirs in zip(own, optional(sizes.width), strict=True)]


def _depths(rows: Rows) -> list[float | None]:
    """Return depths from a column of their own, else the mean of both ends."""
    ends = zip(rows.numbers("depth_m"), rows.numbers("start_depth_m"), rows.numbers("end_depth_m"), strict=True)
    found: list[float | None] = []
    for own, *both in ends:
        known = [depth for depth in both if depth is not None]
        found.append(own if own is not None or not known else sum(known) / len(known))
    return found


def _areas(rows: Rows, parts: Sequence[Part]) -> None:
    kinds = {text for text in rows.texts("kind") if text}
    if (fixed := rows.said.fixed.get("kind")) is not None:
        if fixed in set(ZoneKind):
            _zones(rows, parts, ZoneKind(fixed))
        else:
            _buildings(rows, parts)
        return
    zone = columns.zone_kind(rows.named) or columns.zone_kind(" ".join(kinds))
    if columns.is_building(rows.named) or (zone is None and {"height_m", "storeys"} & set(rows.meanings)):
        _buildings(rows, parts)
    elif zone is not None:
        _zones(rows, parts, zone)
    else:
        raise InputError(
            "are these buildings or areas",
            where=f"{rows.reading.request.source}: layer {rows.named.split()[-1]}",
            expected="a file or layer name with building, dma, catchment, district, road or river, or a column height",
            code="E_KIND",
        )


def _buildings(rows: Rows, parts: Sequence[Part]) -> None:
    names, usage, year = rows.texts("name"), rows.texts("usage"), rows.years()
    usage = usage if "usage" in rows.meanings else rows.texts("kind")
    height, ground = rows.numbers("height_m"), rows.numbers("ground_m")
    storeys, residents = rows.whole("storeys"), rows.whole("residents")
    for part in parts:
        row = part.row
        rows.reading.buildings.append(
            Building(
                asset_id(rows.reading.request.source, "building", part.name),
                names[row] or part.name,
                part.geometry,
                ground_m=ground[row],
                height_m=height[row],
                storeys=storeys[row],
                usage=usage[row],
                year=year[row],
                residents=residents[row],
                properties=rows.attributes[row],
            )
        )


def _zones(rows: Rows, parts: Sequence[Part], usual: ZoneKind) -> None:
    names, kinds, system = rows.texts("name"), rows.texts("kind"), rows.system()
    for part in parts:
        row = part.row
        rows.reading.zones.append(
            Zone(
                asset_id(rows.reading.request.source, "zone", part.name),
                names[row] or part.name,
                system,
                _enum(ZoneKind, kinds[row]) or usual,
                part.geometry,
                properties=rows.attributes[row],
            )
        )


def _joined(reading: Reading) -> list[Link]:
    """Return the links with their ends, where the file names its own nodes; other names stay in the properties."""
    head = asset_id(reading.request.source, "node", "")
    by_name = {node.name: node.id for node in reading.nodes}
    by_name |= {node.id.removeprefix(head): node.id for node in reading.nodes}
    return [with_ends(link, by_name.get) for link in reading.links]


def with_ends(link: Link, find: Callable[[str], AssetId | None]) -> Link:
    """Return `link` joined to the nodes that its ``from`` and ``to`` name and that `find` knows."""
    start, end = link.properties.get("from"), link.properties.get("to")
    return replace(
        link,
        start=link.start or (find(str(start)) if start is not None else None),
        end=link.end or (find(str(end)) if end is not None else None),
    )


def _enum(kind: Any, text: str | None) -> Any:
    return kind(text) if text in set(kind) else None
