"""Where each asset id stands in an array: a hash table of four bytes a slot, a twentieth of a Python dictionary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numba as nb
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STEP = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio: spreads consecutive hashes (Knuth, The Art of Computer Programming 3, section 6.4)."""
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Ids:
    """Asset ids in order, object (n,), found again by id. The first of two equal ones counts."""

    ids: NDArray[np.object_]
    _slots: NDArray[np.int32]

    @staticmethod
    def of(ids: NDArray[np.object_]) -> Ids:
        """Index `ids`."""
        return Ids(ids, _fill(_hashes(ids), _slot_count(len(ids))))

    def __len__(self) -> int:
        return len(self.ids)

    def find(self, asset: str) -> int:
        """Return the position of `asset`, -1 where it is not among them."""
        last = len(self._slots) - 1
        slot = ((hash(asset) * _STEP & _MASK) >> 32) & last
        while (at := int(self._slots[slot])) >= 0:
            if self.ids[at] == asset:
                return at
            slot = (slot + 1) & last
        return -1

    def find_all(self, assets: NDArray[np.object_]) -> NDArray[np.int32]:
        """Return the position of each of `assets`, int32, -1 where it is not among them (None and NaN are not)."""
        found = _look_up(_hashes(assets), _hashes(self.ids), self._slots)
        there = np.flatnonzero(found >= 0)
        wrong = there[self.ids[found[there]] != assets[there]]
        found[wrong] = [self.find(asset) for asset in assets[wrong]]  # two hashes of 64 bits met: once in 10^7 cities
        return found


def _hashes(ids: NDArray[np.object_] | Sequence[str]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, ids), np.int64, len(ids))


def _slot_count(count: int) -> int:
    return 1 << max(3, (2 * count - 1).bit_length())


@nb.njit(cache=True)
def _fill(hashes: NDArray[np.int64], slot_count: int) -> NDArray[np.int32]:
    slots = np.full(slot_count, -1, np.int32)
    last = slot_count - 1
    for at in range(len(hashes)):
        slot = np.int64((np.uint64(hashes[at]) * np.uint64(_STEP)) >> np.uint64(32)) & last
        while slots[slot] >= 0:
            slot = (slot + 1) & last
        slots[slot] = at
    return slots


@nb.njit(cache=True)
def _look_up(wanted: NDArray[np.int64], hashes: NDArray[np.int64], slots: NDArray[np.int32]) -> NDArray[np.int32]:
    found = np.full(len(wanted), -1, np.int32)
    last = len(slots) - 1
    for i in range(len(wanted)):
        slot = np.int64((np.uint64(wanted[i]) * np.uint64(_STEP)) >> np.uint64(32)) & last
        while slots[slot] >= 0:
            if hashes[slots[slot]] == wanted[i]:
                found[i] = slots[slot]
                break
            slot = (slot + 1) & last
    return found
