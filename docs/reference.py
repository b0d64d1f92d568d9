"""Writes docs/reference.md: every command with its options, and every setting, from the code itself.

Run ``python docs/reference.py``; a test fails when the file and the code differ.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def _commands(command: Any, path: list[str]) -> list[str]:
    """Return a section a command; Typer carries its own copy of click, so that kinds are told by their attributes."""
    if hasattr(command, "commands"):
        return [line for name in command.commands for line in _commands(command.commands[name], [*path, name])]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and p.help and "--help" not in p.opts]
    heading = " ".join([*path, *(_placeholder(argument) for argument in arguments)])
    lines = [f"### `{heading}`", "", (command.help or "").strip(), ""]
    lines += [f"- `{_placeholder(argument)}`: {argument.help}" for argument in arguments if argument.help]
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.opts)
        default = "" if option.default in (None, False, "", (), []) else f" (default `{_text(option.default)}`)"
        lines.append(f"- {names}: {option.help}{default}")
    return [*lines, ""] if options or arguments else lines


def _placeholder(argument: Any) -> str:
    name = str(argument.name).upper()
    return f"{name}…" if argument.nargs == -1 else name


def _text(default: Any) -> str:
    return str(getattr(default, "value", default))


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
