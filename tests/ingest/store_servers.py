"""Real time-series servers for the tests of stores: VictoriaMetrics, and Debian's InfluxDB 1.6.7 for InfluxQL."""

from __future__ import annotations

import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.store import Retention
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
def _running(command: Sequence[str], base: str, health: str) -> Iterator[str]:
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed (apt-get install victoria-metrics influxdb)")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: ask(f"{base}{health}"))
        yield base
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def victoria_metrics(folder: Path, retention: str = "100y", dedup: str = "1ms", port: int = 0) -> Iterator[str]:
    """Run VictoriaMetrics on a free port, or `port`; give its base URL."""
    port = port or free_port()
    command = [
        "victoria-metrics",
        f"-storageDataPath={folder}",
        f"-httpListenAddr=127.0.0.1:{port}",
        f"-retentionPeriod={retention}",
        f"-dedup.minScrapeInterval={dedup}",
    ]
    with _running(command, f"http://127.0.0.1:{port}", "/health") as base:
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
    """Shows at once what was written: the server is told to, in place of waiting a second or two."""

    def _send(self, body: bytes) -> None:
        super()._send(body)
        ask(f"{self._root.base}/internal/force_flush")


def emptied(base: str) -> PromptVictoriaStore:
    """Return a store without readings on a running VictoriaMetrics."""
    ask(f"{base}/internal/force_flush")  # what is not shown yet would not be deleted
    ask(f"{base}/api/v1/admin/tsdb/delete_series", **{"match[]": '{__name__=~"reading_.*"}'})
    return PromptVictoriaStore(f"victoria+{base}", "", Retention())
