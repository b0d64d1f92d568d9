"""What happens on the operations page: live values go in by the browser, questions come to the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import dash_mantine_components as dmc
from dash import ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.development.base_component import Component
from dash.exceptions import PreventUpdate

from dashboards import figures
from dashboards.city_view import CityView, facts
from dashboards.pages.operations import SPANS, layout
from dashboards.queries import Observer
from dashboards.words import Language, language_of, words
from ingest.store import ReadingStore
from sensors.alarm_log import AlarmLog
from sensors.clock import from_ms, to_ms
from sensors.device import Device, Point
from sensors.limits import Limits
from sensors.quantity import from_si, quantity, usual_unit
from sensors.sentence import LEVELS
from twin.errors import ChengmaiError, StaleError, UnknownError

TAIL = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Sources:
    """What the page's questions are answered from."""

    alarms: AlarmLog
    store: ReadingStore
    limits: Limits
    city: CityView
    observer: Observer
    title: str
    zone: str
    language: Language


def shell() -> Component:
    """Return what stands before the address is known: the page itself depends on its language."""
    return dmc.MantineProvider([dcc.Location(id="address"), html.Div(id="page")], id="mantine", forceColorScheme="dark")


def register(app: Dash, sources: Sources) -> None:
    """Attach the page's callbacks to `app`."""
    _address(app, sources)
    _live(app)
    _choosing(app, sources)
    _trend(app, sources)
    _acknowledging(app, sources)


def _browser(app: Dash, function: str, outputs: list[Output], *inputs: Input | State, first: bool = False) -> None:
    """Attach a function of assets/operations.js: it runs in the browser and asks nobody."""
    app.clientside_callback(
        ClientsideFunction("operations", function), outputs, list(inputs), prevent_initial_call=not first
    )


def _address(app: Dash, sources: Sources) -> None:
    @app.callback(Output("page", "children"), Input("address", "search"))
    def page(search: str | None) -> Any:
        wanted = parse_qs((search or "").lstrip("?")).get("lang", [None])[0]
        return layout(language_of(wanted, sources.language), sources.title, sources.zone)


def _live(app: Dash) -> None:
    counts = ["1", "2", "3", "4", "unacknowledged", "offline", "devices", "rate", "stored", "spool", "quarantined"]
    figure_outputs = [
        output
        for name in ("water", "gas", "drainage")
        for output in (Output(f"figure-{name}", "children"), Output(f"spark-{name}", "values"))
    ]
    _browser(
        app,
        "counters",
        [*(Output(f"count-{name}", "children") for name in counts), *figure_outputs],
        Input("live", "status"),
    )
    _browser(
        app,
        "connection",
        [
            Output("connection", "children"),
            Output("connection", "className"),
            Output("banner", "children"),
            Output("banner", "className"),
            Output("banner", "hidden"),
            Output("replay", "children"),
            Output("replay", "hidden"),
            Output("clock", "children"),
            Output("date", "children"),
            Output("map", "stale"),
        ],
        Input("live", "connection"),
        Input("live", "status"),
        State("words", "data"),
        State("zone", "data"),
    )
    _browser(
        app,
        "alarms",
        [Output("alarms", "rowData"), Output("alarms-waiting", "children")],
        Input("live", "alarms"),
        State("live", "status"),
        State("words", "data"),
        State("language", "data"),
        State("zone", "data"),
    )
    _browser(
        app,
        "columns",
        [Output("alarms", "columnDefs")],
        Input("words", "data"),
        State("alarms", "columnDefs"),
        first=True,
    )
    _browser(
        app,
        "look",
        [Output("mantine", "forceColorScheme"), Output("map", "theme"), Output("map", "xray")],
        Input("theme", "value"),
        Input("xray", "checked"),
        first=True,
    )


def _choosing(app: Dash, sources: Sources) -> None:
    _browser(
        app,
        "choose",
        [Output("selection", "data"), Output("map", "flyTo"), Output("map", "chosenDevice")],
        Input("map", "chosen"),
        Input("alarms", "cellClicked"),
        Input("whole-city", "n_clicks"),
        State("alarms", "rowData"),
        State("selection", "data"),
    )

    @app.callback(
        Output("card", "hidden"),
        Output("card-title", "children"),
        Output("card-facts", "children"),
        Input("selection", "data"),
        Input("card-close", "n_clicks"),
        State("language", "data"),
        prevent_initial_call=True,
    )
    def card(selection: dict[str, Any] | None, _: int | None, language: Language) -> Any:
        if ctx.triggered_id == "card-close" or not selection:
            return True, no_update, no_update
        return _card(sources, selection, language)


def _card(sources: Sources, selection: dict[str, Any], language: Language) -> tuple[bool, str, Any]:
    text = words(language)
    asset = selection.get("asset")
    device = _device(sources, selection.get("device"))
    if device is not None:
        asset = asset or device.asset
    known: dict[str, Any] = {}
    title = device.id if device else str(asset)
    if device is not None:
        known = {"name": device.name, "model": device.model, "interval_s": f"{device.interval.total_seconds():g} s"}
    if asset:
        try:
            found = facts(sources.city.asset(asset))
            title = title if device else str(found.get("name") or asset)
            known |= found
        except ChengmaiError as error:
            known["id"] = f"{asset} ({error.code})"
    rows = [
        html.Div([html.Dt(text.get(f"field_{name}", name)), html.Dd(_shown(name, value, text))])
        for name, value in known.items()
        if value not in ("", None)
    ]
    return False, title, html.Dl(rows) if rows else text["nothing_known"]


_WORDED = {"system", "kind", "service"}


def _shown(name: str, value: Any, text: Mapping[str, str]) -> str:
    if name in _WORDED:
        return text.get(f"value_{value}", str(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _device(sources: Sources, name: str | None) -> Device | None:
    listed = sources.observer.device_list
    position = listed.position.get(name) if name else None
    return None if position is None else listed.devices[position]


def _trend(app: Dash, sources: Sources) -> None:
    @app.callback(
        Output("trend-points", "hidden"),
        Output("trend-point", "data"),
        Output("trend-point", "value"),
        Output("trend-title", "children"),
        Input("selection", "data"),
        State("language", "data"),
        prevent_initial_call=True,
    )
    def points(selection: dict[str, Any] | None, language: Language) -> Any:
        device = _device(sources, (selection or {}).get("device"))
        if device is None:
            raise PreventUpdate
        names = [{"value": point.name, "label": _quantity_name(point, language)} for point in device.points]
        wanted = (selection or {}).get("point")
        value = wanted if any(name["value"] == wanted for name in names) else names[0]["value"]
        return len(names) < 2, names, value, f"{device.id} {device.name}".strip()

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
        State("language", "data"),
        prevent_initial_call=True,
    )
    def draw(selection: dict[str, Any] | None, point_name: str, span: str, theme: str, language: Language) -> Any:
        device = _device(sources, (selection or {}).get("device"))
        point = next((p for p in device.points if p.name == point_name), None) if device else None
        if device is None or point is None:
            raise PreventUpdate
        return _draw(sources, device, point, hours=SPANS[span], theme=theme, language=language)

    @app.callback(
        Output("trend", "extendData"),
        Output("trend-tail", "data", allow_duplicate=True),
        Input("trend-tick", "n_intervals"),
        State("trend-tail", "data"),
        prevent_initial_call=True,
    )
    def extend(_: int, tail: dict[str, Any] | None) -> Any:
        device = _device(sources, (tail or {}).get("device"))
        point = next((p for p in device.points if p.name == (tail or {}).get("point")), None) if device else None
        if not tail or device is None or point is None:
            raise PreventUpdate
        return _extend(sources, device, point, tail)


def _quantity_name(point: Point, language: Language) -> str:
    known = quantity(point.quantity)
    return known.zh if language == "zh" else known.en


def _draw(
    sources: Sources, device: Device, point: Point, *, hours: int, theme: str, language: Language
) -> tuple[Any, ...]:
    text, zone = words(language), ZoneInfo(sources.zone)
    now = sources.observer.now()
    start = now - timedelta(hours=hours)
    unit = usual_unit(point.quantity, device.system)
    try:
        frame = sources.store.read([point.series], start, now + TAIL)
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
        span=(start.astimezone(zone), now.astimezone(zone)),
        view=f"{device.id}/{point.name}/{hours}",
    )
    last = to_ms(frame["time"].iloc[-1].to_pydatetime())
    tail = {"device": device.id, "point": point.name, "after": last}
    return figure, {"height": "100%"}, "", True, tail


def _extend(sources: Sources, device: Device, point: Point, tail: dict[str, Any]) -> tuple[Any, Any]:
    try:
        frame = sources.store.read([point.series], from_ms(tail["after"] + 1), sources.observer.now() + TAIL)
    except ChengmaiError:
        raise PreventUpdate from None  # the banner says already that the store does not answer
    if frame.empty:
        raise PreventUpdate
    unit = usual_unit(point.quantity, device.system)
    x, y = figures.trace(frame, quantity=point.quantity, unit=unit, zone=sources.zone, interval=device.interval)
    last = to_ms(frame["time"].iloc[-1].to_pydatetime())
    return ({"x": [x], "y": [y]}, [0], figures.POINTS * 2), {**tail, "after": last}


def _limits(limits: Limits, device: Device, point: Point, unit: str, language: Language) -> list[figures.LimitLine]:
    """Return the safety limits of a point, in `unit`."""
    lines: list[figures.LimitLine] = []
    for row in limits.limits_of(point.quantity, device.system):
        for value, level in zip(row.at(point) or (), row.levels, strict=False):
            lines.append(figures.LimitLine(from_si(value, unit, point.quantity), level, LEVELS[language][level - 1]))
    return lines


def _acknowledging(app: Dash, sources: Sources) -> None:
    _browser(
        app,
        "openDialog",
        [
            Output("acknowledge", "opened"),
            Output("acknowledging", "data"),
            Output("acknowledge-what", "children"),
            Output("acknowledge-trouble", "children"),
            Output("acknowledge-comment", "value"),
        ],
        Input("alarms", "cellRendererData"),
        Input("acknowledge-cancel", "n_clicks"),
        State("alarms", "rowData"),
    )

    @app.callback(
        Output("acknowledge", "opened", allow_duplicate=True),
        Output("acknowledge-trouble", "children", allow_duplicate=True),
        Output("acknowledge-by", "error"),
        Input("acknowledge-send", "n_clicks"),
        State("acknowledging", "data"),
        State("acknowledge-by", "value"),
        State("acknowledge-comment", "value"),
        State("language", "data"),
        prevent_initial_call=True,
    )
    def send(_: int, wish: dict[str, Any] | None, by: str | None, comment: str | None, language: Language) -> Any:
        text = words(language)
        if not wish:
            raise PreventUpdate
        if not (by or "").strip():
            return no_update, "", text["name_needed"]
        try:
            sources.alarms.acknowledge(
                int(wish["id"]), by=str(by).strip(), comment=(comment or "").strip(), version=int(wish["version"])
            )
        except ChengmaiError as error:
            return no_update, _why_not(sources, error, wish, language), None
        return False, "", None


def _why_not(sources: Sources, error: ChengmaiError, wish: dict[str, Any], language: Language) -> str:
    """Say why an acknowledgement was not made, and who was faster."""
    text = words(language)
    if isinstance(error, UnknownError):
        return text["unknown_alarm"]
    if not isinstance(error, StaleError):
        return text["not_saved"].format(error=error)
    now = sources.alarms.get(int(wish["id"]))
    if now.acknowledged_by is None or now.acknowledged_at is None:
        return text["stale_alarm"]
    at = now.acknowledged_at.astimezone(ZoneInfo(sources.zone)).strftime("%H:%M:%S")
    return text["stale_by"].format(by=now.acknowledged_by, at=at) + text["stale_alarm"]
