"""The ids of a network's nodes or links, in order, as bytes one after the other, and found again by a hash table.

An id takes its own bytes and about twenty more; as a Python string in a dictionary it would take two hundred. The ends
of a million links are found in a fraction of a second, without one Python string being made.
"""

# ruff: noqa: PLR0917  # compiled functions take plain arrays by position

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

import numba as nb
import numpy as np
import pyarrow as pa

from twin.asset import AssetId
from twin.network.text import arrow, buffers

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

_PRIME = 0x9E3779B97F4A7C15
"""2^64 over the golden ratio, odd: multiplying by it spreads (Knuth, The Art of Computer Programming 3, 6.4)."""
_FINAL = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
"""The last two multiplications of MurmurHash3 (Appleby, fmix64): ids that differ in one digit spread as any others."""
_BLOCK = 1024
"""Ids looked up side by side."""


@dataclass(frozen=True, eq=False)
class Ids:
    """Asset ids in order, all different. Indexed like a numpy array: a number gives an id, anything else an array.

    The hash table is made when an id is first looked for.
    """

    text: Any
    _offsets: NDArray[np.int64]
    _data: NDArray[np.uint8]

    @staticmethod
    def of(column: pd.Series[Any] | NDArray[np.object_]) -> Ids:
        """Index the ids of a table's column."""
        text = arrow(column)
        return Ids(text, *buffers(text))

    @cached_property
    def _table(self) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        return _fill(self._offsets, self._data, 1 << max(3, (2 * len(self) - 1).bit_length()))

    def __len__(self) -> int:
        return len(self.text)

    def __iter__(self) -> Iterator[AssetId]:
        return iter(self.text.to_pylist())

    @overload
    def __getitem__(self, at: int | np.integer[Any]) -> AssetId: ...
    @overload
    def __getitem__(self, at: NDArray[Any] | slice | list[int]) -> NDArray[np.object_]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, (int, np.integer)):
            return AssetId(self.text[int(at)].as_py())
        where = np.asarray(at) if not isinstance(at, slice) else np.arange(len(self))[at]
        where = np.flatnonzero(where) if where.dtype == np.bool_ else where.astype(np.int64)
        return self.text.take(pa.array(where)).to_numpy(zero_copy_only=False)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return self.text.to_numpy(zero_copy_only=False).astype(dtype or object, copy=False)

    def find(self, asset: str) -> int:
        """Return the position of `asset`, -1 where it is not among them."""
        wanted = np.frombuffer(asset.encode(), np.uint8)
        return int(_find(wanted, 0, len(wanted), self._offsets, self._data, *self._table))

    def find_all(self, column: pd.Series[Any]) -> NDArray[np.int32]:
        """Return the position of each id in a table's column, int32, -1 where it is not among them or missing."""
        return _find_all(*buffers(arrow(column)), self._offsets, self._data, *self._table)


@nb.njit(cache=True)
def _hash(data: NDArray[np.uint8], begin: Any, end: Any) -> Any:
    """Return a hash of the bytes from `begin` to `end`: eight at a time, multiplied and folded."""
    spread = np.uint64(_PRIME)
    mixed = np.uint64(end - begin)
    at = begin
    while at + 8 <= end:
        word = np.uint64(0)
        for byte in range(8):
            word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
        mixed = (mixed ^ word) * spread
        mixed ^= mixed >> np.uint64(32)
        at += 8
    word = np.uint64(0)
    while at < end:
        word = (word << np.uint64(8)) | np.uint64(data[at])
        at += 1
    mixed = (mixed ^ word) * spread
    for factor in _FINAL:
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(33))


@nb.njit(cache=True)
def _fill(
    offsets: NDArray[np.int64], data: NDArray[np.uint8], slot_count: int
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return which id is in each slot, -1 none, and eight bits of its hash, which tell most others from it."""
    slots = np.full(slot_count, -1, np.int32)
    tags = np.zeros(slot_count, np.uint8)
    last = np.uint64(slot_count - 1)
    mixed = np.empty(_BLOCK, np.uint64)
    for begin in range(0, len(offsets) - 1, _BLOCK):
        count = min(_BLOCK, len(offsets) - 1 - begin)
        for i in range(count):
            mixed[i] = _hash(data, offsets[begin + i], offsets[begin + i + 1])
        for i in range(count):
            slot = mixed[i] & last
            while slots[slot] >= 0:
                slot = (slot + np.uint64(1)) & last
            slots[slot] = begin + i
            tags[slot] = mixed[i] >> np.uint64(56)
    return slots, tags


@nb.njit(cache=True)
def _find(
    wanted: NDArray[np.uint8],
    begin: Any,
    end: Any,
    offsets: NDArray[np.int64],
    data: NDArray[np.uint8],
    slots: NDArray[np.int32],
    tags: NDArray[np.uint8],
) -> Any:
    last = np.uint64(len(slots) - 1)
    mixed = _hash(wanted, begin, end)
    slot, tag = mixed & last, np.uint8(mixed >> np.uint64(56))
    while slots[slot] >= 0:
        at = slots[slot]
        if tags[slot] == tag and _same(wanted, begin, end, data, offsets[at], offsets[at + 1]):
            return at
        slot = (slot + np.uint64(1)) & last
    return np.int32(-1)


@nb.njit(cache=True)
def _same(one: NDArray[np.uint8], begin: Any, end: Any, other: NDArray[np.uint8], first: Any, last: Any) -> bool:
    if end - begin != last - first:
        return False
    for at in range(end - begin):  # noqa: SIM110  # compiled
        if one[begin + at] != other[first + at]:
            return False
    return True


@nb.njit(cache=True)
def _find_all(
    wanted_offsets: NDArray[np.int64],
    wanted: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    data: NDArray[np.uint8],
    slots: NDArray[np.int32],
    tags: NDArray[np.uint8],
) -> NDArray[np.int32]:
    found = np.empty(len(wanted_offsets) - 1, np.int32)
    last = np.uint64(len(slots) - 1)
    mixed, likely, tag = np.empty(_BLOCK, np.uint64), np.empty(_BLOCK, np.int32), np.empty(_BLOCK, np.uint8)
    for begin in range(0, len(found), _BLOCK):
        count = min(_BLOCK, len(found) - begin)
        for i in range(count):
            mixed[i] = _hash(wanted, wanted_offsets[begin + i], wanted_offsets[begin + i + 1])
        for i in range(count):  # nothing here waits for the one before, so the memory is asked for many at once
            likely[i], tag[i] = slots[mixed[i] & last], tags[mixed[i] & last]
        for i in range(count):
            first, end, at = wanted_offsets[begin + i], wanted_offsets[begin + i + 1], likely[i]
            if at >= 0 and (
                tag[i] != np.uint8(mixed[i] >> np.uint64(56))
                or not _same(wanted, first, end, data, offsets[at], offsets[at + 1])
            ):
                at = _find(wanted, first, end, offsets, data, slots, tags)
            found[begin + i] = at
    return found
