"""Rates: how much a device may send before it is throttled (E_RATE), so that one device's fault stays its own."""

from __future__ import annotations

from enum import StrEnum

BURST_S, BURST = 3600.0, 1000
"""What a device may send at once: an hour of its own readings (it sends again what no receipt named, after an outage),
and no fewer than two messages may hold."""

BACKLOG_S, BACKLOG = 7 * 24 * 3600.0, 100_000
"""The same for readings that are not live: a week, and what a buffer of 20,000 messages of a few points holds."""

REFUSED = 10_000
"""What is kept of a device at once of what is refused as a whole: past it nothing is taken in, nor receipted, for
otherwise one device could fill the disk, and stop them all."""

UNKNOWN_PER_S = 1 / 60
"""The rate of those that nobody has registered."""

MAX_REMEMBERED = 100_000
"""Devices after which those that have nothing to make up for are forgotten."""


class Kind(StrEnum):
    """What of a device is judged apart from the rest: live readings, history, and what was refused and is kept."""

    LIVE = "live"
    HISTORY = "history"
    REFUSED = "refused"


class Rates:
    """Judges each device against `factor` times the rate at which the registry says that it reports; 0: any rate.

    The generic cell rate algorithm (ITU-T I.371, annex A), which is a token bucket in one number a device: the time
    at which it will have made up for what it has sent.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._due: dict[Kind, dict[str, float]] = {kind: {} for kind in Kind}
        self._before: list[tuple[Kind, str, float | None]] = []

    def begin(self) -> None:
        """Begin a group."""
        self._before.clear()

    def undo(self) -> None:
        """Forget what the group was charged with: it was not taken, and will be offered again."""
        for kind, device, due in reversed(self._before):
            if due is None:
                self._due[kind].pop(device, None)  # it may have been forgotten since
            else:
                self._due[kind][device] = due
        self._before.clear()

    def admits(self, kind: Kind, device: str, readings: int, per_s: float, now_s: float) -> bool:
        """Return whether `readings` more of a device that reports `per_s` readings a second are taken at `now_s`.

        What is not does not count against the device.
        """
        if not self._factor:
            return True
        allowed = self._factor * per_s
        at_once_s, at_once = _BURSTS[kind]
        burst = max(at_once_s * per_s, at_once)
        known = self._due[kind]
        before = known.get(device)
        due = (now_s if before is None else max(before, now_s)) + readings / allowed
        if due - now_s > burst / allowed:
            return False
        if len(known) >= MAX_REMEMBERED and device not in known:
            self._due[kind] = known = {one: until for one, until in known.items() if until > now_s}
        self._before.append((kind, device, before))
        known[device] = due
        return True


_BURSTS = {Kind.LIVE: (BURST_S, BURST), Kind.HISTORY: (BACKLOG_S, BACKLOG), Kind.REFUSED: (BURST_S, REFUSED)}

__all__ = ["Kind", "Rates"]
