"""`chengmai devices`: the registry of field devices."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.commands import credentials, device_commands, unknown_devices
from dashboards.settings import Settings, settings_of
from dashboards.terminal import harmless
from twin.asset import System

if TYPE_CHECKING:
    from sensors.device import Device
    from sensors.presence import DeviceStatus

app = typer.Typer(help="Field devices: register, adopt, show, order; who is heard and who is unknown.")

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
Named = Annotated[str, typer.Argument(metavar="DEVICE", help="Device, as `chengmai devices list` names it.")]


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Devices as JSON or CSV (docs/devices.md).")],
    as_json: AsJson = False,
) -> None:
    """Add or replace the devices listed in a file, all or none; series numbers of known points stay."""
    import hashlib

    from dashboards.audit_trail import note
    from dashboards.registration import registry_of
    from sensors.registry import read_devices

    settings = settings_of(ctx)
    found = read_devices(file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    registry = registry_of(settings)
    registry.put(found)
    note(settings, "device.import", str(file), {"devices": len(found), "sha256": digest})
    points = sum(len(device.points) for device in found)
    receipt = {"file": str(file), "devices": len(found), "points": points, "registered": registry.count()}
    if as_json:
        typer.echo(json.dumps(receipt, ensure_ascii=False))
    else:
        typer.echo(f"{file}: {len(found)} devices with {points} points; {receipt['registered']} registered in all")


@app.command("add")
def add(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    device: Annotated[str, typer.Argument(help="Name: letters, digits, _ and -; as in its topic and its login.")],
    system: Annotated[System, typer.Option(help="What it watches.")],
    point: Annotated[list[str], typer.Option(help=unknown_devices.POINT_HELP)],
    interval: Annotated[float, typer.Option(help="Seconds between two of its messages.")] = 60.0,
    district: Annotated[str | None, typer.Option(help="Its district; else the city's own.", show_default=False)] = None,
    asset: Annotated[str | None, typer.Option(help="What it stands on, an id of the city.", show_default=False)] = None,
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
    model: Annotated[str, typer.Option(help="Maker and type.")] = "",
    address: Annotated[str, typer.Option(help="spBv1.0/GROUP/NODE[/DEVICE] or hj212/MN.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace it if it is there; its series stay.")] = False,
    as_json: AsJson = False,
) -> None:
    """Register one device, at the place of the asset that it stands on."""
    from dashboards.audit_trail import note
    from dashboards.registration import place_of, points_of, refuse_known, registry_of
    from sensors.device_list import device_of

    settings = settings_of(ctx)
    easting, northing = place_of(settings, asset)
    row = {
        "device": device,
        "district": district or settings.city.district,
        "system": system.value,
        "interval_s": interval,
        "asset": asset,
        "easting": easting,
        "northing": northing,
        "name": name,
        "model": model,
        "address": address,
        "points": points_of(point, system),
    }
    registry = registry_of(settings)
    if not replace:
        refuse_known(registry, device)
    registry.put([device_of("command line", row)])
    note(settings, "device.add", device, row)
    tell(registry.get(device), None, as_json=as_json)


@app.command("retire")
def retire(ctx: typer.Context, device: Named, as_json: AsJson = False) -> None:
    """Take a device out of service: what it sends is refused (E_DEVICE); its readings and alarms stay."""
    from dashboards.audit_trail import note
    from dashboards.registration import registry_of

    settings = settings_of(ctx)
    retired = registry_of(settings).retire(device)
    note(settings, "device.retire", device)
    tell(retired, None, as_json=as_json)


@app.command("list")
def list_(
    ctx: typer.Context,
    system: Annotated[System | None, typer.Option(help="Only this system.")] = None,
    district: Annotated[str | None, typer.Option(help="Only this district.", show_default=False)] = None,
    calibration_due: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Only those with a point that is due by this day."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the registered devices, what they measure, and who is heard."""
    from dashboards.registration import heard_in_words, record, registry_of

    settings = settings_of(ctx)
    day = calibration_due.date() if calibration_due else None
    registered = registry_of(settings).each(district)
    found = [each for each in registered if system in {None, each.system} and (day is None or _due(each, day))]
    heard = _heard(settings, district)
    if as_json:
        records = [record(device, heard.get(device.id)) for device in found]
        typer.echo(json.dumps(records, ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("device", "system", "points", "every", "heard", "asset", "name", box=None, pad_edge=False)
    for device in found:
        points = " ".join(point.name for point in device.points)
        every = f"{device.interval.total_seconds():g} s"
        name = f"{device.name} (retired)" if device.retired else device.name
        said = heard_in_words(heard.get(device.id))
        table.add_row(device.id, device.system.value, points, every, said, device.asset or "", harmless(name))
    Console(emoji=False, markup=False, highlight=False).print(table)  # an asset id such as a:link:b is no emoji


@app.command("show")
def show(ctx: typer.Context, device: Named, as_json: AsJson = False) -> None:
    """Show one device: where it is bound, its points, their units, spans and series, and what it said of itself."""
    from dashboards.registration import registry_of
    from sensors.operations import connect
    from sensors.presence import Presence

    settings = settings_of(ctx)
    found = registry_of(settings).get(device)
    tell(found, Presence(connect(settings.operations_url())).get(device), as_json=as_json)


app.command("unknown")(unknown_devices.unknown)
app.command("adopt")(unknown_devices.adopt)
app.command("forget")(unknown_devices.forget)
app.command("command")(device_commands.command)
app.command("commands")(device_commands.commands)
app.command("credentials")(credentials.issue_to_devices)
app.command("rotate")(credentials.rotate)


def tell(device: Device, heard: DeviceStatus | None, *, as_json: bool) -> None:
    """Print one device."""
    from dashboards.registration import lines, record

    shown = record(device, heard)
    typer.echo(
        json.dumps(shown, ensure_ascii=False, indent=1) if as_json else harmless("\n".join(lines(shown)), lines=True)
    )


def _heard(settings: Settings, district: str | None) -> dict[str, DeviceStatus]:
    from sensors.operations import connect
    from sensors.presence import Presence

    return {status.device: status for status in Presence(connect(settings.operations_url())).list(district)}


def _due(device: Device, day: date) -> bool:
    return any(point.calibration_due is not None and point.calibration_due <= day for point in device.points)
