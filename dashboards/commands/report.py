"""`chengmai report`: the CIM level that each asset reaches, and the data that is there or missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import Settings, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from twin.cim_level import AssetLevel, CimReport, CimTable

_COLUMNS = ("asset", "table", "class", "level", "missing", "next_needs")
_FILE_WIDTH = 400


def report(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    city: Annotated[
        Path | None, typer.Option(help="City database (GeoPackage); else the setting city.file.", show_default=False)
    ] = None,
    table: Annotated[
        Path | None, typer.Option(help="Levels and items (TOML) in the place of Chengmai's own twin/cim_levels.toml.")
    ] = None,
    assets: Annotated[bool, typer.Option("--assets", help="A line an asset: its level and what it lacks.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write a row an asset to this CSV file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object; with --assets one JSON line each.")] = False,
) -> None:
    """Report the CIM level (CJJ/T 315-2022) of every class and asset, and the data that is present or missing."""
    import msgspec

    from twin.cim_level import asset_levels, read_table
    from twin.cim_level import report as report_of
    from twin.city import City

    settings = settings_of(ctx)
    rows = read_table(table)
    with City.open(city or settings.resolve(settings.city.file)) as opened:
        if csv:
            _write_csv(csv, asset_levels(opened, rows))
        if assets:
            for each in asset_levels(opened, rows):
                typer.echo(msgspec.json.encode(each) if as_json else _line(each))
            return
        found = report_of(opened, rows, devices=_devices(settings))
    if as_json:
        typer.echo(msgspec.json.encode(found))
    else:
        _print(found, rows)


def _devices(settings: Settings) -> int:
    """Return how many field devices are in service, 0 where there is no registry yet."""
    from dashboards.bindings import registry_of

    registry = registry_of(settings)  # a report makes none
    return sum(not device.retired for device in registry.devices()) if registry else 0


def _line(each: AssetLevel) -> str:
    level = f"CIM{each.level}" if each.level else "-"
    return f"{each.asset}  {level}  {', '.join(each.missing) or 'all there'}"


def _write_csv(path: Path, rows: Iterable[AssetLevel]) -> None:
    import csv

    from twin.errors import InputError

    try:
        with path.open("w", newline="", encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow(_COLUMNS)
            for each in rows:
                lacks = (" ".join(each.missing), " ".join(each.next_needs))
                writer.writerow((each.asset, each.table, each.asset_class, each.level, *lacks))
    except OSError as error:
        raise InputError(error.strerror or "cannot be written", where=str(path), code="E_WRITE") from None


def _print(found: CimReport, rows: CimTable) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    titles = {row.level: row.title for row in rows.level}
    console = Console(emoji=False, markup=False, highlight=False)
    if not console.is_terminal:  # a line a class for grep and files, whatever it lacks
        console = Console(width=_FILE_WIDTH, emoji=False, markup=False, highlight=False)
    lacks = Column("missing", overflow="fold")
    table = Table("class", "assets", "level", lacks, box=None, pad_edge=False)
    for each in found.classes:
        levels = ", ".join(f"{_level(level)} {count}" for level, count in sorted(each.levels.items()))
        lacking = [item for item in each.items if item.missing]
        missing = ", ".join(
            item.title if item.missing == each.assets else f"{item.title} ({item.missing})" for item in lacking
        )
        table.add_row(each.asset_class, str(each.assets), levels, missing)
    console.print(table)
    held = Table("category", "data", "rows", "", box=None, pad_edge=False)
    for each in found.holdings:
        held.add_row(each.category_title, each.title, str(each.rows), "" if each.present else "missing")
    console.print()
    console.print(held)
    console.print()
    console.print("  ".join(f"CIM{level} {title}" for level, title in titles.items()))
    if found.replaced:
        console.print(f"{found.replaced} footprints left out: building models stand for them")
    console.print(f"{found.verified_rows} of {found.rows} rows of the table were held against the text of the standard")


def _level(level: int) -> str:
    return f"CIM{level}" if level else "none"
