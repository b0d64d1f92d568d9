"""`chengmai broker`: the embedded broker as a process of its own, for a demo without a server."""

from __future__ import annotations

import signal
import threading

import typer

from dashboards.settings import settings_of


def broker(ctx: typer.Context) -> None:
    """Run the embedded MQTT broker at `mqtt.url` (demo only: it forgets sessions; a city runs Mosquitto)."""
    from ingest.broker import EmbeddedBroker
    from ingest.mqtt import Address

    address = Address.parse(settings_of(ctx).mqtt.url)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    EmbeddedBroker(address.host, address.port).run(stop)
