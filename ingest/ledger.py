"""The ledger: where every reading that came in has gone."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ledger:
    """Counts in readings (an undecodable message counts one), as they stood at one moment of the spool.

    >>> Ledger(received=10, stored=6, duplicates=1, quarantined=1, spooled=2).balance
    0
    """

    received: int
    stored: int
    duplicates: int
    quarantined: int
    spooled: int
    purged: int = 0
    """Of the quarantined: those that an operator has deleted for good."""
    dropped: int = 0
    """Not received, nor receipted: refused as a whole, of senders whose share of the quarantine was full."""

    @property
    def balance(self) -> int:
        """Readings received that are nowhere else: 0, or something is wrong."""
        return self.received - self.stored - self.duplicates - self.quarantined - self.spooled


__all__ = ["Ledger"]
