"""The servers of the campaign: real processes on loopback ports, stopped, killed and started again at will."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin"
_PR_SET_PDEATHSIG = 1  # prctl(2)

NAMESPACE = "FAULTS_NAMESPACE"
"""Set in the environment of a campaign that has a mount namespace of its own: what it mounts goes with it."""


class MissingProgramError(Exception):
    """A program that a case needs is not on this machine."""


def program(name: str) -> str:
    """Return the path of a program; MissingProgramError with the Debian package to install."""
    found = shutil.which(name, path=_PATH)
    if not found:
        raise MissingProgramError(f"{name} is not installed (tests/system-packages.sh)")
    return found


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> None:
    """Return once `condition` holds; AssertionError that says `what` did not come about."""
    until = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(0.05)


class Server:
    """One server process; what it writes goes to a log file. It dies with the campaign."""

    def __init__(self, command: Sequence[str], log: Path, ready: Callable[[], bool]) -> None:
        self.command = list(command)
        self.environment: dict[str, str] = {}
        self.log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it serves."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                preexec_fn=die_with_parent,  # noqa: PLW1509  # it calls prctl(2) only
            )
        if wait:
            self.wait()

    def wait(self, timeout_s: float = 60.0) -> None:
        """Wait until it serves; AssertionError with the end of its log when it does not."""

        def ready() -> bool:
            if not self.alive:
                raise AssertionError(f"{self.command[0]} ended: {self.tail()}")
            return self._ready()

        wait_until(ready, f"{' '.join(self.command[:4])} … serves", timeout_s)

    def tail(self) -> str:
        """Return the last lines of its log."""
        return " | ".join(self.log.read_text("utf-8", "replace").strip().split("\n")[-4:])

    def stop(self, timeout_s: float = 30.0) -> None:
        """Send SIGTERM, and wait; kill what does not go."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """Send SIGKILL to it and to every process it has started."""
        for pid in reversed([self.pid, *descendants(self.pid)] if self.alive else []):
            send(pid, signal.SIGKILL)
        self._end(signal.SIGKILL, 10)

    def _end(self, number: signal.Signals, timeout_s: float) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the one that started it is gone (runs after the fork)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the processes that `pid` has started, and theirs, parents first (Linux)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def listens(port: int) -> bool:
    """Return whether somebody takes connections on the loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def victoria(folder: Path) -> tuple[Server, str]:
    """Return a VictoriaMetrics, not yet started, and its HTTP address."""
    port = free_port()
    command = [
        program("victoria-metrics"),
        f"-storageDataPath={folder}",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-dedup.minScrapeInterval=1ms",
        "-search.latencyOffset=0s",
        "-retentionPeriod=10y",
    ]
    base = f"http://127.0.0.1:{port}"
    return Server(command, folder.with_suffix(".log"), lambda: _healthy(f"{base}/health")), base


def exported(base: str, series: int, start_ms: int, end_ms: int) -> list[tuple[int, float]]:
    """Return what VictoriaMetrics holds of a series, by its own export API: (ms since 1970, value)."""
    query = (
        f"match[]=%7Bseries%3D%22{series}%22%2C__name__%3D~%22.*value%22%7D&start={start_ms / 1000}&end={end_ms / 1000}"
    )
    lines = get(f"{base}/api/v1/export?{query}").splitlines()
    found = [json.loads(line) for line in lines if line]
    return sorted(
        (time_ms, value) for row in found for time_ms, value in zip(row["timestamps"], row["values"], strict=True)
    )


def get(url: str) -> str:
    """Return what a loopback server answers."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read().decode()


def _healthy(url: str) -> bool:
    try:
        return bool(get(url))
    except OSError:
        return False


def chengmai(settings: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """Run a `chengmai` command to its end, and return what it wrote; AssertionError when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "dashboards", "--settings", str(settings), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **(environment or {})},
        check=False,
    )
    if done.returncode:
        raise AssertionError(
            f"chengmai {' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-500:]}"
        )
    return done.stdout
