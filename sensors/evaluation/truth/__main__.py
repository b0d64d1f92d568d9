"""The truth process: one line asked, one line answered, until its input ends."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import structlog

from sensors.evaluation import SETS
from sensors.evaluation.truth import Answer, Asked, Refusal, decode, encode
from twin.errors import ChengmaiError, InputError


def converse(lines: Iterable[bytes], say: Callable[[bytes], object]) -> None:
    """Answer every line of `lines` with one line through `say`; the first names the set and its data."""
    truth: Any = None
    asked = Asked()
    for line in lines:
        try:
            heard = decode(line, Asked)
            if heard.claims is None:
                asked = heard
                truth = import_module(f"sensors.evaluation.truth.{_known(asked.name)}")
                answer = Answer(data=_prepared(truth, asked))
            else:
                flagged = None if heard.flagged is None else heard.flagged.arrays()
                answer = Answer(score=dict(truth.score(asked.data, heard.claims, flagged, **_keywords(asked))))
        except ChengmaiError as error:
            answer = Answer(refused=Refusal(error.what, error.where, error.expected, error.code))
        say(encode(answer))


def _known(name: str) -> str:
    if name not in SETS:
        raise InputError(f"no set is called {name!r}", expected=", ".join(SETS))
    return name


def _prepared(truth: Any, asked: Asked) -> Path:
    """Return the folder that the run may read: the data itself, or what the truth made of it."""
    if not hasattr(truth, "prepare"):
        return asked.data
    truth.prepare(asked.data, asked.folder, **_keywords(asked))
    return asked.folder


def _keywords(asked: Asked) -> dict[str, Any]:
    return {name: getattr(asked.options, name) for name in asked.options.__struct_fields__}


def _answers() -> BinaryIO:
    """Return the standard output for answers alone; what logs and C libraries print there goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return answers


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    converse(sys.stdin.buffer, _answers().write)
