"""Every built-in detector, and all of them together, keep the contract of detectors."""

from importlib.metadata import entry_points

import pytest

from sensors.detection import checks
from sensors.detection.pipeline import GROUP, Pipeline
from sensors.detection.scope import Scope
from sensors.limits import load

LIMITS = load()
BUILDERS = {point.name: point.load().build for point in entry_points(group=GROUP)} | {"pipeline": Pipeline.build}


@pytest.mark.parametrize("name", sorted(BUILDERS))
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_detector_keeps_the_contract(name, check):
    check(lambda devices: BUILDERS[name](Scope(devices, LIMITS)))


def test_sample_stream_wakes_every_detector():
    pipeline = Pipeline.build(Scope(checks.sample_devices(), LIMITS), disabled=["fusion"])
    said = {each.kind.value for part in checks.run(pipeline, checks.sample_stream()) for each in part if each.active}
    assert said == {"limit", "silence", "flat_line", "rate_of_change", "seasonal"}
