"""Answers of the networks as a person reads them on a terminal: what to do first, then what it touches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.cells import cell_len

from twin.asset import Basis
from twin.effects.adjacency import Candidate, GasReach
from twin.effects.cascade import Cascade
from twin.effects.impact import Impact
from twin.effects.surroundings import Affected
from twin.network.closure import Closure, NextRing, Valve
from twin.network.graph import GRAVITY
from twin.network.profile import Profile
from twin.trace import Answer, Loss, Question, Ring

SHOWN = 20
"""Rows of a list that are told; --json tells them all."""

_DIRECTIONS = {Basis.STATED: "as the files state it", Basis.INFERRED: "inferred: away from the nearest source"}
_RELATIONS = {"within": "within the clearance", "inside": "lies inside", "parallel": "runs beside"}
_PROPOSED = "  radii, reaches and ranks are a proposal of Chengmai, not checked against the text of a standard"


def told(answer: Answer) -> Iterable[str]:
    """Return the lines that tell an answer; lists are cut after `SHOWN` rows, and say so."""
    yield from _headed(answer)
    match answer.detail:
        case Impact() as impact if impact.system in GRAVITY:
            yield from _drained(impact)
        case Impact() as impact:
            yield from _cut_off(impact)
        case GasReach() as reach:
            yield from _gas(reach, answer.length_m or 0.0)
        case Cascade() as cascade:
            yield from _hole(cascade)
        case Closure() as closure:
            yield from _closure(closure)
        case Loss() as loss:
            yield from _loss(loss)
        case Ring() as ring:
            yield from _ring(ring)
        case Profile() as profile:
            yield from _profile(profile)
        case _:
            yield from _listed("links", answer.links)
    if answer.length_m is None:
        return
    rests = answer.rests_on
    yield (
        f"  rests on {rests.stated} stated, {rests.inferred} inferred, {rests.repaired} repaired links"
        f" ({rests.share:.1%} of it not as stated)"
    )


def _headed(answer: Answer) -> Iterable[str]:
    """Return what was asked of which asset, and how much was found where the answer says nothing more."""
    detail = answer.detail
    if isinstance(detail, (Impact, GasReach, Cascade)):
        stands_on = f", which stands for {detail.network_asset}" if detail.network_asset != answer.asset else ""
        yield f"{answer.asset}  {_ASKED[answer.question]}{stands_on}"
        return
    if answer.length_m is None:
        yield f"{answer.asset}  {answer.question}: there is no way"
        return
    found = f"{len(answer.links)} links, {len(answer.nodes)} nodes, {answer.length_m:,.1f} m"
    yield f"{answer.asset}  {answer.question}: {found}"
    if answer.direction is not None:
        yield f"  direction of flow {_DIRECTIONS[answer.direction]}"


_ASKED = {Question.IMPACT: "impact", Question.ADJACENCY: "gas and drains", Question.CASCADE: "wash-out"}


# --- what is closed, and what is then without supply ------------------------------------------------------------------


def _cut_off(impact: Impact) -> Iterable[str]:
    yield from _closing(impact.valves, impact.keep_shut, impact.next_ring)
    if not impact.valves and not impact.keep_shut:
        yield "  no valve closes it off"
    if impact.sources:
        yield f"  NOT CUT OFF by closing valves: {_ids(impact.sources)} feeds it from inside"
    yield from _listed("does not move", impact.passed)
    if not impact.was_supplied:
        yield "  no source reached it before: only what is cut off is counted"
    lost = [f"{impact.unsupplied_m:,.0f} m of pipe", _people(impact)]
    lost += [f"{len(impact.hydrants)} hydrants"] if impact.hydrants else []
    lost += [f"{len(impact.regulators)} regulators"] if impact.regulators else []
    yield f"  without {impact.system}: {', '.join(lost)}"
    yield from _affected(impact)
    yield from _listed("hydrants", impact.hydrants)
    yield from _listed("regulators", impact.regulators)


def _drained(impact: Impact) -> Iterable[str]:
    outfalls = f" to {_ids(impact.outfalls)}" if impact.outfalls else ", to no outfall"
    yield f"  runs on through {len(impact.downstream_links)} drains{outfalls}"
    yield f"  comes from {len(impact.upstream_links)} drains above, {_people(impact)}"
    yield from _affected(impact)


def _people(answer: Impact | GasReach) -> str:
    """Return how many buildings an answer names, and the people in them as far as files say."""
    silent = sum(each.people is None for each in answer.buildings)
    known = "people unknown" if answer.people is None else f"{answer.people:,} people"
    more = f", unknown in {silent}" if silent and answer.people is not None else ""
    return f"{len(answer.buildings)} buildings" + (f" ({known}{more})" if answer.buildings else "")


def _affected(answer: Impact | GasReach) -> Iterable[str]:
    """Return the buildings of an answer: schools and the like first, then where gas comes first, else most people."""
    ordered = sorted(
        answer.buildings,
        key=lambda each: (each.sensitive is None, each.along_m or 0.0, -(each.people or 0), each.name),
    )
    yield from _table("buildings", [_building(each) for each in ordered])
    if isinstance(answer, Impact) and answer.storeys:
        yield f"  in them {len(answer.storeys)} storeys, {len(answer.spaces)} spaces"


def _building(each: Affected) -> list[str]:
    people = "people unknown" if each.people is None else f"{each.people:,} people"
    along = "" if each.along_m is None else f"{each.along_m:,.0f} m along"
    what = (each.sensitive or "").upper()
    return [what, each.name, people, along, each.building + ("" if each.whole else "  (also served from elsewhere)")]


# --- gas and drains, and what a burst may undermine -------------------------------------------------------------------


def _gas(reach: GasReach, length_m: float) -> Iterable[str]:
    title = "drains that its gas may enter" if reach.from_gas else "where it may come from, the likeliest first"
    rows = [[f"{rank}", *_candidate(reach, each)] for rank, each in enumerate(reach.candidates, 1)]
    yield from _table(title, rows) or [f"  no gas pipe within {reach.search_m:g} m of these drains"]
    yield (
        f"  within {reach.limit_m:g} m along the drains: {length_m:,.0f} m of drain, "
        f"{len(reach.reach_manholes)} manholes, {_people(reach)}"
    )
    manholes = sorted(reach.reach_manholes, key=lambda asset: reach.along_m[asset])
    yield from _table("manholes", [[f"{reach.along_m[asset]:,.0f} m", asset] for asset in manholes])
    yield from _affected(reach)
    yield from _table("it ends before", [[asset, why] for asset, why in reach.stopped.items()])
    if not reach.verified:
        yield _PROPOSED


def _candidate(reach: GasReach, each: Candidate) -> list[str]:
    """Return how a gas pipe lies beside a drain, what else speaks for it, and where."""
    lies = f"{_RELATIONS.get(each.relation, each.relation)}, {each.gap_m:.1f} m apart"
    why = ", ".join(said for code in each.why if (said := _why(code)))
    if reach.from_gas:
        return [each.beside, lies, why]
    return [each.link, each.name, lies, f"{each.along_m:,.0f} m along, by {each.beside}", why]


def _why(code: str) -> str:
    """Return one reason of a rank in words; how it lies is told already."""
    kind, _, value = code.partition(":")
    return {"relation": "", "laid": f"laid {value}", "pressure": f"{value.replace('_', ' ')} pressure"}.get(
        kind, value or kind
    )


def _hole(cascade: Cascade) -> Iterable[str]:
    assumed = f" (assumed: {', '.join(cascade.assumed)})" if cascade.assumed else ""
    yield f"  radius {cascade.radius_m:.1f} m{assumed}: {len(cascade.links)} pipes, {len(cascade.buildings)} buildings"
    rows: list[list[str]] = []
    for rank, each in enumerate(cascade.links, 1):
        lies = "crosses" if each.crosses else f"{each.plan_m:.1f} m away in plan"
        if each.rise_m is not None:
            lies += f", {abs(each.rise_m):.1f} m {'above' if each.rise_m >= 0 else 'below'}"
        rows.append([f"{rank}", each.system.value, each.link, each.name, lies])
    yield from _table("pipes, the first to look at first", rows)
    buildings = [
        [
            (each.sensitive or "").upper(),
            each.name,
            "people unknown" if each.people is None else f"{each.people:,} people",
            f"{each.plan_m:.1f} m away",
            each.building,
        ]
        for each in cascade.buildings
    ]
    yield from _table("buildings", buildings)
    if not cascade.verified:
        yield _PROPOSED


# --- the networks alone -----------------------------------------------------------------------------------------------


def _closure(closure: Closure) -> Iterable[str]:
    yield from _closing(closure.close, closure.shut, closure.next_rings)
    yield from _listed("does not move", closure.passed)
    yield from _listed("still fed by", closure.sources)
    yield from _listed("stations inside", closure.stations)


def _closing(close: Sequence[Valve], shut: Sequence[Valve], rings: Sequence[NextRing]) -> Iterable[str]:
    """Return the valves in their order, and what to close besides where one sticks."""
    besides: dict[str, str] = {}
    for ring in rings:
        fed = f" (and {_ids(ring.sources)} feeds it)" if ring.sources else ""
        besides[ring.sticks] = _ids(valve.asset for valve in ring.close) + fed
    width = max((cell_len(_valve(each)) for each in close), default=0)
    for number, each in enumerate(close, 1):
        yield f"  close {number}  {_valve(each):<{width}}   if it sticks: {besides.get(each.asset) or 'nothing else'}"
    for each in shut:
        yield f"  keep shut  {_valve(each)}"


def _valve(valve: Valve) -> str:
    name = "" if valve.asset.endswith(valve.name) else valve.name
    at = "" if valve.easting is None else f"{valve.easting:.1f} {valve.northing:.1f}"
    return "  ".join(word for word in (valve.asset, name, at) if word)


def _loss(loss: Loss) -> Iterable[str]:
    if not loss.was_supplied:
        yield "  no source reached it before: nothing can be said"
    yield from _listed("hydrants", loss.hydrants)
    yield from _listed("customers", loss.customers)


def _ring(ring: Ring) -> Iterable[str]:
    if ring.shortest_m is None:
        yield "  it lies on no loop"
        return
    yield f"  {ring.independent} independent loops hang together; the shortest through it is {ring.shortest_m:,.1f} m"
    yield from _listed("shortest", ring.shortest)


def _profile(profile: Profile) -> Iterable[str]:
    yield "  chainage_m    ground_m    invert_m  node"
    for station in profile.stations:
        levels = "".join(f"{_number(level):>12}" for level in (station.ground_m, station.invert_m))
        yield f"  {station.chainage_m:>10.2f}{levels}  {station.node}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


# --- lists ------------------------------------------------------------------------------------------------------------


def _ids(assets: Iterable[str]) -> str:
    return ", ".join(assets)


def _listed(name: str, assets: Sequence[str]) -> Iterable[str]:
    if assets:
        yield f"  {name} ({len(assets)}): {_ids(assets[:SHOWN])}{_rest(len(assets))}"


def _table(title: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a headed table whose columns stand under each other, Chinese names, too; nothing where it has no rows."""
    if not rows:
        return []
    shown = rows[:SHOWN]
    widths = [max(cell_len(cell) for cell in column) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True) if width)
        for row in shown
    ]
    more = [f"    {_rest(len(rows))[2:]}"] if len(rows) > SHOWN else []
    return [f"  {title} ({len(rows)}):", *(f"    {line.rstrip()}" for line in lines), *more]


def _rest(count: int) -> str:
    return f", … {count - SHOWN} more (--json lists all)" if count > SHOWN else ""
