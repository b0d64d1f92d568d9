"""Safety limits: a value beyond a limit for as long as the rule allows, with hysteresis on the way back.

Every limit of a rule at a point is one step of one condition, so a rising gas concentration escalates one alarm
instead of raising a second. Alarm deadband and delays: ISA-18.2, clause 10.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Key
from sensors.detection.events import note, room
from sensors.detection.series import FAIL, Series, columns, pack, series_of, unpack, width
from sensors.device import Device
from sensors.limits import LimitRow, Limits
from sensors.reading import Batch

_STEPS = 4

_RULE = np.dtype(
    [("sign", "f8"), ("at", "f8", (_STEPS,)), ("steps", "i8"), ("margin", "f8"), ("on_ms", "i8"), ("off_ms", "i8")]
)
"""One rule at one series: limits times `sign` (1 high, -1 low) rise from the mildest."""

_STATE = np.dtype(
    [("series", "i4"), ("rule", "u4"), ("step", "i4"), ("pending", "i4"), ("since", "i8"), ("time", "i8")]
)
"""Its state: the step that stands (0 none), the one that waits and since when, the newest reading's time, ms."""


class LimitDetector:
    """Says when a reading passes a limit of its point, which step of the rule it reached, and when it is back.

    >>> from sensors.detection.checks import sample_batch, sample_devices
    >>> from sensors.limits import load
    >>> detector = LimitDetector.build(sample_devices(), load())
    >>> gas = 2  # the series of a gas detector in the sample
    >>> [(d.rule, d.active, d.level) for d in detector.update(sample_batch([gas], [0], [0.31]))]
    [('combustible_gas_high', True, 2)]
    """

    def __init__(self, channels: Sequence[tuple[Series, LimitRow, list[float]]]) -> None:
        ordered = sorted(channels, key=lambda channel: (channel[0].number, channel[1].rule))
        self._channels = ordered
        numbers = [series.number for series, _, _ in ordered]
        size = width([series for series, _, _ in ordered])
        self._start = np.searchsorted(np.array(numbers, np.int64), np.arange(size + 1)).astype(np.int64)
        self._rules = np.zeros(len(ordered), _RULE)
        self._state = np.zeros(len(ordered), _STATE)
        self._state["time"] = np.iinfo(np.int64).min
        for index, (series, row, at) in enumerate(ordered):
            sign = 1.0 if row.side == "high" else -1.0
            padded = [sign * limit for limit in at] + [np.inf] * (_STEPS - len(at))
            self._rules[index] = (
                sign,
                padded,
                len(at),
                row.margin(series.point),
                round(row.delay_on_s * 1000),
                round(row.delay_off_s * 1000),
            )
            self._state["series"][index] = series.number
            self._state["rule"][index] = zlib.crc32(row.rule.encode())
        self._widest = int(np.diff(self._start).max(initial=0))

    @classmethod
    def build(cls, devices: Sequence[Device], limits: Limits) -> LimitDetector:
        """Watch every point of `devices` that a limit holds for."""
        channels: list[tuple[Series, LimitRow, list[float]]] = []
        for series in series_of(devices):
            for row in limits.limits_of(series.point.quantity, series.system):
                at = row.at(series.point)
                if at is not None:
                    channels.append((series, row, at))
        return cls(channels)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which limits were passed, and which are kept again."""
        events = room(len(batch) * self._widest)
        count = _scan(self._start, self._rules, self._state, columns(batch), events)
        return [self._detection(event) for event in events[:count]]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(state=self._state)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand.

        Rules that are new start afresh, those that no longer hold go.
        """
        saved = unpack(state, state=self._state)["state"]
        known = {(int(row["series"]), int(row["rule"])): row for row in saved}
        for index, row in enumerate(self._state):
            found = known.get((int(row["series"]), int(row["rule"])))
            if found is not None and found["step"] <= self._rules["steps"][index]:
                self._state[index] = found
        standing = (self._channels[index] for index in np.flatnonzero(self._state["step"]).tolist())
        return {(series.subject, row.rule) for series, row, _ in standing}

    def _detection(self, event: NDArray[np.float64]) -> Detection:
        channel, step = int(event[0]), int(event[1])
        series, row, at = self._channels[channel]
        crossed = max(step, 1) - 1
        return Detection(
            series.subject,
            row.rule,
            DetectionKind.LIMIT,
            active=step > 0,
            level=row.levels[crossed],
            time=int(event[2]),
            value=float(event[3]),
            limit=at[crossed],
            score=float(step),
            quantity=series.point.quantity,
        )


@numba.njit(cache=True)
def _scan(start: Any, rules: Any, state: Any, columns: Any, events: Any) -> int:  # pragma: no cover  # compiled
    """Run every reading through the rules of its series; note each change by channel and step."""
    series, time, value, quality, history = columns
    count = 0
    for i in range(len(series)):
        s = series[i]
        if s < 0 or s + 1 >= len(start) or history[i] or quality[i] >= FAIL or not np.isfinite(value[i]):
            continue
        for c in range(start[s], start[s + 1]):
            rule, now = rules[c], state[c]
            if time[i] <= now.time:
                continue
            now.time = time[i]
            target = _target(rule, now.step, rule.sign * value[i])
            if target == now.step:
                now.pending = now.step
                continue
            rising = target > now.step
            if now.pending == now.step or (now.pending > now.step) != rising:
                now.pending = target
                now.since = time[i]
            else:
                now.pending = min(now.pending, target) if rising else max(now.pending, target)
            if time[i] - now.since >= (rule.on_ms if rising else rule.off_ms):
                now.step = now.pending
                count = note(events, count, (c, now.step, time[i], value[i], np.nan, np.nan, now.step))
    return count


@numba.njit(cache=True)
def _target(rule: Any, step: int, signed: float) -> int:  # pragma: no cover  # compiled
    """Return the step that a value asks for: up at a limit, down only below its margin."""
    reached = 0
    kept = 0
    for k in range(rule.steps):
        if signed >= rule.at[k]:
            reached = k + 1
        if signed >= rule.at[k] - rule.margin:
            kept = k + 1
    return max(reached, min(step, kept))
