"""`chengmai devices`: the registry of field devices."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.settings import Settings, settings_of
from sensors.device import Device
from twin.asset import System

if TYPE_CHECKING:
    from sensors.registry import Registry

app = typer.Typer(help="Field devices: import, list, show.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command("import")
def import_(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="Devices as JSON or CSV (docs/devices.md).")],
    as_json: AsJson = False,
) -> None:
    """Add or replace the devices listed in a file, all or none; series numbers of known points stay."""
    from sensors.registry import read_devices

    found = read_devices(file)
    registry = _registry(settings_of(ctx))
    registry.put(found)
    points = sum(len(device.points) for device in found)
    receipt = {"file": str(file), "devices": len(found), "points": points, "registered": len(registry.devices())}
    if as_json:
        typer.echo(json.dumps(receipt, ensure_ascii=False))
    else:
        typer.echo(f"{file}: {len(found)} devices with {points} points; {receipt['registered']} registered in all")


@app.command("list")
def list_(
    ctx: typer.Context,
    system: Annotated[System | None, typer.Option(help="Only this system.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the registered devices and what they measure."""
    found = [device for device in _registry(settings_of(ctx)).devices() if system in {None, device.system}]
    if as_json:
        typer.echo(json.dumps([_record(device) for device in found], ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("device", "system", "points", "every", "asset", "name", box=None, pad_edge=False)
    for device in found:
        points = " ".join(point.name for point in device.points)
        every = f"{device.interval.total_seconds():g} s"
        name = f"{device.name} (retired)" if device.retired else device.name
        table.add_row(device.id, device.system.value, points, every, device.asset or "", name)
    Console(emoji=False, markup=False, highlight=False).print(table)  # an asset id such as a:link:b is no emoji


@app.command("show")
def show(
    ctx: typer.Context,
    device: Annotated[str, typer.Argument(help="Device, as `chengmai devices list` names it.")],
    as_json: AsJson = False,
) -> None:
    """Show one device: where it is bound, its points, their units, spans and series."""
    found = _registry(settings_of(ctx)).get(device)
    record = _record(found)
    if as_json:
        typer.echo(json.dumps(record, ensure_ascii=False, indent=1))
        return
    for key, value in record.items():
        if key != "points" and value not in {None, ""}:
            typer.echo(f"{key:<11} {value}")
    for point in record["points"]:
        said = " ".join(f"{key}={value}" for key, value in point.items() if key != "name" and value is not None)
        typer.echo(f"point       {point['name']}: {said}")


def _registry(settings: Settings) -> Registry:
    from sensors.operations import connect
    from sensors.registry import Registry

    return Registry(connect(settings.operations_url()))


def _record(device: Device) -> dict[str, Any]:
    """Return a device in the form that `devices import` reads, and the series of its points besides."""
    return {
        "device": device.id,
        "district": device.district,
        "system": device.system.value,
        "asset": device.asset,
        "easting": device.easting,
        "northing": device.northing,
        "interval_s": device.interval.total_seconds(),
        "name": device.name,
        "model": device.model,
        "retired": device.retired,
        "points": [
            {
                "name": point.name,
                "series": point.series,
                "quantity": point.quantity,
                "unit": point.unit,
                "low": point.low,
                "high": point.high,
                "crown_m": point.crown_m,
                "depth_m": point.depth_m,
            }
            for point in device.points
        ],
    }
