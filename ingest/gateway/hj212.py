"""HJ 212 over TCP: stations connect, send frames, and are answered (9014) once their data are receipted."""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass

import structlog

from ingest.gateway.doorkeeper import Doorkeeper
from ingest.gateway.relay import ANSWER_S, Relay
from ingest.payload.hj212 import HEAD, TAIL, Frame, Hj212Decoder, read_frame
from ingest.topic import Channel
from sensors.device import DeviceId
from twin.errors import BusyError, RefusedError, UnavailableError

logger = structlog.get_logger()

STRANGER_S = 60.0
"""How long a connection may stay without a frame that proves who sends it."""

IDLE_S = 2 * 3600.0
"""How long a proved station may be silent: the least frequent data that it must send come each hour."""

PAUSE_S = 1.0
"""Before a connection with a wrong password is closed."""

MAX_GUESSES = 5
GUESSES_S = 60.0
"""Wrong passwords for one station from one host in that time; then none is looked at until it is over. Six digits are
soon guessed otherwise, and a station behind the same address as a wrong one is not shut out."""

MAX_GUESSERS = 10_000

FRAME_S = 30.0
"""How long the rest of a frame may take once it has begun."""

WINDOW = 32
"""Frames of one station under way at once; its backlog waits in TCP."""

MAX_CONNECTIONS = 5_000
MAX_NOISE = 16 * 1024
"""Bytes between two frames before a connection is given up."""


@dataclass(slots=True)
class _Station:
    """One connection: who was proved on it, and its frames under way."""

    host: str
    peer: str
    opened_s: float
    writer: asyncio.StreamWriter
    window: asyncio.Semaphore
    device: DeviceId | None = None


class Hj212Door:
    """Serves connections; `handle` is what asyncio calls for each. `answer_s` is how long a receipt may take."""

    def __init__(self, relay: Relay, doorkeeper: Doorkeeper, *, answer_s: float = ANSWER_S) -> None:
        self._relay = relay
        self._doorkeeper = doorkeeper
        self._answer_s = answer_s
        self._decoder = Hj212Decoder()
        self._writers: set[asyncio.StreamWriter] = set()
        self._guesses: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    async def listen(self, host: str, port: int) -> asyncio.Server:
        """Return the listening server; OSError where the port is taken."""
        return await asyncio.start_server(self.handle, host, port, limit=MAX_NOISE)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends, is silent for too long, or says what nobody may say."""
        host, port, *_ = writer.get_extra_info("peername") or ("gone", 0)
        peer = f"{host}:{port}"
        if len(self._writers) >= MAX_CONNECTIONS:
            logger.warning("station_turned_away", peer=peer, connections=len(self._writers))
            writer.close()
            return
        self._writers.add(writer)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        station = _Station(host, peer, _now_s(), writer, asyncio.Semaphore(WINDOW))
        try:
            await self._serve(reader, station)
        except asyncio.CancelledError:
            logger.debug("station_left", peer=peer)  # the gateway ends; asyncio would log the task as failed
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, station: _Station) -> None:
        received = frames(reader, lambda: station.device is not None)
        try:
            async with asyncio.TaskGroup() as under_way, aclosing(received):
                async for raw in received:
                    waited_s = 0.0 if station.device is not None else _now_s() - station.opened_s
                    if waited_s > STRANGER_S or not await self._take(station, raw, under_way):
                        break
        except* (ConnectionError, TimeoutError) as lost:
            logger.info("station_lost", peer=station.peer, device=station.device, error=str(lost.exceptions[0]))

    def close(self) -> None:
        """End every connection; stations come again."""
        for writer in list(self._writers):
            writer.close()

    async def _take(self, station: _Station, raw: bytes, under_way: asyncio.TaskGroup) -> bool:
        """Take one frame as it came, and return whether its sender may go on."""
        try:
            read = read_frame(raw, checked=False)
        except RefusedError as error:
            logger.warning("frame_refused", peer=station.peer, device=station.device, error=str(error))
            return True  # nobody knows whose it is; the station sends it again
        device = self._doorkeeper.at(read.address)
        if device is None:
            self._see(read, raw, station.peer)
            return True
        try:
            if not await self._proved(station.host, read, device):
                self._doorkeeper.refuse(read.address, device)
                await asyncio.sleep(PAUSE_S)
                return False
        except (UnavailableError, BusyError) as error:
            logger.warning("station_not_proved", peer=station.peer, device=device, error=str(error))
            return True
        station.device = device
        await station.window.acquire()
        under_way.create_task(self._relayed(station, read, raw, device))
        return True

    async def _proved(self, host: str, read: Frame, device: DeviceId) -> bool:
        guesses, tried_s = self._guesses_of(host, read.address), _now_s()
        guesses.append(tried_s)  # counts while it is looked at: guesses side by side are as many as one by one
        if len(guesses) > MAX_GUESSES:
            return False
        wrong = False
        try:
            found = await self._doorkeeper.who(read.address, read.password)
            wrong = found is None or not found.speaks_for(device)
        finally:
            if not wrong:
                with suppress(ValueError):  # forgotten meanwhile
                    guesses.remove(tried_s)
        return not wrong

    def _guesses_of(self, host: str, address: str) -> deque[float]:
        """Return when passwords were tried lately that were wrong, or are being looked at, for the caller to add to."""
        guesses = self._guesses.setdefault((host, address), deque(maxlen=MAX_GUESSES + 1))
        self._guesses.move_to_end((host, address))
        if len(self._guesses) > MAX_GUESSERS:
            self._guesses.popitem(last=False)
        while guesses and _now_s() - guesses[0] >= GUESSES_S:
            guesses.popleft()
        return guesses

    async def _relayed(self, station: _Station, read: Frame, raw: bytes, device: DeviceId) -> None:
        """Publish a frame, and answer it once it is receipted; without a receipt there is no answer."""
        try:
            topic = self._doorkeeper.topic(device, Channel.HJ212)
            if topic is None:
                return  # retired this moment
            name = self._name(raw)
            if name is None:
                self._relay.publish(topic, raw)  # kept as it is; which frame it was cannot be told
                return
            receipt = await self._relay.deliver(topic, raw, name, self._answer_s)
            for _, _, code in receipt.rej[:1]:
                logger.info("frame_quarantined", device=device, code=code)
            if read.wants_answer:
                station.writer.write(read.answer())
                async with asyncio.timeout(self._answer_s):
                    await station.writer.drain()
        except UnavailableError as error:
            logger.warning("frame_not_answered", device=device, error=str(error))
        finally:
            station.window.release()

    def _name(self, raw: bytes) -> tuple[int, int] | None:
        """Return what names a frame in receipts: nothing where it is damaged, or has no QN."""
        try:
            message = self._decoder.decode("", raw)
        except RefusedError:
            return None  # the worker refuses it with its reason
        return None if message.boot is None or message.seq is None else (message.boot, message.seq)

    def _see(self, read: Frame, raw: bytes, peer: str) -> None:
        try:
            measurements = self._decoder.decode("", raw).measurements
        except RefusedError:
            measurements = []
        self._doorkeeper.see(read.address, measurements)
        logger.debug("station_unknown", peer=peer, station=read.station)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def frames(reader: asyncio.StreamReader, proved: Callable[[], bool]) -> AsyncGenerator[bytes, None]:
    """Yield the frames of a connection as they came; what stands between them is passed over.

    Ends with the connection, or with more noise than `MAX_NOISE`; TimeoutError when nothing comes for too long.
    """
    while True:
        try:
            async with asyncio.timeout(IDLE_S if proved() else STRANGER_S):
                await reader.readuntil(HEAD)
            async with asyncio.timeout(FRAME_S):
                length = await reader.readexactly(4)
                rest = await reader.readexactly(int(length) + 4) if length.isdigit() else b""
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        if rest:
            yield HEAD + length + rest + TAIL


__all__ = ["Hj212Door", "frames"]
