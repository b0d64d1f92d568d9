"""The truth process as a run sees it: it is started, prepares the data, and is asked for scores."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sensors.evaluation import Claim, Flagged, Options
from sensors.evaluation.truth import Answer, Asked, FlaggedColumns, decode, encode
from twin.errors import InputError, UnavailableError

_END_S = 10.0


class Judge:
    """Asks the truth of the set `name` in `data`; a context manager that ends its process.

    `data` becomes the folder that the detecting process may read: the one given, or one without labels that the truth
    process prepared, which is gone at the end.
    """

    def __init__(self, name: str, data: Path, options: Options) -> None:
        self._name = name
        self._folder = tempfile.TemporaryDirectory(prefix=f"chengmai-{name}-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sensors.evaluation.truth"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            prepared = self._ask(Asked(name, data, options, Path(self._folder.name))).data
        except BaseException:
            self.close()
            raise
        self.data = prepared or data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def score(self, claims: Sequence[Claim], flagged: Flagged | None = None) -> dict[str, Any]:
        """Return the score of what a run said; InputError where the labels cannot be read."""
        columns = None if flagged is None else FlaggedColumns.of(flagged)
        return self._ask(Asked(claims=list(claims), flagged=columns)).score or {}

    def close(self) -> None:
        """End the process, and forget what it prepared."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # it ended by itself, and said why on standard error
            self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()

    def _ask(self, asked: Asked) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(encode(asked))
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if not line:
            where = f"truth of {self._name}"
            raise UnavailableError("ended without an answer", where=where, expected="see its errors above")
        answer = decode(line, Answer)
        if answer.refused is not None:
            refused = answer.refused
            raise InputError(refused.what, where=refused.where, expected=refused.expected, code=refused.code)
        return answer


__all__ = ["Judge"]
