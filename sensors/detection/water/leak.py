"""Leaks of a water network by its pressures: against the hydraulic model, located among its pipes.

Days are compared: a loss of a few cubic metres an hour shows, also one that grows over weeks. It is read from the
residual against the model (`residual`), what counts as a change (`changes`) and where it is (`localisation`). A main
that bursts is told within minutes by `burst`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from sensors.detection import Detection, DetectionKind, Evidence, Fact, Key, Subject
from sensors.detection.scope import Scope
from sensors.detection.series import decoded, pack, unpack
from sensors.detection.water.changes import Change, Changes, Criteria, What
from sensors.detection.water.load import Load
from sensors.detection.water.localisation import PipePlaces
from sensors.detection.water.residual import Residual, Residuals, water_models
from sensors.limits import Limits
from sensors.reading import Batch
from twin.asset import AssetId

DAY_MS = 86_400_000
MOST_CANDIDATES = 10
"""Pipes named with a leak, the likeliest first."""
LEAST_SHARE = 0.5
"""Of the steps of a block: a reading that was there in fewer is none of the block."""
_POINTS = 3

Vector = NDArray[np.float64]


class _Saved(msgspec.Struct):
    """State of one network: names of its readings, assets of its leaks, and arrays (`pack`)."""

    readings: list[str]
    leaks: list[str]
    residuals: bytes
    load: bytes
    block: bytes
    changes: bytes


class LeakDetector:
    """Says where a water network has begun to leak, and when a leak was repaired.

    Asks for an EPANET file of the network (`Scope.hydraulics`) and at least three pressures in it; meters of flow,
    tank levels and pump states make the model follow demand. Nothing is said in the first ten days. What is told is the
    pipe from which the others that it may be are least far. Confidence is the probability, by the model, that the leak
    is within 300 m of it.

    >>> from sensors.detection.checks import sample_devices
    >>> from sensors.limits import load
    >>> LeakDetector.build(Scope(sample_devices(), load())).update(Batch.empty(0))  # no network, nothing to say
    []
    """

    layer = "leak"
    """Table of its numbers, and its rule."""
    step_ms = 900_000
    """A day is told as well by quarters of an hour as by every reading, and the model is solved a third as often."""
    block_ms = DAY_MS

    def __init__(self, networks: Sequence[Residuals], limits: Limits) -> None:
        self._level = round(limits.number(self.layer, "level"))
        self._watches = [_Watch(network, self.layer, limits, self.block_ms) for network in networks]

    @classmethod
    def build(cls, scope: Scope) -> Self:
        """Watch the networks of `scope` that have hydraulics; UnavailableError where they should and cannot be used."""
        return cls(water_models(scope, cls.step_ms), scope.limits)

    def update(self, batch: Batch) -> list[Detection]:
        """Take in a batch and say of the blocks that are over where a leak began, and which is over."""
        return [self._detection(watch, change, end) for watch in self._watches for end, change in watch.take(batch)]

    def save(self) -> bytes:
        """Return the whole state: about 1 KB a pressure, and one for each pair of them."""
        return msgspec.msgpack.encode({watch.source: watch.saved() for watch in self._watches})

    def load(self, state: bytes) -> set[Key]:
        """Take over the state of `save`, also for other devices of the same networks; return the leaks that stand.

        A network whose metered parts are others than they were starts anew.
        """
        saved = decoded(state, dict[str, _Saved])
        for watch in self._watches:
            if watch.source in saved:
                watch.restore(saved[watch.source])
        return {(_subject(asset), self.layer) for watch in self._watches for asset in watch.leaks}

    def _detection(self, watch: _Watch, change: Change, end: int) -> Detection:
        began = change.what is What.NEW
        evidence = Evidence(
            basis="model",
            confidence=min(change.confidence, 0.99) if began else 0.5,
            candidates=watch.pipes.candidates(change.place, change.weights, MOST_CANDIDATES) if began else (),
            facts=(Fact("loss", change.flow, "flow"),) if began else (),
            points=watch.strongest(change.shift) if began else (),
        )
        return Detection(
            _subject(watch.pipes.assets[change.place]),
            self.layer,
            DetectionKind.LEAK,
            active=began,
            level=self._level,
            time=end,
            value=change.flow,
            score=change.gain,
            quantity="flow",
            evidence=evidence,
        )


@dataclass(slots=True)
class _Block:
    """Sums over the steps of a block: of pressures (n,), how many there were, of draws and nominal draws (parts,)."""

    number: int
    steps: int
    live: bool
    pressure: Vector
    count: NDArray[np.int64]
    drawn: Vector
    nominal: Vector

    def take(self, step: Residual) -> None:
        there = np.isfinite(step.pressure)
        self.pressure += np.where(there, step.pressure, 0.0)
        self.count += there
        self.drawn += step.drawn
        self.nominal += step.nominal
        self.steps += 1
        self.live |= step.live


class _Watch:
    """One network: its residuals gathered into blocks, and what changes in them."""

    def __init__(self, residuals: Residuals, layer: str, limits: Limits, block_ms: int) -> None:
        self.source, self._residuals = residuals.source, residuals
        model = residuals.model
        self.pipes = PipePlaces(residuals.source, model)
        signatures = self.pipes.signatures(model, limits.number(layer, "probe"))
        criteria = _criteria(residuals, self.pipes.most_m3s, layer, limits)
        self._changes = Changes(signatures, self.pipes.distance, criteria)
        self._parts = model.parts
        column = {part: column for column, part in enumerate(self._parts.tolist())}
        hangs = [column.get(part, -1) if block_ms >= DAY_MS else -1 for part in model.part[model.sensors].tolist()]
        self._load = Load(np.array(hangs, np.int64))
        self._mean_draw = model.mean_demand()[self._parts]
        self._block_ms = block_ms
        self._offset_ms = round(limits.calendar.offset / timedelta(milliseconds=1))
        self._block: _Block | None = None
        self._readings = [*residuals.places, *(f"part {part}" for part in self._parts.tolist())]

    @property
    def leaks(self) -> list[AssetId]:
        """The pipes whose leaks stand."""
        return [self.pipes.assets[place] for place in self._changes.known]

    def take(self, batch: Batch) -> Iterator[tuple[int, Change]]:
        """Yield (end of the block, ms UTC; change) of the blocks that a batch closes."""
        for step in self._residuals.take(batch):
            number = (step.end - 1 + self._offset_ms) // self._block_ms
            if self._block is not None and number != self._block.number:
                end = (self._block.number + 1) * self._block_ms - self._offset_ms
                yield from ((end, change) for change in self._close(self._block))
                self._block = None
            if self._block is None:
                self._block = self._fresh(number)
            self._block.take(step)
            if self._block_ms == self._residuals.step_ms:
                block, self._block = self._block, None
                yield from ((step.end, change) for change in self._close(block))

    def strongest(self, shift: Vector) -> tuple[Subject, ...]:
        """Return the points whose pressures fell most."""
        fell = np.argsort(shift[: len(self._residuals.subjects)], kind="stable")[:_POINTS]
        return tuple(self._residuals.subjects[index] for index in fell.tolist())

    def saved(self) -> _Saved:
        """Return the whole state."""
        changes = self._changes.state()
        block = self._block or self._fresh(-1)
        return _Saved(
            self._readings,
            [str(asset) for asset in self.leaks],
            pack(**self._residuals.state()),
            pack(**self._load.state()),
            pack(**_arrays(block)),
            pack(**_flat(changes)),
        )

    def restore(self, saved: _Saved) -> None:
        """Take over what `saved` returned, as far as the readings are the same."""
        mine, theirs = self._readings, saved.readings
        if [name for name in mine if name.startswith("part ")] != [n for n in theirs if n.startswith("part ")]:
            return
        self._residuals.restore(unpack(saved.residuals, **self._residuals.state()))
        rows = {asset: row for row, asset in enumerate(self.pipes.assets)}
        column = {name: index for index, name in enumerate(theirs)}
        columns = np.array([column.get(name, -1) for name in mine])
        load = unpack(saved.load, **self._load.state())
        self._load.restore(load, columns[: len(self._residuals.subjects)])
        places = [rows.get(AssetId(asset), -1) for asset in saved.leaks]
        flat = unpack(saved.changes, **_flat(self._changes.state()))
        self._changes.restore(_fitted(flat, columns, len(theirs), places))
        if mine == theirs:
            block = unpack(saved.block, **_arrays(self._fresh(-1)))
            number, steps, live = block.pop("head").tolist()
            self._block = None if number < 0 else _Block(number, steps, bool(live), **block)

    def _close(self, block: _Block) -> list[Change]:
        """Return what changed with a block: pressures by their mean, draws as so many times the mean by the file."""
        enough = block.count >= LEAST_SHARE * self._block_ms / self._residuals.step_ms
        pressure = np.where(enough, block.pressure / np.maximum(block.count, 1), np.nan)
        nominal = block.nominal[self._parts]
        scale = np.divide(block.drawn[self._parts], nominal, out=np.full(len(nominal), np.nan), where=nominal > 0)
        if not enough.any():
            return []
        shown = self._load.take(pressure, scale)
        return self._changes.take(np.concatenate((shown, scale * self._mean_draw)), live=block.live)

    def _fresh(self, number: int) -> _Block:
        n, parts = len(self._residuals.subjects), len(self._residuals.model.demand()[0])
        sums = np.zeros(n), np.zeros(n, np.int64), np.zeros(parts), np.zeros(parts)
        return _Block(number, 0, False, *sums)  # noqa: FBT003  # no step of it was live yet


def _criteria(network: Residuals, most_m3s: Vector, layer: str, limits: Limits) -> Criteria:
    """Return the criteria of `layer` for a network, whose pipes can let out `most_m3s`, by the numbers of the city."""
    model = network.model
    pressures = np.full(len(network.subjects), limits.number(layer, "pressure_floor"))
    draws = limits.number(layer, "draw_floor") * model.mean_demand()[model.parts]
    return Criteria(
        gain=limits.number(layer, "gain"),
        model_error=limits.number(layer, "model_error"),
        misfit=limits.number(layer, "misfit"),
        alone=limits.number(layer, "alone"),
        grown=limits.number(layer, "grown"),
        shrunk=limits.number(layer, "shrunk"),
        floor=np.concatenate((pressures, draws)),
        draws=len(draws),
        least=limits.number(layer, "least"),
        most=most_m3s,
        near_m=limits.number(layer, "near"),
        beside=limits.number(layer, "beside"),
        confirmed=round(limits.number(layer, "confirmed")),
        settled=round(limits.number(layer, "settled")),
        confidence=limits.number(layer, "confidence"),
        patience=round(limits.number(layer, "patience")),
        warm_up=round(limits.number(layer, "warm_up")),
    )


def _subject(asset: AssetId) -> Subject:
    return Subject(f"asset:{asset}")


def _arrays(block: _Block) -> dict[str, NDArray[Any]]:
    head = np.array([block.number, block.steps, block.live], np.int64)
    return {
        "head": head,
        "pressure": block.pressure,
        "count": block.count,
        "drawn": block.drawn,
        "nominal": block.nominal,
    }


def _flat(state: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the state of `Changes` without a shape that tells how many readings there are."""
    return {name: array.ravel() for name, array in state.items()}


def _fitted(
    flat: dict[str, NDArray[Any]], columns: NDArray[np.int64], width: int, places: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """Return the state of `Changes` for readings that were `columns` (-1: new) of `width`, and leaks at `places`.

    What is new was never read before, and is taken to be as noisy as the others usually are.
    """
    new = columns < 0
    state: dict[str, NDArray[Any]] = dict(flat)
    for name, empty in (("blocks", np.nan), ("raw", np.nan), ("shown", 0.0), ("doubt", 0.0)):
        wide = flat[name].reshape(-1, width)[:, columns]
        wide[:, new] = empty
        state[name] = wide[0] if name == "raw" else wide
    cov = flat["cov"].reshape(width, width)
    usual = float(np.median(np.diag(cov)))
    cov = cov[np.ix_(columns, columns)]
    cov[new], cov[:, new] = 0.0, 0.0
    cov[new, new] = usual
    state["cov"] = cov
    known = np.array(places, np.int64)
    state["place"], state["flow"], state["shown"] = (
        known[known >= 0],
        flat["flow"][known >= 0],
        state["shown"][known >= 0],
    )
    return state


__all__ = ["LeakDetector"]
