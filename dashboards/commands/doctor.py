"""`chengmai doctor`: what is wrong with an installation, and what to type."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from dashboards.settings import settings_of


def doctor(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Say what is wrong with this installation and what to type; exit status 1 if something is."""
    from dashboards.doctor import Verdict, examine

    findings = examine(lambda: settings_of(ctx))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False, indent=1))
    else:
        for finding in findings:
            typer.echo(f"{finding.verdict} {finding.subject:<11} {finding.found}")
            if finding.remedy:
                typer.echo(f"  {'':<11} → {finding.remedy}")
    if any(finding.verdict is Verdict.BAD for finding in findings):
        raise typer.Exit(1)
