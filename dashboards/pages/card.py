"""The card on the map: what is known of the chosen device, and of the asset that it stands on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from dash import Dash, Input, Output, State, ctx, html, no_update
from dash.development.base_component import Component

from dashboards.city_view import facts, properties
from dashboards.pages import evidence
from dashboards.pages.asking import actions
from dashboards.pages.sources import Sources
from dashboards.words import Language, words
from sensors.device import Device
from twin.errors import ChengmaiError

_WORDED = {"system", "kind", "service", "status", "usage"}
"""Fields whose values are words of ours, too."""

_REFERENCES = {"building", "storey"}
"""Fields that hold the id of another asset whose name says more."""


def register(app: Dash, sources: Sources) -> None:
    """Attach the card's callback to `app`."""

    @app.callback(
        Output("card", "hidden"),
        Output("card-title", "children"),
        Output("card-text", "children"),
        Output("card-actions", "children"),
        Output("card-facts", "children"),
        Input("selection", "data"),
        Input("card-close", "n_clicks"),
        State("language", "data"),
        prevent_initial_call=True,
    )
    async def card(selection: dict[str, Any] | None, _: int | None, language: Language) -> Any:
        if ctx.triggered_id == "card-close" or not selection:
            return True, *(no_update,) * 4
        return await asyncio.to_thread(_card, sources, selection, language)


def _card(sources: Sources, selection: dict[str, Any], language: Language) -> tuple[Any, ...]:
    """Return the card: the alarm and its evidence, what may be asked, the device, its asset, and what its file says."""
    text = words(language)
    device = sources.device(selection.get("device"))
    asset = selection.get("asset") or (device.asset if device else None)
    title = device.id if device else str(asset or text["ingest"])  # only ingest's own alarms have no place
    alarm = evidence.shown(sources, selection, language, text)
    asked: list[Component] = []
    shown: list[Component] = []
    if device is not None:
        shown.append(_list(_of_device(device), text))
    if asset:
        try:
            found = sources.city.asset(asset)
        except ChengmaiError as error:
            shown.append(_list([("id", f"{asset} ({error.code})")], text))
        else:
            asked = actions(found, device, text)
            known = facts(found)
            if device is None:
                title = str(known.get("name") or asset)
            else:
                shown.append(html.H3(text["stands_on"]))
            shown.append(_list(((name, _named(sources, name, value)) for name, value in known.items()), text))
            if theirs := properties(found):
                shown += [html.H3(text["in_the_file"]), _list(theirs.items(), text)]
    return False, title, alarm, asked, shown or [html.Span(text["nothing_known"])]


def _named(sources: Sources, field: str, value: Any) -> Any:
    """Return the name of the building or storey that a field refers to; other values stay as they are."""
    if field not in _REFERENCES:
        return value
    try:
        return getattr(sources.city.asset(value), "name", "") or value
    except ChengmaiError:
        return value  # its id says where to look, too


def _of_device(device: Device) -> list[tuple[str, str]]:
    interval = f"{device.interval.total_seconds():g} s"
    return [("name", device.name), ("model", device.model), ("interval_s", interval)]


def _list(known: Iterable[tuple[str, Any]], text: Mapping[str, str]) -> Component:
    return html.Dl(
        [
            html.Div([html.Dt(text.get(f"field_{name}", name)), html.Dd(_shown(name, value, text))])
            for name, value in known
            if value not in ("", None)
        ]
    )


def _shown(name: str, value: Any, text: Mapping[str, str]) -> str:
    if isinstance(value, bool):
        return text["yes" if value else "no"]
    if name in _WORDED:
        return text.get(f"value_{value}", str(value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
