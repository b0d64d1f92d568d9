"""`chengmai trace` and `chengmai valve`: questions to the networks, and how the valves stand now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.settings import Settings, clock_of, settings_of
from twin.errors import InputError
from twin.network import ValveState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from twin.city import City
    from twin.trace import Answer, Closure, Loss, Profile, Ring, Valve

_CITY = typer.Option("--city", help="City database (GeoPackage); else the setting city.file.", show_default=False)
_KINDS = "connected, upstream, downstream, path, loops, profile, isolation, unsupplied, impact, adjacency, cascade"
_SHOWN = 20


def trace(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    asset: Annotated[str, typer.Argument(help="Asset such as water.inp:link:P-101, or a device that stands on one.")],
    kind: Annotated[str, typer.Option(help=f"What to ask: {_KINDS}.")],
    to: Annotated[
        str | None, typer.Option(help="Where a path or profile ends; else at the outfall, or the source.")
    ] = None,
    stuck: Annotated[list[str] | None, typer.Option(help="Valve that does not move; may be given again.")] = None,
    radius: Annotated[
        float | None, typer.Option(min=0, help="Wash-out radius of a burst, metres (cascade).", show_default=False)
    ] = None,
    city: Annotated[Path | None, _CITY] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Ask the networks about an asset: what is connected, upstream, to be closed, without supply then, and so on."""
    import msgspec

    from twin.city import City
    from twin.trace import Question, Tracer

    try:
        question = Question(kind)
    except ValueError:
        raise InputError(f"no question {kind[:40]!r}", where="kind", expected=_KINDS) from None
    if radius is not None and question is not Question.CASCADE:
        raise InputError(f"{question} has no radius", where="radius", expected="cascade with it")
    settings = settings_of(ctx)
    more = {} if radius is None else {"radius_m": radius}
    with City.open(city or settings.resolve(settings.city.file)) as opened:
        stands_on = _asset_of(settings, asset)
        answer = Tracer(opened).ask(stands_on, question, to=to, stuck=tuple(stuck or ()), **more)
    if as_json:
        typer.echo(msgspec.json.encode(answer))
        return
    for line in _told(answer):
        typer.echo(line)


def valve(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    asset: Annotated[str | None, typer.Argument(help="Valve; without one, all that were operated are listed.")] = None,
    state: Annotated[ValveState | None, typer.Option(help="How it stands now.", show_default=False)] = None,
    by: Annotated[str, typer.Option(help="Who operated it, or reports it.", show_default=False)] = "",
    note: Annotated[str, typer.Option(help="Permit, reason, turns: whatever should be kept with it.")] = "",
    city: Annotated[Path | None, _CITY] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Record how a valve stands now, for every trace from now on; without --state, list what was recorded."""
    import msgspec

    from twin.city import City

    settings = settings_of(ctx)
    with City.open(city or settings.resolve(settings.city.file)) as opened:
        if state is not None:
            if not asset or not by:
                raise InputError(
                    "a valve was operated by nobody", where="valve", expected="ASSET --state STATE --by NAME"
                )
            _refuse_what_never_shuts(opened, asset)
            opened.operate(asset, state, at=clock_of(settings).now(), by=by, note=note)
        rows = _operations(opened, asset)
    if as_json:
        typer.echo(msgspec.json.encode(rows))
        return
    for row in rows:
        typer.echo("  ".join(word for word in (row["asset"], row["state"], row["at"], row["by"], row["note"]) if word))


def _refuse_what_never_shuts(city: City, asset: str) -> None:
    from twin.asset import Link, Node

    if not isinstance(city.asset(asset), (Node, Link)):
        raise InputError("is no part of a network", where=asset, expected="a valve, or what is shut in its place")


def _operations(city: City, asset: str | None) -> list[dict[str, Any]]:
    """Return what was recorded of `asset`, or the last of every valve, in the order of time."""
    table = city.table("valve_operations").to_dict("records")
    rows: list[dict[str, Any]] = [{str(name): value for name, value in row.items()} for row in table]
    rows.sort(key=lambda row: row["at"])
    if asset:
        return [row for row in rows if row["asset"] == asset]
    return list({row["asset"]: row for row in rows}.values())


def _asset_of(settings: Settings, name: str) -> str:
    """Return the asset that the device called `name` stands on; anything with a colon is an asset already."""
    if ":" in name:
        return name
    from sensors.operations import connect
    from sensors.registry import Registry

    device = Registry(connect(settings.operations_url())).get(name)
    if device.asset is None:
        raise InputError("the device stands on no asset", where=name, expected="a device that is bound to one")
    return device.asset


def _told(answer: Answer) -> Iterable[str]:
    """Return an answer as a person reads it."""
    from twin.trace import Closure, Loss, Profile, Ring

    detail = answer.detail
    if answer.length_m is None:
        yield f"{answer.asset}  {answer.question}: there is no way"
        return
    yield (
        f"{answer.asset}  {answer.question}: {len(answer.links)} links, {len(answer.nodes)} nodes, "
        f"{answer.length_m:,.1f} m"
    )
    if answer.direction is not None:
        yield f"  direction of flow {_DIRECTIONS[answer.direction]}"
    match detail:
        case Closure():
            yield from _told_closure(detail)
        case Loss():
            yield from _told_loss(detail)
        case Ring():
            yield from _told_ring(detail)
        case Profile():
            yield from _told_profile(detail)
        case None:
            yield from _listed("links", answer.links)
        case _:
            yield from _told_fields(detail)
    rests = answer.rests_on
    yield (
        f"  rests on {rests.stated} stated, {rests.inferred} inferred, {rests.repaired} repaired links"
        f" ({rests.share:.1%} of it not as stated)"
    )


_DIRECTIONS = {"stated": "as the files state it", "inferred": "inferred: away from the nearest source"}


def _told_closure(closure: Closure) -> Iterable[str]:
    rings = {ring.sticks: ring for ring in closure.next_rings}
    for number, each in enumerate(closure.close, 1):
        ring = rings[each.asset]
        besides = ", ".join(valve.asset for valve in ring.close) or "nothing else"
        fed = f" (and {', '.join(ring.sources)} feeds it)" if ring.sources else ""
        yield f"  close {number}  {_valve(each)}   if it sticks: {besides}{fed}"
    for each in closure.shut:
        yield f"  keep shut  {_valve(each)}"
    yield from _listed("does not move", closure.passed)
    yield from _listed("still fed by", closure.sources)
    yield from _listed("stations inside", closure.stations)


def _told_loss(loss: Loss) -> Iterable[str]:
    if not loss.was_supplied:
        yield "  no source reached it before: nothing can be said"
    yield from _listed("hydrants", loss.hydrants)
    yield from _listed("customers", loss.customers)


def _told_ring(ring: Ring) -> Iterable[str]:
    if ring.shortest_m is None:
        yield "  it lies on no loop"
        return
    yield f"  {ring.independent} independent loops hang together; the shortest through it is {ring.shortest_m:,.1f} m"
    yield from _listed("shortest", ring.shortest)


def _told_profile(profile: Profile) -> Iterable[str]:
    yield "  chainage_m    ground_m    invert_m  node"
    for station in profile.stations:
        levels = "".join(f"{_number(level):>12}" for level in (station.ground_m, station.invert_m))
        yield f"  {station.chainage_m:>10.2f}{levels}  {station.node}"


def _told_fields(detail: Any) -> Iterable[str]:
    """Return the fields of an answer that has a type of its own, lists by their length and first few."""
    import msgspec

    for name, value in msgspec.to_builtins(detail).items():
        if name == "rests_on":
            continue
        if isinstance(value, (list, tuple)):
            yield from _listed(name, [each if isinstance(each, str) else _first_id(each) for each in value])
        elif isinstance(value, dict):
            yield f"  {name}: {len(value)}"
        elif value is not None:
            yield f"  {name}: {value}"


def _first_id(each: Any) -> str:
    return (
        next((str(value) for value in each.values() if isinstance(value, str)), "")
        if isinstance(each, dict)
        else str(each)
    )


def _listed(name: str, assets: Sequence[str]) -> Iterable[str]:
    if not assets:
        return
    more = f", … {len(assets) - _SHOWN} more (--json lists all)" if len(assets) > _SHOWN else ""
    yield f"  {name} ({len(assets)}): {', '.join(assets[:_SHOWN])}{more}"


def _valve(valve: Valve) -> str:
    return valve.asset if valve.easting is None else f"{valve.asset}  {valve.easting:.1f} {valve.northing:.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
