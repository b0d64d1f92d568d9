"""Metrics: the heart-beats of ingest in Prometheus' text format, on one port for all districts.

Names and units follow Prometheus' own rules (prometheus.io/docs/practices/naming: base units, ``_total`` for what only
grows). Nothing is counted here: each scrape reads the spools' newest heart-beats, so a worker costs nothing by it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ingest.status import Status
from ingest.watch.heartbeats import Heartbeats, Pulse
from twin.errors import BusyError, SettingsError

logger = structlog.get_logger()

PREFIX = "chengmai_ingest"

_GAUGES: Mapping[str, tuple[str, Callable[[Status], float | None]]] = {
    "connected": ("Whether the broker is connected.", lambda status: status.connected),
    "devices": ("Devices in the registry.", lambda status: status.devices),
    "unknown_devices": ("Devices that send and are in no registry.", lambda status: status.unknown_devices),
    "readings_per_second": ("Readings that came in a second.", lambda status: status.readings_per_s),
    "undetected_readings": ("Readings that detection has not checkpointed.", lambda status: status.undetected),
    "backlog_seconds": ("How long the oldest reading has waited for the store.", lambda status: status.backlog_s),
    "reading_age_seconds": ("Median age of live readings when they came.", lambda status: status.late_s),
    "spool_writable": ("Whether the last group could be committed.", lambda status: status.spool_ok),
    "spool_bytes": ("Size of the spool.", lambda status: status.spool_size),
    "disk_free_bytes": ("Free space on the spool's disk.", lambda status: status.disk_free),
    "disk_bytes": ("Size of the spool's disk.", lambda status: status.disk_size),
    "store_available": ("Whether the store answers.", lambda status: status.store_ok),
    "store_write_seconds": ("How long the newest write to the store took.", lambda status: status.store_s),
    "store_missing_readings": ("Readings that the store took and does not give.", lambda status: status.store_missing),
    "alarm_log_available": ("Whether the alarm log answers.", lambda status: status.alarms_ok),
    "detectors_off": ("Detectors switched off after a failure.", lambda status: len(status.detectors_off)),
    "clock_off_seconds": ("The machine's clock less the city's.", lambda status: status.clock_off_s),
    "ledger_unaccounted_readings": ("Balance of the ledger, counted anew.", lambda status: status.unaccounted),
    "ledger_audit_timestamp_seconds": (
        "When the ledger was last counted anew.",
        lambda status: None if status.audited is None else status.audited.timestamp(),
    ),
    "last_message_timestamp_seconds": (
        "When the newest message came.",
        lambda status: None if status.last_message is None else status.last_message.timestamp(),
    ),
}


class IngestCollector(Collector):
    """Turns heart-beats into metrics, at each scrape."""

    def __init__(self, heartbeats: Heartbeats) -> None:
        self._heartbeats = heartbeats

    def collect(self) -> Iterator[Metric]:
        """Yield every metric of the districts worked here; one that has never beaten has ``up`` 0 and no more."""
        pulses = {district: pulse for district, pulse in self._heartbeats.look().items() if not pulse.elsewhere}
        yield _gauge("up", "Whether the heart-beat is fresh.", {name: pulse.alive for name, pulse in pulses.items()})
        yield _gauge("healthy", "Whether nothing is wrong.", {name: not pulse.ill for name, pulse in pulses.items()})
        yield _gauge(
            "beat_age_seconds", "Age of the newest heart-beat.", {name: pulse.age_s for name, pulse in pulses.items()}
        )
        for name, (what, value) in _GAUGES.items():
            known = {district: value(pulse.status) for district, pulse in pulses.items() if pulse.status is not None}
            yield _gauge(name, what, known)
        yield from _ledgers(pulses)
        refused = CounterMetricFamily(
            f"{PREFIX}_refused_readings", "Readings refused since the worker started.", labels=("district", "code")
        )
        receipts = CounterMetricFamily(
            f"{PREFIX}_receipts", "Receipts sent since the worker started.", labels=("district",)
        )
        for district, pulse in pulses.items():
            if pulse.status is not None:
                receipts.add_metric((district,), pulse.status.receipts)
                for code, count in sorted(pulse.status.refused.items()):
                    refused.add_metric((district, code), count)
        yield refused
        yield receipts


def _gauge(name: str, what: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(f"{PREFIX}_{name}", what, labels=("district",))
    for district, value in values.items():
        if value is not None:
            family.add_metric((district,), float(value))
    return family


def _ledgers(pulses: Mapping[str, Pulse]) -> Iterator[Metric]:
    """Yield the ledger: readings by where they went, those that wait, and what is unaccounted for (0)."""
    went = CounterMetricFamily(
        f"{PREFIX}_readings",
        "Readings by what became of them (docs/operations.md, the ledger).",
        labels=("district", "fate"),
    )
    waits = GaugeMetricFamily(f"{PREFIX}_spooled_readings", "Readings that wait for the store.", labels=("district",))
    balance = GaugeMetricFamily(f"{PREFIX}_ledger_balance_readings", "Unaccounted for; 0.", labels=("district",))
    for district, pulse in pulses.items():
        ledger = pulse.ledger
        if ledger is not None:
            for fate in ("received", "stored", "duplicates", "quarantined", "purged", "dropped"):
                went.add_metric((district, fate), getattr(ledger, fate))
            waits.add_metric((district,), ledger.spooled)
            balance.add_metric((district,), ledger.balance)
    yield from (went, waits, balance)


@contextmanager
def serving(address: str, heartbeats: Heartbeats) -> Generator[int]:
    """Answer ``GET /metrics`` at ``host:port`` as long as this is held; the value is the port (0 takes a free one).

    SettingsError for an address that is none, BusyError where somebody listens there.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65_535:
        raise SettingsError(f"{address!r} is no address", where="monitor.metrics", expected="host:port")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(IngestCollector(heartbeats))
    try:
        server, thread = start_http_server(int(port), host.strip("[]") or "127.0.0.1", registry)
    except (OSError, socket.gaierror) as error:
        raise BusyError(
            error.strerror or str(error), where=f"monitor.metrics = {address}", expected="a free port of this machine"
        ) from None
    held: Any = server
    logger.info("metrics_served", address=f"{host}:{held.server_port}")
    try:
        yield int(held.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


__all__ = ["IngestCollector", "serving"]
