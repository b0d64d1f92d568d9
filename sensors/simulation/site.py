"""A district's files as the simulation needs them: devices, network models, and how pipes hang together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sensors.device import Device
from sensors.device_list import read_devices
from sensors.simulation.drain_air import Drain
from sensors.simulation.gas_network import GasNode, GasPipe
from twin.errors import InputError
from twin.readers.inp import Inp, read_inp

_WATER = ("JUNCTIONS", "PIPES", "OPTIONS", "TAGS")
_DRAINAGE = ("JUNCTIONS", "STORAGE", "CONDUITS", "XSECTIONS", "TAGS", "OPTIONS")
_FOOT, _INCH = 0.3048, 0.0254
_US_UNITS = {"CFS", "GPM", "MGD", "IMGD", "AFD"}


@dataclass(frozen=True, slots=True)
class Pipe:
    """A water pipe: its ends, length and inside diameter in metres."""

    name: str
    start: str
    end: str
    length_m: float
    diameter_m: float


@dataclass(frozen=True, slots=True)
class Conduit:
    """A drain: from its upper to its lower node, with what it carries (sanitary, storm, "" when the file is silent)."""

    name: str
    air: Drain
    service: str


@dataclass(frozen=True, slots=True)
class Site:
    """A district as its folder describes it.

    `water` and `drainage` are input files, whose names are the sources of their assets; `depths` are manholes by
    name, metres from invert to ground, `inverts` their inverts in metres.
    """

    district: str
    time_zone: ZoneInfo
    devices: Sequence[Device]
    water: Path
    pipes: Sequence[Pipe]
    drainage: Path
    conduits: Sequence[Conduit]
    depths: Mapping[str, float]
    inverts: Mapping[str, float]
    gas_nodes: Sequence[GasNode]
    gas_pipes: Sequence[GasPipe]


def read_site(folder: Path) -> Site:
    """Return the district in `folder` (``district.json`` and the files that it names); InputError naming the file."""
    about = _object(folder / "district.json")
    try:
        files: Mapping[str, str] = about["files"]
        water, drainage, nodes, pipes, devices = (
            folder / files[key] for key in ("water", "drainage", "gas_nodes", "gas_pipes", "devices")
        )
        district, zone = str(about["district"]), ZoneInfo(about["time_zone"])
    except (KeyError, TypeError, ZoneInfoNotFoundError) as error:
        raise InputError(
            f"{error} is missing or wrong", where=str(folder / "district.json"), expected="a sample district"
        ) from None
    drains = _read(drainage, _DRAINAGE)
    scale = _FOOT if drains.option("FLOW_UNITS", "CFS") in _US_UNITS else 1.0
    inverts = {line.text(0, "name"): line.number_at(1, "invert") * scale for line in _nodes(drains)}
    return Site(
        district=district,
        time_zone=zone,
        devices=read_devices(devices),
        water=water,
        pipes=_pipes(_read(water, _WATER)),
        drainage=drainage,
        conduits=_conduits(drains, scale, inverts),
        depths={line.text(0, "name"): line.number_at(2, "depth") * scale for line in _nodes(drains)},
        inverts=inverts,
        gas_nodes=[_gas_node(row) for row in _features(nodes)],
        gas_pipes=[_gas_pipe(row) for row in _features(pipes)],
    )


def _read(path: Path, sections: Sequence[str]) -> Inp:
    try:
        return read_inp(path, sections)
    except OSError as error:
        raise InputError(error.strerror or "cannot be read", where=str(path), code="E_MISSING") from None


def _nodes(inp: Inp) -> Iterator[Any]:
    yield from inp.lines("JUNCTIONS")
    yield from inp.lines("STORAGE")


def _pipes(inp: Inp) -> list[Pipe]:
    traditional = inp.option("UNITS", "GPM") in _US_UNITS
    length, diameter = (_FOOT, _INCH) if traditional else (1.0, 0.001)
    return [
        Pipe(
            line.text(0, "name"),
            line.text(1, "start"),
            line.text(2, "end"),
            line.number_at(3, "length") * length,
            line.number_at(4, "diameter") * diameter,
        )
        for line in inp.lines("PIPES")
    ]


def _conduits(inp: Inp, scale: float, manholes: Mapping[str, float]) -> list[Conduit]:
    heights = {line.text(0, "link"): line.number_at(2, "height") * scale for line in inp.lines("XSECTIONS")}
    services = {line.text(1, "link"): line.maybe(2) for line in inp.lines("TAGS") if line.words[0].upper() == "LINK"}
    found: list[Conduit] = []
    for line in inp.lines("CONDUITS"):
        name, upper, lower = (line.text(n, what) for n, what in enumerate(("name", "start", "end")))
        if upper in manholes and lower in manholes:
            drain = Drain(upper, lower, heights.get(name, 0.3), line.number_at(3, "length") * scale)
            found.append(Conduit(name, drain, services.get(name, "")))
    return found


def _gas_node(row: Mapping[str, Any]) -> GasNode:
    holds = row.get("kind") in {"source", "regulator"}
    return GasNode(
        str(row["id"]), float(row.get("demand_m3h") or 0.0) / 3600, float(row["pressure_kpa"]) * 1e3 if holds else None
    )


def _gas_pipe(row: Mapping[str, Any]) -> GasPipe:
    return GasPipe(
        str(row["id"]),
        str(row["from"]),
        str(row["to"]),
        float(row["diameter_mm"]) / 1000,
        float(row["length_m"]),
        row.get("kind") == "regulator",
    )


def _features(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, feature in enumerate(_object(path).get("features", []), start=1):
        properties = feature.get("properties") or {}
        missing = {"id", "kind"} - properties.keys()
        if missing:
            raise InputError(f"has no {min(missing)}", where=f"{path} feature {number}", expected="gas asset")
        yield properties


def _object(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", where=str(path), expected="a sample district", code="E_MISSING") from None
    except (OSError, ValueError) as error:
        raise InputError(str(error), where=str(path), expected="a JSON object", code="E_FORMAT") from None
    if not isinstance(found, dict):
        raise InputError("is no JSON object", where=str(path), expected="a JSON object", code="E_FORMAT")
    return found  # pyright: ignore[reportUnknownVariableType]  # its keys are looked at by whoever asked
