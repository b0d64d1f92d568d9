"""`chengmai trace` and `chengmai valve`: questions to the networks, and how the valves stand now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.settings import Settings, clock_of, settings_of
from twin.errors import InputError, UnknownError
from twin.network import ValveState

if TYPE_CHECKING:
    from twin.asset import System
    from twin.city import City

_CITY = typer.Option("--city", help="City database (GeoPackage); else the setting city.file.", show_default=False)
_KINDS = "connected, upstream, downstream, path, loops, profile, isolation, unsupplied, impact, adjacency, cascade"


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

    from dashboards.answer_text import told
    from twin.city import City
    from twin.effects.service import SERVING
    from twin.trace import Question, Tracer

    try:
        question = Question(kind)
    except ValueError:
        raise InputError(f"no question {kind[:40]!r}", where="kind", expected=_KINDS) from None
    if radius is not None and question is not Question.CASCADE:
        raise InputError(f"{question} has no radius", where="radius", expected="cascade with it")
    settings = settings_of(ctx)
    stands_on, measured = _stands_on(settings, asset)
    more: dict[str, Any] = {} if radius is None else {"radius_m": radius}
    if question is Question.IMPACT and measured in SERVING:
        more["system"] = measured  # of a building's services the one that the device measures
    with City.open(city or settings.resolve(settings.city.file)) as opened:
        answer = Tracer(opened).ask(stands_on, question, to=to, stuck=tuple(stuck or ()), **more)
    if as_json:
        typer.echo(msgspec.json.encode(answer))
        return
    for line in told(answer):
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


def _stands_on(settings: Settings, name: str) -> tuple[str, System | None]:
    """Return what the device called `name` stands on, and its system; anything with a colon is an asset already."""
    if ":" in name:
        return name, None
    from dashboards.bindings import registry_of

    registry = registry_of(settings)  # a question makes none
    if registry is None:
        raise UnknownError("no such device", where=name, expected="an asset: there is no operations database")
    device = registry.get(name)
    if device.asset is None:
        raise InputError("the device stands on no asset", where=name, expected="a device that is bound to one")
    return device.asset, device.system
