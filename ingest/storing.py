"""Storing: the forwarder that follows the spool into the reading store, and enters in the ledger what became of it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import structlog

from ingest.read_back import MOST_WAITING, ReadBack
from ingest.spool import Given, Quarantined, Reader, Spool
from ingest.store import Audited, ReadingStore, Rejected, Written
from sensors.clock import Clock, to_ms
from sensors.reading import Batch
from twin.errors import BusyError, UnavailableError

logger = structlog.get_logger()

RETRY_S = (0.5, 10.0)
FINISH_S = 5.0
"""At the end, what the store has been given is looked for no longer than this; the rest is written again next time."""


class StoreForwarder:
    """Writes what is spooled into the reading store, and enters what became of it in the ledger.

    `check` flags quality; `names` maps series to ``device/point``, for readings that the store refuses. The ledger
    counts what an audited store was given once it is found there (`ingest.read_back`). `available` says whether the
    store answers, `trouble` what it said instead, and `write_s` how long its newest write took.
    """

    def __init__(
        self,
        spool: Spool,
        store: ReadingStore,
        clock: Clock,
        *,
        check: Callable[[Batch], Batch],
        names: Callable[[], Mapping[int, str]],
    ) -> None:
        self.available = True
        self.trouble = ""
        self.write_s: float | None = None
        self._spool = spool
        self._store = store
        self._clock = clock
        self._check = check
        self._names = names
        self._read_back = ReadBack(store) if isinstance(store, Audited) else None
        self._ahead = spool.cursor(Reader.STORED)
        self._settled: deque[tuple[int, Batch, Written, Sequence[Rejected]]] = deque()
        self._entered = self._ahead
        self._inherited = spool.given()
        self._given = Given()

    @property
    def missing(self) -> int:
        """Readings that the store answered well for and does not have; they are written again."""
        return 0 if self._read_back is None else self._read_back.missing

    def run(self, stop: threading.Event) -> None:
        """Forward until `stop`; a store that does not answer is tried again, and the spool grows meanwhile.

        It is left alone as long as it asks for.
        """
        wait_s = RETRY_S[0]
        while not stop.is_set():
            try:
                if not self.step():
                    self._rest(stop)
            except (UnavailableError, BusyError) as error:
                self._note(error)
                stop.wait(max(wait_s, getattr(error, "retry_s", None) or 0.0))
                wait_s = min(2 * wait_s, RETRY_S[1])
            else:
                self._note(None)
                wait_s = RETRY_S[0]
        self._finish()

    def step(self) -> bool:
        """Forward the next batches; whether there was anything to do."""
        settled = self._settle()
        if self._full:
            return settled
        spooled = self._spool.batches(self._ahead)
        if not spooled:
            return settled
        through = spooled[-1].id
        batch = self._check(Batch.joined([one.batch for one in spooled], to_ms(self._clock.now())))
        started_s = time.monotonic()
        written = self._store.write(batch)
        self.write_s = time.monotonic() - started_s
        self._ahead = through
        if self._read_back is None:
            self._settled.append((through, batch, written, written.rejected))
            self._settle()
        else:
            self._read_back.give(through, batch, written)
            self._given = Given(through, self._given.stored + written.stored)
            self._spool.give(_noted(self._given, self._inherited))  # last: a full disk may refuse it
        return True

    @property
    def _full(self) -> bool:
        return self._read_back is not None and self._read_back.waiting >= MOST_WAITING

    def _settle(self) -> bool:
        """Enter what the store holds, an audited one once it was found there; whether there was any.

        What the spool cannot enter now (its disk is full) stays, and is entered before anything that comes later:
        otherwise the cursor would pass readings that no counter and no quarantine has.
        """
        for given in self._read_back.settled() if self._read_back is not None else ():
            self._settled.append((given.through, given.batch, given.written, given.rejected))
        entered = bool(self._settled)
        while self._settled:
            self._enter(*self._settled[0])
            self._settled.popleft()
        return entered

    def _enter(self, through: int, batch: Batch, written: Written, rejected: Sequence[Rejected]) -> None:
        lost = len(rejected) - len(written.rejected)  # refused by the audit, and counted as kept before
        stored = max(0, written.stored - lost)
        duplicates = written.duplicates - (lost - (written.stored - stored))
        refused = list(self._refused(batch, written, rejected))
        if self._read_back is None:
            self._spool.stored(through, stored, duplicates, refused)
            return
        inherited, given = self._inherited, self._given._replace(stored=self._given.stored - written.stored)
        # What a worker before this one had given the store comes again, and is found there: it is no duplicate.
        known = min(inherited.stored, duplicates) if self._entered < inherited.through else 0
        left = inherited.stored - known if through < inherited.through else 0
        noted = _noted(given, inherited._replace(stored=left))
        self._spool.stored(through, stored + known, duplicates - known, refused, noted)
        self._entered, self._given, self._inherited = through, given, inherited._replace(stored=left)

    def _refused(self, batch: Batch, written: Written, rejected: Sequence[Rejected]) -> Iterator[Quarantined]:
        names = self._names() if rejected or len(written.conflicts) else {}
        reasons = [
            (int(at), "E_CONFLICT", f"time {batch.time[at]} holds another value than {batch.value[at]:g} (SI)")
            for at in written.conflicts
        ]
        reasons += [(one.position, "E_STORE", one.reason) for one in rejected]
        for at, code, reason in reasons:
            name = names.get(int(batch.series[at]), f"series {batch.series[at]}")
            kept = {"ts": int(batch.time[at]), "v": float(batch.value[at]), "q": int(batch.quality[at])}
            yield Quarantined(batch.now, name, msgspec.json.encode(kept), code, reason)

    def _rest(self, stop: threading.Event) -> None:
        """Wait for something to do: the spool tells of new batches, an audit comes due by itself."""
        if self._full:
            stop.wait(0.1)
        else:
            self._spool.wait(self._ahead, 0.2)

    def _note(self, error: UnavailableError | BusyError | None) -> None:
        if error is not None and self.available:
            logger.warning("store_unavailable", error=str(error))
        if error is None and not self.available:
            logger.info("store_available_again")
        self.available, self.trouble = error is None, "" if error is None else str(error)

    def _finish(self) -> None:
        """Look once more for what the store was given, so that it need not be written again at the next start."""
        until_s = time.monotonic() + FINISH_S
        while self._read_back is not None and self._read_back.waiting and time.monotonic() < until_s:
            try:
                if not self._settle():
                    time.sleep(0.1)
            except (UnavailableError, BusyError) as error:
                logger.warning("readings_not_audited", error=str(error), readings=self._read_back.waiting)
                return


def _noted(own: Given, inherited: Given) -> Given:
    """Return what a successor has to know of: what was given here, and before."""
    return Given(max(own.through, inherited.through), own.stored + inherited.stored)


__all__ = ["StoreForwarder"]
