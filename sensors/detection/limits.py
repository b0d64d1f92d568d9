"""Safety limits: a value beyond a limit for as long as the rule allows, with hysteresis on the way back.

Every limit of a rule at a point is one step of one condition, so a rising gas concentration escalates one alarm
instead of raising a second. One that stands for too long becomes worse, where its rule says so. Alarm deadband and
delays: ISA-18.2, clause 10.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Key, Subject
from sensors.detection.events import note, room
from sensors.detection.scope import Scope
from sensors.detection.series import FAIL, SeriesTable, columns, pack, unpack
from sensors.device import Point
from sensors.limits import LimitRow, Limits
from sensors.reading import Batch

_STEPS = 4
_NEVER = np.iinfo(np.int64).max

_RULE = np.dtype(
    [
        ("sign", "f8"),
        ("at", "f8", (_STEPS,)),
        ("steps", "i8"),
        ("margin", "f8"),
        ("on_ms", "i8"),
        ("off_ms", "i8"),
        ("late_ms", "i8"),
        ("mild", "i8"),
    ]
)
"""A rule at points of one size: limits times `sign` (1 high, -1 low) rise from the mildest; how long it may stay passed
and how many of its steps that makes worse."""

_Rule: TypeAlias = tuple[float, list[float], int, float, int, int, int, int]

_STATE = np.dtype(
    [
        ("series", "i4"),
        ("rule", "u4"),
        ("time", "i8"),
        ("since", "i8"),
        ("passed", "i8"),
        ("step", "i1"),
        ("pending", "i1"),
        ("late", "?"),
    ]
)
"""Its state: the newest reading's time, ms; the step that stands (0 none) and since when any has (`passed`); the one
that waits and since when; whether it has stood for too long."""


class LimitDetector:
    """Says when a reading passes a limit of its point, which step of the rule it reached, and when it is back.

    >>> from sensors.detection.checks import sample_batch, sample_devices
    >>> from sensors.limits import load
    >>> detector = LimitDetector.build(Scope(sample_devices(), load()))
    >>> gas = 2  # the series of a gas detector in the sample
    >>> [(d.rule, d.active, d.level) for d in detector.update(sample_batch([gas], [0], [0.31]))]
    [('combustible_gas_high', True, 2)]
    """

    def __init__(self, series: SeriesTable, limits: Limits) -> None:
        holding = list(_holding(series, limits))
        self._series = series
        self._rows = [row for row, _, _ in holding]
        self._rules = np.array([rule for _, rule, _ in holding], _RULE)
        number = np.concatenate([np.empty(0, np.int32), *(numbers for _, _, numbers in holding)])
        rule = np.repeat(np.arange(len(holding), dtype=np.int32), [len(numbers) for _, _, numbers in holding])
        names = np.array([row.rule for row in self._rows], np.str_)
        order = np.lexsort((np.argsort(np.argsort(names, kind="stable"))[rule], number))
        number, self._rule = number[order], rule[order]
        size = 1 + int(number.max(initial=-1))
        self._start = np.searchsorted(number, np.arange(size + 1)).astype(np.int32)
        self._widest = int(np.diff(self._start).max(initial=0))
        self._state = np.zeros(len(number), _STATE)
        self._state["time"] = np.iinfo(np.int64).min
        self._state["series"] = number
        self._state["rule"] = np.array([zlib.crc32(row.rule.encode()) for row in self._rows], np.uint32)[self._rule]

    @classmethod
    def build(cls, scope: Scope) -> LimitDetector:
        """Watch every point of `scope.devices` that a limit holds for."""
        return cls(SeriesTable(scope.devices), scope.limits)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say which limits were passed, and which are kept again."""
        events = room(len(batch) * self._widest)
        count = _scan((self._start, self._rule), self._rules, self._state, columns(batch), events)
        return [self._detection(event) for event in events[:count]]

    def save(self) -> bytes:
        """Return the whole state."""
        return pack(state=self._state)

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`; return the conditions that stand.

        Rules that are new start afresh, those that no longer hold go.
        """
        saved = unpack(state, state=self._state)["state"]
        saved = saved[np.argsort(_keys(saved), kind="stable")]
        keys, mine = _keys(saved), _keys(self._state)
        place = np.searchsorted(keys, mine)
        known = np.flatnonzero(place < len(keys))
        known = known[keys[place[known]] == mine[known]]
        known = known[saved["step"][place[known]] <= self._rules["steps"][self._rule[known]]]
        self._state[known] = saved[place[known]]
        standing = np.flatnonzero(self._state["step"]).tolist()
        return {(self._subject(channel), self._rows[self._rule[channel]].rule) for channel in standing}

    def _subject(self, channel: int) -> Subject:
        return self._series[int(self._state["series"][channel])].subject

    def _detection(self, event: NDArray[np.float64]) -> Detection:
        channel, step = int(event[0]), int(event[1])
        number = int(self._rule[channel])
        row, rule = self._rows[number], self._rules[number]
        series = self._series[int(self._state["series"][channel])]
        crossed, late = max(step, 1) - 1, event[6] > step
        return Detection(
            series.subject,
            row.rule,
            DetectionKind.LIMIT,
            active=step > 0,
            level=(row.escalated if late else row.levels)[crossed],
            time=int(event[2]),
            value=float(event[3]),
            limit=float(rule["sign"] * rule["at"][crossed]),
            score=float(event[6]),
            quantity=series.quantity,
            evidence=Evidence("limit", confidence=1.0, points=(series.subject,)),
        )


def _holding(series: SeriesTable, limits: Limits) -> Iterator[tuple[LimitRow, _Rule, NDArray[np.int32]]]:
    """Yield each rule at each size of pipe: its row of settings, its record (`_RULE`), and whose it is by number."""
    points = series.points
    rows_of: dict[str, list[tuple[LimitRow, int]]] = {}
    for index, kind in enumerate(series.kinds):
        for row in limits.limits_of(kind.quantity, kind.system):
            rows_of.setdefault(row.rule, []).append((row, index))
    for found in rows_of.values():
        row = found[0][0]
        rows = series.watched(index for _, index in found)
        whole_m = np.zeros(len(series.points.series))
        if row.share_of is not None:
            whole_m = series.points.crown_m if row.share_of == "crown_m" else series.points.depth_m
        rows = rows[~np.isnan(whole_m[rows])]
        wholes, which, counts = np.unique(whole_m[rows], return_inverse=True, return_counts=True)
        by_whole = np.split(rows[np.argsort(which, kind="stable")], np.cumsum(counts))[: len(wholes)]
        for whole, alike in zip(wholes.tolist(), by_whole, strict=True):
            yield row, _rule(row, whole), points.series[alike]


def _rule(row: LimitRow, whole: float) -> _Rule:
    point = Point("", row.quantity, row.unit, crown_m=whole, depth_m=whole)
    sign = 1.0 if row.side == "high" else -1.0
    at = [sign * limit for limit in row.at(point) or ()]
    padded = at + [np.inf] * (_STEPS - len(at))
    on_ms, off_ms = round(row.delay_on_s * 1000), round(row.delay_off_s * 1000)
    late_ms = _NEVER if row.escalation is None else round(row.escalation.after_s * 1000)
    mild = sum(worse < level for worse, level in zip(row.escalated, row.levels, strict=True))
    return sign, padded, len(at), row.margin(point), on_ms, off_ms, late_ms, mild


def _keys(state: NDArray[Any]) -> NDArray[np.int64]:
    """Return one number for each series and rule."""
    return (state["series"].astype(np.int64) << 32) | state["rule"]


@numba.njit(cache=True)
def _scan(channels: Any, rules: Any, state: Any, columns: Any, events: Any) -> int:  # pragma: no cover  # compiled
    """Run every reading through the rules of its series; note each change by channel and step."""
    start, which = channels
    series, time, value, quality, history = columns
    count = 0
    for i in range(len(series)):
        s = series[i]
        if s < 0 or s + 1 >= len(start) or history[i] or quality[i] >= FAIL or not np.isfinite(value[i]):
            continue
        for c in range(start[s], start[s + 1]):
            rule, now = rules[which[c]], state[c]
            if time[i] <= now.time:
                continue
            now.time = time[i]
            if _move(rule, now, rule.sign * value[i]):
                count = note(events, count, (c, now.step, time[i], value[i], np.nan, np.nan, now.step + now.late))
    return count


@numba.njit(cache=True)
def _move(rule: Any, now: Any, signed: float) -> bool:  # pragma: no cover  # compiled
    """Move the condition of one rule by its newest reading; whether there is something to say of it."""
    overdue = now.step > 0 and not now.late and now.time - now.passed >= rule.late_ms
    if overdue:
        now.late = True
    worse = overdue and now.step <= rule.mild
    target = _target(rule, now.step, signed)
    if target == now.step:
        now.pending = now.step
        return worse
    rising = target > now.step
    if now.pending == now.step or (now.pending > now.step) != rising:
        now.pending = target
        now.since = now.time
    else:
        now.pending = min(now.pending, target) if rising else max(now.pending, target)
    if now.time - now.since < (rule.on_ms if rising else rule.off_ms):
        return worse
    if now.step == 0:
        now.passed = now.time
    now.step = now.pending
    now.late = now.late and now.step > 0
    return True


@numba.njit(cache=True)
def _target(rule: Any, step: int, signed: float) -> int:  # pragma: no cover  # compiled
    """Return the step that a value asks for: up at a limit, down only below its margin."""
    reached = 0
    kept = 0
    for k in range(_STEPS):  # also those that are none: they are never reached
        reached += signed >= rule.at[k]
        kept += signed >= rule.at[k] - rule.margin
    return max(reached, min(step, kept))
