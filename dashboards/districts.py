"""The districts that ingest works on this machine, with everything that the settings name for them."""

from __future__ import annotations

import os
import secrets
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine

from dashboards.detection_scope import DetectionScope
from dashboards.settings import Settings
from ingest.device_desk import DeviceDesk
from ingest.mqtt.connection import Address
from ingest.spool import Spool
from ingest.store import ReadingStore, Retention, open_store
from ingest.storing import StoreForwarder
from ingest.worker import Limits, Worker
from sensors.alarm_log import AlarmLog
from sensors.clock import Clock
from sensors.command_log import CommandLog
from sensors.detection.pipeline import Pipeline
from sensors.device import Device
from sensors.presence import Presence
from sensors.quality import GrossRange
from sensors.registry import Registry
from sensors.unknown_device import UnknownDevices


class Districts:
    """Makes workers by `settings`; `engine` is the operations database's, `clock` the city's, `name` this process's."""

    def __init__(self, settings: Settings, address: Address, clock: Clock, engine: Engine, name: str) -> None:
        self._settings = settings
        self._clock = clock
        self._engine = engine
        self._name = name
        self._registry = Registry(engine)
        self._address = address
        self._scope = DetectionScope(settings)

    def spool(self, district: str) -> Path:
        """Return where the spool of a district is."""
        return self._settings.spool_of(district)

    def work(self, district: str, spool: Spool, keep_state: Callable[[], None] | None = None) -> Worker:
        """Return the worker of a district."""
        ingest = self._settings.ingest
        engine = self._engine
        return Worker(
            address=self._address,
            district=district,
            spool=spool,
            store=self._store(),
            registry=self._registry,
            pipeline=self._pipeline,
            alarms=AlarmLog(engine, self._clock),
            clock=self._clock,
            limits=Limits(timedelta(seconds=ingest.future_s), timedelta(days=ingest.history_days)),
            rate_factor=ingest.rate_factor,
            desk=DeviceDesk(district, Presence(engine), UnknownDevices(engine), CommandLog(engine), self._clock),
            keep_state=keep_state,
            surroundings=self._scope.revision,
            name=self._name,
        )

    def drain(self, district: str, spool: Spool) -> Drain:
        """Return what takes the rest of a spool to the store."""
        devices = list(self._registry.each(district))
        names = {point.series: f"{device.id}/{point.name}" for device in devices for point in device.points}
        check = GrossRange(devices).check
        return Drain(spool, StoreForwarder(spool, self._store(), self._clock, check=check, names=lambda: names))

    def _pipeline(self, devices: Sequence[Device]) -> Pipeline:
        return Pipeline.build(self._scope.of(devices), self._settings.detection.disabled)

    def _store(self) -> ReadingStore:
        days = self._settings.store
        retention = Retention(_days(days.retention_days), _days(days.rollup_days))
        return open_store(self._settings.store_url(), self._settings.store_token(), retention)


class Drain:
    """Takes what is left in a `spool` to the store, and ends."""

    def __init__(self, spool: Spool, forwarder: StoreForwarder) -> None:
        self._spool = spool
        self._forwarder = forwarder

    def run(self, stop: threading.Event) -> None:
        """Forward until nothing is left, or `stop`."""
        ended = threading.Event()
        forwarding = threading.Thread(target=self._forwarder.run, args=(ended,), name="drain")
        forwarding.start()
        try:
            while forwarding.is_alive() and self._spool.ledger().spooled and not stop.wait(0.2):
                pass
        finally:
            ended.set()
            forwarding.join()


def process_name() -> str:
    """Return a name that no other process has: the host, the process, and a random part (containers repeat both)."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def _days(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None


__all__ = ["Districts", "Drain", "process_name"]
