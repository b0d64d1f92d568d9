"""What the page's questions are answered from, and how a callback is attached that runs in the browser."""

from __future__ import annotations

from dataclasses import dataclass

from dash import ClientsideFunction, Dash, Input, Output, State

from dashboards.answers import Answers
from dashboards.city_view import CityView
from dashboards.queries import Observer
from dashboards.words import Language
from ingest.store import ReadingStore
from sensors.alarm_log import AlarmLog
from sensors.device import Device
from sensors.limits import Limits


@dataclass(frozen=True, slots=True)
class Sources:
    """What the page's questions are answered from.

    Dash runs callbacks on the event loop, where one that waits for a database would hold up every screen: whatever
    asks one of these is run in a thread.
    """

    alarms: AlarmLog
    store: ReadingStore
    limits: Limits
    city: CityView
    answers: Answers
    observer: Observer
    title: str
    zone: str
    language: Language

    def device(self, name: str | None) -> Device | None:
        """Return a registered device by its name, or None."""
        listed = self.observer.device_list
        position = listed.position.get(name) if name else None
        return None if position is None else listed.devices[position]


def in_browser(app: Dash, function: str, outputs: list[Output], *inputs: Input | State, first: bool = False) -> None:
    """Attach a function of assets/operations.js: it runs in the browser and asks nobody."""
    app.clientside_callback(
        ClientsideFunction("operations", function), outputs, list(inputs), prevent_initial_call=not first
    )
