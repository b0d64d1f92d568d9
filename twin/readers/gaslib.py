"""GasLib networks: XML with units in attributes, as a `.net` file or in the `.zip` that gaslib.zib.de hands out.

Format: Schmidt et al., GasLib – a library of gas network instances, Data 2 (2017) 40, doi:10.3390/data2040040. Nodes
are sources, sinks and inner nodes with WGS 84 longitude and latitude (older files: x and y only); connections are
pipes, short pipes, resistors, valves, control valves and compressor stations. XML entities are refused (defusedxml).
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree as Xml
from defusedxml.common import DefusedXmlException
from shapely import LineString, Point

from twin import crs as reference
from twin.asset import Attribute, Link, LinkKind, Node, NodeKind, System, asset_id
from twin.errors import InputError
from twin.model import Issue, Model, ReadRequest
from twin.readers import layout
from twin.readers.position import bounds_of, position

_MARK = b"gaslib.zib.de"
_HEAD = 8192
_LARGEST = 256 * 1024 * 1024
_NODES = {"source": NodeKind.SOURCE, "sink": NodeKind.CUSTOMER, "innode": NodeKind.JUNCTION}
_LINKS = {
    "pipe": LinkKind.PIPE,
    "shortPipe": LinkKind.PIPE,
    "resistor": LinkKind.PIPE,
    "valve": LinkKind.VALVE,
    "controlValve": LinkKind.REGULATOR,
    "compressorStation": LinkKind.COMPRESSOR,
}
_METRES = {"m": 1.0, "meter": 1.0, "km": 1e3, "mm": 1e-3, "cm": 1e-2}
_SI: dict[str, tuple[str, Callable[[float], float]]] = {
    "bar": ("pa", lambda value: value * 1e5),
    "barg": ("pa", lambda value: (value + 1.01325) * 1e5),
    "1000m_cube_per_hour": ("m3s", lambda value: value * 1e3 / 3600),
    "m_cube_per_hour": ("m3s", lambda value: value / 3600),
    "m_cube_per_s": ("m3s", lambda value: value),
    "Celsius": ("K", lambda value: value + 273.15),
    "C": ("K", lambda value: value + 273.15),
    "K": ("K", lambda value: value),
}
"""What units become, and the ending of the property's name: absolute pressures in Pa, flows in normal m³/s, K."""


@dataclass(frozen=True, slots=True)
class _Net:
    """The nodes and connections of a file, and the name of the file inside a zip."""

    nodes: Sequence[Element]
    links: Sequence[Element]
    where: str


class GasLibReader:
    """Reads GasLib networks (entry point ``gaslib``)."""

    def recognises(self, path: Path) -> bool:
        """Say whether the file is GasLib XML, or a zip with a `.net` file in it."""
        if path.suffix.lower() not in (".net", ".zip", ".xml"):
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
        if path.suffix.lower() != ".zip":
            return _MARK in head
        return head.startswith(b"PK") and (b".net" in head or _zipped_net(path) is not None)

    def read(self, path: Path, request: ReadRequest) -> Model:
        """Read the network.

        Raises InputError: E_TRUNCATED or E_FORMAT no whole XML or zip, E_EMPTY no node, E_ID a name used twice, E_NODE
        a pipe to a node that is not there, E_SYNTAX a value that is no number, E_UNIT a unit of length not known.
        """
        net = _parse(path)
        if not net.nodes:
            raise InputError("has no nodes", where=net.where, expected="a GasLib network", code="E_EMPTY")
        return _model(path, request, net)


def _zipped_net(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            return next((name for name in archive.namelist() if name.lower().endswith(".net")), None)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None


def _text(path: Path) -> tuple[bytes, str]:
    """Return the XML of the file, or of the `.net` file in the zip, and where it is."""
    if path.suffix.lower() != ".zip":
        return path.read_bytes(), str(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = [info for info in archive.infolist() if info.filename.lower().endswith(".net")]
            if len(found) != 1:
                what = f"has {len(found)} .net files"
                raise InputError(what, where=str(path), expected="one", code="E_FORMAT")
            if found[0].file_size > _LARGEST:
                raise InputError(
                    f"{found[0].filename} is {found[0].file_size >> 20} MB", where=str(path), code="E_FORMAT"
                )
            return archive.read(found[0]), f"{path}/{found[0].filename}"
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        what = f"is no whole zip: {error}"[:160]
        raise InputError(what, where=str(path), expected="a GasLib zip", code="E_TRUNCATED") from None


def _parse(path: Path) -> _Net:
    data, where = _text(path)
    try:
        root = Xml.fromstring(data)
    except DefusedXmlException:
        raise InputError("has XML entities", where=where, expected="GasLib XML without them", code="E_FORMAT") from None
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise InputError(
            f"is no whole XML: {error}"[:160], where=where, expected="GasLib XML", code="E_TRUNCATED"
        ) from None
    nodes = [item for item in root.iter() if _name(item) in _NODES]
    links = [item for item in root.iter() if "from" in item.attrib and "to" in item.attrib]
    return _Net(nodes, links, where)


def _model(path: Path, request: ReadRequest, net: _Net) -> Model:
    names = _unique(net.nodes, net.where)
    known = set(names)
    link_names = _unique(net.links, net.where)
    for item, name in zip(net.links, link_names, strict=True):
        for end in (item.attrib["from"], item.attrib["to"]):
            if end not in known:
                raise InputError(
                    f"{name!r} names node {end!r:.40}", where=net.where, expected="a node of the file", code="E_NODE"
                )
    xy, crs, stated = _corners(net, request, path.name)
    corners = dict(zip(names, xy, strict=True))
    points = layout.array([Point(at) if at else Point() for at in xy])
    shapes = layout.array([_line(corners[item.attrib["from"]], corners[item.attrib["to"]]) for item in net.links])
    place = position(crs, stated, bounds_of(points), request)
    heights = [_metres(item, "height", net.where) for item in net.nodes]
    level = dict(zip(names, heights, strict=True))
    levels = [(level[item.attrib["from"]], level[item.attrib["to"]]) for item in net.links]
    placed = layout.points_at(place.moved(points), heights)
    lines = layout.lines_at(place.moved(shapes), [start for start, _ in levels], [end for _, end in levels])
    issues = [*layout.undrawn(points, names, "nodes"), *layout.undrawn(shapes, link_names, "links")]
    odd = sorted({_name(item) for item in net.links} - set(_LINKS))
    issues += [Issue("E_KIND", f"connections {name} are not known; taken for pipes") for name in odd]
    system = request.system or System.GAS
    return Model(
        request.source,
        "gaslib",
        place.placement,
        nodes=[
            Node(
                asset_id(request.source, "node", name),
                item.attrib.get("alias") or name,
                system,
                _NODES[_name(item)],
                point,
                invert_m=height,
                properties=_properties(item, ("height",), net.where),
            )
            for item, name, point, height in zip(net.nodes, names, placed, heights, strict=True)
        ],
        links=[
            _link(item, name, line, ends, source=request.source, system=system, where=net.where)
            for item, name, line, ends in zip(net.links, link_names, lines, levels, strict=True)
        ],
        issues=issues,
        account={"network": net.where.rpartition("/")[2], "system": system.value, "coordinates": stated},
    )


def _corners(
    net: _Net, request: ReadRequest, name: str
) -> tuple[list[tuple[float, float] | None], reference.CRS | None, str]:
    """Return a corner a node, the CRS and who says so: WGS 84 degrees where every node has them, else x and y."""
    degrees = [_pair(item, "geoWGS84Long", "geoWGS84Lat", net.where) for item in net.nodes]
    if all(degrees) and len(set(degrees)) > 1 and not request.crs:
        return degrees, reference.parse("EPSG:4326"), f"{name} gives WGS 84 degrees"
    drawn = [_pair(item, "x", "y", net.where) for item in net.nodes]
    if request.crs:
        geographic = reference.parse(request.crs).is_geographic and any(degrees)
        return (degrees if geographic else drawn), reference.parse(request.crs), f"given for {name}"
    return drawn, None, "no CRS in the file and none given"


def _pair(item: Element, x: str, y: str, where: str) -> tuple[float, float] | None:
    if not item.attrib.get(x) or not item.attrib.get(y):
        return None
    return _number(item.attrib[x], f"{x} of {item.attrib.get('id')}", where), _number(
        item.attrib[y], f"{y} of {item.attrib.get('id')}", where
    )


def _line(start: tuple[float, float] | None, end: tuple[float, float] | None) -> LineString:
    return LineString([start, end]) if start and end else LineString()


def _link(
    item: Element,
    name: str,
    line: Any,
    levels: tuple[float | None, float | None],
    *,
    source: str,
    system: System,
    where: str,
) -> Link:
    diameter = next(
        (found for key in ("diameter", "diameterIn") if (found := _metres(item, key, where)) is not None), None
    )
    properties = _properties(item, ("diameter", "length", "roughness"), where)
    roughness = _metres(item, "roughness", where)
    properties |= {"roughness_m": roughness} if roughness is not None else {}
    return Link(
        asset_id(source, "link", name),
        item.attrib.get("alias") or name,
        system,
        _LINKS.get(_name(item), LinkKind.PIPE),
        line,
        start=asset_id(source, "node", item.attrib["from"]),
        end=asset_id(source, "node", item.attrib["to"]),
        diameter_m=diameter,
        length_m=_metres(item, "length", where),
        start_level_m=levels[0],
        end_level_m=levels[1],
        status="open",
        properties={**properties, "component": _name(item)},
    )


def _unique(items: Sequence[Element], where: str) -> list[str]:
    names = [item.attrib.get("id", "") for item in items]
    if len(set(names)) < len(names) or "" in names:
        double = next(name for name in names if not name or names.count(name) > 1)
        raise InputError(f"{double!r} is no name of one thing", where=where, expected="ids used once", code="E_ID")
    return names


def _name(item: Element) -> str:
    return str(item.tag).rpartition("}")[2]


def _metres(item: Element, key: str, where: str) -> float | None:
    part = next((child for child in item if _name(child) == key), None)
    if part is None or not part.attrib.get("value"):
        return None
    unit = part.attrib.get("unit", "m")
    if unit not in _METRES:
        what = f"{key} of {item.attrib.get('id')} is in {unit!r:.20}"
        raise InputError(what, where=where, expected=", ".join(_METRES), code="E_UNIT")
    return _number(part.attrib["value"], f"{key} of {item.attrib.get('id')}", where) * _METRES[unit]


def _properties(item: Element, without: Sequence[str], where: str) -> dict[str, Attribute]:
    """Return the values of an item's children: pressures in Pa, flows in m³/s, temperatures in K, others as given."""
    found: dict[str, Attribute] = {}
    for part in item:
        key, value, unit = _name(part), part.attrib.get("value"), part.attrib.get("unit", "")
        if value is None or key in without:
            continue
        number = _number(value, f"{key} of {item.attrib.get('id')}", where)
        if unit in _SI:
            ending, convert = _SI[unit]
            found[f"{key}_{ending}"] = convert(number)
        else:
            found[f"{key}_{unit}" if unit else key] = number
    return found


def _number(text: str, what: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{what} is {text!r:.40}", where=where, expected="a number", code="E_SYNTAX")
    return value
