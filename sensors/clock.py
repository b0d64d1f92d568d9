"""The city's clock: one is passed to everything that asks the time.

Live it is the machine's. A replay or a sped-up simulation runs on the recording's clock, and says so on every screen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the city's time."""

    def now(self) -> datetime:
        """Return the city's time, aware UTC."""
        ...

    def seconds(self) -> float:
        """Return monotonic seconds of the city's time, for timers; unaffected by steps of the machine's clock."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock: a live city."""

    def now(self) -> datetime:
        """Return the machine's time, aware UTC."""
        return datetime.now(UTC)

    def seconds(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()


FOLLOWED_S = 10.0
"""A step of the machine's clock up to this long is followed at once: what time synchronisation corrects every day."""

_JITTER_S = 0.001  # the two clocks are not read at one moment


class SteadyClock:
    """The machine's clock, unless it steps: then time goes on as it went, until `adopt` says that the step is right.

    Set by an hour, a machine's clock would make every reading too old or too far ahead. Between two steps this is
    `wall` to the millisecond; `monotonic` is what tells a step (CLOCK_MONOTONIC is slewed, never stepped).
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._zero_s = wall() - monotonic()

    def now(self) -> datetime:
        """Return the city's time, aware UTC."""
        off_s = self.off_s  # looked at once: a step between two looks would be followed unseen
        if _JITTER_S < abs(off_s) <= FOLLOWED_S:
            self._zero_s += off_s
        return datetime.fromtimestamp(self._zero_s + self._monotonic(), UTC)

    def seconds(self) -> float:
        """Return the machine's monotonic seconds."""
        return self._monotonic()

    @property
    def off_s(self) -> float:
        """The machine's clock less this one, in seconds: more than `FOLLOWED_S` after a step that is not adopted."""
        return self._wall() - self._monotonic() - self._zero_s

    def adopt(self) -> None:
        """Take over the machine's time as it is now."""
        self._zero_s = self._wall() - self._monotonic()


@dataclass(frozen=True, slots=True)
class ScaledClock:
    """A recording's clock: it read `epoch` when the machine's read `started`, and runs `speed` times as fast.

    Every process of a sped-up city is given the same three values and so agrees on the time.
    """

    epoch: datetime
    started: datetime
    speed: float = 1.0
    _anchor: float = field(default_factory=time.monotonic, init=False, repr=False)
    _behind: timedelta = field(default_factory=timedelta, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_behind", datetime.now(UTC) - self.started)

    def now(self) -> datetime:
        """Return the recording's time, aware UTC."""
        elapsed = self._behind.total_seconds() + time.monotonic() - self._anchor
        return self.epoch + timedelta(seconds=elapsed * self.speed)

    def seconds(self) -> float:
        """Return monotonic seconds of the recording."""
        return (time.monotonic() - self._anchor) * self.speed


@dataclass(slots=True)
class ManualClock:
    """A clock that stands until it is moved: replays and tests move it with the data."""

    time: datetime

    def now(self) -> datetime:
        """Return the time it was last moved to, aware UTC."""
        return self.time

    def seconds(self) -> float:
        """Return the seconds since 1970 of the time it was last moved to."""
        return self.time.timestamp()

    def move_to(self, moment: datetime) -> None:
        """Move forward to `moment`; a clock never goes back."""
        self.time = max(self.time, moment)


def to_ms(moment: datetime) -> int:
    """Return milliseconds since 1970-01-01 UTC of an aware time.

    >>> to_ms(datetime(2025, 11, 21, 10, 26, 40, 123000, tzinfo=UTC))
    1763720800123
    """
    return round(moment.timestamp() * 1000)


def from_ms(ms: int) -> datetime:
    """Return the aware UTC time of milliseconds since 1970-01-01 UTC.

    >>> from_ms(1763720800123).isoformat()
    '2025-11-21T10:26:40.123000+00:00'
    """
    return datetime.fromtimestamp(ms / 1000, UTC)
