"""`chengmai export`: the city, or some of its sources, in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboards.moment import moment
from dashboards.settings import settings_of
from twin.errors import InputError
from twin.writers.format import Format


def export(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    form: Annotated[Format, typer.Argument(metavar="FORMAT", help=f"One of {', '.join(Format)}.")],
    out: Annotated[Path, typer.Argument(help="File to write; a folder for 3dtiles, several glb, and survey as CSV.")],
    city: Annotated[
        Path | None,
        typer.Option("--city", help="City database (GeoPackage); else the setting city.file.", show_default=False),
    ] = None,
    source: Annotated[list[str] | None, typer.Option("--source", help="Source to write; may be repeated.")] = None,
    table: Annotated[list[str] | None, typer.Option("--table", help="Table to write (geojson).")] = None,
    crs: Annotated[
        str, typer.Option("--crs", help="Coordinates of geojson: lonlat (WGS 84, RFC 7946) or city.")
    ] = "lonlat",
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="The city as it was then: 2026-03-01T08:00Z.", show_default=False)
    ] = None,
    meshes: Annotated[bool, typer.Option("--meshes", help="cityjson with the surfaces of building models.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The receipt as one JSON line, on standard output.")] = False,
) -> None:
    """Write the city, or some of its sources, in another format: a whole file or folder, or none."""
    from contextlib import ExitStack

    import msgspec

    from twin.city import City
    from twin.export import Wanted
    from twin.export import export as write

    if crs not in ("lonlat", "city"):
        raise InputError(f"is {crs!r}", where="--crs", expected="lonlat or city", code="E_OPTION")
    settings = settings_of(ctx)
    with ExitStack() as opened:
        present = opened.enter_context(City.open(city or settings.resolve(settings.city.file)))
        then = present if as_of is None else opened.enter_context(present.as_of(moment(as_of, "--as-of")))
        wanted = Wanted(source or (), table or (), city_coordinates=crs == "city", meshes=meshes)
        receipt = write(then, form, out, wanted)
    if as_json:
        typer.echo(msgspec.json.encode(receipt))
        return
    counted = ", ".join(f"{count} {name}" for name, count in receipt.counts.items())
    typer.echo(f"{receipt.path}  {receipt.format.value}  {counted}")
    for note in receipt.notes:
        typer.echo(f"  {note}")
