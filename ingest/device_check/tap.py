"""A wire tap: a device's connection to its broker, passed on byte by byte, seen packet by packet, and cut at will."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from ingest.device_check.wire import (
    Connect,
    Kind,
    Packets,
    Publish,
    connect_of,
    kind_of,
    publish_of,
    reason_of,
    subscribe_of,
)
from ingest.mqtt.address import Address
from twin.errors import BusyError, RefusedError, UnavailableError

logger = structlog.get_logger()

START_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Seen:
    """A packet that passed: `at` is monotonic seconds, `wall_ms` the machine's time, `connection` counts from 1.

    One of `connect`, `publish`, `filters` and (of CONNACK) `reason` says what is in it, where that is looked into;
    `broken` is why a packet could not be read, and the last that is seen of its connection.
    """

    at: float
    wall_ms: int
    connection: int
    from_device: bool
    kind: Kind
    connect: Connect | None = None
    publish: Publish | None = None
    filters: tuple[str, ...] = ()
    reason: int | None = None
    broken: str = ""


class WireTap:
    """Listens for devices at `host` and `port` (0: a free one) and passes them on to `broker`, from `start` to `stop`.

    `on_seen` is called for each packet on the tap's own thread, and must not raise. While it is shut, connections are
    closed as soon as they come.
    """

    def __init__(self, host: str, port: int, broker: Address, on_seen: Callable[[Seen], None]) -> None:
        self.host = host
        self.port = port
        self._broker = broker
        self._on_seen = on_seen
        self._shut = False
        self._connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: OSError | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="wire-tap", daemon=True)

    def start(self) -> Self:
        """Listen; BusyError when the port is taken, UnavailableError when nothing comes of it in time."""
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            raise UnavailableError(f"did not start within {START_TIMEOUT_S:g} s", where=f"{self.host}:{self.port}")
        if self._failure is not None:
            what = self._failure.strerror or str(self._failure)
            raise BusyError(what, where=f"{self.host}:{self.port}", expected="an address that is free")
        return self

    def shut(self) -> None:
        """Cut every connection without a word, and let nobody in until `open`."""
        self._shut = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cut)

    def open(self) -> None:
        """Let devices in again."""
        self._shut = False

    def stop(self, timeout_s: float = 10.0) -> None:
        """Cut every connection and stop listening."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout_s)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            server = await asyncio.start_server(self._accept, self.host, self.port, limit=CHUNK)
        except OSError as error:
            self._failure = error
            self._started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stopping.wait()
        server.close()
        self._cut()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CONNECT_TIMEOUT_S)

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    def _accept(self, from_device: asyncio.StreamReader, to_device: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(from_device, to_device))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass(self, from_device: asyncio.StreamReader, to_device: asyncio.StreamWriter) -> None:
        self._writers.add(to_device)
        try:
            if self._shut:
                return
            opening = asyncio.open_connection(self._broker.host, self._broker.port, ssl=self._broker.context())
            from_broker, to_broker = await asyncio.wait_for(opening, CONNECT_TIMEOUT_S)
            self._writers.add(to_broker)
            self._connections += 1
            sight = _Sight(self._connections, self._on_seen)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(_copy(from_device, to_broker, sight, from_device=True))
                    both.create_task(_copy(from_broker, to_device, sight, from_device=False))
            finally:
                self._writers.discard(to_broker)
                to_broker.close()  # sends what waits; only a cut drops it
        except* (OSError, TimeoutError, _Ended) as errors:
            # A side that went is no news; a broker that cannot be reached the device notices itself.
            logger.debug("tap_closed", reasons=[str(each) for each in errors.exceptions])
        finally:
            self._writers.discard(to_device)
            to_device.close()


class _Ended(Exception):  # noqa: N818  # no error: it ends the other direction's task
    """One side has closed the connection."""


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sight: _Sight, *, from_device: bool
) -> None:
    while data := await reader.read(CHUNK):
        sight.look(data, from_device=from_device)
        writer.write(data)
        await writer.drain()
    raise _Ended


class _Sight:
    """What is seen of one connection, in both directions."""

    def __init__(self, connection: int, on_seen: Callable[[Seen], None]) -> None:
        self._connection = connection
        self._on_seen = on_seen
        self._level = 4
        self._packets = {True: Packets(), False: Packets()}
        self._aliases: dict[bool, dict[int, str]] = {True: {}, False: {}}
        self._blind = {True: False, False: False}

    def look(self, data: bytes, *, from_device: bool) -> None:
        """Tell the packets that `data` completes; one that cannot be read is told, and nothing after it is."""
        if self._blind[from_device]:
            return
        try:
            for first, body in self._packets[from_device].feed(data):
                self._on_seen(self._seen(first, body, from_device=from_device))
        except RefusedError as error:
            self._blind[from_device] = True
            self._on_seen(self._of(Kind.OTHER, from_device=from_device, broken=str(error)))

    def _seen(self, first: int, body: bytes, *, from_device: bool) -> Seen:
        kind = kind_of(first)
        if kind is Kind.CONNECT:
            connect = connect_of(body)
            self._level = connect.level
            return self._of(kind, from_device=from_device, connect=connect)
        if kind is Kind.PUBLISH:
            publish = publish_of(first, body, self._level, self._aliases[from_device])
            return self._of(kind, from_device=from_device, publish=publish)
        if kind is Kind.SUBSCRIBE:
            return self._of(kind, from_device=from_device, filters=tuple(subscribe_of(body, self._level)))
        if kind is Kind.CONNACK:
            return self._of(kind, from_device=from_device, reason=reason_of(body))
        return self._of(kind, from_device=from_device)

    def _of(
        self,
        kind: Kind,
        *,
        from_device: bool,
        connect: Connect | None = None,
        publish: Publish | None = None,
        filters: tuple[str, ...] = (),
        reason: int | None = None,
        broken: str = "",
    ) -> Seen:
        now, wall_ms = time.monotonic(), time.time_ns() // 1_000_000
        return Seen(now, wall_ms, self._connection, from_device, kind, connect, publish, filters, reason, broken)


__all__ = ["Seen", "WireTap"]
