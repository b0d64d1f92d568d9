"""What happens on the operations page: live values go in by the browser, questions come to the server."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import dash_mantine_components as dmc
from dash import Dash, Input, Output, State, dcc, html
from dash.development.base_component import Component

from dashboards.pages import acknowledging, asking, card, trend
from dashboards.pages.operations import layout
from dashboards.pages.sources import Sources, in_browser
from dashboards.words import language_of


def shell() -> Component:
    """Return what stands before the address is known: the page itself depends on its language."""
    return dmc.MantineProvider([dcc.Location(id="address"), html.Div(id="page")], id="mantine", forceColorScheme="dark")


def register(app: Dash, sources: Sources) -> None:
    """Attach the page's callbacks to `app`."""
    _address(app, sources)
    _live(app)
    _choosing(app)
    card.register(app, sources)
    asking.register(app, sources)
    trend.register(app, sources)
    acknowledging.register(app, sources)


def _address(app: Dash, sources: Sources) -> None:
    @app.callback(Output("page", "children"), Input("address", "search"))
    def page(search: str | None) -> Any:
        wanted = parse_qs((search or "").lstrip("?")).get("lang", [None])[0]
        return layout(language_of(wanted, sources.language), sources.title, sources.zone)


def _live(app: Dash) -> None:
    counts = ["1", "2", "3", "4", "unacknowledged", "offline", "devices", "rate", "stored", "spool"]
    counts += ["quarantined", "ledger", "districts", "layers"]
    figure_outputs = [
        output
        for name in ("water", "gas", "drainage")
        for output in (Output(f"figure-{name}", "children"), Output(f"spark-{name}", "values"))
    ]
    in_browser(
        app,
        "counters",
        [*(Output(f"count-{name}", "children") for name in counts), *figure_outputs],
        Input("live", "status"),
        State("words", "data"),
    )
    in_browser(
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
    in_browser(
        app,
        "alarms",
        [Output("alarms", "rowData"), Output("alarms-waiting", "children")],
        Input("live", "alarms"),
        State("live", "status"),
        State("words", "data"),
        State("language", "data"),
        State("zone", "data"),
    )
    in_browser(
        app,
        "columns",
        [Output("alarms", "columnDefs")],
        Input("words", "data"),
        State("alarms", "columnDefs"),
        first=True,
    )
    in_browser(
        app,
        "look",
        [Output("mantine", "forceColorScheme"), Output("map", "theme"), Output("map", "xray")],
        Input("theme", "value"),
        Input("xray", "checked"),
        first=True,
    )


def _choosing(app: Dash) -> None:
    in_browser(
        app,
        "choose",
        [Output("selection", "data"), Output("map", "flyTo"), Output("map", "chosenDevice")],
        Input("map", "chosen"),
        Input("alarms", "cellClicked"),
        Input("whole-city", "n_clicks"),
        State("alarms", "rowData"),
        State("selection", "data"),
        State("question", "data"),
    )
