"""`chengmai up`: broker, devices, ingest and dashboard in one supervised group, from one settings file."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dashboards.settings import Settings, SettingsSource, settings_of

if TYPE_CHECKING:
    from dashboards.supervisor import Part


def up(ctx: typer.Context) -> None:
    """Run a city on this machine; a part that dies is started again, Ctrl-C stops all of it."""
    source = ctx.find_object(SettingsSource)
    settings = settings_of(ctx)
    supervise(settings, [] if source is None or source.path is None else ["--settings", str(source.path)], typer.echo)


def supervise(settings: Settings, options: list[str], say: Callable[[str], None]) -> None:
    """Run the group until it is told to stop; `options` are what each part's command line starts with."""
    from dashboards.supervisor import Supervisor, require_free_port
    from ingest.mqtt.connection import Address

    broker = Address.parse(settings.mqtt.url)
    if settings.mqtt.embedded:
        require_free_port(broker.host, broker.port, "--mqtt-port")
    require_free_port(settings.web.host, settings.web.port, "--port")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    group = Supervisor(parts(settings, options), settings.resolve(settings.log.folder), say)
    try:
        group.start(stop)
        if not stop.is_set():
            say(f"城脉 {settings.city.title}: http://{settings.web.host}:{settings.web.port}/   (Ctrl-C stops)")
        group.watch(stop)
    finally:
        say("stopping …")
        group.shut_down()
        say("stopped")


def parts(settings: Settings, options: list[str]) -> list[Part]:
    """Return the parts that `settings` ask for, with what each waits for."""
    from dashboards.supervisor import Part, listens
    from ingest.mqtt.connection import Address

    def command(*words: str) -> list[str]:
        return [sys.executable, "-m", "dashboards", *options, *words]

    begin = datetime.now(UTC)
    address = Address.parse(settings.mqtt.url)
    broker_first = ("broker",) if settings.mqtt.embedded else ()
    group: list[Part] = []
    if settings.mqtt.embedded:
        group.append(Part("broker", command("broker"), ready=lambda: listens(address.host, address.port)))
    group.append(Part("ingest", command("ingest"), after=broker_first, ready=lambda: _ingest_lives(settings, begin)))
    group.append(Part("serve", command("serve"), ready=lambda: listens(settings.web.host, settings.web.port)))
    if settings.simulation.enabled:
        group.append(Part("simulate", command("simulate"), after=("ingest",)))
    if settings.gateway.enabled:
        group.append(Part("gateway", command("gateway"), after=("ingest",)))
    return group


def _ingest_lives(settings: Settings, since: datetime) -> bool:
    """Say whether every district's ingest has beaten its heart since then, connected to the broker."""
    return all(_district_lives(settings.spool_of(district), since) for district in settings.districts)


def _district_lives(path: Path, since: datetime) -> bool:
    from ingest.spool import Spool

    if not path.is_file():
        return False
    spool = Spool(path)
    try:
        status = spool.status()
    finally:
        spool.close()
    return status is not None and status.beat > since and status.connected
