"""`chengmai alarms`: what is abnormal now, what became of it, and who has seen it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import typer

from dashboards.settings import Settings, clock_of, settings_of

if TYPE_CHECKING:
    from sensors.alarm import Alarm, Transition
    from sensors.alarm_log import AlarmLog

app = typer.Typer(help="Alarms: list, show, acknowledge.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
_ONSET_WITHIN = timedelta(hours=1)
"""What is noticed now began no longer ago than this: a reading counts as live for about as long."""

AlarmNumber = Annotated[int, typer.Argument(metavar="ALARM", help="Number, as `chengmai alarms list` gives it.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Closed ones too.")] = False,
    level: Annotated[int | None, typer.Option(min=1, max=4, help="This level or worse (1 red … 4 blue).")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """List the open alarms, the worst and newest first; in a flood of them, what came together before that."""
    settings = settings_of(ctx)
    log = _log(settings)
    found = log.list(only_open=not everything, level=level, limit=limit)
    if as_json:
        typer.echo(json.dumps([_record(alarm) for alarm in found], ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    from sensors.flood import flood
    from sensors.sentence import FLOOD, LEVELS, STATES, sentence

    language = settings.web.language
    now = clock_of(settings).now()
    for group in flood(log.list(since=now - _ONSET_WITHIN), now):
        what = f"{group.count:,} × {LEVELS[language][group.level - 1]} {group.system} {group.rule}"
        typer.echo(f"{FLOOD[language]}: {what}: {sentence(group.first, language)}")
    table = Table("alarm", "level", "since", "state", "what", box=None, pad_edge=False)
    for alarm in found:
        word, state = LEVELS[language][alarm.level - 1], STATES[language][alarm.state.value]
        table.add_row(str(alarm.id), word, _local(alarm.onset, settings), state, sentence(alarm, language))
    Console(emoji=False, markup=False, highlight=False).print(table)  # an asset id such as a:link:b is no emoji


@app.command("show")
def show(ctx: typer.Context, alarm: AlarmNumber, as_json: AsJson = False) -> None:
    """Show one alarm and everything that became of it."""
    settings = settings_of(ctx)
    log = _log(settings)
    found, steps = log.get(alarm), log.transitions(alarm)
    if as_json:
        record = {**_record(found), "transitions": [_step(step) for step in steps]}
        typer.echo(json.dumps(record, ensure_ascii=False, indent=1))
        return
    for language in ("zh", "en"):
        typer.echo(_sentence(found, language))
    typer.echo(f"version {found.version}, {found.state.value}, {found.place.asset or ''}")
    for step in steps:
        said = f" {step.comment}" if step.comment else ""
        typer.echo(f"{_local(step.at, settings)} {step.event.value:<12} → {step.to_state.value} by {step.by}{said}")


@app.command("ack")
def ack(
    ctx: typer.Context,
    alarm: AlarmNumber,
    *,
    by: Annotated[str, typer.Option(help="Who acknowledges.")],
    comment: Annotated[str, typer.Option(help="What is to be known about it.")] = "",
    version: Annotated[int | None, typer.Option(help="The version that was seen; the newest if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge an alarm; refused where it has changed since the version that was seen."""
    log = _log(settings_of(ctx))
    seen = log.get(alarm).version if version is None else version
    done = log.acknowledge(alarm, by=by, comment=comment, version=seen)
    if as_json:
        typer.echo(json.dumps(_record(done), ensure_ascii=False))
    else:
        typer.echo(f"alarm {done.id}: {done.state.value}, version {done.version}")


def _log(settings: Settings) -> AlarmLog:
    from dashboards.audit_trail import trail_of
    from sensors.alarm_log import AlarmLog
    from sensors.operations import connect

    engine = connect(settings.operations_url())
    return AlarmLog(engine, clock_of(settings), trail_of(settings, engine))


def _record(alarm: Alarm) -> dict[str, Any]:
    """Return an alarm as one flat record: times ISO 8601 UTC, values SI."""
    return {
        "alarm": alarm.id,
        "subject": alarm.subject,
        "rule": alarm.rule,
        "kind": alarm.kind.value,
        "level": alarm.level,
        "original_level": alarm.original_level,
        "state": alarm.state.value,
        "condition": alarm.condition.value,
        "acknowledged": alarm.acknowledged,
        "acknowledged_by": alarm.acknowledged_by,
        "onset": alarm.onset.isoformat(),
        "detected": alarm.detected.isoformat(),
        "cleared": None if alarm.cleared is None else alarm.cleared.isoformat(),
        "quantity": alarm.quantity,
        "value": alarm.value,
        "limit": alarm.limit,
        "expected": alarm.expected,
        "score": alarm.score,
        "device": alarm.device,
        "asset": alarm.asset,
        "easting": alarm.easting,
        "northing": alarm.northing,
        "evidence": msgspec.to_builtins(alarm.evidence),
        "count": alarm.count,
        "version": alarm.version,
        "zh": _sentence(alarm, "zh"),
        "en": _sentence(alarm, "en"),
    }


def _step(step: Transition) -> dict[str, Any]:
    return {
        "version": step.version,
        "at": step.at.isoformat(),
        "event": step.event.value,
        "from": step.from_state.value,
        "to": step.to_state.value,
        "level": step.level,
        "value": step.value,
        "by": step.by,
        "comment": step.comment,
    }


def _sentence(alarm: Alarm, language: Literal["zh", "en"]) -> str:
    from sensors.sentence import sentence

    return sentence(alarm, language)


def _local(time: datetime, settings: Settings) -> str:
    return time.astimezone(ZoneInfo(settings.city.time_zone)).strftime("%Y-%m-%d %H:%M:%S")
