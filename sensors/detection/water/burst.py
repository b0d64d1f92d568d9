"""The detector of bursts: networks, the bursts in each (`bursts`), and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Fact, Key, Subject
from sensors.detection.scope import Scope
from sensors.detection.series import decoded, pack, unpack
from sensors.detection.water.bursts import Burst, Bursts, Criteria
from sensors.detection.water.localisation import PipePlaces
from sensors.detection.water.residual import Residual, Residuals, water_models
from sensors.limits import Limits
from sensors.reading import Batch

STEP_MS = 300_000
"""The usual interval of district meters."""
MOST_CANDIDATES = 10
"""Pipes named with a burst, the likeliest first."""
_POINTS = 3


class _Saved(msgspec.Struct):
    """State of one network: names of its pressures, and arrays (`pack`)."""

    pressures: list[str]
    residuals: bytes
    bursts: bytes


class BurstDetector:
    """Says where a water main has burst, ten minutes after it did, and when it was mended.

    Asks for an EPANET file of the network (`Scope.hydraulics`) and at least three pressures in it; where a part of it
    is metered, a burst has to show at the meters. Nothing is said in the first hours. Confidence is the probability, by
    the model, that the burst is within ``number.burst.near`` of the pipe named.

    >>> from sensors.detection.checks import sample_devices
    >>> from sensors.limits import load
    >>> BurstDetector.build(Scope(sample_devices(), load())).update(Batch.empty(0))  # no network, nothing to say
    []
    """

    def __init__(self, networks: Sequence[Residuals], limits: Limits) -> None:
        self._level = round(limits.number("burst", "level"))
        self._watches = [_Watch(network, limits) for network in networks]

    @classmethod
    def build(cls, scope: Scope) -> Self:
        """Watch the networks of `scope` that have hydraulics; UnavailableError where they should and cannot be used."""
        return cls(water_models(scope, STEP_MS), scope.limits)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say of the steps that are over where a main burst, and which was mended."""
        said: list[Detection] = []
        for watch in self._watches:
            for step in watch.residuals.take(batch):
                said.extend(self._said(watch, step))
        return said

    def save(self) -> bytes:
        """Return the whole state: some 100 B a pressure, and what of its steps is not over."""
        return msgspec.msgpack.encode({watch.residuals.source: watch.saved() for watch in self._watches})

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`, also for other devices of the same networks; return the bursts that stand.

        A network whose metered parts are others than they were starts anew.
        """
        saved = decoded(state, dict[str, _Saved])
        for watch in self._watches:
            if watch.residuals.source in saved:
                watch.restore(saved[watch.residuals.source])
        return {(watch.subject(burst), "burst") for watch in self._watches for burst in watch.bursts.standing}

    def _said(self, watch: _Watch, step: Residual) -> list[Detection]:
        began, over = watch.bursts.take(step)
        # what began first: one that begins as another ends is not that other
        changes = [(burst, True) for burst in began] + [(burst, False) for burst in over]
        return [self._detection(watch, burst, step.end, active=active) for burst, active in changes]

    def _detection(self, watch: _Watch, burst: Burst, time: int, *, active: bool) -> Detection:
        evidence = Evidence(
            basis="model",
            confidence=min(burst.confidence, 0.99) if active else 0.5,
            candidates=watch.pipes.candidates(burst.place, burst.weights, MOST_CANDIDATES) if active else (),
            facts=(Fact("loss", burst.flow, "flow"),) if active else (),
            points=watch.strongest(burst.shift) if active else (),
        )
        return Detection(
            watch.subject(burst),
            "burst",
            DetectionKind.LEAK,
            active=active,
            level=self._level,
            time=time,
            value=burst.flow,
            score=burst.gain,
            quantity="flow",
            evidence=evidence,
        )


class _Watch:
    """One network."""

    def __init__(self, residuals: Residuals, limits: Limits) -> None:
        self.residuals = residuals
        self.pipes = PipePlaces(residuals.source, residuals.model)
        self.bursts = Bursts(residuals, self.pipes, Criteria.of(limits))

    def subject(self, burst: Burst) -> Subject:
        """Return the pipe that is named for a burst."""
        return Subject(f"asset:{self.pipes.assets[burst.place]}")

    def strongest(self, shift: NDArray[np.float64]) -> tuple[Subject, ...]:
        """Return the points whose pressures fell most."""
        fell = np.argsort(shift, kind="stable")[:_POINTS]
        return tuple(self.residuals.subjects[index] for index in fell.tolist())

    def saved(self) -> _Saved:
        """Return the whole state."""
        return _Saved(self.residuals.places, pack(**self.residuals.state()), pack(**self.bursts.state()))

    def restore(self, saved: _Saved) -> None:
        """Take over what `saved` returned, as far as the pressures are the same."""
        mine = self.bursts.state()
        theirs: dict[str, NDArray[Any]] = unpack(saved.bursts, **mine)
        if len(theirs["usual"]) != len(mine["usual"]):
            return
        self.residuals.restore(unpack(saved.residuals, **self.residuals.state()))
        column = {name: index for index, name in enumerate(saved.pressures)}
        self.bursts.restore(theirs, np.array([column.get(name, -1) for name in self.residuals.places]))


__all__ = ["BurstDetector"]
