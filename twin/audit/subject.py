"""What is audited, as arrays: the nodes and links of a city, of one source, or of a file that is in no city."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
import shapely

from twin.asset import Link, LinkKind, Node, System
from twin.audit.join import Join
from twin.audit.topology import Topology
from twin.network.meeting import places

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAMES = {"id": "asset"}
_NUMBERS = ("float | None", "int | None")
PIPES = (LinkKind.PIPE, LinkKind.CONDUIT, LinkKind.SERVICE)
DRAINS = (System.DRAINAGE, System.RAIN)


@dataclass(frozen=True, slots=True)
class Subject:
    """Nodes and links as columns, how they hang together, and what the checks measure on them.

    Coordinates are in units of `unit_m` metres; `near` and `tolerance` are in that unit. Levels and lengths in metres:
    `drawn_m` as the line lies, `length_m` as the file states it, else as drawn. `level_m` and `end_xy` have a row a
    link and a column a side (start, end); the level is the drawn height of links of which the file states none.
    """

    nodes: Mapping[str, NDArray[Any]]
    links: Mapping[str, NDArray[Any]]
    topology: Topology
    lines: NDArray[np.object_]
    tree: shapely.STRtree
    drawn_m: NDArray[np.float64]
    length_m: NDArray[np.float64]
    level_m: NDArray[np.float64]
    end_xy: NDArray[np.float64]
    tolerance: float
    near: float
    unit_m: float

    @staticmethod
    def of(
        nodes: pd.DataFrame, links: pd.DataFrame, *, tolerance: float, near: float, join: Join, unit_m: float
    ) -> Subject:
        """Prepare tables with the columns of `twin.asset.Node` and `Link`, geometries in the column ``geometry``."""
        topology = Topology.of(nodes, links, tolerance=tolerance, join=join)
        lines = links["geometry"].to_numpy(dtype=object)
        ends = np.stack([places(shapely.get_point(lines, vertex)) for vertex in (0, -1)], axis=1)
        link = _columns(links, Link, "line")
        drawn, stated = shapely.length(lines) * unit_m, link["length_m"]
        level = np.column_stack([link["start_level_m"], link["end_level_m"]]).reshape(-1, 2)
        return Subject(
            _columns(nodes, Node, "point"),
            link,
            topology,
            lines,
            shapely.STRtree(lines),
            drawn,
            np.where(stated > 0, stated, drawn),
            np.where(np.isnan(level).all(axis=1, keepdims=True), ends[:, :, 2], level),
            ends[:, :, :2],
            tolerance,
            near,
            unit_m,
        )

    def node_names(self, which: NDArray[np.int64]) -> list[str]:
        """Return what nodes are called: a stated one by its id, a joint without a node by a link that ends there."""
        stated, asset = self.topology.stated, self.nodes["asset"]
        link = self.links["asset"]
        first = self.first_link(which)
        return [
            str(asset[node]) if node < stated else str(link[row])
            for node, row in zip(which.tolist(), first.tolist(), strict=True)
        ]

    def first_link(self, which: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the first link that ends at each of the nodes, -1 where none does."""
        links = np.arange(len(self.lines))
        first = np.full(len(self.topology.xy), len(links))
        for ends in (self.topology.start, self.topology.end):
            there = ends >= 0
            np.minimum.at(first, ends[there], links[there])
        return np.where(first < len(links), first, -1)[which]

    def middle(self, which: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return a point half along each of the links (n, 2), NaN where it is not drawn."""
        return places(shapely.line_interpolate_point(self.lines[which], 0.5, normalized=True))[:, :2]

    def property(self, table: str, row: int, name: str) -> Any:
        """Return what the properties of the asset in `row` of ``nodes`` or ``links`` say of `name`, None: nothing."""
        return (self.nodes if table == "nodes" else self.links)["properties"][row].get(name)

    def depths_m(self) -> NDArray[np.float64]:
        """Return the depth that a survey measured at each end of each link (links, 2), NaN where it did not."""
        told = self.links["properties"].tolist()
        names = ("start_depth_m", "end_depth_m")
        return np.array([[properties.get(name) for name in names] for properties in told], np.float64).reshape(-1, 2)


def tables(nodes: Sequence[Node], links: Sequence[Link]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return assets as tables like the city's: a column a field, `id` called ``asset``, the geometry ``geometry``."""
    return _table(nodes, Node, "point"), _table(links, Link, "line")


def _table(assets: Sequence[Node] | Sequence[Link], kind: type[Node | Link], geometry: str) -> pd.DataFrame:
    columns = {
        _NAMES.get(field.name, "geometry" if field.name == geometry else field.name): pd.Series(
            list(map(attrgetter(field.name), assets)), dtype=object
        )
        for field in fields(kind)
    }
    return pd.DataFrame(columns)


def _columns(frame: pd.DataFrame, kind: type[Node | Link], geometry: str) -> dict[str, NDArray[Any]]:
    """Return the table's columns as arrays: numbers as floats with NaN, everything else as objects with None."""
    out: dict[str, NDArray[Any]] = {}
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    for field in fields(kind):
        name = _NAMES.get(field.name, field.name)
        if name == geometry:
            continue
        if field.type in _NUMBERS:
            out[name] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        elif name == "properties":
            decoded = [decode(value) if isinstance(value, str) else value for value in frame[name].tolist()]
            out[name] = np.array([*decoded, None], dtype=object)[:-1]
        else:
            out[name] = _objects(frame[name])
    return out


def _objects(column: pd.Series) -> NDArray[Any]:
    values = column.to_numpy(dtype=object).copy()
    values[column.isna().to_numpy()] = None
    return values
