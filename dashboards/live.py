"""The live channel: one broadcast of what the screens show, to any number of watchers.

Each frame is serialised once and the same bytes go to everybody: a snapshot to who connects, deltas afterwards. A
text frame is JSON (`dashboards.queries.Situation`); a binary frame holds the state of every sensor. A watcher that
cannot keep up is let go; its page connects again and gets a snapshot.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Iterable

import orjson
import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from dashboards.queries import Observer, Situation

logger = structlog.get_logger()

PERIOD_S = 0.5
BACKLOG = 20  # frames that a watcher may lag behind: 10 s, after which its page takes the line for dead anyway
SEND_TIMEOUT_S = 10.0
CLOSE_TRY_AGAIN = 1013

Frame = str | bytes


def states_frame(situation: Situation) -> bytes:
    """Return the binary frame: the device list's version (uint32, little endian), then one byte a device."""
    return struct.pack("<I", situation.devices) + situation.states


def text_frame(kind: str, situation: Situation, put: Iterable[object], drop: Iterable[str]) -> str:
    """Return the JSON frame: what is known now, and the alarms that came, changed or went."""
    body = {"kind": kind, **situation.status, "alarms": {"put": list(put), "drop": list(drop)}}
    return orjson.dumps(body).decode()


class Broadcast:
    """Looks at the city every `PERIOD_S` and tells every watcher. All methods run on one event loop."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._watchers: set[asyncio.Queue[Frame]] = set()
        self._situation: Situation | None = None
        self._states: bytes = b""
        self._looked = asyncio.Event()

    @property
    def watchers(self) -> int:
        """How many screens are connected."""
        return len(self._watchers)

    @property
    def situation(self) -> Situation | None:
        """What was seen last, or None before the first look."""
        return self._situation

    async def run(self) -> None:
        """Look and tell until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + PERIOD_S
            situation = await asyncio.to_thread(self._observer.look)
            self._situation = situation
            self._tell(text_frame("delta", situation, situation.put, situation.drop))
            states = states_frame(situation)
            if states != self._states:
                self._states = states
                self._tell(states)
            self._looked.set()
            await asyncio.sleep(max(0.05, due - loop.time()))

    def _tell(self, frame: Frame) -> None:
        for queue in list(self._watchers):
            try:
                queue.put_nowait(frame)
            except asyncio.QueueFull:
                self._watchers.discard(queue)  # its sender notices and closes the line

    def _greeting(self, situation: Situation) -> list[Frame]:
        return [text_frame("snapshot", situation, situation.alarms.values(), ()), self._states]

    async def serve(self, socket: WebSocket) -> None:
        """Serve one watcher until it leaves or falls behind."""
        await socket.accept()
        await self._looked.wait()
        assert self._situation is not None  # that is what was waited for
        queue: asyncio.Queue[Frame] = asyncio.Queue(BACKLOG)
        for frame in self._greeting(self._situation):
            queue.put_nowait(frame)
        self._watchers.add(queue)
        sender = asyncio.create_task(self._send(socket, queue))
        receiver = asyncio.create_task(_until_closed(socket))
        try:
            await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watchers.discard(queue)
            for task in (sender, receiver):
                task.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the other side has closed already
                await socket.close(CLOSE_TRY_AGAIN)

    async def _send(self, socket: WebSocket, queue: asyncio.Queue[Frame]) -> None:
        while queue in self._watchers:
            frame = await queue.get()
            sending = socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_text(frame)
            await asyncio.wait_for(sending, SEND_TIMEOUT_S)
        logger.info("watcher_too_slow", backlog=BACKLOG)


async def _until_closed(socket: WebSocket) -> None:
    """Read and ignore what the browser says; return when it has left."""
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.receive_text()
