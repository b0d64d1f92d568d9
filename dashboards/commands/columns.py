"""`chengmai columns`: what the columns of a GIS layer or survey table are taken for, before they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from twin.readers.guesses import ColumnGuess, LayerGuess


def columns(
    file: Annotated[Path, typer.Argument(help="GeoJSON, GeoPackage, Shapefile; survey tables as XLSX or CSV.")],
    mapping: Annotated[Path | None, typer.Option(help="Mapping file (TOML) that says what columns mean.")] = None,
    write: Annotated[
        Path | None, typer.Option(help="Write the guesses as a mapping file to edit; it must not be there yet.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line a layer.")] = False,
) -> None:
    """Show what each column is taken for, in which unit, with samples; nothing is loaded."""
    import msgspec

    from twin.errors import InputError
    from twin.model import ColumnMapping
    from twin.readers.guesses import as_mapping, guesses
    from twin.readers.mapping import read_mapping

    found = guesses(file, read_mapping(mapping) if mapping else ColumnMapping())
    for layer in found:
        if as_json:
            typer.echo(msgspec.json.encode({**msgspec.to_builtins(layer), "not_understood": layer.not_understood}))
        else:
            _show(layer)
    if write:
        try:
            with write.open("x", encoding="utf-8") as out:
                out.write(as_mapping(found))
        except FileExistsError:
            raise InputError("is there already", where=str(write), expected="a new file", code="E_FILE") from None
        except OSError as error:
            raise InputError(error.strerror or "cannot be written", where=str(write), code="E_FILE") from None
        typer.echo(f"wrote {write}", err=True)


def _show(layer: LayerGuess) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("column", "meaning", "unit", "samples", box=None, pad_edge=False)
    for guess in layer.columns:
        table.add_row(guess.column, guess.meaning or "?", _unit(guess), ", ".join(guess.samples))
    system = layer.system or "system not known"
    console = Console(emoji=False, markup=False, highlight=False)
    console.print(f"{layer.layer}: {layer.rows} rows ({layer.rows_are}), {system}")
    console.print(table)
    for meaning, value in layer.fixed.items():
        console.print(f"{meaning} = {value} for every row")
    for doubt in layer.doubts:
        console.print(f"! {doubt}")
    if layer.not_understood:
        console.print(f"not understood: {', '.join(layer.not_understood)}")
    console.print()


def _unit(guess: ColumnGuess) -> str:
    return f"{guess.unit} ({guess.unit_from})" if guess.unit else ""
