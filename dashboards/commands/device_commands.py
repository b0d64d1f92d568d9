"""`chengmai devices command|commands`: orders to field devices, and what became of them."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.settings import Settings, clock_of, settings_of
from dashboards.terminal import harmless
from twin.errors import InputError

if TYPE_CHECKING:
    from sensors.command_log import Command, CommandLog

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]

_LOOK_S = 0.2


def command(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    device: Annotated[str, typer.Argument(help="Device, as `chengmai devices list` names it.")],
    name: Annotated[str, typer.Argument(help="What it is to do; what a device can do, its maker says.")],
    args: Annotated[str, typer.Option(help="Arguments, a JSON object.")] = "{}",
    expires: Annotated[float, typer.Option(min=1, max=30 * 86_400, help="Seconds in which it is to be done.")] = 300,
    wait: Annotated[float, typer.Option(min=0, help="Wait so many seconds for the answer.")] = 0,
    by: Annotated[str, typer.Option(help="Who orders it; else who is logged in.", show_default=False)] = "",
    as_json: AsJson = False,
) -> None:
    """Order a device to do something; the worker of its district sends it. Exit status 1 for an answer that is no."""
    from dashboards.audit_trail import note, who
    from sensors.command_log import CommandState

    settings = settings_of(ctx)
    log, now = _log(settings), clock_of(settings).now()
    until = now + timedelta(seconds=expires)
    ordered = log.order(device, name, _arguments(args), by or who(), until, at=now)
    said = {"id": ordered.id, "name": name, "args": ordered.args, "ordered_by": ordered.by}
    note(settings, "command.order", device, said)
    give_up = time.monotonic() + min(wait, expires)
    while ordered.ok is None and time.monotonic() < give_up:
        time.sleep(_LOOK_S)
        ordered = log.get(ordered.id)
    _tell([ordered], as_json=as_json)
    if ordered.state in {CommandState.FAILED, CommandState.EXPIRED} or (wait and ordered.ok is None):
        raise typer.Exit(1)


def commands(
    ctx: typer.Context,
    device: Annotated[str | None, typer.Argument(help="Only this device.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the commands to devices and their answers, newest first."""
    _tell(_log(settings_of(ctx)).list(device, limit), as_json=as_json)


def _log(settings: Settings) -> CommandLog:
    from sensors.command_log import CommandLog
    from sensors.operations import connect

    return CommandLog(connect(settings.operations_url()))


def _arguments(text: str) -> dict[str, Any]:
    import msgspec

    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InputError(str(error), where="--args", expected='a JSON object such as {"seconds": 30}') from None


def _tell(found: list[Command], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_record(each) for each in found], ensure_ascii=False, indent=1))
        return
    for each in found:
        created = each.created.isoformat(timespec="seconds")
        answer = " ".join(word for word in (each.code, each.result) if word)
        line = f"{each.id}  {created}  {each.device}  {each.name} {each.args}  {each.state} by {each.by}  {answer}"
        typer.echo(harmless(line))


def _record(command: Command) -> dict[str, Any]:
    times = {"created": command.created, "expires": command.expires, "sent": command.sent, "answered": command.answered}
    return {
        "id": command.id,
        "device": command.device,
        "name": command.name,
        "args": json.loads(command.args),
        "by": command.by,
        "state": command.state.value,
        **{name: None if at is None else at.isoformat(timespec="milliseconds") for name, at in times.items()},
        "ok": command.ok,
        "code": command.code,
        "result": command.result,
    }
