"""Acknowledging an alarm: who, why, and which version of it was on the screen."""

from __future__ import annotations

import asyncio
from typing import Any
from zoneinfo import ZoneInfo

from dash import Dash, Input, Output, State, no_update
from dash.exceptions import PreventUpdate

from dashboards.pages.sources import Sources, in_browser
from dashboards.words import Language, words
from twin.errors import ChengmaiError, StaleError, UnknownError


def register(app: Dash, sources: Sources) -> None:
    """Attach the dialog's callbacks to `app`."""
    in_browser(
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
    async def send(_: int, wish: dict[str, Any] | None, by: str | None, comment: str | None, language: Language) -> Any:
        if not wish:
            raise PreventUpdate
        name = (by or "").strip()
        if not name:
            return no_update, "", words(language)["name_needed"]
        trouble = await asyncio.to_thread(_acknowledge, sources, wish, name, (comment or "").strip(), language)
        return (no_update if trouble else False), trouble, None


def _acknowledge(sources: Sources, wish: dict[str, Any], by: str, comment: str, language: Language) -> str:
    """Acknowledge, and return why that was not possible; empty if it was."""
    try:
        sources.alarms.acknowledge(int(wish["id"]), by=by, comment=comment, version=int(wish["version"]))
    except ChengmaiError as error:
        return _why_not(sources, error, wish, language)
    return ""


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
