"""`chengmai load` and `chengmai sources`: files into the city, and what is in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import Settings, clock_of, settings_of
from twin.asset import System

if TYPE_CHECKING:
    from twin.city import SourceRow
    from twin.load import Progress, Receipt

_CITY = typer.Option("--city", help="City database (GeoPackage); else the setting city.file.", show_default=False)
_JSON = typer.Option("--json", help="One JSON line a file, on standard output.")
_SHOWN_ISSUES = 3


def load(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Files or folders: IFC, INP, GeoJSON, GeoPackage, Shapefile.")],
    city: Annotated[Path | None, _CITY] = None,
    crs: Annotated[
        str | None, typer.Option(help="CRS of files that name none (EPSG code, WKT, PROJ), and of a new city.")
    ] = None,
    system: Annotated[System | None, typer.Option(help="System of networks that do not say it.")] = None,
    source: Annotated[str | None, typer.Option("--as", help="Name to keep a single file under.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="IFC files read side by side.")] = 2,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which an IFC file is given up.")] = 1800.0,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Load files into the city; a file loaded again replaces what it brought before, and nothing else."""
    from twin.load import load as load_files

    settings = settings_of(ctx)
    with _progress() as show:
        receipts = load_files(
            paths,
            _city_path(settings, city),
            at=clock_of(settings).now(),
            crs=crs,
            system=system,
            source=source,
            workers=workers,
            timeout_s=timeout,
            progress=lambda step: show(step, as_json),
        )
    if any(receipt.refused for receipt in receipts):
        raise typer.Exit(1)


def sources(
    ctx: typer.Context,
    city: Annotated[Path | None, _CITY] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List the files in the city: what they are, how many assets each brought, where they stand."""
    import msgspec

    from twin.city import City

    with City.open(_city_path(settings_of(ctx), city)) as opened:
        rows = opened.sources()
        if as_json:
            for row in rows:
                typer.echo(msgspec.json.encode(row))
            return
        typer.echo(f"{opened.path}  {opened.crs or 'no CRS yet'}  {_counted(opened.counts())}")
    for row in rows:
        typer.echo(_source_line(row))


def _city_path(settings: Settings, given: Path | None) -> Path:
    return given or settings.resolve(settings.city.file)


def _source_line(row: SourceRow) -> str:
    where = f"{row.placement.decision.value}: {row.placement.source}"
    return f"{row.source}  {row.kind}  {_counted(row.counts)}  {where}  {row.loaded:%Y-%m-%d %H:%M}Z"


def _counted(counts: object) -> str:
    assert isinstance(counts, dict)
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "nothing"


def receipt_text(receipt: Receipt) -> str:
    """Return a receipt as a person reads it: a line of what came in and where, and one for each of a few doubts."""
    lines: list[str] = []
    if not receipt.refused and receipt.placement is not None:
        extra = "" if receipt.products is None else f" ({receipt.meshed} of {receipt.products} products meshed)"
        lines.append(
            f"{receipt.source}  {receipt.kind}  {_counted(receipt.counts)}{extra}  "
            f"{receipt.placement.decision.value}: {receipt.placement.source}  {receipt.seconds:.1f} s"
        )
        lines += [f"  {why}" for why in receipt.placement.contradictions]
    mark = "" if receipt.refused else "  "
    lines += [f"{mark}{issue.code} {issue.message}" for issue in receipt.errors[:_SHOWN_ISSUES]]
    if len(receipt.errors) > _SHOWN_ISSUES:
        lines.append(f"{mark}… {len(receipt.errors) - _SHOWN_ISSUES} more (--json shows all)")
    return "\n".join(lines)


def _progress() -> AbstractContextManager[Callable[[Progress, bool], None]]:
    """Show a bar on standard error where that is a terminal, and print each receipt as it comes."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    @contextmanager
    def shown():  # noqa: ANN202  # pyright: ignore[reportUnknownParameterType]
        console = Console(stderr=True)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("")

            def show(step: Progress, as_json: bool) -> None:
                bar.update(task, description=step.file.name, completed=step.done, total=step.total)
                if step.receipt is None:
                    return
                text = step.receipt.line() if as_json else receipt_text(step.receipt)
                typer.echo(text, err=step.receipt.refused and not as_json)

            yield show

    return shown()
