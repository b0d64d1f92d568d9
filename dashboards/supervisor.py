"""The supervisor of one city on one machine: starts its parts in order, restarts one that dies, stops all cleanly."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twin.errors import BusyError, UnavailableError

_BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
_STEADY_S = 60.0  # a part that has run this long starts its back-off anew
_STOP_S = 10.0  # a part that has not stopped by then is killed
_LOG_BYTES = 20_000_000  # of a part; it keeps this one and the one before
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LAUNCH = (
    "import ctypes, os, signal, sys; "
    f"ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, signal.SIGTERM); os.execvp(sys.argv[1], sys.argv[1:])"
)
"""What a part is on Linux before it is itself: it stops when the supervisor is killed. Run in a process of its own,
because code between fork and exec may hang in a process that has threads."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the group: its name, command line, the parts it starts after, and how to see it is ready."""

    name: str
    command: Sequence[str]
    after: Sequence[str] = ()
    ready: Callable[[], bool] | None = None
    patience_s: float = 90.0


@dataclass(slots=True)
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    started: float
    failures: int = 0
    next_start: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Runs `parts` as one group; `say` is told every event in one line.

    What the parts write goes to ``{logs}/{name}.log``, which is begun anew when it has grown long. If the supervisor
    itself is killed, the parts stop too.
    """

    parts: Sequence[Part]
    logs: Path
    say: Callable[[str], None]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    _running: list[_Running] = field(default_factory=list["_Running"], init=False)

    def start(self, stop: threading.Event) -> None:
        """Start the parts, each as soon as those it comes after are ready.

        Raises UnavailableError naming the part that did not become ready, and the last line of its log.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        waiting, starting, ready = list(self.parts), list[_Running](), set[str]()
        while (waiting or starting) and not stop.wait(0.1):
            for part in [part for part in waiting if ready.issuperset(part.after)]:
                waiting.remove(part)
                running = _Running(part, self._spawn(part), time.monotonic())
                self._running.append(running)
                starting.append(running)
            for running in [running for running in starting if self._is_ready(running)]:
                starting.remove(running)
                ready.add(running.part.name)
                self.say(f"{running.part.name} ready after {time.monotonic() - running.started:.1f} s")

    def watch(self, stop: threading.Event) -> None:
        """Restart parts that die, until `stop` is set."""
        while not stop.wait(0.25):
            for running in self._running:
                self._look(running)
                self._keep_log_short(running.part)

    def shut_down(self) -> None:
        """Stop the parts, those that others come after last; kill what has not stopped in time."""
        left = [running for running in self._running if running.process.poll() is None]
        while left:
            needed = {name for running in left for name in running.part.after}
            now = [running for running in left if running.part.name not in needed]
            for running in now:
                running.process.send_signal(signal.SIGTERM)
            until = time.monotonic() + _STOP_S
            for running in now:
                self._end(running, until - time.monotonic())
            left = [running for running in left if running not in now]
        self._running.clear()

    def _end(self, running: _Running, patience_s: float) -> None:
        try:
            running.process.wait(max(0.0, patience_s))
        except subprocess.TimeoutExpired:
            self.say(f"{running.part.name} did not stop in {_STOP_S:.0f} s: killed")
            running.process.kill()
            running.process.wait()

    def _is_ready(self, running: _Running) -> bool:
        part = running.part
        code = running.process.poll()
        late = time.monotonic() - running.started > part.patience_s
        if code is not None or late:
            why = f"stopped with status {code}" if code is not None else f"not ready after {part.patience_s:.0f} s"
            raise UnavailableError(f"{why}: {self._last_line(part)}", where=part.name, expected="a running part")
        return part.ready is None or part.ready()

    def _look(self, running: _Running) -> None:
        now = time.monotonic()
        if running.next_start is not None:
            if now >= running.next_start:
                running.process, running.started, running.next_start = self._spawn(running.part), now, None
                self.say(f"{running.part.name} started again")
            return
        code = running.process.poll()
        if code is None:
            return
        running.failures = 0 if now - running.started > _STEADY_S else running.failures + 1
        pause = _BACK_OFF_S[min(running.failures, len(_BACK_OFF_S) - 1)]
        running.next_start = now + pause
        what = f"killed by signal {-code}" if code < 0 else f"stopped with status {code}"
        self.say(f"{running.part.name} {what} ({self._last_line(running.part)}); starting it again in {pause:.0f} s")

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        with (self.logs / f"{part.name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-ISc", _LAUNCH, *part.command] if sys.platform == "linux" else part.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the parts in order
            )

    def _keep_log_short(self, part: Part) -> None:
        """Begin a log anew that has grown long; the part goes on writing to the same file (it appends)."""
        log = self.logs / f"{part.name}.log"
        if log.stat().st_size > _LOG_BYTES:
            shutil.copyfile(log, log.with_name(f"{part.name}.log.1"))
            os.truncate(log, 0)

    def _last_line(self, part: Part) -> str:
        log = self.logs / f"{part.name}.log"
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), f"nothing in {log}")


def require_free_port(host: str, port: int, option: str) -> None:
    """Raise BusyError naming the port, and the option that moves it, if somebody listens on it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BusyError(
                f"port {port} is taken ({error.strerror})", where=host, expected=f"a free port: try {option} {port + 1}"
            ) from None


def listens(host: str, port: int) -> bool:
    """Say whether somebody accepts TCP connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False
