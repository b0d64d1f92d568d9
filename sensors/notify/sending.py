"""Sending: takes what the outbox owes to the channels, each on a thread of its own, again and again until it is taken.

A channel that is slow or dead holds up nobody: not detection, which does not know of it, and not another channel. How
long it waits between two attempts doubles and is drawn anew each time ("full jitter": Brooker, Exponential Backoff And
Jitter, AWS Architecture Blog, 2015), so that a receiver that comes back is not overrun.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from datetime import timedelta

import structlog

from sensors.clock import Clock
from sensors.notify import Notifier
from sensors.notify.outbox import Delivery, Outbox
from sensors.notify.routing import Retry
from sensors.notify.teller import Teller
from twin.errors import BusyError, RefusedError, UnavailableError

logger = structlog.get_logger()

IDLE_S = 1.0
"""An idle teller or sender looks again after this time."""

OUTAGE_S = 5.0
"""So long it leaves a database alone that did not answer."""


class Sender:
    """Sends the deliveries of one channel; `rng` is for the jitter."""

    def __init__(
        self, outbox: Outbox, channel: str, notifier: Notifier, *, retry: Retry, clock: Clock, rng: random.Random
    ) -> None:
        self._outbox = outbox
        self._channel = channel
        self._notifier = notifier
        self._retry = retry
        self._clock = clock
        self._rng = rng

    def step(self) -> bool:
        """Try the delivery that is due first; whether there was one."""
        delivery = self._outbox.claim(self._channel)
        if delivery is None:
            return False
        try:
            self._notifier.send(delivery.message, delivery.to)
        except RefusedError as error:
            self._give_up(delivery, str(error))
        except (UnavailableError, BusyError) as error:
            self._put_off(delivery, error)
        except Exception as error:  # noqa: BLE001  # a third party's channel: it costs its delivery, not the others'
            self._give_up(delivery, f"the channel failed: {type(error).__name__}: {error}")
        else:
            self._outbox.sent(delivery)
        return True

    def run(self, stop: threading.Event) -> None:
        """Send until `stop`, and close the channel."""
        try:
            while not stop.is_set():
                try:
                    wait_s = 0.0 if self.step() else IDLE_S
                except (UnavailableError, BusyError) as error:  # what was sent meanwhile is sent again: at least once
                    logger.warning("outbox_unavailable", channel=self._channel, error=str(error))
                    wait_s = OUTAGE_S
                if wait_s:
                    stop.wait(wait_s)
        finally:
            self._notifier.close()

    def _put_off(self, delivery: Delivery, error: UnavailableError | BusyError) -> None:
        tried_for = self._clock.now() - delivery.created
        if tried_for >= timedelta(hours=self._retry.for_h):
            self._give_up(delivery, f"{error}; tried {delivery.attempts} times in {self._retry.for_h:g} h")
            return
        most_s = min(self._retry.first_s * 2 ** min(delivery.attempts - 1, 30), self._retry.longest_s)
        asked_s = getattr(error, "retry_s", None) or 0.0
        wait_s = max(self._rng.uniform(most_s / 2, most_s), min(asked_s, self._retry.longest_s))
        logger.warning(
            "delivery_put_off",
            channel=self._channel,
            delivery=delivery.id,
            attempt=delivery.attempts,
            retry_s=round(wait_s, 1),
            error=str(error),
        )
        self._outbox.later(delivery, timedelta(seconds=wait_s), str(error))

    def _give_up(self, delivery: Delivery, error: str) -> None:
        logger.error("delivery_dead", channel=self._channel, delivery=delivery.id, error=error)
        self._outbox.dead(delivery, error)


class Telling:
    """The teller and a sender for each channel, each on a thread of its own: everything that tells people."""

    def __init__(
        self, teller: Teller, outbox: Outbox, channels: Mapping[str, Notifier], retry: Retry, clock: Clock
    ) -> None:
        self._teller = teller
        self._senders = {
            name: Sender(outbox, name, notifier, retry=retry, clock=clock, rng=random.Random())
            for name, notifier in channels.items()
        }

    def run(self, stop: threading.Event) -> None:
        """Tell until `stop`; returns once every channel is closed, or has had its timeout."""
        threads = [
            threading.Thread(target=sender.run, args=(stop,), name=f"notify-{name}", daemon=True)
            for name, sender in self._senders.items()
        ]
        for thread in threads:
            thread.start()
        while not stop.is_set():
            try:
                self._teller.step()
                wait_s = IDLE_S
            except (UnavailableError, BusyError) as error:
                logger.warning("alarm_log_unavailable", error=str(error))
                wait_s = OUTAGE_S
            stop.wait(wait_s)
        for thread in threads:
            thread.join(CLOSE_S)


CLOSE_S = 15.0
"""A channel that is in the middle of an attempt may finish it: no timeout of a packaged channel is longer."""

__all__ = ["Sender", "Telling"]
