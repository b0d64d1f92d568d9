"""Which thresholds were chosen on what: the committed record, and whether it still holds for a run."""

from __future__ import annotations

import hashlib
import tomllib
from importlib import resources

import msgspec

from sensors import limits
from sensors.limits import Limits


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record of a set: hash of the training part, the layers whose numbers were chosen on it, and their hash."""

    training: str
    layers: list[str]
    numbers: str


class State(msgspec.Struct, frozen=True):
    """How a run stands to the record: `numbers` now in force, and what was chosen on other readings or changed since.

    `same_training` and `same_numbers` are None where nothing was chosen on the set.
    """

    numbers: str
    same_training: bool | None
    same_numbers: bool | None


def record() -> dict[str, Chosen]:
    """Return the committed record by set."""
    text = resources.files("sensors.evaluation").joinpath("thresholds.toml").read_text("utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Chosen])


def numbers_hash(settings: Limits, layers: list[str]) -> str:
    """Return the hash of the numbers of `layers`, of values and units alone: a better source changes nothing.

    Without layers that of all settings.
    """
    if layers:
        chosen = {layer: settings.numbers.get(layer, {}) for layer in layers}
        shown = [(layer, name, row.value, row.unit) for layer in chosen for name, row in chosen[layer].items()]
        return hashlib.sha256(msgspec.json.encode(sorted(shown))).hexdigest()
    return hashlib.sha256(msgspec.json.encode(settings)).hexdigest()


def state(name: str, training: str) -> State:
    """Return how a run of the set `name` on a training part of that hash stands to the record."""
    chosen = record().get(name)
    if chosen is None:
        return State(numbers_hash(limits.load(), []), None, None)
    numbers = numbers_hash(limits.load(), chosen.layers)
    return State(numbers, chosen.training == training, chosen.numbers == numbers)


__all__ = ["Chosen", "State", "numbers_hash", "record", "state"]
