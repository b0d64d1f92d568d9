"""Read-back: what was given to a store whose answer says nothing counts once it has been read from it again.

Every reading is looked for, with its value. What does not appear is written again; what never appears, while other
readings given at the same time or later do, is refused for good, so that it holds up nobody.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import structlog
from numpy.typing import NDArray

from ingest.store import Audited, ReadingStore, Rejected, Written
from sensors.reading import Batch

logger = structlog.get_logger()

LOOK_S = 1.0
"""Time between two looks for the same readings."""

PATIENCE_S = 15.0
"""What has not appeared so long after it was written is missing; VictoriaMetrics shows even new series within 10 s."""

REFUSALS = 3
"""A reading that was written, and not kept while others written later were, so often and once more, is refused."""

MOST_WAITING = 2_500_000
"""Readings that wait for their audit at most (75 MB, 125,000 a second over 20 s); the others stay in the spool."""


class AuditedStore(ReadingStore, Audited, Protocol):
    """A reading store that can and must be asked what it kept."""


@dataclass(slots=True)
class Given:
    """A batch that the store has answered for, from the spool up to `through`; `open` are positions not yet found."""

    through: int
    batch: Batch
    written: Written
    open: NDArray[np.intp]
    written_s: float
    look_s: float
    rewrites: int = 0
    refusals: int = 0
    rejected: list[Rejected] = field(default_factory=list[Rejected])


class ReadBack:
    """Keeps what was given to a store, in the order of the spool, until it is found there. Belongs to one thread.

    `seconds` is monotonic machine time: the store's delay has nothing to do with the city's clock.
    """

    def __init__(self, store: AuditedStore, seconds: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._seconds = seconds
        self._given: deque[Given] = deque()
        self._kept_s = -np.inf

    @property
    def waiting(self) -> int:
        """Readings that were given and are not yet accounted for."""
        return sum(len(given.batch) for given in self._given)

    @property
    def missing(self) -> int:
        """Readings that the store answered well for and does not have."""
        return sum(len(given.open) for given in self._given if given.rewrites)

    def give(self, through: int, batch: Batch, written: Written) -> None:
        """Note what the store has answered for."""
        kept = np.ones(len(batch), np.bool_)
        kept[written.conflicts] = False
        kept[[one.position for one in written.rejected]] = False
        now_s = self._seconds()
        given = Given(through, batch, written, np.flatnonzero(kept), now_s, now_s + self._store.settles_s)
        given.rejected += written.rejected
        self._given.append(given)

    def settled(self) -> list[Given]:
        """Look for what is due, and return the batches of which every reading is accounted for, in their order.

        UnavailableError when the store does not answer; nothing is settled then.
        """
        for given in self._given:
            if len(given.open) and self._seconds() >= given.look_s:
                self._look(given)
        done: list[Given] = []
        while self._given and not len(self._given[0].open):
            done.append(self._given.popleft())
        return done

    def _look(self, given: Given) -> None:
        held = self._store.held(given.batch.take(given.open))
        now_s = self._seconds()
        if held.any():
            self._kept_s = max(self._kept_s, given.written_s)
        given.open = given.open[~held]
        given.look_s = now_s + LOOK_S
        if not len(given.open) or now_s - given.written_s < PATIENCE_S:
            return
        if self._kept_s >= given.written_s:
            given.refusals += 1
        if given.refusals > REFUSALS:
            reason = f"the store answered well {given.rewrites + 1} times and does not have it"
            given.rejected += [Rejected(int(at), reason) for at in given.open]
            given.open = given.open[:0]
            return
        logger.warning("readings_missing_in_store", readings=len(given.open), written=given.rewrites + 1)
        self._store.write(given.batch.take(given.open))
        given.rewrites += 1
        given.written_s = self._seconds()  # the answer may have taken long, and what is settled counts from it
        given.look_s = given.written_s + self._store.settles_s


__all__ = ["MOST_WAITING", "AuditedStore", "Given", "ReadBack"]
