"""Rates: how much a device may send before it is throttled (E_RATE), so that one device's fault stays its own."""

from __future__ import annotations

BURST_S, BURST = 3600.0, 1000
"""What a device may send at once: an hour of its own readings (it sends again what no receipt named, after an outage),
and no fewer than two messages may hold."""

BACKLOG_S, BACKLOG = 7 * 24 * 3600.0, 100_000
"""The same for readings that are not live: a week, and what a buffer of 20,000 messages of a few points holds."""

MAX_REMEMBERED = 100_000
"""Devices after which those that have nothing to make up for are forgotten."""


class Rates:
    """Judges each device against `factor` times the rate at which the registry says that it reports; 0: any rate.

    The generic cell rate algorithm (ITU-T I.371, annex A), which is a token bucket in one number a device: the time
    at which it will have made up for what it has sent.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._due: tuple[dict[str, float], dict[str, float]] = {}, {}

    def admits(self, device: str, readings: int, per_s: float, now_s: float, *, history: bool) -> bool:
        """Return whether `readings` more of a device that reports `per_s` readings a second are taken at `now_s`.

        Those that are not live (`history`) are judged apart. What is refused does not count against the device.
        """
        if not self._factor:
            return True
        allowed = self._factor * per_s
        burst = max(BACKLOG_S * per_s, BACKLOG) if history else max(BURST_S * per_s, BURST)
        known = self._due[history]
        due = max(known.get(device, now_s), now_s) + readings / allowed
        if due - now_s > burst / allowed:
            return False
        if len(known) >= MAX_REMEMBERED and device not in known:
            self._forget(now_s)
        known[device] = due
        return True

    def _forget(self, now_s: float) -> None:
        for known in self._due:
            for device in [device for device, due in known.items() if due <= now_s]:
                del known[device]


__all__ = ["Rates"]
