"""A street: a sewer with manholes and a side branch, gas mains behind a regulator beside it, and their devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import shapely

from sensors.detection.checks import sample_devices
from sensors.detection.scope import Scope
from sensors.device import Device, DeviceId, Point
from sensors.limits import Limits, load
from twin.asset import AssetId, Link, LinkKind, Node, NodeKind, System, asset_id
from twin.city import City
from twin.model import Decision, Model, Placement
from twin.network.graph import Network

SPACING_M, FALL_M, DIAMETER_M, DEPTH_M = 40.0, 0.12, 0.3, 3.0
MANHOLES = ("M0", "M1", "M2", "M3", "M4", "M5", "B0", "B1")
"""M0 to M5 run down to the outfall O; B0 and B1 come to M3 from the side, B1 as low as M2."""
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_PLACED = Placement(Decision.PLACED, "drawn by hand", "EPSG:4549", origin=(0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Street:
    """The city that the street is, and its network."""

    city: City
    graph: Network
    limits: Limits

    def scope(self, devices: Sequence[Device]) -> Scope:
        return Scope(devices, self.limits, self.graph, self.city)


def node(name: str) -> AssetId:
    return asset_id("street", "node", name)


def link(name: str) -> AssetId:
    return asset_id("street", "link", name)


def make_street(path: Path) -> Street:
    at = {f"M{n}": (n * SPACING_M, 0.0, -n * FALL_M) for n in range(6)}
    at["O"] = (6 * SPACING_M, 0.0, -6 * FALL_M)
    at["B1"] = (3 * SPACING_M, SPACING_M, -2 * FALL_M)
    at["B0"] = (3 * SPACING_M, 2 * SPACING_M, -1 * FALL_M)
    down = {f"M{n}": f"M{n + 1}" for n in range(5)} | {"M5": "O", "B0": "B1", "B1": "M3"}
    nodes = [_manhole(name, *xyz) for name, xyz in at.items()]
    links = [_drain(f"D-{upper}", at[upper], at[lower], (upper, lower)) for upper, lower in down.items()]
    gas = {f"G{n}": (n * SPACING_M, 1.5, 2.0) for n in range(6)} | {"R": (-10.0, 1.5, 2.0), "S": (-20.0, 1.5, 2.0)}
    kinds = {"R": NodeKind.JUNCTION, "S": NodeKind.SOURCE}
    nodes += [
        Node(node(name), name, System.GAS, kinds.get(name, NodeKind.JUNCTION), shapely.Point(xyz))
        for name, xyz in gas.items()
    ]
    mains = [("GP-S", "S", "R", LinkKind.PIPE), ("REG", "R", "G0", LinkKind.REGULATOR)]
    mains += [(f"GP-{n}", f"G{n}", f"G{n + 1}", LinkKind.PIPE) for n in range(5)]
    links += [
        Link(link(name), name, System.GAS, kind, shapely.LineString([gas[a], gas[b]]), node(a), node(b), diameter_m=0.1)
        for name, a, b, kind in mains
    ]
    city = City.create(path, "EPSG:4549")
    city.replace(Model("street", "test", _PLACED, nodes=nodes, links=links), _NOW)
    return Street(city, Network.of(city.table("nodes"), city.table("links")), load())


def _manhole(name: str, x: float, y: float, z: float) -> Node:
    kind = NodeKind.OUTFALL if name == "O" else NodeKind.MANHOLE
    return Node(
        node(name),
        name,
        System.DRAINAGE,
        kind,
        shapely.Point(x, y, z),
        ground_m=z + DEPTH_M,
        invert_m=z,
        depth_m=DEPTH_M,
    )


def _drain(name: str, a: tuple[float, float, float], b: tuple[float, float, float], ends: tuple[str, str]) -> Link:
    return Link(
        link(name),
        name,
        System.DRAINAGE,
        LinkKind.CONDUIT,
        shapely.LineString([a, b]),
        node(ends[0]),
        node(ends[1]),
        diameter_m=DIAMETER_M,
        length_m=SPACING_M,
        start_level_m=a[2],
        end_level_m=b[2],
    )


def device(series: int, quantity: str, asset: str, *, system: System = System.DRAINAGE, interval_s: int = 60) -> Device:
    """Return a device that measures one quantity at a node of the street."""
    units = {"level": "m", "hydrogen_sulfide": "mg/m3", "pressure": "kPa", "rain_intensity": "mm/h", "flow": "m3/h"}
    crown_m, depth_m = (DIAMETER_M, DEPTH_M) if quantity == "level" else (None, None)
    point = Point(quantity, quantity, units.get(quantity, "1"), series, crown_m=crown_m, depth_m=depth_m)
    name = DeviceId(f"{quantity}-{asset}")
    return Device(name, "street", system, (point,), timedelta(seconds=interval_s), asset=node(asset))


def devices_of_the_contract(devices: Sequence[Device], level_as: str = "level") -> list[Device]:
    """Return the devices of the contract suite (pressure, level and gas in turn) put up along the street.

    What measures levels there measures the quantity `level_as`.
    """
    places = {"pressure": ("G0", "G2", "G4", "G5"), "level": MANHOLES[:4], "combustible_gas": ("M1", "M2", "M4", "B0")}
    found: list[Device] = []
    for each in devices:
        number, quantity = int(each.id[2:]), each.points[0].quantity
        asset = node(places[quantity][number // 3])
        points = tuple(replace(p, quantity=level_as if quantity == "level" else quantity) for p in each.points)
        system = System.GAS if quantity == "pressure" else each.system
        found.append(replace(each, asset=asset, system=system, points=points))
    return found


assert len(sample_devices()) == 12  # what the places above are counted for
