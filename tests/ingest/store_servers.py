"""Real time-series servers for the tests of stores: VictoriaMetrics, and Debian's InfluxDB 1.6.7 for InfluxQL."""

from __future__ import annotations

import shutil
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ingest.store import Retention
from ingest.store.checks import START
from ingest.store.victoria import VictoriaStore

from .conftest import free_port, wait_until


def ask(url: str, **fields: str) -> bytes:
    """Return the answer, nothing while nobody answers."""
    body = urllib.parse.urlencode(fields).encode() if fields else None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=5) as answer:
            return answer.read() or b"ok"
    except OSError:
        return b""


@contextmanager
def _running(command: Sequence[str], base: str, health: str, *, kill: bool = False) -> Iterator[str]:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed (apt-get install victoria-metrics influxdb)")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: ask(f"{base}{health}"))
        yield base
    finally:
        process.kill() if kill else process.terminate()
        process.wait(20)


@contextmanager
def victoria_metrics(
    folder: Path, retention: str = "100y", dedup: str = "1ms", port: int = 0, *, kill: bool = False
) -> Iterator[str]:
    """Run VictoriaMetrics on a free port, or `port`; give its base URL. At the end it is killed or asked to stop."""
    port = port or free_port()
    command = [
        "victoria-metrics",
        f"-storageDataPath={folder}",
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-retentionPeriod={retention}",
        f"-dedup.minScrapeInterval={dedup}",
    ]
    with _running(command, f"http://127.0.0.1:{port}", "/health", kill=kill) as base:
        yield base


@contextmanager
def influxdb1(folder: Path) -> Iterator[str]:
    """Run InfluxDB 1 on a free port; give its base URL."""
    port = free_port()
    path = folder / "influxdb.conf"
    path.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n[meta]\n  dir = "{folder}/meta"\n'
        f'[data]\n  dir = "{folder}/data"\n  wal-dir = "{folder}/wal"\n  query-log-enabled = false\n'
        f'[http]\n  bind-address = "127.0.0.1:{port}"\n  log-enabled = false\n[monitor]\n  store-enabled = false\n'
    )
    with _running(["influxd", "-config", str(path)], f"http://127.0.0.1:{port}", "/ping") as base:
        yield base


class PromptVictoriaStore(VictoriaStore):
    """Shows at once what was written: the `server` behind its address is told to, in place of waiting a second."""

    server = ""

    def __init__(self, url: str, token: str = "", retention: Retention | None = None) -> None:
        super().__init__(url, token, retention)
        self.settles_s = 0.0

    def _send(self, body: bytes) -> None:
        super()._send(body)
        ask(f"{self.server or self._root.base}/internal/force_flush")


class _Gate(BaseHTTPRequestHandler):
    server: Gate
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        del format, args

    def do_GET(self) -> None:
        self._pass_on(None)

    def do_POST(self) -> None:
        self._pass_on(self.rfile.read(int(self.headers["Content-Length"])))

    def _pass_on(self, body: bytes | None) -> None:
        gate = self.server
        path = self.path.removeprefix(gate.prefix)
        gate.authorizations.add(self.headers.get("Authorization", ""))
        if body is not None and "/write" in path:
            body = b"\n".join(line for line in body.split(b"\n") if not gate.drops(line))
        if (gate.prefix and not self.path.startswith(gate.prefix)) or (gate.closed and path.startswith(gate.closed)):
            status, answer = 400, b"missing route"
        elif body == b"":
            status, answer = 204, b""
        else:
            headers = {"Content-Type": self.headers.get("Content-Type", "")}
            request = urllib.request.Request(f"{gate.upstream}{path}", body, headers)
            with urllib.request.urlopen(request, timeout=10) as answered:
                status, answer = answered.status, answered.read()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Gate(ThreadingHTTPServer):
    """What stands before a server: takes off a prefix, closes a path, and drops lines without a word."""

    daemon_threads = True

    def __init__(self, upstream: str, prefix: str = "", closed: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Gate)
        self.upstream, self.prefix, self.closed = upstream, prefix, closed
        self.drops: Callable[[bytes], bool] = lambda _line: False
        self.authorizations: set[str] = set()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextmanager
def gate(upstream: str, prefix: str = "", closed: str = "") -> Iterator[Gate]:
    server = Gate(upstream, prefix, closed)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class _Says(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
        del format, args

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        assert isinstance(server, _Saying)
        self.send_response(server.status)
        self.end_headers()
        self.wfile.write(server.body)


class _Saying(ThreadingHTTPServer):
    daemon_threads = True
    status, body = 200, b""


@contextmanager
def saying(status: int, body: bytes) -> Iterator[str]:
    """Run a server that answers the same to every POST; give its base URL."""
    server = _Saying(("127.0.0.1", 0), _Says)
    server.status, server.body = status, body
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def known(base: str, series: Iterable[int]) -> None:
    """Give a server old readings of these series: it takes ten seconds to show one that it was asked for before."""
    store = PromptVictoriaStore(f"victoria+{base}")
    store._send("\n".join(f"reading,series={one} value=0 {START - 1000}" for one in series).encode())
    store.close()


def emptied(base: str) -> PromptVictoriaStore:
    """Return a store without readings on a running VictoriaMetrics."""
    ask(f"{base}/internal/force_flush")  # what is not shown yet would not be deleted
    ask(f"{base}/api/v1/admin/tsdb/delete_series", **{"match[]": '{__name__=~"reading_.*"}'})
    return PromptVictoriaStore(f"victoria+{base}", "", Retention())
