"""The inbox: what has come from the broker and nobody has taken yet. It is bounded, and full it holds the network."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import NamedTuple


class Delivery(NamedTuple):
    """A message as it came; `connection` counts connections, because message ids mean nothing on another one."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    retain: bool
    connection: int


class Inbox:
    """A bounded queue of deliveries between the network thread and the worker."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: deque[Delivery] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, delivery: Delivery) -> None:
        """Add a delivery; wait while the inbox is full, drop it (unacknowledged) once it is closed."""
        with self._changed:
            while len(self._waiting) >= self._limit and not self._closed:
                self._changed.wait()
            if self._closed:
                return
            self._waiting.append(delivery)
            if len(self._waiting) == 1:
                self._changed.notify_all()

    def take(self, limit: int, wait_s: float, linger_s: float = 0.0) -> list[Delivery]:
        """Return up to `limit` deliveries, oldest first: wait `wait_s` for the first, then `linger_s` for more."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed, wait_s)
            if not self._waiting:
                return []
        until = time.monotonic() + linger_s
        while len(self._waiting) < limit and not self._closed and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.002))
        with self._changed:
            count = min(limit, len(self._waiting))
            taken = [self._waiting.popleft() for _ in range(count)]
            self._changed.notify_all()
        return taken

    def close(self) -> None:
        """Let the network thread go; what comes now stays with the broker."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


__all__ = ["Delivery", "Inbox"]
