"""A gateway in the test's own process, for the tests of its doors."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager

import httpx

from ingest.gateway.doorkeeper import Doorkeeper
from ingest.gateway.serving import Doors, serve
from sensors.clock import SystemClock
from sensors.credentials import Credentials
from sensors.unknown_device import UnknownDevices
from twin.errors import BusyError, InputError

from .conftest import free_port, wait_until


class Gateway:
    """A gateway in a thread of its own, on free ports; `told` is what it wrote to the audit trail."""

    def __init__(self, city, address=None, answer_s=10.0, **doors):
        self.told = []
        self.hj212_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}/api/v1/readings"
        self.unknown = UnknownDevices(city.engine)
        self.failure = None
        self._doors = Doors(("127.0.0.1", self.hj212_port), ("127.0.0.1", self.http_port), **doors)
        self._address = address or city.address
        self._answer_s = answer_s
        self._keeper = Doorkeeper(
            city.registry,
            Credentials(city.engine).prove,
            self.unknown,
            lambda *entry: self.told.append(entry),
            SystemClock(),
            district=city.district,
        )
        self._loop = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    async def _main(self):
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            await serve(self._doors, self._address, self._keeper, SystemClock(), self._stop, answer_s=self._answer_s)
        except (BusyError, InputError) as error:
            self.failure = error

    @contextmanager
    def running(self, *, broker=True):
        self._thread.start()
        try:
            wait_until(lambda: self.failure or not broker or self._ready())
            yield self
        finally:
            if self._thread.is_alive():
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(20)
            assert not self._thread.is_alive()

    def _ready(self):
        try:
            return httpx.get(f"http://127.0.0.1:{self.http_port}/health").status_code == 200
        except httpx.TransportError:
            return False
