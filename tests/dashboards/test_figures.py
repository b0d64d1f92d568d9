"""Trends: every peak is kept, silence breaks the line, times are the city's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from dashboards.figures import POINTS, LimitLine, downsample, telling, trace, trend


def frame(times: list[datetime], values: list[float]) -> pd.DataFrame:
    moments = pd.to_datetime(pd.Series(times), utc=True).astype("datetime64[ms, UTC]")
    return pd.DataFrame({"time": moments, "value": np.array(values, float)})


@given(st.integers(0, 49_999), st.sampled_from([-1e6, 1e6]))
def test_downsampling_keeps_every_single_peak(place: int, height: float) -> None:
    values = np.sin(np.arange(50_000) / 700.0)
    values[place] = height
    chosen = downsample(np.arange(50_000), values)
    assert len(chosen) <= POINTS
    assert place in chosen


def test_trace_is_in_the_unit_and_time_zone_asked_for() -> None:
    noon = datetime(2026, 1, 1, 4, tzinfo=UTC)
    readings = frame([noon, noon + timedelta(seconds=5)], [310_000.0, 312_000.0])
    x, y = trace(readings, quantity="pressure", unit="MPa", zone="Asia/Shanghai", interval=timedelta(seconds=5))
    assert x[0].startswith("2026-01-01T12:00:00")
    assert y == [0.31, 0.312]


def test_silence_breaks_the_line() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    times = [start + timedelta(seconds=5 * i) for i in (0, 1, 2, 100, 101, 102)]
    x, y = trace(frame(times, [1.0] * 6), quantity="level", unit="m", zone="UTC", interval=timedelta(seconds=5))
    assert y == [1.0, 1.0, 1.0, None, 1.0, 1.0, 1.0]
    assert len(x) == len(y)


def test_limits_are_drawn_with_their_names() -> None:
    span = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
    figure = trend(
        ["2026-01-01"],
        [1.0],
        limits=[LimitLine(1.8, 2, "二级橙", "high")],
        unit="m",
        theme="night",
        span=span,
        view="x",
    )
    assert [line.y0 for line in figure.layout.shapes] == [1.8]
    assert figure.layout.annotations[0].text == "二级橙 > 1.8"


def test_sparse_history_before_dense_live_readings_is_a_line() -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    history = [start + timedelta(minutes=5 * i) for i in range(12)]
    live = [history[-1] + timedelta(seconds=5 * i) for i in range(1, 200)]
    times = history + live
    _, y = trace(
        frame(times, [1.0] * len(times)), quantity="level", unit="m", zone="UTC", interval=timedelta(seconds=5)
    )
    assert y.count(None) <= 1


def test_far_limits_do_not_press_the_readings_flat() -> None:
    yellow, orange, red = (LimitLine(v, n, "", "high") for v, n in ((0.32, 3), (0.4, 2), (4.9, 1)))
    assert telling([yellow, orange, red], [0.1, 0.2]) == [yellow]
    assert telling([yellow, orange, red], [0.1, None, 0.35]) == [yellow, orange]
    assert telling([yellow, orange, red], [0.1, 0.41]) == [yellow, orange]
    assert telling([yellow, orange, red], [0.1, 2.0]) == [yellow, orange, red]
    assert telling([LimitLine(0.14, 3, "", "low"), LimitLine(0.0, 1, "", "low")], [0.35, 0.24])[-1].value == 0.14
