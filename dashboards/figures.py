"""Figures: the trend of one point, with its limits, in its usual unit and the city's time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from tsdownsample import MinMaxLTTBDownsampler

from sensors.quantity import scale

POINTS = 2000
"""Points a trend is drawn with: about two a pixel of a wide screen."""

GAP_INTERVALS = 4
"""Missing readings in a row after which the line is broken: silence is not drawn as a straight line."""

LEAST_SHARE = 1 / 8
"""Share of the height that readings keep once they are past a limit, however far the next limit is."""

LABEL_PX = 96
"""Width of a limit's label: each level has a column of its own, so that close limits stay legible."""

THEMES = {
    "night": {"ink": "#aeb7bf", "grid": "#31373d", "line": "#c3cbd2", "limit": "#f6c80c", "worst": "#fc8467"},
    "day": {"ink": "#3c444b", "grid": "#cfd4d8", "line": "#343b41", "limit": "#7a5200", "worst": "#b3310c"},
}


@dataclass(frozen=True, slots=True)
class LimitLine:
    """A limit to draw: its value in the figure's unit, its level 1 to 4, what it is called, and its wrong side."""

    value: float
    level: int
    label: str
    side: Literal["high", "low"]


def downsample(time: NDArray[np.int64], value: NDArray[np.float64], points: int = POINTS) -> NDArray[np.intp]:
    """Return the positions of at most `points` readings that keep every peak (MinMaxLTTB, Van Der Donckt et al. 2023).

    >>> spike = np.zeros(100_000); spike[77_777] = 1.0
    >>> 77_777 in downsample(np.arange(100_000), spike)
    True
    """
    if len(value) <= points:
        return np.arange(len(value))
    chosen = MinMaxLTTBDownsampler().downsample(time, np.nan_to_num(value), n_out=points)
    return np.asarray(chosen, np.intp)


def trace(
    frame: pd.DataFrame, *, quantity: str, unit: str, zone: str, interval: timedelta
) -> tuple[list[str], list[float | None]]:
    """Return x (local time of the city) and y (in `unit`) of readings as ReadingStore.read gives them.

    Where readings are missing a None breaks the line.
    """
    moments = frame["time"].dt.tz_convert(ZoneInfo(zone)).dt.tz_localize(None).to_numpy("datetime64[ms]")
    factor, offset = scale(unit, quantity)
    values = (frame["value"].to_numpy(np.float64) - offset) / factor
    ms = moments.astype(np.int64)
    gaps = np.flatnonzero(_is_gap(np.diff(ms), interval))
    chosen = np.union1d(downsample(ms, values), np.concatenate([gaps, gaps + 1])).astype(np.intp)
    x = [str(moment) for moment in moments[chosen]]
    y: list[float | None] = [round(float(value), 5) for value in values[chosen]]
    for gap in reversed(np.searchsorted(chosen, gaps)):
        x.insert(int(gap) + 1, x[int(gap)])
        y.insert(int(gap) + 1, None)
    return x, y


def _is_gap(steps: NDArray[np.int64], interval: timedelta) -> NDArray[np.bool_]:
    """Say which steps (ms) are silence: longer than the device's own interval and than the steps beside them.

    Readings from before a device was connected may stand minutes apart, live ones seconds; both are lines.

    >>> _is_gap(np.array([300, 300, 300, 5, 5, 500, 5]) * 1000, timedelta(seconds=5)).astype(int)
    array([0, 0, 1, 0, 0, 1, 0])
    """
    if len(steps) < 2:
        return np.zeros(len(steps), np.bool_)
    before, after = np.r_[steps[1], steps[:-1]], np.r_[steps[1:], steps[-2]]
    usual = np.maximum(np.minimum(before, after), interval.total_seconds() * 1000)
    return steps > GAP_INTERVALS * usual


def telling(limits: Sequence[LimitLine], y: Sequence[float | None]) -> list[LimitLine]:
    """Return the limits worth drawing over readings `y`: those they have passed, and the next one on each side.

    A limit far from everything would press the readings flat: past the first limit, the next is drawn only if they
    keep `LEAST_SHARE` of the height.
    """
    known = [value for value in y if value is not None]
    if not known:
        return list(limits)
    low, high = min(known), max(known)
    above = sorted((line for line in limits if line.side == "high"), key=lambda line: line.value)
    below = sorted((line for line in limits if line.side == "low"), key=lambda line: -line.value)
    chosen: list[LimitLine] = []
    for lines, passed in (
        (above, [line.value <= high for line in above]),
        (below, [line.value >= low for line in below]),
    ):
        count = sum(passed)
        chosen += lines[:count]
        for following in lines[count : count + 1]:
            height = max(high, following.value) - min(low, following.value)
            if count == 0 or high - low >= LEAST_SHARE * height:
                chosen.append(following)
    return chosen


def trend(
    x: Sequence[str],
    y: Sequence[float | None],
    *,
    limits: Sequence[LimitLine],
    unit: str,
    theme: str,
    span: tuple[datetime, datetime],
    view: str,
) -> go.Figure:
    """Return the trend figure; `limits` are in `unit` already, `span` is in the city's zone.

    `view` names what is shown: a person's zoom is kept while it stays the same.
    """
    colours = THEMES[theme]
    figure = go.Figure(
        go.Scatter(x=list(x), y=list(y), mode="lines", line={"width": 1.6, "color": colours["line"]}, connectgaps=False)
    )
    for limit in telling(limits, y):
        colour = colours["worst"] if limit.level == 1 else colours["limit"]
        sign = "<" if limit.side == "low" else ">"
        figure.add_hline(
            y=limit.value,
            line={"color": colour, "width": 1.2, "dash": "dash" if limit.level == 1 else "dot"},
            annotation={
                "text": f"{limit.label} {sign} {limit.value:.4g}",
                "font": {"color": colour, "size": 12},
                "xshift": LABEL_PX * (limit.level - 1),
            },
            annotation_position="top left",
        )
    figure.update_layout(_look(colours, view))
    start, end = (moment.replace(tzinfo=None) for moment in span)
    figure.update_xaxes(
        range=[start, end],
        gridcolor=colours["grid"],
        zeroline=False,
        linecolor=colours["grid"],
        # Numbers only: the same in every language.
        tickformatstops=[
            {"dtickrange": [None, 60_000], "value": "%H:%M:%S"},
            {"dtickrange": [60_000, 43_200_000], "value": "%H:%M\n%m-%d"},
            {"dtickrange": [43_200_000, None], "value": "%m-%d"},
        ],
        hoverformat="%m-%d %H:%M:%S",
    )
    figure.update_yaxes(
        gridcolor=colours["grid"], zeroline=False, title={"text": unit, "standoff": 8}, automargin=True, nticks=6
    )
    return figure


def _look(colours: dict[str, str], view: str) -> dict[str, Any]:
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"color": colours["ink"], "size": 12, "family": "Noto Sans CJK SC, Noto Sans SC, sans-serif"},
        "margin": {"l": 56, "r": 16, "t": 10, "b": 28},
        "showlegend": False,
        "hovermode": "x unified",
        "dragmode": "pan",
        "uirevision": view,
    }
