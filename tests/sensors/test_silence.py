"""Silence, held against the rule applied to every device at every update."""

from datetime import timedelta

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sensors.detection import checks
from sensors.detection.scope import Scope
from sensors.detection.silence import SilenceDetector
from sensors.device import Device, DeviceId, Point
from sensors.limits import load
from sensors.reading import Batch
from twin.asset import System

INTERVALS = (5, 60, 300, 5)
LIMITS = load()


def build():
    devices = [
        Device(DeviceId(f"D{k}"), "t", System.WATER, (Point("p", "pressure", "MPa", k),), timedelta(seconds=interval))
        for k, interval in enumerate(INTERVALS)
    ]
    return SilenceDetector.build(Scope(devices, LIMITS))


def batch(now_s, heard):
    size = len(heard)
    time = np.full(size, checks.START_MS + now_s * 1000, np.int64)
    series = np.array(heard, np.int32)
    return Batch(
        series, time, np.ones(size), np.ones(size, np.uint8), np.zeros(size, np.bool_), checks.START_MS + now_s * 1000
    )


UPDATES = st.lists(st.tuples(st.integers(1, 400), st.sets(st.integers(0, 3))), min_size=1, max_size=60)


@settings(deadline=None)
@given(UPDATES, st.integers(0, 60))
def test_silence_is_found_when_each_device_counted_alone_says_so(updates, restart):
    detector, now_s, before_s = build(), 0, None
    quiet, heard, silent = [0] * 4, [False] * 4, [False] * 4
    for index, (passed_s, who) in enumerate(updates):
        now_s += passed_s
        if index == restart:
            state, detector = detector.save(), build()
            assert detector.load(state) == {(f"device:D{k}", "silence") for k in range(4) if silent[k]}
        wanted = set()
        for k, interval in enumerate(INTERVALS):
            quiet[k] += 0 if before_s is None else min(now_s - before_s, interval)
            if k in who:
                quiet[k], heard[k] = 0, True
                if silent[k]:
                    wanted.add((k, False))
                silent[k] = False
            elif heard[k] and not silent[k] and quiet[k] > 3 * interval + 10:
                silent[k] = True
                wanted.add((k, True))
        said = detector.update(batch(now_s, sorted(who)))
        assert {(int(d.subject[-1]), d.active) for d in said} == wanted
        before_s = now_s


def test_reading_ahead_of_the_city_is_not_the_last_that_is_heard():
    detector = build()
    ahead = batch(240, [0])
    detector.update(Batch(ahead.series, ahead.time, ahead.value, ahead.quality, ahead.history, checks.START_MS))
    said = [d for second in range(5, 120, 5) for d in detector.update(batch(second, [0]))]
    assert said == []


def test_silence_tells_the_interval_that_was_missed():
    detector = build()
    detector.update(batch(0, [1]))
    said = [d for second in range(30, 400, 30) for d in detector.update(batch(second, []))]
    assert [(d.subject, d.score, d.evidence.facts[0].value) for d in said] == [("device:D1", 3.5, 60.0)]
