"""The gateway as a process: the relay, the doors that the settings name, and the doorkeeper's rounds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog
import uvicorn

from ingest.gateway.doorkeeper import Doorkeeper
from ingest.gateway.hj212 import Hj212Door
from ingest.gateway.push import Pushing
from ingest.gateway.relay import Relay
from ingest.mqtt import Address
from sensors.clock import Clock
from twin.errors import BusyError, InputError, UnavailableError

logger = structlog.get_logger()

ROUNDS_S = 5.0
"""Between two looks at the registry; so long a new device may have to wait."""

GRACE_S = 5
MAX_REQUESTS = 500


@dataclass(frozen=True, slots=True)
class Doors:
    """Where to listen, (host, port) or None; `certificate` and `key` (PEM) make HTTP push HTTPS."""

    hj212: tuple[str, int] | None = None
    http: tuple[str, int] | None = None
    certificate: Path | None = None
    key: Path | None = None


class _Server(uvicorn.Server):
    """A web server whose process has other parts, and takes the signals itself."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals alone."""
        yield


async def serve(doors: Doors, address: Address, doorkeeper: Doorkeeper, clock: Clock, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; BusyError for a port that is taken, UnavailableError for a registry that is away."""
    await asyncio.to_thread(doorkeeper.step)
    relay = Relay(address)
    relay.start()
    stations = Hj212Door(relay, doorkeeper)
    listening = None if doors.hj212 is None else await _listen(stations, *doors.hj212)
    web, bound = (None, None) if doors.http is None else _web(doors, doors.http, Pushing(relay, doorkeeper, clock))
    rounds = asyncio.create_task(_rounds(doorkeeper))
    serving = None if web is None or bound is None else asyncio.create_task(web.serve([bound]))
    try:
        logger.info("gateway_open", hj212=doors.hj212, http=doors.http, tls=doors.certificate is not None)
        stopping = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait(
            [task for task in (stopping, rounds, serving) if task], return_when=asyncio.FIRST_COMPLETED
        )
        stopping.cancel()
        for task in done - {stopping}:
            task.result()  # raises what made it end
            raise UnavailableError("ended by itself", where="gateway", expected="to serve until it is told to stop")
    finally:
        if listening is not None:
            listening.close()
        stations.close()
        if web is not None and serving is not None:
            web.should_exit = True
            await asyncio.wait([serving], timeout=2 * GRACE_S)
        rounds.cancel()
        await relay.close()
        await asyncio.to_thread(_last_round, doorkeeper)


async def _listen(stations: Hj212Door, host: str, port: int) -> asyncio.Server:
    try:
        return await stations.listen(host, port)
    except OSError as error:
        raise _taken(host, port, error) from None


def _web(doors: Doors, place: tuple[str, int], pushing: Pushing) -> tuple[uvicorn.Server, socket.socket]:
    """Return the web server and the socket it is to listen at; InputError for a certificate that cannot be used."""
    config = uvicorn.Config(
        pushing.application(),
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
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    try:
        return _Server(config), socket.create_server(place, family=family)
    except OSError as error:
        raise _taken(*place, error) from None


def _taken(host: str, port: int, error: OSError) -> BusyError:
    return BusyError(f"port {port} cannot be used: {error.strerror}", where=f"{host}:{port}", expected="a free port")


async def _rounds(doorkeeper: Doorkeeper) -> None:
    while True:
        await asyncio.sleep(ROUNDS_S)
        await asyncio.to_thread(doorkeeper.step)


def _last_round(doorkeeper: Doorkeeper) -> None:
    try:
        doorkeeper.step()
    except (UnavailableError, BusyError) as error:
        logger.warning("gateway_last_round_missed", error=str(error))


__all__ = ["Doors", "serve"]
