"""`chengmai ingest`, `chengmai ledger` and `chengmai quarantine`: what comes in, where it went, what was refused."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import Settings, clock_of, settings_of
from sensors.clock import Clock, ManualClock, from_ms

if TYPE_CHECKING:
    from ingest.mqtt import Address
    from ingest.spool import Spool
    from ingest.worker import Worker

AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


class CityClock(StrEnum):
    """Which clock the city runs on."""

    SETTINGS = "settings"
    RECORDING = "recording"


def ingest(
    ctx: typer.Context,
    clock: Annotated[
        CityClock, typer.Option(help="The clock of the settings, or the recording's, moved by `chengmai replay`.")
    ] = CityClock.SETTINGS,
) -> None:
    """Take in readings of the city's district until stopped: check, keep, receipt, store, detect, raise alarms."""
    settings = settings_of(ctx)
    city_clock = recording_clock(settings) if clock is CityClock.RECORDING else clock_of(settings)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with worker_of(settings, city_clock) as worker:
        worker.run(stop)


def recording_clock(settings: Settings) -> ManualClock:
    """Return a clock for a replay to move; it goes on where the last one stood."""
    from ingest.spool import Spool

    spool = Spool(settings.resolve(settings.ingest.spool))
    last = spool.status()
    spool.close()
    return ManualClock(last.city_time if last and last.recording else from_ms(0))


@contextmanager
def worker_of(settings: Settings, clock: Clock) -> Generator[Worker]:
    """Open everything that the settings name, and give the worker that joins it."""
    from ingest.spool import Spool
    from ingest.store import open_store
    from ingest.worker import Limits, Worker
    from sensors import limits as detection_limits
    from sensors.alarm_log import AlarmLog
    from sensors.detection.pipeline import Pipeline
    from sensors.operations import connect
    from sensors.registry import Registry

    engine = connect(settings.operations_url())
    spool = Spool(settings.resolve(settings.ingest.spool))
    store = open_store(settings.store_url(), settings.store.token.get_secret_value())
    path = settings.detection.limits
    limits = detection_limits.load(None if path is None else settings.resolve(path))
    disabled = settings.detection.disabled
    allowed = Limits(timedelta(seconds=settings.ingest.future_s), timedelta(days=settings.ingest.history_days))
    try:
        with spool.owned():
            yield Worker(
                address=address_of(settings),
                district=settings.city.district,
                spool=spool,
                store=store,
                registry=Registry(engine),
                pipeline=lambda devices: Pipeline.build(devices, limits, disabled),
                alarms=AlarmLog(engine, clock),
                clock=clock,
                limits=allowed,
            )
    finally:
        spool.close()
        engine.dispose()


def ledger(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Print where every reading that came in has gone; exit status 1 when the ledger does not balance."""
    with _spool(settings_of(ctx)) as spool:
        found = spool.ledger()
    if as_json:
        typer.echo(json.dumps({**asdict(found), "balance": found.balance}))
    else:
        for name, count in asdict(found).items():
            typer.echo(f"{name:12} {count:12,}")
        typer.echo("balanced" if not found.balance else f"out of balance by {found.balance:,}")
    if found.balance:
        raise typer.Exit(1)


quarantine = typer.Typer(help="What was refused, as it came, and why.", no_args_is_help=True)


@quarantine.command("list")
def list_quarantine(
    ctx: typer.Context,
    code: Annotated[str | None, typer.Option(help="Only this code, such as E_NAN.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many, newest first.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List refused messages, newest first."""
    with _spool(settings_of(ctx)) as spool:
        refused = spool.quarantined(limit, code)
    if not refused and not as_json:
        typer.echo("nothing was refused")
    for one in refused:
        received = one.received.isoformat(timespec="milliseconds")
        if as_json:
            payload = one.payload.decode("utf-8", "backslashreplace")
            typer.echo(json.dumps({**asdict(one), "payload": payload, "received": received}, ensure_ascii=False))
        else:
            typer.echo(f"{one.id}  {received}  {one.code}  {one.topic}  {one.readings} readings  {one.reason}")


def address_of(settings: Settings) -> Address:
    """Return the broker that the settings name."""
    from ingest.mqtt import Address

    return Address.parse(settings.mqtt.url, settings.mqtt.username, settings.mqtt.password.get_secret_value())


@contextmanager
def _spool(settings: Settings) -> Generator[Spool]:
    from ingest.spool import Spool
    from twin.errors import InputError

    path = settings.resolve(settings.ingest.spool)
    if not path.is_file():
        raise InputError("no spool yet", where=str(path), expected="one made by `chengmai ingest`", code="E_MISSING")
    spool = Spool(path)
    try:
        yield spool
    finally:
        spool.close()
