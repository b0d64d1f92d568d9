"""`chengmai devices unknown|adopt|forget`: devices that send and are in no registry."""

from __future__ import annotations

import json
import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.settings import Settings, settings_of
from dashboards.terminal import harmless
from twin.asset import AssetId, System

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sensors.adoption import Proposal
    from sensors.device import Point
    from sensors.unknown_device import Sighting, UnknownDevices

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Heard = Annotated[str, typer.Argument(metavar="DEVICE", help="As `chengmai devices unknown` names it.")]

POINT_HELP = (
    "NAME=QUANTITY[,KEY=VALUE…]; the keys are those of device files (unit, low, high, code, calibrated, "
    "calibration_due …); may be given again."
)


def unknown(
    ctx: typer.Context,
    district: Annotated[str | None, typer.Option(help="Only this district.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List devices that send and are in no registry, what they send, and what they are taken for; newest first."""
    found = _unknown(settings_of(ctx)).list(district)
    if as_json:
        typer.echo(json.dumps([_record(each) for each in found], ensure_ascii=False, indent=1))
        return
    if not found:
        typer.echo("no unknown device was heard")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("device", "system", "messages", "last heard", "sends", box=None, pad_edge=False)
    for each in found:
        last = each.last.isoformat(timespec="seconds")
        table.add_row(harmless(each.device), each.system or "?", f"{each.messages:,}", last, harmless(_sends(each)))
    Console(emoji=False, markup=False, highlight=False).print(table)
    typer.echo(harmless(f"adopt one: chengmai devices adopt {found[0].device} --asset ASSET"))


def adopt(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    device: Heard,
    asset: Annotated[str | None, typer.Option(help="What it stands on, an id of the city.", show_default=False)] = None,
    point: Annotated[list[str] | None, typer.Option(help=f"In place of a guess: {POINT_HELP}")] = None,
    own_id: Annotated[str, typer.Option("--id", help="Name, for a device of Sparkplug or HJ 212.")] = "",
    system: Annotated[System | None, typer.Option(help="What it watches, where its topic does not say so.")] = None,
    interval: Annotated[
        float | None, typer.Option(help="Seconds between two of its messages; else as heard.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it is taken for; register nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register an unknown device as what it sends tells: quantities and units where one answer fits, its pace."""
    from dataclasses import replace

    from dashboards.audit_trail import note
    from dashboards.registration import place_of, record, refuse_known, registry_of
    from sensors.adoption import propose

    settings = settings_of(ctx)
    strangers = _unknown(settings)
    sighting = strangers.get(device)
    proposal = propose(
        sighting,
        device=own_id,
        system=system,
        asset=None if asset is None else AssetId(asset),
        given=_given(point or [], system or sighting.system),
        interval=None if interval is None else timedelta(seconds=interval),
    )
    easting, northing = place_of(settings, asset)
    found = replace(proposal.device, easting=easting, northing=northing)
    registry = registry_of(settings)
    refuse_known(registry, found.id)
    if not dry_run:
        registry.put([found])
        strangers.forget(device)
        found = registry.get(found.id)
        note(settings, "device.adopt", found.id, {"heard_as": device, "device": record(found)})
    _tell(replace(proposal, device=found), adopted=not dry_run, as_json=as_json)


def forget(ctx: typer.Context, device: Heard) -> None:
    """Drop an unknown device from the list; it is listed again when it is heard again."""
    strangers = _unknown(settings_of(ctx))
    strangers.forget(strangers.get(device).device)
    typer.echo(f"{device}: forgotten")


def _unknown(settings: Settings) -> UnknownDevices:
    from sensors.operations import connect
    from sensors.unknown_device import UnknownDevices

    return UnknownDevices(connect(settings.operations_url()))


def _given(texts: Sequence[str], system: System | None) -> list[Point]:
    from dashboards.registration import points_of
    from sensors.device_list import points_of_rows

    return points_of_rows("--point", points_of(texts, system))


def _tell(proposal: Proposal, *, adopted: bool, as_json: bool) -> None:
    from dashboards.registration import lines, record

    shown = record(proposal.device)
    if as_json:
        answer = {"adopted": adopted, "device": shown, "left_out": dict(proposal.left_out)}
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=1))
        return
    for line in lines(shown):
        typer.echo(harmless(line))
    for name, reason in proposal.left_out.items():
        typer.echo(harmless(f"left out    {name}: {reason} (say it by --point)"))
    address = proposal.device.address
    if adopted and address.startswith("hj212/"):
        typer.echo("adopted; what it sent until now was neither answered nor kept")  # the gateway knew no topic for it
    elif adopted:
        topic_name = address.rpartition("/")[2] or proposal.device.id
        typer.echo(f"adopted; what it sent until now: chengmai quarantine replay --device {shlex.quote(topic_name)}")
    else:
        typer.echo("nothing registered (--dry-run)")


def _sends(sighting: Sighting) -> str:
    from sensors.adoption import propose
    from twin.errors import InputError

    try:
        proposal = propose(sighting, system=sighting.system or System.WATER)
    except InputError:
        return " ".join(f"{name}=?" for name in sighting.points) or "nothing yet"
    told = [f"{point.code or point.name}={point.quantity},unit={point.unit}" for point in proposal.device.points]
    return " ".join((*told, *(f"{name}=?" for name in proposal.left_out)))


def _record(sighting: Sighting) -> dict[str, Any]:
    return {
        "device": sighting.device,
        "district": sighting.district,
        "system": sighting.system,
        "first": sighting.first.isoformat(timespec="milliseconds"),
        "last": sighting.last.isoformat(timespec="milliseconds"),
        "messages": sighting.messages,
        "birth": sighting.birth,
        "points": {name: {"unit": point.unit, "value": point.value} for name, point in sighting.points.items()},
    }
