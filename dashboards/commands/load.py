"""`chengmai load` and `chengmai sources`: files into the city, and what is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.moment import moment
from dashboards.settings import Settings, clock_of, settings_of
from twin.asset import System
from twin.errors import ChengmaiError

if TYPE_CHECKING:
    from dashboards.bindings import Bindings
    from twin.city import SourceRow
    from twin.load import Progress
    from twin.receipt import Receipt

_CITY = typer.Option("--city", help="City database (GeoPackage); else the setting city.file.", show_default=False)
_JSON = typer.Option("--json", help="One JSON line a file, on standard output.")
_SHOWN_ISSUES = 3
_TOLERANCE_M = 0.05  # twin.network.repair.TOLERANCE_M; importing it here would make every command start later


def load(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    paths: Annotated[
        list[Path], typer.Argument(help="Files or folders: IFC, INP, GIS layers, survey tables, gas networks.")
    ],
    city: Annotated[Path | None, _CITY] = None,
    crs: Annotated[
        str | None, typer.Option(help="CRS of files that name none (EPSG code, WKT, PROJ), and of a new city.")
    ] = None,
    system: Annotated[System | None, typer.Option(help="System of networks that do not say it.")] = None,
    source: Annotated[str | None, typer.Option("--as", help="Name to keep a single file under.")] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="What columns mean (TOML; `chengmai columns FILE` proposes one).")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair/--no-repair", help="Join loose ends of networks, with a log; or load as found.")
    ] = True,
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=10.0, help="How far a repair may move an end, metres.")
    ] = _TOLERANCE_M,
    workers: Annotated[int, typer.Option(min=1, max=64, help="IFC files read side by side.")] = 2,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which an IFC file is given up.")] = 1800.0,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """Load files into the city; a file loaded again becomes a new revision of what it brought, and of nothing else.

    Devices that watch an asset which has another id now follow it; those that have lost theirs are listed.
    """
    from twin.load import load as load_files
    from twin.readers.mapping import read_mapping

    settings = settings_of(ctx)
    path = _city_path(settings, city)
    followed: list[Bindings] = []

    def follow(receipt: Receipt) -> Bindings | None:
        bindings = _followed(settings, path, receipt)
        followed.extend([bindings] if bindings else [])
        return bindings

    with _progress(follow) as show:
        receipts = load_files(
            paths,
            path,
            at=clock_of(settings).now(),
            crs=crs,
            system=system,
            source=source,
            columns=read_mapping(mapping) if mapping else None,
            bounds=settings.city.bounds,
            tolerance_m=tolerance if repair else None,
            workers=workers,
            timeout_s=timeout,
            progress=lambda step: show(step, as_json),
            waiting=lambda: typer.echo("waiting for another load", err=True),
        )
    if any(receipt.refused for receipt in receipts) or any(bindings.error for bindings in followed):
        raise typer.Exit(1)


def _followed(settings: Settings, city: Path, receipt: Receipt) -> Bindings | None:
    """Let devices follow what a receipt tells of; None where there can be nothing to follow.

    A registry that cannot be reached stops no load.
    """
    if receipt.refused or receipt.revision in {None, 1}:
        return None
    from dashboards.bindings import Bindings, follow, registry_of
    from twin.city import City

    try:
        registry = registry_of(settings)
        if registry is None:
            return None
        with City.open(city) as opened:
            return follow(registry, opened, receipt.source)
    except ChengmaiError as error:
        return Bindings(error=str(error))


def sources(
    ctx: typer.Context,
    source: Annotated[str | None, typer.Option(help="Every revision of this one.")] = None,
    as_of: Annotated[
        str | None, typer.Option(help="As the city was at a time (ISO 8601 with offset).", show_default="now")
    ] = None,
    city: Annotated[Path | None, _CITY] = None,
    as_json: Annotated[bool, _JSON] = False,
) -> None:
    """List the files in the city: what they are, which revision, how many assets each brought, where they stand."""
    import msgspec

    from twin.city import City

    with ExitStack() as stack:
        opened = stack.enter_context(City.open(_city_path(settings_of(ctx), city)))
        if as_of:
            opened = stack.enter_context(opened.as_of(moment(as_of, "--as-of")))
        rows = opened.revisions(source) if source else opened.sources()
        if as_json:
            for row in rows:
                typer.echo(msgspec.json.encode(row))
            return
        if not source:
            typer.echo(f"{opened.path}  {opened.crs or 'no CRS yet'}  {_counted(opened.counts())}")
    for row in rows:
        typer.echo(_source_line(row))


def _city_path(settings: Settings, given: Path | None) -> Path:
    return given or settings.resolve(settings.city.file)


def _source_line(row: SourceRow) -> str:
    where = f"{row.placement.decision.value}: {row.placement.source}"
    when = f"revision {row.revision} of {row.loaded:%Y-%m-%d %H:%M}Z"
    return f"{row.source}  {row.kind}  {_counted(row.counts)}  {where}  {when}"


def _counted(counts: Mapping[str, int]) -> str:
    some = {name: count for name, count in counts.items() if count}
    return ", ".join(f"{n} {name if n > 1 else name.removesuffix('s')}" for name, n in some.items()) or "nothing"


def receipt_text(receipt: Receipt) -> str:
    """Return a receipt as a person reads it: a line of what came in and where, and one for each of a few doubts."""
    lines: list[str] = []
    if not receipt.refused and receipt.placement is not None:
        extra = "" if receipt.products is None else f" ({receipt.meshed} of {receipt.products} products meshed)"
        lines.append(
            f"{receipt.source}  {receipt.kind}  {_counted(receipt.counts)}{extra}  "
            f"{receipt.placement.decision.value}: {receipt.placement.source}  {receipt.seconds:.1f} s"
            f"{_revision(receipt)}"
        )
        if receipt.repairs:
            done = ", ".join(f"{count} {action}" for action, count in sorted(receipt.repairs.items()))
            lines.append(f"  repaired: {done} (table repairs; --no-repair loads as found)")
        lines += [f"  {why}" for why in (*receipt.placement.contradictions, *receipt.notes)]
        if proposal := receipt.placement.proposal:
            accept = f"accept it with `chengmai place {receipt.source} --accept`"
            e, n, h = proposal.origin
            beyond = f"not in this city: ({e:.3f}, {n:.3f}, {h:.3f}) in {proposal.crs}"
            lines.append(f"  proposed: {proposal.why} ({accept if proposal.in_city else beyond})")
    mark = "" if receipt.refused else "  "
    lines += [f"{mark}{issue.code} {issue.message}" for issue in receipt.errors[:_SHOWN_ISSUES]]
    if len(receipt.errors) > _SHOWN_ISSUES:
        lines.append(f"{mark}… {len(receipt.errors) - _SHOWN_ISSUES} more (--json shows all)")
    return "\n".join(lines)


def _revision(receipt: Receipt) -> str:
    if receipt.unchanged:
        return f"  unchanged: revision {receipt.revision}"
    return f"  revision {receipt.revision}" if receipt.revision != 1 else ""


def _progress(
    followed: Callable[[Receipt], Bindings | None],
) -> AbstractContextManager[Callable[[Progress, bool], None]]:
    """Show a bar on standard error where that is a terminal, and print each receipt, with its devices, as it comes."""
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    @contextmanager
    def shown():  # noqa: ANN202  # pyright: ignore[reportUnknownParameterType]
        console = Console(stderr=True)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),  # a file name may hold [brackets]
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
                devices = followed(step.receipt)
                if as_json:
                    typer.echo(step.receipt.line(**({"devices": devices.json()} if devices else {})))
                    return
                typer.echo(receipt_text(step.receipt), err=step.receipt.refused)
                for line in devices.lines() if devices else ():
                    typer.echo(f"  {line}")

            yield show

    return shown()
