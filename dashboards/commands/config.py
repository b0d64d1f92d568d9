"""`chengmai config`: the settings in force, and where each comes from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from dashboards.settings import in_force, settings_of

_PIPED_WIDTH = 160
"""Columns when nobody's terminal says how wide it is."""


def config(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Print the settings in force, where each value comes from and what it means; secrets are masked."""
    rows = in_force(settings_of(ctx))
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.table import Column, Table

    # Nothing is cut off, however narrow the terminal: a path is of no use without its end.
    columns = [
        Column(name, overflow="fold", no_wrap=name == "setting") for name in ("setting", "value", "from", "meaning")
    ]
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(row.key, row.value, row.origin, row.description)
    width = None if sys.stdout.isatty() else _PIPED_WIDTH
    Console(width=width, emoji=False, markup=False, highlight=False).print(table)  # a path may hold [brackets]
