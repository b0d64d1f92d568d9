"""The field: every device of a district, what it shows, and what goes wrong there.

A day (or what is asked for) before the live start is run quickly for history; from it the same state goes on live. What
is scripted happens at its time after the live start, with one exception that is physical: a blockage builds up for an
hour before it closes, which may reach back into history, so that the level above it stands high already when it closes.
Everything follows from the seed, so two fields with one seed and one start show the same values.

Which fault is where stays in here: nothing of it is in what the devices show but its effect.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from sensors.device import Device, DeviceId, Point
from sensors.simulation.faults import Fault, FaultKind
from sensors.simulation.networks import STEP, Networks, Probe
from sensors.simulation.places import choose, device_of
from sensors.simulation.sensor import measured
from sensors.simulation.site import Site

logger = structlog.get_logger()

HISTORY = timedelta(days=1)
HISTORY_STEP = timedelta(minutes=5)
BUILD_UP = timedelta(hours=1)
"""How long a blockage builds up before it closes."""

_WARM_UP = timedelta(days=1)
"""Run before the history, so that tanks have found their level."""
_FIRST_S, _LAST_S = 10.0, 90.0


@dataclass(slots=True)
class _Sensor:
    device: Device
    point: Point
    probe: Probe
    rng: np.random.Generator
    held: float | None = None


@dataclass(frozen=True, slots=True)
class _Event:
    at: datetime
    what: Callable[[], object]


class FieldModel:
    """The devices of `site`, live from `start` (aware) on, with a `history` of whole days before.

    `faults` are scripted, `cache` keeps what is slow to run.
    """

    def __init__(
        self,
        site: Site,
        start: datetime,
        cache: Path,
        *,
        seed: int,
        faults: Sequence[Fault] = (),
        history: timedelta = HISTORY,
    ) -> None:
        self.start = start.astimezone(UTC).replace(microsecond=0)
        self.devices: Sequence[Device] = [d for d in site.devices if not d.retired]
        self._site = site
        self._seed = seed
        self._rng = _rng(seed, "faults on command")
        self._broken: dict[FaultKind, list[str]] = {kind: [] for kind in FaultKind}
        self._length = history
        begin = self.start - history
        self._at = begin - _WARM_UP
        self._networks = Networks(site, self._at, self.start - BUILD_UP, cache, _rng(seed, "demand"))
        self._sensors = {device.id: list(self._sensors_of(device)) for device in self.devices}
        try:
            self._events = self._script(faults)
            self._history = self._run_history(begin)
        except BaseException:
            self._networks.close()
            raise

    def values(self, at: datetime, devices: Iterable[DeviceId] | None = None) -> dict[tuple[DeviceId, str], float]:
        """Return what the devices (all, if none are named) show at `at`: (device, point) → SI value.

        A silent device shows nothing, a stuck one what it showed last. Time goes forward only; a call is one sample.
        """
        self.advance(at)
        chosen = self._sensors if devices is None else devices
        return {
            (device, sensor.point.name): self._show(sensor)
            for device in chosen
            if device not in self._broken[FaultKind.SILENT]
            for sensor in self._sensors[device]
        }

    def history(self, device: DeviceId) -> Iterator[tuple[datetime, dict[str, float]]]:
        """Yield what a device showed in the history before `start`: time, and point → SI value."""
        begin = self.start - self._length
        for n, row in enumerate(self._history[device]):
            points = (sensor.point.name for sensor in self._sensors[device])
            yield begin + n * HISTORY_STEP, dict(zip(points, row.tolist(), strict=True))

    def advance(self, to: datetime) -> None:
        """Move on to the last step at or before `to`; what is scripted until then happens."""
        while self._events and self._events[0].at <= to:
            event = self._events.pop(0)
            self._move(event.at)
            event.what()
        self._move(to)

    def break_(self, kind: FaultKind, place: str | None = None) -> str:
        """Let something break now, at `place` or where the seed says; return where. UnknownError for no such place."""
        chosen = place or self._choose(kind)
        if kind.of_device:
            chosen = device_of(self._site, chosen)
        else:
            self._networks.begin(kind, chosen)
        if chosen not in self._broken[kind]:
            self._broken[kind].append(chosen)
        logger.info("fault_begins", fault=kind.value, place=chosen, at=self._at.isoformat())
        return chosen

    def mend(self, kind: FaultKind, place: str | None = None) -> list[str]:
        """Put right what is broken of a kind, at `place` or everywhere; return where that was."""
        wanted = None if place is None else device_of(self._site, place) if kind.of_device else place
        mended = [here for here in self._broken[kind] if wanted in (None, here)]
        for here in mended:
            self._broken[kind].remove(here)
            if kind is FaultKind.STUCK:
                for sensor in self._sensors[DeviceId(here)]:
                    sensor.held = None
            elif kind is not FaultKind.SILENT:
                self._networks.mend(kind, here)
            logger.info("fault_ends", fault=kind.value, place=here, at=self._at.isoformat())
        return mended

    def close(self) -> None:
        """End the runs of the networks."""
        self._networks.close()

    def _sensors_of(self, device: Device) -> Iterator[_Sensor]:
        rng = _rng(self._seed, device.id)
        kind = float(rng.random())
        for point in device.points:
            probe = self._networks.probe(device, point, kind)
            if probe is None:
                logger.warning("point_not_simulated", device=device.id, point=point.name, quantity=point.quantity)
                continue
            yield _Sensor(device, point, probe, rng)

    def _show(self, sensor: _Sensor) -> float:
        shown = measured(sensor.probe(), sensor.point, sensor.rng)
        if sensor.device.id not in self._broken[FaultKind.STUCK]:
            return shown
        if sensor.held is None:
            sensor.held = shown
        return sensor.held

    def _move(self, to: datetime) -> None:
        """Move the networks by whole steps counted from the start, so that no caller's rhythm changes their course."""
        to = self.start + (to - self.start) // STEP * STEP
        if to > self._at:
            self._networks.advance(to)
            self._at = to

    def _run_history(self, begin: datetime) -> dict[DeviceId, NDArray[np.float64]]:
        """Run the history before the start; return what each device showed, (samples, points)."""
        samples = self._length // HISTORY_STEP
        rows = {device: np.empty((samples, len(sensors))) for device, sensors in self._sensors.items()}
        for n in range(samples):
            self.advance(begin + n * HISTORY_STEP)
            for device, sensors in self._sensors.items():
                rows[device][n] = [self._show(sensor) for sensor in sensors]
        self.advance(self.start)
        return rows

    def _script(self, faults: Sequence[Fault]) -> list[_Event]:
        """Give each fault its place and time, and return what will happen, in order; UnknownError for no such place."""
        events: list[_Event] = []
        planned: list[str] = []
        for number, fault in enumerate(faults):
            rng = _rng(self._seed, f"fault {number} {fault.kind}")
            place = fault.place or choose(fault.kind, self._site, self._flow, rng, planned)
            if fault.kind.of_device:
                device_of(self._site, place)
            else:
                self._networks.require(fault.kind, place)
            planned.append(place)
            after = timedelta(seconds=float(rng.uniform(_FIRST_S, _LAST_S))) if fault.after is None else fault.after
            onset = self.start + after
            if fault.kind is FaultKind.BLOCKAGE:
                events.append(_Event(onset - BUILD_UP, partial(self._networks.build_up, place)))
            events.append(_Event(onset, partial(self.break_, fault.kind, place)))
        return sorted(events, key=lambda event: event.at)

    def _choose(self, kind: FaultKind) -> str:
        taken = [place for places in self._broken.values() for place in places]
        return choose(kind, self._site, self._flow, self._rng, taken)

    def _flow(self, conduit: str) -> float:
        return self._networks.usual_flow(conduit, self.start)


def _rng(seed: int, purpose: str) -> np.random.Generator:
    """Return a generator of its own for each purpose, so that one more device does not change the others."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])
