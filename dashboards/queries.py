"""What the screens show, read from registry, reading store, alarm log and ingest's spool. No page asks a database."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from dashboards.city_view import CityView
from dashboards.ingest_state import ingest_state
from ingest.store import Latest, ReadingStore
from ingest.watch.heartbeats import Heartbeats, Pulse
from sensors.alarm import Alarm, Condition
from sensors.alarm_log import AlarmLog
from sensors.clock import Clock, ScaledClock, to_ms
from sensors.detection import DetectionKind
from sensors.device import Device
from sensors.quantity import from_si, usual_unit
from sensors.registry import Registry
from sensors.sentence import sentence
from twin.asset import System
from twin.errors import ChengmaiError

logger = structlog.get_logger()

UNACKNOWLEDGED = 0b1000
OFFLINE = 0b1_0000
LEVELS = (1, 2, 3, 4)

STALE_INTERVALS = 3
STALE_AT_LEAST_MS = 30_000

SPARK_EVERY_S = 5.0
SPARK_LENGTH = 120

AlarmRow = dict[str, Any]
"""An alarm as JSON, for the browser."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known at one moment.

    `devices` is the version of the device list, `states` one byte a device of it (bits 0–2 the level of its worst open
    alarm, bit 3 unacknowledged, bit 4 offline or never heard). `alarms` are all open alarms by id; `put` and `drop`
    are what changed since the look before. `status` is everything else, ready for JSON.
    """

    devices: int
    states: bytes
    alarms: Mapping[str, AlarmRow]
    put: Sequence[AlarmRow]
    drop: Sequence[str]
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeviceList:
    """The registry as of one version: devices in their order, where they stand (degrees), whose each series is."""

    version: int
    devices: tuple[Device, ...]
    places: tuple[tuple[float, float] | None, ...]
    position: Mapping[str, int]
    series_device: NDArray[np.int32]
    series_interval_ms: NDArray[np.int64]
    figures: Mapping[str, NDArray[np.int32]]

    @staticmethod
    def of(version: int, devices: Sequence[Device], places: Sequence[tuple[float, float] | None]) -> DeviceList:
        """Index a device list; retired devices are left out by the caller."""
        owner = {point.series: i for i, device in enumerate(devices) for point in device.points}
        series_device = np.full(max(owner, default=-1) + 1, -1, np.int32)
        series_device[list(owner)] = list(owner.values())
        intervals = np.array([*(round(device.interval.total_seconds() * 1000) for device in devices), 0], np.int64)
        return DeviceList(
            version,
            tuple(devices),
            tuple(places),
            {device.id: i for i, device in enumerate(devices)},
            series_device,
            intervals[series_device],
            {name: _series_of(devices, *what) for name, what in FIGURES.items()},
        )


FIGURES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "water": ("water", ("pressure",)),
    "gas": ("gas", ("combustible_gas", "methane")),
    "drainage": ("drainage", ("level",)),
}
"""The three figures beside the map: system, and the quantities of which the first that is measured counts."""


def _series_of(devices: Sequence[Device], system: str, quantities: tuple[str, ...]) -> NDArray[np.int32]:
    for wanted in quantities:
        found = [p.series for d in devices if d.system == system for p in d.points if p.quantity == wanted]
        if found:
            return np.array(found, np.int32)
    return np.empty(0, np.int32)


class Observer:
    """Looks at everything the screens show. One thread at a time calls `look`.

    A source that does not answer is named in ``status["trouble"]``; what it said last stays, and the rest goes on.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        alarms: AlarmLog,
        store: ReadingStore,
        heartbeats: Heartbeats,
        city: CityView,
        clock: Clock,
    ) -> None:
        self._registry = registry
        self._log = alarms
        self._store = store
        self._heartbeats = heartbeats
        self._city = city
        self._clock = clock
        self._list = DeviceList.of(0, (), ())
        self._list_key = (-1, -1)
        self._rows: dict[str, AlarmRow] = {}
        self._revision = 0
        self._sequence = -1
        self._latest: Latest | None = None
        self._pulses: Mapping[str, Pulse] = {}
        self._sparks = Sparks()
        self._trouble: dict[str, str] = {}

    @property
    def device_list(self) -> DeviceList:
        """The device list that the newest states belong to."""
        return self._list

    def stands_on(self, name: str) -> tuple[str, System | None]:
        """Return the asset that a device stands on and its system; a name that is no device's is an asset's already."""
        position = self._list.position.get(name)
        if position is None:
            return name, None
        device = self._list.devices[position]
        return device.asset or name, device.system

    def now(self) -> datetime:
        """Return the city's time, aware UTC: that of ingest where it replays a recording, else the clock's.

        Where ingest has not followed a step of the machine's clock, neither does this.
        """
        beats = [pulse.status for pulse in self._pulses.values() if pulse.status is not None]
        recorded = next((beat.city_time for beat in beats if beat.recording), None)
        off_s = max((beat.clock_off_s for beat in beats if beat.alive), key=abs, default=0.0)
        return recorded or self._clock.now() - timedelta(seconds=off_s)

    def look(self) -> Situation:
        """Return what is known now."""
        put: list[AlarmRow] = []
        drop: list[str] = []
        self._ask("city", self._follow_registry)
        self._ask("alarms", lambda: self._follow_alarms(put, drop))
        self._ask("readings", self._follow_readings)
        self._ask("ingest", self._follow_ingest)
        states = self._states()
        return Situation(self._list.version, states, dict(self._rows), put, drop, self._status(states))

    def _ask(self, source: str, question: Callable[[], None]) -> None:
        try:
            question()
        except ChengmaiError as error:
            self._note(source, str(error))
        except Exception as error:  # noqa: BLE001  # a mistake of ours about one source must not blind the wall for the others
            self._note(source, f"E_BUG {source}: {type(error).__name__}: {error}", error)
        else:
            self._trouble.pop(source, None)

    def _note(self, source: str, trouble: str, error: Exception | None = None) -> None:
        if self._trouble.get(source) != trouble:
            logger.warning("source_does_not_answer", source=source, error=trouble, exc_info=error)
        self._trouble[source] = trouble

    def _follow_registry(self) -> None:
        self._revision = self._city.revision()
        key = (self._registry.version(), self._revision)
        if key == self._list_key:
            return
        devices = [device for device in self._registry.devices() if not device.retired]
        # The list's own number, so that a city loaded anew (the same devices, other places) counts as another list.
        version = (key[0] * 100_003 + key[1] + 1) & 0xFFFF_FFFF
        self._list = DeviceList.of(version, devices, self._city.places(devices))
        self._list_key = key
        self._sequence = -1  # the alarms are read anew: their devices' names and places may be others now

    def _follow_alarms(self, put: list[AlarmRow], drop: list[str]) -> None:
        if self._sequence < 0:
            # Everything older than the newest change is in the list of open alarms already.
            _, newest = self._log.changes(2**62)
            changed = self._log.open()
        else:
            changed, newest = self._log.changes(self._sequence)
        rows = [(alarm.open, self.row(alarm)) for alarm in changed]
        if self._sequence < 0:
            drop += self._rows.keys() - {row["id"] for _, row in rows}
            self._rows = {}
        self._sequence = newest  # not before the rows are made: what failed is asked for again
        for is_open, row in rows:
            if is_open:
                self._rows[row["id"]] = row
                put.append(row)
            elif self._rows.pop(row["id"], None):
                drop.append(row["id"])

    def _follow_readings(self) -> None:
        self._latest = self._store.latest()

    def _follow_ingest(self) -> None:
        self._pulses = self._heartbeats.look()
        for pulse in self._pulses.values():
            if pulse.error is not None:
                raise pulse.error

    def row(self, alarm: Alarm) -> AlarmRow:
        """Return an alarm as JSON, with its place and its device's name."""
        position = self._list.position.get(alarm.device or "")
        place = self._city.place(alarm.easting, alarm.northing, alarm.asset)
        if position is None:
            return alarm_row(alarm, place, "")
        return alarm_row(alarm, place or self._list.places[position], self._list.devices[position].name)

    def _states(self) -> bytes:
        """Return one byte a device; a device without any reading yet counts as offline."""
        count = len(self._list.devices)
        heard = np.zeros(count, bool)
        if self._latest is not None:
            owners = self._owners(self._latest.series)
            heard[owners[owners >= 0]] = True
        states = np.where(heard, 0, OFFLINE).astype(np.uint8)
        levels = np.zeros(count, np.uint8)
        for row in self._rows.values():
            i = self._list.position.get(row["device"])
            if i is None:
                continue
            if row["kind"] == DetectionKind.SILENCE and row["active"]:
                states[i] |= OFFLINE
            if levels[i] == 0 or row["level"] < levels[i]:
                levels[i] = row["level"]
            if not row["acknowledged"]:
                states[i] |= UNACKNOWLEDGED
        return (states | levels).tobytes()

    def _owners(self, series: NDArray[np.int32]) -> NDArray[np.int32]:
        table = self._list.series_device
        inside = series < len(table)
        owners = np.full(len(series), -1, np.int32)
        owners[inside] = table[series[inside]]
        return owners

    def _status(self, states: bytes) -> dict[str, Any]:
        now = to_ms(self.now())
        rows = self._rows.values()
        newest = int(self._latest.time.max()) if self._latest is not None and len(self._latest.time) else None
        age_ms = None if newest is None else max(0, now - newest)
        return {
            "at": now,
            "speed": self._speed(),
            "recording": isinstance(self._clock, ScaledClock) or self._replaying(),
            "revision": self._revision,
            "devices": len(self._list.devices),
            "offline": int(np.count_nonzero(np.frombuffer(states, np.uint8) & OFFLINE)),
            "levels": [sum(row["level"] == level for row in rows) for level in LEVELS],
            "unacknowledged": sum(not row["acknowledged"] for row in rows),
            "data_age_s": None if age_ms is None else age_ms / 1000,
            "stale": age_ms is None or age_ms > self._stale_after_ms(),
            "ingest": ingest_state(self._pulses),
            "figures": self._figures(),
            "trouble": list(self._trouble.values()),
        }

    def _replaying(self) -> bool:
        return any(pulse.status is not None and pulse.status.recording for pulse in self._pulses.values())

    def _fresh(self, latest: Latest) -> NDArray[np.bool_]:
        """Say which newest readings still stand for now: what a silent sensor said last is no figure of today."""
        patience = np.full(len(latest.series), self._stale_after_ms())
        known = latest.series < len(self._list.series_interval_ms)
        own = STALE_INTERVALS * self._list.series_interval_ms[latest.series[known]]
        patience[known] = np.maximum(patience[known], own)
        return latest.time >= to_ms(self.now()) - patience

    def _stale_after_ms(self) -> float:
        """City time after which the newest reading is old: three intervals of the quickest device, or 30 s real."""
        shortest = min((device.interval.total_seconds() for device in self._list.devices), default=0.0)
        return max(STALE_AT_LEAST_MS * self._speed(), STALE_INTERVALS * shortest * 1000)

    def _speed(self) -> float:
        return self._clock.speed if isinstance(self._clock, ScaledClock) else 1.0

    def _figures(self) -> dict[str, Any]:
        latest = self._latest
        if latest is not None:
            fresh = self._fresh(latest)
            self._sparks.note(
                {
                    name: _figure(name, latest, np.isin(latest.series, wanted) & fresh)
                    for name, wanted in self._list.figures.items()
                }
            )
        return self._sparks.as_json(self._list)


def _figure(name: str, latest: Latest, wanted: NDArray[np.bool_]) -> float | None:
    """Return one figure in SI: the median of pressures, the highest of concentrations and levels."""
    values = latest.value[wanted]
    if not len(values):
        return None
    return float(np.median(values) if name == "water" else values.max())


class Sparks:
    """The recent past of the three figures, in SI, one value every `SPARK_EVERY_S` seconds."""

    def __init__(self) -> None:
        self._past: dict[str, deque[float | None]] = {name: deque(maxlen=SPARK_LENGTH) for name in FIGURES}
        self._now: dict[str, float | None] = dict.fromkeys(FIGURES)
        self._looks = 0

    def note(self, values: Mapping[str, float | None]) -> None:
        """Take in the figures of one look; every tenth goes into the past."""
        self._now = dict(values)
        if self._looks % round(SPARK_EVERY_S / 0.5) == 0:
            for name, value in values.items():
                self._past[name].append(value)
        self._looks += 1

    def as_json(self, devices: DeviceList) -> dict[str, Any]:
        """Return each figure with its past, in the usual unit."""
        shown: dict[str, Any] = {}
        for name, (system, quantities) in FIGURES.items():
            quantity = _quantity_of(devices, name, quantities)
            unit = usual_unit(quantity, system)

            def usual(value: float | None, unit: str = unit, quantity: str = quantity) -> float | None:
                return None if value is None else round(from_si(value, unit, quantity), 3)

            shown[name] = {
                "value": usual(self._now[name]),
                "unit": unit,
                "past": [usual(value) for value in self._past[name]],
            }
        return shown


def _quantity_of(devices: DeviceList, figure: str, quantities: tuple[str, ...]) -> str:
    wanted = devices.figures[figure]
    if len(wanted) == 0:
        return quantities[0]
    first = int(wanted[0])
    device = devices.devices[int(devices.series_device[first])]
    return next(point.quantity for point in device.points if point.series == first)


def alarm_row(alarm: Alarm, place: tuple[float, float] | None, name: str) -> AlarmRow:
    """Return an alarm as JSON.

    Times are milliseconds since 1970 UTC, `place` longitude and latitude in degrees, `name` that of its device.
    """
    return {
        "id": str(alarm.id),
        "version": alarm.version,
        "level": alarm.level,
        "state": alarm.state.value,
        "active": alarm.condition is not Condition.NORMAL,
        "acknowledged": alarm.acknowledged,
        "acknowledged_by": alarm.acknowledged_by,
        "acknowledged_at": None if alarm.acknowledged_at is None else to_ms(alarm.acknowledged_at),
        "onset": to_ms(alarm.onset),
        "cleared": None if alarm.cleared is None else to_ms(alarm.cleared),
        "kind": alarm.kind.value,
        "rule": alarm.rule,
        "subject": alarm.subject,
        "device": alarm.device,
        "name": name,
        "asset": alarm.asset,
        "count": alarm.count,
        "zh": sentence(alarm, "zh"),
        "en": sentence(alarm, "en"),
        "place": place,
    }
