"""An answer in the card: its figures, and its lists in the order in which a crew works through them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dash import html
from dash.development.base_component import Component

from dashboards.answers import Answered
from dashboards.marks import PRIME, candidate_asset, next_ring_of
from dashboards.pages.listing import Row, figures, listing, metres
from twin.effects.adjacency import Candidate, GasReach
from twin.effects.cascade import Cascade, Undermined
from twin.effects.impact import Impact
from twin.effects.surroundings import Affected
from twin.errors import ChengmaiError
from twin.network.closure import Valve
from twin.network.graph import GRAVITY
from twin.trace import Question

Text = Mapping[str, str]


def refused(kind: Question, error: ChengmaiError, text: Text) -> list[Component]:
    """Return what the card says where there is no answer: one line with its code."""
    return [_framed(kind, [html.P(f"{text['answer_refused']}{error}", className="refused", role="alert")], text)]


def view(found: Answered, stuck: Sequence[str], text: Text) -> list[Component]:
    """Return an answer as the card lists it; `stuck` are the valves that somebody said do not move."""
    answer = found.answer
    match answer.detail:
        case Impact():
            shown = _impact(found, answer.detail, stuck, text)
        case GasReach():
            shown = _gas(found, answer.detail, text)
        case Cascade():
            shown = _hole(found, answer.detail, text)
        case _:
            shown = _trace(found, text)
    drained = isinstance(answer.detail, Impact) and answer.detail.system in GRAVITY
    return [_framed(answer.question, [*shown, _rests(found, text)], text, drained=drained)]


def word(kind: Question, *, drained: bool = False) -> str:
    """Return the key of what a question is called; of a drain nothing is isolated."""
    return "ask_drains" if drained and kind is Question.IMPACT else f"ask_{kind.value}"


def _framed(kind: Question, shown: Sequence[Component], text: Text, *, drained: bool = False) -> Component:
    clear = html.Button(f"× {text['answer_clear']}", id={"type": "clear", "answer": kind.value}, type="button")
    head = html.Div([html.H3(text[word(kind, drained=drained)]), clear], className="answer-head")
    named: dict[str, Any] = {"data-kind": kind.value}
    return html.Section([head, *shown], className="answer", **named)


def _rests(found: Answered, text: Text) -> Component:
    """Say how much of the answer rests on connections that no file states."""
    rests = found.answer.rests_on
    doubtful = rests.inferred + rests.repaired
    share = f"{max(rests.share, 0.01):.0%}"
    said = text["rests_on"].format(share=share, inferred=rests.inferred, repaired=rests.repaired)
    return html.P(said if doubtful else text["rests_stated"], className="rests")


# --- what is closed, and what is then without supply ------------------------------------------------------------------


def _impact(found: Answered, impact: Impact, stuck: Sequence[str], text: Text) -> list[Component]:
    drained = impact.system in GRAVITY
    shown: list[Component] = [_impact_figures(impact, text)]
    if not drained:
        shown += _valves(found, impact, stuck, text)
    told = {each.building for each in impact.sensitive}
    shown += _buildings(found, text["sensitive"], impact.sensitive, text, role="sensitive")
    rest = [each for each in impact.buildings if each.building not in told]
    title = text["drained_buildings" if drained else "affected_buildings"]
    shown += _buildings(found, title, rest, text, role="building")
    shown += listing(text["hydrants_lost"], _rows(found, impact.hydrants, "hydrant"), text, role="hydrant")
    shown += listing(text["regulators_lost"], _rows(found, impact.regulators, "hydrant"), text, role="regulator")
    shown += listing(text["outfalls"], _rows(found, impact.outfalls, "manhole"), text, role="outfall")
    return shown


def _impact_figures(impact: Impact, text: Text) -> Component:
    people = "–" if impact.people is None else f"{impact.people:,}{'+' if impact.unknown_people else ''}"
    known = [(text["figure_people"], people), (text["figure_buildings"], f"{len(impact.buildings)}")]
    if impact.unsupplied_links:
        known.append((text["figure_unsupplied"], metres(impact.unsupplied_m)))
    if impact.hydrants:
        known.append((text["figure_hydrants"], f"{len(impact.hydrants)}"))
    if impact.storeys:
        known.append((text["figure_storeys"], f"{len(impact.storeys)}"))
    if impact.spaces:
        known.append((text["figure_spaces"], f"{len(impact.spaces)}"))
    return figures(known)


def _valves(found: Answered, impact: Impact, stuck: Sequence[str], text: Text) -> list[Component]:
    """Return the valves in their order, each with what to close in its place, and what is in the way."""
    ring = next_ring_of(impact)
    rows = [_valve(found, valve, f"{rank}", text) for rank, valve in enumerate(impact.valves, 1)]
    shown: list[Component] = []
    if impact.sources:
        names = text["comma"].join(found.ground.name(asset) for asset in impact.sources)
        shown.append(html.P(text["sources_inside"].format(names=names), className="refused", role="alert"))
    if not impact.was_supplied:
        shown.append(html.P(text["not_supplied"], className="refused"))
    shown += listing(text["valves_to_close"], rows, text, role="valve") or [
        html.P(text["no_valves"], className="refused", role="alert")
    ]
    given_up = [
        Row(asset, found.ground.name(asset), found.place(asset), "stuck-valve", button=_stuck(asset, "", text, on=True))
        for asset in stuck
    ]
    shown += listing(text["stuck_valves"], given_up, text, role="stuck-valves")
    behind = [
        Row(valve.asset, found.ground.name(valve.asset), found.place(valve.asset), "next_valve", f"{rank}{PRIME}")
        for rank, valve in ring
    ]
    shown += listing(text["next_ring"], behind, text, role="next_valve")
    kept = [valve.asset for valve in impact.keep_shut]
    return shown + listing(text["keep_shut"], _rows(found, kept, "next_valve"), text, role="keep_shut")


def _valve(found: Answered, valve: Valve, sign: str, text: Text) -> Row:
    name = found.ground.name(valve.asset)
    button = _stuck(valve.asset, name, text, on=False)
    return Row(valve.asset, name, found.place(valve.asset), "valve", sign, button=button)


def _stuck(asset: str, name: str, text: Text, *, on: bool) -> Component:
    hint = text["stuck_hint"].format(name=name) if name else text["stuck"]
    said: dict[str, Any] = {"aria-pressed": str(on).lower()}
    return html.Button(
        text["stuck"], id={"type": "stuck", "valve": asset}, type="button", className="stuck", title=hint, **said
    )


def _buildings(found: Answered, title: str, buildings: Iterable[Affected], text: Text, *, role: str) -> list[Component]:
    """List buildings, those with most people first."""
    ordered = sorted(buildings, key=lambda each: (-(each.people or 0), each.name))
    rows = [
        Row(each.building, each.name, found.place(each.building), "building", note=_people(each, text))
        for each in ordered
    ]
    return listing(title, rows, text, role=role)


def _people(each: Affected, text: Text) -> str:
    if each.people is None:
        return text["people_unknown"]
    return f"{each.people:,} {text['people']}"


# --- where gas comes from and where it goes ---------------------------------------------------------------------------


def _gas(found: Answered, reach: GasReach, text: Text) -> list[Component]:
    people = "–" if reach.people is None else f"{reach.people:,}"
    known = [
        (text["figure_people"], people),
        (text["figure_buildings"], f"{len(reach.buildings)}"),
        (text["figure_manholes"], f"{len(reach.reach_manholes)}"),
        (text["figure_reach"], metres(found.answer.length_m or 0.0)),
    ]
    rows = [_candidate(found, reach, rank, each, text) for rank, each in enumerate(reach.candidates, 1)]
    shown: list[Component] = [figures(known)]
    shown += listing(text["drains_near" if reach.from_gas else "candidates"], rows, text, role="candidate") or [
        html.P(text["no_candidates"].format(m=f"{reach.search_m:g}"), className="refused")
    ]
    told = {each.building for each in reach.sensitive}
    first = [each for each in reach.buildings if each.building in told]
    rest = [each for each in reach.buildings if each.building not in told]
    shown += _buildings(found, text["sensitive"], first, text, role="sensitive")
    manholes = sorted(reach.reach_manholes, key=lambda asset: reach.along_m[asset])
    reached = [
        Row(asset, found.ground.name(asset), found.place(asset), "manhole", note=f"{reach.along_m[asset]:.0f} m")
        for asset in manholes
    ]
    shown += listing(text["manholes_reached"], reached, text, role="manhole")
    shown += _buildings(found, text["reached_buildings"], rest, text, role="building")
    return shown if reach.verified else [*shown, html.P(text["unverified"], className="rests")]


def _candidate(found: Answered, reach: GasReach, rank: int, each: Candidate, text: Text) -> Row:
    asset = candidate_asset(reach, each)
    lies = f"{text[f'relation_{each.relation}']} · {text['gap'].format(m=f'{each.gap_m:.1f}')}"
    along = text["distance_along"].format(m=f"{each.along_m:.0f}")
    why = [said for code in each.why if (said := _why(code, text))]
    note = " · ".join([lies, along, *why])
    return Row(asset, found.ground.name(asset), found.place(asset), "candidate", f"{rank}", note=note, long=True)


def _why(code: str, text: Text) -> str:
    """Return one reason of a candidate's rank in words; the relation stands before them already."""
    kind, _, value = code.partition(":")
    match kind:
        case "relation":
            return ""
        case "material":
            return value
        case "pressure":
            return text.get(f"grade_{value}", value)
        case _:
            return text.get(f"why_{kind.replace(' ', '_')}", kind).format(value=value)


# --- what a burst may undermine ---------------------------------------------------------------------------------------


def _hole(found: Answered, cascade: Cascade, text: Text) -> list[Component]:
    shown: list[Component] = [
        figures(
            [
                (text["figure_radius"], f"{cascade.radius_m:.1f} m"),
                (text["figure_pipes"], f"{len(cascade.links)}"),
                (text["figure_buildings"], f"{len(cascade.buildings)}"),
            ]
        )
    ]
    rows = [_undermined(found, rank, each, text) for rank, each in enumerate(cascade.links, 1)]
    shown += listing(text["washed_pipes"], rows, text, role="washed")
    shown += listing(
        text["washed_buildings"],
        [
            Row(each.building, each.name, found.place(each.building), "building", note=f"{each.plan_m:.1f} m")
            for each in cascade.buildings
        ],
        text,
        role="building",
    )
    if not rows and not cascade.buildings:
        shown.append(html.P(text["answer_nothing"], className="refused"))
    if cascade.assumed:
        assumed = text["comma"].join(text[f"assumed_{name}"] for name in cascade.assumed)
        shown.append(html.P(text["assumed"].format(what=assumed), className="rests"))
    return shown if cascade.verified else [*shown, html.P(text["unverified"], className="rests")]


def _undermined(found: Answered, rank: int, each: Undermined, text: Text) -> Row:
    said = [text[f"value_{each.system.value}"], text["gap_plan"].format(m=f"{each.plan_m:.1f}")]
    if each.crosses:
        said[1] = text["relation_crosses"]
    if each.rise_m is not None:
        said.append(text["over" if each.rise_m >= 0 else "under"].format(m=f"{abs(each.rise_m):.1f}"))
    note = " · ".join(said)
    return Row(
        each.link, found.ground.name(each.link), found.place(each.link), "candidate", f"{rank}", note=note, long=True
    )


# --- traces -----------------------------------------------------------------------------------------------------------


def _trace(found: Answered, text: Text) -> list[Component]:
    answer = found.answer
    if not answer.links:
        return [html.P(text["answer_nothing"], className="refused")]
    known = [(text["figure_pipes"], f"{len(answer.links):,}"), (text["figure_nodes"], f"{len(answer.nodes):,}")]
    if answer.length_m is not None:
        known.insert(0, (text["figure_length"], metres(answer.length_m)))
    return [figures(known)]


def _rows(found: Answered, assets: Iterable[str], sign: str) -> list[Row]:
    return [Row(asset, found.ground.name(asset), found.place(asset), sign) for asset in assets]
