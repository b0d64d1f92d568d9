"""The web application: one ASGI server with the API, the live channel, the map's tiles and models, and the Dash pages.

API, socket and map routes stand before Dash, whose last route answers every path with the page; an unknown path under
``/api`` is a 404 in JSON and never a page.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

import structlog
from dash import Dash
from fastapi import FastAPI

from dashboards import api
from dashboards.answers import Answers
from dashboards.city_view import CityView
from dashboards.gate import OwnPagesOnly
from dashboards.live import Broadcast
from dashboards.pages import operations_callbacks as operations
from dashboards.pages.sources import Sources
from dashboards.queries import Observer
from dashboards.words import Language
from ingest.store import ReadingStore
from ingest.watch.heartbeats import Heartbeats
from sensors.alarm_log import AlarmLog
from sensors.clock import Clock
from sensors.limits import Limits
from sensors.registry import Registry

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application is built from; `title`, `zone` (IANA time zone) and `language` are the city's.

    `names` are those that browsers may call it by, besides addresses and localhost.
    """

    registry: Registry
    alarms: AlarmLog
    store: ReadingStore
    heartbeats: Heartbeats
    limits: Limits
    city: CityView
    clock: Clock
    title: str
    zone: str
    language: Language
    names: Sequence[str] = ()


def build(parts: Parts) -> FastAPI:
    """Return the application; it looks at the city from start-up to shut-down."""
    observer = Observer(
        registry=parts.registry,
        alarms=parts.alarms,
        store=parts.store,
        heartbeats=parts.heartbeats,
        city=parts.city,
        clock=parts.clock,
    )
    answers = Answers(parts.city, observer.stands_on)
    broadcast = Broadcast(observer)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        task = asyncio.create_task(broadcast.run())
        task.add_done_callback(_leave_if_blind)
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    server = FastAPI(title=parts.title, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    api.mount(server, alarms=parts.alarms, city=parts.city, answers=answers, observer=observer, broadcast=broadcast)
    server.add_api_websocket_route("/live", broadcast.serve)
    _pages(server, parts, observer, answers)
    server.add_middleware(OwnPagesOnly, names=parts.names)  # the last one added is the outermost
    return server


def _leave_if_blind(looking: asyncio.Task[None]) -> None:
    """Stop the server when it has ceased to look at the city: better gone, and started again, than showing the past."""
    if not looking.cancelled() and (error := looking.exception()) is not None:
        logger.critical("looking_failed", exc_info=error)
        signal.raise_signal(signal.SIGTERM)


def _callback_failed(error: Exception) -> None:
    """Log what a callback raised: Dash answers the browser 500 and would say nothing here."""
    logger.error("callback_failed", exc_info=error)
    raise error


def _pages(server: FastAPI, parts: Parts, observer: Observer, answers: Answers) -> Dash:
    dash = Dash(
        __name__,
        server=server,  # pyright: ignore[reportArgumentType]  # its type names Flask's; the back end takes FastAPI's
        backend="fastapi",
        compress=True,
        title=parts.title,
        update_title="",
        suppress_callback_exceptions=True,
        add_log_handler=False,
        enable_mcp=False,
        on_error=_callback_failed,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    dash.layout = operations.shell()
    operations.register(
        dash,
        Sources(
            alarms=parts.alarms,
            store=parts.store,
            limits=parts.limits,
            city=parts.city,
            answers=answers,
            observer=observer,
            title=parts.title,
            zone=parts.zone,
            language=parts.language,
        ),
    )
    return dash
