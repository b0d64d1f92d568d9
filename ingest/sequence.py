"""Sequence numbers: which messages of a device were taken in, and where the holes are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping

MAX_BOOTS = 3
"""Boots of a device whose sequence numbers are remembered; resends of older ones are known by their times."""

MAX_DEVICES = 100_000
"""Devices whose numbers are in memory, once more those that were before them; others are read from disk again."""

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

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._firsts, number)
        return bool(at) and self._lasts[at - 1] >= number

    def pairs(self) -> list[tuple[int, int]]:
        """Return the ranges, lowest first."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def holes(self) -> list[tuple[int, int]]:
        """Return the ranges between the ranges."""
        return [(last + 1, first - 1) for last, first in zip(self._lasts, self._firsts[1:], strict=False)]


class Memory:
    """The sequence numbers taken in, by device and boot: in memory those of devices heard lately, the rest on disk.

    `read` gives what is on disk of a device. What is added lasts once the owner has put `changed` on disk; it says
    `begin` before each such group, and `undo` when that failed.
    """

    def __init__(self, read: Callable[[str], dict[int, Ranges]], limit: int = MAX_DEVICES) -> None:
        self._read = read
        self._limit = limit
        self._seen: dict[str, dict[int, Ranges]] = {}
        self._before: dict[str, dict[int, Ranges]] = {}
        self._touched: dict[tuple[str, int], Ranges] = {}
        self._forgotten: set[tuple[str, int]] = set()

    def __len__(self) -> int:
        return len(self._seen) + len(self._before)

    def begin(self) -> None:
        """Begin a group."""
        self._touched, self._forgotten = {}, set()
        if len(self._seen) > self._limit:
            self._seen, self._before = {}, self._seen

    def undo(self) -> None:
        """Forget what the group added: it is not on disk."""
        for device, _ in [*self._touched, *self._forgotten]:
            self._seen.pop(device, None)
            self._before.pop(device, None)

    def add(self, device: str, boot: int, seq: int) -> bool:
        """Add a number and return whether it is new."""
        boots = self._seen.get(device)
        if boots is None:
            boots = self._before.pop(device, None)
            boots = self._seen[device] = self._read(device) if boots is None else boots
        ranges = boots.get(boot)
        if ranges is None:
            ranges = boots[boot] = Ranges()
            if len(boots) > MAX_BOOTS:
                oldest = min(boots)
                del boots[oldest]
                self._touched.pop((device, oldest), None)
                self._forgotten.add((device, oldest))
                if oldest == boot:  # older than all that are remembered
                    return True
        self._touched[device, boot] = ranges
        return ranges.add(seq)

    def knows(self, device: str, boot: int, seq: int) -> bool:
        """Return whether a number was taken in."""
        boots = self._seen.get(device) or self._before.get(device) or self._read(device)
        return seq in boots.get(boot, ())

    def known(self, device: str, boot: int) -> Ranges | None:
        """Return the numbers of a boot of a device, if they are in memory."""
        return (self._seen.get(device) or self._before.get(device, {})).get(boot)

    def newest_boot(self, device: str) -> int | None:
        """Return the newest boot of a device, if it is in memory."""
        return max(self._seen.get(device) or self._before.get(device, {}), default=None)

    def changed(self) -> tuple[Mapping[tuple[str, int], Ranges], set[tuple[str, int]]]:
        """Return what the group has changed, and the boots that nobody need remember, by device and boot."""
        return self._touched, self._forgotten


__all__ = ["Memory", "Ranges"]
