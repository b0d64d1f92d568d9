"""The embedded broker: amqtt in this process, so that a demo needs nothing installed.

For the demo only: MQTT 3.1.1, anonymous, on the loopback; it forgets sessions, retained messages and whatever was not
acknowledged when it stops. Devices that keep the contract send again what no receipt named, so that a demo loses
nothing either; a city runs Mosquitto or another broker by URL.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from types import TracebackType
from typing import Self

import structlog
from amqtt.broker import Broker
from amqtt.errors import AMQTTError, BrokerError
from amqtt.session import Session

from twin.errors import BusyError, UnavailableError

logger = structlog.get_logger()

START_TIMEOUT_S = 10.0


class _Broker(Broker):
    """amqtt's broker, except that who connects is given no retained messages before it asks for any.

    amqtt 0.12 gives it those of everybody's subscriptions, one after the other, and drops the connection when somebody
    else subscribes meanwhile: of 300 devices that connect at once, most.
    """

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        subscribed = self._subscriptions.get(subscription[0], ())
        if any(subscriber.client_id == session.client_id for subscriber, _ in subscribed):
            await super()._publish_retained_messages_for_subscription(subscription, session)


class EmbeddedBroker:
    """A broker in a thread of its own, from `start` (or ``with``) to `stop`. Port 0 takes a free one."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.host = host
        self.port = _free_port(host, port)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: str = ""
        self._thread = threading.Thread(target=self._main, name="broker", daemon=True)

    @property
    def url(self) -> str:
        """The broker's URL."""
        return f"mqtt://{self.host}:{self.port}"

    def start(self) -> Self:
        """Listen; BusyError when the port was taken meanwhile, UnavailableError when the broker does not come up."""
        self._thread.start()
        if not self._started.wait(START_TIMEOUT_S):
            raise UnavailableError(f"did not start within {START_TIMEOUT_S:g} s", where=self.url)
        if self._failure:
            raise BusyError(self._failure, where=self.url, expected="a free port")
        logger.info("broker_started", url=self.url)
        return self

    def run(self, stop: threading.Event) -> None:
        """Serve until `stop` is set: the whole life of a process that is only a broker.

        UnavailableError when the broker ends by itself.
        """
        with self:
            while not stop.wait(1.0):
                if not self._thread.is_alive():
                    raise UnavailableError("ended by itself", where=self.url)

    def stop(self, timeout_s: float = 10.0) -> None:
        """Close every connection and the port."""
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(timeout_s)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _main(self) -> None:
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # it logs every client's departure as an error
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        broker = _Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        try:
            await broker.start()
        except (AMQTTError, BrokerError) as error:
            self._failure = str(error)
            self._started.set()
            return
        self._started.set()
        await self._stopping.wait()
        await broker.shutdown()


def _free_port(host: str, port: int) -> int:
    """Return `port`, or a free one for 0; BusyError when somebody else listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BusyError(
                f"port {port} cannot be used: {error.strerror}", where=f"{host}:{port}", expected="a free port"
            ) from None
        return int(probe.getsockname()[1])


__all__ = ["EmbeddedBroker"]
