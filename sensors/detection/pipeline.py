"""The pipeline: quality first, then every detector, each found as an entry point of ``chengmai.detectors``.

An entry point names a class with a class method ``build(scope: Scope) -> Detector``; a third party's package adds
its own under the same group. Readings reach detectors with their quality flags, each detector sees all of them, and
none sees another's output.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Protocol, cast

import msgspec
import structlog

from sensors.detection import Detection, Detector, Key
from sensors.detection.scope import Scope
from sensors.device_table import DeviceTable
from sensors.quality import GrossRange
from sensors.reading import Batch
from twin.errors import InputError, SettingsError, UnavailableError

GROUP = "chengmai.detectors"

logger = structlog.get_logger()


class DetectorFactory(Protocol):
    """What an entry point of the group names."""

    def build(self, scope: Scope) -> Detector:
        """Return a detector that watches the devices of `scope`; UnavailableError where it lacks what it works with."""
        ...


class _State(msgspec.Struct):
    detectors: dict[str, bytes]


class Pipeline:
    """All detectors of a city, and which conditions they hold to be abnormal.

    `standing` is the set of (subject, rule) that are: what `AlarmLog.reconcile` wants from a worker that starts.
    `degraded` names the detectors that are switched off, each with the reason.
    """

    def __init__(self, quality: GrossRange, detectors: dict[str, Detector], degraded: dict[str, str]) -> None:
        self._quality = quality
        self._detectors = detectors
        self.standing: set[Key] = set()
        self.degraded = degraded

    @classmethod
    def build(cls, scope: Scope, disabled: Collection[str] = ()) -> Pipeline:
        """Build every installed detector but those `disabled`; SettingsError where no detector is called so.

        One that lacks what it works with is off, and `degraded` says why.
        """
        found = {point.name: point for point in entry_points(group=GROUP)}
        for name in disabled:
            if name not in found:
                raise SettingsError(
                    f"no detector is called {name!r}", where="detection.disabled", expected=", ".join(sorted(found))
                )
        # one table for all: what each detector would otherwise make of the devices for itself
        scope = replace(scope, devices=DeviceTable.of(scope.devices))
        detectors: dict[str, Detector] = {}
        degraded: dict[str, str] = {}
        for name, point in sorted(found.items()):
            if name in disabled:
                continue
            try:
                detectors[name] = cast("DetectorFactory", point.load()).build(scope)
            except UnavailableError as error:
                logger.warning("detector_off", detector=name, reason=str(error))
                degraded[name] = str(error)
        return cls(GrossRange(scope.devices), detectors, degraded)

    def update(self, batch: Batch) -> list[Detection]:
        """Check the quality of a batch, hand it to every detector, and return what changed, by detector."""
        checked = self._quality.check(batch)
        detections = [each for name in list(self._detectors) for each in self._ask(name, checked)]
        for each in detections:
            key = (each.subject, each.rule)
            if each.active:
                self.standing.add(key)
            else:
                self.standing.discard(key)
        return detections

    def save(self) -> bytes:
        """Return the state of every detector."""
        return msgspec.msgpack.encode(_State({name: detector.save() for name, detector in self._detectors.items()}))

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`, of these devices or others; return the conditions that stand.

        A detector whose state no longer fits learns anew, and says so in the log: it holds nothing to be abnormal.
        InputError E_FORMAT where the bytes are no pipeline's state.
        """
        try:
            saved = msgspec.msgpack.decode(state, type=_State)
        except msgspec.MsgspecError as error:
            raise InputError(str(error), where="pipeline state", expected="bytes of `save`", code="E_FORMAT") from None
        self.standing = set()
        for name, detector in self._detectors.items():
            if name not in saved.detectors:
                continue
            try:
                self.standing |= detector.load(saved.detectors[name])
            except InputError as error:
                logger.warning("detector_starts_anew", detector=name, reason=str(error))
        return set(self.standing)

    def _ask(self, name: str, batch: Batch) -> list[Detection]:
        try:
            return self._detectors[name].update(batch)
        except Exception as error:  # a third party's detector must not stop the others; it is switched off aloud
            logger.exception("detector_switched_off", detector=name)
            self.degraded[name] = f"{type(error).__name__}: {error}"
            del self._detectors[name]
            return []
