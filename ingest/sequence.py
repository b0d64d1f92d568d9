"""Sequence numbers: which messages of a device were taken in, and where the holes are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

MAX_RANGES = 1000
"""Ranges remembered of one boot; with more holes than that the oldest range is forgotten (a resend out of it is then
known by its times only, in the store)."""


class Ranges:
    """A set of whole numbers as closed ranges, in order.

    >>> seen = Ranges()
    >>> [seen.add(n) for n in (1, 2, 5, 2)]
    [True, True, True, False]
    >>> seen.pairs(), seen.holes()
    ([(1, 2), (5, 5)], [(3, 4)])
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in pairs:
            self.add(first, last)

    def __len__(self) -> int:
        return len(self._firsts)

    def add(self, first: int, last: int | None = None) -> bool:
        """Add a number (or a closed range) and return whether any of it is new."""
        last = first if last is None else last
        firsts, lasts = self._firsts, self._lasts
        if lasts and first == lasts[-1] + 1:
            lasts[-1] = last
            return True
        at = bisect_right(firsts, first)
        if at and lasts[at - 1] >= last:
            return False
        begin = at - 1 if at and lasts[at - 1] + 1 >= first else at
        end = bisect_right(firsts, last + 1)
        if begin < end:
            first, last = min(first, firsts[begin]), max(last, lasts[end - 1])
        firsts[begin:end] = [first]
        lasts[begin:end] = [last]
        if len(firsts) > MAX_RANGES:
            del firsts[0], lasts[0]
        return True

    def pairs(self) -> list[tuple[int, int]]:
        """Return the ranges, lowest first."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def holes(self) -> list[tuple[int, int]]:
        """Return the ranges between the ranges."""
        return [(last + 1, first - 1) for last, first in zip(self._lasts, self._firsts[1:], strict=False)]


__all__ = ["Ranges"]
