"""`chengmai backup` and `chengmai restore`: a city's files, copied while the system runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dashboards.settings import clock_of, settings_of


def backup(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="New or empty folder for the backup.")],
) -> None:
    """Copy city, readings, spool and operations into a folder; the system may be running."""
    from dashboards.backup import back_up, elsewhere

    settings = settings_of(ctx)
    for one in back_up(settings, folder, clock_of(settings).now()):
        typer.echo(f"{one.part:<11} {one.size:>12,} bytes  {folder / one.name}")
    for line in elsewhere(settings):
        typer.echo(f"not here    {line}")


def restore(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder that `chengmai backup` made.")],
) -> None:
    """Put a backup where the settings look for the city's files; nothing that exists is overwritten."""
    from dashboards.backup import restore as put_back

    settings = settings_of(ctx)
    for one in put_back(settings, folder):
        typer.echo(f"{one.part:<11} {one.size:>12,} bytes  restored")
