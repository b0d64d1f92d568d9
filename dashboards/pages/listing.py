"""What an answer is listed with: figures, headed lists that fold when they are long, rows that fly to their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dash import html
from dash.development.base_component import Component

FOLDED_AFTER = 8
"""Rows shown before the rest is folded away."""


@dataclass(frozen=True, slots=True)
class Row:
    """One asset of an answer: its sign as on the map and what stands in it, its name, its place (lon, lat), a note."""

    asset: str
    name: str
    place: tuple[float, float] | None
    sign: str
    mark: str = ""
    note: str = ""
    long: bool = False
    """Whether the note stands below the name, over the whole width."""
    button: Component | None = None


def figures(known: Sequence[tuple[str, str]]) -> Component:
    """Return figures side by side: what they are called, what they are."""
    return html.Dl([html.Div([html.Dt(label), html.Dd(value)]) for label, value in known], className="figures-row")


def listing(title: str, rows: Sequence[Row], text: Mapping[str, str], *, role: str) -> list[Component]:
    """Return a headed list; nothing where there are no rows. `role` names it for tests and styles."""
    if not rows:
        return []
    shown, folded = rows[:FOLDED_AFTER], rows[FOLDED_AFTER:]
    parts: list[Component] = [
        html.H3(title),
        html.Ol([_item(row, text, role) for row in shown], className=f"rows {role}"),
    ]
    if folded:
        more = html.Ol([_item(row, text, role) for row in folded], className=f"rows {role}")
        parts.append(html.Details([html.Summary(text["and_more"].format(n=len(folded))), more]))
    return parts


def _item(row: Row, text: Mapping[str, str], role: str) -> Component:
    silent: dict[str, Any] = {"aria-hidden": "true"}
    named: dict[str, Any] = {"data-asset": row.asset}
    parts: list[Component] = [html.Span(row.mark, className=f"sign {row.sign}", **silent)]
    if row.place is None:
        parts.append(html.Span(row.name, className="name"))
    else:
        name = {"type": "show", "at": f"{row.place[0]},{row.place[1]}", "asset": f"{role} {row.asset}"}
        parts.append(
            html.Button(row.name, id=name, type="button", className="name", title=text["fly_to"].format(name=row.name))
        )
    parts.append(html.Span(row.note, className="note"))
    if row.button is not None:
        parts.append(row.button)
    return html.Li(parts, className="long" if row.long else "", **named)


def metres(length_m: float) -> str:
    """Return a length as a person reads it.

    >>> metres(384.6), metres(12_345)
    ('385 m', '12.3 km')
    """
    return f"{length_m:.0f} m" if length_m < 1000 else f"{length_m / 1000:.1f} km"
