"""The pipe networks of a city as one graph in arrays: compressed sparse rows (CSR), parallel links kept.

Links only join the nodes that they name, so the systems stay apart by themselves. What each thing means for a trace is
decided here, once:

- **Valves that can be closed** are link valves (EPANET draws them as links) and node valves (gas networks and surveys
  draw them as points). EPANET's TCV, GPV and PCV are how gate and butterfly valves are modelled and count as
  isolating; PRV, PSV, PBV and FCV are control valves that regulate by themselves, and crews isolate with the gates
  beside them, so they do not count. Neither do air, scour and check valves. Whatever else is shut in practice (a
  regulator at its station) is recorded as operated closed, and then holds.
- **Shut** is what carries nothing now: a closed valve, a closed pipe, a pipe that is out of use (CJJ 61 annex C 废弃,
  空管), whatever was operated closed.
- **Usable** is a valve that somebody can operate: not stuck, not inaccessible.
- **One way** are pumps, compressors, pressure regulators, check valves, PRV and PSV: from start to end (EPANET 2.2
  manual, section 3.1: none of them lets water back). A supply does not pass them backwards, but they are not tight
  and nobody isolates with them, so an isolation looks past them, both ways.
- **Flow** in drainage and rain is the link's own, start to end (SWMM, CJJ 61 FLOWDIR).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import pandas as pd
import pyarrow.compute
import shapely

from twin.asset import AssetId, Basis, LinkKind, NodeKind, System
from twin.errors import UnknownError
from twin.network import SHUT, ValveState
from twin.network.ids import Ids
from twin.network.text import arrow, contains
from twin.network.walk import Scratches, compressed

if TYPE_CHECKING:
    from numpy.typing import NDArray

SYSTEMS = tuple(System)
NODE_KINDS = tuple(NodeKind)
LINK_KINDS = tuple(LinkKind)
BASES = (Basis.STATED, Basis.INFERRED, Basis.REPAIRED)
"""What the codes of `Network.system`, `node_kind`, `link_kind` and `basis` stand for: positions in these."""

GRAVITY = frozenset((System.DRAINAGE, System.RAIN))
"""Systems whose links say themselves which way they run."""
_SOURCES = (NodeKind.RESERVOIR, NodeKind.TANK, NodeKind.SOURCE)
_ONE_WAY = (LinkKind.PUMP, LinkKind.REGULATOR, LinkKind.COMPRESSOR)
_UNUSABLE = frozenset((ValveState.STUCK, ValveState.INACCESSIBLE, "broken", "损坏", "失灵", "卡死", "埋没"))
_NOT_ISOLATING = (
    r'"valve_type":"(PRV|PSV|PBV|FCV)"|减压|调压|调流|排气|排污|排泥|泄水|放空|放散|止回|单向|单流'
    r"|air valve|scour|wash-?out|blow-?off|check valve|non-return|pressure reducing"
)
_ONE_WAY_VALVE = r'"valve_type":"(PRV|PSV)"|止回|单向阀|单流阀|check valve|non-return'
_CHECK_VALVE = '"check_valve":true'
"""What properties and features say; the first two are regular expressions."""

compute: Any = pyarrow.compute  # made at import, so no checker knows its functions
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Network:
    """Every pipe network of a city: n nodes, m links that join two of them, and how each stands now.

    `nodes`, `links`: asset ids (n,), (m,), indexed like arrays. `start`, `end`: the node of each end, int32 (m,).
    `xyz`: easting, northing, height in metres, float64 (n, 3), NaN where unknown. `length_m`: stated, else of the drawn
    line in plan, float64 (m,). `system` and `basis` (of links), `node_kind`, `link_kind`: uint8 codes, see `SYSTEMS`,
    `BASES`, `NODE_KINDS`, `LINK_KINDS`. `valve_link`, `valve_node`, `usable_link`, `usable_node`, `shut_link`,
    `shut_node`, `one_way` (m,), `source` (n,): bool, as the module says. `left_out`: ids of links without two nodes.

    CSR: the links at node i are ``edge[indptr[i]:indptr[i + 1]]``, the nodes at their other ends `neighbour`; those
    before ``turn[i]`` start at i, the others end there. A link from a node to itself is there twice.
    """

    nodes: Ids
    links: Ids
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    xyz: NDArray[np.float64]
    length_m: NDArray[np.float64]
    system: NDArray[np.uint8]
    basis: NDArray[np.uint8]
    node_kind: NDArray[np.uint8]
    link_kind: NDArray[np.uint8]
    valve_link: NDArray[np.bool_]
    valve_node: NDArray[np.bool_]
    usable_link: NDArray[np.bool_]
    usable_node: NDArray[np.bool_]
    shut_link: NDArray[np.bool_]
    shut_node: NDArray[np.bool_]
    one_way: NDArray[np.bool_]
    source: NDArray[np.bool_]
    left_out: frozenset[str]
    indptr: NDArray[np.int32]
    turn: NDArray[np.int32]
    neighbour: NDArray[np.int32]
    edge: NDArray[np.int32]
    _made: dict[Callable[[Network], Any], Any] = field(default_factory=dict[Callable[["Network"], Any], Any])

    @staticmethod
    def of(
        nodes: pd.DataFrame, links: pd.DataFrame, *, operated: Mapping[AssetId, ValveState] | None = None
    ) -> Network:
        """Make the network of the city's tables (`City.table`), its valves standing as surveyed, then as `operated`."""
        node_ids = Ids.of(nodes["asset"])
        start, end = (node_ids.find_all(links[end]) for end in ("start", "end"))
        joined = (start >= 0) & (end >= 0)
        left_out = frozenset(links["asset"][~joined])
        if left_out:
            links, start, end = links[joined], start[joined], end[joined]
        link_kind, node_kind = _codes(links["kind"], LINK_KINDS), _codes(nodes["kind"], NODE_KINDS)
        valve_link, one_way = _link_valves(links, link_kind)
        valve_node = _node_valves(nodes, node_kind)
        indptr, turn, neighbour, edge = compressed(len(node_ids), start, end)
        surveyed = Network(
            nodes=node_ids,
            links=Ids.of(links["asset"]),
            start=start,
            end=end,
            xyz=_points(nodes),
            length_m=_lengths(links),
            system=_codes(links["system"], SYSTEMS),
            basis=_codes(links["basis"], BASES),
            node_kind=node_kind,
            link_kind=link_kind,
            valve_link=valve_link,
            valve_node=valve_node,
            usable_link=~_status_in(links, _UNUSABLE),
            usable_node=~_status_in(nodes, _UNUSABLE),
            shut_link=_status_in(links, SHUT),
            shut_node=_status_in(nodes, SHUT) & valve_node,
            one_way=one_way,
            source=_is_one_of(node_kind, NODE_KINDS, _SOURCES),
            left_out=left_out,
            indptr=indptr,
            turn=turn,
            neighbour=neighbour,
            edge=edge,
        )
        return surveyed.operated(operated) if operated else surveyed

    def operated(self, states: Mapping[AssetId, ValveState]) -> Network:
        """Return this network with the nodes and links in `states` standing as operated; ids it does not have pass."""
        shut_node, usable_node = self.shut_node.copy(), self.usable_node.copy()
        shut_link, usable_link = self.shut_link.copy(), self.usable_link.copy()
        for asset, state in states.items():
            for ids, shut, usable in (
                (self.nodes, shut_node, usable_node),
                (self.links, shut_link, usable_link),
            ):
                if (at := ids.find(asset)) < 0:
                    continue
                usable[at] = state not in {ValveState.STUCK, ValveState.INACCESSIBLE}
                if usable[at]:
                    shut[at] = state is ValveState.CLOSED
        return replace(
            self,
            shut_node=shut_node,
            usable_node=usable_node,
            shut_link=shut_link,
            usable_link=usable_link,
            _made={},
        )

    def node_index(self, asset: str) -> int:
        """Return the index of the node `asset`; raises UnknownError."""
        if (at := self.nodes.find(asset)) < 0:
            raise UnknownError(f"no node {asset!r} in the network", expected="an id such as water.inp:node:J-12")
        return at

    def link_index(self, asset: str) -> int:
        """Return the index of the link `asset`; raises UnknownError, also where it joins no two nodes."""
        if (at := self.links.find(asset)) < 0:
            if asset in self.left_out:
                raise UnknownError(f"link {asset!r} does not join two nodes", expected="a link with both ends")
            raise UnknownError(f"no link {asset!r} in the network", expected="an id such as water.inp:link:P-101")
        return at

    def find(self, asset: str) -> tuple[int, int]:
        """Return the index of `asset` as a node and as a link, -1 for the one that it is not; raises UnknownError."""
        node = self.nodes.find(asset)
        return (node, -1) if node >= 0 else (-1, self.link_index(asset))

    def nodes_of(self, *kinds: NodeKind) -> NDArray[np.bool_]:
        """Return which nodes are of these kinds, bool (n,)."""
        return _is_one_of(self.node_kind, NODE_KINDS, kinds)

    def links_of(self, *kinds: LinkKind) -> NDArray[np.bool_]:
        """Return which links are of these kinds, bool (m,)."""
        return _is_one_of(self.link_kind, LINK_KINDS, kinds)

    @cached_property
    def scratches(self) -> Scratches:
        """Where walks note what they have seen; a walk takes one and gives it back, so threads never share one."""
        return Scratches(len(self.nodes), len(self.links))

    def once(self, make: Callable[[Network], T]) -> T:
        """Return ``make(self)``, made at the first call: what a kind of trace prepares."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast("T", self._made[make])


def _objects(column: pd.Series[Any]) -> NDArray[np.object_]:
    return column.to_numpy(dtype=object)


def _words(column: pd.Series[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """Return the different values of a column of few, and which of them each row has, -1 none."""
    encoded = arrow(column).dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False), encoded.dictionary.to_pylist()


def _codes(column: pd.Series[Any], kinds: tuple[Any, ...]) -> NDArray[np.uint8]:
    codes, values = _words(column)
    return np.array([kinds.index(value) for value in values], dtype=np.uint8)[codes]


def _is_one_of(codes: NDArray[np.uint8], kinds: tuple[Any, ...], wanted: tuple[Any, ...]) -> NDArray[np.bool_]:
    return np.isin(np.arange(len(kinds)), [kinds.index(kind) for kind in wanted])[codes]


def _status_in(table: pd.DataFrame, wanted: frozenset[str]) -> NDArray[np.bool_]:
    codes, values = _words(table["status"])
    return np.array([*(value.strip().lower() in wanted for value in values), False])[codes]  # -1: no status


def _link_valves(links: pd.DataFrame, kind: NDArray[np.uint8]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which links are valves that can be closed, and which let nothing back."""
    valve = _is_one_of(kind, LINK_KINDS, (LinkKind.VALVE,))
    one_way = _is_one_of(kind, LINK_KINDS, _ONE_WAY)
    one_way |= contains(links["properties"], _CHECK_VALVE)
    at = np.flatnonzero(valve)
    said = links["properties"].iloc[at]
    valve[at] = ~_says(said, _NOT_ISOLATING)
    one_way[at] |= _says(said, _ONE_WAY_VALVE)
    return valve, one_way


def _node_valves(nodes: pd.DataFrame, kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    valve = _is_one_of(kind, NODE_KINDS, (NodeKind.VALVE,))
    at = np.flatnonzero(valve)
    for column in ("properties", "feature"):
        valve[at] &= ~_says(nodes[column].iloc[at], _NOT_ISOLATING)
    return valve


def _says(column: pd.Series[Any], expression: str) -> NDArray[np.bool_]:
    """Return which rows of a column match a regular expression somewhere, whatever the case."""
    there = compute.match_substring_regex(arrow(column), expression, ignore_case=True)
    return there.to_numpy(zero_copy_only=False) == True  # noqa: E712  # missing is None


def _points(nodes: pd.DataFrame) -> NDArray[np.float64]:
    at = _objects(nodes["geometry"])
    return np.column_stack((shapely.get_x(at), shapely.get_y(at), shapely.get_z(at)))


def _lengths(links: pd.DataFrame) -> NDArray[np.float64]:
    stated = links["length_m"].to_numpy(dtype=np.float64, copy=True)
    unsaid = np.flatnonzero(np.isnan(stated))
    drawn = shapely.length(_objects(links["geometry"].iloc[unsaid]))
    stated[unsaid] = np.nan_to_num(drawn)
    return stated
