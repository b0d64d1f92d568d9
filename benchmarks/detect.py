"""What detection costs a reading, beside a pipeline of one river object a series, and a step of the network layer.

    python benchmarks/detect.py [--json] [--series N] [--batch N] [--seconds N]

One core, and its time rather than the clock's, so that other processes count as little as they can. The readings are
those of water mains, sewers and gas detectors in turn, two days of history and then live, at one a minute, in an order
of their own each minute: 100,000 series in batches of 1,000. Quality, limits, silence, rate of change and seasonal
profile work on them as `Pipeline.update` has them work, after their profiles are known.

readings_per_s_per_core is the median over whole minutes of what these five get through; state_bytes_per_series how
much the process has grown for each series by then, the table of devices and the settings of each point included.
pipeline_readings_per_s is that of the whole pipeline on 10,000 series: all installed detectors and fusion, where no
network is known.

ratio_to_river: the same readings, as far as they get in `--seconds`, through one Python object a series (10,000 of
them, in favour of river) that is made of river's parts and does comparable work, a test or a baseline for each of ours:
span, flat line, attenuation, drift, spike; a limit with hysteresis; mean, scatter and largest steps of late; means of
each half hour of all days and of days of its kind, their variances, a smoothed residual and its two-sided Page-Hinkley
test. Warmed up on one reading of each half hour, as the layers are. Both rates are of the same run and machine.

network_step_ms: what the whole pipeline takes for a five-minute step of L-TOWN (33 pressures, 3 flows, 1 level, the
network stepped by EPANET), the median over a day after two, with CHENGMAI_DATA; null, with the reason in
network_step_reason, where the data is not at hand.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift, stats

sys.path.remove(str(Path(__file__).resolve().parent))  # where this file would be found in place of the package

from sensors.detection import Detection, Detector
from sensors.detection.limits import LimitDetector
from sensors.detection.pipeline import Pipeline
from sensors.detection.rate_of_change import RateOfChangeDetector
from sensors.detection.scope import Scope
from sensors.detection.seasonal import SeasonalDetector
from sensors.detection.silence import SilenceDetector
from sensors.device import Device, DeviceId, Point
from sensors.device_table import DeviceTable
from sensors.evaluation import Options
from sensors.evaluation.ltown import LTown
from sensors.limits import load
from sensors.quality import Quality
from sensors.reading import Batch
from twin.asset import System

START_MS = 1_772_409_600_000
"""2026-03-02 00:00 UTC, a Monday."""
MINUTE_MS, SLOT_MS, DAY_MS = 60_000, 1_800_000, 86_400_000
WARM = 96
"""Half hours of history."""
FEWER = 10_000
"""Series that river's objects are measured on, which take a hundred times the memory, and the whole pipeline."""
KINDS = (
    (System.WATER, "pressure", "MPa", 1.6e6, 3e5, 3e4, 800.0),
    (System.DRAINAGE, "level", "m", 5.0, 0.3, 0.05, 0.004),
    (System.GAS, "combustible_gas", "%LEL", 1.0, 0.01, 0.003, 0.001),
)
"""System, quantity, unit, span; mean, daily wave and noise of the readings (SI)."""


class Layers:
    """Quality, limits and statistics, as the pipeline runs them."""

    def __init__(self, scope: Scope) -> None:
        self._quality = Quality.build(scope)
        kinds = (LimitDetector, SilenceDetector, RateOfChangeDetector, SeasonalDetector)
        self._detectors: list[Detector] = [kind.build(scope) for kind in kinds]

    def update(self, batch: Batch) -> list[Detection]:
        """Return what they say of a batch."""
        checked, said = self._quality.check(batch)
        return [*said, *(each for detector in self._detectors for each in detector.update(checked))]


class RiverSeries:
    """The peer: one object a series, of river's parts; a test or a baseline of it for each of ours."""

    def __init__(self, low: float, high: float, limit: float) -> None:
        self._low, self._high, self._limit = low, high, limit
        self._newest, self._last, self._still, self._beyond = 0, 0.0, 0, False
        self._short, self._long, self._drift = stats.EWVar(0.05), stats.EWVar(0.001), stats.EWMean(0.002)
        self._mean, self._scatter, self._steps = stats.EWMean(0.1), stats.EWMean(0.02), stats.RollingQuantile(0.95, 30)
        self._profile: dict[tuple[int, int], stats.EWMean] = {}
        self._spread: dict[int, stats.EWVar] = {}
        self._residual, self._smooth = stats.EWVar(0.02), stats.EWMean(0.3)
        self._cusum = drift.PageHinkley(threshold=50, mode="both")

    def update(self, at_ms: int, value: float) -> bool:
        """Return whether anything is abnormal about a reading, and learn it."""
        if at_ms <= self._newest or not self._low <= value <= self._high:
            return False
        self._newest = at_ms
        return self._bad(value) | self._limited(value) | self._moved(value) | self._strange(at_ms, value)

    def _bad(self, value: float) -> bool:
        """Test for a flat line, attenuation, drift and a spike."""
        step, self._last = abs(value - self._last), value
        self._still = self._still + 1 if step < 1e-9 else 0
        self._short.update(value)
        self._long.update(value)
        self._drift.update(value - (self._mean.get() or value))
        long = self._long.get() or 0.0
        return self._still > 120 or (self._short.get() or 0.0) < 0.01 * long or step * step > 100 * long

    def _limited(self, value: float) -> bool:
        """Hold a reading against its limit, with hysteresis."""
        self._beyond = value >= (0.96 * self._limit if self._beyond else self._limit)
        return self._beyond

    def _moved(self, value: float) -> bool:
        """Hold a reading against the mean, the scatter and the largest steps of late."""
        away = abs(value - (self._mean.get() or value))
        fast = away > max(8 * (self._scatter.get() or 1e30), 1.25 * (self._steps.get() or 0.0))
        self._mean.update(value)
        self._scatter.update(away)
        self._steps.update(away)
        return fast

    def _strange(self, at_ms: int, value: float) -> bool:
        """Hold a reading against the profile of its half hour, of all days and of days like this."""
        day, left = divmod(at_ms, DAY_MS)
        slot, kind = left // SLOT_MS, 1 + ((day + 3) % 7 >= 5)
        own = self._profile.setdefault((kind, slot), stats.EWMean(0.07))
        every = self._profile.setdefault((0, slot), stats.EWMean(0.07))
        spread = self._spread.setdefault(slot, stats.EWVar(0.07))
        residual = value - (own.get() or every.get() or value)
        self._smooth.update(residual)
        deviation = ((spread.get() or 0.0) + (self._residual.get() or 1e30)) ** 0.5
        far = (self._smooth.get() or 0.0) / max(deviation, 1e-9)
        self._cusum.update(far)
        if abs(far) > 6 or self._cusum.drift_detected:
            return True
        for baseline in (own, every):
            baseline.update(value)
        for variance in (spread, self._residual):
            variance.update(residual)
        return False


def stream(count: int, size: int, rng: np.random.Generator) -> Iterator[list[Batch]]:
    """Yield one minute after the other as batches of `size`, every series once in each in an order of its own."""
    minute = 0
    while True:
        order = rng.permutation(count).astype(np.int32)
        time_ms = START_MS + minute * MINUTE_MS + np.arange(count) * MINUTE_MS // count
        value = _values(order, time_ms, rng)
        yield [
            _batch(order[first : first + size], time_ms[first : first + size], value[first : first + size])
            for first in range(0, count, size)
        ]
        minute += 1


def history(count: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Yield a reading of every series in each half hour before the stream begins."""
    series = np.arange(count, dtype=np.int32)
    for slot in range(-WARM, 0):
        time_ms = np.full(count, START_MS + slot * SLOT_MS)
        yield _batch(series, time_ms, _values(series, time_ms, rng), history=True)


def measure(make: Callable[[Scope], Layers | Pipeline], count: int, size: int, seconds: float) -> tuple[float, float]:
    """Return readings a second of what `make` builds, and by how many bytes a series the process has grown for it."""
    before, rng = _resident(), np.random.default_rng(1)
    layers = make(Scope(DeviceTable(_device(number) for number in range(count)), load()))
    for batch in history(count, rng):
        layers.update(batch)
    rates: list[float] = []
    minutes = stream(count, size, rng)
    layers_s = 0.0
    while layers_s < seconds or len(rates) < 3:
        batches = next(minutes)
        begun_s = time.process_time()
        for batch in batches:
            layers.update(batch)
        took_s = time.process_time() - begun_s
        rates.append(count / took_s)
        layers_s += took_s
    return statistics.median(rates[1:]), (_resident() - before) / count


def measure_river(count: int, size: int, seconds: float) -> float:
    """Return readings a second of one river object a series."""
    rng = np.random.default_rng(1)
    objects = [RiverSeries(-0.01 * kind[3], kind[3], 0.9 * kind[3]) for kind in (_kind(k) for k in range(count))]
    for batch in history(count, rng):
        _feed(objects, batch)
    begun_s, fed = time.process_time(), 0
    for batches in stream(count, size, rng):
        for batch in batches:
            _feed(objects, batch)
            fed += len(batch)
            if time.process_time() - begun_s > seconds:
                return fed / (time.process_time() - begun_s)
    raise AssertionError


def _feed(objects: Sequence[RiverSeries], batch: Batch) -> None:
    for number, at_ms, value in zip(batch.series.tolist(), batch.time.tolist(), batch.value.tolist(), strict=True):
        objects[number].update(at_ms, value)


def _kind(number: int) -> tuple[Any, ...]:
    return KINDS[number % len(KINDS)]


def _device(number: int) -> Device:
    system, quantity, unit, high, *_ = _kind(number)
    point = Point(quantity, quantity, unit, number, 0.0, high, crown_m=0.8, depth_m=3.0)
    return Device(DeviceId(f"D-{number}"), "bench", system, (point,), timedelta(minutes=1))


def _values(series: NDArray[np.int32], time_ms: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    mean, wave, noise = np.array([kind[4:] for kind in KINDS]).T[:, series % len(KINDS)]
    return np.abs(mean + wave * np.sin(2 * np.pi * time_ms / DAY_MS) + noise * rng.normal(size=len(series)))


def _batch(series: Any, time_ms: Any, value: Any, *, history: bool = False) -> Batch:
    size = len(series)
    return Batch(series, time_ms, value, np.ones(size, np.uint8), np.full(size, history), int(time_ms[-1]))


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure_network(warm: int = 2 * 288, steps: int = 288) -> tuple[list[float], str]:
    """Return the milliseconds of each of `steps` five-minute steps of L-TOWN, or why there are none."""
    shared = os.environ.get("CHENGMAI_DATA")
    folder = Path(shared or "") / "timeseries" / "ltown"
    if not shared or not folder.is_dir():
        return [], "CHENGMAI_DATA names no folder with timeseries/ltown"
    town = LTown(Options(shared=Path(shared)))
    pipeline = Pipeline.build(town.scope(folder))
    took_ms: list[float] = []
    for _, hour in town.batches(folder):
        for at_ms in np.unique(hour.time):
            step = replace(hour.take(hour.time == at_ms), now=int(at_ms))
            begun_s = time.process_time()
            pipeline.update(step)
            took_ms.append(1000 * (time.process_time() - begun_s))
        if len(took_ms) >= warm + steps:
            break
    return took_ms[warm:], ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    rate, state = measure(Layers, arguments.series, arguments.batch, arguments.seconds)
    whole, _ = measure(Pipeline.build, min(arguments.series, FEWER), arguments.batch, arguments.seconds)
    river = measure_river(min(arguments.series, FEWER), arguments.batch, arguments.seconds)
    steps_ms, reason = measure_network()
    report: dict[str, float | int | str | None] = {
        "readings_per_s_per_core": round(rate),
        "state_bytes_per_series": round(state),
        "ratio_to_river": round(rate / river, 1),
        "network_step_ms": round(statistics.median(steps_ms), 2) if steps_ms else None,
        "river_readings_per_s": round(river),
        "pipeline_readings_per_s": round(whole),
        "network_step_worst_ms": round(max(steps_ms), 2) if steps_ms else None,
        "network_step_reason": reason or None,
        "series": arguments.series,
        "batch": arguments.batch,
    }
    if arguments.json:
        print(json.dumps(report))
    else:
        for key, value in report.items():
            print(f"{key:26} {value!s:>12}")


if __name__ == "__main__":
    main()
