"""`chengmai check`: an IFC file against its schema and an Information Delivery Specification."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import clock_of, settings_of

if TYPE_CHECKING:
    from datetime import datetime

    from twin.check import FileCheck

_SHOWN = 5


def check(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="IFC file.", show_default=False)],
    ids: Annotated[Path | None, typer.Option(help="Information Delivery Specification (.ids).")] = None,
    rules: Annotated[bool, typer.Option("--rules", help="The schema's WHERE rules too: slow.")] = False,
    city: Annotated[
        Path | None, typer.Option("--city", help="Keep the result with the model in this city.", show_default=False)
    ] = None,
    source: Annotated[str | None, typer.Option("--as", help="The model's name in the city, if not its file's.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds after which a check is given up.")] = 1800.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Check an IFC file against its schema, and against an IDS; exit status 1 where it fails."""
    import msgspec

    from twin.check import check as check_file

    found = check_file(file, ids=ids, rules=rules, timeout_s=timeout)
    if city is not None:
        _keep(found, city, source or file.name, clock_of(settings_of(ctx)).now())
    typer.echo(msgspec.json.encode(found) if as_json else _text(found))
    if not found.passed:
        raise typer.Exit(1)


def _keep(found: FileCheck, city: Path, source: str, at: datetime) -> None:
    """Store both summaries with the newest revision of `source`."""
    import msgspec

    from twin.city import City

    with City.open(city) as opened:
        opened.put_check(source, "schema", msgspec.to_builtins(found.schema), at)
        if found.ids is not None:
            opened.put_check(source, "ids", msgspec.to_builtins(found.ids), at)


def _text(found: FileCheck) -> str:
    schema = found.schema
    read_as = f" (as {schema.alias})" if schema.alias else ""
    verdict = "keeps to it" if schema.valid else f"{schema.errors} errors"
    lines = [f"{found.file}", f"  schema {schema.schema}{read_as}: {verdict}"]
    for error in schema.shown[:_SHOWN]:
        where = f"{error.attribute or error.entity or error.code}{f' #{error.step}' if error.step else ''}"
        lines.append(f"    {where}: {error.message}")
    if schema.errors > _SHOWN:
        lines.append(f"    … {schema.errors - _SHOWN} more (--json shows {len(schema.shown)})")
    if found.ids is not None:
        lines.append(f"  {found.ids.title}: {'fulfilled' if found.ids.passed else 'not fulfilled'}")
        for each in found.ids.specifications:
            mark = "✓" if each.passed else "✗"
            counted = f"{each.fulfilled} of {each.applicable}" if each.applies else "not for this version of IFC"
            lines.append(f"    {mark} {each.name}: {counted}")
            lines += [
                f"        {failure.ifc_class} {failure.name} {failure.guid}: {failure.reason}"
                for failure in each.failures[:_SHOWN]
            ]
    return "\n".join(lines)
