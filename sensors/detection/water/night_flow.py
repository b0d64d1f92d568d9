"""Night flow: what a metered zone takes in when everybody sleeps, which is mostly what its pipes lose.

Each night's minimum is held against the median of those of the last ten nights; a zone that stands above it by a
fifth, two nights running, loses more than it did. Unlike `balance` it sees a leak that grew over a week as well.

Source: minimum night flow, Lambert, Losses from Water Supply Systems (IWA, 2000). Twenty per cent over the
lowest of ten days has the best F1 of the baselines of LeakDB (Vrachimis et al., WDSA/CCWI 2018); real zones have
quieter nights at weekends, and the lowest then calls every Monday strange (0.53 alarms a zone and month on the first
half of bwdf, 0.22 with the median).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Fact, Key
from sensors.detection.series import pack, unpack
from sensors.detection.water.zone_flow import HOUR_MS, CityHours, ZoneFlow, ZoneHour
from sensors.detection.water.zones import Zone, hashes_of, zones_of
from sensors.limits import Limits
from sensors.reading import Batch

if TYPE_CHECKING:
    from sensors.detection.scope import Scope

RULE = DetectionKind.NIGHT_FLOW.value
NIGHT = range(1, 6)
"""Hours of the local day in which the least flow is looked for."""
NIGHTS = 10
"""Nights whose median is the baseline."""
LEAST_HOURS = 3
"""Hours of a night that must have been measured."""
_LAYER = "night_flow"


class NightFlowDetector:
    """Says when the night flow of a zone has risen, and when it is back.

    The baseline rests while a rise stands, so that a leak does not become it; what has stood for a month is the new
    state of things. Confidence is a half at the limit and nears 1 at twice the rise.

    >>> from sensors.detection.checks import sample_devices
    >>> from sensors.detection.scope import Scope
    >>> from sensors.limits import load
    >>> NightFlowDetector.build(Scope(sample_devices(), load())).zones  # nobody measures flow there
    []
    """

    def __init__(self, zones: Sequence[Zone], limits: Limits) -> None:
        self.zones = list(zones)
        size = len(self.zones)
        self._flow = ZoneFlow(self.zones)
        self._hours = CityHours(limits.calendar)
        self._nights = np.full((size, NIGHTS), np.nan)  # the last normal ones, the newest last
        self._least = np.full(size, np.inf)  # of the night that goes on
        self._seen = np.zeros(size, np.int64)
        self._run = np.zeros(size, np.int64)  # nights above the limit without a break
        self._since = np.zeros(size, np.int64)  # the day since which a rise stands, 0 none
        self._day = np.full(1, -1, np.int64)
        self._rise = limits.number(_LAYER, "rise")
        self._floor = limits.number(_LAYER, "least")
        self._needed = round(limits.number(_LAYER, "nights"))
        self._normal_after = round(limits.number(_LAYER, "normal_after") / 86_400)
        self._level = round(limits.number(_LAYER, "level"))

    @classmethod
    def build(cls, scope: Scope) -> NightFlowDetector:
        """Watch the metered zones of `scope`; UnavailableError where flow is measured and no network is known."""
        return cls(zones_of(scope), scope.limits)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say of the nights that are over in which zones they rose, and where they are back."""
        return [each for hour in self._flow.take(batch) for each in self._follow(hour)]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(**self._arrays())

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand. Zones that are new start afresh."""
        saved = unpack(state, **self._arrays())
        self._flow.restore(saved)
        self._day[:] = saved["day"]
        _, mine, theirs = np.intersect1d(hashes_of(self.zones), saved["zones"], return_indices=True)
        for name, array in self._by_zone().items():
            array[mine] = saved[name][theirs]
        return {(self.zones[zone].subject, RULE) for zone in np.flatnonzero(self._since).tolist()}

    def _by_zone(self) -> dict[str, NDArray[Any]]:
        return {
            "nights": self._nights,
            "least": self._least,
            "seen": self._seen,
            "run": self._run,
            "since": self._since,
        }

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {"day": self._day, "zones": hashes_of(self.zones), **self._by_zone(), **self._flow.state()}

    def _follow(self, hour: ZoneHour) -> list[Detection]:
        """Take in an hour; the night is judged at the first hour after it, whichever that is."""
        day, slot = self._hours.day_of(hour.hour)
        found: list[Detection] = []
        if self._seen.any() and (day != self._day[0] or slot >= NIGHT.stop):
            found = self._judge(int(self._day[0]), hour)
        self._day[0] = day
        if slot in NIGHT:
            there = np.isfinite(hour.inflow)
            self._seen += there
            self._least = np.fmin(self._least, hour.inflow)
        return found

    def _judge(self, day: int, hour: ZoneHour) -> list[Detection]:
        """Hold the night of `day` against those before, learn it, and begin the next."""
        night = np.where(self._seen >= LEAST_HOURS, self._least, np.nan)
        self._least, self._seen = np.full(len(self.zones), np.inf), np.zeros(len(self.zones), np.int64)
        warm = np.isfinite(self._nights).all(axis=1)
        usual = np.where(warm, np.median(self._nights, axis=1), np.nan)
        above = np.maximum(self._rise * np.abs(usual), self._floor)
        known = np.isfinite(night) & warm
        high = known & (night > usual + above)
        self._run = np.where(high, self._run + 1, np.where(known, 0, self._run))
        standing = self._since > 0
        old = standing & (day - self._since >= self._normal_after)
        over = standing & (old | (known & (night < usual + 0.5 * above)))
        begun = ~standing & high & (self._run >= self._needed) & hour.live
        self._since = np.where(begun, day, np.where(over, 0, self._since))
        self._learn(night, np.isfinite(night) & (self._since == 0) & (~high | over | (not hour.live)), old)
        changed = np.flatnonzero(begun | over).tolist()
        return [self._detection(n, hour, bool(begun[n]), (night[n], usual[n], above[n])) for n in changed]

    def _learn(self, night: NDArray[np.float64], normal: NDArray[np.bool_], anew: NDArray[np.bool_]) -> None:
        """Take `normal` nights into the baseline; zones that are learnt `anew` have no other."""
        self._nights[anew] = np.nan
        self._nights[normal] = np.column_stack((self._nights[normal, 1:], night[normal]))

    def _detection(self, number: int, hour: ZoneHour, began: bool, seen: tuple[float, float, float]) -> Detection:
        zone = self.zones[number]
        night, usual, above = (float(each) for each in seen)
        score = (night - usual) / above
        loss = Fact("loss", night - usual, "flow")
        evidence = Evidence(
            basis="balance",
            confidence=min(0.99, max(0.5, score / 2.0)) if began else 0.5,
            candidates=zone.candidates if began else (),
            facts=(loss, Fact("night_minimum", night, "flow"), Fact("usual", usual, "flow")) if began else (),
        )
        return Detection(
            zone.subject,
            RULE,
            DetectionKind.NIGHT_FLOW,
            active=began,
            level=self._level,
            time=(hour.hour + 1) * HOUR_MS,
            value=night if np.isfinite(night) else None,
            expected=(usual, usual + above),
            score=score if began else 0.0,
            quantity="flow",
            evidence=evidence,
        )


__all__ = ["NIGHT", "NIGHTS", "RULE", "NightFlowDetector"]
