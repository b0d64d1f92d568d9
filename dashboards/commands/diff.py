"""`chengmai diff`: what came, went, moved or changed from one revision of a model to another."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias, cast

import msgspec
import typer

from dashboards.moment import moment
from dashboards.settings import settings_of
from twin.errors import InputError, UnknownError

if TYPE_CHECKING:
    from twin.city import City, SourceRow
    from twin.diff import Difference

_CITY = typer.Option("--city", help="City database (GeoPackage); else the setting city.file.", show_default=False)
_SHOWN_CHANGES = 20
_SHOWN_WAYS = 6
_Changing: TypeAlias = tuple[str, tuple[str, ...]]
"""A class, and fields of it that changed in one way."""


def diff(  # noqa: PLR0917  # Typer makes options of them
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(help="Source, as `chengmai sources` names it.")],
    a: Annotated[
        str | None, typer.Argument(help="From: a revision, or a time (ISO 8601).", show_default="the one before B")
    ] = None,
    b: Annotated[str | None, typer.Argument(help="To: a revision, or a time.", show_default="the newest")] = None,
    city: Annotated[Path | None, _CITY] = None,
    devices: Annotated[bool, typer.Option("--devices", help="List the devices that follow or have lost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For machines: every asset, every field.")] = False,
) -> None:
    """Tell what is different between two revisions of a model; elements are the same by id, else by what they are."""
    from dashboards.bindings import Bindings, concerned, registry_of
    from twin.city import City
    from twin.diff import difference

    settings = settings_of(ctx)
    with City.open(city or settings.resolve(settings.city.file)) as opened:
        newest = _row(opened, model, b) if b else opened.revisions(model)[-1]
        oldest = _row(opened, model, a) if a else _before(opened, newest)
        changes = difference(
            opened.model(model, revision=oldest.revision), opened.model(model, revision=newest.revision)
        )
    registry = registry_of(settings) if devices else None
    bindings = concerned(registry.devices(), changes) if registry else Bindings()
    if as_json:
        ends = {"from": _end(oldest), "to": _end(newest)}
        known = {"devices": bindings.json()} if registry else {}
        typer.echo(json.dumps({**ends, **changes.json(), **known}, ensure_ascii=False))
        return
    typer.echo(f"{model}  {_named(oldest)} → {_named(newest)}")
    if oldest.placement != newest.placement:
        typer.echo(f"  placement    {_stands(oldest)} → {_stands(newest)}")
    for line in (*_lines(changes), *bindings.lines()):
        typer.echo(f"  {line}")
    if devices and registry is None:
        typer.echo("  no devices: there is no operations database")


def _row(city: City, source: str, asked: str) -> SourceRow:
    """Return the revision that a number or a time names."""
    rows = city.revisions(source)
    if asked.isdecimal():
        found = next((row for row in rows if row.revision == int(asked)), None)
    else:
        at = moment(asked, "diff", "a revision, or a time such as 2026-01-01T00:00+08:00")
        found = next((row for row in reversed(rows) if row.loaded <= at), None)
    if found is None:
        known = ", ".join(_named(row) for row in rows)
        raise UnknownError(f"no revision {asked!r} of {source}", where=str(city.path), expected=known)
    return found


def _before(city: City, row: SourceRow) -> SourceRow:
    rows = city.revisions(row.source)
    found = next((each for each in reversed(rows) if each.revision < row.revision), None)
    if found is None:
        raise InputError(f"revision {row.revision} is the first", where=row.source, expected="two revisions")
    return found


def _named(row: SourceRow) -> str:
    return f"revision {row.revision} ({row.loaded:%Y-%m-%d %H:%M}Z)"


def _end(row: SourceRow) -> dict[str, object]:
    file = {"path": row.path, "sha256": row.sha256, "placement": msgspec.to_builtins(row.placement)}
    return {"revision": row.revision, "loaded": row.loaded.isoformat(), **file}


def _stands(row: SourceRow) -> str:
    return f"{row.placement.decision.value}: {row.placement.source}"


def _lines(changes: Difference) -> Iterator[str]:
    if changes.is_empty:
        yield f"the same: {len(changes.pairs)} assets"
    for name, counts in changes.summary().items():
        if counts:
            shown = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            yield f"{name:<12} {sum(counts.values()):>6}: {shown}"
    far = max((pair.moved_m for pair in changes.moved), default=0.0)
    if far:
        yield f"farthest move {far:.3f} m"
    yield from _changed(changes)


def _changed(changes: Difference) -> Iterator[str]:
    """Yield what changed in the same way, the most frequent first; fields that changed alike stand in one line."""
    alike = _alike(changes)
    for (kind, fields), ways in alike[:_SHOWN_CHANGES]:
        told, count = ways.most_common(1)[0]
        if len(ways) > 1:
            count, told = ways.total(), f"in {len(ways)} ways, such as {told}"
        yield f"{count:>6} × {kind} {', '.join(fields)}: {told}"
    if len(alike) > _SHOWN_CHANGES:
        yield f"       … {len(alike) - _SHOWN_CHANGES} more (--json shows all)"


def _alike(changes: Difference) -> list[tuple[_Changing, Counter[str]]]:
    """Return how often each class changed in which fields together and in which way; few ways stand for themselves."""
    ways: defaultdict[_Changing, Counter[str]] = defaultdict(Counter)
    for pair in changes.changed:
        fields: defaultdict[str, list[str]] = defaultdict(list)
        for each in pair.changes:
            fields[_way(_shown(each.before), _shown(each.after))].append(each.field.removeprefix("properties."))
        for way, names in fields.items():
            ways[pair.kind, tuple(names)][way] += 1
    found: list[tuple[_Changing, Counter[str]]] = []
    for changing, counted in ways.items():
        if len(counted) > _SHOWN_WAYS:
            found.append((changing, counted))
        else:
            found += [(changing, Counter({way: count})) for way, count in counted.items()]
    return sorted(found, key=lambda each: -each[1].total())


def _way(before: str, after: str) -> str:
    """Return a change without the words that stay at either end.

    >>> _way("DN110 铸铁 立管", "DN110 PVC-U 立管")
    '铸铁 → PVC-U'
    """
    old, new = before.split(" "), after.split(" ")
    while len(old) > 1 and len(new) > 1 and old[0] == new[0]:
        del old[0], new[0]
    while len(old) > 1 and len(new) > 1 and old[-1] == new[-1]:
        del old[-1], new[-1]
    return f"{' '.join(old):.60} → {' '.join(new):.60}"


def _shown(value: object) -> str:
    match value:
        case None:
            return "none"
        case list():
            return ", ".join(map(str, cast("list[object]", value))) or "none"
        case dict():
            return ", ".join(f"{name} {entry}" for name, entry in cast("dict[str, object]", value).items())
        case _:
            return str(value)
