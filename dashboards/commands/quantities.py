"""`chengmai quantities`: what a point can measure, and in which units."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def quantities(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Print the catalogue of quantities: names, SI and usual units, references, and the units that are understood."""
    from sensors.quantity import CATALOGUE, units

    rows = [
        {
            "quantity": each.name,
            "zh": each.zh,
            "en": each.en,
            "si": each.si,
            "usual": each.usual,
            "reference": each.reference.value,
            "units": units(each.name),
        }
        for each in CATALOGUE.values()
    ]
    if as_json:
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("quantity", no_wrap=True), "zh", "SI", "usual", "reference", "units understood", box=None, pad_edge=False
    )
    for each in CATALOGUE.values():
        table.add_row(each.name, each.zh, each.si, each.usual, each.reference.value, " ".join(units(each.name)))
    Console(emoji=False, markup=False, highlight=False).print(table)  # [psi] is a unit, and no markup
