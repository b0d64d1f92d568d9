"""Balance: a metered zone that takes in more than its customers can be expected to draw.

Each hour's net inflow is held against what `inflow_model` expects of it; a loss that has gone on for some hours is told
with its size, and carried from then on, so that a second one is found beside it and the end of each is told too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Fact, Key
from sensors.detection.series import pack, unpack
from sensors.detection.water.inflow_model import BURSTS, COMPANIONS, EVENTS, Memory, advance, ready, skip
from sensors.detection.water.zone_flow import HOUR_MS, CityHours, ZoneFlow, ZoneHour
from sensors.detection.water.zones import Zone, hashes_of, zones_of
from sensors.limits import Limits
from sensors.reading import Batch

if TYPE_CHECKING:
    from sensors.detection.scope import Scope

RULES = tuple("zone_burst" if not number else f"zone_burst_{number + 1}" for number in range(BURSTS))
"""The rule of each burst that stands in a zone at once."""
_LAYER = "zone_balance"
_SIGMAS = 3.0
_NEVER = -1


class ZoneBalanceDetector:
    """Says when a zone loses water, how much, and when it no longer does.

    A burst that comes up within a day is found within hours; what grows over weeks is the matter of night flow
    (`night_flow`). A zone is listened to for two weeks before anything is said of it. Confidence is a half at the
    control limit, and nears 1 as the score doubles.

    >>> from sensors.detection.checks import sample_devices
    >>> from sensors.detection.scope import Scope
    >>> from sensors.limits import load
    >>> ZoneBalanceDetector.build(Scope(sample_devices(), load())).zones  # nobody measures flow there
    []
    """

    def __init__(self, zones: Sequence[Zone], limits: Limits) -> None:
        self.zones = list(zones)
        self._flow = ZoneFlow(self.zones)
        self._memory = Memory.new(len(self.zones))
        self._companions = _companions(self.zones)
        self._newest = np.full(1, _NEVER, np.int64)
        self._calendar = CityHours(limits.calendar)
        self._limits = (
            limits.number(_LAYER, "limit"),
            limits.number(_LAYER, "least"),
            limits.number(_LAYER, "normal_after") * 1000 / HOUR_MS,
        )
        self._severe = limits.number(_LAYER, "severe")
        self._levels = round(limits.number(_LAYER, "level")), round(limits.number(_LAYER, "level_severe"))

    @classmethod
    def build(cls, scope: Scope) -> ZoneBalanceDetector:
        """Watch the metered zones of `scope`; UnavailableError where flow is measured and no network is known."""
        zones = zones_of(scope)
        if zones:
            ready()  # seconds, once a machine: a worker that starts may take them, a city that runs may not
        return cls(zones, scope.limits)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say of the hours that are over which zones lose water, and which no longer do."""
        return [each for hour in self._flow.take(batch) for each in self._follow(hour)]

    def save(self) -> bytes:
        """Return the whole state, about 6 KB a zone before compression."""
        return pack(**self._arrays())

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand. Zones that are new start afresh."""
        saved = unpack(state, **self._arrays())
        self._flow.restore(saved)
        self._newest[:] = saved["newest"]
        _, mine, theirs = np.intersect1d(hashes_of(self.zones), saved["zones"], return_indices=True)
        for name, array in self._memory._asdict().items():
            array[mine] = saved[name][theirs]
        standing = np.argwhere(self._memory.burst["since"] > 0).tolist()
        return {(self.zones[zone].subject, RULES[number]) for zone, number in standing}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "newest": self._newest,
            "zones": hashes_of(self.zones),
            **self._memory._asdict(),
            **self._flow.state(),
        }

    def _follow(self, hour: ZoneHour) -> list[Detection]:
        before = int(self._newest[0])
        skip(self._memory, hour.hour - 1 if before == _NEVER else before, hour.hour)
        self._newest[0] = hour.hour
        slot, kind = self._calendar.of(hour.hour)
        events = np.empty((2 * BURSTS * len(self.zones), EVENTS))
        when = (hour.hour, slot, kind, hour.live)
        count = advance(self._memory, self._companions, when, hour.inflow, self._limits, events)
        return [self._detection(event, hour.hour) for event in events[:count]]

    def _detection(self, event: NDArray[np.float64], hour: int) -> Detection:
        zone, number, began = self.zones[int(event[0])], int(event[1]), bool(event[2])
        inflow, usual, deviation, score, loss = (float(each) for each in event[3:])
        memory = self._memory
        mean = float(np.abs(memory.profile[int(event[0]), -1]).mean())
        over = score / self._limits[0] - 1.0
        evidence = Evidence(
            basis="balance",
            confidence=min(0.99, 1.0 - 0.5 * math.exp(-2.0 * over)) if began else 0.5,
            candidates=zone.candidates if began else (),
            facts=(Fact("loss", loss, "flow"), Fact("inflow", inflow, "flow"), Fact("usual", usual, "flow")),
        )
        return Detection(
            zone.subject,
            RULES[number],
            DetectionKind.BALANCE,
            active=began,
            level=self._levels[loss >= self._severe * mean],
            time=(hour + 1) * HOUR_MS,
            value=inflow,
            expected=(usual - _SIGMAS * deviation, usual + _SIGMAS * deviation),
            score=score,
            quantity="flow",
            evidence=evidence,
        )


def _companions(zones: Sequence[Zone]) -> NDArray[np.int32]:
    """Return for each zone the nearest others, by name where places are unknown, -1 where there are no more."""
    found = np.full((len(zones), COMPANIONS), -1, np.int32)
    centre = np.array([zone.centre for zone in zones]).reshape(-1, 2)
    for row, here in enumerate(centre):
        away = np.nan_to_num(np.hypot(*(centre - here).T), nan=np.inf)
        away[row] = -1.0
        nearest = np.argsort(away, kind="stable")[1 : COMPANIONS + 1]
        found[row, : len(nearest)] = nearest
    return found


__all__ = ["RULES", "ZoneBalanceDetector"]
