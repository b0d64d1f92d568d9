"""The contract suite of detectors: what any detector, also a third party's, must pass.

Each ``check_*`` takes a function that builds a fresh detector for a list of devices, and raises AssertionError with
what was broken. They feed it `sample_stream`: a day of history and some live minutes of a water main, a sewer and a gas
detector, with a burst, a leak, a stuck and a silent device, noise, NaN and gaps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

import numpy as np

from sensors.detection import Detection, Detector, Key
from sensors.device import Device, DeviceId, Point
from sensors.reading import Batch, Quality
from twin.asset import System

Build: TypeAlias = Callable[[Sequence[Device]], Detector]

START_MS = 1_767_225_600_000
"""2026-01-01 00:00 UTC."""
_STEP_MS = 5_000
_HISTORY_MS = 300_000
MAX_STATE_BYTES = 65_536
"""Of the sample's dozen series; a state that grows with the readings passes it soon."""


def sample_devices(order: Sequence[int] | None = None) -> list[Device]:
    """Return twelve devices of three kinds; series k is `order[k]` of them (the same order if not given).

    Kinds go round: water pressure, sewer level, combustible gas.
    """
    numbers = list(range(12)) if order is None else list(order)
    return [_sample_device(index, number) for index, number in enumerate(numbers)]


def sample_batch(series: Sequence[int], seconds: Sequence[float], value: Sequence[float]) -> Batch:
    """Return a batch of good live readings, each so many seconds after `START_MS`, handed over at the last one."""
    time = np.asarray([START_MS + round(1000 * s) for s in seconds], np.int64)
    size = len(time)
    return Batch(
        np.asarray(series, np.int32),
        time,
        np.asarray(value, np.float64),
        np.full(size, Quality.GOOD, np.uint8),
        np.zeros(size, np.bool_),
        int(time.max(initial=START_MS)),
    )


def sample_stream(minutes: int = 30) -> list[Batch]:
    """Return a day of history at five minutes, then `minutes` live at five seconds, one batch a step, with faults."""
    rng = np.random.default_rng(20260101)
    series = np.arange(12, dtype=np.int32)
    batches: list[Batch] = []
    for step in range(86_400_000 // _HISTORY_MS):
        time = START_MS - 86_400_000 + step * _HISTORY_MS
        batches.append(_batch(series, time, _values(time, rng), history=True))
    for step in range(minutes * 60_000 // _STEP_MS):
        time = START_MS + step * _STEP_MS
        batches.append(_faulty(_batch(series, time, _values(time, rng), history=False), step))
    return batches


def run(detector: Detector, batches: Sequence[Batch]) -> list[list[Detection]]:
    """Return what `detector` says to each batch; the order within one batch means nothing and is made equal."""
    return [_ordered(detector.update(batch)) for batch in batches]


def check_is_causal(build: Build) -> None:
    """What is said of the first half does not depend on the second (prefix invariance)."""
    batches = sample_stream()
    half = len(batches) - 100
    whole = run(build(sample_devices()), batches)
    prefix = run(build(sample_devices()), batches[:half])
    assert whole[:half] == prefix, "the output on a prefix differs from the prefix of the output"


def check_batching_does_not_matter(build: Build) -> None:
    """Readings handed over together say what they say one after the other; a series may occur several times."""
    apart = [replace(batch, now=START_MS + 1_800_000) for batch in sample_stream()]
    together = _joined(apart)
    said = [each for part in run(build(sample_devices()), apart) for each in part]
    at_once = build(sample_devices()).update(together)
    assert _ordered(said) == _ordered(at_once), "one large batch says something else than many small ones"


def check_state_survives(build: Build) -> None:
    """Saved mid-stream and loaded into a fresh detector, it says what stands and goes on as if nothing had happened."""
    batches = sample_stream()
    whole = run(build(sample_devices()), batches)
    for half in (10, 300, len(batches) - 100):
        first, second = build(sample_devices()), build(sample_devices())
        run(first, batches[:half])
        standing = second.load(first.save())
        assert standing == _standing(whole[:half]), f"load returned {standing} at batch {half}"
        assert run(second, batches[half:]) == whole[half:], f"the output differs after save and load at batch {half}"


def check_removed_devices_hold_nothing(build: Build) -> None:
    """State loaded after every device was retired holds no condition: nothing would ever end it."""
    batches = sample_stream()
    before = build(sample_devices())
    run(before, batches[: len(batches) - 100])
    retired = build([replace(device, retired=True) for device in sample_devices()])
    assert not retired.load(before.save()), "a retired device still holds a condition"


def check_state_is_bounded(build: Build) -> None:
    """The state does not grow with the readings."""
    detector = build(sample_devices())
    run(detector, sample_stream())
    size = len(detector.save())
    assert size <= MAX_STATE_BYTES, f"{size} bytes of state for 12 series"


def check_missing_values_are_survived(build: Build) -> None:
    """NaN and failed readings raise nothing, feed nothing, and stop nothing."""
    batches = sample_stream()
    with_bad: list[Batch] = []
    for batch in batches:
        with_bad.extend((batch, _spoilt(batch)))
    clean, spoilt = run(build(sample_devices()), batches), run(build(sample_devices()), with_bad)
    process = [each for part in clean for each in part if each.subject.startswith("point:")]
    seen = [each for part in spoilt for each in part if each.subject.startswith("point:")]
    assert process == seen, "readings that failed their checks changed the output"


def check_gap_is_survived(build: Build) -> None:
    """A week without readings, then the same life again: no process condition is raised at its end."""
    history = [batch for batch in sample_stream() if batch.history.all()]
    detector = build(sample_devices())
    run(detector, history)
    week = 7 * 86_400_000
    later = [replace(batch, time=batch.time + week, now=batch.now + week) for batch in history]
    live = [replace(batch, history=np.zeros(len(batch), np.bool_)) for batch in later]
    raised = [
        each for part in run(detector, live) for each in part if each.active and each.subject.startswith("point:")
    ]
    assert not raised, f"raised after a gap: {raised[0]}"


def check_order_of_series_does_not_matter(build: Build) -> None:
    """The same devices under other series numbers say the same."""
    order = np.random.default_rng(3).permutation(12)
    batches = sample_stream()
    renumbered = [replace(batch, series=order[batch.series].astype(np.int32)) for batch in batches]
    plain = run(build(sample_devices()), batches)
    permuted = run(build(sample_devices([int(number) for number in order])), renumbered)
    assert plain == permuted, "the output depends on the numbers of the series"


def check_redelivery_changes_nothing(build: Build) -> None:
    """A batch that comes again, or late, says nothing and leaves the rest as it would have been."""
    batches = sample_stream()
    plain = run(build(sample_devices()), batches)
    detector = build(sample_devices())
    for index, batch in enumerate(batches):
        assert _ordered(detector.update(batch)) == plain[index], f"the output differs at batch {index}"
        for old in (index, index // 2):
            again = replace(batches[old], now=batch.now)
            assert not detector.update(again), f"batch {old}, delivered again after {index}, said something"


def check_history_raises_nothing(build: Build) -> None:
    """Buffered and backfilled readings are learnt from, whatever is in them."""
    for batch in sample_stream():
        size = len(batch)
        past = replace(batch, history=np.ones(size, np.bool_))
        detector = build(sample_devices())
        raised = [each for each in detector.update(past) if each.active]
        assert not raised, f"history raised {raised[0]}"


def check_unknown_series_are_ignored(build: Build) -> None:
    """A reading of a series that came after the detector was built changes nothing."""
    detector = build(sample_devices())
    assert not detector.update(sample_batch([500, -1], [0, 0], [1.0, 1.0])), "a detection about an unknown series"


CHECKS: tuple[Callable[[Build], None], ...] = (
    check_is_causal,
    check_batching_does_not_matter,
    check_state_survives,
    check_removed_devices_hold_nothing,
    check_state_is_bounded,
    check_missing_values_are_survived,
    check_gap_is_survived,
    check_order_of_series_does_not_matter,
    check_redelivery_changes_nothing,
    check_history_raises_nothing,
    check_unknown_series_are_ignored,
)
"""Every check of the suite."""


def _sample_device(index: int, series: int) -> Device:
    system, quantity, unit, high, crown, depth = (
        (System.WATER, "pressure", "MPa", 1e6, None, None),
        (System.DRAINAGE, "level", "m", 5.0, 0.5, 3.0),
        (System.GAS, "combustible_gas", "%LEL", 1.0, None, None),
    )[index % 3]
    point = Point(quantity, quantity, unit, series, 0.0, high, crown_m=crown, depth_m=depth)
    return Device(DeviceId(f"S-{index:02d}"), "sample", system, (point,), timedelta(milliseconds=_STEP_MS))


def _values(time: int, rng: np.random.Generator) -> np.ndarray:
    """Return one value a series: a day's wave and noise, of the three kinds in turn."""
    wave = np.sin(2 * np.pi * (time / 86_400_000 + np.arange(12) / 40))
    noise = rng.normal(size=12)
    kinds = [3e5 + 3e4 * wave + 800 * noise, 0.2 + 0.05 * wave + 0.004 * noise, np.abs(0.004 * noise)]
    return np.choose(np.arange(12) % 3, kinds)


def _batch(series: np.ndarray, time: int, value: np.ndarray, *, history: bool) -> Batch:
    size = len(series)
    times = np.full(size, time, np.int64)
    return Batch(series, times, value, np.full(size, Quality.GOOD, np.uint8), np.full(size, history), time)


def _faulty(batch: Batch, step: int) -> Batch:
    """Put the sample's faults in: from five minutes a burst and a leak, later a blockage; 9 sticks, 10 falls silent."""
    value = batch.value.copy()
    late = max(0, step - 60)
    value[0] -= min(late, 4) * 25_000.0 * (step < 200)
    value[1] += min(late * 0.004, 1.5)
    value[2] += min(late * 0.02, 0.6) * (step < 200)
    keep = np.ones(len(value), np.bool_)
    keep[10] = not 60 <= step < 200
    value[9] = 3e5 if 60 <= step < 250 else value[9]
    return replace(batch, value=value).take(keep)


def _spoilt(batch: Batch) -> Batch:
    """Return the batch a millisecond later, half of it NaN and half of it absurd but flagged."""
    odd = np.arange(len(batch)) % 2 == 1
    return replace(
        batch,
        time=batch.time + 1,
        value=np.where(odd, np.nan, 1e9),
        quality=np.where(odd, Quality.MISSING, Quality.FAIL).astype(np.uint8),
    )


def _joined(batches: Sequence[Batch]) -> Batch:
    return Batch(
        np.concatenate([batch.series for batch in batches]),
        np.concatenate([batch.time for batch in batches]),
        np.concatenate([batch.value for batch in batches]),
        np.concatenate([batch.quality for batch in batches]),
        np.concatenate([batch.history for batch in batches]),
        batches[-1].now,
    )


def _standing(said: Sequence[Sequence[Detection]]) -> set[Key]:
    """Return the conditions that stand after `said`."""
    last = {(each.subject, each.rule): each.active for part in said for each in part}
    return {key for key, active in last.items() if active}


def _ordered(detections: Sequence[Detection]) -> list[Detection]:
    return sorted(detections, key=lambda each: (each.time, each.subject, each.rule, each.active))
