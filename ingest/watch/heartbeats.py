"""Heart-beats: how the ingest of several districts is doing, read from their spools by whoever watches them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ingest.lease import SPOOL_ID
from ingest.ledger import Ledger
from ingest.spool import Spool
from ingest.status import Status
from twin.errors import BusyError, ChengmaiError, InputError, UnavailableError


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a district's spool says: its newest heart-beat and its ledger, or what keeps it from saying so.

    `elsewhere` is a district that another machine works, with a spool of its own: there is nothing to say of it here.
    """

    status: Status | None = None
    ledger: Ledger | None = None
    error: ChengmaiError | None = None
    elsewhere: bool = False

    @property
    def alive(self) -> bool:
        """Whether there is a fresh beat."""
        return self.status is not None and self.status.alive

    @property
    def age_s(self) -> float | None:
        """How old the newest beat is in seconds of the machine's clock, None where there never was one."""
        return None if self.status is None else (datetime.now(UTC) - self.status.beat).total_seconds()

    @property
    def ill(self) -> str:
        """Why this ingest is not to be relied on: empty, or one line."""
        if self.elsewhere:
            return ""
        if self.status is None or self.ledger is None:
            return str(self.error or "has never run")
        faults = {
            "no heart-beat": not self.status.alive,
            "no connection to the broker": not self.status.connected,
            "the spool cannot be written": not self.status.spool_ok,
            "the store does not answer": not self.status.store_ok,
            "the store loses readings": bool(self.status.store_missing),
            "the alarm log does not answer": not self.status.alarms_ok,
            "the ledger does not balance": bool(self.ledger.balance or self.status.unaccounted),
        }
        return "; ".join(fault for fault, found in faults.items() if found)


def _alone() -> Mapping[str, str]:
    return {}


class Heartbeats:
    """The heart-beats of districts, by the spools at `paths`, which need not be there yet. Safe to share by threads.

    `worked` says with which spool (its id) districts are worked now, where more machines than this one may do so; as
    long as it does not answer, what it said last holds.
    """

    def __init__(self, paths: Mapping[str, Path], worked: Callable[[], Mapping[str, str]] = _alone) -> None:
        self._paths = dict(paths)
        self._worked = worked
        self._known: Mapping[str, str] = {}
        self._spools: dict[str, Spool] = {}
        self._lock = threading.Lock()

    def look(self) -> dict[str, Pulse]:
        """Return how each district's ingest is doing, in the order of the paths."""
        with self._lock:
            with suppress(UnavailableError, BusyError):  # what it said last holds
                self._known = self._worked()
            return {district: self._pulse(district) for district in self._paths}

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            for spool in self._spools.values():
                spool.close()
            self._spools = {}

    def _pulse(self, district: str) -> Pulse:
        path = self._paths[district]
        try:
            if district not in self._spools:
                if not path.is_file():
                    return Pulse(elsewhere=district in self._known)
                self._spools[district] = Spool(path)
            spool = self._spools[district]
            here = (spool.state(SPOOL_ID) or b"").decode()
            if self._known.get(district, here) != here:
                return Pulse(elsewhere=True)
            return Pulse(spool.status(), spool.ledger())
        except (UnavailableError, BusyError, InputError) as error:
            return Pulse(error=error)


__all__ = ["Heartbeats", "Pulse"]
