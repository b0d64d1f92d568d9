"""`chengmai serve`: the operations view."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dashboards.settings import Settings, clock_of, settings_of

if TYPE_CHECKING:
    from fastapi import FastAPI

GRACE_S = 3  # open sockets are told to go; a page connects again by itself


def serve(
    ctx: typer.Context,
    city: Annotated[Path | None, typer.Option(help="City database (GeoPackage); the settings' if not given.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; the settings' if not given.")] = None,
) -> None:
    """Serve the operations view to browsers until Ctrl-C."""
    import uvicorn

    from dashboards.supervisor import require_free_port

    settings = settings_of(ctx)
    host, chosen = settings.web.host, port or settings.web.port
    require_free_port(host, chosen, "--port")
    server = application(settings, city.resolve() if city else settings.resolve(settings.city.file))
    typer.echo(f"http://{host}:{chosen}/   (Ctrl-C stops)")
    config = uvicorn.Config(
        server, host=host, port=chosen, log_level="warning", timeout_graceful_shutdown=GRACE_S, ws_ping_interval=20
    )
    uvicorn.Server(config).run()


def application(settings: Settings, city: Path) -> FastAPI:
    """Return the web application of these settings, on the city database at `city`."""
    from dashboards.app import Parts, build
    from dashboards.audit_trail import trail_of
    from dashboards.city_view import CityView
    from ingest.store import open_store
    from ingest.watch.heartbeats import Heartbeats
    from sensors import limits
    from sensors.alarm_log import AlarmLog
    from sensors.operations import connect
    from sensors.registry import Registry

    clock = clock_of(settings)
    engine = connect(settings.operations_url())
    return build(
        Parts(
            registry=Registry(engine),
            alarms=AlarmLog(engine, clock, trail_of(settings, engine)),
            store=open_store(settings.store_url(), settings.store_token()),
            heartbeats=Heartbeats({district: settings.spool_of(district) for district in settings.districts}),
            limits=limits.load(settings.resolve(settings.detection.limits) if settings.detection.limits else None),
            city=CityView(city),
            clock=clock,
            title=settings.city.title,
            zone=settings.city.time_zone,
            language=settings.web.language,
            names=settings.web.names,
        )
    )
