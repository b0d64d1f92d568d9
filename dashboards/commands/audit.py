"""`chengmai audit`: what is wrong with a network, as counts, as rows, and as a layer to look at."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.settings import clock_of, settings_of
from twin.asset import System
from twin.audit.join import Join
from twin.errors import ChengmaiError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from twin.audit.audit import Audit
    from twin.audit.networks import Audited


def audit(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None, typer.Argument(help="Files to audit as they are found; without one, the city.")
    ] = None,
    city: Annotated[
        Path | None, typer.Option(help="City database (GeoPackage); else the setting city.file.", show_default=False)
    ] = None,
    source: Annotated[str | None, typer.Option(help="Audit only what this source brought into the city.")] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Metres: ends this near are one (the cell of a grid, the step of a cluster).")
    ] = 0.01,
    near: Annotated[
        float, typer.Option(min=0, help="Metres: this near to a link or node, an end should be joined to it.")
    ] = 0.5,
    join: Annotated[Join, typer.Option(help="How ends that name no node are joined.")] = Join.GRID,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a network: the counts.")] = False,
    rows: Annotated[bool, typer.Option("--rows", help="With --json: every finding, too.")] = False,
    layer: Annotated[Path | None, typer.Option(help="Write the findings to this GeoPackage, for QGIS.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the findings to this CSV file.")] = None,
    crs: Annotated[str | None, typer.Option(help="CRS of files that name none (EPSG code, WKT, PROJ).")] = None,
    system: Annotated[System | None, typer.Option(help="System of files that do not say it.")] = None,
) -> None:
    """Audit networks: what does not hang together, contradicts itself or is missing. Findings are no errors.

    A file whose map is in feet is audited in feet, --tolerance and --near too; degrees become metres.
    """
    from twin.audit.audit import audit as audit_network

    if not (math.isfinite(tolerance) and math.isfinite(near)):
        raise InputError("is no distance", where="--tolerance or --near", expected="metres", code="E_SETTING")
    settings = settings_of(ctx)
    refused = False
    done: list[tuple[Audited, Audit]] = []
    for found in _networks(files, city or settings.resolve(settings.city.file), source, crs, system):
        if isinstance(found, ChengmaiError):
            typer.echo(str(found), err=True)
            refused = True
            continue
        seen = audit_network(found.nodes, found.links, tolerance=tolerance, near=near, join=join, unit_m=found.unit_m)
        done.append((found, seen))
        asked = {"tolerance": tolerance, "near": near, "join": join.value}
        if as_json:
            _print_json(found, seen, asked, rows=rows)
        else:
            _print_table(found, seen, asked)
    if layer or csv:
        _write(done, layer, csv, clock_of(settings).now())
    if refused:
        raise typer.Exit(1)


def _networks(
    files: list[Path] | None, city: Path, source: str | None, crs: str | None, system: System | None
) -> Iterator[Audited | ChengmaiError]:
    """Yield what is to be audited; a file that cannot be is its error, and stops no other."""
    from twin.audit.networks import city_networks, file_network
    from twin.city import City

    if not files:
        with City.open(city) as opened:
            networks = city_networks(opened, source)
        yield from networks
        return
    if source:
        raise InputError("files are audited without the city", where=f"--source {source}", expected="one or the other")
    for file in files:
        try:
            yield file_network(file, crs=crs, system=system)
        except ChengmaiError as error:
            yield error


def _print_json(found: Audited, seen: Audit, asked: dict[str, Any], *, rows: bool) -> None:
    import msgspec

    facts = {"source": found.name, "crs": found.crs, "unit": found.unit, "nodes": seen.nodes, "links": seen.links}
    listed = {"findings": seen.findings} if rows else {}
    counts = {check.value: count for check, count in seen.counts.items()}
    typer.echo(msgspec.json.encode({**facts, **asked, **counts, **listed}))


def _print_table(found: Audited, seen: Audit, asked: dict[str, Any]) -> None:
    """Print a line about the network, and a line a check that found something, with the first finding."""
    from rich.console import Console
    from rich.table import Table

    unit = "m" if found.unit == "metre" else found.unit
    joined = f"joined by {asked['join']}, {asked['tolerance']:g} {unit}; near is {asked['near']:g} {unit}"
    typer.echo(f"{found.name}  {seen.links} links, {seen.nodes} nodes  {found.crs or 'no CRS'}  {joined}")
    table = Table("check", "found", "for example", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    first = {finding.code: finding for finding in reversed(seen.findings)}
    for check, count in seen.counts.items():
        if count:
            table.add_row(check.value, str(count), f"{first[check].asset}: {first[check].sentence}")
    Console(emoji=False, markup=False, highlight=False).print(table)


def _write(done: list[tuple[Audited, Audit]], layer: Path | None, csv: Path | None, at: datetime) -> None:
    from twin.audit.findings import write_csv, write_layer

    rows = [finding for _, seen in done for finding in seen.findings]
    if csv:
        write_csv(rows, csv)
    if not layer:
        return
    crss = {found.crs for found, _ in done}
    if len(crss) > 1:
        named = ", ".join(sorted(str(crs) for crs in crss))
        raise InputError(f"findings in {len(crss)} CRSs ({named})"[:200], where=str(layer), expected="one at a time")
    write_layer(rows, layer, next(iter(crss), None), at)
