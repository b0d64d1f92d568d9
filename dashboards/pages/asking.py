"""Asking what an event touches: the card's actions, and the callbacks that draw the answer and list it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from dash import ALL, Dash, Input, Output, State, html
from dash.development.base_component import Component

from dashboards.pages import answer
from dashboards.pages.sources import Sources, in_browser
from dashboards.words import Language, words
from sensors.device import Device
from twin.asset import Asset, Building, Element, Link, Node, Space, Storey, System
from twin.effects.service import SERVING
from twin.errors import ChengmaiError
from twin.trace import Question

_KINDS: Mapping[System, Sequence[Question]] = {
    System.WATER: (Question.IMPACT, Question.CASCADE),
    System.GAS: (Question.IMPACT, Question.ADJACENCY),
    System.DRAINAGE: (Question.ADJACENCY, Question.IMPACT, Question.DOWNSTREAM, Question.UPSTREAM),
    System.HEAT: (Question.IMPACT,),
}
"""What is asked of an asset of each system, the most urgent first."""


def actions(asset: Asset, device: Device | None, text: Mapping[str, str]) -> list[Component]:
    """Return the buttons of what may be asked of an asset: the most urgent first for what `device` measures."""
    match asset:
        case Node() | Link():
            kinds = _KINDS.get(asset.system, ())
            if asset.system is System.DRAINAGE and (device is None or device.system is not System.GAS):
                kinds = (*kinds[1:], kinds[0])  # water that does not drain is the first question, gas the last
            asked = [_action(kind, asset.id, drained=asset.system is System.DRAINAGE, text=text) for kind in kinds]
            is_seen_afar = asset.system is System.WATER and device is not None  # a burst moves every gauge of its zone
            return [*asked, html.P(text["meter_elsewhere"], className="hint")] if is_seen_afar else asked
        case Building() | Storey() | Space() | Element():
            system = device.system if device is not None and device.system in SERVING else None
            return [_action(Question.IMPACT, asset.id, text=text, system=system)]
        case _:
            return []


def _action(
    kind: Question, asset: str, *, text: Mapping[str, str], drained: bool = False, system: System | None = None
) -> Component:
    name = {"type": "ask", "kind": kind.value, "asset": asset, "system": system.value if system else ""}
    return html.Button(text[answer.word(kind, drained=drained)], id=name, type="button")


def register(app: Dash, sources: Sources) -> None:
    """Attach the question's callbacks to `app`."""
    in_browser(
        app,
        "ask",
        [Output("question", "data")],
        Input({"type": "ask", "kind": ALL, "asset": ALL, "system": ALL}, "n_clicks"),
        Input({"type": "stuck", "valve": ALL}, "n_clicks"),
        Input({"type": "clear", "answer": ALL}, "n_clicks"),
        Input("selection", "data"),
        Input("card-close", "n_clicks"),
        State("question", "data"),
    )
    in_browser(
        app,
        "show",
        [Output("map", "flyTo", allow_duplicate=True)],
        Input({"type": "show", "at": ALL, "asset": ALL}, "n_clicks"),
    )

    @app.callback(
        Output("card-answer", "children"),
        Output("map", "answer"),
        Input("question", "data"),
        State("language", "data"),
        prevent_initial_call=True,
    )
    async def answered(question: dict[str, Any] | None, language: Language) -> Any:
        if not question:
            return [], None
        return await asyncio.to_thread(_answered, sources, question, words(language))


def _answered(sources: Sources, question: dict[str, Any], text: Mapping[str, str]) -> tuple[list[Component], Any]:
    kind, stuck = Question(question["kind"]), [str(valve) for valve in question["stuck"]]
    system = System(question["system"]) if question["system"] else None
    try:
        found = sources.answers.ask(question["asset"], kind, stuck=stuck, system=system)
    except ChengmaiError as error:
        return answer.refused(kind, error, text), None
    return answer.view(found, stuck, text), {"features": found.features, "bounds": found.bounds}
