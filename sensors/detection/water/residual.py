"""Residuals: what the pressures of a water network read beside what its model says, and what each metered part draws.

The model (`sensors.hydraulics.network_model`) gets what the meters, tanks and pumps say, so that demand as such leaves
no residual: a leak does, since it draws where no customer does. Pumps and tanks that do not report go by the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensors.detection import Subject
from sensors.detection.scope import Scope
from sensors.detection.steps import Steps
from sensors.device import Device, Point
from sensors.hydraulics.network_model import Measured, NetworkModel
from sensors.reading import Batch
from twin.asset import System
from twin.errors import InputError, UnavailableError, UnknownError

LEAST_PRESSURES = 3
"""With fewer pressures a leak cannot be told from a meter that is wrong."""
_MONDAY_S = 4 * 86_400
"""1970-01-05, the first Monday."""

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Residual:
    """One step: its end (ms UTC), `pressure` (n,) Pa beside the model's, `drawn` and `nominal` (parts,) m³/s."""

    end: int
    pressure: Vector
    drawn: Vector
    nominal: Vector
    live: bool


@dataclass(frozen=True, slots=True)
class _Probe:
    device: Device
    point: Point
    name: str

    @property
    def subject(self) -> Subject:
        return Subject(f"point:{self.device.id}/{self.point.name}")


class Residuals:
    """The residuals of one source of hydraulics, `inp`, by its devices, in steps of `step_ms`.

    `subjects` (n,) are its pressures, in the order of `places` and of the columns; `model` is the network's.
    UnavailableError where EPANET refuses the file, or has not what a device is bound to.
    """

    def __init__(self, source: str, inp: Path, scope: Scope, step_ms: int) -> None:
        self.source, self.step_ms = source, step_ms
        found: dict[str, list[_Probe]] = {"pressure": [], "flow": [], "level": [], "pump_state": []}
        for probe in _probes(source, scope):
            found[probe.point.quantity].append(probe)
        self._kinds = {quantity: _one_a_place(probes) for quantity, probes in found.items()}
        names = {quantity: [probe.name for probe in probes] for quantity, probes in self._kinds.items()}
        self.model = _open(inp, Measured(names["flow"], names["level"], names["pump_state"], names["pressure"]))
        self.subjects = [probe.subject for probe in self._kinds["pressure"]]
        self.places = names["pressure"]
        series = [probe.point.series for probes in self._kinds.values() for probe in probes]
        self._cuts = np.cumsum([len(self._kinds[quantity]) for quantity in ("pressure", "flow", "level")])
        self._steps = Steps(series, step_ms)
        self._offset_s = scope.limits.calendar.offset / timedelta(seconds=1)
        self._before = np.zeros(1, np.int64)

    def take(self, batch: Batch) -> Iterator[Residual]:
        """Yield the residuals of the steps that a batch closes."""
        for step in self._steps.take(batch):
            pressures, flows, _, states = np.split(step.mean, self._cuts)
            levels = np.split(step.last, self._cuts)[2]
            passed = (step.time - int(self._before[0])) / 1000
            self._before[0] = step.time
            local_s = (step.time + self.step_ms / 2) / 1000 + self._offset_s - _MONDAY_S
            expected = self.model.solve(local_s, max(passed, self.step_ms / 1000), flows, levels, states)
            drawn, nominal = self.model.demand()
            yield Residual(step.time + self.step_ms, pressures - expected, drawn, nominal, step.live)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the whole state, for `sensors.detection.series.pack`."""
        return {**self._steps.state(), "before": self._before, **self.model.state()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` returned."""
        self._steps.restore(state)
        self._before[:] = state["before"]
        self.model.restore(state)


def water_models(scope: Scope, step_ms: int) -> list[Residuals]:
    """Return the networks of `scope` that can be held against a model, in steps of `step_ms`.

    None where the scope knows no city. UnavailableError where there are water pipes and pressures, but no hydraulics,
    or EPANET refuses them.
    """
    found: list[Residuals] = []
    for source, inp in scope.hydraulics.items():
        if sum(probe.point.quantity == "pressure" for probe in _probes(source, scope)) >= LEAST_PRESSURES:
            found.append(Residuals(source, inp, scope, step_ms))
    if not found and scope.graph is not None and not scope.hydraulics:
        watched = any(
            point.quantity == "pressure" for device in scope.devices if _lives(device) for point in device.points
        )
        if watched:
            raise UnavailableError(
                "the water network has no hydraulics", where="detection.hydraulics", expected="its EPANET file"
            )
    return found


def _open(inp: Path, measured: Measured) -> NetworkModel:
    try:
        return NetworkModel(inp, measured)
    except (InputError, UnknownError) as error:
        raise UnavailableError(str(error), where=str(inp), expected="an EPANET file of this network") from None


def _probes(source: str, scope: Scope) -> Iterator[_Probe]:
    """Yield the points bound to assets of `source`, by asset and name: series numbers order nothing."""
    wanted = {"pressure", "flow", "level", "pump_state"}
    found = [
        _Probe(device, point, str(device.asset).split(":", 2)[2])
        for device in scope.devices
        if _lives(device) and str(device.asset).split(":")[0] == source and str(device.asset).count(":") >= 2
        for point in device.points
        if point.quantity in wanted and point.series >= 0
    ]
    yield from sorted(found, key=lambda probe: (probe.name, probe.device.id, probe.point.name))


def _one_a_place(probes: list[_Probe]) -> list[_Probe]:
    """Return the first of those at one place: two meters on one pipe would count its flow twice."""
    return list({probe.name: probe for probe in reversed(probes)}.values())[::-1]


def _lives(device: Device) -> bool:
    return device.system is System.WATER and not device.retired
