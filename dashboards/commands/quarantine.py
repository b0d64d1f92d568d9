"""`chengmai ledger` and `chengmai quarantine`: where every reading went, what was refused, and what becomes of that."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dashboards.settings import Settings, settings_of
from dashboards.terminal import harmless

if TYPE_CHECKING:
    from ingest.ledger import Ledger
    from ingest.spool import Quarantined, Spool

app = typer.Typer(help="What was refused, as it came, and why.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]
District = Annotated[str | None, typer.Option(help="District; the city's own if not given.")]
Code = Annotated[str | None, typer.Option(help="Only this code, such as E_NAN.")]
OfDevice = Annotated[str | None, typer.Option("--device", help="Only what this device sent.")]
Rows = Annotated[list[int] | None, typer.Argument(metavar="[ROW]…", help="Numbers, as the list gives them.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most this many, newest first.")]

SHOWN_BYTES = 4096


def ledger(
    ctx: typer.Context,
    district: Annotated[str | None, typer.Option(help="Only this district; all of them if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Count where every reading that came in has gone, row by row; exit status 1 when the ledger does not balance."""
    from ingest.ledger import Ledger

    settings = settings_of(ctx)
    wanted = settings.districts if district is None else [district]
    there = [name for name in wanted if settings.spool_of(name).is_file()] or wanted[:1]
    counted: dict[str, Ledger] = {}
    for name in there:
        with _spool(settings, name) as spool:
            counted[name] = spool.recounted()
    columns = zip(*(asdict(one).values() for one in counted.values()), strict=True)
    whole = Ledger(*(sum(column) for column in columns))
    if as_json:
        each = {"districts": {name: _counts(one) for name, one in counted.items()}} if len(counted) > 1 else {}
        typer.echo(json.dumps({**_counts(whole), **each}))
    else:
        for name, one in counted.items() if len(counted) > 1 else ():
            typer.echo(f"{name:20} {one.received:12,} received, {one.spooled:,} spooled, {_said(one)}")
        for name, count in asdict(whole).items():
            typer.echo(f"{name:12} {count:12,}")
        typer.echo(_said(whole))
    if any(one.balance for one in counted.values()):
        raise typer.Exit(1)


def _counts(ledger: Ledger) -> dict[str, int]:
    return {**asdict(ledger), "balance": ledger.balance}


def _said(ledger: Ledger) -> str:
    return "balanced" if not ledger.balance else f"out of balance by {ledger.balance:,}"


@app.command("list")
def list_(
    ctx: typer.Context,
    *,
    code: Code = None,
    device: OfDevice = None,
    district: District = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List refused messages, newest first."""
    settings = settings_of(ctx)
    with _spool(settings, district) as spool:
        refused = spool.quarantined(limit, code, device)
    if not refused and not as_json:
        typer.echo("nothing was refused")
    for one in refused:
        if as_json:
            typer.echo(json.dumps(_record(one), ensure_ascii=False))
        else:
            line = f"{one.id}  {_received(one)}  {one.code}  {one.topic}  {one.readings} readings  {one.reason}"
            typer.echo(harmless(line))


@app.command("show")
def show(
    ctx: typer.Context,
    row: Annotated[int, typer.Argument(metavar="ROW", help="Number, as the list gives it.")],
    district: District = None,
    *,
    payload: Annotated[bool, typer.Option("--payload", help="Only the message, byte for byte.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one refused message: why, and all of it."""
    from twin.errors import UnknownError

    with _spool(settings_of(ctx), district) as spool:
        found = spool.quarantined_row(row)
    if found is None:
        raise UnknownError("no such row in quarantine", where=str(row), expected="one of `chengmai quarantine list`")
    if payload:
        sys.stdout.buffer.write(found.payload)
    elif as_json:
        typer.echo(json.dumps({**_record(found), "hex": found.payload.hex()}, ensure_ascii=False, indent=1))
    else:
        places = ", ".join(str(place) for place in found.places) or "all"
        for name, value in (
            ("row", found.id),
            ("received", _received(found)),
            ("topic", found.topic),
            ("code", found.code),
            ("reason", found.reason),
            ("readings", f"{found.readings} ({places})"),
            ("bytes", f"{len(found.payload):,}"),
        ):
            typer.echo(harmless(f"{name:9} {value}"))
        typer.echo(_text(found.payload[:SHOWN_BYTES]))
        if len(found.payload) > SHOWN_BYTES:
            typer.echo(f"… {len(found.payload) - SHOWN_BYTES:,} bytes more (--payload writes all of them)")


@app.command("replay")
def replay(
    ctx: typer.Context,
    rows: Rows = None,
    *,
    code: Code = None,
    device: OfDevice = None,
    district: District = None,
    limit: Limit = 1000,
    as_json: AsJson = False,
) -> None:
    """Ask ingest to take refused messages in again, as after a device was registered or a limit was corrected.

    What passes now leaves the quarantine and is stored once; what does not is refused anew.
    """
    settings = settings_of(ctx)
    with _spool(settings, district) as spool:
        numbers = _chosen(spool, rows, code, device, limit)
        _audited(settings, "quarantine.replay", district, numbers)
        asked = spool.ask_replay(numbers)
    _done(asked, numbers, f"{asked} rows will be taken in again by `chengmai ingest`", as_json=as_json)


@app.command("purge")
def purge(
    ctx: typer.Context,
    rows: Rows = None,
    *,
    code: Code = None,
    device: OfDevice = None,
    district: District = None,
    limit: Limit = 1000,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete refused messages for good; the ledger goes on counting them, as purged."""
    settings = settings_of(ctx)
    with _spool(settings, district) as spool:
        numbers = _chosen(spool, rows, code, device, limit)
        if numbers and not yes:
            typer.confirm(f"Delete {len(numbers)} refused messages for good?", abort=True, err=True)
        _audited(settings, "quarantine.purge", district, numbers)
        purged = spool.purge(numbers)
    _done(purged, numbers, f"{purged} rows are gone", as_json=as_json)


def _chosen(spool: Spool, rows: list[int] | None, code: str | None, device: str | None, limit: int) -> list[int]:
    """Return the rows that are meant: those named, or the newest of a code or device; InputError for neither."""
    from twin.errors import InputError

    if rows and (code or device):
        raise InputError("rows are named and chosen by code or device at once", expected="one of the two")
    if rows:
        return rows
    if code is None and device is None:
        raise InputError("says of no row that it is meant", expected="row numbers, --code or --device")
    return [one.id for one in spool.quarantined(limit, code, device)]


def _audited(settings: Settings, action: str, district: str | None, rows: list[int]) -> None:
    """Note who does what before it is done: what cannot be noted is not done."""
    from dashboards.audit_trail import trail_of, who
    from sensors.operations import connect

    if not rows:
        return
    engine = connect(settings.operations_url())
    try:
        named = f"quarantine:{district or settings.city.district}"
        detail = {"rows": len(rows), "first": min(rows), "last": max(rows)}
        trail_of(settings, engine).write(who(), action, named, detail)
    finally:
        engine.dispose()


def _done(count: int, rows: list[int], said: str, *, as_json: bool) -> None:
    """Say what was done; exit status 1 where rows were named that are not there."""
    if as_json:
        typer.echo(json.dumps({"rows": count, "missing": len(rows) - count}))
    else:
        typer.echo(said if count == len(rows) else f"{said}; {len(rows) - count} are not in quarantine")
    if count != len(rows):
        raise typer.Exit(1)


def _record(one: Quarantined) -> dict[str, Any]:
    payload = one.payload.decode("utf-8", "backslashreplace")
    return {**asdict(one), "payload": payload, "received": _received(one)}


def _received(one: Quarantined) -> str:
    return one.received.isoformat(timespec="milliseconds")


def _text(payload: bytes) -> str:
    return harmless(payload.decode("utf-8", "backslashreplace"), lines=True)


@contextmanager
def _spool(settings: Settings, district: str | None) -> Generator[Spool]:
    from ingest.spool import Spool
    from twin.errors import InputError

    path = settings.spool_of(district or settings.city.district)
    if not path.is_file():
        raise InputError("no spool yet", where=str(path), expected="one made by `chengmai ingest`", code="E_MISSING")
    spool = Spool(path)
    try:
        yield spool
    finally:
        spool.close()
