"""`chengmai gateway`: doors for HJ 212 stations and for platforms that push over HTTP."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.audit_trail import trail_of
from dashboards.commands.ingest import address_of
from dashboards.settings import Settings, settings_of
from twin.errors import SettingsError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from ingest.gateway.doorkeeper import Doorkeeper
    from ingest.gateway.serving import Doors


def gateway(
    ctx: typer.Context,
    hj212: Annotated[str | None, typer.Option(help="host:port for HJ 212; the settings' if not given.")] = None,
    http: Annotated[str | None, typer.Option(help="host:port for HTTP push; the settings' if not given.")] = None,
) -> None:
    """Take in HJ 212 frames and HTTP pushes until stopped; each is answered once the city has receipted it."""
    from sensors.operations import connect

    settings = settings_of(ctx)
    doors = doors_of(settings, hj212, http)
    engine = connect(settings.operations_url())
    try:
        asyncio.run(_serve(settings, doors, engine))
    finally:
        engine.dispose()


def doors_of(settings: Settings, hj212: str | None = None, http: str | None = None) -> Doors:
    """Return where to listen; SettingsError where nothing is named, and where HTTP would be open to a network.

    A bearer token is as good as the device behind it: it is taken in the clear on the loopback only, where a proxy may
    stand in front.
    """
    from ingest.broker.mosquitto import Door
    from ingest.gateway.serving import Doors

    named = [settings.gateway.hj212 if hj212 is None else hj212, settings.gateway.http if http is None else http]
    stations, web = (Door.parse(text) if text else None for text in named)
    if stations is None and web is None:
        raise SettingsError("has no door", where="gateway", expected="gateway.hj212 or gateway.http, host:port")
    certificate, key = (
        None if path is None else settings.resolve(path)
        for path in (settings.gateway.certificate, settings.gateway.key)
    )
    if web is not None and certificate is None and web.host not in {"127.0.0.1", "::1", "localhost"}:
        raise SettingsError(
            "would take tokens in the clear",
            where=f"gateway.http = {web}",
            expected="gateway.certificate, or 127.0.0.1",
        )
    return Doors(
        None if stations is None else (stations.host, stations.port),
        None if web is None else (web.host, web.port),
        certificate,
        key,
    )


async def _serve(settings: Settings, doors: Doors, engine: Engine) -> None:
    from ingest.gateway.serving import serve
    from sensors.clock import SystemClock

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    username, password = settings.gateway_login()
    address = replace(address_of(settings), username=username, password=password)
    await serve(doors, address, _doorkeeper(settings, engine), SystemClock(), stop)


def _doorkeeper(settings: Settings, engine: Engine) -> Doorkeeper:
    from ingest.gateway.doorkeeper import Doorkeeper
    from sensors.clock import SystemClock
    from sensors.credentials import Credentials
    from sensors.registry import Registry
    from sensors.unknown_device import UnknownDevices

    trail = trail_of(settings, engine)

    def tell(action: str, subject: str, detail: Mapping[str, object]) -> None:
        trail.write("gateway", action, subject, detail)

    return Doorkeeper(
        Registry(engine),
        Credentials(engine).prove,
        UnknownDevices(engine),
        tell,
        SystemClock(),
        district=settings.city.district,
    )
