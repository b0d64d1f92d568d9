"""The operations page: what stands where, what is wrong, and what to do first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dash_ag_grid as dag
import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from dashboards.component import CityMap, LiveFeed, Sparkline
from dashboards.words import Language, words

ALARM_ROW_PX = 66
SPANS = {"1h": 1, "6h": 6, "24h": 24, "7d": 168}
"""Spans of the trend: what the control says, hours."""

TICK_MS = 2000
REDRAW_TICKS = 30
"""The trend is lengthened every tick, and drawn anew once so many ticks: a minute."""

_GRID_THEME = (
    "themeQuartz.withParams({backgroundColor:'transparent',foregroundColor:'inherit',browserColorScheme:'inherit',"
    "headerBackgroundColor:'transparent',borderColor:'var(--line)',rowBorder:true,wrapperBorder:false,fontSize:14,"
    "rowHoverColor:'var(--hover)',selectedRowBackgroundColor:'var(--chosen)',fontFamily:'inherit',cellHorizontalPadding:8})"
)


_FOCUSED: dict[str, Any] = {"data-autofocus": True}  # Mantine's way to say which field a dialog opens on


_DIALOG: dict[str, Any] = {"transitionProps": {"duration": 0}}  # Mantine's types ask for keys that are optional


def _labelled(label: str) -> dict[str, Any]:
    """Return the property that names a part of the page to a screen reader."""
    return {"aria-label": label}


def _awaited(said: str) -> dict[str, Any]:
    """Return the properties of a part that is filled when its answer is there; `said` stands there meanwhile."""
    return {"data-wait": said, "aria-live": "polite"}


def layout(language: Language, title: str, zone: str) -> Component:
    """Return the page in one language; `zone` is the city's time zone (IANA name)."""
    text = words(language)
    return html.Div(
        [
            LiveFeed("live", "/live", "#alarm-list"),
            dcc.Store(id="language", data=language),
            dcc.Store(id="zone", data=zone),
            dcc.Store(id="words", data=dict(text)),
            dcc.Store(id="selection"),
            dcc.Store(id="question"),
            dcc.Store(id="trend-tail"),
            dcc.Store(id="trend-more"),
            dcc.Store(id="acknowledging"),
            dcc.Interval(id="trend-tick", interval=TICK_MS, disabled=True),
            dcc.Interval(id="trend-redraw", interval=TICK_MS * REDRAW_TICKS, disabled=True),
            html.Div(
                [_header(text, title, language), html.Div(id="banner", role="status", hidden=True)], className="top"
            ),
            _overview(text),
            _map(text),
            _alarms(text),
            _trend(text),
            _acknowledge_dialog(text),
        ],
        className="operations",
        lang="zh-CN" if language == "zh" else "en",
    )


def _header(text: Mapping[str, str], title: str, language: Language) -> Component:
    other = "en" if language == "zh" else "zh"
    return html.Header(
        [
            html.H1(title),
            html.Span(id="replay", className="badge", hidden=True),
            html.Span("●", id="connection", className="connection connecting", role="status"),
            html.Div(className="spring"),
            dmc.Switch(id="xray", label=text["xray"], size="sm", persistence=True),
            dmc.SegmentedControl(
                id="theme",
                data=[{"value": "night", "label": text["night"]}, {"value": "day", "label": text["day"]}],
                value="night",
                size="xs",
                persistence=True,
            ),
            html.A(text["other_language"], href=f"?lang={other}", className="language", lang=other),
            html.Div([html.Time("--:--:--", id="clock"), html.Span("", id="date")], className="clock"),
        ]
    )


def _count(name: str, label: str, class_name: str = "") -> Component:
    return html.Div([html.Span(label), html.B("–", id=name)], className=f"count {class_name}".strip())


def _overview(text: Mapping[str, str]) -> Component:
    levels = [
        html.Div(
            [html.Span(className=f"shape level-{n}"), html.Span(text[f"level_{n}"]), html.B("–", id=f"count-{n}")],
            className="count level",
        )
        for n in (1, 2, 3, 4)
    ]
    return html.Aside(
        [
            html.Section(
                [
                    html.H2(text["open_alarms"]),
                    *levels,
                    _count("count-unacknowledged", text["unacknowledged"], "strong"),
                ],
                className="group",
            ),
            html.Section(
                [
                    html.H2(text["devices"]),
                    html.Div(
                        [
                            html.B("–", id="count-offline"),
                            html.Span(text["offline"]),
                            html.Span("", id="count-devices"),
                        ],
                        className="share",
                    ),
                ],
                className="group",
            ),
            html.Section(
                [
                    html.H2(text["ingest"]),
                    _count("count-rate", text["rate"]),
                    _count("count-stored", text["stored"]),
                    _count("count-spool", text["spool"]),
                    _count("count-quarantined", text["quarantined"]),
                    _count("count-ledger", text["ledger"]),
                    html.Div("", id="count-districts", className="districts"),
                    html.Div("", id="count-layers", className="districts layers"),
                ],
                className="group ingest",
            ),
            html.Section(
                [_figure(name, text[name]) for name in ("water", "gas", "drainage")], className="group figures"
            ),
        ],
        className="pane overview",
        **_labelled(text["system"]),
    )


def _figure(name: str, label: str) -> Component:
    return html.Div(
        [
            html.Div([html.Span(label), html.B("–", id=f"figure-{name}")], className="figure-head"),
            Sparkline(f"spark-{name}", label),
        ],
        className="figure",
    )


def _map(text: Mapping[str, str]) -> Component:
    map_words = {
        "title": text["map"],
        "loading": text["map_loading"],
        "empty": text["map_empty"],
        "error": text["map_error"],
        "people": text["people"],
        "controls": {},
    }
    legend = [html.Span([html.I(className=f"line {name}"), text[f"{short}_pipes"]]) for name, short in _LEGEND]
    return html.Main(
        [
            CityMap("map", "/api/v1/map", map_words, keepClear="#card"),
            html.Div(
                [
                    *legend,
                    html.Span([html.I(className="dot normal"), text["legend_normal"]]),
                    html.Span([html.I(className="dot offline"), text["legend_offline"]]),
                ],
                className="legend",
            ),
            html.Button(text["whole_city"], id="whole-city", className="map-button", type="button"),
            html.Div(
                [
                    html.Div(
                        [
                            html.H2("", id="card-title"),
                            html.Button("×", id="card-close", type="button", **_labelled(text["close"])),
                        ],
                        className="card-head",
                    ),
                    html.Div(
                        [
                            html.Div(id="card-text"),
                            html.Div(id="card-actions", className="actions"),
                            html.Div(id="card-answer", **_awaited(text["answer_wait"])),
                            html.Div(id="card-facts", className="card-facts"),
                        ],
                        className="card-body",
                    ),
                ],
                id="card",
                className="card",
                hidden=True,
            ),
        ],
        className="map-pane",
    )


_LEGEND = (("gas", "gas"), ("water", "water"), ("drainage", "drain"))


def _alarms(text: Mapping[str, str]) -> Component:
    columns: list[dict[str, Any]] = [
        {"field": "level", "headerName": text["level"], "width": 64, "cellRenderer": "AlarmLevel"},
        {"field": "onset", "headerName": text["time"], "width": 90, "cellRenderer": "AlarmTime"},
        {"field": "zh", "headerName": text["what"], "flex": 1, "minWidth": 150, "cellRenderer": "AlarmText"},
        {"field": "version", "headerName": text["acknowledge_short"], "width": 104, "cellRenderer": "AlarmAcknowledge"},
    ]
    grid = dag.AgGrid(
        id="alarms",
        columnDefs=columns,
        rowData=[],
        getRowId="params.data.id",
        defaultColDef={"sortable": False, "suppressMovable": True, "resizable": True},
        dashGridOptions={
            "rowHeight": ALARM_ROW_PX,
            "headerHeight": 34,
            "animateRows": False,
            "rowSelection": {"mode": "singleRow", "checkboxes": False, "enableClickSelection": True},
            "theme": {"function": _GRID_THEME},
            "localeText": {"noRowsToShow": text["alarms_empty"], "loadingOoo": text["alarms_loading"]},
            "rowClassRules": {"returned": "!params.data.active", "gone": "params.data.gone"},
        },
        dangerously_allow_code=False,
        style={"height": "100%", "width": "100%"},
    )
    return html.Section(
        [
            html.Div(
                [html.H2(text["alarms"]), html.Span("", id="alarms-waiting", className="waiting")], className="head"
            ),
            html.Div(grid, id="alarm-list", className="alarm-list"),
        ],
        className="pane alarms",
        **_labelled(text["alarms"]),
    )


def _trend(text: Mapping[str, str]) -> Component:
    spans = [{"value": span, "label": text[f"span_{span}"]} for span in SPANS]
    return html.Section(
        [
            html.Div(
                [
                    html.H2(text["trend"]),
                    html.Span("", id="trend-title", className="trend-title"),
                    html.Div(
                        dmc.SegmentedControl(id="trend-point", data=[], value="", size="xs"),
                        id="trend-points",
                        hidden=True,
                    ),
                    html.Div(className="spring"),
                    dmc.SegmentedControl(id="trend-span", data=spans, value="6h", size="xs"),
                ],
                className="head",
            ),
            html.Div(
                [
                    html.Div(text["trend_empty"], id="trend-empty", className="quiet"),
                    dcc.Graph(
                        id="trend", config={"displayModeBar": False, "responsive": True}, style={"display": "none"}
                    ),
                ],
                className="trend-body",
            ),
        ],
        className="pane trend",
        **_labelled(text["trend"]),
    )


def _acknowledge_dialog(text: Mapping[str, str]) -> Component:
    return dmc.Modal(
        id="acknowledge",
        title=text["acknowledge_title"],
        centered=True,
        **_DIALOG,
        children=[
            html.P("", id="acknowledge-what", className="acknowledge-what"),
            dmc.TextInput(
                id="acknowledge-by",
                label=text["your_name"],
                required=True,
                persistence=True,
                **_FOCUSED,
            ),
            dmc.Textarea(id="acknowledge-comment", label=text["comment"], autosize=True, minRows=2),
            html.Div("", id="acknowledge-trouble", className="trouble", role="alert"),
            dmc.Group(
                [
                    dmc.Button(text["cancel"], id="acknowledge-cancel", variant="default"),
                    dmc.Button(text["acknowledge"], id="acknowledge-send"),
                ],
                justify="flex-end",
                mt="md",
            ),
        ],
    )
