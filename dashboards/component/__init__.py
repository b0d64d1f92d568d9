"""Dash components of the operations view, written by hand: the city map, the live feed and sparklines.

Their JavaScript lives in ``src`` and is bundled by ``npm run build`` into ``dist``, which is committed and shipped, so
that running needs neither node nor a network.
"""

# ruff: noqa: RUF012 - Dash's own base class declares these lists as it does; nobody changes them

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dash.development.base_component import Component, ComponentRegistry

__version__ = "0.1.0"  # Dash puts it into the addresses of the scripts


def _resource(path: str, *, on_demand: bool = False) -> dict[str, Any]:
    return {"relative_package_path": f"dist/{path}", "namespace": __name__, "dynamic": on_demand}


_js_dist = [
    _resource("chengmai.js"),
    _resource("maplibre-worker.js", on_demand=True),
    _resource("models.js", on_demand=True),
]
_css_dist = [_resource("maplibre-gl.css")]

# Dash looks for the scripts in a component's top-level package, which here is all of `dashboards`.
ComponentRegistry.registry.add(__name__)


class CityMap(Component):
    """The map of the city: buildings, networks, sensors by state.

    `url` answers the map's description, `words` are its texts. `look`: `theme` night or day, `xray` (buildings
    transparent), `stale` (no sensor is drawn as normal). `chosenDevice` is ringed; `flyTo` is
    ``{"lngLat", "zoom"}`` or ``{"all": True}``. `answer` (``{"features", "bounds"}``, GeoJSON whose features have a
    `role`) is drawn on top and flown to; flights stay clear of what `keepClear` (a CSS selector) finds. Tells `chosen`
    (``{"device"}`` or ``{"asset"}``, None for the bare ground) and `phase` (loading, ready, empty, error).
    """

    _namespace = "chengmai"
    _type = "CityMap"
    _children_props: list[str] = []
    _base_nodes: list[str] = ["children"]
    _prop_names: list[str] = [
        "id",
        "url",
        "theme",
        "xray",
        "stale",
        "chosenDevice",
        "flyTo",
        "answer",
        "keepClear",
        "words",
        "chosen",
        "phase",
    ]
    _valid_wildcard_attributes: list[str] = []
    available_properties = _prop_names
    available_wildcard_properties: list[str] = []

    def __init__(
        self,
        id: str,  # noqa: A002 - Dash's own name
        url: str,
        words: Mapping[str, Any],
        *,
        theme: str = "night",
        keepClear: str = "",  # noqa: N803 - the browser's name
    ) -> None:
        super().__init__(id=id, url=url, words=words, theme=theme, keepClear=keepClear)


class LiveFeed(Component):
    """The page's connection to `url`; shows nothing.

    `holds` is a CSS selector: while the pointer or the focus is in it, no alarm moves. Tells `status` (the last frame
    without its alarms), `alarms` (``{"rows", "waiting", "held"}``) and `connection` (``{"state", "seconds"}``).
    """

    _namespace = "chengmai"
    _type = "LiveFeed"
    _children_props: list[str] = []
    _base_nodes: list[str] = ["children"]
    _prop_names: list[str] = ["id", "url", "holds", "status", "alarms", "connection"]
    _valid_wildcard_attributes: list[str] = []
    available_properties = _prop_names
    available_wildcard_properties: list[str] = []

    def __init__(self, id: str, url: str, holds: str) -> None:  # noqa: A002 - Dash's own name
        super().__init__(id=id, url=url, holds=holds)


class Sparkline(Component):
    """A figure's recent past as a small grey line; `values` are equally spaced, None is a gap."""

    _namespace = "chengmai"
    _type = "Sparkline"
    _children_props: list[str] = []
    _base_nodes: list[str] = ["children"]
    _prop_names: list[str] = ["id", "values", "label"]
    _valid_wildcard_attributes: list[str] = []
    available_properties = _prop_names
    available_wildcard_properties: list[str] = []

    def __init__(self, id: str, label: str, values: Sequence[float | None] = ()) -> None:  # noqa: A002 - Dash's own name
        super().__init__(id=id, label=label, values=list(values))


__all__ = ["CityMap", "LiveFeed", "Sparkline"]
