"""A blockage in a street whose drains EPA SWMM runs: rain is let pass, the blockage is told of."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from sensors.clock import to_ms
from sensors.detection import Detection
from sensors.detection.drains.blockage import BlockageDetector
from sensors.reading import Batch, Quality
from sensors.simulation.drainage import DrainageModel
from tests.sensors.street import DEPTH_M, DIAMETER_M, FALL_M, SPACING_M, device, link, make_street, node

SHANGHAI = ZoneInfo("Asia/Shanghai")
START = datetime(2026, 6, 1, 0, 0, tzinfo=UTC)
STEP = timedelta(minutes=5)
INVERTS = {f"M{n}": -n * FALL_M for n in range(6)} | {"B0": -FALL_M, "B1": -2 * FALL_M}
DOWN = {f"M{n}": f"M{n + 1}" for n in range(5)} | {"M5": "O", "B0": "B1", "B1": "M3"}


def network() -> str:
    """Return the street as SWMM's input: sewage at M0 and B0 by the hour, and a roof of 1 ha that drains to M0."""
    junctions = "\n".join(f"{name} {invert + 10:.2f} {DEPTH_M} 0 0 0" for name, invert in INVERTS.items())
    conduits = "\n".join(f"D-{upper} {upper} {lower} {SPACING_M} 0.014 0 0 0 0" for upper, lower in DOWN.items())
    sections = "\n".join(f"D-{upper} CIRCULAR {DIAMETER_M} 0 0 0 1" for upper in DOWN)
    hours = " ".join(f"{1 + 0.4 * np.sin(np.pi * hour / 12):.2f}" for hour in range(24))
    return f"""
[OPTIONS]
FLOW_UNITS LPS
FLOW_ROUTING DYNWAVE
INFILTRATION HORTON
START_DATE 06/01/2026
END_DATE 06/02/2026
ROUTING_STEP 0:00:10
WET_STEP 0:01:00
DRY_STEP 0:05:00
[RAINGAGES]
R INTENSITY 0:05 1.0 TIMESERIES DRY
[TIMESERIES]
DRY 06/01/2026 0:00 0
[SUBCATCHMENTS]
S R M0 0.8 100 100 1 0
[SUBAREAS]
S 0.012 0.1 0.5 1 100 OUTLET
[INFILTRATION]
S 10 1 4 7 0
[JUNCTIONS]
{junctions}
[OUTFALLS]
O {10 - 6 * FALL_M:.2f} FREE NO
[CONDUITS]
{conduits}
[XSECTIONS]
{sections}
[DWF]
M0 FLOW 4 "DAY"
B0 FLOW 3 "DAY"
[PATTERNS]
DAY HOURLY {hours}
"""


@pytest.mark.slow
def test_blockage_is_found_between_storms_that_are_let_pass(tmp_path: Path):
    street = make_street(tmp_path / "city.gpkg")
    (tmp_path / "street.inp").write_text(network())
    devices = [device(n, "level", name, interval_s=300) for n, name in enumerate(INVERTS)]
    gauge = device(len(devices), "rain_intensity", "M0", interval_s=300)
    detector = BlockageDetector.build(street.scope([*devices, gauge]))
    storms = {30: 10.0, 40: 15.0, 50: 20.0, 60: 8.0}  # hour → mm/h for an hour
    blocked = range(54, 58)
    rng = np.random.default_rng(1)
    said: list[Detection] = []
    level_m: dict[int, float] = {}
    with DrainageModel(tmp_path / "street.inp", START - timedelta(hours=6), SHANGHAI) as model:
        for number in range(68 * 12):
            hour, at = number // 12, START + number * STEP
            rain = storms.get(hour, 0.0) / 1000 / 3600
            model.rain(rain)
            if number == blocked.start * 12:
                model.block("D-M2", 1e-5)
            if number == blocked.stop * 12:
                model.clear("D-M2")
            model.advance(at)
            value = [model.level(name) + 0.002 * rng.standard_normal() for name in INVERTS] + [rain]
            level_m[hour] = max(level_m.get(hour, 0.0), value[0])
            size, now = len(value), to_ms(at)
            good, history = np.full(size, Quality.GOOD, np.uint8), np.full(size, hour < 24)
            series, time = np.arange(size, dtype=np.int32), np.full(size, now, np.int64)
            said += detector.update(Batch(series, time, np.array(value), good, history, now))
    assert all(level_m[hour] > level_m[hour % 24] + 0.06 for hour in storms)  # each storm would have been enough
    assert {each.subject for each in said} == {f"asset:{node('M2')}"}
    first = said[0]
    late = timedelta(milliseconds=first.time - to_ms(START)) - timedelta(hours=blocked.start)
    assert timedelta() <= late <= timedelta(hours=1)
    assert [each.asset for each in first.evidence.candidates] == [link("D-M2")]
    assert not said[-1].active
