"""Processes that read files apart from the caller: one that hangs, dies or eats memory takes nothing with it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from twin.errors import ChengmaiError, InputError
from twin.model import Model, ReadRequest
from twin.readers import reader_for

_T = TypeVar("_T")
_GOODBYE_S = 5.0
SPENT = frozenset({"E_INVALID", "E_MEMORY", "E_READER"})
"""Codes after which a process reads no other file: a library that failed amid one may fail in the next."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A model, or the error that refused the file; and the most memory the process held while reading, in MB."""

    model: Model | None
    error: ChengmaiError | None
    peak_mb: float


def read(path: Path, request: ReadRequest) -> Outcome:
    """Read one file in this process; whatever goes wrong is in the outcome."""
    _forget_peak()
    model, error = _attempt(lambda: reader_for(path)[1].read(path, request), path)
    return Outcome(model, error, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def _attempt(work: Callable[[], _T], path: Path) -> tuple[_T | None, ChengmaiError | None]:
    """Return what `work` on the file at `path` gives, or the error that refuses it."""
    try:
        return work(), None
    except ChengmaiError as refused:
        return None, refused
    except RecursionError:
        return None, InputError("is nested too deeply", where=str(path), code="E_FORMAT")
    except MemoryError:
        return None, InputError("needs more memory than there is", where=str(path), code="E_MEMORY")
    except Exception as bug:  # noqa: BLE001  # a reader's bug refuses its file and no other; the receipt says it
        what = f"the reader failed: {type(bug).__name__}: {bug}"[:300]
        return None, InputError(what, where=str(path), code="E_READER")


def isolated(work: Callable[[Path], _T], path: Path, timeout_s: float) -> _T:
    """Do `work`, a function of a module, on the file at `path` in a process of its own, and return what it gives.

    Raises what `work` raises of `ChengmaiError`, and InputError: E_TIMEOUT where it takes longer than `timeout_s`,
    E_CRASH where the process dies.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, work, path), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(timeout_s):
            raise InputError(f"took longer than {timeout_s:g} s", where=str(path), code="E_TIMEOUT")
        result, error = ours.recv()
    except EOFError:
        process.join(_GOODBYE_S)
        raise InputError(f"the reader died (exit {process.exitcode})", where=str(path), code="E_CRASH") from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if error is not None:
        raise error
    return result


def _work(pipe: Connection, work: Callable[[Path], object], path: Path) -> None:
    _away_from_standard_output()
    pipe.send(_attempt(lambda: work(path), path))


class Workers:
    """A pool of reading processes, started when needed and kept warm; each reads one file at a time.

    `read` may be called from `count` threads at once. A file that takes longer than `timeout_s` has its process
    killed and is refused with E_TIMEOUT.
    """

    def __init__(self, count: int, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._started: list[_Worker] = []
        self._idle: queue.Queue[_Worker | None] = queue.Queue(maxsize=count)
        for _ in range(count):
            self._idle.put(None)

    def read(self, path: Path, request: ReadRequest) -> Outcome:
        """Read one file in a process of its own."""
        worker = self._idle.get()
        try:
            if worker is None:
                worker = _Worker()
                self._started.append(worker)
            outcome = worker.read(path, request, self._timeout_s)
            if outcome.error is not None and outcome.error.code in SPENT and worker.alive:
                worker.stop()
            if not worker.alive:
                self._started.remove(worker)
                worker = None
        finally:
            self._idle.put(worker)
        return outcome

    def kill(self) -> None:
        """End every process at once; files that are being read are refused with E_CRASH."""
        for worker in tuple(self._started):
            worker.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while not self._idle.empty():
            worker = self._idle.get()
            if worker is not None:
                worker.stop()


class _Worker:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def read(self, path: Path, request: ReadRequest, timeout_s: float) -> Outcome:
        try:
            self._pipe.send((path, request))
            if self._pipe.poll(timeout_s):
                outcome: Outcome = self._pipe.recv()
                return outcome
        except (EOFError, BrokenPipeError, ConnectionResetError):
            self.stop()
            code = self._process.exitcode
            return Outcome(None, InputError(f"the reader died (exit {code})", where=str(path), code="E_CRASH"), 0.0)
        self.kill()
        self.stop()
        late = InputError(f"took longer than {timeout_s:g} s to read", where=str(path), code="E_TIMEOUT")
        return Outcome(None, late, 0.0)

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        with contextlib.suppress(OSError):  # a dead process has closed its end
            self._pipe.send(None)
        self._process.join(_GOODBYE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()


def _serve(pipe: Connection) -> None:
    """Read files as they are asked for, until told to stop or left alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to end
    _away_from_standard_output()
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        if task is None:
            return
        path, request = task
        try:
            pipe.send(read(path, request))
        except BrokenPipeError:  # whoever asked is gone
            return


def _away_from_standard_output() -> None:
    """Send what libraries print, debug text mostly, to standard error: standard output belongs to the receipts."""
    sys.stdout.flush()
    os.dup2(2, 1)


def _forget_peak() -> None:
    """Make the process's memory high-water mark start anew (Linux: proc_pid_clear_refs(5), value 5)."""
    with contextlib.suppress(OSError):  # other systems keep one mark for the process's life
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
