"""`chengmai trail`: who did what, and whether anybody has touched the record of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from dashboards.settings import Settings, settings_of
from dashboards.terminal import harmless

if TYPE_CHECKING:
    from sensors.trail import AuditTrail

app = typer.Typer(help="The audit trail: list it, verify it.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    subject: Annotated[str, typer.Option(help="Only of this device, login, alarm …")] = "",
    action: Annotated[str, typer.Option(help="Only this action, such as device.adopt, or its group: device.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List what was done, oldest first."""
    settings = settings_of(ctx)
    found = _trail(settings).list(subject=subject, action=action, limit=limit)
    if as_json:
        rows = [{**asdict(one), "at": one.at.isoformat(), "detail": json.loads(one.detail)} for one in found]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    zone = ZoneInfo(settings.city.time_zone)
    for one in found:
        detail = "" if one.detail == "{}" else f"  {one.detail}"
        at = one.at.astimezone(zone)
        typer.echo(harmless(f"{one.number}  {at:%Y-%m-%d %H:%M:%S}  {one.by}  {one.action}  {one.subject}{detail}"))


@app.command("verify")
def verify(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Compute the chain anew and hold it against its anchor; exit status 1 when anything was changed."""
    trail = _trail(settings_of(ctx))
    found = trail.verify()
    if as_json:
        typer.echo(json.dumps({**asdict(found), "anchor": str(trail.anchor)}, ensure_ascii=False))
    else:
        typer.echo(f"{found.entries} entries, anchored up to {found.anchored} in {trail.anchor}")
        for fault in found.faults:
            typer.echo(f"✗ {fault}")
        if found.unanchored:
            typer.echo(f"! {found.unanchored}")
        if not found.faults:
            typer.echo(f"unbroken; head {found.head or 'none yet'}")
    if found.faults:
        raise typer.Exit(1)


def _trail(settings: Settings) -> AuditTrail:
    from dashboards.audit_trail import trail_of
    from sensors.operations import connect

    return trail_of(settings, connect(settings.operations_url()))
