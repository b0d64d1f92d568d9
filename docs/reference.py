"""Writes docs/reference.md: every command with its options, and every setting, from the code itself.

Run ``python docs/reference.py``; a test fails when the file and the code differ.
"""

from __future__ import annotations

from pathlib import Path

import click
import typer.main

from dashboards.cli import app
from dashboards.settings import PREFIX, in_force, load

PAGE = Path(__file__).with_name("reference.md")


def reference() -> str:
    """Return the page."""
    command = typer.main.get_command(app)
    lines = [
        "# Reference",
        "",
        "Made by `python docs/reference.py` from the code; do not edit.",
        "",
        "## Commands",
        "",
        "`chengmai --settings FILE COMMAND …`; `CHENGMAI_SETTINGS` names the file too.",
        "A refused input is one line on standard error and exit status 1.",
        "",
    ]
    lines += _commands(command, ["chengmai"])
    lines += ["## Settings", "", "| key | default | environment | meaning |", "| --- | --- | --- | --- |"]
    for row in in_force(load()):
        variable = f"{PREFIX}{row.key.replace('.', '__').upper()}"
        lines.append(f"| `{row.key}` | {f'`{row.value}`' if row.value else ''} | `{variable}` | {row.description} |")
    return "\n".join(lines) + "\n"


def _commands(command: click.Command, path: list[str]) -> list[str]:
    if isinstance(command, click.Group):
        return [line for name in command.commands for line in _commands(command.commands[name], [*path, name])]
    context = click.Context(command)
    arguments = " ".join(
        parameter.make_metavar(context) for parameter in command.params if isinstance(parameter, click.Argument)
    )
    heading = " ".join([*path, arguments]).strip()
    lines = [f"### `{heading}`", "", (command.help or "").strip(), ""]
    options = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.help and "--help" not in parameter.opts
    ]
    for option in options:
        shown = ", ".join(f"`{name}`" for name in option.opts)
        default = f" (default `{option.default}`)" if option.default not in (None, False, "", (), []) else ""
        lines.append(f"- {shown}: {option.help}{default}")
    return [*lines, ""] if options else lines


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
