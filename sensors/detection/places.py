"""Places: the nodes and links of the network at which a quantity is measured, whichever series do it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Subject
from sensors.detection.scope import Scope
from sensors.detection.series import SeriesTable
from sensors.device import Point
from twin.asset import AssetId, System
from twin.network.graph import SYSTEMS, Network

MIN_HELD_MS = 900_000
"""A value holds for so long at least, or for three intervals of its device."""

_NEVER = -(2**62)


@dataclass(frozen=True, slots=True)
class Place:
    """One asset at which one quantity is measured.

    `node` and `link` are its index in the network, -1 for what it is not. `points` measure it, with spans that may
    differ; `held_ms` is how long a reading of theirs holds.
    """

    asset: AssetId
    quantity: str
    node: int
    link: int
    points: tuple[Point, ...]
    subjects: tuple[Subject, ...]
    held_ms: int

    @property
    def subject(self) -> Subject:
        """What a detection at this place is about."""
        return Subject(f"asset:{self.asset}")

    def top(self, graph: Network) -> int:
        """Return its node, or the node where its link begins."""
        return self.node if self.node >= 0 else int(graph.start[self.link])


class Places:
    """Places in the order of their assets (`all`, k of them), and what each of them reads at present.

    `series` (n,) are the series of all, those of a place beside each other: what `Steps` is made of. A place at which
    several devices measure reads the highest of them.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        self.all = places
        sizes = [len(place.points) for place in places]
        self.series = np.array([point.series for place in places for point in place.points], np.int32)
        self._first = np.cumsum([0, *sizes])[:-1].astype(np.intp)
        self._held_ms = np.array([place.held_ms for place in places], np.int64)
        self._value, self._seen = np.full(len(places), np.nan), np.full(len(places), _NEVER)

    @staticmethod
    def of(scope: Scope, quantities: Collection[str], systems: Collection[System]) -> Places:
        """Return where devices of `systems` measure one of `quantities`; nowhere where the city has no network."""
        return Places([] if scope.graph is None else list(_places(scope, scope.graph, quantities, systems)))

    def in_systems(self, scope: Scope, systems: Collection[System]) -> Places:
        """Return those of them that are in the network of one of `systems`."""
        graph = scope.graph
        if graph is None:
            return self
        ours = np.isin(graph.system, [SYSTEMS.index(system) for system in systems])
        there = np.zeros(len(graph.nodes), np.bool_)
        there[graph.start[ours]] = there[graph.end[ours]] = True
        return Places([place for place in self.all if (there[place.node] if place.node >= 0 else ours[place.link])])

    def once_an_asset(self) -> Places:
        """Return the first place of each asset: two quantities of one asset are one thing to tell of."""
        return Places(list({place.asset: place for place in reversed(self.all)}.values())[::-1])

    def __len__(self) -> int:
        return len(self.all)

    @property
    def ids(self) -> NDArray[np.int32]:
        """The least series of each place, (k,): what a place is known by in a saved state."""
        return np.minimum.reduceat(self.series, self._first) if len(self) else np.empty(0, np.int32)

    def read(self, time: int, mean: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Take in a step at `time`: `mean` (n,) of `series`; return (k,) which places were read in it."""
        if not len(self):
            return np.empty(0, np.bool_)
        value = np.fmax.reduceat(mean, self._first)
        fresh = np.isfinite(value)
        self._value[fresh] = value[fresh]
        self._seen[fresh] = time
        return fresh

    def now(self, time: int) -> NDArray[np.float64]:
        """Return what each place reads at `time`, (k,) SI: NaN where its last reading holds no longer."""
        return np.where(time - self._seen <= self._held_ms, self._value, np.nan)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return what `restore` wants."""
        return {"places_id": self.ids, "places_value": self._value, "places_seen": self._seen}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Take over what `state` returned for these places or others; return which of mine are which of theirs."""
        _, mine, theirs = np.intersect1d(self.ids, state["places_id"], return_indices=True)
        self._value[mine], self._seen[mine] = state["places_value"][theirs], state["places_seen"][theirs]
        return mine, theirs


def _places(scope: Scope, graph: Network, quantities: Collection[str], systems: Collection[System]) -> Iterator[Place]:
    table = SeriesTable(scope.devices)
    kinds = [n for n, kind in enumerate(table.kinds) if kind.quantity in quantities and kind.system in systems]
    found: list[tuple[str, str, Subject, Point, int]] = []
    for row in table.watched(kinds).tolist():
        device = scope.devices[int(table.points.device[row])]
        point = next(each for each in device.points if each.series == table.points.series[row])
        subject = Subject(f"point:{device.id}/{point.name}")
        interval_ms = round(device.interval.total_seconds() * 1000)
        found.append((str(device.asset), point.quantity, subject, point, interval_ms))
    for (asset, quantity), together in groupby(sorted(found, key=lambda each: each[:3]), key=lambda each: each[:2]):
        node = graph.nodes.find(asset)
        link = graph.links.find(asset) if node < 0 else -1
        if node < 0 and link < 0:
            continue  # in no network: in a building, or bound to nothing
        rows = list(together)
        yield Place(
            AssetId(asset),
            quantity,
            node,
            link,
            tuple(row[3] for row in rows),
            tuple(row[2] for row in rows),
            max(MIN_HELD_MS, 3 * max(row[4] for row in rows)),
        )


__all__ = ["Place", "Places"]
