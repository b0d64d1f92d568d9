"""Receipts: what a device is told once its readings are on disk or in quarantine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from ingest.payload import Refusal
from ingest.sequence import Ranges
from ingest.topic import Channel, Topic

INTERVAL_S = 1.0
"""At most one receipt a device and second (contract)."""

MAX_MISSING = 100
MAX_REFUSED = 500


class Receipt(msgspec.Struct, frozen=True, gc=False):
    """The payload of ``/ack``: ranges of seq that are taken in (refused ones included), holes, refusals.

    A refusal is (seq, place of the reading or -1 for the whole message, code).
    """

    boot: int
    ok: list[tuple[int, int]]
    missing: list[tuple[int, int]] = []
    rej: list[tuple[int, int, str]] = []


@dataclass(slots=True)
class _Pending:
    topic: Topic
    boot: int
    consecutive: bool
    ok: Ranges = field(default_factory=Ranges)
    refused: list[tuple[int, int, str]] = field(default_factory=list[tuple[int, int, str]])


class Receipts:
    """Collects what is to be receipted, and says which receipts are due; `sent` counts those."""

    def __init__(self) -> None:
        self.sent = 0
        self._pending: dict[tuple[str, int], _Pending] = {}
        self._sent: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._pending)

    def note(self, topic: Topic, boot: int, seq: int, refusals: Sequence[Refusal], consecutive: bool = True) -> None:
        """Note a message that is on disk or in quarantine; holes are told where seq is `consecutive`."""
        pending = self._pending.get((topic.device, boot))
        if pending is None:
            pending = self._pending[topic.device, boot] = _Pending(topic, boot, consecutive)
        pending.ok.add(seq)
        room = MAX_REFUSED - len(pending.refused)
        pending.refused.extend((seq, refusal.place, refusal.code) for refusal in refusals[:room])

    def due(
        self, now_s: float, holes: Callable[[str, int], list[tuple[int, int]]], *, every: bool = False
    ) -> list[tuple[str, bytes]]:
        """Return topic and payload of the receipts that may be sent at `now_s` (monotonic), or of `every` one.

        `holes` gives the missing ranges of (device, boot).
        """
        self._sent = {device: sent for device, sent in self._sent.items() if now_s - sent < INTERVAL_S}
        receipts: list[tuple[str, bytes]] = []
        for (device, boot), pending in list(self._pending.items()):
            if device in self._sent and not every:
                continue
            del self._pending[device, boot]
            self._sent[device] = now_s
            topic = Topic(pending.topic.district, pending.topic.system, pending.topic.device, Channel.ACK)
            missing = holes(device, boot)[-MAX_MISSING:] if pending.consecutive else []
            receipt = Receipt(boot, pending.ok.pairs(), missing, pending.refused)
            self.sent += 1
            receipts.append((str(topic), msgspec.json.encode(receipt)))
        return receipts


__all__ = ["Receipt", "Receipts"]
