"""The trend of the chosen point: drawn when it is chosen and once a minute, lengthened in between."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from dash import Dash, Input, Output, State, no_update
from dash.exceptions import PreventUpdate

from dashboards import figures
from dashboards.pages.operations import REDRAW_TICKS, SPANS
from dashboards.pages.sources import Sources, in_browser
from dashboards.words import Language, words
from sensors.clock import from_ms, to_ms
from sensors.device import Device, Point
from sensors.limits import Limits
from sensors.quantity import from_si, quantity, usual_unit
from sensors.sentence import LEVELS
from twin.errors import ChengmaiError

TAIL = timedelta(minutes=2)
"""How far ahead of the city's clock a device's may be and still be drawn."""

AHEAD = 1 / 50
"""Share of the span left free at the right, for what comes in before the trend is drawn again."""


def register(app: Dash, sources: Sources) -> None:
    """Attach the trend's callbacks to `app`."""
    _points(app, sources)
    _drawing(app, sources)
    _lengthening(app, sources)


def _points(app: Dash, sources: Sources) -> None:
    @app.callback(
        Output("trend-points", "hidden"),
        Output("trend-point", "data"),
        Output("trend-point", "value"),
        Output("trend-title", "children"),
        Output("trend-tick", "disabled"),
        Output("trend-redraw", "disabled"),
        Input("selection", "data"),
        State("language", "data"),
        prevent_initial_call=True,
    )
    async def points(selection: dict[str, Any] | None, language: Language) -> Any:
        device = sources.device((selection or {}).get("device"))
        if device is None:
            raise PreventUpdate
        names = [{"value": point.name, "label": _quantity_name(point, language)} for point in device.points]
        wanted = (selection or {}).get("point")
        value = wanted if any(name["value"] == wanted for name in names) else names[0]["value"]
        return len(names) < 2, names, value, f"{device.id} {device.name}".strip(), False, False


def _drawing(app: Dash, sources: Sources) -> None:
    @app.callback(
        Output("trend", "figure"),
        Output("trend", "style"),
        Output("trend-empty", "children"),
        Output("trend-empty", "hidden"),
        Output("trend-tail", "data"),
        Input("selection", "data"),
        Input("trend-point", "value"),
        Input("trend-span", "value"),
        Input("theme", "value"),
        Input("trend-redraw", "n_intervals"),
        State("language", "data"),
        prevent_initial_call=True,
    )
    async def draw(
        selection: dict[str, Any] | None, point_name: str, span: str, theme: str, _: int, language: Language
    ) -> Any:
        device, point = _chosen(sources, (selection or {}).get("device"), point_name)
        hours = SPANS[span]
        return await asyncio.to_thread(_draw, sources, device, point, hours=hours, theme=theme, language=language)


def _lengthening(app: Dash, sources: Sources) -> None:
    @app.callback(
        Output("trend-more", "data"),
        Input("trend-tick", "n_intervals"),
        State("trend-tail", "data"),
        prevent_initial_call=True,
    )
    async def extend(tick: int, tail: dict[str, Any] | None) -> Any:
        if not tail or tick % REDRAW_TICKS == 0:  # at that moment it is drawn anew
            raise PreventUpdate
        device, point = _chosen(sources, tail["device"], tail["point"])
        return await asyncio.to_thread(_more, sources, device, point, tail)

    # the browser knows which trend is drawn when the answer arrives: another may have been chosen meanwhile
    in_browser(
        app,
        "lengthen",
        [Output("trend", "extendData"), Output("trend-tail", "data", allow_duplicate=True)],
        Input("trend-more", "data"),
        State("trend-tail", "data"),
    )


def _chosen(sources: Sources, device_name: str | None, point_name: str) -> tuple[Device, Point]:
    device = sources.device(device_name)
    point = next((p for p in device.points if p.name == point_name), None) if device else None
    if device is None or point is None:
        raise PreventUpdate
    return device, point


def _quantity_name(point: Point, language: Language) -> str:
    known = quantity(point.quantity)
    return known.zh if language == "zh" else known.en


def _draw(
    sources: Sources, device: Device, point: Point, *, hours: int, theme: str, language: Language
) -> tuple[Any, ...]:
    text, zone = words(language), ZoneInfo(sources.zone)
    now, span = sources.observer.now(), timedelta(hours=hours)
    unit = usual_unit(point.quantity, device.system)
    try:
        frame = sources.store.read([point.series], now - span, now + TAIL)
    except ChengmaiError as error:
        return no_update, {"display": "none"}, str(error), False, None
    if frame.empty:
        return no_update, {"display": "none"}, text["no_readings"], False, None
    x, y = figures.trace(frame, quantity=point.quantity, unit=unit, zone=sources.zone, interval=device.interval)
    figure = figures.trend(
        x,
        y,
        limits=_limits(sources.limits, device, point, unit, language),
        unit=unit,
        theme=theme,
        span=((now - span).astimezone(zone), (now + AHEAD * span).astimezone(zone)),
        view=f"{device.id}/{point.name}/{hours}",
    )
    last = to_ms(frame["time"].iloc[-1].to_pydatetime())
    tail = {"device": device.id, "point": point.name, "after": last}
    return figure, {"height": "100%"}, "", True, tail


def _more(sources: Sources, device: Device, point: Point, tail: dict[str, Any]) -> dict[str, Any]:
    """Return what came in after the `tail` of a trend: what it lengthens, its x and y, and the tail that it leaves."""
    try:
        frame = sources.store.read([point.series], from_ms(tail["after"] + 1), sources.observer.now() + TAIL)
    except ChengmaiError:
        raise PreventUpdate from None  # the banner says already that the store does not answer
    if frame.empty:
        raise PreventUpdate
    unit = usual_unit(point.quantity, device.system)
    x, y = figures.trace(frame, quantity=point.quantity, unit=unit, zone=sources.zone, interval=device.interval)
    last = to_ms(frame["time"].iloc[-1].to_pydatetime())
    return {"of": tail, "x": x, "y": y, "most": figures.POINTS * 2, "tail": {**tail, "after": last}}


def _limits(limits: Limits, device: Device, point: Point, unit: str, language: Language) -> list[figures.LimitLine]:
    """Return the safety limits of a point, in `unit`."""
    return [
        figures.LimitLine(from_si(value, unit, point.quantity), level, LEVELS[language][level - 1], row.side)
        for row in limits.limits_of(point.quantity, device.system)
        for value, level in zip(row.at(point) or (), row.levels, strict=False)
    ]
