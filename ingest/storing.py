"""Storing: the forwarder that follows the spool into the reading store, and enters in the ledger what became of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import msgspec
import structlog

from ingest.spool import Quarantined, Reader, Spool
from ingest.store import ReadingStore, Written
from sensors.clock import Clock, to_ms
from sensors.reading import Batch
from twin.errors import BusyError, UnavailableError

logger = structlog.get_logger()

RETRY_S = (0.5, 10.0)


class StoreForwarder:
    """Writes what is spooled into the reading store, and enters what became of it in the ledger.

    `check` flags quality; `names` maps series to ``device/point``, for readings that the store refuses.
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
        self._spool = spool
        self._store = store
        self._clock = clock
        self._check = check
        self._names = names
        self._cursor = spool.cursor(Reader.STORED)

    def run(self, stop: threading.Event) -> None:
        """Forward until `stop`; a store that does not answer is tried again, and the spool grows meanwhile."""
        wait_s = RETRY_S[0]
        while not stop.is_set():
            try:
                if not self.step():
                    self._spool.wait(self._cursor, 0.2)
            except (UnavailableError, BusyError) as error:
                if self.available:
                    logger.warning("store_unavailable", error=str(error))
                self.available = False
                stop.wait(wait_s)
                wait_s = min(2 * wait_s, RETRY_S[1])
            else:
                if not self.available:
                    logger.info("store_available_again")
                self.available, wait_s = True, RETRY_S[0]

    def step(self) -> bool:
        """Forward the next batches; whether there were any."""
        spooled = self._spool.batches(self._cursor)
        if not spooled:
            return False
        batch = self._check(Batch.joined([one.batch for one in spooled], to_ms(self._clock.now())))
        written = self._store.write(batch)
        self._spool.stored(spooled[-1].id, written.stored, written.duplicates, self._conflicts(batch, written))
        self._cursor = spooled[-1].id
        return True

    def _conflicts(self, batch: Batch, written: Written) -> list[Quarantined]:
        names = self._names() if len(written.conflicts) else {}
        return [
            Quarantined(
                batch.now,
                names.get(int(batch.series[at]), f"series {batch.series[at]}"),
                msgspec.json.encode({"ts": int(batch.time[at]), "v": float(batch.value[at])}),
                "E_CONFLICT",
                f"time {batch.time[at]} holds another value than {batch.value[at]:g} (SI)",
            )
            for at in written.conflicts
        ]


__all__ = ["StoreForwarder"]
