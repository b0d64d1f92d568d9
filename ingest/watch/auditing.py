"""Auditing: the ledger, counted anew from the rows themselves, every minute."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import structlog

from ingest.spool import Spool
from twin.errors import BusyError, UnavailableError

logger = structlog.get_logger()

EVERY_S = 60.0


class LedgerAudit:
    """Counts the ledger of a spool anew: `unaccounted` readings (0, or something is wrong), found `at` (aware UTC)."""

    def __init__(self, spool: Spool) -> None:
        self.unaccounted = 0
        self.at: datetime | None = None
        self._spool = spool

    def run(self, stop: threading.Event, every_s: float = EVERY_S) -> None:
        """Count until `stop`; a spool that does not answer is asked again the next time."""
        while True:
            try:
                self.step()
            except (UnavailableError, BusyError) as error:
                logger.warning("ledger_not_counted", error=str(error))
            if stop.wait(every_s):
                return

    def step(self) -> None:
        """Count once."""
        counted = self._spool.recounted()
        if counted.balance:
            logger.error("ledger_out_of_balance", missing=counted.balance)
        self.unaccounted, self.at = counted.balance, datetime.now(UTC)


__all__ = ["EVERY_S", "LedgerAudit"]
