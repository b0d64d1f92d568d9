"""`chengmai place`: a person decides where a model stands that its file leaves in the wrong place, or nowhere."""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import clock_of, settings_of
from twin.errors import InputError

if TYPE_CHECKING:
    from twin.city import City
    from twin.model import Placement
    from twin.store.placings import Placing

_CITY = typer.Option("--city", help="City database (GeoPackage); else the setting city.file.", show_default=False)


def place(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Source, as `chengmai sources` names it.")],
    accept: Annotated[bool, typer.Option("--accept", help="Put it where the placement receipt proposes.")] = False,
    origin: Annotated[
        str | None, typer.Option(help="Easting,northing[,height] of the model's origin, metres.", metavar="E,N[,H]")
    ] = None,
    rotation: Annotated[
        float | None, typer.Option(help="Degrees from grid east to the model's x axis, counter-clockwise.")
    ] = None,
    crs: Annotated[
        str | None, typer.Option(help="CRS of the origin, or of a network's own coordinates; else the city's.")
    ] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Put it back to where its file puts it.")] = False,
    why: Annotated[str, typer.Option(help="Why it stands there, for the record.")] = "",
    by: Annotated[str, typer.Option(help="Who decides; else the login name.", show_default=False)] = "",
    city: Annotated[Path | None, _CITY] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Place a model by decision, kept with who, when and why; without options, tell where it stands and why."""
    from twin.city import City
    from twin.placing import place as place_model

    settings = settings_of(ctx)
    given = origin is not None or rotation is not None or crs is not None
    if accept + given + withdraw > 1:
        raise InputError("asks for two things", where="place", expected="--accept, a place of your own, or --withdraw")
    with City.open(city or settings.resolve(settings.city.file)) as opened:
        if accept or given or withdraw:
            at, who = clock_of(settings).now(), by or getpass.getuser()
            wanted = _Wanted(_numbers(origin), rotation, crs) if given else None
            placing = None if withdraw else _placing(opened, model, wanted, at=at, by=who, why=why)
            place_model(opened, model, placing, at, who)
        _tell(opened, model, as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A place given by hand; what is None stays as the file states it."""

    origin: tuple[float, ...] | None
    rotation_deg: float | None
    crs: str | None


def _placing(city: City, source: str, wanted: _Wanted | None, *, at: datetime, by: str, why: str) -> Placing:
    """Return the decision for what is `wanted`, with None for what the placement receipt proposes."""
    from twin.placing import as_stated
    from twin.store.placings import Placing

    stated = as_stated(city, source).placement
    if wanted is None:
        if (proposal := stated.proposal) is None:
            raise InputError(
                "nothing is proposed", where=source, expected="--origin E,N[,H] [--rotation DEG]", code="E_PLACEMENT"
            )
        if not proposal.in_city:
            raise InputError(
                "stands outside this city", where=source, expected="a city of its own, or --origin", code="E_PLACEMENT"
            )
        reason = why or proposal.why
        return Placing(source, at, by, reason, proposal.origin, proposal.rotation_deg, proposal.crs, stated)
    crs = wanted.crs or city.crs
    if crs is None:
        raise InputError(
            "the city has no CRS yet", where=source, expected="--crs such as EPSG:4549", code="E_PLACEMENT"
        )
    own = stated.origin or (0.0, 0.0, 0.0)
    easting, northing, height = (*(wanted.origin or own), own[2])[:3]
    rotation = stated.rotation_deg if wanted.rotation_deg is None else wanted.rotation_deg
    return Placing(source, at, by, why or "given by hand", (easting, northing, height), rotation, crs, stated)


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    wanted = "E,N or E,N,H in metres"
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r} is no origin", where="--origin", expected=wanted) from None
    if len(numbers) not in {2, 3} or not all(abs(number) < 1e9 for number in numbers):
        raise InputError(f"{text!r} is no origin", where="--origin", expected=wanted)
    return numbers


def _tell(city: City, source: str, *, as_json: bool) -> None:
    import msgspec

    row = city.revisions(source)[-1]
    placing = city.placing(source)
    if as_json:
        told = {
            "source": source,
            "revision": row.revision,
            "placement": row.placement,
            "decided": placing if placing and placing.origin else None,
        }
        typer.echo(json.dumps(msgspec.to_builtins(told), ensure_ascii=False))
        return
    for line in _lines(source, row.revision, row.placement, placing):
        typer.echo(line)


def _lines(source: str, revision: int, placement: Placement, placing: Placing | None) -> list[str]:
    lines = [f"{source}  revision {revision}  {placement.decision.value}: {placement.source}"]
    if placement.origin is not None:
        where = ", ".join(f"{value:.3f}" for value in placement.origin)
        lines.append(
            f"  origin {where} in {placement.crs or 'its own coordinates'}, turned {placement.rotation_deg:.6f}°"
        )
    lines += [f"  {why}" for why in placement.contradictions]
    lines += [f"  also stated: {rival}" for rival in placement.rivals]
    if proposal := placement.proposal:
        where = ", ".join(f"{value:.3f}" for value in proposal.origin)
        lines.append(f"  proposed: {where} in {proposal.crs}, turned {proposal.rotation_deg:.6f}°: {proposal.why}")
        accept = f"accept it with `chengmai place {source} --accept`"
        lines.append(f"  {accept if proposal.in_city else 'not in this city'}")
    if placing and placing.origin is None:
        lines.append(f"  {placing.by} took the decision back on {placing.decided:%Y-%m-%d %H:%M}Z")
    return lines
