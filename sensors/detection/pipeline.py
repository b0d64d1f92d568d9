"""The pipeline: quality first, then every detector, each an entry point of ``chengmai.detectors``, then fusion.

An entry point names a class with a class method ``build(scope: Scope) -> Detector``; a third party's package adds
its own under the same group. Readings reach detectors with their quality flags, each detector sees all of them, and
none sees another's output: what they say together is for fusion to find (`fusion.Fusion`). Quality (`sensors.quality`)
is no entry point: nothing is detected before it, and its tests are switched off by their names.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import entry_points
from typing import Protocol, cast

import msgspec
import structlog

from sensors.detection import Detection, Detector, Key, finite
from sensors.detection.fusion import Fusion
from sensors.detection.scope import Scope
from sensors.detection.series import decoded
from sensors.device_table import DeviceTable
from sensors.quality import Quality
from sensors.reading import Batch
from twin.errors import ChengmaiError, InputError, SettingsError

GROUP = "chengmai.detectors"

FUSION = "fusion"
"""What fusion is called among the detectors; disabled, each of them speaks for itself."""

logger = structlog.get_logger()


class DetectorFactory(Protocol):
    """What an entry point of the group names."""

    def build(self, scope: Scope) -> Detector:
        """Return a detector that watches the devices of `scope`; UnavailableError where it lacks what it works with."""
        ...


class _State(msgspec.Struct):
    detectors: dict[str, bytes]
    fusion: bytes | None = None
    quality: bytes = b""


class Pipeline:
    """All detectors of a city, and which conditions they hold to be abnormal.

    `standing` is the set of (subject, rule) that are: what `AlarmLog.reconcile` wants from a worker that starts.
    `degraded` names the layers that are off, each with the reason; those `failed` were switched off by a mistake in
    them, the others lack what they work with.
    """

    def __init__(
        self,
        quality: Quality,
        detectors: dict[str, Detector],
        fusion: Fusion | None,
        degraded: dict[str, str],
        failed: set[str],
    ) -> None:
        self._quality = quality
        self._detectors = detectors
        self._fusion = fusion
        self.standing: set[Key] = set()
        self.degraded = degraded
        self.failed = failed

    @classmethod
    def build(cls, scope: Scope, disabled: Collection[str] = ()) -> Pipeline:
        """Build every installed detector but those `disabled`; SettingsError where no detector or test is called so.

        One that lacks what it works with is off, and `degraded` says why.
        """
        found = {point.name: point for point in entry_points(group=GROUP)}
        known = {*found, *Quality.NAMES, FUSION}
        for name in disabled:
            if name not in known:
                raise SettingsError(
                    f"no detector is called {name!r}", where="detection.disabled", expected=", ".join(sorted(known))
                )
        # one table for all: what each detector would otherwise make of the devices for itself
        scope = replace(scope, devices=DeviceTable.of(scope.devices))
        detectors: dict[str, Detector] = {}
        degraded: dict[str, str] = {}
        failed: set[str] = set()
        for name, point in sorted(found.items()):
            if name in disabled:
                continue
            try:
                detectors[name] = cast("DetectorFactory", point.load()).build(scope)
            except SettingsError:
                raise
            except ChengmaiError as error:  # also a file that it cannot read: the other layers need it not
                logger.warning("detector_off", detector=name, reason=str(error))
                degraded[name] = str(error)
            except Exception as error:  # a mistake in one detector must not stop the others
                logger.exception("detector_off", detector=name)
                degraded[name] = f"{type(error).__name__}: {error}"
                failed.add(name)
        fusion = None if FUSION in disabled else Fusion(scope)
        return cls(Quality.build(scope, disabled), detectors, fusion, degraded, failed)

    def update(self, batch: Batch) -> list[Detection]:
        """Check the quality of a batch, hand it to every detector, and return what changed, fused."""
        checked, said = self._quality.check(batch)
        detections = self._fused(said + [each for name in list(self._detectors) for each in self._ask(name, checked)])
        for each in detections:
            key = (each.subject, each.rule)
            if each.active:
                self.standing.add(key)
            else:
                self.standing.discard(key)
        return detections

    def save(self) -> bytes:
        """Return the state of quality, of every detector and of fusion."""
        detectors = {name: detector.save() for name, detector in self._detectors.items()}
        fusion = None if self._fusion is None else self._fusion.save()
        return msgspec.msgpack.encode(_State(detectors, quality=self._quality.save(), fusion=fusion))

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`, of these devices or others; return the conditions that stand.

        A detector whose state no longer fits learns anew, and says so in the log: it holds nothing to be abnormal.
        InputError E_FORMAT where the bytes are no pipeline's state.
        """
        saved = decoded(state, _State, "pipeline state")
        self.standing = set()
        self._take_over("quality", self._quality, saved.quality)
        for name, detector in self._detectors.items():
            if name in saved.detectors:
                self._take_over(name, detector, saved.detectors[name])
        if self._fusion is not None:
            self._resume(self._fusion, saved.fusion)
        return set(self.standing)

    def _take_over(self, name: str, part: Quality | Detector, state: bytes) -> None:
        try:
            self.standing |= part.load(state)
        except InputError as error:
            logger.warning("detector_starts_anew", detector=name, reason=str(error))

    def _resume(self, fusion: Fusion, state: bytes | None) -> None:
        """Let fusion take over its state, of the conditions that the detectors hold."""
        try:
            fusion.load(state, self.standing)
        except InputError as error:
            logger.warning("detector_starts_anew", detector=FUSION, reason=str(error))
            fusion.load(None, self.standing)
        self.standing = fusion.standing

    def _fused(self, detections: list[Detection]) -> list[Detection]:
        if self._fusion is None or not detections:
            return detections
        try:
            return self._fusion.update(detections)
        except Exception as error:  # noqa: BLE001  # what detectors found must be told, if not as well as it could be
            self._switch_off(FUSION, error)
            self._fusion = None
            return detections

    def _switch_off(self, name: str, error: Exception) -> None:
        logger.error("detector_switched_off", detector=name, exc_info=error)
        self.degraded[name] = f"{type(error).__name__}: {error}"
        self.failed.add(name)

    def _ask(self, name: str, batch: Batch) -> list[Detection]:
        try:
            return [finite(said) for said in self._detectors[name].update(batch)]
        except Exception as error:  # noqa: BLE001  # a third party's detector must not stop the others; it is switched off aloud
            self._switch_off(name, error)
            del self._detectors[name]
            return []
