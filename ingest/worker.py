"""The worker: one district from the broker to the store and to detection.

::

    broker ─► inbox ─► intake ─► spool (fsync) ─► PUBACK, receipts
                                   ├─► store forwarder ─► reading store
                                   └─► detection forwarder ─► pipeline ─► alarm log

Threads beside the network's: intake (the caller's), store, detection, audit, the heart, and errands at the operations
database. Each stands still on its own when what it writes to is away, and goes on when it is back; the spool keeps
what waits.
"""

from __future__ import annotations

import gc
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from ingest import sparkplug_host
from ingest.admission import LIVE, Admission
from ingest.detecting import DetectionForwarder
from ingest.device_desk import DeviceDesk
from ingest.intake import Intake
from ingest.mqtt.connection import Address, Connection, Delivery, Inbox
from ingest.outage import Outage
from ingest.payload.formats import decoders
from ingest.spool import Spool
from ingest.status import BEAT, Status
from ingest.store import ReadingStore
from ingest.storing import StoreForwarder
from ingest.topic import Channel, clock_topic, subscription
from ingest.watch.auditing import LedgerAudit
from ingest.watch.monitor import Monitor
from sensors.alarm_log import AlarmLog
from sensors.clock import Clock, ManualClock, ScaledClock, SteadyClock, to_ms
from sensors.detection.pipeline import Pipeline
from sensors.device import Device
from sensors.device_table import DeviceTable
from sensors.quality import GrossRange
from sensors.reading import Batch
from sensors.registry import Registry
from twin.errors import BusyError, UnavailableError

logger = structlog.get_logger()

WINDOW = 4000
"""QoS 1 deliveries in flight (Receive Maximum); the inbox holds as many, so that acknowledged ones bound memory."""

GROUP_MESSAGES = 2000
LINGER_S = 0.02
"""A group waits this long for more messages, so that one fsync serves many; well below the 50 ms of the contract."""

RECEIPTS_S = 0.1
READMIT_S = 1.0
ERRANDS_S = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What the clock allows: how far ahead a reading may be, and how old."""

    future: timedelta = timedelta(minutes=5)
    history: timedelta = timedelta(days=400)


class Worker:
    """Takes in one district until told to stop.

    `pipeline` builds detection for the devices of the registry, anew when those change or the number of their
    `surroundings` does (the city's revision). A `ManualClock` makes the city a recording, whose time a replay moves;
    any other clock runs by itself. `desk` sees to devices' status, unknown devices and commands, if there is one;
    `keep_state` is called every second, to take detection's state elsewhere when it is time to. `name` is this
    process's, for people.
    """

    def __init__(
        self,
        *,
        address: Address,
        district: str,
        spool: Spool,
        store: ReadingStore,
        registry: Registry,
        pipeline: Callable[[Sequence[Device]], Pipeline],
        alarms: AlarmLog,
        clock: Clock,
        limits: Limits | None = None,
        rate_factor: float = 0.0,
        desk: DeviceDesk | None = None,
        keep_state: Callable[[], None] | None = None,
        surroundings: Callable[[], int] = lambda: 0,
        name: str = "",
    ) -> None:
        self._district = district
        self._spool = spool
        self._registry = registry
        self._pipeline = pipeline
        self._clock = clock
        self._limits = limits or Limits()
        self._desk = desk
        self._keep_state = keep_state
        self._surroundings = surroundings
        self._name = name
        self._beats: deque[Status] = deque(maxlen=60)
        self._lock = threading.Lock()
        self._version: tuple[int, int] | None = None
        self._devices = DeviceTable()
        self._admission = self._admit(())
        self._quality = GrossRange(())
        self._changed: deque[Pipeline] = deque(maxlen=1)
        self._registry_outage = Outage("registry", district=district)
        self._desk_outage = Outage("device_desk", district=district)
        self._failure: Exception | None = None
        self._last_message: datetime | None = None
        self._spool_ok = True
        self._receipts = 0
        self._audit = LedgerAudit(spool)
        self._monitor = Monitor(alarms, clock, district)
        self._inbox = Inbox(WINDOW)
        self._connection = self._connect(address)
        self.reload()
        self._intake = Intake(
            spool,
            self._admission,
            decoders(clock),
            clock,
            clock_topic=clock_topic(district),
            refresh=self._refreshed,
            rate_factor=rate_factor,
            see=(lambda *_: None) if desk is None else desk.see,
        )
        self._storing = StoreForwarder(spool, store, clock, check=self._check, names=self._names)
        self._detecting = DetectionForwarder(
            spool,
            self._take_changed() or pipeline(self._devices),
            alarms,
            clock,
            district=district,
            recording=self._recording,
        )

    @property
    def _recording(self) -> bool:
        return isinstance(self._clock, ManualClock)

    def run(self, stop: threading.Event) -> None:
        """Take in until `stop` is set, then let the forwarders finish their step, and go.

        What is in memory then is not acknowledged and stays with the broker. What made a thread fail is raised here.
        """
        ended = threading.Event()
        threads = [
            threading.Thread(target=self._guarded, args=(body, stop), name=name)
            for name, body in (
                ("store", lambda: self._storing.run(ended)),
                ("detection", lambda: self._detecting.run(ended, self._take_changed)),
                ("audit", lambda: self._audit.run(ended)),
                ("heart", lambda: self._beat(ended)),
                ("errands", lambda: self._run_errands(ended)),
            )
        ]
        self._connection.start()
        for thread in threads:
            thread.start()
        try:
            self._take_in(stop)
        finally:
            self._inbox.close()
            self._connection.close()
            ended.set()
            for thread in threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def reload(self) -> None:
        """Read the registry again if it has changed; a registry that does not answer stays as it was."""
        with self._lock:
            try:
                version = self._registry.version(), self._surroundings()
                self._registry_outage.note(None)
                if version == self._version:
                    return
                devices = DeviceTable()
                with _uncollected():
                    admission = self._admit(devices.fill(self._registry.each(self._district)))
            except (UnavailableError, BusyError) as error:
                if self._version is None:
                    raise
                self._registry_outage.note(error)
                return
            with _uncollected():
                self._quality = GrossRange(devices)
                self._changed.append(self._pipeline(devices))
            self._admission, self._devices = admission, devices
            self._version = version
            self._connection.subscribe(self._filters())
            logger.info("registry_loaded", version=version[0], city=version[1], devices=len(devices))

    def _admit(self, devices: Iterable[Device]) -> Admission:
        """Return what admits `devices`; in a recording, which moves by rounds, nothing is too late to be live."""
        live = LIVE * max(1.0, self._clock.speed / 60) if isinstance(self._clock, ScaledClock) else LIVE
        return Admission(
            devices,
            future=self._limits.future,
            history=self._limits.history,
            live=None if self._recording else live,
        )

    def _connect(self, address: Address) -> Connection:
        return Connection(
            address,
            f"chengmai-ingest-{self._district}",
            subscribe=self._filters(),
            on_message=self._inbox.put,
            will=None if self._recording else lambda: sparkplug_host.certificate(self._district),
            window=WINDOW,
        )

    def _filters(self) -> list[str]:
        """Return what the worker hears; in a recording, that is no more than what a replay sends."""
        if self._recording:
            channels = (Channel.DATA, Channel.STATUS)
            return [*(subscription(self._district, channel) for channel in channels), clock_topic(self._district)]
        channels = (Channel.DATA, Channel.SENML, Channel.HJ212, Channel.STATUS, Channel.ANSWER)
        return [
            *(subscription(self._district, channel) for channel in channels),
            *sparkplug_host.filters(self._district, self._devices.addresses),
        ]

    def _guarded(self, body: Callable[[], None], stop: threading.Event) -> None:
        """Stop the whole worker when one of its threads fails for a reason nobody foresaw: a half-dead one lies."""
        try:
            body()
        except Exception as error:  # noqa: BLE001  # `run` raises it again, with its traceback
            logger.warning("ingest_thread_failed", thread=threading.current_thread().name)
            self._failure = error
            stop.set()

    def _take_in(self, stop: threading.Event) -> None:
        receipts_s = readmitted_s = time.monotonic()
        held: list[Delivery] = []
        most = GROUP_MESSAGES
        while not stop.is_set():
            held = held or self._left_by_desk(self._inbox.take(GROUP_MESSAGES, 0.1, LINGER_S))
            if held:
                group = held[:most]
                if self._commit(group, stop):
                    held, most = held[most:], min(2 * most, GROUP_MESSAGES)
                else:
                    most = max(1, len(group) // 2)  # a disk that is nearly full has room for a smaller group first
            self._intake.admission = self._admission
            now_s = time.monotonic()
            if now_s - receipts_s >= RECEIPTS_S:
                receipts_s = now_s
                self._send_receipts(now_s)
            if now_s - readmitted_s >= READMIT_S and not held:
                readmitted_s = now_s
                self._readmit()
        self._send_receipts(time.monotonic(), every=True)

    def _left_by_desk(self, deliveries: list[Delivery]) -> list[Delivery]:
        return deliveries if self._desk is None else self._desk.hear(deliveries, self._admission)

    def _commit(self, deliveries: list[Delivery], stop: threading.Event) -> bool:
        """Commit and acknowledge; False, after a moment, when the spool could not take them."""
        try:
            self._intake.take(deliveries)
        except UnavailableError as error:
            self._spool_ok = False
            logger.warning("spool_unavailable", error=str(error), messages=len(deliveries))
            stop.wait(1.0)
            return False
        self._spool_ok = True
        self._connection.ack(deliveries)
        self._last_message = datetime.now(UTC)
        for topic, payload in self._intake.replies():
            self._publish("reply_not_sent", topic, payload)
        return True

    def _readmit(self) -> None:
        try:
            self._intake.readmit()
        except UnavailableError as error:
            logger.warning("quarantine_not_replayed", error=str(error))

    def _send_receipts(self, now_s: float, *, every: bool = False) -> None:
        if not self._connection.connected:
            return  # they wait, and grow by ranges only
        for topic, payload in self._intake.receipts.due(now_s, self._intake.holes, every=every):
            # The device will send again what no receipt named, and is answered then.
            self._receipts += self._publish("receipt_not_sent", topic, payload)

    def _publish(self, otherwise: str, topic: str, payload: bytes) -> bool:
        try:
            self._connection.publish(topic, payload)
        except UnavailableError as error:
            logger.warning(otherwise, topic=topic, error=str(error))
            return False
        return True

    def _refreshed(self) -> Admission:
        if not self._registry_outage.away:  # else each group with an unknown device would wait for the database
            self.reload()
        return self._admission

    def _take_changed(self) -> Pipeline | None:
        try:
            return self._changed.pop()
        except IndexError:
            return None

    def _check(self, batch: Batch) -> Batch:
        return self._quality.check(batch)

    def _names(self) -> Mapping[int, str]:
        return self._devices.names

    def _beat(self, ended: threading.Event) -> None:
        readings, since = self._intake.readings, time.monotonic()
        while not ended.wait(BEAT.total_seconds()):
            now_s = time.monotonic()
            rate = (self._intake.readings - readings) / (now_s - since)
            readings, since = self._intake.readings, now_s
            try:
                status = self._status(rate)
                self._beats.append(status)
                self._spool.beat(status)
            except (UnavailableError, BusyError) as error:
                logger.warning("heart_beat_missed", error=str(error))

    def _run_errands(self, ended: threading.Event) -> None:
        """Do what needs the operations database, which may be slow or away: the heart beats meanwhile."""
        while not ended.wait(ERRANDS_S):
            self.reload()
            while self._beats:
                self._monitor.step(self._beats.popleft())
            try:
                if self._desk is not None:
                    self._desk.step(self._connection)
                self._desk_outage.note(None)
            except (UnavailableError, BusyError) as error:
                self._desk_outage.note(error)
            if self._keep_state is not None:
                self._keep_state()

    def _status(self, rate: float) -> Status:
        ledger, lately = self._spool.ledger(), self._intake.traffic.look()
        disk = shutil.disk_usage(self._spool.path)
        return Status(
            beat=datetime.now(UTC),
            city_time=self._clock.now(),
            recording=self._recording,
            connected=self._connection.connected,
            broker=str(self._connection.address),
            district=self._district,
            devices=len(self._devices),
            unknown_devices=len(self._intake.unknown),
            readings_per_s=rate,
            last_message=self._last_message,
            spooled=ledger.spooled,
            undetected=self._spool.undetected(),
            quarantined=ledger.quarantined,
            store_ok=self._storing.available,
            store_s=self._storing.write_s,
            store_missing=self._storing.missing,
            alarms_ok=self._detecting.available,
            detectors_off=self._detecting.failed,
            layers_off=self._detecting.degraded,
            received=ledger.received,
            stored=ledger.stored,
            duplicates=ledger.duplicates,
            purged=ledger.purged,
            dropped=ledger.dropped,
            backlog_s=self._backlog_s(),
            spool_ok=self._spool_ok,
            disk_free=disk.free,
            disk_size=disk.total,
            spool_size=self._spool.path.stat().st_size,
            refused=dict(self._intake.traffic.refused),
            ahead=lately.ahead,
            throttled=lately.throttled,
            late_s=lately.late_s,
            clock_off_s=self._clock.off_s if isinstance(self._clock, SteadyClock) else 0.0,
            receipts=self._receipts,
            worker=self._name,
            unaccounted=self._audit.unaccounted,
            audited=self._audit.at,
        )

    def _backlog_s(self) -> float:
        """Return how long the oldest reading has waited for the store, in machine seconds."""
        oldest = self._spool.oldest()
        if oldest is None:
            return 0.0
        speed = self._clock.speed if isinstance(self._clock, ScaledClock) else 1.0
        return max(0.0, to_ms(self._clock.now()) - oldest) / 1000 / speed


@contextmanager
def _uncollected() -> Generator[None]:
    """Keep the garbage collector off what is made here: a million devices, which it would look at again and again."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


__all__ = ["Limits", "Worker"]
