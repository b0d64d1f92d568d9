"""Truth: the labels of the sets, read in a process of its own (``python -m sensors.evaluation.truth``).

A module NAME in here has

- ``score(data: Path, claims: Sequence[Claim], flagged: Flagged | None, *, seed: int, train: Path | None,
  test: Path | None, shared: Path | None) -> Mapping[str, float | int | None | …]``: the score of the claims, whose keys
  are those of the set; it is asked some twenty times in a run, so what it reads is kept (`functools.cache`);
- ``prepare(data: Path, folder: Path, *, seed, train, test, shared) -> None``, only where truth has to be made first
  (faults injected, a district simulated): it writes into `folder` what the detecting process may see, in the layout
  that its set reads. What was injected follows from `data` and `seed`, so that `score` knows it again;
- ``total(scores: Sequence[Mapping]) -> Mapping``, only where a set is run over several seeds: their common score.

The process gets one JSON object a line and answers with one: the protocol is `Asked` and `Answer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np

from sensors.evaluation import Claim, Flagged, Options

T = TypeVar("T")


def encode(message: object) -> bytes:
    """Return a message as one line of JSON; paths are texts."""
    return msgspec.json.encode(message, enc_hook=str) + b"\n"


def decode(line: bytes, kind: type[T]) -> T:
    """Return the message of a line; msgspec's errors where it is none."""
    return msgspec.json.decode(line, type=kind, dec_hook=lambda wanted, value: wanted(value))


class Truth(Protocol):
    """A truth module."""

    def score(
        self,
        data: Path,
        claims: Sequence[Claim],
        flagged: Flagged | None,
        *,
        seed: int,
        train: Path | None,
        test: Path | None,
        shared: Path | None,
    ) -> Mapping[str, Any]:
        """Return the score of `claims` and `flagged` by the labels of the set in `data`."""
        ...


class FlaggedColumns(msgspec.Struct, frozen=True):
    """`Flagged` as it crosses the pipe: four lists of one length."""

    series: list[int]
    time: list[int]
    quality: list[int]
    flags: list[int]

    @classmethod
    def of(cls, flagged: Flagged) -> FlaggedColumns:
        """Return the columns as lists."""
        return cls(flagged.series.tolist(), flagged.time.tolist(), flagged.quality.tolist(), flagged.flags.tolist())

    def arrays(self) -> Flagged:
        """Return the columns as arrays."""
        return Flagged(
            np.asarray(self.series, np.int32),
            np.asarray(self.time, np.int64),
            np.asarray(self.quality, np.uint8),
            np.asarray(self.flags, np.uint32),
        )


class Asked(msgspec.Struct, frozen=True):
    """The first line of a conversation, and every later one.

    The first names the set, its data, the options and the folder to prepare (`claims` None); later ones bring claims.
    """

    name: str = ""
    data: Path = Path()
    options: Options = Options()
    folder: Path = Path()
    claims: list[Claim] | None = None
    flagged: FlaggedColumns | None = None


class Refusal(msgspec.Struct, frozen=True):
    """An error as it crosses the pipe, with the fields of `ChengmaiError`."""

    what: str
    where: str
    expected: str
    code: str


class Answer(msgspec.Struct, frozen=True):
    """To the first line the folder that the run may read; to later ones the score; or why not."""

    data: Path | None = None
    score: dict[str, Any] | None = None
    refused: Refusal | None = None


__all__ = ["Answer", "Asked", "FlaggedColumns", "Refusal", "Truth", "decode", "encode"]
