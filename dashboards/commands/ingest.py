"""`chengmai ingest`: readings of the city's districts come in."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import Settings, SettingsSource, clock_of, settings_of
from dashboards.watch import watched
from sensors.clock import Clock, ManualClock, SteadyClock, SystemClock, from_ms

if TYPE_CHECKING:
    from ingest.mqtt.connection import Address
    from ingest.worker import Worker


class CityClock(StrEnum):
    """Which clock the city runs on."""

    SETTINGS = "settings"
    RECORDING = "recording"


def ingest(
    ctx: typer.Context,
    clock: Annotated[
        CityClock, typer.Option(help="The clock of the settings, or the recording's, moved by `chengmai replay`.")
    ] = CityClock.SETTINGS,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Processes that share the districts; `ingest.workers` if not given."),
    ] = None,
    *,
    watch: Annotated[
        bool, typer.Option(help="Serve the metrics and send the dead man's signal, where the settings ask for them.")
    ] = True,
) -> None:
    """Take in readings of the city's districts until stopped: check, keep, receipt, store, detect, raise alarms."""
    settings = settings_of(ctx)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    if clock is CityClock.RECORDING:
        with worker_of(settings, recording_clock(settings)) as worker:
            worker.run(stop)
        return
    count = workers or settings.ingest.workers
    with watched(settings) if watch else nullcontext():
        if count > 1:
            _supervise(ctx, settings, count, stop)
        else:
            _work(settings, stop)


def _work(settings: Settings, stop: threading.Event) -> None:
    """Work the share of the districts that falls to this process."""
    from dashboards.districts import Districts, process_name
    from ingest.lease import Leaseholder
    from sensors.leases import Leases
    from sensors.operations import connect

    name = process_name()
    engine = connect(settings.operations_url())
    try:
        leases = Leases(engine, name, host=socket.gethostname(), clock=SystemClock())
        premises = Districts(settings, address_of(settings), live_clock(settings), engine, name)
        Leaseholder(leases, premises, settings.districts).run(stop)
    finally:
        engine.dispose()


def _supervise(ctx: typer.Context, settings: Settings, count: int, stop: threading.Event) -> None:
    """Run `count` processes that each work a share, and start those again that die."""
    from dashboards.supervisor import Part, Supervisor
    from sensors.operations import connect

    connect(settings.operations_url()).dispose()  # migrated once, before several would
    source = ctx.find_object(SettingsSource)
    options = [] if source is None or source.path is None else ["--settings", str(source.path)]
    command = [sys.executable, "-m", "dashboards", *options, "ingest", "--workers", "1", "--no-watch"]
    parts = [Part(f"ingest-{number}", command) for number in range(1, count + 1)]
    group = Supervisor(parts, settings.resolve(settings.log.folder), typer.echo)
    try:
        group.start(stop)
        group.watch(stop)
    finally:
        group.shut_down()


def live_clock(settings: Settings) -> Clock:
    """Return the clock of a city that runs: the settings', made proof against steps of the machine's."""
    clock = clock_of(settings)
    return SteadyClock() if isinstance(clock, SystemClock) else clock


def recording_clock(settings: Settings) -> ManualClock:
    """Return a clock for a replay to move; it goes on where the last one stood."""
    from ingest.spool import Spool

    spool = Spool(settings.resolve(settings.ingest.spool))
    last = spool.status()
    spool.close()
    return ManualClock(last.city_time if last and last.recording else from_ms(0))


@contextmanager
def worker_of(settings: Settings, clock: Clock) -> Generator[Worker]:
    """Open the city's own district, and give its worker, without a lease: the only one, for a recording."""
    from dashboards.districts import Districts, process_name
    from ingest.spool import Spool
    from sensors.operations import connect

    district = settings.city.district
    engine = connect(settings.operations_url())
    spool = Spool(settings.spool_of(district))
    try:
        with spool.owned():
            yield Districts(settings, address_of(settings), clock, engine, process_name()).work(district, spool)
    finally:
        spool.close()
        engine.dispose()


def address_of(settings: Settings) -> Address:
    """Return the broker that the settings name, with what shows who this client is."""
    from ingest.mqtt.connection import Address

    mqtt = settings.mqtt
    files = (None if path is None else settings.resolve(path) for path in (mqtt.ca, mqtt.certificate, mqtt.key))
    ca, certificate, key = files
    return Address.parse(mqtt.url, mqtt.username, settings.mqtt_password(), ca=ca, certificate=certificate, key=key)
