"""The gateway as a process: the relay, the doors that the settings name, and the doorkeeper's rounds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ingest.gateway.doorkeeper import Doorkeeper
from ingest.gateway.hj212 import Hj212Door
from ingest.gateway.push import Pushing
from ingest.gateway.relay import ANSWER_S, Relay
from ingest.mqtt.connection import Address
from sensors.clock import Clock
from twin.errors import BusyError, InputError, UnavailableError

logger = structlog.get_logger()

ROUNDS_S = 5.0
"""Between two looks at the registry; so long a new device may have to wait."""

GRACE_S = 5
HEAD_S = 10.0
"""How long the head of a request may take to come."""

MAX_REQUESTS = 500


@dataclass(frozen=True, slots=True)
class Doors:
    """Where to listen, (host, port) or None; `certificate` and `key` (PEM) make HTTP push HTTPS."""

    hj212: tuple[str, int] | None = None
    http: tuple[str, int] | None = None
    certificate: Path | None = None
    key: Path | None = None


class _Http(H11Protocol):
    """A connection that ends when the head of a request is too long in coming.

    uvicorn has no such limit, and counts who says nothing among those that `MAX_REQUESTS` lets in.
    """

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether a head is still to come."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if not self._headless():
            if self._late is not None:
                self._late.cancel()
                self._late = None
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._end)

    def _end(self) -> None:
        self._late = None
        if self._headless():
            self.transport.close()

    def _headless(self) -> bool:
        # None before the first request, though uvicorn declares that it is there.
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]


class _Server(uvicorn.Server):
    """A web server whose process has other parts, and takes the signals itself."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield


async def serve(
    doors: Doors,
    address: Address,
    doorkeeper: Doorkeeper,
    clock: Clock,
    stop: asyncio.Event,
    *,
    answer_s: float = ANSWER_S,
) -> None:
    """Serve until `stop` is set; `answer_s` is how long a receipt may take.

    BusyError for a port that is taken, InputError for a certificate, UnavailableError for a registry that is away.
    """
    await asyncio.to_thread(doorkeeper.step)
    relay = Relay(address)
    async with AsyncExitStack() as parts:
        stopping = asyncio.create_task(stop.wait())
        tasks: list[asyncio.Task[None]] = []
        parts.push_async_callback(_last_round, doorkeeper)
        parts.push_async_callback(relay.close)
        if doors.hj212 is not None:
            stations = Hj212Door(relay, doorkeeper, answer_s=answer_s)
            listening = await _listen(stations, *doors.hj212)
            parts.callback(stations.close)
            parts.callback(listening.close)
        if doors.http is not None:
            web = _web(doors, Pushing(relay, doorkeeper, clock, answer_s=answer_s))
            serving = asyncio.create_task(web.serve([_bound(*doors.http)]))
            tasks.append(serving)
            parts.push_async_callback(_end, web, serving)
        rounds = asyncio.create_task(_rounds(doorkeeper))
        tasks.append(rounds)
        parts.callback(rounds.cancel)
        relay.start()
        logger.info("gateway_open", hj212=doors.hj212, http=doors.http, tls=doors.certificate is not None)
        await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in [task for task in tasks if task.done()]:
            task.result()  # raises what made it end
            raise UnavailableError("ended by itself", where="gateway", expected="to serve until it is told to stop")


async def _end(web: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    web.should_exit = True
    await asyncio.wait([serving], timeout=2 * GRACE_S)


async def _listen(stations: Hj212Door, host: str, port: int) -> asyncio.Server:
    try:
        return await stations.listen(host, port)
    except OSError as error:
        raise _taken(host, port, error) from None


def _bound(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise _taken(host, port, error) from None


def _web(doors: Doors, pushing: Pushing) -> uvicorn.Server:
    """Return the web server; InputError for a certificate that cannot be used."""
    config = uvicorn.Config(
        pushing.application(),
        http=_Http,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_REQUESTS,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=GRACE_S,
        ssl_certfile=doors.certificate,
        ssl_keyfile=doors.key,
    )
    try:
        config.load()
    except OSError as error:
        raise InputError(str(error), where=str(doors.certificate), expected="a certificate and its key, PEM") from None
    return _Server(config)


def _taken(host: str, port: int, error: OSError) -> BusyError:
    return BusyError(f"port {port} cannot be used: {error.strerror}", where=f"{host}:{port}", expected="a free port")


async def _rounds(doorkeeper: Doorkeeper) -> None:
    while True:
        await asyncio.sleep(ROUNDS_S)
        await asyncio.to_thread(doorkeeper.step)


async def _last_round(doorkeeper: Doorkeeper) -> None:
    try:
        await asyncio.to_thread(doorkeeper.step)
    except (UnavailableError, BusyError) as error:
        logger.warning("gateway_last_round_missed", error=str(error))


__all__ = ["Doors", "serve"]
