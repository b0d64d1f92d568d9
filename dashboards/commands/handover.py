"""`chengmai handover` and `chengmai performance`: what a shift tells the next, and how the alarm system did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
import typer

from dashboards.settings import Settings, clock_of, settings_of
from dashboards.terminal import harmless
from twin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sensors.figures.paper import Paper
    from sensors.figures.performance import Meter, Performance
    from sensors.figures.shift import Rota
    from sensors.response import Response


class Format(StrEnum):
    """How a report is written."""

    TEXT = "text"
    HTML = "html"
    JSON = "json"


class Tongue(StrEnum):
    """The language of a report."""

    ZH = "zh"
    EN = "en"


Language = Annotated[Tongue | None, typer.Option(help="zh or en; else the setting web.language.", show_default=False)]
As = Annotated[Format, typer.Option("--format", help="How it is written; HTML is one page that a browser prints.")]
Output = Annotated[Path | None, typer.Option(help="Write it to this file.", show_default=False)]
Duties = Annotated[
    Path | None,
    typer.Option("--response", help="The city's response (TOML), with its shifts; else the packaged one."),
]

_MOST = timedelta(days=400)
"""Longer times than this are asked for in parts."""


def handover(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    shift: Annotated[
        str, typer.Option(help="current, last, the id of a shift (the newest such), or 2026-11-22/night.")
    ] = "current",
    language: Language = None,
    written: As = Format.TEXT,
    output: Output = None,
    response: Duties = None,
) -> None:
    """Report what a shift tells the next: what happened, what is open, who has it, what to know first."""
    from sensors.figures.handover import read_handover
    from sensors.figures.reports import handover_report
    from sensors.operations import connect

    settings = settings_of(ctx)
    duties, rota = _duties(settings, response)
    now = clock_of(settings).now()
    named = rota.named(shift, now)
    found = read_handover(connect(settings.operations_url()), rota, named, duties, now)
    spoken = language.value if language else settings.web.language
    title = settings.city.title
    _tell(lambda: handover_report(found, duties, language=spoken, zone=rota.zone, title=title), found, written, output)


def performance(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    since: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="First day; else that of --days.")
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=_MOST.days, help="So many days, until now if --from is not given.")
    ] = 1,
    language: Language = None,
    written: As = Format.TEXT,
    output: Output = None,
    response: Duties = None,
) -> None:
    """Report how the alarm system did (ISA-18.2, EEMUA 191): rates, floods, bad actors; by shift and by desk."""
    from sensors.figures.history import read_history
    from sensors.figures.performance import Meter
    from sensors.figures.reports import performance_report
    from sensors.operations import connect

    settings = settings_of(ctx)
    duties, rota = _duties(settings, response)
    start, end = _time(since, days, rota, clock_of(settings).now())
    history = read_history(connect(settings.operations_url()), start, end)
    meter = Meter(history, duties.targets)
    spoken = language.value if language else settings.web.language
    parts = _shifts(meter, rota, start, end)
    if len(duties.position) > 1:
        for desk in duties.position:
            name = desk.zh if spoken == "zh" else desk.en
            parts.append((name, Meter(history.where(desk.watches), duties.targets).over(start, end)))
    whole, title = meter.over(start, end), settings.city.title
    told = {"performance": whole, "parts": [{"part": name, "performance": each} for name, each in parts]}
    _tell(
        lambda: performance_report(whole, parts, duties.targets, language=spoken, zone=rota.zone, title=title),
        told,
        written,
        output,
    )


def _duties(settings: Settings, file: Path | None) -> tuple[Response, Rota]:
    from sensors.figures.shift import Rota
    from sensors.response import load

    response = load(file)
    return response, Rota.of(response.shift, ZoneInfo(settings.city.time_zone))


def _time(since: datetime | None, days: int, rota: Rota, now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when: whole local days from `since`, or the last ones, none of it in the future."""
    if since is None:
        return now - timedelta(days=days), now
    start = since.replace(tzinfo=rota.zone)
    end = min((start + timedelta(days=days)).astimezone(UTC), now)
    if end <= start:
        raise InputError("has not begun", where=f"--from {since.date()}", expected="a day before now")
    return start.astimezone(UTC), end


def _shifts(meter: Meter, rota: Rota, start: datetime, end: datetime) -> list[tuple[str, Performance]]:
    return [
        (shift.label, meter.over(max(shift.start, start), min(shift.end, end))) for shift in rota.between(start, end)
    ]


def _tell(paper: Callable[[], Paper], facts: Any, written: Format, output: Path | None) -> None:
    from sensors.figures.paper import as_html, as_text

    match written:
        case Format.JSON:
            text = msgspec.json.format(msgspec.json.encode(facts), indent=1).decode() + "\n"
        case Format.HTML:
            text = as_html(paper())
        case Format.TEXT:
            text = harmless(as_text(paper()), lines=True)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise InputError(error.strerror or "cannot be written", where=str(output), code="E_WRITE") from None
